//! A connection to an installation, found by the settings or by the data directory.

use std::time::Duration;

use actors_host::embedded::{self, Embedded, Ports};
use actors_host::{Config, StartError};
use bus_client::{Ask, Bus, NatsConfig, Profile};
use bus_schemas::wire::{WireCommand, WireQuery};
use bus_schemas::{Body, EntityAddress, Key, Reply, Revision};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::client::{caller, read};
use crate::commands::up::interrupted;
use crate::discovery::Discovery;
use crate::failure::{Failure, exit};

/// Timeout of a command to a partition: longer than a takeover.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a missing host is waited for: as long as a graceful restart takes.
const HOST_PATIENCE: Duration = Duration::from_secs(1);
/// The polling interval while a host is missing.
const LOOK: Duration = Duration::from_millis(100);

/// A connection to an installation.
#[derive(Debug)]
pub struct Session {
    /// The connection.
    pub bus: Bus,
    /// The settings, completed by the running system's addresses.
    pub config: Config,
    /// The system that runs on the data directory; `None` when nothing runs there, or when it is unrelated to
    /// the configured `nats.url`.
    pub discovery: Option<Discovery>,
    server: Option<Server>,
}

/// A server that was started only for this session. The handle keeps the store locked.
#[derive(Debug)]
struct Server {
    child: tokio::process::Child,
    _embedded: Embedded,
    /// Cancelled when the user interrupts: otherwise the server would outlive the process.
    interrupted: CancellationToken,
}

impl Session {
    /// Connects to `nats.url` where it is set, otherwise to the system on the data directory.
    pub async fn connect(config: &Config) -> Result<Self, Failure> {
        let mut config = config.clone();
        if let Some(url) = &config.nats.url {
            // The gateway of what runs here is of use only when both belong to the same installation.
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

    /// Connects. Where nothing runs on the data directory but its store exists, starts only the server,
    /// without partitions and agents, so that the data can be read. Such a session must be closed.
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        let stored = config.data_dir.join("nats").join("store").is_dir();
        if config.nats.url.is_some() || !stored || Discovery::find(&config.data_dir)?.is_some() {
            let session = Self::connect(config).await?;
            session.expect_installation().await?;
            return Ok(session);
        }
        let mut config = config.clone();
        let program = config.nats_server.as_deref();
        // Nothing new is acknowledged here, so the durability profile of the store does not matter.
        let nats = NatsConfig { profile: Profile::Durable, ..config.nats.clone() };
        let embedded = Embedded::new(program, &config.data_dir, &nats)?;
        let interrupted = interruption();
        let (child, listening) = embedded.start_unless(Ports::default(), interrupted.cancelled()).await?;
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

    /// Whether a system runs, and the session is not just a store opened for reading.
    pub fn live(&self) -> bool {
        self.server.is_none()
    }

    /// Resolves when the user interrupts a session whose server would outlive the process. In other sessions
    /// an interrupt ends the process as usual.
    pub async fn interrupted(&self) {
        match &self.server {
            Some(server) => server.interrupted.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Runs some work, and gives it up when the user interrupts, so that this session's server can be
    /// stopped.
    pub async fn unless_interrupted<T, E: Into<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            result = work => result.map_err(Into::into),
            () = self.interrupted() => {
                Err(Failure::new("interrupted", "the command was interrupted before it was complete")
                    .next("the same command again starts anew, and is safe")
                    .exit(exit::INTERRUPTED))
            }
        }
    }

    /// Stops the server that was started for this session.
    pub async fn close(self) {
        if let Some(server) = self.server {
            embedded::stop(server.child).await;
        }
    }

    /// Refuses where there is no installation: later failures would say less.
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

    /// Refuses where no host is registered, since nobody would answer. Waits for a host that is just
    /// restarting.
    pub async fn expect_host(&self) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + HOST_PATIENCE;
        loop {
            if self.bus.is_installed().await? {
                let leases = self.bus.leases().await?;
                // Another host follows a killed one within a lease time; the partitions' leases still show
                // it.
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

    /// Sends an entity a query: its owner answers from memory, and nothing is logged.
    pub async fn query<Q: WireQuery + Serialize, T: DeserializeOwned>(
        &self,
        key: &Key,
        query: &Q,
    ) -> Result<T, Failure> {
        self.expect_host().await?;
        self.view(EntityAddress::new(Q::KIND, key.clone()), Body::json(query), PATIENCE).await
    }

    /// Sends hosts a query, and reads the answers that come within `patience`.
    pub async fn view<T: DeserializeOwned>(
        &self,
        to: EntityAddress,
        body: Body,
        patience: Duration,
    ) -> Result<T, Failure> {
        match self.bus.query(&Ask::new(to, body).caller(&caller()), patience).await? {
            Reply::Accepted { result, .. } => read(result),
            Reply::Refused { refusal, .. } => Err(refusal.into()),
        }
    }

    /// Sends an entity a command, and returns the revision after it and the reply.
    pub async fn ask<C: WireCommand>(
        &self,
        key: &Key,
        command: &C,
    ) -> Result<(Revision, serde_json::Value), Failure> {
        self.expect_host().await?;
        let to = EntityAddress::new(C::KIND, key.clone());
        let ask = Ask::new(to, Body::json(command)).caller(&caller());
        match self.bus.ask(&ask, PATIENCE).await? {
            Reply::Accepted { revision, result, .. } => Ok((revision, result)),
            Reply::Refused { refusal, .. } => Err(refusal.into()),
        }
    }
}

/// Listens for interrupts from now on; a second one ends the process at once.
fn interruption() -> CancellationToken {
    let (token, told) = (CancellationToken::new(), interrupted());
    let interruption = token.clone();
    tokio::spawn(async move {
        told.await;
        token.cancel();
    });
    interruption
}

/// The failure when no system runs on the data directory.
pub fn not_running(config: &Config) -> Failure {
    Failure::new("not-running", format!("nothing runs on the data directory `{}`", config.data_dir.display()))
        .next("start it with `orrery up`, name another `--data-dir`, or set `nats.url`")
        .exit(exit::UNAVAILABLE)
}
