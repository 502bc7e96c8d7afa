//! `orrery up`: starts the system and runs until told to stop.

use std::net::SocketAddr;
use std::pin::Pin;

use actors_host::{Config, Running, StartError};
use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use crate::called;
use crate::commands;
use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};

/// Where it listens, and what runs in this process.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where HTTP is served; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// The embedded NATS server's port; 0 picks a free one [default: 0]
    #[arg(long, value_name = "PORT")]
    nats_port: Option<u16>,
    /// What an acknowledgement means: `durable`, `replicated` or `fast` [default: durable]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<bus_client::Profile>,
    /// What runs in this process; several processes may share one NATS
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Role::Host, Role::Agents, Role::Gateway])]
    roles: Vec<Role>,
}

/// A part of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Partitions: they own entities and decide.
    Host,
    /// The shipped agents.
    Agents,
    /// REST, event streams and read models.
    Gateway,
}

impl Show for Discovery {
    fn text(&self) -> String {
        let http = self.http.as_deref().unwrap_or("no HTTP here");
        let profile = format!("profile {} (fsync {})", self.profile, self.fsync);
        let stop = format!("stop it with Ctrl-C, or `{} down`", called::on(&self.data_dir));
        let nats_url = bus_client::redacted_url(&self.nats_url);
        format!("orrery is up: {http}  {nats_url}  {profile}\n{stop}")
    }
}

/// The settings with what was typed.
pub fn configured(mut config: Config, arguments: &Arguments) -> Config {
    config.http = arguments.http.unwrap_or(config.http);
    config.nats_port = arguments.nats_port.unwrap_or(config.nats_port);
    config.nats.profile = arguments.profile.unwrap_or(config.nats.profile);
    config.host &= arguments.roles.contains(&Role::Host);
    config.agents &= arguments.roles.contains(&Role::Agents);
    config
}

/// A started system with its edge.
#[derive(Debug)]
pub struct System {
    running: Running,
    gateway: Option<gateway::Gateway>,
    metrics: Option<gateway::Gateway>,
    /// What does not answer although the rest does.
    lacking: Option<String>,
    stop: CancellationToken,
    /// Where it is found; none until it answers.
    discovery: Option<Discovery>,
}

impl System {
    /// Starts everything, waits until it answers, and tells other processes where it is. Ends with
    /// the failure `interrupted` when Ctrl-C comes first; a start that fails leaves nothing running.
    pub async fn start(config: &Config, http: bool) -> Result<Self, Failure> {
        let mut interrupted = std::pin::pin!(interrupted());
        Self::start_unless(config, http, interrupted.as_mut()).await
    }

    async fn start_unless(
        config: &Config,
        http: bool,
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Self, Failure> {
        // The embedded server would say so too, but a process that uses another NATS has none.
        if let Some(found) = Discovery::find(&config.data_dir)? {
            return Err(already(&found));
        }
        if http || config.metrics.is_some() {
            // Before anything that counts: a counter that is made without a recorder never shows.
            gateway::record();
        }
        let running = actors_host::start_unless(config, interrupted.as_mut()).await?;
        let stop = CancellationToken::new();
        let mut system = Self { running, gateway: None, metrics: None, lacking: None, stop, discovery: None };
        let served = tokio::select! {
            served = system.serve(config, http) => served,
            () = interrupted => Err(StartError::Interrupted.into()),
        };
        if let Err(failure) = served {
            // What it failed for is the news, not how the rest was stopped.
            let _ = system.stop().await;
            return Err(failure);
        }
        Ok(system)
    }

    async fn serve(&mut self, config: &Config, http: bool) -> Result<(), Failure> {
        if let Some(listen) = config.metrics {
            self.metrics = Some(gateway::serve_metrics(listen, self.stop.clone()).await?);
        }
        match self.running.ready().await {
            // The others go on, and whoever is to mend the rest needs them and the gateway.
            Err(error @ StartError::NotReady { .. }) if *self.running.serving().borrow() > 0 => {
                tracing::error!(code = error.code(), %error, "going on without them");
                self.lacking = Some(format!("{error}; the others do, and it goes on with them"));
            }
            ready => ready?,
        }
        if http {
            let settings = gateway::Config { listen: config.http, data_dir: config.data_dir.clone() };
            let bus = self.running.bus().clone();
            self.gateway = Some(gateway::serve(bus, settings, self.stop.clone()).await?);
        }
        let address =
            |of: &Option<gateway::Gateway>| of.as_ref().map(|one| format!("http://{}", one.address));
        let addresses = (address(&self.gateway), address(&self.metrics));
        let discovery = Discovery::new(&self.running.addresses(), addresses, &config.data_dir);
        discovery.write()?;
        self.discovery = Some(discovery);
        Ok(())
    }

    /// The connection.
    pub fn bus(&self) -> &bus_client::Bus {
        self.running.bus()
    }

    /// Resolves when the system has given up on itself, with the reason.
    pub async fn failed(&self) -> String {
        self.running.failed().await
    }

    /// Stops everything in good order: first the edge, then agents, partitions and the server.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        let mut edge = Ok(());
        for served in self.gateway.into_iter().chain(self.metrics) {
            edge = edge.and(served.stopped().await.map_err(Failure::from));
        }
        self.running.stop().await;
        if let Some(discovery) = self.discovery {
            discovery.remove();
        }
        edge
    }
}

/// Runs until SIGTERM, SIGINT, or until the supervision tree gives up.
pub async fn run(config: Config, arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let config = configured(config, arguments);
    commands::config::refuse(&config.mistakes(), output)?;
    let mut interrupted = std::pin::pin!(interrupted());
    let http = arguments.roles.contains(&Role::Gateway);
    let system = match System::start_unless(&config, http, interrupted.as_mut()).await {
        Ok(system) => system,
        // Whoever stops it while it starts gets what was asked for.
        Err(failure) if failure.code == StartError::Interrupted.code() => return Ok(()),
        Err(failure) => return Err(failure),
    };
    if let Some(discovery) = &system.discovery {
        output.show(&discovery.shown());
    }
    if let Some(lacking) = &system.lacking {
        output.say(&format!("warning[not-ready]: {lacking}\n next: `orrery doctor` names them, and docs/runbooks/partition-stopped.md says what to do"));
    }
    let reason = tokio::select! {
        reason = system.failed() => Some(reason),
        () = interrupted => None,
    };
    output.say("stopping");
    system.stop().await?;
    match reason {
        None => Ok(()),
        Some(reason) => Err(Failure::new("supervision-failed", format!("the system gave up: {reason}"))
            .next("the log tells what failed before; `orrery doctor` checks the surroundings")
            .exit(exit::SOFTWARE)),
    }
}

/// Resolves at the first SIGTERM or SIGINT after this was called, whether it is waited for by then or
/// not; a second one ends the process at once.
pub fn interrupted() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).expect("signals can be listened to in a fresh process");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(i32::from(exit::INTERRUPTED));
        });
    }
}

fn already(found: &Discovery) -> Failure {
    let data_dir = found.data_dir.display();
    Failure::new("already-running", format!("process {} runs on the data directory `{data_dir}`", found.pid))
        .next("stop it with `orrery down`, or choose another `--data-dir`")
        .exit(exit::UNAVAILABLE)
}
