//! The `orrery` binary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use actors_host::{Config, Running, telemetry};
use anyhow::Context;
use bus_client::{Ask, Bus, EventQuery};
use bus_schemas::commands::task::{Command as TaskCommand, Submit};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::Artifact;
use bus_schemas::{Body, EntityAddress, Key, Kind, Reply, upcast};
use clap::{Parser, Subcommand};
use futures::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

/// How long a command may wait for its partition.
const PATIENCE: Duration = Duration::from_secs(30);

/// Durable agents on NATS.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where everything of this installation lies.
    #[arg(long, global = true, default_value = ".orrery", env = "ORRERY_DATA_DIR")]
    data_dir: PathBuf,
    /// A TOML file with settings.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// One JSON object a line instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start the system and run until told to stop.
    Up {
        /// Where HTTP is served; port 0 picks a free one.
        #[arg(long)]
        http: Option<std::net::SocketAddr>,
        /// The embedded server's port; 0 picks a free one.
        #[arg(long)]
        nats_port: Option<u16>,
    },
    /// Do a goal and print where the result is.
    Run {
        /// What is wanted.
        goal: String,
        /// The repository that it is about.
        #[arg(long, default_value = ".")]
        repo: PathBuf,
        /// Start a private system for it, and stop it at the end.
        #[arg(long)]
        embedded: bool,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut config = match Config::load(arguments.config.as_deref(), std::env::vars()) {
        Ok(config) => config,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("error[bad-setting]: {mistake}\nnext: {}", mistake.hint);
            }
            std::process::exit(64);
        }
    };
    config.data_dir = arguments.data_dir;
    let _guard = telemetry::init(&config, arguments.json);
    match arguments.verb {
        Verb::Up { http, nats_port } => {
            config.http = http.unwrap_or(config.http);
            config.nats_port = nats_port.unwrap_or(config.nats_port);
            up(&config, arguments.json).await
        }
        Verb::Run { goal, repo, .. } => {
            let running = started(&config).await?;
            let result = run(running.bus(), &config.data_dir, &goal, &repo).await;
            running.stop().await;
            result
        }
    }
}

async fn started(config: &Config) -> anyhow::Result<Running> {
    let running = match actors_host::start(config).await {
        Ok(running) => running,
        Err(error) => {
            eprintln!("error[{}]: {}", error.code(), actors_runtime::lease::chain(&error));
            eprintln!("next: {}", error.hint());
            std::process::exit(1);
        }
    };
    running.ready().await?;
    Ok(running)
}

async fn up(config: &Config, json: bool) -> anyhow::Result<()> {
    let running = started(config).await?;
    let stop = CancellationToken::new();
    let gateway = gateway::Config { listen: config.http, data_dir: config.data_dir.clone() };
    let gateway = gateway::serve(running.bus().clone(), gateway, stop.clone()).await?;
    let addresses = running.addresses();
    if json {
        let mut line = serde_json::to_value(&addresses)?;
        line["http"] = format!("http://{}", gateway.address).into();
        println!("{line}");
    } else {
        let (profile, fsync) = (addresses.profile, addresses.profile.fsync());
        println!("orrery is up: http://{}  {}  profile {profile} (fsync {fsync})", gateway.address, addresses.nats_url);
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let failed = tokio::select! {
        reason = running.failed() => Some(reason),
        _ = tokio::signal::ctrl_c() => None,
        _ = terminate.recv() => None,
    };
    stop.cancel();
    gateway.stopped().await?;
    running.stop().await;
    match failed {
        Some(reason) => anyhow::bail!("the supervision tree gave up: {reason}"),
        None => Ok(()),
    }
}

async fn run(bus: &Bus, data_dir: &Path, goal: &str, repo: &Path) -> anyhow::Result<()> {
    let repo = repo.canonicalize().with_context(|| format!("opening `{}`", repo.display()))?;
    let key = Key::parse(&uuid::Uuid::now_v7().to_string())?;
    let task = EntityAddress::new(Kind::from_static("task"), key.clone());
    let submit = Submit { input: serde_json::json!({ "repo": repo }), ..Submit::new(goal) };
    let ask = Ask::new(task.clone(), Body::json(&TaskCommand::Submit(submit))).caller("cli");
    if let Reply::Refused { refusal, .. } = bus.ask(&ask, PATIENCE).await? {
        anyhow::bail!("{}: {}", refusal.code, refusal.message);
    }
    let artifacts = follow(bus, &task).await?;
    let directory = data_dir.join("reports").join(key.as_str());
    std::fs::create_dir_all(&directory)?;
    for artifact in artifacts.iter().filter(|artifact| artifact.name.starts_with("report.")) {
        let path = directory.join(&artifact.name);
        std::fs::write(&path, bus.get_blob(artifact.hash).await?)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Shows the tree's events until the root has ended.
async fn follow(bus: &Bus, task: &EntityAddress) -> anyhow::Result<Vec<Artifact>> {
    let query = EventQuery { subjects: bus.subjects().event_tree(task).to_vec(), from: 0 };
    let mut events = bus.events(query).await?;
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}")?);
    bar.enable_steady_tick(Duration::from_millis(100));
    while let Some(stored) = events.try_next().await? {
        let event: Event = upcast::read(&stored.event.event_type, stored.event.schema, &stored.event.body)?;
        bar.set_message(format!("{} {}", stored.entity.key, stored.event.event_type));
        if stored.entity != *task {
            continue;
        }
        match event {
            Event::Completed { artifacts, .. } => return Ok(artifacts),
            Event::Failed { failure, .. } => anyhow::bail!("{}: {}", failure.code, failure.message),
            Event::Canceled { reason, .. } => anyhow::bail!("canceled: {reason}"),
            _ => {}
        }
    }
    anyhow::bail!("the event stream ended")
}
