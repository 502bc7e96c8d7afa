//! Output of dead letters.

use bus_schemas::Body;
use bus_schemas::payload::{Encoding, Payload};
use bytes::Bytes;
use gateway_api::dead_letters::{
    Content, DeadLetter, DeadLetterFailure, DeadLetterPage, DeadLetterState, DeadLetterWithPayload,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::commands::tasks::one_line;
use crate::output::{Show, table};
use crate::paging;

/// Characters of a reason shown in a row.
const REASON_LETTERS_MAX: usize = 80;

/// A dead letter with its payload.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Decoded {
    /// The dead letter, as the gateway returns it.
    #[serde(flatten)]
    pub whole: DeadLetterWithPayload,
    /// What a redrive sends, as JSON; `null` when it is neither JSON nor MessagePack.
    pub decoded: Option<Value>,
}

fn body(content: &Content) -> Option<Body> {
    let Content { content_type, encoding, content, .. } = content;
    Payload { content_type: *content_type, encoding: *encoding, content: content.clone() }.body()
}

/// Why the dead letter waits again after a redrive.
pub(super) fn current_failure(letter: &DeadLetter) -> Option<String> {
    let waits = letter.state == DeadLetterState::Waiting && letter.redrives > 0;
    let last = letter.failures.last().filter(|_| waits)?;
    Some(format!("{}: {}", last.code, one_line(&last.reason)))
}

fn meant_for(letter: &DeadLetter) -> String {
    one_line(letter.to.as_ref().unwrap_or(&format!("{}/{}", letter.kind, letter.key)))
}

impl Decoded {
    /// Adds what a redrive sends as JSON, where it can be decoded.
    pub(super) fn of(whole: DeadLetterWithPayload) -> Self {
        let decoded = sent(&whole).as_deref().and_then(decoded);
        Self { whole, decoded }
    }
    /// The bytes that a redrive sends.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        sent(&self.whole)
    }
    /// The original bytes.
    pub(super) fn original_bytes(&self) -> Option<Bytes> {
        self.whole.payload.as_ref().and_then(body).map(|body| body.bytes)
    }
    fn payload_lines(&self, lines: &mut Vec<String>) {
        let Some(shown) = self.whole.edited.as_ref().or(self.whole.payload.as_ref()) else {
            lines.push("  payload   none is kept".to_owned());
            return;
        };
        let (form, content) = match &self.decoded {
            Some(decoded) => ("as JSON", format!("{decoded:#}")),
            None if shown.encoding == Encoding::Text => ("text", shown.content.escape_debug().to_string()),
            None => ("base64", shown.content.clone()),
        };
        let edits = match self.whole.letter.edits {
            0 => String::new(),
            many => format!(", edited {many} times (`--payload --original` shows what came)"),
        };
        lines.push(format!("  payload   {} bytes, {form}{edits}:", shown.bytes));
        lines.push(content);
    }
}

impl Show for DeadLetterPage {
    fn text(&self) -> String {
        if self.dead_letters.is_empty() {
            return "no dead letters".to_owned();
        }
        let row = |letter: &DeadLetter| {
            let reason = one_line(&letter.reason).chars().take(REASON_LETTERS_MAX).collect();
            vec![
                letter.entry.to_string(),
                <&str>::from(letter.state).to_owned(),
                letter.class.clone(),
                meant_for(letter),
                letter.at.to_rfc3339(),
                letter.redrives.to_string(),
                reason,
            ]
        };
        let rows: Vec<Vec<String>> = self.dead_letters.iter().map(row).collect();
        let table = table(&["ENTRY", "STATE", "CLASS", "FOR", "AT", "REDRIVES", "REASON"], &rows);
        paging::shown(table, self.next_cursor.as_ref())
    }
}

impl Show for Decoded {
    fn text(&self) -> String {
        let letter = &self.whole.letter;
        let mut lines = vec![
            format!("dead letter {} is {}", letter.entry, <&str>::from(letter.state)),
            format!("  class     {} after {} attempts", letter.class, letter.attempts),
            format!("  reason    {}", one_line(&letter.reason)),
        ];
        lines.extend(letter.causes.iter().map(|cause| format!("    because {}", one_line(cause))));
        lines.extend(letter.hint.iter().map(|hint| format!("  hint      {}", one_line(hint))));
        let again = letter.failures.iter().map(|failure| {
            let DeadLetterFailure { code, reason, at } = failure;
            format!("  again     {} {code}: {}", at.to_rfc3339(), one_line(reason))
        });
        lines.extend(again);
        lines.push(format!("  for       {}", meant_for(letter)));
        let from = [("by", &letter.source), ("from", &letter.caller), ("subject", &letter.subject)];
        lines.extend(from.iter().filter_map(|(name, value)| {
            value.as_ref().map(|value| format!("  {name:<9} {}", one_line(value)))
        }));
        lines.extend(letter.dependency.iter().map(|key| format!("  depends   on {key}")));
        if letter.redrives > 0 {
            let in_redrive =
                letter.in_redrive.iter().map(|name| format!(" in {name}")).collect::<Vec<_>>().concat();
            let by = one_line(letter.by.as_deref().unwrap_or_default());
            let to = letter.target.iter().map(|to| format!(" to {to}")).collect::<Vec<_>>().concat();
            lines.push(format!("  redriven  {} times, last{to}{in_redrive} by {by}", letter.redrives));
        }
        lines.push(format!("  at        {}", letter.at.to_rfc3339()));
        lines.push(format!("  command   {}", letter.command_id));
        lines.push(format!("  request   {}", letter.correlation));
        lines.extend(letter.traceparent.iter().map(|trace| format!("  trace     {trace}")));
        self.payload_lines(&mut lines);
        lines.join("\n")
    }
}

/// The bytes that a redrive sends.
fn sent(whole: &DeadLetterWithPayload) -> Option<Bytes> {
    whole.edited.as_ref().or(whole.payload.as_ref()).and_then(body).map(|body| body.bytes)
}

/// Decodes JSON, or MessagePack that is a structure up to its last byte: almost any byte is a valid
/// MessagePack number, so any text would be one.
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
