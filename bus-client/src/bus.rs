//! A connection: cheap to clone, shared by everything in a process.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use bus_schemas::subjects::Subjects;
use bus_schemas::topology::Topology;

use crate::config::{NatsConfig, Profile, redacted_url};
use crate::error::Error;
use crate::server;

/// How long a call to the server may take. A server under `always` on a busy disk answers within
/// tens of milliseconds; ten seconds without an answer means it is gone.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection is asked whether it still stands; after two questions without an answer
/// another server is tried. A machine without power or network ends no connection by itself, and the
/// client's own minute would keep a host away from a sound majority for three of them.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// Messages that a subscription holds before NATS counts its owner as slow; asks are bounded by
/// the inbox long before.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// A connection to one installation.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    topology: Topology,
    profile: Profile,
    url: String,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("url", &self.inner.url).finish_non_exhaustive()
    }
}

impl Bus {
    /// Connects, checks that the server keeps the profile's promise, and makes what is missing
    /// of the installation's streams.
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
        let servers: Vec<String> = url.split(',').map(|part| part.trim().to_owned()).collect();
        let client = async_nats::ConnectOptions::new()
            .name("orrery")
            .request_timeout(Some(CALL_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .connect(servers)
            .await
            .map_err(|error| Error::Connect { url: redacted_url(&url), reason: error.to_string() })?;
        let jetstream = jetstream::context::ContextBuilder::new().timeout(CALL_TIMEOUT).build(client.clone());
        let topology = Topology { subjects, partitions: config.partitions.get() };
        Ok(Self { inner: Arc::new(Inner { client, jetstream, topology, profile: config.profile, url }) })
    }

    /// Names of streams and subjects.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }
    /// How subjects are written.
    pub fn subjects(&self) -> &Subjects {
        &self.inner.topology.subjects
    }
    /// The profile that was checked.
    pub fn profile(&self) -> Profile {
        self.inner.profile
    }
    /// The address.
    pub fn url(&self) -> &str {
        &self.inner.url
    }
    /// The server's version.
    pub fn server_version(&self) -> String {
        self.inner.client.server_info().version
    }
    /// The largest message that the server takes, in bytes.
    pub fn payload_bytes_max(&self) -> usize {
        self.inner.client.max_payload()
    }
    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.inner.client.connection_state() == async_nats::connection::State::Connected
    }
    /// Sends everything that is still buffered.
    pub async fn flush(&self) {
        if let Err(error) = self.inner.client.flush().await {
            tracing::warn!(%error, "flushing the connection");
        }
    }
    /// Leaves the server for another one, where several are configured: a server that has lost the
    /// others keeps its clients and can do nothing for them. Subscriptions move along.
    pub async fn change_server(&self) {
        if !self.inner.url.contains(',') {
            return;
        }
        tracing::warn!("the server does nothing for us; trying another one");
        if let Err(error) = self.inner.client.force_reconnect().await {
            tracing::warn!(%error, "changing the server");
        }
    }
    /// A fresh connection to the same server, for somebody who must not share the socket.
    pub async fn reconnect(&self) -> Result<Self, Error> {
        let config = NatsConfig {
            url: Some(self.inner.url.clone()),
            profile: self.inner.profile,
            subject_prefix: self.subjects().prefix().to_owned(),
            partitions: self.inner.topology.partitions.try_into().expect("an installation has partitions"),
            monitor_url: None,
        };
        Self::connect_only(&config).await
    }

    pub(crate) fn client(&self) -> &async_nats::Client {
        &self.inner.client
    }
    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.inner.jetstream
    }
    pub(crate) fn timeout(&self) -> Duration {
        CALL_TIMEOUT
    }
}
