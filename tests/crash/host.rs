//! A host in a process of its own, so that a test can kill it: settings from the environment, logs on
//! stderr, one line when every partition answers, and the end at SIGTERM.

use std::sync::Arc;

use actors_agents::{CodeWrite, Tools, Workspaces};
use actors_host::telemetry::{self, Logs};
use actors_host::{Config, Running, StartError};
use actors_models::Models;
use bus_schemas::chain;
use system_tests::agents::Clerk;
use tokio::signal::unix::{SignalKind, signal};

/// The process ends with this when it cannot start.
const NOT_STARTED: i32 = 69;
/// The process ends with this when its supervision gave up.
const GAVE_UP: i32 = 70;

fn main() {
    if !actors_report::parsed_instead() && !actors_sandbox::kept_instead() {
        host();
    }
}

#[tokio::main]
async fn host() {
    let config = Config::load(None, std::env::vars()).expect("the test's settings");
    let _logs = telemetry::init(&config, Logs::default());
    let mut workspaces =
        Workspaces::new(&config.workspace.roots, &config.data_dir).expect("the test's folders");
    if config.code_write.enabled {
        workspaces = workspaces.writable(CodeWrite::new(&[], &[], 1 << 20).expect("no paths"));
    }
    let models = config.models.as_deref().map(Models::load).transpose().expect("the test's models");
    let (models, workspaces) = (Arc::new(models.unwrap_or_default()), Arc::new(workspaces));
    let mut tools = Tools { models, workspaces, ..Tools::default() };
    if let Some(socket) = config.sandbox.socket.clone() {
        // Keepers of one installation remove each other's containers.
        let installation = config.data_dir.parent().and_then(|folder| folder.file_name()?.to_str());
        let installation = installation.expect("a folder of the test's").replace('.', "").to_lowercase();
        tools.sandboxes = system_tests::sandboxes::sandboxes_at(&installation, socket);
    }
    let mut agents = actors_agents::shipped(&tools);
    agents.own.push((Arc::new(Clerk), 1));
    let running = match actors_host::start(&config, agents).await {
        Ok(running) => running,
        Err(error) => {
            println!("{}", outcome(Err(error)));
            std::process::exit(NOT_STARTED);
        }
    };
    let mut terminate = signal(SignalKind::terminate()).expect("a fresh process can listen to signals");
    tokio::select! {
        reason = running.failed() => {
            eprintln!("gave up: {reason}");
            std::process::exit(GAVE_UP);
        }
        _ = terminate.recv() => {}
        () = announce(&running) => {}
    }
    running.stop().await;
}

/// Says once that it is ready, or why not, and goes on where a partition cannot be taken over: the
/// test looks at what answers.
async fn announce(running: &Running) {
    println!("{}", outcome(running.ready().await));
    std::future::pending::<()>().await;
}

fn outcome(started: Result<(), StartError>) -> serde_json::Value {
    match started {
        Ok(()) => serde_json::json!({ "ready": true }),
        Err(error) => {
            serde_json::json!({ "ready": false, "code": error.code(), "message": chain(&error) })
        }
    }
}
