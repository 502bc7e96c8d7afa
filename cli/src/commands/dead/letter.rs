//! Dead letters as they are printed.

use bus_schemas::payload::{Encoding, Payload as Wire};
use bus_schemas::{Body, ContentType, Key, Timestamp};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::commands::task::one_line;
use crate::output::{Show, table};

/// Letters of a reason in a row of the list.
const REASON_LETTERS_MAX: usize = 80;

/// A page of dead letters.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Page {
    /// Newest first.
    pub dead_letters: Vec<Letter>,
    /// What `--cursor` takes for the next page; none at the end.
    pub next_cursor: Option<String>,
}

/// What could not be done.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Letter {
    /// Names it.
    pub entry: Key,
    /// `waiting`, `redriving`, `redriven` or `dropped`.
    pub state: String,
    /// What sort of failure.
    pub class: String,
    /// Why, for people.
    pub reason: String,
    /// What led to `reason`, the nearest cause first.
    pub causes: Vec<String>,
    /// What may be done about it.
    pub hint: Option<String>,
    /// Why each redrive failed, the oldest first.
    pub failures: Vec<Again>,
    /// The kind it was meant for, as written.
    pub kind: String,
    /// The key it was meant for, as written.
    pub key: String,
    /// For whom it is since it was edited: `<kind>/<key>`.
    pub to: Option<String>,
    /// How it came.
    pub source: Option<String>,
    /// The subject it came on, where that is known.
    pub subject: Option<String>,
    /// Who sent it, where they said.
    pub caller: Option<String>,
    /// The command that led to it: a UUID.
    pub cause: Option<String>,
    /// What it depends on and failed by.
    pub dependency: Option<String>,
    /// The command: a UUID.
    pub command_id: String,
    /// What everything caused by one request shares: a UUID.
    pub correlation: String,
    /// The W3C trace, if there is one.
    pub traceparent: Option<String>,
    /// How often it was tried, redrives included.
    pub attempts: u32,
    /// How often it was redriven.
    pub redrives: u32,
    /// How often it was edited.
    pub edits: u32,
    /// To whom its latest redrive went: `<kind>/<key>`. A failed task that was edited is submitted anew.
    #[serde(default)]
    pub target: Option<String>,
    /// The campaign of its latest redrive.
    pub campaign: Option<String>,
    /// Who edited, redrove or dropped it last.
    pub by: Option<String>,
    /// When it was given up: milliseconds since 1970.
    pub at: Timestamp,
    /// When it last changed: milliseconds since 1970.
    pub updated_at: Timestamp,
    /// How many events it has.
    pub revision: u64,
}

/// Why a redrive failed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Again {
    /// For programs.
    pub code: String,
    /// For people.
    pub reason: String,
    /// Milliseconds since 1970.
    pub at: Timestamp,
}

/// A dead letter with its payload.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Whole {
    /// What, why, and from where.
    #[serde(flatten)]
    pub letter: Letter,
    /// The bytes as they came; none where there are none.
    pub payload: Option<Payload>,
    /// What is sent instead, since it was edited.
    pub edited: Option<Payload>,
    /// What is sent as JSON, where it is JSON or MessagePack.
    #[serde(default)]
    pub decoded: Option<Value>,
}

/// The bytes of a command.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Payload {
    /// How the command is written: `json` or `msgpack`.
    pub content_type: ContentType,
    /// How the bytes stand in `content`: `text` or `base64`.
    pub encoding: Encoding,
    /// The bytes in that encoding.
    pub content: String,
    /// How many bytes.
    pub bytes: usize,
}

impl Payload {
    fn body(&self) -> Option<Body> {
        let Self { content_type, encoding, content, .. } = self;
        Wire { content_type: *content_type, encoding: *encoding, content: content.clone() }.body()
    }
}

impl Letter {
    /// Why it waits although it was redriven.
    pub(super) fn current_failure(&self) -> Option<String> {
        let last = self.failures.last().filter(|_| self.state == "waiting" && self.redrives > 0)?;
        Some(format!("{}: {}", last.code, one_line(&last.reason)))
    }
    fn meant_for(&self) -> String {
        one_line(self.to.as_ref().unwrap_or(&format!("{}/{}", self.kind, self.key)))
    }
}

impl Whole {
    /// What is sent when it is redriven.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        self.edited.as_ref().or(self.payload.as_ref()).and_then(Payload::body).map(|body| body.bytes)
    }
    /// The bytes as they came.
    pub(super) fn original_bytes(&self) -> Option<Bytes> {
        self.payload.as_ref().and_then(Payload::body).map(|body| body.bytes)
    }
    /// Reads what is sent as JSON, where that is possible.
    pub(super) fn decode(&mut self) {
        self.decoded = self.bytes().as_deref().and_then(decoded);
    }
    fn payload_lines(&self, lines: &mut Vec<String>) {
        let Some(shown) = self.edited.as_ref().or(self.payload.as_ref()) else {
            lines.push("  payload   none is kept".to_owned());
            return;
        };
        let (form, content) = match &self.decoded {
            Some(decoded) => ("as JSON", format!("{decoded:#}")),
            None if shown.encoding == Encoding::Text => ("text", shown.content.escape_debug().to_string()),
            None => ("base64", shown.content.clone()),
        };
        let edits = match self.letter.edits {
            0 => String::new(),
            many => format!(", edited {many} times (`--payload --original` shows what came)"),
        };
        lines.push(format!("  payload   {} bytes, {form}{edits}:", shown.bytes));
        lines.push(content);
    }
}

impl Show for Page {
    fn text(&self) -> String {
        if self.dead_letters.is_empty() {
            return "no dead letters".to_owned();
        }
        let row = |letter: &Letter| {
            let reason = one_line(&letter.reason).chars().take(REASON_LETTERS_MAX).collect();
            vec![
                letter.entry.to_string(),
                letter.state.clone(),
                letter.class.clone(),
                letter.meant_for(),
                letter.at.to_rfc3339(),
                letter.redrives.to_string(),
                reason,
            ]
        };
        let rows: Vec<Vec<String>> = self.dead_letters.iter().map(row).collect();
        let mut text = table(&["ENTRY", "STATE", "CLASS", "FOR", "AT", "REDRIVES", "REASON"], &rows);
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
            format!("dead letter {} is {}", letter.entry, letter.state),
            format!("  class     {} after {} attempts", letter.class, letter.attempts),
            format!("  reason    {}", one_line(&letter.reason)),
        ];
        lines.extend(letter.causes.iter().map(|cause| format!("    because {}", one_line(cause))));
        lines.extend(letter.hint.iter().map(|hint| format!("  hint      {}", one_line(hint))));
        let again = letter.failures.iter().map(|failure| {
            let Again { code, reason, at } = failure;
            format!("  again     {} {code}: {}", at.to_rfc3339(), one_line(reason))
        });
        lines.extend(again);
        lines.push(format!("  for       {}", letter.meant_for()));
        let from = [("by", &letter.source), ("from", &letter.caller), ("subject", &letter.subject)];
        lines.extend(from.iter().filter_map(|(name, value)| {
            value.as_ref().map(|value| format!("  {name:<9} {}", one_line(value)))
        }));
        lines.extend(letter.dependency.iter().map(|key| format!("  depends   on {key}")));
        if letter.redrives > 0 {
            let campaign =
                letter.campaign.iter().map(|name| format!(" in {name}")).collect::<Vec<_>>().concat();
            let by = one_line(letter.by.as_deref().unwrap_or_default());
            let to = letter.target.iter().map(|to| format!(" to {to}")).collect::<Vec<_>>().concat();
            lines.push(format!("  redriven  {} times, last{to}{campaign} by {by}", letter.redrives));
        }
        lines.push(format!("  at        {}", letter.at.to_rfc3339()));
        lines.push(format!("  command   {}", letter.command_id));
        lines.push(format!("  request   {}", letter.correlation));
        lines.extend(letter.traceparent.iter().map(|trace| format!("  trace     {trace}")));
        self.payload_lines(&mut lines);
        lines.join("\n")
    }
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
