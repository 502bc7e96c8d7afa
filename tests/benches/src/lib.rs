//! The bare loop: the protocol of the commit record without Orrery's types.
//!
//! It is what every figure of `orrery bench` is held against: the same server, the same streams and
//! settings, the same steps (collect asks while an append is in flight, write one record with what
//! they caused, answer after the acknowledgement, publish the events in atomic batches under a
//! mark), and nothing besides. It uses none of Orrery's crates, keeps no history that could be
//! verified, moves to no other host and recovers nothing.

mod fanout;
mod partition;
mod record;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The header in which a caller names its command.
pub const COMMAND_ID: &str = "Bare-Command-Id";
/// Messages that a subscription holds; the same as Orrery's.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// How much went through the loop: what is committed, and what of it is out as events.
#[derive(Debug, Default)]
struct Counters {
    committed: AtomicU64,
    published: AtomicU64,
}

/// A running bare loop.
pub struct BareLoop {
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl BareLoop {
    /// Makes the streams anew and starts one loop for each partition, over one connection.
    pub async fn start(
        servers: Vec<String>,
        options: async_nats::ConnectOptions,
        partitions: u16,
    ) -> anyhow::Result<Self> {
        let client = options
            .name("bare-loop")
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .connect(servers)
            .await
            .context("connecting the bare loop")?;
        streams::make(&client, partitions).await?;
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for partition in 0..partitions {
            let (committed, records) = tokio::sync::mpsc::unbounded_channel();
            let fanout = fanout::Fanout::new(client.clone(), partition, Arc::clone(&counters));
            tasks.spawn(fanout.run(records));
            let asks = client
                .subscribe(streams::asks(partition))
                .await
                .with_context(|| format!("subscribing to the asks of partition {partition}"))?;
            let partition =
                partition::Partition::new(client.clone(), partition, committed, Arc::clone(&counters));
            tasks.spawn(partition.run(asks, stopped.clone()));
        }
        client.flush().await.context("starting the bare loop")?;
        Ok(Self { counters, stop, tasks })
    }

    /// Where a caller asks an entity; `partition` is the entity's.
    pub fn subject(partition: u16, key: &str) -> String {
        format!("{}.{key}", streams::asks(partition).trim_end_matches(".>"))
    }

    /// Whether the events of everything that is committed are in the event stream.
    pub fn is_settled(&self) -> bool {
        let published = self.counters.published.load(Ordering::Acquire);
        self.counters.committed.load(Ordering::Acquire) == published
    }

    /// Stops all partitions; the first error that ended one of them is returned.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // Without listeners every loop has ended by itself already.
        let _ = self.stop.send(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a task of the bare loop panicked")??;
        }
        Ok(())
    }
}
