//! Jobs: publishing them, taking them, streamed output, cancellation, dead letters.

use std::error::Error as StdError;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::{AckKind, Message};
use bus_schemas::envelope::header;
use bus_schemas::jobs::{INLINE_BYTES_MAX, Job, OutputChunk};
use bus_schemas::{EntityAddress, Key, Kind, TraceContext, record};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::blobs::carried;
use crate::bounded::{self, ID_BYTES_MAX, REASON_BYTES_MAX};
use crate::bus::Bus;
use crate::error::Error;
use crate::following::following;
use crate::publish::{self, PublishError};

/// A delivered job that nobody renews for so long is delivered again.
pub const ACK_WAIT: Duration = Duration::from_secs(30);

/// How long the server keeps a request for a job: one that is lost with its server is noticed soon.
const PULL_WAIT: Duration = Duration::from_secs(3);

/// The events after which a running job is no longer wanted.
const ENDINGS: [&str; 4] = [
    "orrery.task.canceled",
    "orrery.task.cancel-requested",
    "orrery.task.failed",
    "orrery.task.attempt-withdrawn",
];

/// A job as it was delivered.
#[derive(Debug)]
pub struct Delivery {
    message: Message,
    /// The job, or why it can not be read.
    pub job: Result<Job, String>,
    /// How often it was delivered, with this one.
    pub delivered: i64,
    /// The span of the turn that issued it.
    pub trace: Option<TraceContext>,
}

impl Delivery {
    /// Says that the job is still being worked on.
    pub async fn renew(&self) -> Result<(), Error> {
        self.message.ack_with(AckKind::Progress).await.map_err(|error| Error::call("renewing a job", error))
    }
    /// Takes the job out of the queue; returns when the server has confirmed.
    pub async fn finish(&self) -> Result<(), Error> {
        self.message.double_ack().await.map_err(|error| Error::call("finishing a job", error))
    }
    /// Gives the job back to the queue.
    pub async fn give_back(&self, after: Duration) -> Result<(), Error> {
        self.message
            .ack_with(AckKind::Nak(Some(after)))
            .await
            .map_err(|error| Error::call("giving a job back", error))
    }
    /// The body as it came.
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }
}

async fn delivery(bus: Bus, mut message: Message) -> Result<Delivery, Error> {
    let delivered = message.info().map_or(1, |info| info.delivered);
    let headers = message.message.headers.take().unwrap_or_default();
    let job = match bus.body(&headers, message.payload.clone()).await {
        Ok(body) => {
            message.message.payload = body;
            serde_json::from_slice(&message.payload).map_err(|error| error.to_string())
        }
        // A body that is gone does not come back: the worker buries the job.
        Err(error @ Error::Blob { .. }) => Err(error.to_string()),
        Err(error) => return Err(error),
    };
    let trace = headers.get(header::TRACEPARENT).and_then(|value| TraceContext::parse(value.as_str()));
    Ok(Delivery { message, job, delivered, trace })
}

impl Bus {
    /// Puts a job into its agent's queue; a second time within the duplicate window is dropped.
    pub async fn publish_job(
        &self,
        job: &record::Job,
        trace: Option<TraceContext>,
    ) -> Result<u64, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::MESSAGE_ID, bounded::header(&job.id, ID_BYTES_MAX));
        headers.insert(header::CONTENT_TYPE, "application/json");
        if let Some(trace) = trace {
            headers.insert(header::TRACEPARENT, trace.to_traceparent());
        }
        let payload = carried(&job.body, &mut headers);
        publish::acked(self, self.subjects().job(&job.agent), headers, payload).await
    }

    /// The jobs of an agent. Workers of the same agent share one queue, so each job is asked for when the
    /// stream is polled and none before: what is fetched and not begun would be kept from the others.
    pub async fn take_jobs(
        &self,
        agent: &Key,
    ) -> Result<impl Stream<Item = Result<Delivery, Error>> + Send + Unpin + use<>, Error> {
        let doing = format!("taking jobs of agent `{agent}`");
        let failed = |error: String| Error::call(doing.clone(), error);
        let jobs = self.topology().jobs();
        let handle =
            self.jetstream().get_stream_no_info(&jobs).await.map_err(|error| failed(error.to_string()))?;
        let config = pull::Config {
            durable_name: Some(format!("agent-{}", agent.as_str().replace('.', "_"))),
            filter_subject: self.subjects().job(agent),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: 10_000,
            ..pull::Config::default()
        };
        let consumer = handle.create_consumer(config).await.map_err(|error| failed(error.to_string()))?;
        let messages = stream::try_unfold(consumer, |consumer| async move {
            let message = next_job(&consumer).await.map_err(|error| error.to_string())?;
            Ok::<_, String>(Some((message, consumer)))
        });
        let bus = self.clone();
        Ok(messages
            .map_err(move |error| Error::call(doing.clone(), error))
            .and_then(move |message| delivery(bus.clone(), message))
            .boxed())
    }

    /// Streams a piece of output. Output is not part of the log: a lost piece is not sent again.
    pub async fn publish_output(&self, task: &Key, chunk: &OutputChunk) {
        let payload = serde_json::to_vec(chunk).expect("a chunk is plain data");
        if let Err(error) = self.client().publish(self.subjects().output(task), payload.into()).await {
            tracing::debug!(%error, "streaming output");
        }
    }

    /// The output of a task and of everything below it, without end. Chunks that can not be read, or
    /// hold more text than a chunk may, are left out.
    pub async fn output(
        &self,
        task: &Key,
    ) -> Result<impl Stream<Item = Result<(Key, OutputChunk), Error>> + Send + Unpin + use<>, Error> {
        let stream = self.topology().output();
        let messages = following(self, &stream, self.subjects().output_tree(task).to_vec(), 0).await?;
        let prefix = format!("{}.out.", self.subjects().prefix());
        Ok(messages
            .try_filter_map(move |message| {
                let key = message.subject.strip_prefix(&prefix).and_then(|key| Key::parse(key).ok());
                let chunk = serde_json::from_slice(&message.payload).ok();
                // Readers see what is left out as a gap in the numbers.
                let bounded = chunk.filter(|chunk: &OutputChunk| chunk.text.len() <= INLINE_BYTES_MAX);
                futures::future::ready(Ok(key.zip(bounded)))
            })
            .boxed())
    }

    /// Yields when a task no longer wants its running job: it was canceled, or it failed.
    ///
    /// Listens to the task's events as they pass, which is at once; the worker's next renewal would
    /// be refused in any case, so a message that is missed costs seconds and not correctness.
    pub async fn cancellations(
        &self,
        task: &Key,
    ) -> Result<impl Stream<Item = ()> + Send + Unpin + use<>, Error> {
        let entity = EntityAddress::new(Kind::from_static("task"), task.clone());
        let subject = self.subjects().event(&entity);
        let doing = format!("subscribing to `{subject}`");
        let subscription =
            self.client().subscribe(subject).await.map_err(|error| Error::call(doing, error))?;
        Ok(subscription
            .filter_map(|message| {
                let headers = message.headers.as_ref();
                let event =
                    headers.and_then(|headers| headers.get(header::CE_TYPE)).map(|value| value.as_str());
                futures::future::ready(event.filter(|name| ENDINGS.contains(name)).map(|_| ()))
            })
            .boxed())
    }

    /// Keeps the payload of a dead letter. The same entry again is no error.
    pub async fn publish_dead(
        &self,
        kind: &str,
        entry: &str,
        reason: &str,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        headers.insert(header::REASON, bounded::header(reason, REASON_BYTES_MAX));
        // One of about the server's largest size would not fit with its headers; the journal has stored it.
        let room = self.payload_bytes_max() / 2;
        let payload = if payload.len() > room { carried(&payload, &mut headers) } else { payload };
        match publish::acked(self, self.subjects().dead(kind, entry), headers, payload).await {
            Ok(_) | Err(PublishError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The payload of a dead letter.
    pub async fn dead_payload(&self, kind: &str, entry: &str) -> Result<Option<Bytes>, Error> {
        let failed = |error: String| Error::call(format!("reading dead letter `{entry}`"), error);
        let stream = self.topology().dead();
        let handle =
            self.jetstream().get_stream_no_info(&stream).await.map_err(|error| failed(error.to_string()))?;
        match handle.direct_get_last_for_subject(self.subjects().dead(kind, entry)).await {
            Ok(message) => self.body(&message.headers, message.payload).await.map(Some),
            Err(error) if error.kind() == async_nats::jetstream::stream::DirectGetErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// The next job of a consumer, however long it takes. A request that got lost, with its server, is
/// made again after [`PULL_WAIT`] and the client's own five seconds.
async fn next_job(consumer: &Consumer<pull::Config>) -> Result<Message, Box<dyn StdError + Send + Sync>> {
    loop {
        let mut batch = consumer.batch().max_messages(1).expires(PULL_WAIT).messages().await?;
        if let Some(message) = batch.next().await {
            return message;
        }
    }
}
