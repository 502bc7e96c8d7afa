//! Reading a stream without a consumer: a stream supports about a thousand consumers, and a short read would
//! keep one for half a minute.
//!
//! Messages come in batches of direct gets (ADR-31), which any replica answers. The end is first asked of the
//! stream's leader, so that a lagging replica cannot make a stream look shorter: it is asked again until it
//! has caught up, or for as long as a call may take.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::stream::{InfoError, LastRawMessageErrorKind};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde_json::json;
use tokio::time::Instant;

use crate::bus::Bus;
use crate::error::Error;
use crate::events::RawMessage;

/// The most messages in one batch: some hundreds of kilobytes of events of usual size.
pub(crate) const BATCH_MESSAGES: u64 = 512;
/// The most bytes in one batch: commit records and object pieces are large, and a reader of many streams must
/// not get more than it can hold.
const BATCH_BYTES: u64 = 4 << 20;
/// The most subjects in one request for last messages: with the longest keys it stays below 64 KiB, which the
/// smallest server accepts.
const SUBJECTS_PER_QUESTION: usize = 128;
/// How long the next message of a batch may take before it is requested again. A server with a busy disk
/// answers within tens of milliseconds; a request that is lost with its server is never answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before asking again after a replica that lags behind the leader, or without a leader.
pub(crate) const LAG_PAUSE: Duration = Duration::from_millis(50);
/// `204 EOB`: the batch is complete.
const END_OF_BATCH: u16 = 204;
/// `404`: no message matches.
const NONE_FOUND: u16 = 404;

/// The messages of a stream on a subject, or on those that a filter matches.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The stream.
    pub stream: String,
    /// The subject or filter.
    pub subject: String,
}

/// A read in progress, up to a sequence that the leader gave.
struct Reading {
    bus: Bus,
    place: Place,
    next: u64,
    last: u64,
    waiting: VecDeque<RawMessage>,
}

impl Place {
    fn doing(&self) -> String {
        format!("reading `{}` of stream `{}`", self.subject, self.stream)
    }
    fn failed(&self, reason: impl std::fmt::Display) -> Error {
        Error::call(self.doing(), reason)
    }
}

impl Bus {
    /// The last message at a place, according to the stream's leader.
    pub(crate) async fn last_at(&self, place: &Place) -> Result<Option<RawMessage>, Error> {
        self.asked_again(|| self.last_once(place)).await
    }

    async fn last_once(&self, place: &Place) -> Result<Option<RawMessage>, Error> {
        let stream = self.jetstream().get_stream_no_info(&place.stream).await;
        let stream = stream.map_err(|error| place.failed(error))?;
        match stream.get_last_raw_message_by_subject(&place.subject).await {
            Ok(message) => Ok(Some(RawMessage {
                subject: message.subject.into_string(),
                sequence: message.sequence,
                headers: message.headers,
                payload: message.payload,
            })),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(answer) => Err(Error::answered(place.doing(), &answer)),
                _ => Err(place.failed(error)),
            },
        }
    }

    /// The messages at a place from a sequence on, up to the last one that exists now, in order.
    pub(crate) async fn read_until_now(
        &self,
        place: Place,
        from: u64,
    ) -> Result<impl Stream<Item = Result<RawMessage, Error>> + Send + Unpin + use<>, Error> {
        let last = self.last_at(&place).await?.map_or(0, |last| last.sequence);
        Ok(self.read(place, from, last))
    }

    /// The messages at a place from a sequence up to `last`, in order. Ends with an error if the message at
    /// `last` cannot be read.
    pub(crate) fn read(
        &self,
        place: Place,
        from: u64,
        last: u64,
    ) -> impl Stream<Item = Result<RawMessage, Error>> + Send + Unpin + use<> {
        let reading = Reading { bus: self.clone(), place, next: from.max(1), last, waiting: VecDeque::new() };
        futures::stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(message) => message.map(|message| (Ok(message), Some(reading))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// The messages at several places of one stream, each up to the last one that exists now, in stream
    /// order.
    pub(crate) async fn read_all_until_now(
        &self,
        places: Vec<Place>,
        from: u64,
    ) -> Result<impl Stream<Item = Result<RawMessage, Error>> + Send + Unpin + use<>, Error> {
        let mut readings = Vec::new();
        for place in places {
            readings.push(self.read_until_now(place, from).await?.peekable());
        }
        Ok(futures::stream::unfold(readings, |mut readings| async move {
            let mut first: Option<(u64, usize)> = None;
            for (index, reading) in readings.iter_mut().enumerate() {
                let sequence = match std::pin::Pin::new(reading).peek().await {
                    Some(Ok(message)) => message.sequence,
                    // An error is yielded at once.
                    Some(Err(_)) => 0,
                    None => continue,
                };
                first = first.into_iter().chain([(sequence, index)]).min();
            }
            let message = readings[first?.1].next().await?;
            Some((message, readings))
        })
        .boxed())
    }

    /// The last message on each subject, in no order; a subject without messages is left out.
    pub(crate) async fn last_on(&self, stream: &str, subjects: &[String]) -> Result<Vec<RawMessage>, Error> {
        let mut found = Vec::with_capacity(subjects.len());
        for some in subjects.chunks(SUBJECTS_PER_QUESTION) {
            let place = |subject: &String| Place { stream: stream.to_owned(), subject: subject.clone() };
            let mut left = some.to_vec();
            while let Some(first) = left.first() {
                let wanted = json!({ "multi_last": left, "batch": left.len(), "max_bytes": BATCH_BYTES });
                let answers = self.direct(&place(first), &wanted.to_string()).await?;
                if answers.is_empty() {
                    break;
                }
                left.retain(|subject| !answers.iter().any(|message| message.subject == *subject));
                found.extend(answers);
            }
            // A lagging replica may miss some.
            for subject in &left {
                found.extend(self.last_at(&place(subject)).await?);
            }
        }
        Ok(found)
    }

    /// All subjects of a stream that a filter matches, according to the leader.
    pub(crate) async fn subjects_of(&self, stream: &str, filter: &str) -> Result<Vec<String>, Error> {
        let place = Place { stream: stream.to_owned(), subject: filter.to_owned() };
        self.asked_again(|| self.subjects_once(&place)).await
    }

    async fn subjects_once(&self, place: &Place) -> Result<Vec<String>, Error> {
        // A permanent error, such as for a missing stream, is not retried.
        let failed = |error: InfoError| match error.kind() {
            RequestErrorKind::Other => Error::Refused { doing: place.doing(), reason: error.to_string() },
            _ => place.failed(error),
        };
        let handle = self.jetstream().get_stream_no_info(&place.stream).await;
        let handle = handle.map_err(|error| place.failed(error))?;
        let mut pages = handle.info_with_subjects(&place.subject).await.map_err(failed)?;
        let mut subjects = Vec::new();
        while let Some(subject) = pages.next().await {
            subjects.push(subject.map_err(failed)?.0);
        }
        Ok(subjects)
    }

    /// Repeats a request while there is no leader, for as long as a call may take.
    async fn asked_again<T, F: Future<Output = Result<T, Error>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.timeout();
        loop {
            match ask().await {
                Err(error) if error.is_temporary() && Instant::now() < deadline => {
                    tracing::debug!(%error, "nobody answers; asking again");
                }
                answer => return answer,
            }
            tokio::time::sleep(LAG_PAUSE).await;
        }
    }

    /// The next messages at a place, at most [`BATCH_MESSAGES`]; empty if the answering server has none.
    pub(crate) async fn batch_from(&self, place: &Place, from: u64) -> Result<Vec<RawMessage>, Error> {
        let wanted = json!({
            "seq": from,
            "next_by_subj": place.subject,
            "batch": BATCH_MESSAGES,
            "max_bytes": BATCH_BYTES,
        });
        self.direct(place, &wanted.to_string()).await
    }

    /// Requests a batch, again while no server answers, for as long as a call may take.
    pub(crate) async fn direct(&self, place: &Place, wanted: &str) -> Result<Vec<RawMessage>, Error> {
        self.asked_again(|| self.direct_once(place, wanted)).await
    }

    async fn direct_once(&self, place: &Place, wanted: &str) -> Result<Vec<RawMessage>, Error> {
        let inbox = self.client().new_inbox();
        let answers = self.client().subscribe(inbox.clone()).await;
        let mut answers = answers.map_err(|error| place.failed(error))?;
        let api = format!("$JS.API.DIRECT.GET.{}", place.stream);
        let asked = self.client().publish_with_reply(api, inbox, Bytes::from(wanted.to_owned())).await;
        asked.map_err(|error| place.failed(error))?;
        let mut batch = Vec::new();
        loop {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, answers.next()).await;
            let answer = answer.map_err(|_| place.failed("no answer"))?;
            let answer = answer.ok_or_else(|| place.failed("the connection closed"))?;
            match answer.status.map(|status| status.as_u16()) {
                None => {
                    batch.push(raw(answer).ok_or_else(|| place.failed("a message without its place"))?);
                }
                Some(END_OF_BATCH | NONE_FOUND) => return Ok(batch),
                Some(status) => return Err(place.failed(format!("status {status}"))),
            }
        }
    }
}

impl Reading {
    /// The next message; `None` after the last.
    async fn next(&mut self) -> Result<Option<RawMessage>, Error> {
        let deadline = Instant::now() + self.bus.timeout();
        while self.waiting.is_empty() {
            if self.next > self.last {
                return Ok(None);
            }
            self.waiting = self.bus.batch_from(&self.place, self.next).await?.into();
            if self.waiting.is_empty() {
                if Instant::now() >= deadline {
                    let last = self.last;
                    return Err(self
                        .place
                        .failed(format!("the stream goes up to {last}, and less was read")));
                }
                tokio::time::sleep(LAG_PAUSE).await;
            }
        }
        let message = self.waiting.pop_front().filter(|message| message.sequence <= self.last);
        self.next = message.as_ref().map_or(u64::MAX, |message| message.sequence + 1);
        Ok(message)
    }
}

/// A message from the answer to a direct get, whose extra headers hold its place.
fn raw(answer: async_nats::Message) -> Option<RawMessage> {
    let headers = answer.headers.unwrap_or_default();
    let text = |headers: &HeaderMap, name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    Some(RawMessage {
        subject: text(&headers, "Nats-Subject")?,
        sequence: text(&headers, "Nats-Sequence")?.parse().ok()?,
        payload: answer.payload,
        headers,
    })
}
