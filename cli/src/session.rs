//! A connection to an installation: found by settings, or by the data directory.

use std::time::Duration;

use actors_host::embedded::{self, Embedded};
use actors_host::{Config, StartError};
use bus_client::{Ask, Bus, NatsConfig, Profile};
use bus_schemas::wire::{WireCommand, WireQuery};
use bus_schemas::{Body, EntityAddress, Key, Reply, Revision};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::commands::up::interrupted;
use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::gateway::read;

/// How long a command may wait for its partition: longer than a takeover.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a missing host is waited for: as long as a restart in good order takes.
const HOST_PATIENCE: Duration = Duration::from_secs(1);
/// How long a verb that works on streams waits for servers that have no leader yet: a cluster that was just
/// started has one within seconds.
pub const CLUSTER_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// A connection to an installation.
#[derive(Debug)]
pub struct Session {
    /// The connection.
    pub bus: Bus,
    /// The settings, completed by what the running system says.
    pub config: Config,
    /// What the system that runs on the data directory says; none when nothing runs there, or
    /// something that has nothing to do with the `nats.url` that was set.
    pub discovery: Option<Discovery>,
    server: Option<Server>,
}

/// A server that was started for this session alone. The handle keeps the store locked.
#[derive(Debug)]
struct Server {
    child: tokio::process::Child,
    _embedded: Embedded,
    /// Cancelled when the user interrupts: the server would outlive a process that just ends.
    interrupted: CancellationToken,
}

impl Session {
    /// Connects: to `nats.url` where it is set, otherwise to what runs on the data directory.
    pub async fn connect(config: &Config) -> Result<Self, Failure> {
        let mut config = config.clone();
        if let Some(url) = &config.nats.url {
            // Its gateway is of use when what runs here is a part of the same system.
            let found = Discovery::find(&config.data_dir).ok().flatten();
            let found = found.filter(|found| found.is_of(url, &config.nats.subject_prefix));
            if let Some(found) = &found {
                config.nats = found.access(config.nats);
            }
            return Self::on(config, found).await;
        }
        let found = Discovery::find(&config.data_dir)?.ok_or_else(|| not_running(&config))?;
        config.nats = found.nats(&config.nats);
        Self::on(config, Some(found)).await
    }

    /// Connects; where nothing runs on the data directory but its store is there, starts the
    /// server alone, without partitions and agents, so that what happened can be read. Such a
    /// session must be closed.
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        let stored = config.data_dir.join("nats").join("store").is_dir();
        if config.nats.url.is_some() || !stored || Discovery::find(&config.data_dir)?.is_some() {
            let session = Self::connect(config).await?;
            session.expect_installation().await?;
            return Ok(session);
        }
        let mut config = config.clone();
        let program = config.nats_server.as_deref();
        // Nothing new is acknowledged here, so the store's own durability does not matter.
        let nats = NatsConfig { profile: Profile::Durable, ..config.nats.clone() };
        let embedded = Embedded::new(program, &config.data_dir, &nats)?;
        let interrupted = interruption();
        let (child, listening) = embedded.start_unless((0, 0), interrupted.cancelled()).await?;
        config.nats = NatsConfig { profile: config.nats.profile, ..embedded.access(&listening) };
        let connected = tokio::select! {
            connected = Bus::connect_only(&config.nats) => connected.map_err(Failure::from),
            () = interrupted.cancelled() => Err(StartError::Interrupted.into()),
        };
        match connected {
            Ok(bus) => {
                let server = Some(Server { child, _embedded: embedded, interrupted });
                Ok(Self { bus, config, discovery: None, server })
            }
            Err(failure) => {
                embedded::stop(child).await;
                Err(failure)
            }
        }
    }

    async fn on(config: Config, discovery: Option<Discovery>) -> Result<Self, Failure> {
        let bus = Bus::connect_only(&config.nats).await?;
        Ok(Self { bus, config, discovery, server: None })
    }

    /// Whether a system runs, rather than a store that was opened to be read.
    pub fn live(&self) -> bool {
        self.server.is_none()
    }

    /// Does some work, and gives it up when the user interrupts, so that the server of this session
    /// can be stopped. In a session that has none an interrupt ends the process as ever.
    pub async fn unless_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(server) = &self.server else { return work.await };
        tokio::select! {
            result = work => result,
            () = server.interrupted.cancelled() => {
                Err(Failure::new("interrupted", "it was interrupted before its end")
                    .next("the same command again starts anew, and is safe")
                    .exit(exit::INTERRUPTED))
            }
        }
    }

    /// Stops what was started for this session.
    pub async fn close(self) {
        if let Some(server) = self.server {
            embedded::stop(server.child).await;
        }
    }

    /// Refuses where there is no installation: what reads it would fail for reasons that say less.
    async fn expect_installation(&self) -> Result<(), Failure> {
        if self.bus.is_installed().await? {
            return Ok(());
        }
        let prefix = &self.config.nats.subject_prefix;
        let url = self.bus.url();
        Err(Failure::new(
            "no-installation",
            format!("no installation under the prefix `{prefix}` at `{url}`"),
        )
        .next("correct `nats.subject_prefix` or `nats.url`; `orrery up` makes a new installation")
        .exit(exit::UNAVAILABLE))
    }

    /// Refuses where no host is registered: nobody would answer. One that is just being started
    /// again is waited for.
    pub async fn expect_host(&self) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + HOST_PATIENCE;
        loop {
            if self.bus.is_installed().await? {
                let leases = self.bus.leases().await?;
                // A host that was killed is followed within a lease time; its partitions tell of it.
                if !leases.hosts.is_empty() || !leases.holders.is_empty() {
                    return Ok(());
                }
            }
            if tokio::time::Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let prefix = &self.config.nats.subject_prefix;
        let url = self.bus.url();
        Err(Failure::new("no-host", format!("no host is registered at `{url}` under the prefix `{prefix}`"))
            .next("start one with `orrery up`; if one runs, correct `nats.url` or `nats.subject_prefix`")
            .exit(exit::UNAVAILABLE))
    }

    /// Asks an entity a query: its owner answers from memory, and nothing of it is in a log.
    pub async fn query<Q: WireQuery + Serialize, T: DeserializeOwned>(
        &self,
        key: &Key,
        query: &Q,
    ) -> Result<T, Failure> {
        self.expect_host().await?;
        self.view(EntityAddress::new(Q::KIND, key.clone()), Body::json(query), PATIENCE).await
    }

    /// Asks a query of hosts that are there, and reads what comes within `patience`.
    pub async fn view<T: DeserializeOwned>(
        &self,
        to: EntityAddress,
        body: Body,
        patience: Duration,
    ) -> Result<T, Failure> {
        match self.bus.query(&Ask::new(to, body).caller("cli"), patience).await? {
            Reply::Accepted { result, .. } => read(result),
            Reply::Refused { refusal, .. } => Err(refusal.into()),
        }
    }

    /// Tells an entity something, and returns its revision afterwards and what it answered.
    pub async fn ask<C: WireCommand>(
        &self,
        key: &Key,
        command: &C,
    ) -> Result<(Revision, serde_json::Value), Failure> {
        self.expect_host().await?;
        let to = EntityAddress::new(C::KIND, key.clone());
        let ask = Ask::new(to, Body::json(command)).caller("cli");
        match self.bus.ask(&ask, PATIENCE).await? {
            Reply::Accepted { revision, result, .. } => Ok((revision, result)),
            Reply::Refused { refusal, .. } => Err(refusal.into()),
        }
    }
}

/// Listens from now on; a second interrupt ends the process at once.
fn interruption() -> CancellationToken {
    let (token, told) = (CancellationToken::new(), interrupted());
    let interruption = token.clone();
    tokio::spawn(async move {
        told.await;
        token.cancel();
    });
    interruption
}

fn not_running(config: &Config) -> Failure {
    Failure::new("not-running", format!("nothing runs on the data directory `{}`", config.data_dir.display()))
        .next("start it with `orrery up`, name another `--data-dir`, or set `nats.url`")
        .exit(exit::UNAVAILABLE)
}
