//! The events of committed records, in atomic batches under the partition's mark.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::partition::stored;
use crate::record::Record;
use crate::{Counters, streams};

/// Records that are taken into one round; the same as Orrery's.
const RECORDS_PER_ROUND_MAX: usize = 64;
/// The server takes a thousand messages in a batch, and the mark is one of them.
const EVENTS_PER_BATCH_MAX: usize = 999;

/// The fan-out of one partition.
pub(crate) struct Fanout {
    client: Client,
    partition: u16,
    counters: Arc<Counters>,
    /// The sequence of the last mark: the next batch expects it, so no batch can be stored twice.
    mark: u64,
    /// Events that are out: what the mark says.
    out: u64,
}

impl Fanout {
    pub(crate) fn new(client: Client, partition: u16, counters: Arc<Counters>) -> Self {
        Self { client, partition, counters, mark: 0, out: 0 }
    }

    /// Follows the commits until the partition ends.
    pub(crate) async fn run(
        mut self,
        mut commits: mpsc::UnboundedReceiver<Arc<Record>>,
    ) -> anyhow::Result<()> {
        let mut round = Vec::with_capacity(RECORDS_PER_ROUND_MAX);
        while commits.recv_many(&mut round, RECORDS_PER_ROUND_MAX).await > 0 {
            let turns: Vec<_> = round.iter().flat_map(|record| &record.turns).collect();
            for chunk in turns.chunks(EVENTS_PER_BATCH_MAX) {
                let events = chunk.iter().map(|turn| (streams::event(&turn.key), turn.event.clone()));
                self.batch(events).await?;
            }
            round.clear();
        }
        Ok(())
    }

    /// Publishes the mark and the events behind it, all or nothing.
    async fn batch(&mut self, events: impl ExactSizeIterator<Item = (String, Bytes)>) -> anyhow::Result<()> {
        let count = events.len();
        let id = format!("{}-{}", self.partition, self.mark);
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, self.mark.to_string());
        headers.insert(async_nats::header::NATS_BATCH_ID, id.as_str());
        headers.insert(async_nats::header::NATS_BATCH_SEQUENCE, "1");
        let mark = (self.out + count as u64).to_string();
        let published =
            self.client.publish_with_headers(streams::mark(self.partition), headers, mark.into()).await;
        published.context("publishing a mark")?;
        let mut last = 0;
        for (index, (subject, payload)) in events.enumerate() {
            let mut headers = HeaderMap::new();
            headers.insert(async_nats::header::NATS_BATCH_ID, id.as_str());
            headers.insert(async_nats::header::NATS_BATCH_SEQUENCE, (index + 2).to_string());
            if index + 1 == count {
                headers.insert(async_nats::header::NATS_BATCH_COMMIT, "1");
                last = stored(self.client.clone(), subject, headers, payload).await?;
            } else {
                let published = self.client.publish_with_headers(subject, headers, payload).await;
                published.context("publishing an event")?;
            }
        }
        self.mark = last - count as u64;
        self.out += count as u64;
        self.counters.published.fetch_add(count as u64, Ordering::AcqRel);
        Ok(())
    }
}
