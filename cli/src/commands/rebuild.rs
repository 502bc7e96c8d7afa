//! `orrery rebuild`: writes derived data again, from the log.
//!
//! Nothing is lost by it, and it may be interrupted: it can be repeated. A host that starts on a
//! half-written event stream goes on from its marks, unless the log was cut: a mark before the cut asks
//! for records that are in the archive alone, and the partition stops until this was run to its end.
//!
//! Archived events are in the stream again afterwards. Their files are dropped then, so a damaged one
//! is mended by this: events are read from the logs, and of the archive its commit records alone.

use std::sync::Arc;
use std::time::Duration;

use actors_runtime::fanout::Events;
use actors_runtime::journal::Committed;
use actors_runtime::stuck::Stuck;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::archive::{self, Archive, Location};
use super::verify::{audit, whole};
use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::gateway::{READ_MODEL_FILES, get};
use crate::log::records;
use crate::output::{Output, Show};
use crate::session::Session;

/// Records that are published at once.
const RECORDS_PER_ROUND_MAX: usize = 64;
/// How long the records of one round may take: a round is some hundred milliseconds of work, and a
/// server that takes no writes would otherwise be asked for ever.
const ROUND_PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether a read model is complete.
const LOOK: Duration = Duration::from_millis(50);

/// What to write again.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The event stream, from the logs; entity snapshots are dropped, and this directory's read model is written again too
    Events(Location),
    /// This data directory's read model, from the event stream
    Views,
}

/// What was written.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Rebuilt {
    /// Commit records read; none for views.
    pub records: Option<u64>,
    /// Events written to the stream; none for views.
    pub events: Option<u64>,
    /// The last message of the event stream that the read model has applied.
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

/// Writes it again.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    no_gateway(session)?;
    let (mut written, mut read) = (None, None);
    if let What::Events(location) = arguments.what {
        no_host(session).await?;
        let directory = location.open(&session.config)?.directory().to_owned();
        let _lock = archive::lock(&directory)?;
        let mut archive = Archive::open(&directory)?;
        archive::expect_own(&session.bus, &archive).await?;
        let (records, events) = rebuild_events(session, &archive, output).await?;
        (written, read) = (Some(events), Some(records));
        output.say("verifying what was written");
        whole(&audit(session, None, &archive.without_events(), output).await?)?;
        archive.drop_events()?;
    }
    let applied = rebuild_views(session).await?;
    output.show(&Rebuilt { records: read, events: written, applied });
    Ok(())
}

/// Refuses while a gateway reads into this directory's model.
fn no_gateway(session: &Session) -> Result<(), Failure> {
    match Discovery::find(&session.config.data_dir)? {
        Some(found) => Err(still_running(&format!("process {} runs on the data directory", found.pid))),
        None => Ok(()),
    }
}

/// Refuses while anybody writes events.
async fn no_host(session: &Session) -> Result<(), Failure> {
    let leases = session.bus.leases().await?;
    match leases.hosts.first().or_else(|| leases.holders.values().next()) {
        Some(host) => Err(still_running(&format!("host `{host}` runs"))),
        None => Ok(()),
    }
}

fn still_running(who: &str) -> Failure {
    let message = format!("{who}, and what it writes would mix with what is written again");
    Failure::new("still-running", message)
        .next("stop every host and this directory's gateway (`orrery down`); a host that was killed is forgotten after 4 seconds")
        .exit(exit::UNAVAILABLE)
}

async fn rebuild_events(session: &Session, archive: &Archive, output: Output) -> Result<(u64, u64), Failure> {
    let bus = &session.bus;
    // A log that can not be read must not cost the stream that was made of it.
    for partition in bus.topology().all_partitions() {
        let mut records = records(bus, archive, partition, output).await?;
        while records.next().await?.is_some() {}
    }
    // They name places in the event stream, and those are others soon.
    bus.drop_snapshots().await?;
    bus.clear_events().await?;
    let (mut read, mut written) = (0, 0);
    for partition in bus.topology().all_partitions() {
        let mut events = Events::new(bus.clone(), partition, bus.mark(partition).await?, &Stuck::default());
        let mut records = records(bus, archive, partition, output).await?;
        let mut round = Vec::with_capacity(RECORDS_PER_ROUND_MAX);
        loop {
            let entry = records.next().await?;
            let ended = entry.is_none();
            if let Some(entry) = entry {
                read += 1;
                written += entry.record.turns.iter().map(|turn| turn.events.len() as u64).sum::<u64>();
                let committed = Committed { sequence: entry.sequence, record: entry.record, group: 0 };
                round.push(Arc::new(committed));
            }
            if round.len() == RECORDS_PER_ROUND_MAX || (ended && !round.is_empty()) {
                publish(&mut events, &round).await?;
                round.clear();
            }
            if ended {
                break;
            }
        }
    }
    Ok((read, written))
}

async fn publish(events: &mut Events, round: &[Arc<Committed>]) -> Result<(), Failure> {
    tokio::time::timeout(ROUND_PATIENCE, events.publish(round)).await.map_err(|_| {
        Failure::new("nats-call-failed", format!("the event stream took no writes for {ROUND_PATIENCE:?}"))
            .next("`orrery doctor` shows what the server lacks; rebuilding again is safe")
            .exit(exit::UNAVAILABLE)
    })
}

/// Removes the read model, and lets a gateway that nobody else can find build it again.
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
        // Not ready as a whole, since no host runs; the body says how far the read model is.
        let (_, ready): (_, Value) = get(&url, "/ready").await?;
        if ready["projection"]["caught_up"] == true {
            break ready["projection"]["applied"].as_u64().unwrap_or_default();
        }
        tokio::time::sleep(LOOK).await;
    };
    stop.cancel();
    gateway.stopped().await?;
    Ok(applied)
}
