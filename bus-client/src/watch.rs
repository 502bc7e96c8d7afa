//! Watching events with a durable consumer: each event is delivered until it is finished, to one of all
//! watchers with the same name, wherever they run.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::bus::Bus;
use crate::error::Error;
use crate::events::{RawMessage, StoredEvent, decode};

/// How long an event may be in progress before it is delivered again.
const ACK_WAIT: Duration = Duration::from_secs(60);

/// A delivered event.
#[derive(Debug)]
pub struct Watched {
    message: async_nats::jetstream::Message,
    /// The event, or why it cannot be read.
    pub event: Result<StoredEvent, Error>,
    /// How often it was delivered, including this time.
    pub delivered: u64,
}

impl Watched {
    /// Finishes the event; returns when the server has confirmed.
    pub async fn finish(&self) -> Result<(), Error> {
        self.message.double_ack().await.map_err(|error| Error::call("finishing an event", error))
    }
    /// Has the event delivered again after a pause.
    pub async fn give_back(&self, after: Duration) -> Result<(), Error> {
        let given = self.message.ack_with(AckKind::Nak(Some(after))).await;
        given.map_err(|error| Error::call("giving an event back", error))
    }
}

async fn watched(bus: Bus, mut message: async_nats::jetstream::Message) -> Watched {
    let (sequence, delivered) =
        message.info().map_or((0, 1), |info| (info.stream_sequence, info.delivered.unsigned_abs()));
    let raw = RawMessage {
        subject: message.message.subject.to_string(),
        sequence,
        headers: message.message.headers.take().unwrap_or_default(),
        payload: message.message.payload.clone(),
    };
    Watched { event: decode(bus, raw).await, message, delivered }
}

impl Bus {
    /// New events, or those since the first watch with this name; at most `at_once` unfinished ones for this
    /// call. Without end; errors are those of the connection.
    pub async fn watch(
        &self,
        name: &str,
        subjects: Vec<String>,
        at_once: usize,
    ) -> Result<impl Stream<Item = Result<Watched, Error>> + Send + Unpin + use<>, Error> {
        let doing = format!("watching events as `{name}`");
        let stream = self.topology().events();
        let handle = self
            .jetstream()
            .get_stream_no_info(&stream)
            .await
            .map_err(|error| Error::call(doing.clone(), error))?;
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subjects: subjects,
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            ..pull::Config::default()
        };
        let consumer =
            handle.create_consumer(config).await.map_err(|error| Error::call(doing.clone(), error))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(at_once.max(1))
            .messages()
            .await
            .map_err(|error| Error::call(doing.clone(), error))?;
        let bus = self.clone();
        Ok(messages
            .map_err(move |error| Error::call(doing.clone(), error))
            .and_then(move |message| {
                let bus = bus.clone();
                async move { Ok(watched(bus, message).await) }
            })
            .boxed())
    }
}
