//! Asking an entity and waiting for the answer, and handing a command over.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{HeaderMap, Request};
use bus_schemas::claims::WAIT_MS;
use bus_schemas::envelope::{code, header};
use bus_schemas::{Body, Caller, CommandId, ContentType, EntityAddress, Refusal, Reply, TraceContext};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::Instant;
use uuid::Uuid;

use crate::bounded;
use crate::bus::Bus;
use crate::error::Error;
use crate::publish::{self, PublishError};

/// How long the first attempt waits before the same command is sent again under its own id; doubles
/// up to [`ATTEMPT_TIMEOUT_MAX`]. A command that was on its way to a host as it died is never
/// answered, so this bounds what such a caller notices; a repeat of one that only waits costs a look.
const ATTEMPT_TIMEOUT_MIN: Duration = Duration::from_millis(200);
/// The longest wait of one attempt: callers of a busy partition shall not make it busier.
const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// The first pause before the next attempt; each is longer than the one before it by so much, up to
/// [`PAUSE_MAX`]. A host that is started again serves after a fifth of a second: doubling would miss it by
/// as much again.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause: a partition moves to another host within seconds.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Refusals after which the same ask is sent again.
const LATER: [&str; 3] = [code::BUSY, code::NOT_OWNER, code::COME_AGAIN];

/// How long one attempt waits for the answer to a query that waits: longer than an owner keeps it.
const WAIT_TIMEOUT: Duration = Duration::from_millis(WAIT_MS + 1_000);

/// What a content type is forwarded as that is neither JSON nor MessagePack.
const UNSUPPORTED: &str = "application/octet-stream";

/// A command with what travels beside it.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Its id: sent again under the same id it gets the first answer again.
    pub id: CommandId,
    /// For whom.
    pub to: EntityAddress,
    /// The command.
    pub body: Body,
    /// Who asks.
    pub caller: Caller,
    /// What everything caused by one request shares; the id itself when none is given.
    pub correlation: Option<CommandId>,
    /// The span that asks.
    pub trace: Option<TraceContext>,
}

impl Ask {
    /// A command under a fresh id.
    pub fn new(to: EntityAddress, body: Body) -> Self {
        let (id, caller) = (CommandId(Uuid::now_v7()), Caller::UNNAMED);
        Self { id, to, body, caller, correlation: None, trace: None }
    }
    /// Says who asks.
    #[must_use]
    pub fn caller(mut self, caller: &str) -> Self {
        self.caller = Caller::of(caller);
        self
    }
    /// Uses this id, so that the ask can be repeated safely.
    #[must_use]
    pub fn with_id(mut self, id: CommandId) -> Self {
        self.id = id;
        self
    }
    /// Says which span asks.
    #[must_use]
    pub fn traced(mut self, trace: Option<TraceContext>) -> Self {
        self.trace = trace;
        self
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut buffer = Uuid::encode_buffer();
        headers.insert(header::COMMAND_ID, &*self.id.0.hyphenated().encode_lower(&mut buffer));
        if self.body.content_type != ContentType::Json {
            headers.insert(header::CONTENT_TYPE, self.body.content_type.as_str());
        }
        if let Some(correlation) = self.correlation {
            headers.insert(header::CORRELATION, correlation.to_string());
        }
        if let Some(trace) = self.trace {
            headers.insert(header::TRACEPARENT, trace.to_traceparent());
        }
        headers
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answered in time. The command may have been applied: ask again under the same id.
    #[error("no answer from `{to}` within {:.1} s: {reason}", .waited.as_secs_f64())]
    Unanswered { to: EntityAddress, waited: Duration, reason: String },
    /// The answer is not a reply.
    #[error("reading the answer of `{to}`")]
    Malformed { to: EntityAddress, source: serde_json::Error },
}

/// What came in on a subscription for asks.
#[derive(Debug)]
pub struct Incoming {
    /// The subject.
    pub subject: String,
    /// Where the answer goes, if somebody waits.
    pub reply_to: Option<async_nats::Subject>,
    /// The id, if the sender gave one.
    pub id: Option<CommandId>,
    /// How the body is written; none when it is neither JSON nor MessagePack.
    pub content_type: Option<ContentType>,
    /// What everything caused by one request shares.
    pub correlation: Option<CommandId>,
    /// The sender's span.
    pub trace: Option<TraceContext>,
    /// The body.
    pub payload: Bytes,
}

impl Incoming {
    pub(crate) fn read(
        subject: String,
        reply_to: Option<async_nats::Subject>,
        headers: Option<&HeaderMap>,
        payload: Bytes,
    ) -> Self {
        let text = |name| headers.and_then(|headers| bounded::in_any_case(headers, name));
        Self {
            subject,
            reply_to,
            id: text(header::COMMAND_ID).or_else(|| text(header::MESSAGE_ID)).map(CommandId::from_text),
            content_type: text(header::CONTENT_TYPE).map_or(Some(ContentType::Json), ContentType::parse),
            correlation: text(header::CORRELATION).map(CommandId::from_text),
            trace: text(header::TRACEPARENT).and_then(TraceContext::parse),
            payload,
        }
    }
}

impl Bus {
    /// Asks a query and waits up to `patience` for the answer.
    pub async fn query(&self, ask: &Ask, patience: Duration) -> Result<Reply, AskError> {
        let subject =
            self.subjects().view(ask.to.partition(self.topology().partitions), &ask.caller, &ask.to);
        self.ask_on(subject, ask, patience, ATTEMPT_TIMEOUT_MIN).await
    }

    /// Asks a query that waits for something, such as the end of a task: again and again, up to `patience`.
    pub async fn wait(&self, ask: &Ask, patience: Duration) -> Result<Reply, AskError> {
        let subject =
            self.subjects().view(ask.to.partition(self.topology().partitions), &ask.caller, &ask.to);
        self.ask_on(subject, ask, patience, WAIT_TIMEOUT).await
    }

    /// Asks and waits up to `patience`, sending the same command again while a partition is between
    /// two owners. Refusals of the entity are answers, not errors.
    pub async fn ask(&self, ask: &Ask, patience: Duration) -> Result<Reply, AskError> {
        let subject = self.subjects().ask(ask.to.partition(self.topology().partitions), &ask.caller, &ask.to);
        self.ask_on(subject, ask, patience, ATTEMPT_TIMEOUT_MIN).await
    }

    async fn ask_on(
        &self,
        subject: String,
        ask: &Ask,
        patience: Duration,
        first_timeout: Duration,
    ) -> Result<Reply, AskError> {
        let (started, headers) = (Instant::now(), ask.headers());
        let (mut pause, mut attempt_timeout) = (PAUSE_MIN, first_timeout);
        loop {
            let left = patience.saturating_sub(started.elapsed());
            let request = Request::new()
                .payload(ask.body.bytes.clone())
                .headers(headers.clone())
                .timeout(Some(left.min(attempt_timeout).max(Duration::from_millis(1))));
            let reason = match self.client().send_request(subject.clone(), request).await {
                Ok(message) => match self.read_reply(ask, &message.payload)? {
                    Answer::Final(reply) => return Ok(reply),
                    Answer::Later(refusal, wait) if refusal.code == code::COME_AGAIN => {
                        pause = wait;
                        refusal.message
                    }
                    Answer::Later(refusal, wait) => {
                        pause = pause.max(wait);
                        refusal.message
                    }
                },
                Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                    "no host owns the partition".into()
                }
                Err(error) => {
                    attempt_timeout = (attempt_timeout * 2).min(ATTEMPT_TIMEOUT_MAX.max(first_timeout));
                    error.to_string()
                }
            };
            if started.elapsed() + pause >= patience {
                return Err(AskError::Unanswered { to: ask.to.clone(), waited: started.elapsed(), reason });
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            pause = (pause + PAUSE_MIN).min(PAUSE_MAX);
        }
    }

    fn read_reply(&self, ask: &Ask, payload: &[u8]) -> Result<Answer, AskError> {
        let reply = serde_json::from_slice(payload)
            .map_err(|source| AskError::Malformed { to: ask.to.clone(), source })?;
        Ok(match reply {
            Reply::Refused { refusal, .. } if LATER.contains(&refusal.code.as_str()) => {
                let wait = Duration::from_millis(refusal.retry_after_ms.unwrap_or(0)).min(PAUSE_MAX);
                Answer::Later(refusal, wait)
            }
            reply => Answer::Final(reply),
        })
    }

    /// Hands a command over: returns when JetStream has it.
    pub async fn hand_over(&self, ask: &Ask) -> Result<u64, PublishError> {
        let subject =
            self.subjects().command(ask.to.partition(self.topology().partitions), &ask.caller, &ask.to);
        let mut headers = ask.headers();
        headers.insert(header::MESSAGE_ID, ask.id.to_string());
        publish::acked(self, subject, headers, ask.body.bytes.clone()).await
    }

    /// The asks on a subject. Several subscribers with the same `group` share them.
    pub async fn incoming(
        &self,
        subject: String,
        group: Option<&str>,
    ) -> Result<impl Stream<Item = Incoming> + Send + Unpin + use<>, Error> {
        let doing = format!("subscribing to `{subject}`");
        let subscription = match group {
            Some(group) => self.client().queue_subscribe(subject, group.to_owned()).await,
            None => self.client().subscribe(subject).await,
        };
        let subscription = subscription.map_err(|error| Error::call(doing, error))?;
        Ok(subscription.map(|message| {
            Incoming::read(
                message.subject.into_string(),
                message.reply,
                message.headers.as_ref(),
                message.payload,
            )
        }))
    }

    /// Answers an ask. Lost answers are asked for again by the caller.
    pub async fn answer(&self, reply_to: async_nats::Subject, payload: Bytes) {
        if !is_inbox(&reply_to) {
            return;
        }
        if let Err(error) = self.client().publish(reply_to, payload).await {
            tracing::warn!(%error, "answering an ask");
        }
    }

    /// Sends an ask, or a query, on to the partition's own subject, with the reply going to the first caller.
    pub async fn forward(&self, (caller, to): (Caller, EntityAddress), incoming: Incoming) {
        let partition = to.partition(self.topology().partitions);
        let subject = match self.subjects().is_query(&incoming.subject) {
            true => self.subjects().view(partition, &caller, &to),
            false => self.subjects().ask(partition, &caller, &to),
        };
        let Some(reply_to) = incoming.reply_to else { return };
        let ask = Ask {
            id: incoming.id.unwrap_or_else(|| CommandId(Uuid::now_v7())),
            to,
            body: Body { content_type: incoming.content_type.unwrap_or_default(), bytes: incoming.payload },
            caller,
            correlation: incoming.correlation,
            trace: incoming.trace,
        };
        let (mut headers, payload) = (ask.headers(), ask.body.bytes);
        if incoming.content_type.is_none() {
            // The partition refuses it under its own words.
            headers.insert(header::CONTENT_TYPE, UNSUPPORTED);
        }
        let sent = self.client().publish_with_reply_and_headers(subject, reply_to, headers, payload).await;
        if let Err(error) = sent {
            tracing::warn!(%error, "forwarding an ask");
        }
    }
}

/// Whether somebody may be answered there. This process may write where the caller may not, such as into a log:
/// an answer goes to inboxes alone, whose names no stream and no subject of ours has.
pub(crate) fn is_inbox(reply_to: &str) -> bool {
    let is_inbox = reply_to.starts_with('_');
    if !is_inbox {
        tracing::warn!(reply_to, "a caller wants its answer where no inbox is; it gets none");
    }
    is_inbox
}

/// An answer, or a word that one will come later.
enum Answer {
    Final(Reply),
    Later(Refusal, Duration),
}
