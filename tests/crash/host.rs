//! A host in a process of its own, so that a test can kill it: settings from the environment, one
//! line when every partition answers, and the end at SIGTERM.

use actors_host::Config;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() {
    let config = Config::load(None, std::env::vars()).expect("the test's settings");
    let running = match actors_host::start(&config).await {
        Ok(running) => running,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code());
            std::process::exit(69);
        }
    };
    let mut terminate = signal(SignalKind::terminate()).expect("a fresh process can listen to signals");
    let ready = async {
        // It goes on where a partition can not be taken over: the test looks at what answers.
        match running.ready().await {
            Ok(()) => println!("ready"),
            Err(error) => println!("error[{}]: {error}", error.code()),
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        reason = running.failed() => {
            eprintln!("gave up: {reason}");
            std::process::exit(70);
        }
        _ = terminate.recv() => {}
        () = ready => {}
    }
    running.stop().await;
}
