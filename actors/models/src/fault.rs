//! Why a call has no completion.

use std::time::Duration;

use bus_schemas::text;
use hyper::HeaderMap;
use hyper::header::{DATE, RETRY_AFTER};
use serde_json::Value;

use crate::call::Usage;
use crate::secret::Secret;

/// The most bytes of a message: a provider's words are cut.
const MESSAGE_BYTES_MAX: usize = 512;
/// The bytes of a message from which the key is still to be removed.
const RAW_BYTES_MAX: usize = 16 * 1024;
/// The longest pause that a provider can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The key is missing, wrong, or may not use the model.
    Unauthorized,
    /// Too many calls, or the account is empty.
    RateLimited,
    /// The provider has no capacity at the moment.
    Overloaded,
    /// The provider failed, or the connection broke.
    Unavailable,
    /// The provider cannot be reached.
    Unreachable,
    /// The provider refuses the call as it is: an unknown model or parameter, too long a conversation.
    InvalidCall,
    /// The answer ended before the provider's terminal marker.
    Truncated,
    /// The answer ran into `max_tokens` or the size of the model's context.
    OutputLimit,
    /// The model or the provider's filter refuses to answer.
    Refused,
    /// The answer is not of the format.
    Malformed,
    /// The answer is larger than this program takes.
    TooLarge,
    /// The head of the answer, the next piece or the whole did not come in time.
    Timeout,
}

impl Kind {
    /// A stable code with an entry in `docs/errors/`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unauthorized => "model-unauthorized",
            Self::RateLimited => "model-rate-limited",
            Self::Overloaded => "model-overloaded",
            Self::Unavailable => "model-unavailable",
            Self::Unreachable => "model-unreachable",
            Self::InvalidCall => "model-call-invalid",
            Self::Truncated => "model-answer-truncated",
            Self::OutputLimit => "model-output-limit",
            Self::Refused => "model-refused",
            Self::Malformed => "model-answer-malformed",
            Self::TooLarge => "model-answer-too-large",
            Self::Timeout => "model-timeout",
        }
    }

    /// Whether the same call may succeed later, or with another provider.
    pub fn may_pass(self) -> bool {
        !matches!(self, Self::Unauthorized | Self::InvalidCall | Self::OutputLimit | Self::Refused)
    }
}

/// Why a call has no completion. The message holds no key and little of what the provider said.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The kind.
    pub kind: Kind,
    /// The cause, in a sentence.
    pub message: String,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// The tokens that the provider counted before the fault; they are paid for.
    pub usage: Option<Usage>,
    /// Whether the provider certainly began no answer.
    pub is_free: bool,
}

impl Fault {
    /// A fault without a pause.
    pub fn new(kind: Kind, message: impl AsRef<str>) -> Self {
        let message = text::cut(&text::one_line(message.as_ref()), RAW_BYTES_MAX);
        Self { kind, message, retry_after: None, usage: None, is_free: false }
    }

    /// The fault without a key in its message, which is cut.
    #[must_use]
    pub(crate) fn cleaned(mut self, key: Option<&Secret>) -> Self {
        // First the key: a cut could leave a part of it.
        let message = key.map_or_else(|| self.message.clone(), |key| key.hide_in(&self.message));
        self.message = text::cut(&message, MESSAGE_BYTES_MAX);
        self
    }

    /// An answer that is not of the format.
    pub(crate) fn malformed(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Malformed, message)
    }

    /// The fault with the tokens that were counted before it.
    #[must_use]
    pub(crate) fn counted(mut self, usage: Usage) -> Self {
        if usage != Usage::default() {
            self.usage.get_or_insert(usage);
        }
        self
    }

    /// The fault of a status other than 2xx. `body` is what was read of the answer.
    pub(crate) fn of_status(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let kind = match status {
            401 | 403 => Kind::Unauthorized,
            402 | 429 => Kind::RateLimited,
            503 | 529 => Kind::Overloaded,
            408 | 500.. => Kind::Unavailable,
            _ => Kind::InvalidCall,
        };
        let words = serde_json::from_slice::<Value>(body).ok().and_then(|body| words(&body));
        let message = match words {
            Some(words) => format!("the provider answered {status}: {words}"),
            None => format!("the provider answered {status}"),
        };
        let is_free = (400..500).contains(&status) || [503, 529].contains(&status);
        Self { retry_after: retry_after(headers), is_free, ..Self::new(kind, message) }
    }

    /// The fault of an error inside of an answer that had begun well.
    pub(crate) fn of_event(error: &Value) -> Self {
        let names = ["type", "code", "status"].map(|field| error[field].as_str().unwrap_or_default());
        let name = names.join(" ");
        let kind = match &name {
            _ if name.contains("overloaded") => Kind::Overloaded,
            _ if name.contains("rate_limit") || name.contains("insufficient_quota") => Kind::RateLimited,
            _ if name.contains("invalid_request") || name.contains("context_length") => Kind::InvalidCall,
            _ if name.contains("authentication") || name.contains("permission") => Kind::Unauthorized,
            _ => Kind::Unavailable,
        };
        let said = words(error).unwrap_or_else(|| "without a reason".to_owned());
        Self::new(kind, format!("the provider broke off: {said}"))
    }
}

/// What a provider says about an error: `error.message`, `message`, or `error` as a text.
fn words(body: &Value) -> Option<String> {
    let places = [&body["error"]["message"], &body["message"], &body["error"]];
    places.iter().find_map(|place| place.as_str()).map(str::to_owned)
}

/// The pause of `retry-after-ms`, or of `retry-after` as seconds or as a date beside the answer's own.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let millis = text("retry-after-ms").and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let pause = millis.or_else(|| {
        let after = text(RETRY_AFTER.as_str())?;
        if let Ok(seconds) = after.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = |text: &str| chrono::DateTime::parse_from_rfc2822(text).ok();
        let (until, now) = (date(after)?, date(text(DATE.as_str())?)?);
        (until - now).to_std().ok()
    });
    pause.map(|pause| pause.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_read_as_providers_write_it() {
        let pause = |pairs: &[(&'static str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            retry_after(&pairs.collect())
        };
        assert_eq!(pause(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(
            pause(&[("retry-after", "7"), ("retry-after-ms", "250")]),
            Some(Duration::from_millis(250))
        );
        let dates =
            [("date", "Mon, 30 Nov 2026 10:00:00 GMT"), ("retry-after", "Mon, 30 Nov 2026 10:01:00 GMT")];
        assert_eq!(pause(&dates), Some(Duration::from_secs(60)));
        assert_eq!(pause(&[("retry-after", "18446744073709551615")]), Some(RETRY_AFTER_MAX));
        for nonsense in ["soon", "-1", ""] {
            assert_eq!(pause(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn a_status_has_its_kind_and_the_providers_words_are_bounded() {
        let fault = |status, body: &str| Fault::of_status(status, &HeaderMap::new(), body.as_bytes());
        for (status, kind) in [
            (400, Kind::InvalidCall),
            (401, Kind::Unauthorized),
            (403, Kind::Unauthorized),
            (404, Kind::InvalidCall),
            (429, Kind::RateLimited),
            (500, Kind::Unavailable),
            (503, Kind::Overloaded),
            (529, Kind::Overloaded),
        ] {
            assert_eq!(fault(status, "").kind, kind, "{status}");
        }
        let said = fault(404, r#"{"error":{"message":"no such\u001b[2J model"}}"#).message;
        assert_eq!(said, "the provider answered 404: no such\u{fffd}[2J model");
        assert_eq!(fault(400, "<html>").message, "the provider answered 400");
        let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(9_999));
        assert!(fault(400, &long).cleaned(None).message.len() <= MESSAGE_BYTES_MAX);
    }
}
