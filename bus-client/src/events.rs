//! The event stream: written by the fan-out, read by many.

use std::collections::HashSet;

use async_nats::{HeaderMap, HeaderName};
use bus_schemas::envelope::header;
use bus_schemas::topology::Store;
use bus_schemas::{CommandId, EntityAddress, Hash, LogSequence, PartitionId, Revision, Timestamp, record};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::json;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::blobs::carried;
use crate::bus::Bus;
use crate::direct::Place;
use crate::error::Error;
use crate::following::following;
use crate::publish::{self, BATCH_MESSAGES_MAX, BatchMessage, PublishError};

/// The largest allowed difference between the clocks of hosts, in milliseconds; `orrery doctor` fails above
/// it.
const SKEW_MS: u64 = 60_000;

/// An event as stored in the stream.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its sequence in the event stream. It changes when the stream is rebuilt: remember `cursor` instead.
    pub stream_sequence: u64,
    /// The entity.
    pub entity: EntityAddress,
    /// The event: revision, type, schema, hash, body.
    pub event: record::Event,
    /// Its place in the log: partition, record, index within the record.
    pub cursor: Cursor,
    /// When it happened, in RFC 3339.
    pub time: String,
    /// The command that caused it.
    pub cause: Option<CommandId>,
    /// The correlation, shared by everything that one request caused.
    pub correlation: Option<CommandId>,
    /// The W3C trace context.
    pub traceparent: Option<String>,
}

/// The place of an event in its partition's log. Ordered; unchanged by a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The partition.
    pub partition: PartitionId,
    /// The record.
    pub record: LogSequence,
    /// The event within the record, from 0.
    pub index: u32,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.partition, self.record, self.index)
    }
}

impl std::str::FromStr for Cursor {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (partition, record, index) = (number(), number(), number());
        match (partition, record, index, parts.next()) {
            (Some(partition), Some(record), Some(index), None) if partition <= u64::from(u16::MAX) => {
                Ok(Self {
                    partition: PartitionId(partition as u16),
                    record: LogSequence(record),
                    index: u32::try_from(index).map_err(|_| "the index is too large")?,
                })
            }
            _ => Err("a cursor is `<partition>.<record>.<index>`"),
        }
    }
}

/// Selects events, from a sequence on.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Subject filters; empty for all events.
    pub subjects: Vec<String>,
    /// The first stream sequence; 0 for the beginning.
    pub from: u64,
}

/// An event to be published.
#[derive(Debug, Clone)]
pub struct OutgoingEvent<'a> {
    /// The entity.
    pub entity: &'a EntityAddress,
    /// The event.
    pub event: &'a record::Event,
    /// Its place in the log.
    pub cursor: Cursor,
    /// Its turn.
    pub turn: &'a record::Turn,
    /// Whether the stream must have no event of the entity yet: otherwise the server refuses it, and the
    /// whole batch with it.
    pub first: bool,
}

/// The extent of a stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamState {
    /// The first sequence.
    pub first_sequence: u64,
    /// The last sequence; 0 if nothing was ever written.
    pub last_sequence: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A message of a stream.
#[derive(Debug)]
pub(crate) struct RawMessage {
    pub subject: String,
    pub sequence: u64,
    pub headers: HeaderMap,
    pub payload: Bytes,
}

/// The extent of a stream.
pub(crate) async fn stream_state(bus: &Bus, name: &str) -> Result<StreamState, Error> {
    let failed = |error: String| Error::call(format!("asking for the state of stream `{name}`"), error);
    let stream = bus.jetstream().get_stream(name).await.map_err(|error| failed(error.to_string()))?;
    let state = &stream.cached_info().state;
    Ok(StreamState {
        first_sequence: state.first_sequence,
        last_sequence: state.last_sequence,
        messages: state.messages,
        bytes: state.bytes,
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    // A static name is neither checked nor copied.
    headers.get(HeaderName::from_static(name)).map(async_nats::HeaderValue::as_str)
}

pub(crate) async fn decode(bus: Bus, mut message: RawMessage) -> Result<StoredEvent, Error> {
    message.payload = bus.body(Store::Blobs, &message.headers, message.payload).await?;
    let unreadable = |reason: String| Error::Event {
        sequence: message.sequence,
        subject: message.subject.clone(),
        reason,
    };
    let missing = |name: &str| unreadable(format!("header `{name}` is missing or malformed"));
    let number = |name| text(&message.headers, name).and_then(|text| text.parse::<u64>().ok());
    let entity = bus.subjects().entity(&message.subject).map_err(|error| unreadable(error.to_string()))?;
    let event_type = text(&message.headers, header::CE_TYPE)
        .and_then(|name| name.rsplit('.').next())
        .ok_or_else(|| missing(header::CE_TYPE))?;
    let event = record::Event {
        revision: Revision(number(header::REVISION).ok_or_else(|| missing(header::REVISION))?),
        event_type: SmolStr::new(event_type),
        schema: number(header::SCHEMA)
            .and_then(|schema| u16::try_from(schema).ok())
            .ok_or_else(|| missing(header::SCHEMA))?,
        hash: text(&message.headers, header::HASH)
            .and_then(Hash::from_hex)
            .ok_or_else(|| missing(header::HASH))?,
        body: message.payload.clone(),
    };
    let id = |name| text(&message.headers, name).map(CommandId::from_text);
    Ok(StoredEvent {
        stream_sequence: message.sequence,
        entity,
        event,
        cursor: text(&message.headers, header::CURSOR)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| missing(header::CURSOR))?,
        time: text(&message.headers, header::CE_TIME).unwrap_or_default().to_owned(),
        cause: id(header::CAUSE),
        correlation: id(header::CORRELATION),
        traceparent: text(&message.headers, header::TRACEPARENT).map(str::to_owned),
    })
}

impl Bus {
    /// The extent of the event stream.
    pub async fn events_state(&self) -> Result<StreamState, Error> {
        stream_state(self, &self.topology().events()).await
    }

    /// The extent of any stream.
    pub async fn state_of(&self, stream: &str) -> Result<StreamState, Error> {
        stream_state(self, stream).await
    }

    /// Events in order, without end: the existing ones, then new ones.
    pub async fn events(
        &self,
        query: EventQuery,
    ) -> Result<impl Stream<Item = Result<StoredEvent, Error>> + Send + Unpin + use<>, Error> {
        // Without a filter the server reads twice as fast; marks are then skipped here.
        let marks: HashSet<String> = match query.subjects.is_empty() {
            true => self.topology().all_partitions().map(|id| self.subjects().mark(id)).collect(),
            false => HashSet::new(),
        };
        let messages = following(self, &self.topology().events(), query.subjects, query.from).await?;
        let events = messages
            .try_filter(move |message| futures::future::ready(!marks.contains(message.subject.as_str())));
        let bus = self.clone();
        Ok(events.and_then(move |message| decode(bus.clone(), message)).boxed())
    }

    /// The events that exist now, in order. A message that is no event is an [`Error::Event`], and reading
    /// continues after it.
    pub async fn events_until_now(
        &self,
        query: EventQuery,
    ) -> Result<impl Stream<Item = Result<StoredEvent, Error>> + Send + Unpin + use<>, Error> {
        let subjects =
            if query.subjects.is_empty() { vec![self.subjects().events(None)] } else { query.subjects };
        let place = |subject| Place { stream: self.topology().events(), subject };
        let places = subjects.into_iter().map(place).collect();
        let messages = self.read_all_until_now(places, query.from).await?;
        let bus = self.clone();
        Ok(messages.and_then(move |message| decode(bus.clone(), message)).boxed())
    }

    /// The last event that exists now, of any entity.
    pub async fn newest_event(&self) -> Result<Option<StoredEvent>, Error> {
        let place = Place { stream: self.topology().events(), subject: self.subjects().events(None) };
        match self.last_at(&place).await? {
            Some(message) => decode(self.clone(), message).await.map(Some),
            None => Ok(None),
        }
    }

    /// A sequence of the event stream before which all events are older than a time, as far as the hosts'
    /// clocks agree to a minute. Found by bisection: some twenty messages are read.
    pub async fn events_before(&self, time: Timestamp) -> Result<u64, Error> {
        let place = Place { stream: self.topology().events(), subject: self.subjects().events(None) };
        let state = self.events_state().await?;
        let (mut low, mut high) = (state.first_sequence, state.last_sequence + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let wanted = json!({ "seq": middle, "batch": 1, "next_by_subj": place.subject });
            let found = self.direct(&place, &wanted.to_string()).await?.into_iter().next();
            let at = found.and_then(|found| Timestamp::parse_rfc3339(text(&found.headers, header::CE_TIME)?));
            match at {
                Some(at) if at.0 + SKEW_MS < time.0 => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// A partition's mark: the log sequence up to which its events are in the stream, and the mark's own
    /// sequence.
    pub async fn mark(&self, partition: PartitionId) -> Result<Mark, Error> {
        let place = Place { stream: self.topology().events(), subject: self.subjects().mark(partition) };
        let Some(message) = self.last_at(&place).await? else { return Ok(Mark::default()) };
        let text = std::str::from_utf8(&message.payload).unwrap_or_default();
        let mark = text
            .split_once('.')
            .and_then(|(upto, partial)| Some((upto.parse().ok()?, partial.parse().ok()?)))
            .map(|(upto, partial)| Mark { sequence: message.sequence, upto: LogSequence(upto), partial });
        let doing = || format!("reading the mark of partition {partition}");
        mark.ok_or_else(|| Error::call(doing(), "the mark is not `<record>.<events>`"))
    }

    /// Publishes events with the mark that covers them: all or nothing, and only if `mark` is still the last
    /// one. The server refuses more than [`EVENTS_PER_BATCH_MAX`].
    pub async fn publish_events(
        &self,
        partition: PartitionId,
        mark: Mark,
        upto: LogSequence,
        partial: u32,
        events: &[OutgoingEvent<'_>],
    ) -> Result<Mark, PublishError> {
        self.ready().await;
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, mark.sequence.to_string());
        let (subject, payload) = (self.subjects().mark(partition), format!("{upto}.{partial}").into());
        let behind = events.len() as u64;
        let last = if behind == 0 {
            publish::acked(self, subject, headers, payload).await?
        } else {
            let first = BatchMessage { subject, headers, payload };
            let mut times = Times::default();
            let rest = events.iter().map(|event| self.outgoing(event, &mut times));
            let id = format!("{partition}-{}-{upto}.{partial}", mark.sequence);
            publish::batch(self, &id, events.len() + 1, std::iter::once(first).chain(rest)).await?
        };
        // The messages of one batch have consecutive sequences.
        Ok(Mark { sequence: last - behind, upto, partial })
    }

    fn outgoing(&self, outgoing: &OutgoingEvent<'_>, times: &mut Times) -> BatchMessage {
        let OutgoingEvent { entity, event, cursor, turn, first } = outgoing;
        let (kind, key, revision) = (entity.kind.as_str(), entity.key.as_str(), event.revision.0.to_string());
        let mut headers = HeaderMap::new();
        let mut put = |name, value: String| headers.insert(HeaderName::from_static(name), value);
        put(header::CE_SPECVERSION, "1.0".to_owned());
        put(header::CE_ID, [kind, "/", key, "/", revision.as_str()].concat());
        put(header::CE_TYPE, ["orrery.", kind, ".", event.event_type.as_str()].concat());
        put(header::CE_SOURCE, ["/", kind, "/", key].concat());
        put(header::CE_TIME, times.text(turn.at).to_owned());
        put(header::REVISION, revision);
        put(header::SCHEMA, event.schema.to_string());
        put(header::HASH, event.hash.to_hex());
        put(header::CURSOR, cursor.to_string());
        put(header::CAUSE, id_text(turn.command.id));
        put(header::CORRELATION, id_text(turn.command.correlation));
        if let Some(trace) = turn.command.trace {
            put(header::TRACEPARENT, trace.to_traceparent());
        }
        if *first {
            headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        }
        let payload = carried(&event.body, &mut headers);
        BatchMessage { subject: self.subjects().event(entity), headers, payload }
    }
}

/// An id as header text.
fn id_text(id: CommandId) -> String {
    id.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// Caches the text of the last time: the turns of a group share it.
#[derive(Debug, Default)]
struct Times {
    last: Timestamp,
    text: String,
}

impl Times {
    fn text(&mut self, at: Timestamp) -> &str {
        if self.text.is_empty() || self.last != at {
            (self.last, self.text) = (at, at.to_rfc3339());
        }
        &self.text
    }
}

/// The most events in one batch: the mark takes one place.
pub const EVENTS_PER_BATCH_MAX: usize = BATCH_MESSAGES_MAX - 1;

/// How far a partition's events are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The mark's own sequence in the event stream; 0 if there is none.
    pub sequence: u64,
    /// The last log sequence whose events are all in the stream.
    pub upto: LogSequence,
    /// How many events of the record after `upto` are in the stream too: a record may hold more events than a
    /// batch.
    pub partial: u32,
}
