//! A partition's log: append with an expected sequence, read in order, find the end.
//!
//! Every record is appended with an expected sequence in its headers. A message without one was written by no
//! host, for example by a client that named a log as its reply subject. Nor was a message of another subject, which
//! the server delivered into the log because the creator of a consumer said so. Readers skip and log them.

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bus_schemas::{LogSequence, PartitionId};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};

use crate::bus::Bus;
use crate::direct::Place;
use crate::error::Error;
use crate::publish::{self, PublishError};

/// A commit record in the log.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// Its sequence.
    pub sequence: LogSequence,
    /// The encoded record.
    pub record: Bytes,
    /// How many messages directly before it no host wrote.
    pub foreign: u64,
}

impl LogEntry {
    /// The sequence of the record before it.
    pub fn follows(&self) -> LogSequence {
        LogSequence(self.sequence.0 - 1 - self.foreign)
    }
}

/// The end of a log.
#[derive(Debug, Clone)]
pub struct LogEnd {
    /// The last record; `None` in an empty log.
    pub record: Option<LogEntry>,
    /// The sequence of the last message, including those that no host wrote.
    pub last: LogSequence,
}

impl Bus {
    /// Whether a host wrote a message in the log of a partition.
    fn is_record(&self, partition: PartitionId, subject: &str, headers: &HeaderMap) -> bool {
        subject == self.subjects().log(partition)
            && headers.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE).is_some()
    }

    /// Appends a record if `expected` is still the last sequence of the partition's subject.
    pub async fn append(
        &self,
        partition: PartitionId,
        expected: LogSequence,
        record: Bytes,
    ) -> Result<LogSequence, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.0.to_string());
        publish::acked(self, self.subjects().log(partition), headers, record).await.map(LogSequence)
    }

    /// The last record; `None` in an empty log.
    pub async fn last_record(&self, partition: PartitionId) -> Result<Option<LogEntry>, Error> {
        Ok(self.log_end(partition).await?.record)
    }

    /// The end of a partition's log.
    pub async fn log_end(&self, partition: PartitionId) -> Result<LogEnd, Error> {
        // No direct get: after an unanswered append only the leader knows what was written.
        let place = Place { subject: self.subjects().log(partition), ..self.log_place(partition) };
        let Some(message) = self.last_at(&place).await? else {
            return Ok(LogEnd { record: None, last: LogSequence(0) });
        };
        let last = LogSequence(message.sequence);
        if self.is_record(partition, &message.subject, &message.headers) {
            let record = LogEntry { sequence: last, record: message.payload, foreign: 0 };
            return Ok(LogEnd { record: Some(record), last });
        }
        let mut before = last;
        let record = loop {
            before = LogSequence(before.0 - 1);
            match before.0 {
                0 => break None,
                _ => match self.stored(partition, before).await? {
                    Some(message) if self.is_record(partition, &message.subject, &message.headers) => {
                        break Some(LogEntry { sequence: before, record: message.payload, foreign: 0 });
                    }
                    Some(_) => {}
                    None => break None,
                },
            }
        };
        Ok(LogEnd { record, last })
    }

    /// All messages in a log, whatever their subject.
    fn log_place(&self, partition: PartitionId) -> Place {
        Place { stream: self.topology().log(partition), subject: ">".to_owned() }
    }

    /// One record; `None` if it is gone, or if no host wrote the message.
    pub async fn record(
        &self,
        partition: PartitionId,
        sequence: LogSequence,
    ) -> Result<Option<LogEntry>, Error> {
        let stored = self.stored(partition, sequence).await?;
        let stored = stored.filter(|message| self.is_record(partition, &message.subject, &message.headers));
        Ok(stored.map(|message| LogEntry { sequence, record: message.payload, foreign: 0 }))
    }

    async fn stored(
        &self,
        partition: PartitionId,
        sequence: LogSequence,
    ) -> Result<Option<StreamMessage>, Error> {
        let name = self.topology().log(partition);
        let failed = |error: String| Error::call(format!("reading record {sequence} of `{name}`"), error);
        let stream = self.jetstream().get_stream_no_info(&name).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        // No direct get: a lagging replica would report the record as gone.
        match stream.get_raw_message(sequence.0).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Deletes the records up to `upto`, and returns their number. They must be archived by then: the
    /// deletion is final.
    pub async fn cut_log(&self, partition: PartitionId, upto: LogSequence) -> Result<u64, Error> {
        let name = self.topology().log(partition);
        let failed = |error: String| Error::call(format!("cutting `{name}` behind record {upto}"), error);
        let stream = self.jetstream().get_stream_no_info(&name).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let purged =
            stream.purge().sequence(upto.next().0).await.map_err(|error| failed(error.to_string()))?;
        Ok(purged.purged)
    }

    /// The records after `after`, up to the last one that exists now.
    pub async fn records_after(
        &self,
        partition: PartitionId,
        after: LogSequence,
    ) -> Result<impl Stream<Item = Result<LogEntry, Error>> + Send + Unpin + use<>, Error> {
        let place = self.log_place(partition);
        // The leader gives the end of the log: a lagging replica has less.
        let messages = self.read_until_now(place, after.next().0).await?;
        let (bus, mut foreign) = (self.clone(), 0);
        Ok(messages.try_filter_map(move |message| {
            let sequence = LogSequence(message.sequence);
            let entry = bus.is_record(partition, &message.subject, &message.headers).then(|| {
                let foreign = std::mem::take(&mut foreign);
                LogEntry { sequence, record: message.payload, foreign }
            });
            if entry.is_none() {
                foreign += 1;
                tracing::warn!(%partition, %sequence, "the log has a message that no host wrote; skipping it");
            }
            std::future::ready(Ok(entry))
        }))
    }
}
