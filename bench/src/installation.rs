//! A private NATS server, and hosts on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors_host::embedded::{self, Embedded, Ports};
use actors_host::{Config, Running};
use actors_worker::Agents;
use bare_loop::BareLoop;
use bus_client::{Bus, NatsConfig};
use bus_schemas::PartitionId;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::bench::Options;
use crate::error::Error;

/// Timeout for the events of a slice to appear: they lag by some seconds of work at most.
pub(crate) const SETTLE_DEADLINE: Duration = Duration::from_secs(60);
/// What must be published at the end of a slice.
const EVENTS: &str = "the events of a slice";
/// The polling interval for published events.
pub(crate) const LOOK: Duration = Duration::from_millis(2);

/// A running server.
pub(crate) struct Installation {
    directory: PathBuf,
    _temporary: Option<TempDir>,
    child: tokio::process::Child,
    nats: NatsConfig,
    options: Options,
}

impl Installation {
    /// Starts the server.
    pub async fn start(options: &Options) -> Result<Self, Error> {
        let making = Error::io("making a directory for the benchmark");
        let (directory, temporary) = match &options.data_dir {
            Some(directory) => (directory.clone(), None),
            None => {
                let temporary = tempfile::tempdir().map_err(making)?;
                (temporary.path().to_path_buf(), Some(temporary))
            }
        };
        let nats = NatsConfig { profile: options.profile, ..NatsConfig::default() };
        let embedded = Embedded::new(options.nats_server.as_deref(), &directory, &nats)?;
        let (child, listening) = embedded.start(Ports::default()).await?;
        let nats = embedded.access(&listening);
        Ok(Self { directory, _temporary: temporary, child, nats, options: options.clone() })
    }

    /// The settings of a connection to the server.
    pub fn config(&self) -> NatsConfig {
        self.nats.clone()
    }
    /// The directory of the host with this name.
    pub fn host_directory(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
    /// The server's process, while it runs.
    pub fn server_pid(&self) -> Option<u32> {
        self.child.id()
    }
    /// A new connection, not shared with the host.
    pub async fn bus(&self) -> Result<Bus, Error> {
        Ok(Bus::connect(&self.config()).await?)
    }
    /// A connection of the client library, for callers and for raw consumers.
    pub async fn client(&self) -> Result<async_nats::Client, Error> {
        let (servers, options) = bus_client::access::options(&self.nats)?;
        options.connect(servers).await.map_err(|error| Error::answer("connecting the callers", error))
    }
    /// The server's version.
    pub async fn server_version(&self) -> Result<String, Error> {
        Ok(Bus::connect_only(&self.config()).await?.server_version())
    }
    /// Starts a host in this process that runs all partitions.
    pub async fn host(&self, agents: bool) -> Result<Running, Error> {
        self.named_host("bench", agents).await
    }
    /// Starts the configured number of hosts in this process, and waits until they share the partitions.
    pub async fn hosts(&self, agents: bool) -> Result<Hosts, Error> {
        let mut all = Vec::new();
        for number in 1..=self.options.hosts {
            all.push(self.named_host(&format!("bench-{number}"), agents).await?);
        }
        let (bus, deadline) = (self.bus().await?, Instant::now() + SETTLE_DEADLINE);
        let partitions = usize::from(bus.topology().partitions);
        loop {
            let serving: Vec<usize> = all.iter().map(|host| *host.serving().borrow()).collect();
            let share = partitions / all.len();
            let is_shared =
                serving.iter().sum::<usize>() == partitions && serving.iter().all(|n| *n >= share);
            if is_shared {
                return Ok(Hosts(all));
            }
            late(deadline, "the hosts' shares")?;
            tokio::time::sleep(LOOK).await;
        }
    }
    async fn named_host(&self, name: &str, agents: bool) -> Result<Running, Error> {
        self.host_with(name, agents, actors_agents::shipped(&actors_agents::Tools::default())).await
    }
    /// Starts a host in this process that runs all partitions and these agents.
    pub async fn host_of(&self, name: &str, agents: impl Into<Agents>) -> Result<Running, Error> {
        self.host_with(name, true, agents.into()).await
    }
    async fn host_with(&self, name: &str, agents: bool, shipped: Agents) -> Result<Running, Error> {
        let config = Config {
            data_dir: self.host_directory(name),
            nats: self.config(),
            host_name: Some(name.to_owned()),
            agents,
            ..Config::default()
        };
        let running = actors_host::start(&config, shipped).await?;
        running.ready().await?;
        Ok(running)
    }
    /// Starts the bare loop in this process, with the same number of partitions.
    pub async fn bare_loop(&self) -> Result<Arc<BareLoop>, Error> {
        let (servers, options) = bus_client::access::options(&self.nats)?;
        let started = BareLoop::start(servers, options, self.nats.partitions.get()).await;
        started.map(Arc::new).map_err(Error::BareLoop)
    }
    /// Stops the server gracefully.
    pub async fn stop(self) {
        embedded::stop(self.child).await;
    }
}

/// Hosts that share the partitions.
pub(crate) struct Hosts(Vec<Running>);

impl Hosts {
    /// Stops all hosts gracefully.
    pub async fn stop(self) {
        for host in self.0 {
            host.stop().await;
        }
    }
}

/// Stops the bare loop; returns the error that ended it, if any.
pub(crate) async fn stop_bare_loop(bare: Arc<BareLoop>) -> Result<(), Error> {
    match Arc::into_inner(bare) {
        Some(bare) => bare.stop().await.map_err(Error::BareLoop),
        None => Err(Error::BareLoop(anyhow::anyhow!("a caller still holds it"))),
    }
}

/// Waits until every event of every record that is now in the logs is in the event stream.
pub(crate) async fn settle(bus: &Bus) -> Result<(), Error> {
    let deadline = Instant::now() + SETTLE_DEADLINE;
    for partition in bus.topology().all_partitions() {
        let last = bus.state_of(&bus.topology().log(partition)).await?.last_sequence;
        while !is_out(bus, partition, last).await? {
            late(deadline, EVENTS)?;
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Whether the mark covers a record. A partition's first record, its takeover, has no event to mark.
async fn is_out(bus: &Bus, partition: PartitionId, last: u64) -> Result<bool, Error> {
    Ok(last <= 1 || bus.mark(partition).await?.upto.0 >= last)
}

/// As [`settle`], for the bare loop.
pub(crate) async fn settle_bare_loop(bare: &BareLoop) -> Result<(), Error> {
    let deadline = Instant::now() + SETTLE_DEADLINE;
    while !bare.is_settled() {
        late(deadline, EVENTS)?;
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

pub(crate) fn late(deadline: Instant, what: &'static str) -> Result<(), Error> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(Error::Late { what, seconds: SETTLE_DEADLINE.as_secs() })
}
