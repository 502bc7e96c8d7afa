//! Asking an entity and waiting for the reply, and handing a command over.

use std::time::Duration;

use async_nats::HeaderMap;
use bus_schemas::claims::WAIT_MS;
use bus_schemas::envelope::{code, header};
use bus_schemas::{
    Body, Caller, CommandId, ContentType, EntityAddress, PartitionId, Refusal, Reply, TraceContext,
};
use bytes::Bytes;
use futures::stream::{BoxStream, select};
use futures::{Stream, StreamExt};
use tokio::time::Instant;
use uuid::Uuid;

use crate::batch::Outcome;
use crate::bus::Bus;
use crate::disturbance::Answer as Fate;
use crate::error::Error;
use crate::publish::{self, PublishError};
use crate::{ReplyTo, batch, bounded};

/// How long the first attempt waits before the command is sent again under the same id; doubles up to
/// [`ATTEMPT_TIMEOUT_MAX`]. A command in transit to a host that died is never answered, so this limits the
/// delay that its caller sees; a repeat of a command that still waits costs one lookup.
const ATTEMPT_TIMEOUT_MIN: Duration = Duration::from_millis(200);
/// The longest wait of one attempt, so that repeats do not load a busy partition further.
const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(5);
/// The first pause before the next attempt; each pause is longer by this much, up to [`PAUSE_MAX`]. A
/// restarted host serves after a fifth of a second, which doubling could miss by as much again.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause: a partition moves to another host within seconds.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The codes of refusals after which the same ask is sent again.
const LATER: [&str; 3] = [code::BUSY, code::NOT_OWNER, code::COME_AGAIN];

/// How long one attempt of a waiting query waits: longer than an owner parks it.
const WAIT_TIMEOUT: Duration = Duration::from_millis(WAIT_MS + 1_000);

/// A command or query with its envelope.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The id: sent again under the same id, it gets the first reply again.
    pub id: CommandId,
    /// The receiver.
    pub to: EntityAddress,
    /// The encoded command or query.
    pub body: Body,
    /// The caller.
    pub caller: Caller,
    /// The correlation; `None` for the id itself.
    pub correlation: Option<CommandId>,
    /// The span of the caller.
    pub trace: Option<TraceContext>,
}

impl Ask {
    /// An ask under a fresh id.
    pub fn new(to: EntityAddress, body: Body) -> Self {
        let (id, caller) = (CommandId(Uuid::now_v7()), Caller::UNNAMED);
        Self { id, to, body, caller, correlation: None, trace: None }
    }
    /// Sets the caller.
    #[must_use]
    pub fn caller(mut self, caller: &str) -> Self {
        self.caller = Caller::of(caller);
        self
    }
    /// Sets the id, so that the ask can be repeated safely.
    #[must_use]
    pub fn with_id(mut self, id: CommandId) -> Self {
        self.id = id;
        self
    }
    /// Sets the span of the caller.
    #[must_use]
    pub fn traced(mut self, trace: Option<TraceContext>) -> Self {
        self.trace = trace;
        self
    }

    pub(crate) fn headers(&self) -> HeaderMap {
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

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No reply came in time. The command may have been applied: ask again under the same id.
    #[error("no answer from `{to}` within {:.1} s: {reason}", .waited.as_secs_f64())]
    Unanswered { to: EntityAddress, waited: Duration, reason: String },
    /// The answer is no reply.
    #[error("reading the answer of `{to}`: {reason}")]
    Malformed { to: EntityAddress, reason: String },
}

/// A message on a subscription for asks.
#[derive(Debug)]
pub struct Incoming {
    /// The subject.
    pub subject: String,
    /// The reply subject, if the sender waits.
    pub reply_to: Option<ReplyTo>,
    /// The id, if the sender set one.
    pub id: Option<CommandId>,
    /// The encoding of the body; `None` if it is neither JSON nor MessagePack.
    pub content_type: Option<ContentType>,
    /// The correlation, if the sender set one.
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
            reply_to: reply_to.map(ReplyTo::from),
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
        self.ask_again(self.home(ask), true, ask, patience, ATTEMPT_TIMEOUT_MIN).await
    }

    /// Asks a partition for the status of a command.
    pub async fn command_status(
        &self,
        partition: PartitionId,
        ask: &Ask,
        patience: Duration,
    ) -> Result<Reply, AskError> {
        self.ask_again(partition, true, ask, patience, ATTEMPT_TIMEOUT_MIN).await
    }

    /// Asks a waiting query, such as for the end of a task, repeatedly for up to `patience`.
    pub async fn wait(&self, ask: &Ask, patience: Duration) -> Result<Reply, AskError> {
        self.ask_again(self.home(ask), true, ask, patience, WAIT_TIMEOUT).await
    }

    /// Asks and waits up to `patience`. Sends the same command again while a partition is between two owners.
    /// An entity's refusal is a reply, not an error.
    pub async fn ask(&self, ask: &Ask, patience: Duration) -> Result<Reply, AskError> {
        self.ask_again(self.home(ask), false, ask, patience, ATTEMPT_TIMEOUT_MIN).await
    }

    fn home(&self, ask: &Ask) -> PartitionId {
        ask.to.partition(self.topology().partitions)
    }

    async fn ask_again(
        &self,
        partition: PartitionId,
        is_query: bool,
        ask: &Ask,
        patience: Duration,
        first_timeout: Duration,
    ) -> Result<Reply, AskError> {
        let started = Instant::now();
        let (mut pause, mut attempt_timeout) = (PAUSE_MIN, first_timeout);
        loop {
            let left = patience.saturating_sub(started.elapsed());
            let wait = left.min(attempt_timeout).max(Duration::from_millis(1));
            let reason = match tokio::time::timeout(wait, self.ask_once(partition, is_query, ask)).await {
                Ok(Ok(Outcome::Reply(reply))) => match later(reply) {
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
                Ok(Ok(Outcome::Malformed(reason))) => {
                    return Err(AskError::Malformed { to: ask.to.clone(), reason });
                }
                Ok(Ok(Outcome::NoResponders)) => "no host owns the partition".into(),
                Ok(Ok(Outcome::Closed)) => "the connection is closed".into(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => {
                    attempt_timeout = (attempt_timeout * 2).min(ATTEMPT_TIMEOUT_MAX.max(first_timeout));
                    "the partition did not reply".into()
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

    async fn ask_once(&self, partition: PartitionId, is_query: bool, ask: &Ask) -> Result<Outcome, Error> {
        Ok(self.batches().await?.ask(partition, is_query, ask).await)
    }

    /// Hands a command over; returns its stream sequence once JetStream has stored it.
    pub async fn hand_over(&self, ask: &Ask) -> Result<u64, PublishError> {
        let subject =
            self.subjects().command(ask.to.partition(self.topology().partitions), &ask.caller, &ask.to);
        publish::acked(self, subject, ask.headers(), ask.body.bytes.clone()).await
    }

    /// The asks on a subject, shared by all subscribers with the same `group`.
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

    /// The commands and queries that a partition is asked, each in a message of its own or in batches.
    pub async fn asks(&self, partition: PartitionId) -> Result<BoxStream<'static, Incoming>, Error> {
        let asks = self.incoming(self.subjects().asks(partition), None).await?;
        let views = self.incoming(self.subjects().views(partition), None).await?;
        let batched = self.batched(partition).await?;
        Ok(self.hearing(partition, select(select(asks, views), batched)))
    }

    /// Sends a reply. If it is lost, the caller asks again.
    pub async fn answer(&self, reply_to: ReplyTo, payload: Bytes) {
        self.answer_all(vec![(reply_to, payload)]).await;
    }

    /// Sends replies. Those to one batch's inbox share messages.
    pub async fn answer_all(&self, replies: Vec<(ReplyTo, Bytes)>) {
        let mut batches: Vec<(ReplyTo, Vec<Bytes>)> = Vec::new();
        for (to, reply) in replies {
            match self.fate_of_answer(&to) {
                Fate::Now if to.is_batch => match batches.iter_mut().find(|(known, _)| *known == to) {
                    Some((_, replies)) => replies.push(reply),
                    None => batches.push((to, vec![reply])),
                },
                Fate::Now => self.answer_now(&to, &[reply]).await,
                Fate::Never => {}
                Fate::After(delay) => {
                    let bus = self.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        bus.answer_now(&to, &[reply]).await;
                    });
                }
            }
        }
        for (to, replies) in batches {
            self.answer_now(&to, &replies).await;
        }
    }

    async fn answer_now(&self, to: &ReplyTo, replies: &[Bytes]) {
        if !is_inbox(to.as_str()) {
            return;
        }
        let payloads = if to.is_batch {
            batch::together(replies, self.payload_bytes_max() / 2)
        } else {
            replies.to_vec()
        };
        for payload in payloads {
            self.send_answer(to.subject.clone(), payload).await;
        }
    }

    async fn send_answer(&self, to: async_nats::Subject, payload: Bytes) {
        if let Err(error) = self.client().publish(to, payload).await {
            tracing::warn!(%error, "answering an ask");
        }
    }
}

/// Whether a reply may be sent to a subject. This process may write where the caller may not, such as to a
/// log, so replies go only to inboxes, whose names no stream and no subject of Orrery uses.
pub(crate) fn is_inbox(reply_to: &str) -> bool {
    let is_inbox = reply_to.starts_with('_');
    if !is_inbox {
        tracing::warn!(reply_to, "a caller wants its answer where no inbox is; it gets none");
    }
    is_inbox
}

/// Tells a final reply from one after which the ask is sent again.
fn later(reply: Reply) -> Answer {
    match reply {
        Reply::Refused { refusal, .. } if LATER.contains(&refusal.code.as_str()) => {
            let wait = Duration::from_millis(refusal.retry_after_ms.unwrap_or(0)).min(PAUSE_MAX);
            Answer::Later(refusal, wait)
        }
        reply => Answer::Final(reply),
    }
}

/// A reply, or the notice that one will come later.
enum Answer {
    Final(Reply),
    Later(Refusal, Duration),
}
