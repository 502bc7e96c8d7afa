//! Publishing with an acknowledgement, and atomic batches (ADR-50), with the server's error codes.

use std::time::Duration;

use async_nats::client::{RequestError, RequestErrorKind};
use async_nats::{HeaderMap, Request};
use bytes::Bytes;
use serde::Deserialize;

use crate::bus::Bus;

/// The expected sequence does not match: another client wrote.
const WRONG_LAST_SEQUENCE: u64 = 10_071;
/// The expected sequence cannot be checked now: another write of the subject is in flight (replicated
/// streams).
const WRONG_LAST_SEQUENCE_UNKNOWN: u64 = 10_164;

/// The message exceeds the server's limit.
const TOO_LARGE: u64 = 10_054;
/// The headers exceed the server's limit.
const HEADERS_TOO_LARGE: u64 = 10_097;
/// The request itself is invalid: used for a message that the client library does not send.
const BAD_REQUEST: u64 = 10_003;

/// How long an answer may take after a lost connection is established again: it may be in transit, and
/// otherwise never comes.
const LATE: Duration = Duration::from_millis(500);

/// Why a publish was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// The subject's last sequence differs: this attempt wrote nothing.
    #[error("the last sequence differs: {0}")]
    Conflict(String),
    /// Refused; a retry may help.
    #[error("refused for now: {0}")]
    Retry(String),
    /// Refused: full, too large, no such stream.
    #[error("refused ({code}): {reason}")]
    Refused { code: u64, reason: String },
    /// No answer: the message may have been stored.
    #[error("no answer: {0}")]
    Unanswered(String),
}

impl PublishError {
    /// Whether the same message will never be accepted.
    pub fn is_final(&self) -> bool {
        let never = [TOO_LARGE, HEADERS_TOO_LARGE, BAD_REQUEST];
        matches!(self, Self::Refused { code, .. } if never.contains(code))
    }
}

/// JetStream's answer.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    seq: u64,
    error: Option<ApiError>,
}

#[derive(Debug, Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

fn read(payload: &[u8]) -> Result<u64, PublishError> {
    let answer: Answer = serde_json::from_slice(payload)
        .map_err(|error| PublishError::Unanswered(format!("unreadable: {error}")))?;
    match answer.error {
        None => Ok(answer.seq),
        Some(error) if error.err_code == WRONG_LAST_SEQUENCE => {
            Err(PublishError::Conflict(error.description))
        }
        Some(error) if error.err_code == WRONG_LAST_SEQUENCE_UNKNOWN => {
            Err(PublishError::Retry(error.description))
        }
        Some(error) => Err(PublishError::Refused { code: error.err_code, reason: error.description }),
    }
}

/// Publishes one message and returns its sequence.
pub(crate) async fn acked(
    bus: &Bus,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<u64, PublishError> {
    let request = Request::new().payload(payload).headers(headers).timeout(Some(bus.timeout()));
    let lost = async {
        bus.reconnected().await;
        tokio::time::sleep(LATE).await;
    };
    let answer = tokio::select! {
        answer = bus.client().send_request(subject, request) => answer,
        () = lost => return Err(PublishError::Unanswered("the connection was lost meanwhile".into())),
    };
    answer.map_err(unsent).and_then(|message| read(&message.payload))
}

/// Why there is no answer.
fn unsent(error: RequestError) -> PublishError {
    let code = match error.kind() {
        RequestErrorKind::MaxPayloadExceeded => TOO_LARGE,
        RequestErrorKind::InvalidSubject => BAD_REQUEST,
        _ => return PublishError::Unanswered(error.to_string()),
    };
    PublishError::Refused { code, reason: error.to_string() }
}

/// One message of a batch.
pub(crate) struct BatchMessage {
    pub subject: String,
    pub headers: HeaderMap,
    pub payload: Bytes,
}

/// Publishes all `count` of `messages` or none, and returns the last sequence.
///
/// At most [`BATCH_MESSAGES_MAX`] messages. Every message except the last is sent without waiting: the server
/// answers the commit for all of them.
pub(crate) async fn batch(
    bus: &Bus,
    id: &str,
    count: usize,
    messages: impl Iterator<Item = BatchMessage>,
) -> Result<u64, PublishError> {
    for (index, mut message) in messages.enumerate() {
        message.headers.insert(async_nats::header::NATS_BATCH_ID, id);
        message.headers.insert(async_nats::header::NATS_BATCH_SEQUENCE, (index + 1).to_string());
        if index + 1 == count {
            message.headers.insert(async_nats::header::NATS_BATCH_COMMIT, "1");
            return acked(bus, message.subject, message.headers, message.payload).await;
        }
        bus.client()
            .publish_with_headers(message.subject, message.headers, message.payload)
            .await
            .map_err(|error| PublishError::Unanswered(error.to_string()))?;
    }
    Ok(0)
}

/// The server's limit of messages in one batch.
pub(crate) const BATCH_MESSAGES_MAX: usize = 1_000;
