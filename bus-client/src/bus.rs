//! The connection to an installation: cheap to clone, shared by everything in a process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{ConnectErrorKind, jetstream};
use bus_schemas::subjects::Subjects;
use bus_schemas::topology::Topology;
use tokio::sync::{OnceCell, watch};

use crate::access::{self, Access};
use crate::batch::Batches;
use crate::config::{NatsConfig, Profile, redacted_url};
use crate::disturbance::Disturbances;
use crate::error::Error;
use crate::server;

/// How long a call to the server may take. A server under `always` with a busy disk answers within tens of
/// milliseconds; ten seconds without an answer mean that it is gone.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection is pinged; after two pings without an answer another server is tried. A machine
/// without power or network closes no connection by itself, and the client's default of a minute would keep a
/// host from a working majority for three minutes.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// Messages that a subscription buffers before NATS counts it as slow; the inbox bounds asks long before.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// The longest pause between two attempts to reconnect: a waiting caller should not wait much longer than the
/// server was away.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// The pause before an attempt to reconnect; it doubles.
fn reconnect_pause(attempts: usize) -> Duration {
    let doubled = u32::try_from(attempts).map_or(u32::MAX, |attempts| 2_u32.saturating_pow(attempts));
    if attempts <= 1 {
        Duration::ZERO
    } else {
        Duration::from_millis(doubled.into()).min(RECONNECT_PAUSE_MAX)
    }
}

/// Why the connection failed.
fn refused(url: &str, error: &async_nats::ConnectError) -> Error {
    let url = redacted_url(url);
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => Error::Denied { url },
        _ => Error::Connect { url, reason: error.to_string() },
    }
}

/// A connection to one installation.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
    /// The disturbances of this process's experiments.
    disturbances: Option<Disturbances>,
}

/// The number of connections made so far. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Connects(Option<Arc<async_nats::Statistics>>);

impl Connects {
    /// The number of connections.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |statistics| statistics.connects.load(Ordering::Relaxed))
    }
}

struct Inner {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    topology: Topology,
    config: NatsConfig,
    /// The servers without credentials.
    url: String,
    inbox_prefix: &'static str,
    /// Started by the first ask.
    batches: OnceCell<Batches>,
    /// The installation's name, once it was read.
    identity: OnceCell<String>,
    /// Counts established connections: the first one and each reconnect.
    connections: watch::Receiver<u64>,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("url", &self.inner.url).finish_non_exhaustive()
    }
}

impl Bus {
    /// Connects, checks that the server keeps the profile's promise, and creates missing streams of the
    /// installation.
    pub async fn connect(config: &NatsConfig) -> Result<Self, Error> {
        let bus = Self::connect_only(config).await?;
        server::check(&bus, config).await?;
        crate::streams::ensure(&bus).await?;
        Ok(bus)
    }

    /// Connects and changes nothing: for readers and for the doctor.
    pub async fn connect_only(config: &NatsConfig) -> Result<Self, Error> {
        let url =
            config.url.clone().ok_or(Error::Setting { name: "nats.url", reason: "is not set".into() })?;
        let subjects = Subjects::new(&config.subject_prefix)
            .map_err(|error| Error::Setting { name: "nats.subject_prefix", reason: error.to_string() })?;
        let inbox_prefix = Access::of(config)?.inbox_prefix();
        let (servers, options) = access::options(config)?;
        let (counted, connections) = watch::channel(0);
        let counted = Arc::new(counted);
        let client = options
            .name("orrery")
            .request_timeout(Some(CALL_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .reconnect_delay_callback(reconnect_pause)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .event_callback(move |event| {
                match event {
                    async_nats::Event::Connected => counted.send_modify(|count| *count += 1),
                    // Otherwise a denied permission would show only as a missing answer.
                    async_nats::Event::ServerError(error) => {
                        tracing::warn!(%error, "the NATS server refuses; `nats.user` with `nats.password_file` may lack");
                    }
                    _ => {}
                }
                std::future::ready(())
            })
            .connect(servers.clone())
            .await
            .map_err(|error| refused(&url, &error))?;
        let jetstream = jetstream::context::ContextBuilder::new().timeout(CALL_TIMEOUT).build(client.clone());
        let topology = Topology { subjects, partitions: config.partitions.get() };
        let (config, url) = (config.clone(), servers.join(","));
        let inner = Inner {
            client,
            jetstream,
            topology,
            config,
            url,
            inbox_prefix,
            batches: OnceCell::new(),
            identity: OnceCell::new(),
            connections,
        };
        Ok(Self { inner: Arc::new(inner), disturbances: None })
    }

    /// The same connection with disturbances.
    #[must_use]
    pub fn disturbed(&self, disturbances: &Disturbances) -> Self {
        Self { inner: Arc::clone(&self.inner), disturbances: Some(disturbances.clone()) }
    }
    pub(crate) fn disturbances(&self) -> Option<&Disturbances> {
        self.disturbances.as_ref()
    }

    /// The names of streams and subjects.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }
    /// The subjects.
    pub fn subjects(&self) -> &Subjects {
        &self.inner.topology.subjects
    }
    /// The profile that was checked.
    pub fn profile(&self) -> Profile {
        self.inner.config.profile
    }
    /// A name that no other installation has: the prefix of its subjects, and its id. It never changes.
    pub async fn identity(&self) -> Result<&str, Error> {
        let name = self.inner.identity.get_or_try_init(|| async {
            let id = self.installation_id().await?;
            Ok::<_, Error>(format!("{}/{id}", self.subjects().prefix()))
        });
        name.await.map(String::as_str)
    }
    /// The prefix of this connection's reply subjects.
    pub(crate) fn inbox_prefix(&self) -> &'static str {
        self.inner.inbox_prefix
    }
    /// The address, without credentials.
    pub fn url(&self) -> &str {
        &self.inner.url
    }
    /// The server's version.
    pub fn server_version(&self) -> String {
        self.inner.client.server_info().version
    }
    /// The server's message limit, in bytes.
    pub fn payload_bytes_max(&self) -> usize {
        self.inner.client.max_payload()
    }
    /// The number of connections: a change means that the connection was lost in between.
    pub fn connects(&self) -> Connects {
        Connects(Some(self.inner.client.statistics()))
    }
    /// The id of the server, which changes when it restarts.
    pub(crate) fn server_id(&self) -> String {
        self.inner.client.server_info().server_id
    }
    /// Whether the connection is established.
    pub fn is_connected(&self) -> bool {
        self.inner.client.connection_state() == async_nats::connection::State::Connected
    }
    /// Sends everything that is buffered.
    pub async fn flush(&self) {
        if let Err(error) = self.inner.client.flush().await {
            tracing::warn!(%error, "flushing the connection");
        }
    }
    /// Switches to another server, if several are configured: a server without a majority keeps its clients
    /// and cannot serve them. Subscriptions move along.
    pub async fn change_server(&self) {
        if !self.inner.url.contains(',') {
            return;
        }
        tracing::warn!("the server does nothing for us; trying another one");
        if let Err(error) = self.inner.client.force_reconnect().await {
            tracing::warn!(%error, "changing the server");
        }
    }
    /// A new connection to the same server, for a user that must not share the socket.
    pub async fn reconnect(&self) -> Result<Self, Error> {
        Self::connect_only(&self.inner.config).await
    }

    /// Resolves when a new connection is established: requests in transit before it may never be answered.
    pub async fn reconnected(&self) {
        let mut connections = self.connections();
        if connections.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Counts established connections; changes with each one from now on.
    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        let mut connections = self.inner.connections.clone();
        connections.mark_unchanged();
        connections
    }

    pub(crate) fn client(&self) -> &async_nats::Client {
        &self.inner.client
    }
    /// The asks of this connection.
    pub(crate) async fn batches(&self) -> Result<&Batches, Error> {
        self.inner.batches.get_or_try_init(|| Batches::start(self)).await
    }
    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.inner.jetstream
    }
    pub(crate) fn timeout(&self) -> Duration {
        CALL_TIMEOUT
    }
}
