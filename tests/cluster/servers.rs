//! Three servers of one cluster, started from the configuration that is shipped.

use std::net::Ipv4Addr;
use std::process::Stdio;

use bus_client::{Bus, NatsConfig, Profile};
use reqwest::Client;
use system_tests::own_server::program;
use system_tests::process::{Launch, Process, command_in};
use system_tests::{eventually, repository};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Child;

/// The file that everybody starts three servers with.
const SHIPPED: &str = "deploy/nats-cluster.conf";

/// Where a server lives.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its address.
    pub address: Ipv4Addr,
    /// The ports for clients, for monitoring and for the other servers.
    pub ports: [u16; 3],
    /// Its network namespace; the test's own when there is none.
    pub namespace: Option<String>,
}

/// A server of the cluster.
struct Member {
    place: Place,
    child: Option<Child>,
}

/// Three servers with files of their own.
pub struct Cluster {
    directory: TempDir,
    members: Vec<Member>,
}

impl Cluster {
    /// Starts three servers on loopback, and waits until they are one.
    pub async fn start() -> Self {
        let mut listeners = Vec::new();
        for _ in 0..9 {
            // All are held until all are known: none is given twice.
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
        }
        let port = |at: usize| listeners[at].local_addr().expect("an address").port();
        let place = |index: usize| Place {
            address: Ipv4Addr::LOCALHOST,
            ports: [port(3 * index), port(3 * index + 1), port(3 * index + 2)],
            namespace: None,
        };
        let places = (0..3).map(place).collect();
        drop(listeners);
        Self::start_at(places).await
    }

    /// Starts a server at each place, and waits until they are one.
    pub async fn start_at(places: Vec<Place>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let members = places.into_iter().map(|place| Member { place, child: None }).collect();
        let mut cluster = Self { directory, members };
        for index in 0..cluster.members.len() {
            cluster.restart(index);
        }
        cluster.all_healthy().await;
        // A server is healthy before the leader knows that it may hold copies of streams.
        let config = cluster.config();
        eventually("the servers to take streams", || async { Bus::connect(&config).await.ok() }).await;
        cluster
    }

    /// Kills a server without a word.
    pub async fn kill(&mut self, index: usize) {
        let mut child = self.members[index].child.take().expect("it runs");
        child.kill().await.expect("a server can be killed");
    }

    /// Starts a server that is down, on its own files, and does not wait.
    pub fn restart(&mut self, index: usize) {
        let routes: Vec<String> = self.members.iter().map(|member| member.place.url(2)).collect();
        let Member { place, .. } = &self.members[index];
        let log = self.directory.path().join(format!("server-{index}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).expect("a file");
        let [port, monitor, route] = place.ports.map(|port| port.to_string());
        let child = command_in(place.namespace.as_deref(), &program())
            .arg("-c")
            .arg(repository().join(SHIPPED))
            .env("NATS_NAME", format!("server-{index}"))
            .env("NATS_HOST", place.address.to_string())
            .env("NATS_PORT", port)
            .env("NATS_MONITOR_PORT", monitor)
            .env("NATS_ROUTE_PORT", route)
            .env("NATS_ROUTES", format!("[{}]", routes.join(", ")))
            .env("NATS_STORE", self.directory.path().join(format!("server-{index}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.members[index].child = Some(child.expect("the server starts"));
    }

    /// Waits until a server answers for everything that it holds a copy of.
    pub async fn healthy(&self, index: usize) {
        let url = format!("{}/healthz", self.members[index].place.monitor());
        let client = Client::builder().no_proxy().build().expect("a client without settings");
        eventually(&format!("server {index} to be whole; it logged: {}", self.log(index)), || async {
            let answer = client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Waits until every server answers for everything that it holds a copy of.
    pub async fn all_healthy(&self) {
        for index in 0..self.members.len() {
            self.healthy(index).await;
        }
    }

    /// The end of what a server logged.
    pub fn log(&self, index: usize) -> String {
        let log = self.directory.path().join(format!("server-{index}.log"));
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let from = text.char_indices().rev().nth(2_000).map_or(0, |(at, _)| at);
        text[from..].to_owned()
    }

    /// How to connect to whichever server answers.
    pub fn config(&self) -> NatsConfig {
        let all: Vec<usize> = (0..self.members.len()).collect();
        self.config_of(&all)
    }

    /// How to connect to these servers.
    pub fn config_of(&self, members: &[usize]) -> NatsConfig {
        let places = || members.iter().map(|index| &self.members[*index].place);
        let join = |urls: Vec<String>| urls.join(",");
        NatsConfig {
            url: Some(join(places().map(|place| place.url(0)).collect())),
            monitor_url: Some(join(places().map(Place::monitor).collect())),
            profile: Profile::Replicated,
            ..NatsConfig::default()
        }
    }

    /// A connection to these servers that makes nothing.
    pub async fn bus_of(&self, members: &[usize]) -> Bus {
        Bus::connect_only(&self.config_of(members)).await.expect("one of them answers")
    }

    /// A connection to whichever server answers.
    pub async fn bus(&self) -> Bus {
        Bus::connect_only(&self.config()).await.expect("one of them answers")
    }

    /// Starts a host, and does not wait.
    pub fn begin_host(&self, name: &str, namespace: Option<&str>) -> Process {
        let namespace = namespace.map(str::to_owned);
        let (nats, data_dir) = (self.config(), self.directory.path().join(name));
        Process::launch(Launch { nats, data_dir, name: name.to_owned(), agents: false, namespace }, None)
    }

    /// Starts a host and waits until every partition answers.
    pub async fn host(&self, name: &str, namespace: Option<&str>) -> Process {
        self.begin_host(name, namespace).until_ready().await
    }
}

impl Place {
    /// The address of one of its ports.
    fn url(&self, port: usize) -> String {
        format!("nats://{}:{}", self.address, self.ports[port])
    }
    fn monitor(&self) -> String {
        format!("http://{}:{}", self.address, self.ports[1])
    }
}
