//! `orrery chaos`: experiments that disturb a running system for a bounded time, to test that it holds.

use bus_client::EventQuery;
use bus_schemas::chaos::Experiments;
use bus_schemas::commands::agent::Command as Agent;
use bus_schemas::commands::breaker::{Description as BreakerStatus, Query as Breaker};
use bus_schemas::commands::chaos::{Command, Delayed, Description, Experiment};
use bus_schemas::events::chaos::Event;
use bus_schemas::settings::Duration;
use bus_schemas::wire::{EventFold, WireCommand};
use bus_schemas::{EntityAddress, Key, PartitionId, Revision, upcast};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::read;
use crate::commands::tasks::one_line;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::session::Session;

/// Characters of a reason shown in a row.
const REASON_CHARS_MAX: usize = 60;
/// Timeout for the experiment's event to reach the event stream: much longer than it takes.
const EVENT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// The polling interval while waiting for it.
const EVENT_LOOK: std::time::Duration = std::time::Duration::from_millis(20);

/// The experiment; without a verb experiments are listed.
///
/// Needs the setting `chaos`. Every experiment ends by itself.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Kill an agent's workers in the middle of their work, as a crash would
    KillWorker {
        /// The agent, such as `git`
        agent: String,
        /// Repeat after this interval, such as `5s`. Default: kill once
        #[arg(long, value_name = "DURATION")]
        every: Option<Duration>,
        /// Only workers on this host
        #[arg(long)]
        host: Option<String>,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// Open a breaker, and release it afterwards
    TripBreaker {
        /// The dependency, such as `tool.git`
        #[arg(value_name = "KEY")]
        dependency: String,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// Drop a share of the replies, so that callers retry
    DropAcks {
        /// The share of replies to drop, more than 0 and at most 1
        #[arg(long, default_value = "0.3", value_parser = percent, value_name = "SHARE")]
        share: u8,
        /// Only on this host
        #[arg(long)]
        host: Option<String>,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// Delay replies or commands
    Delay {
        /// The delay, such as `200ms`; at most `10s`
        #[arg(long, value_name = "DURATION")]
        by: Duration,
        /// What to delay: `answers` for replies, or `inbox` for commands that come into a partition
        #[arg(long, default_value_t = Delayed::Answers)]
        of: Delayed,
        /// Only on this host
        #[arg(long)]
        host: Option<String>,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// Make partitions answer that they are busy, or fill their queues with commands that do nothing
    #[command(group = clap::ArgGroup::new("how").required(true).multiple(true))]
    FillInbox {
        /// The partition. Default with `--rate`: every partition
        #[arg(group = "how")]
        partition: Option<u16>,
        /// Send this many no-op commands a second instead of refusing commands; they stay in the log
        #[arg(long, group = "how", value_name = "PER_SECOND")]
        rate: Option<u32>,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// Pause a host as if its process were stopped: other hosts take over its partitions, then it resumes
    PauseHost {
        /// The host, as `orrery doctor` shows it
        host: String,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// List running experiments
    List {
        /// Also list experiments that have ended
        #[arg(long)]
        all: bool,
    },
    /// End an experiment early. Default: the only running one
    Stop {
        /// The experiment's name
        #[arg(conflicts_with = "all")]
        id: Option<String>,
        /// End all running experiments
        #[arg(long)]
        all: bool,
        /// The reason
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// The options that every experiment has.
#[derive(Debug, clap::Args)]
struct Bounds {
    /// The duration of the experiment; at most `10m`
    #[arg(long = "for", default_value = "30s", value_name = "DURATION")]
    time: Duration,
    /// The reason
    #[arg(long, default_value = "an experiment")]
    reason: String,
}

/// An experiment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    /// The experiment's name.
    pub id: Key,
    /// Whether the experiment is running.
    pub running: bool,
    /// What the experiment does, since when, and how it ended.
    #[serde(flatten)]
    pub now: Description,
}

/// The experiments, running ones first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// The experiments.
    pub experiments: Vec<Shown>,
}

/// Reads a share as percent.
fn percent(text: &str) -> Result<u8, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let percent = (share * 100.0).round();
    match (1.0..=100.0).contains(&percent) {
        true => Ok(percent as u8),
        false => Err("more than 0 and at most 1, such as `0.3`".to_owned()),
    }
}

impl Shown {
    fn new(id: Key, now: Description) -> Self {
        let running = now.ended.is_none() && now.until > bus_client::now();
        Self { id, running, now }
    }
}

impl Show for Shown {
    fn text(&self) -> String {
        let Description { experiment, until, ended, .. } = &self.now;
        let id = &self.id;
        match ended {
            None => format!(
                "{id} {experiment} until {}; `orrery chaos stop {id}` ends it earlier",
                until.to_rfc3339()
            ),
            Some(ended) => format!("{id} is over since {} ({})", ended.at.to_rfc3339(), ended.cause),
        }
    }
}

impl Show for List {
    fn text(&self) -> String {
        if self.experiments.is_empty() {
            return "no experiment goes on".to_owned();
        }
        let row = |shown: &Shown| {
            let Description { experiment, reason, by, since, until, ended } = &shown.now;
            let state = match (ended, shown.running) {
                (Some(ended), _) => ended.cause.to_string(),
                (None, true) => "running".to_owned(),
                // No host has reported the end yet.
                (None, false) => "over".to_owned(),
            };
            vec![
                shown.id.to_string(),
                state,
                experiment.to_string(),
                since.to_rfc3339(),
                ended.as_ref().map_or(*until, |ended| ended.at).to_rfc3339(),
                by.clone(),
                one_line(reason).chars().take(REASON_CHARS_MAX).collect(),
            ]
        };
        let rows: Vec<Vec<String>> = self.experiments.iter().map(row).collect();
        table(&["EXPERIMENT", "STATE", "EFFECT", "SINCE", "UNTIL", "BY", "REASON"], &rows)
    }
}

impl Arguments {
    /// Whether the verb only reads stored data, which needs no running system.
    pub fn reads(&self) -> bool {
        matches!(self.verb, None | Some(Verb::List { .. }))
    }
}

/// Runs the verb.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let (experiment, bounds) = match arguments.verb.unwrap_or(Verb::List { all: false }) {
        Verb::List { all } => {
            output.show(&list(session, all).await?);
            return Ok(());
        }
        Verb::Stop { id, all, reason } => return stop(session, id, all, reason, output).await,
        Verb::KillWorker { agent, every, host, bounds } => {
            let (agent, host) = (known_agent(session, &agent).await?, known_host(session, host).await?);
            (Experiment::KillWorker { agent, host, every_ms: every.map(Duration::as_ms) }, bounds)
        }
        Verb::TripBreaker { dependency, bounds } => {
            let dependency = Key::parse(&dependency)?;
            // Only the breaker's entity can tell that a name is no dependency: it refuses the query.
            session.query::<_, BreakerStatus>(&dependency, &Breaker::Describe).await?;
            (Experiment::TripBreaker { dependency }, bounds)
        }
        Verb::DropAcks { share, host, bounds } => {
            (Experiment::DropAcks { percent: share, host: known_host(session, host).await? }, bounds)
        }
        Verb::Delay { by, of, host, bounds } => {
            let host = known_host(session, host).await?;
            (Experiment::Delay { by_ms: by.as_ms(), of, host }, bounds)
        }
        Verb::FillInbox { partition, rate, bounds } => {
            let partition = partition.map(|number| known_partition(session, number)).transpose()?;
            (Experiment::FillInbox { partition, per_second: rate }, bounds)
        }
        Verb::PauseHost { host, bounds } => {
            let host = known_host(session, Some(host.clone())).await?.ok_or_else(|| host_not_found(&host))?;
            (Experiment::PauseHost { host }, bounds)
        }
    };
    let id = name(&experiment)?;
    let Bounds { time, reason } = bounds;
    let start = Command::Start { experiment, for_ms: time.as_ms(), reason };
    let (revision, begun) = session.ask(&id, &start).await?;
    wait_for_event(session, &id, revision).await?;
    output.show(&Shown::new(id, read(begun)?));
    Ok(())
}

/// A new name: the experiment's verb and some digits.
fn name(experiment: &Experiment) -> Result<Key, Failure> {
    let digits = Uuid::now_v7().simple().to_string();
    Ok(Key::parse(&format!("{}-{}", experiment.verb(), &digits[24..]))?)
}

/// The running experiments, or all known ones.
pub async fn list(session: &Session, all: bool) -> Result<List, Failure> {
    let subjects = vec![session.bus.subjects().events(Some(&Command::KIND))];
    let mut events = session.bus.events_until_now(EventQuery { subjects, from: 0 }).await?;
    let mut known = Experiments::default();
    while let Some(stored) = events.try_next().await? {
        let event = &stored.event;
        let event: Event = upcast::read(&event.event_type, event.schema, &event.body)
            .map_err(|error| Failure::of("event-unreadable", &error).exit(exit::DATA))?;
        known.apply(&stored.entity.key, &event);
    }
    let shown = known.all.into_iter().map(|(id, now)| Shown::new(id, now));
    let mut experiments: Vec<Shown> = shown.filter(|shown| all || shown.running).collect();
    experiments.sort_by_key(|shown| (!shown.running, shown.now.since, shown.id.clone()));
    Ok(List { experiments })
}

async fn stop(
    session: &Session,
    id: Option<String>,
    all: bool,
    reason: String,
    output: Output,
) -> Result<(), Failure> {
    let ids = match id {
        Some(id) => vec![Key::parse(&id)?],
        None => {
            let running: Vec<Key> =
                list(session, false).await?.experiments.into_iter().map(|shown| shown.id).collect();
            if !all && running.len() != 1 {
                return Err(which(&running));
            }
            running
        }
    };
    if ids.is_empty() {
        output.say("no experiment is running");
    }
    for id in ids {
        match session.ask(&id, &Command::Stop { reason: reason.clone() }).await {
            Ok((revision, ended)) => {
                wait_for_event(session, &id, revision).await?;
                output.show(&Shown::new(id, read(ended)?));
            }
            // The experiment ended in the meantime.
            Err(failure) if all && failure.code == "experiment-over" => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Waits until the event is in the event stream, so that a list right behind the command shows it. Gives up
/// where events come late.
async fn wait_for_event(session: &Session, id: &Key, revision: Revision) -> Result<(), Failure> {
    let subject = session.bus.subjects().event(&EntityAddress::new(Command::KIND, id.clone()));
    let deadline = Instant::now() + EVENT_PATIENCE;
    while Instant::now() < deadline {
        let latest = session.bus.latest_events(&subject).await?;
        if latest.iter().any(|stored| stored.event.revision >= revision) {
            break;
        }
        tokio::time::sleep(EVENT_LOOK).await;
    }
    Ok(())
}

fn which(running: &[Key]) -> Failure {
    let message = match running.len() {
        0 => "no experiment goes on".to_owned(),
        count => format!("{count} experiments go on, and none was named"),
    };
    Failure::new("experiment-not-found", message)
        .next("`orrery chaos list` shows them; `orrery chaos stop --all` ends them all")
        .exit(exit::NOT_FOUND)
}

/// Refuses a misspelled agent: otherwise the experiment would seem to run.
async fn known_agent(session: &Session, agent: &str) -> Result<Key, Failure> {
    let key = Key::parse(agent)?;
    let subject = session.bus.subjects().event(&EntityAddress::new(Agent::KIND, key.clone()));
    if session.bus.latest_events(&subject).await?.is_empty() {
        return Err(Failure::new("agent-not-found", format!("no agent is called `{agent}`"))
            .next("`orrery agents` lists all of them")
            .exit(exit::NOT_FOUND));
    }
    Ok(key)
}

async fn known_host(session: &Session, host: Option<String>) -> Result<Option<Key>, Failure> {
    let Some(host) = host else { return Ok(None) };
    if !session.bus.leases().await?.hosts.contains(&host) {
        return Err(host_not_found(&host));
    }
    Ok(Some(Key::parse(&host)?))
}

fn host_not_found(host: &str) -> Failure {
    Failure::new("host-not-found", format!("no host is called `{host}`"))
        .next("`orrery doctor` shows which hosts there are")
        .exit(exit::NOT_FOUND)
}

fn known_partition(session: &Session, number: u16) -> Result<PartitionId, Failure> {
    let partitions = session.bus.topology().partitions;
    if number < partitions {
        return Ok(PartitionId(number));
    }
    Err(Failure::new("invalid-experiment", format!("there are the partitions 0 to {}", partitions - 1))
        .next("name one of them, or give a `--rate` for all")
        .exit(exit::DATA))
}

#[cfg(test)]
mod tests {
    use bus_schemas::Timestamp;

    use super::*;

    #[test]
    fn a_share_is_a_part_of_one() {
        assert_eq!([percent("0.3"), percent("1"), percent("0.01")], [Ok(30), Ok(100), Ok(1)]);
        for wrong in ["0", "1.1", "-1", "NaN", "half"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_experiment_says_until_when() {
        let host = Key::parse("a").expect("a key");
        let now = Description {
            experiment: Experiment::PauseHost { host },
            reason: "why not".into(),
            by: "ann".into(),
            since: Timestamp(0),
            until: Timestamp(30_000),
            ended: None,
        };
        let shown = Shown::new(Key::parse("pause-host-1").expect("a key"), now);
        assert!(!shown.running, "1970 is over");
        assert!(shown.text().starts_with("pause-host-1 pauses the host a until 1970-01-01T00:00:30"));
    }
}
