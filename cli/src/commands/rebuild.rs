//! `orrery rebuild`: rebuilds derived data from the log.

use std::time::Duration;

use orrery_storage::rebuild::{self, Error};
use orrery_storage::verify::Finding;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::archive::Location;
use crate::bar::Bar;
use crate::client::{READ_MODEL_FILES, fetch};
use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::session::Session;

/// The polling interval while a read model is built.
const LOOK: Duration = Duration::from_millis(50);

/// What to rebuild.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The event stream, from the logs; drops entity snapshots, and rebuilds this directory's read model too
    Events(Location),
    /// This data directory's read model, from the event stream
    Views,
}

/// What was rebuilt.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Rebuilt {
    /// Commit records that were read; `null` for views.
    pub records: Option<u64>,
    /// Events that were written to the stream; `null` for views.
    pub events: Option<u64>,
    /// The sequence of the last message of the event stream that the read model has applied.
    pub applied: u64,
}

impl Show for Rebuilt {
    fn text(&self) -> String {
        let events = match (self.records, self.events) {
            (Some(records), Some(events)) => format!("{events} events of {records} records written; "),
            _ => String::new(),
        };
        format!("{events}read model complete up to message {}", self.applied)
    }
}

/// Runs the verb.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    no_gateway(session)?;
    let written = match arguments.what {
        What::Events(location) => {
            let archive = location.open(&session.config)?;
            let mut show = |finding: Finding| output.show(&finding);
            let bar = Bar::new(output);
            Some(rebuild::run(&session.bus, archive.directory(), &bar, &mut show).await?)
        }
        What::Views => None,
    };
    let (records, events) = written.map(|written| (written.records, written.events)).unzip();
    output.show(&Rebuilt { records, events, applied: rebuild_views(session).await? });
    Ok(())
}

/// Refuses while a gateway writes into this directory's read model.
fn no_gateway(session: &Session) -> Result<(), Failure> {
    match Discovery::find(&session.config.data_dir)? {
        Some(found) => {
            Err(Error::Running { who: format!("process {} runs on the data directory", found.pid) }.into())
        }
        None => Ok(()),
    }
}

/// Removes the read model, and runs a private gateway until it has rebuilt it.
async fn rebuild_views(session: &Session) -> Result<u64, Failure> {
    let data_dir = &session.config.data_dir;
    for file in READ_MODEL_FILES {
        match std::fs::remove_file(data_dir.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::new("read-model-unusable", format!("removing `{file}`: {error}"))
                    .next("mend the permissions of the data directory")
                    .exit(exit::FILE));
            }
            _ => {}
        }
    }
    let stop = CancellationToken::new();
    let settings =
        gateway::Config { listen: (std::net::Ipv4Addr::LOCALHOST, 0).into(), data_dir: data_dir.clone() };
    let gateway = gateway::serve(session.bus.clone(), settings, stop.clone()).await?;
    let url = format!("http://{}", gateway.address);
    let applied = loop {
        // The gateway is not ready as a whole, since no host runs; the body says how far the read model is.
        let (_, ready): (_, Value) = fetch(&format!("{url}/ready")).await?;
        if ready["projection"]["caught_up"] == true {
            break ready["projection"]["applied"].as_u64().unwrap_or_default();
        }
        tokio::time::sleep(LOOK).await;
    };
    stop.cancel();
    gateway.stopped().await?;
    Ok(applied)
}
