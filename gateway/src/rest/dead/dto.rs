//! Dead letters and campaigns as clients send and see them.

use bus_schemas::commands::campaign::Filter;
use bus_schemas::commands::deadletter::Command;
use bus_schemas::payload::{Encoding, Payload};
use bus_schemas::{ContentType, EntityAddress, Key, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::projections::DeadLetterFilter;
use crate::projections::campaign::Campaign;
use crate::projections::dead_letter::{DeadLetter, DeadLetterState};
use crate::rest::problem::{Problem, code};

/// Which dead letters to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListDeadLetters {
    /// In this state.
    pub state: Option<DeadLetterState>,
    /// Of this class: `poison`, `malformed-command`, `unknown-kind`, `refused`, `job-failed` …
    pub class: Option<String>,
    /// Meant for this kind.
    pub kind: Option<String>,
    /// Meant for a key that begins so.
    pub key: Option<String>,
    /// Failed by this dependency: the key of a breaker.
    pub dependency: Option<String>,
    /// Given up at this time or later: milliseconds since 1970.
    #[serde(deserialize_with = "crate::rest::extract::time", default)]
    pub since: Option<u64>,
    /// Given up before this time: milliseconds since 1970.
    #[serde(deserialize_with = "crate::rest::extract::time", default)]
    pub before: Option<u64>,
    /// Rows of the page, 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Which dead letters to export.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportDeadLetters {
    /// In this state.
    pub state: Option<DeadLetterState>,
    /// Of this class: `poison`, `malformed-command`, `unknown-kind`, `refused`, `job-failed` …
    pub class: Option<String>,
    /// Meant for this kind.
    pub kind: Option<String>,
    /// Meant for a key that begins so.
    pub key: Option<String>,
    /// Failed by this dependency: the key of a breaker.
    pub dependency: Option<String>,
    /// Given up at this time or later: milliseconds since 1970.
    #[serde(deserialize_with = "crate::rest::extract::time", default)]
    pub since: Option<u64>,
    /// Given up before this time: milliseconds since 1970.
    #[serde(deserialize_with = "crate::rest::extract::time", default)]
    pub before: Option<u64>,
}

impl From<ExportDeadLetters> for DeadLetterFilter {
    fn from(query: ExportDeadLetters) -> Self {
        let ExportDeadLetters { state, class, kind, key, dependency, since, before } = query;
        let (since, before) = (since.map(Timestamp), before.map(Timestamp));
        Self { state, class, kind, key, dependency, since, before }
    }
}

/// One page of dead letters.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterPage {
    /// Newest first.
    pub dead_letters: Vec<DeadLetter>,
    /// Where the next page begins; null at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// A dead letter with its payload.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterView {
    /// What, why, and from where.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The payload as it came; none where there is none.
    pub payload: Option<PayloadView>,
    /// What is sent instead, since it was edited.
    pub edited: Option<PayloadView>,
}

/// The bytes of a command.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PayloadView {
    /// How the command is written: `json` or `msgpack`.
    pub content_type: String,
    /// How the bytes stand in `content`: `text` or `base64`.
    pub encoding: String,
    /// The bytes in that encoding.
    pub content: String,
    /// How many bytes.
    pub bytes: usize,
}

impl From<Payload> for PayloadView {
    fn from(payload: Payload) -> Self {
        let content_type = match payload.content_type {
            ContentType::Json => "json",
            ContentType::Msgpack => "msgpack",
        };
        let encoding = match payload.encoding {
            Encoding::Text => "text",
            Encoding::Base64 => "base64",
        };
        let bytes = payload.body().map_or(0, |body| body.bytes.len());
        let (content_type, encoding) = (content_type.to_owned(), encoding.to_owned());
        Self { content_type, encoding, content: payload.content, bytes }
    }
}

/// What is sent instead: either `json`, or `content`.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditPayload {
    /// The command as JSON.
    pub json: Option<Value>,
    /// The command's bytes.
    pub content: Option<String>,
    /// How the bytes stand in `content`: `text` or `base64`. Default: `text`.
    #[schema(value_type = Option<String>)]
    pub encoding: Option<Encoding>,
    /// How the command in `content` is written: `json` or `msgpack`. Default: `json`.
    #[schema(value_type = Option<String>)]
    pub content_type: Option<ContentType>,
    /// For whom it is, where that is to change: `<kind>/<key>`.
    pub to: Option<String>,
    /// Who. Default: `rest`.
    pub by: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

impl EditPayload {
    /// The command that it means.
    pub fn into_command(self, caller: &str) -> Result<Command, Problem> {
        let invalid =
            |detail: &str| Problem::new(code::INVALID_BODY, detail).hint("`/v1/openapi.json` has the schema");
        let payload = match (self.json, self.content) {
            (Some(value), None) if self.encoding.is_none() && self.content_type.is_none() => {
                Payload::written(ContentType::Json, value.to_string().as_bytes())
            }
            (None, Some(content)) => Payload {
                content_type: self.content_type.unwrap_or_default(),
                encoding: self.encoding.unwrap_or_default(),
                content,
            },
            _ => return Err(invalid("give either `json`, or `content` with how it is written")),
        };
        let to: Option<EntityAddress> = match self.to.as_deref().map(str::parse) {
            Some(Err(_)) => return Err(invalid("`to` is `<kind>/<key>`")),
            Some(Ok(to)) => Some(to),
            None => None,
        };
        let by = self.by.unwrap_or_else(|| caller.to_owned());
        Ok(Command::Edit { payload, to, by, reason: self.reason })
    }
}

/// Who wants it, and why.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Who. Default: `rest`.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

impl Reason {
    /// With a name where none was given.
    pub fn or(self, caller: &str) -> Self {
        if self.by.is_empty() { Self { by: caller.to_owned(), ..self } } else { self }
    }
}

/// Which dead letters to redrive, and how fast. What is given must hold for all of them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRedrive {
    /// Names it; the same name and filter again is the same one. Default: a fresh name.
    #[schema(value_type = Option<String>)]
    pub name: Option<Key>,
    /// Every dead letter that waits. Must be said where nothing else is.
    #[serde(default)]
    pub all: bool,
    /// Of this class.
    pub class: Option<String>,
    /// Meant for this kind.
    pub kind: Option<String>,
    /// Meant for a key that begins so.
    pub key: Option<String>,
    /// Failed by this dependency: the key of a breaker.
    #[schema(value_type = Option<String>)]
    pub dependency: Option<Key>,
    /// Given up at this time or later: milliseconds since 1970.
    #[serde(deserialize_with = "crate::rest::extract::time", default)]
    pub since: Option<u64>,
    /// Given up before this time: milliseconds since 1970.
    #[serde(deserialize_with = "crate::rest::extract::time", default)]
    pub before: Option<u64>,
    /// Entries a second. Default: 10.
    #[schema(minimum = 1, maximum = 1000)]
    pub rate: Option<u32>,
    /// Who. Default: `rest`.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

impl NewRedrive {
    /// The filter; a problem where nothing was said, or everything and something.
    pub fn filter(&self) -> Result<Filter, Problem> {
        let filter = Filter {
            class: self.class.as_deref().map(Into::into),
            kind: self.kind.as_deref().map(Into::into),
            key: self.key.as_deref().map(Into::into),
            dependency: self.dependency.clone(),
            since: self.since.map(Timestamp),
            before: self.before.map(Timestamp),
        };
        if self.all == (filter == Filter::default()) {
            return Ok(filter);
        }
        let detail = "say which dead letters are meant, or `all`, and not both";
        Err(Problem::new(code::INVALID_BODY, detail).hint("`/v1/openapi.json` has the schema"))
    }
}

/// How a campaign goes on.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeRedrive {
    /// Entries a second from now on. Default: as before.
    #[schema(minimum = 1, maximum = 1000)]
    pub rate: Option<u32>,
    /// Who. Default: `rest`.
    #[serde(default)]
    pub by: String,
}

/// Which campaigns to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListRedrives {
    /// Rows of the page, 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// One page of campaigns.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RedrivePage {
    /// Newest first.
    pub redrives: Vec<Campaign>,
    /// Where the next page begins; null at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_edit_is_json_or_bytes_and_not_both() {
        let read = |body: Value| serde_json::from_value::<EditPayload>(body).unwrap().into_command("rest");
        let Ok(Command::Edit { payload, to, by, .. }) =
            read(json!({"json": {"type": "touch"}, "to": "probe/p", "by": "ada"}))
        else {
            panic!("an edit")
        };
        assert_eq!((payload.content.as_str(), by.as_str()), (r#"{"type":"touch"}"#, "ada"));
        assert_eq!(to.map(|to| to.to_string()).as_deref(), Some("probe/p"));
        for bad in [json!({}), json!({"json": 1, "content": "1"}), json!({"content": "1", "to": "probe"})] {
            assert_eq!(read(bad).unwrap_err().code, "invalid-body");
        }
    }

    #[test]
    fn a_redrive_of_everything_must_be_said() {
        let read = |body: Value| serde_json::from_value::<NewRedrive>(body).unwrap().filter();
        assert!(read(json!({"all": true})).is_ok() && read(json!({"class": "poison"})).is_ok());
        assert!(read(json!({})).is_err() && read(json!({"all": true, "class": "poison"})).is_err());
    }
}
