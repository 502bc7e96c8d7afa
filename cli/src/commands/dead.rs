//! `orrery dead`: what could not be done, and why.

use bus_schemas::{Key, Kind, Timestamp};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::commands::task::one_line;
use crate::failure::{Failure, exit};
use crate::gateway::{query, read, view};
use crate::output::{Output, Show, table};
use crate::session::Session;

/// Rows of a page when nothing else is asked for.
const ROWS: u32 = 50;
/// Where payloads lie that never named a kind that the host knew.
const UNKNOWN_KIND: &str = "unknown";

/// What to show; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List dead letters, newest first
    List(List),
    /// Show one with its payload
    Show {
        /// The entry
        entry: String,
        /// Write the payload alone to stdout, byte for byte
        #[arg(long)]
        payload: bool,
    },
}

/// Which dead letters.
#[derive(Debug, clap::Args)]
struct List {
    /// Of this class: `poison`, `malformed-command`, `unknown-kind`, `job-failed` …
    #[arg(long)]
    class: Option<String>,
    /// Rows at most, 1 to 200
    #[arg(long, default_value_t = ROWS, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// `next_cursor` of the page before
    #[arg(long)]
    cursor: Option<String>,
}

/// A page of dead letters.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Page {
    /// Newest first.
    pub dead: Vec<Letter>,
    /// What `--cursor` takes for the next page; none at the end.
    pub next_cursor: Option<String>,
}

/// What could not be done.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Letter {
    /// Names it.
    pub entry: Key,
    /// What sort of failure.
    pub class: String,
    /// Why, for people.
    pub reason: String,
    /// The kind it was meant for, as written.
    pub kind: String,
    /// The key it was meant for, as written.
    pub key: String,
    /// The command: a UUID.
    pub command_id: String,
    /// What everything caused by one request shares: a UUID.
    pub correlation: String,
    /// The W3C trace, if there is one.
    pub traceparent: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up: milliseconds since 1970.
    pub at: Timestamp,
}

/// A dead letter with its payload.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Whole {
    /// What, why, and from where.
    #[serde(flatten)]
    pub letter: Letter,
    /// The bytes; none when the stream of dead letters no longer has them.
    pub payload: Option<Payload>,
    /// The payload as JSON, where it is JSON or MessagePack.
    #[serde(default)]
    pub decoded: Option<Value>,
}

/// The bytes of what could not be done.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Payload {
    /// `text` or `base64`.
    pub encoding: String,
    /// The bytes in that encoding.
    pub content: String,
    /// How many bytes.
    pub bytes: usize,
}

impl Show for Page {
    fn text(&self) -> String {
        if self.dead.is_empty() {
            return "no dead letters".to_owned();
        }
        let row = |letter: &Letter| {
            let reason = one_line(&letter.reason).chars().take(80).collect();
            let meant_for = one_line(&format!("{}/{}", letter.kind, letter.key));
            vec![letter.entry.to_string(), letter.class.clone(), meant_for, letter.at.to_rfc3339(), reason]
        };
        let rows: Vec<Vec<String>> = self.dead.iter().map(row).collect();
        let mut text = table(&["ENTRY", "CLASS", "FOR", "AT", "REASON"], &rows);
        if let Some(cursor) = &self.next_cursor {
            text.push_str(&format!("\nmore: --cursor {cursor}"));
        }
        text
    }
}

impl Show for Whole {
    fn text(&self) -> String {
        let letter = &self.letter;
        let mut lines = vec![
            format!("dead letter {}", letter.entry),
            format!("  class     {} after {} attempts", letter.class, letter.attempts),
            format!("  reason    {}", one_line(&letter.reason)),
            format!("  for       {}/{}", one_line(&letter.kind), one_line(&letter.key)),
            format!("  at        {}", letter.at.to_rfc3339()),
            format!("  command   {}", letter.command_id),
            format!("  request   {}", letter.correlation),
        ];
        lines.extend(letter.traceparent.iter().map(|trace| format!("  trace     {trace}")));
        match &self.payload {
            None => lines.push("  payload   none is kept".to_owned()),
            Some(payload) => {
                let (form, content) = match &self.decoded {
                    Some(decoded) => ("as JSON", format!("{decoded:#}")),
                    None => (payload.encoding.as_str(), payload.content.escape_debug().to_string()),
                };
                lines.push(format!("  payload   {} bytes, {form}:", payload.bytes));
                lines.push(content);
            }
        }
        lines.join("\n")
    }
}

/// Prints them.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let list = Verb::List(List { class: None, limit: ROWS, cursor: None });
    match arguments.verb.unwrap_or(list) {
        Verb::List(List { class, limit, cursor }) => {
            let query = query(&[("class", class), ("limit", Some(limit.to_string())), ("cursor", cursor)]);
            output.show(&read::<Page>(view(session, &format!("/v1/dead?{query}")).await?)?);
        }
        Verb::Show { entry, payload } => {
            let entry = Key::parse(&entry)?;
            let mut whole: Whole = read(view(session, &format!("/v1/dead/{entry}")).await?)?;
            let bytes = bytes(session, &whole.letter).await?;
            if payload {
                output.bytes(&bytes.ok_or_else(|| gone(&entry))?);
                return Ok(());
            }
            whole.decoded = bytes.as_deref().and_then(decoded);
            output.show(&whole);
        }
    }
    Ok(())
}

/// The payload as it came. The gateway's form of it is text, so the bytes come from the bus.
async fn bytes(session: &Session, letter: &Letter) -> Result<Option<Bytes>, Failure> {
    let known = Kind::parse(&letter.kind).is_ok().then_some(letter.kind.as_str());
    for kind in known.into_iter().chain([UNKNOWN_KIND]) {
        if let Some(bytes) = session.bus.dead_payload(kind, letter.entry.as_str()).await? {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

fn gone(entry: &Key) -> Failure {
    Failure::new("payload-gone", format!("no payload is kept of dead letter `{entry}`"))
        .next("`orrery dead show` without `--payload` tells what is known")
        .exit(exit::NOT_FOUND)
}

/// JSON, or MessagePack that holds a structure to its last byte: nearly any byte is a MessagePack
/// number, and so would be any text.
fn decoded(bytes: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Some(value);
    }
    let mut rest = bytes;
    let value: Value = rmp_serde::from_read(&mut rest).ok()?;
    (rest.is_empty() && (value.is_object() || value.is_array())).then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn payloads_are_decoded_when_they_are_something() {
        let body = json!({"type": "touch", "note": "x"});
        let packed = rmp_serde::to_vec(&body).unwrap();
        assert_eq!(super::decoded(&packed), Some(body.clone()));
        assert_eq!(super::decoded(body.to_string().as_bytes()), Some(body));
        for neither in [&b"hello"[..], b"\x05", b"\xff\xfe", b"{", &[&packed[..], b"more"].concat()] {
            assert_eq!(super::decoded(neither), None, "{neither:?}");
        }
    }
}
