//! `orrery up`: starts the system and runs until told to stop.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use actors_agents::Sandboxes;
use actors_host::{Config, Running, StartError};
use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

use crate::called;
use crate::commands;
use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};

/// The addresses, and the parts that run in this process.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The address to serve HTTP on; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// The port of the embedded NATS server; 0 picks a free one [default: 0]
    #[arg(long, value_name = "PORT")]
    nats_port: Option<u16>,
    /// The durability profile, which says what an acknowledgement means: `durable`, `replicated` or `fast`
    /// [default: durable]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<bus_client::Profile>,
    /// The parts that run in this process; several processes may share one NATS
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Role::Host, Role::Agents, Role::Gateway])]
    roles: Vec<Role>,
}

/// A part of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The partitions: they own entities and decide commands.
    Host,
    /// The agents that come with Orrery.
    Agents,
    /// The HTTP interface, event streams and read models.
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

/// The settings, overridden by the arguments.
pub fn configured(mut config: Config, arguments: &Arguments) -> Config {
    config.http = arguments.http.unwrap_or(config.http);
    config.nats_port = arguments.nats_port.unwrap_or(config.nats_port);
    config.nats.profile = arguments.profile.unwrap_or(config.nats.profile);
    config.host &= arguments.roles.contains(&Role::Host);
    config.agents &= arguments.roles.contains(&Role::Agents);
    config
}

/// A started system with its gateway.
#[derive(Debug)]
pub struct System {
    running: Running,
    sandboxes: Arc<Sandboxes>,
    gateway: Option<gateway::Gateway>,
    metrics: Option<gateway::Gateway>,
    /// The partitions that do not answer although the others do, as text.
    lacking: Option<String>,
    stop: CancellationToken,
    /// Where the system is found; `None` until it answers.
    discovery: Option<Discovery>,
}

impl System {
    /// Starts everything, waits until it answers, and writes the discovery file. Ends with the failure
    /// `interrupted` when Ctrl-C comes first; a failed start leaves nothing running.
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
            // The recorder comes before anything that counts: a counter made without one is never exported.
            gateway::record();
        }
        let tools = match config.agents {
            true => crate::tools::load(config).map_err(|mistakes| super::config::refused(&mistakes))?,
            false => actors_agents::Tools::default(),
        };
        let agents = actors_agents::shipped(&tools);
        let running = actors_host::start_unless(config, agents, interrupted.as_mut()).await?;
        let stop = CancellationToken::new();
        let mut system = Self {
            running,
            sandboxes: tools.sandboxes,
            gateway: None,
            metrics: None,
            lacking: None,
            stop,
            discovery: None,
        };
        let served = tokio::select! {
            served = system.serve(config, http) => served,
            () = interrupted => Err(StartError::Interrupted.into()),
        };
        if let Err(failure) = served {
            // The failed start is what counts, not how the stop went.
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
            // The other partitions go on: whoever repairs the rest needs them and the gateway.
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
        let (http, metrics) = (address(&self.gateway), address(&self.metrics));
        let discovery = Discovery::new(&self.running.addresses(), http, metrics, &config.data_dir);
        discovery.write()?;
        self.discovery = Some(discovery);
        Ok(())
    }

    /// The gateway's address, if there is one.
    pub fn http(&self) -> Option<&str> {
        self.discovery.as_ref()?.http.as_deref()
    }

    /// Resolves with the reason when the supervision tree has given up.
    pub async fn failed(&self) -> String {
        self.running.failed().await
    }

    /// Stops everything gracefully: first the gateway, then agents, partitions and the server.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        let mut edge = Ok(());
        for served in self.gateway.into_iter().chain(self.metrics) {
            edge = edge.and(served.stopped().await.map_err(Failure::from));
        }
        self.running.stop().await;
        self.sandboxes.close().await;
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
        // Whoever stops the system while it starts gets what was asked for.
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

/// Resolves at the first SIGTERM or SIGINT after this call, even when it comes before the first poll. A
/// second signal ends the process at once.
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
