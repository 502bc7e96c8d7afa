//! `orrery dead`: what could not be done, and why.

use bus_schemas::{Key, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::gateway::{query, read, view};
use crate::output::{Output, Show, table};
use crate::session::Session;

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List dead letters, newest first
    List {
        /// Of this class: `poison`, `malformed-command`, `unknown-kind`, `job-failed` …
        #[arg(long)]
        class: Option<String>,
        /// Rows at most, 1 to 200
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        /// `next_cursor` of the page before
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one with its payload
    Show {
        /// The entry
        entry: String,
    },
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
            let reason = letter.reason.lines().next().unwrap_or_default().chars().take(80).collect();
            let meant_for = format!("{}/{}", letter.kind, letter.key);
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
            format!("  reason    {}", letter.reason),
            format!("  for       {}/{}", letter.kind, letter.key),
            format!("  at        {}", letter.at.to_rfc3339()),
            format!("  command   {}", letter.command_id),
            format!("  request   {}", letter.correlation),
        ];
        lines.extend(letter.traceparent.iter().map(|trace| format!("  trace     {trace}")));
        match &self.payload {
            None => lines.push("  payload   none is kept".to_owned()),
            Some(payload) => {
                lines.push(format!("  payload   {} bytes, {}:", payload.bytes, payload.encoding));
                lines.push(payload.content.clone());
            }
        }
        lines.join("\n")
    }
}

/// Prints them.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb {
        Verb::List { class, limit, cursor } => {
            let query = query(&[("class", class), ("limit", Some(limit.to_string())), ("cursor", cursor)]);
            output.show(&read::<Page>(view(session, &format!("/v1/dead?{query}")).await?)?);
        }
        Verb::Show { entry } => {
            let entry = Key::parse(&entry)?;
            output.show(&read::<Whole>(view(session, &format!("/v1/dead/{entry}")).await?)?);
        }
    }
    Ok(())
}
