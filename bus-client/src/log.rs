//! A partition's log: append with an expectation, read in order, find the end.

use async_nats::HeaderMap;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bus_schemas::{LogSequence, PartitionId};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};

use crate::bus::Bus;
use crate::direct::Place;
use crate::error::Error;
use crate::publish::{self, PublishError};

/// A commit record as it lies in the log.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// Its sequence.
    pub sequence: LogSequence,
    /// The encoded record.
    pub record: Bytes,
}

impl Bus {
    /// Appends a record if `expected` is still the last sequence of the partition's subject.
    pub async fn append(
        &self,
        partition: PartitionId,
        expected: LogSequence,
        record: Bytes,
    ) -> Result<LogSequence, PublishError> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.0.to_string());
        publish::acked(self, self.subjects().log(partition), headers, record).await.map(LogSequence)
    }

    /// The last record, or none in an empty log.
    pub async fn last_record(&self, partition: PartitionId) -> Result<Option<LogEntry>, Error> {
        // Not a direct get: after an unanswered append only the leader knows what was written.
        let last = self.last_at(&self.log_place(partition)).await?;
        Ok(last.map(|message| LogEntry { sequence: LogSequence(message.sequence), record: message.payload }))
    }

    fn log_place(&self, partition: PartitionId) -> Place {
        Place { stream: self.topology().log(partition), subject: self.subjects().log(partition) }
    }

    /// One record; none where it is not there any more.
    pub async fn record(
        &self,
        partition: PartitionId,
        sequence: LogSequence,
    ) -> Result<Option<LogEntry>, Error> {
        let name = self.topology().log(partition);
        let failed = |error: String| Error::call(format!("reading record {sequence} of `{name}`"), error);
        let stream = self.jetstream().get_stream_no_info(&name).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        // Not a direct get: a replica that lags would say that it is gone.
        match stream.get_raw_message(sequence.0).await {
            Ok(message) => Ok(Some(LogEntry { sequence, record: message.payload })),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Whether the server lets the beginning of a partition's log be cut: a log that was made before
    /// there were cuts denies it for ever.
    pub async fn may_cut(&self, partition: PartitionId) -> Result<bool, Error> {
        let name = self.topology().log(partition);
        let stream = self.jetstream().get_stream(&name).await;
        let stream =
            stream.map_err(|error| Error::call(format!("reading the settings of `{name}`"), error))?;
        Ok(!stream.cached_info().config.deny_purge)
    }

    /// Removes the records up to `upto`, and says how many there were. What needs them must have them
    /// from elsewhere by then: nothing brings them back.
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
        // The leader says where the log ends: a replica that lags has less than there is.
        let messages = self.read_until_now(place, after.next().0).await?;
        Ok(messages
            .map_ok(|message| LogEntry { sequence: LogSequence(message.sequence), record: message.payload }))
    }
}
