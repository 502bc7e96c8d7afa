//! One entity's events, read without a consumer: a stream takes about a thousand of those, and a
//! partition may load thousands of entities in a second.
//!
//! The last event comes from the stream's leader, so that a replica that lags can not make an entity
//! older than it is; the others come in batches of direct gets (ADR-31).

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bus_schemas::envelope::header;
use bus_schemas::{EntityAddress, Hash, Revision};
use futures::StreamExt;

use crate::bus::Bus;
use crate::error::Error;
use crate::events::{RawMessage, StoredEvent, decode};

/// Messages in one batch: some hundreds of kilobytes at most events' usual size.
const BATCH_MESSAGES: u64 = 512;
/// The pause before a replica that lags behind the leader is asked again.
const LAG_PAUSE: Duration = Duration::from_millis(50);
/// `204 EOB`: the batch is complete.
const END_OF_BATCH: u16 = 204;
/// `404`: no message matches.
const NONE_FOUND: u16 = 404;

/// The last event of an entity, as far as its headers say what it is.
#[derive(Debug)]
pub struct LastEvent(RawMessage);

impl LastEvent {
    /// Its revision and its hash; none where the headers do not say them, which reading it names.
    pub fn place(&self) -> Option<(Revision, Hash)> {
        let text = |name: &str| self.0.headers.get(name).map(|value| value.as_str());
        let revision = text(header::REVISION)?.parse().ok()?;
        Some((Revision(revision), Hash::from_hex(text(header::HASH)?)?))
    }
}

impl Bus {
    /// An entity's events after `after`, up to the last one that exists now. `from` is a sequence of
    /// the event stream before which none of them stands; 0 where that is not known.
    pub async fn history(
        &self,
        entity: &EntityAddress,
        after: Revision,
        from: u64,
    ) -> Result<Vec<StoredEvent>, Error> {
        match self.last_event(entity).await? {
            Some(last) => self.history_upto(entity, last, after, from).await,
            None => Ok(Vec::new()),
        }
    }

    /// As [`Bus::history`], up to an event that is known to be the last one.
    pub async fn history_upto(
        &self,
        entity: &EntityAddress,
        last: LastEvent,
        after: Revision,
        from: u64,
    ) -> Result<Vec<StoredEvent>, Error> {
        let subject = self.subjects().event(entity);
        let last = decode(self.clone(), last.0).await?;
        if last.event.revision <= after {
            return Ok(Vec::new());
        }
        if last.event.revision == after.next() {
            return Ok(vec![last]);
        }
        let (mut events, mut next) = (Vec::new(), from.max(1));
        loop {
            let batch = self.batch_from(&subject, next).await?;
            let lags = batch.is_empty();
            for message in batch {
                next = message.sequence + 1;
                let event = decode(self.clone(), message).await?;
                let ended = event.stream_sequence >= last.stream_sequence;
                if event.event.revision > after {
                    events.push(event);
                }
                if ended {
                    return Ok(events);
                }
            }
            if lags {
                tokio::time::sleep(LAG_PAUSE).await;
            }
        }
    }

    /// An entity's last event; none where it has none.
    pub async fn last_event(&self, entity: &EntityAddress) -> Result<Option<LastEvent>, Error> {
        let subject = self.subjects().event(entity);
        let failed = |error: String| Error::call(format!("reading the last event on `{subject}`"), error);
        let stream = self.jetstream().get_stream_no_info(self.topology().events()).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let message = match stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let message = RawMessage {
            subject: message.subject.into_string(),
            sequence: message.sequence,
            pending: 0,
            headers: message.headers,
            payload: message.payload,
        };
        Ok(Some(LastEvent(message)))
    }

    /// The next messages on a subject, at most [`BATCH_MESSAGES`]; none where there are none.
    async fn batch_from(&self, subject: &str, from: u64) -> Result<Vec<RawMessage>, Error> {
        let failed = |error: String| Error::call(format!("reading the events on `{subject}`"), error);
        let inbox = self.client().new_inbox();
        let answers = self.client().subscribe(inbox.clone()).await;
        let mut answers = answers.map_err(|error| failed(error.to_string()))?;
        let get = serde_json::json!({ "seq": from, "next_by_subj": subject, "batch": BATCH_MESSAGES });
        let api = format!("$JS.API.DIRECT.GET.{}", self.topology().events());
        let asked = self.client().publish_with_reply(api, inbox, get.to_string().into()).await;
        asked.map_err(|error| failed(error.to_string()))?;
        let mut batch = Vec::new();
        loop {
            let answer = tokio::time::timeout(self.timeout(), answers.next()).await;
            let answer = answer.map_err(|_| failed("no answer".into()))?;
            let answer = answer.ok_or_else(|| failed("the connection closed".into()))?;
            match answer.status.map(|status| status.as_u16()) {
                None => batch.push(raw(answer).ok_or_else(|| failed("a message without its place".into()))?),
                Some(END_OF_BATCH | NONE_FOUND) => return Ok(batch),
                Some(status) => return Err(failed(format!("status {status}"))),
            }
        }
    }
}

/// A message as a direct get answers it: its place stands in headers beside its own.
fn raw(answer: async_nats::Message) -> Option<RawMessage> {
    let headers = answer.headers.unwrap_or_default();
    let text = |headers: &HeaderMap, name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    Some(RawMessage {
        subject: text(&headers, "Nats-Subject")?,
        sequence: text(&headers, "Nats-Sequence")?.parse().ok()?,
        pending: 0,
        payload: answer.payload,
        headers,
    })
}
