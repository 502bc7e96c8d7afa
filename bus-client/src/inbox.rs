//! Durable commands of a partition, in order, and trimming behind the position.

use bus_schemas::PartitionId;
use futures::{Stream, StreamExt};

use crate::asks::Incoming;
use crate::bus::Bus;
use crate::error::Error;
use crate::following::following;

/// A durable command as it lies in the inbox.
#[derive(Debug)]
pub struct InboxEntry {
    /// Its stream sequence.
    pub sequence: u64,
    /// The command.
    pub incoming: Incoming,
}

impl Bus {
    /// The durable commands of a partition after `after`, without end.
    ///
    /// Partition 0 also gets those that the stream's transform did not match (keys that are paths):
    /// it mails them to where they belong.
    pub async fn inbox(
        &self,
        partition: PartitionId,
        after: u64,
    ) -> Result<impl Stream<Item = Result<InboxEntry, Error>> + Send + Unpin + use<>, Error> {
        let messages =
            following(self, &self.topology().inbox(), self.inbox_filters(partition), after + 1).await?;
        Ok(messages.map(|message| {
            let message = message?;
            let incoming = Incoming::read(message.subject, None, Some(&message.headers), message.payload);
            Ok(InboxEntry { sequence: message.sequence, incoming })
        }))
    }

    /// Deletes durable commands up to `upto`, which are all applied.
    pub async fn trim_inbox(&self, partition: PartitionId, upto: u64) -> Result<(), Error> {
        let name = self.topology().inbox();
        let doing = || format!("trimming `{name}`");
        let stream =
            self.jetstream().get_stream_no_info(&name).await.map_err(|error| Error::call(doing(), error))?;
        for filter in self.inbox_filters(partition) {
            stream
                .purge()
                .filter(filter)
                .sequence(upto + 1)
                .await
                .map_err(|error| Error::call(doing(), error))?;
        }
        Ok(())
    }

    fn inbox_filters(&self, partition: PartitionId) -> Vec<String> {
        let mut filters = vec![self.subjects().commands(partition)];
        if partition == PartitionId(0) {
            filters.push(self.subjects().hand_overs());
        }
        filters
    }
}
