//! The durable inbox of a partition: reading commands in order, and trimming applied ones.

mod reading;

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::header::NATS_EXPECTED_STREAM;
use async_nats::{HeaderMap, Request};
use bus_schemas::{Caller, EntityAddress, Key, Kind, PartitionId};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::BoxStream;
use serde::Deserialize;

use crate::asks::Incoming;
use crate::bus::Bus;
use crate::error::Error;

/// A durable command in the inbox.
#[derive(Debug)]
pub struct InboxEntry {
    /// The stream sequence.
    pub sequence: u64,
    /// The command.
    pub incoming: Incoming,
}

impl Bus {
    /// The durable commands of a partition after `after`, without end.
    pub async fn inbox(
        &self,
        partition: PartitionId,
        after: u64,
    ) -> Result<BoxStream<'static, Result<InboxEntry, Error>>, Error> {
        let messages = reading::read(self, self.topology().inbox(partition), after + 1).await?;
        let entries = messages.map(|message| {
            let message = message?;
            let incoming = Incoming::read(message.subject, None, Some(&message.headers), message.payload);
            Ok(InboxEntry { sequence: message.sequence, incoming })
        });
        Ok(self.hearing(partition, entries))
    }

    /// Deletes durable commands up to `upto`, which are all applied.
    pub async fn trim_inbox(&self, partition: PartitionId, upto: u64) -> Result<(), Error> {
        let name = self.topology().inbox(partition);
        let doing = || format!("trimming `{name}`");
        let stream =
            self.jetstream().get_stream_no_info(&name).await.map_err(|error| Error::call(doing(), error))?;
        let purged = stream.purge().sequence(upto + 1).await;
        purged.map(drop).map_err(|error| Error::call(doing(), error))
    }

    /// How many durable commands wait in all partitions.
    pub async fn inbox_waiting(&self) -> Result<u64, Error> {
        let states = join_all(self.topology().inboxes().map(async |name| self.state_of(&name).await)).await;
        states.into_iter().map(|state| Ok(state?.messages)).sum()
    }

    /// Refuses a server that does not map handed-over commands to the inbox of their partition. Nothing is
    /// stored: the request expects a stream that does not exist.
    pub async fn check_mappings(&self) -> Result<(), Error> {
        let keys = ["check", "check.below"].map(|key| Key::parse(key).expect("a constant"));
        for key in keys {
            let entity = EntityAddress::new(Kind::parse("mapping").expect("a constant"), key);
            let subject = self.subjects().hand_over(&Caller::UNNAMED, &entity);
            let wanted = self.topology().inbox(entity.partition(self.topology().partitions));
            let mut found = self.where_stored(&subject).await?;
            if found.is_none() {
                // In a cluster it is not accepted either while the stream has no leader, so the leader is
                // checked.
                self.state_of(&wanted).await?;
                tokio::time::sleep(SETTLING).await;
                found = self.where_stored(&subject).await?;
            }
            if found.as_ref() != Some(&wanted) {
                let found = found.unwrap_or_else(|| "no stream".to_owned());
                return Err(Error::Mapping { subject, wanted, found });
            }
        }
        Ok(())
    }

    async fn where_stored(&self, subject: &str) -> Result<Option<String>, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_STREAM, "none");
        let request = Request::new().headers(headers).timeout(Some(self.timeout()));
        match self.client().send_request(subject.to_owned(), request).await {
            Ok(answer) => {
                Ok(serde_json::from_slice::<Stored>(&answer.payload).ok().map(|stored| stored.stream))
            }
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(None),
            Err(error) => Err(Error::call(format!("asking where `{subject}` is stored"), error)),
        }
    }
}

/// How long every server may take to learn of a stream's new leader.
const SETTLING: Duration = Duration::from_secs(1);

/// The server's answer to a publish.
#[derive(Debug, Deserialize)]
struct Stored {
    stream: String,
}
