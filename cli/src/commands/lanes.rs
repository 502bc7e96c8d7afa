//! `orrery lanes`: what waits in each lane, what runs, and what limits it right now; its rules, and pauses.

mod set;

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::commands::broker::{Command, Limits, Query};
use bus_schemas::commands::{config, queue};
use bus_schemas::settings::{self, Setting};
use bus_schemas::views::lane::{Block, Lane, LaneAgent, Limit, Part};
use bus_schemas::views::silent::Silent;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::asked::{self, Asked};
use crate::commands::halt::rate;
use crate::commands::task::one_line;
use crate::failure::{Failure, exit};
use crate::gateway::read;
use crate::output::{Output, Show, table};
use crate::progress::now;
use crate::session::{PATIENCE, Session};
use crate::who::Who;

pub use set::Told as Set;

/// Characters of what limits a lane that a row shows.
const LIMIT_CHARS_MAX: usize = 80;

/// What to do; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List lanes: what waits, since when, what runs, and what limits it right now
    List,
    /// Show one with its rules, its agents, and everything that limits it right now
    Show {
        /// The lane
        lane: String,
    },
    /// Change the rules of one: a new version of the settings `lanes`, which holds at once
    Set(set::Arguments),
    /// Let no job begin until it is resumed; what runs goes on
    Pause {
        /// The lane
        lane: String,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// Let what was paused go on
    Resume {
        /// The lane
        lane: String,
        /// Jobs that may begin in the first minute: twice as many in each minute after it. Without it,
        /// one job at first, and one more for each that is done. Said again while work comes back so:
        /// this rate from now on, or, without one, everything at once
        #[arg(long, value_name = "N/min", value_parser = rate)]
        rate: Option<u32>,
        /// Why
        #[arg(long, default_value = "resumed")]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
}

/// All lanes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Lanes {
    /// By name.
    pub lanes: Vec<Lane>,
    /// Those that did not answer.
    pub silent: Vec<Silent>,
}

/// One lane.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Shown(pub Lane);

/// What came of a command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Told {
    /// The lane.
    pub lane: String,
    /// Its revision after the command.
    pub revision: u64,
    /// Whether it is paused now.
    pub paused: bool,
    /// Jobs that may begin in the first minute; none where no rate was given.
    pub per_minute: Option<u32>,
    /// Whether it was resumed before: what still came back gradually goes on at once, or at this rate.
    pub again: bool,
}

impl Show for Told {
    fn text(&self) -> String {
        let state = match (self.paused, self.per_minute) {
            (true, _) => "is paused: what runs goes on".to_owned(),
            (false, Some(rate)) => format!("goes on, with {rate} jobs in the first minute"),
            (false, None) if self.again => "goes on, all at once".to_owned(),
            (false, None) => "goes on, one job at first".to_owned(),
        };
        format!("lane {} {state}", self.lane)
    }
}

impl Show for Lanes {
    fn text(&self) -> String {
        if self.lanes.is_empty() && self.silent.is_empty() {
            return "no lanes: no agent serves one yet".to_owned();
        }
        let now = now();
        let row = |lane: &Lane| {
            let limits: Vec<String> = lane.blocks.iter().map(limit).collect();
            vec![
                lane.id.to_string(),
                lane.waiting.to_string(),
                lane.oldest.map(|oldest| age(oldest, now)).unwrap_or_default(),
                lane.running.to_string(),
                caps(&lane.limits),
                one_line(&limits.join("; ")).chars().take(LIMIT_CHARS_MAX).collect(),
            ]
        };
        let rows: Vec<Vec<String>> = self.lanes.iter().map(row).collect();
        let table = table(&["LANE", "WAITING", "OLDEST", "RUNNING", "CAPS", "LIMITED BY"], &rows);
        let parts = self.lanes.iter().flat_map(|lane| asked::lines(&lane.silent));
        let silent = asked::lines(&self.silent).chain(parts);
        [table].into_iter().chain(silent).collect::<Vec<_>>().join("\n")
    }
}

impl Show for Shown {
    fn text(&self) -> String {
        let lane = &self.0;
        let mut lines = vec![format!("lane {}: {} waiting, {} running", lane.id, lane.waiting, lane.running)];
        let mut line = |name: &str, text: String| lines.push(format!("  {name:<9} {text}"));
        if lane.governed {
            line("governed", "each job begins with leave of the lane".to_owned());
        }
        if let Some(oldest) = lane.oldest {
            line("oldest", format!("{}, {} ago", oldest.to_rfc3339(), age(oldest, now())));
        }
        line("caps", if lane.limits == Limits::default() { "none".to_owned() } else { caps(&lane.limits) });
        line("begun", format!("{} in this minute, {} today", lane.begun_in_minute, lane.begun_in_day));
        if let Some(ageing) = lane.limits.ageing_ms {
            line("ageing", format!("one priority higher each {}", settings::Duration::from_ms(ageing)));
        }
        for (owner, weight) in &lane.limits.weights {
            line("weight", format!("{owner} {weight}"));
        }
        for window in &lane.limits.windows {
            let duration = settings::Duration::from_ms(window.duration_ms);
            line("window", format!("`{}` for {duration}", window.cron));
        }
        line(
            "rules",
            match lane.version {
                None => "not told yet".to_owned(),
                Some(0) => "the defaults".to_owned(),
                Some(version) => format!("version {version} of the settings `lanes`"),
            },
        );
        for (name, version) in lane.settings.iter().filter(|(name, _)| *name != settings::Lanes::NAME) {
            let version =
                if *version == 0 { "the defaults".to_owned() } else { format!("version {version}") };
            line("settings", format!("{version} of `{name}`"));
        }
        for LaneAgent { agent, capacity, running, free, .. } in &lane.agents {
            line("agent", format!("{agent}: {running} of {capacity} run, {free} free"));
        }
        for block in &lane.blocks {
            line("limited", limit(block));
        }
        if lane.trees_held > 0 {
            line("held", format!("{} single tasks with what is below them", lane.trees_held));
        }
        lines.extend(asked::lines(&lane.silent).map(|silent| format!("  {silent}")));
        lines.join("\n")
    }
}

/// The caps in a word each.
fn caps(limits: &Limits) -> String {
    let part = |cap: Option<u32>, unit: &str| cap.map(|cap| format!("{cap}{unit}"));
    let parts = [
        part(limits.concurrent, " at once"),
        part(limits.per_minute, "/min"),
        part(limits.per_day, "/day"),
        (!limits.windows.is_empty()).then(|| "windows".to_owned()),
        (!limits.weights.is_empty()).then(|| "weights".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What limits, and until when.
fn limit(block: &Block) -> String {
    let what: &'static str = block.what.into();
    let cause = block.cause.as_ref().map(|cause| format!(" by {cause}")).unwrap_or_default();
    let until = block.until.map(|until| format!(", until {}", until.to_rfc3339())).unwrap_or_default();
    format!("{what}{cause}: {}{until}", one_line(&block.reason))
}

/// How long ago, in its largest unit.
pub(in crate::commands) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.0.saturating_sub(since.0) / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Does it.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb.unwrap_or(Verb::List) {
        Verb::List => output.show(&all(session).await?),
        Verb::Show { lane } => {
            let key = known(session, &lane).await?;
            output.show(&Shown(one(session, &key).await?));
        }
        Verb::Set(arguments) => output.show(&set::run(session, arguments).await?),
        Verb::Pause { lane, reason, who } => {
            let key = known(session, &lane).await?;
            let (revision, _) = session.ask(&key, &Command::Pause { reason, by: who.name() }).await?;
            output.show(&Told { lane, revision: revision.0, paused: true, per_minute: None, again: false });
        }
        Verb::Resume { lane, rate, reason, who } => {
            let key = known(session, &lane).await?;
            let is_pause =
                |block: &Block| block.what == Limit::Held && block.cause.as_deref() == Some("pause");
            let again = !one(session, &key).await?.blocks.iter().any(is_pause);
            let command = Command::Resume { reason, by: who.name(), per_minute: rate };
            let (revision, _) = session.ask(&key, &command).await?;
            output.show(&Told { lane, revision: revision.0, paused: false, per_minute: rate, again });
        }
    }
    Ok(())
}

async fn all(session: &Session) -> Result<Lanes, Failure> {
    session.expect_host().await?;
    let mut names = heard_of(session).await?;
    let mut silent = Vec::new();
    match document(session, asked::PATIENCE_OF_MANY).await {
        Ok((settings, _)) => names.extend(named(&settings)),
        Err(failure) => silent.push(asked::one_silent(&settings_address(), failure)?),
    }
    let Asked { answers, silent: quiet } = asked::all::<_, Lane>(session, names, &Query::Describe).await?;
    silent.extend(quiet);
    let lanes = answers.into_iter().map(|(_, lane)| lane).collect();
    Ok(Lanes { lanes: with_queues(session, lanes).await?, silent })
}

/// The lanes of which something was heard.
async fn heard_of(session: &Session) -> Result<BTreeSet<Key>, Failure> {
    Ok(asked::heard_of::<Command>(session).await?.into_iter().collect())
}

/// The lanes that the settings name.
fn named(settings: &settings::Lanes) -> impl Iterator<Item = Key> {
    settings.lanes.keys().filter_map(|name| Key::parse(name).ok())
}

/// The lanes of which something was heard, and those that the settings name.
async fn names(session: &Session) -> Result<BTreeSet<Key>, Failure> {
    session.expect_host().await?;
    let mut names = heard_of(session).await?;
    let (settings, _) = document(session, PATIENCE).await?;
    names.extend(named(&settings));
    Ok(names)
}

fn settings_address() -> EntityAddress {
    let name = Key::parse(settings::Lanes::NAME).expect("a constant that is a key");
    EntityAddress::new(config::Command::KIND, name)
}

/// The settings of all lanes as they hold, and as their entity tells them.
async fn document(
    session: &Session,
    patience: std::time::Duration,
) -> Result<(settings::Lanes, config::Description), Failure> {
    let body = Body::json(&config::Query::Describe { version: None });
    let described: config::Description = session.view(settings_address(), body, patience).await?;
    Ok((read(described.value.clone())?, described))
}

/// A lane with what its queues say.
async fn one(session: &Session, lane: &Key) -> Result<Lane, Failure> {
    let found: Lane = session.query(lane, &Query::Describe).await?;
    Ok(with_queues(session, vec![found]).await?.remove(0))
}

/// Adds what the queues of lanes say, all of which are asked at once: who of them does not answer is named.
async fn with_queues(session: &Session, mut lanes: Vec<Lane>) -> Result<Vec<Lane>, Failure> {
    let partitions = session.bus.topology().partitions;
    let queues: Vec<Key> =
        lanes.iter().flat_map(|lane| lane.queues(partitions)).map(|queue| queue.key).collect();
    let Asked { answers, silent } = asked::all::<_, Part>(session, queues, &queue::Query::Describe).await?;
    let mut parts: BTreeMap<EntityAddress, Part> = answers.into_iter().collect();
    let mut quiet: BTreeMap<String, Silent> =
        silent.into_iter().map(|silent| (silent.entity.clone(), silent)).collect();
    for lane in &mut lanes {
        for queue in lane.queues(partitions) {
            parts.remove(&queue).iter().for_each(|part| lane.add(part));
            lane.silent.extend(quiet.remove(&queue.to_string()));
        }
    }
    Ok(lanes)
}

/// A lane that there is: a misspelled name must not be answered as if something had been done.
async fn known(session: &Session, lane: &str) -> Result<Key, Failure> {
    let key = Key::parse(lane)?;
    session.expect_host().await?;
    // The settings lie in another partition, and are asked only where nothing was heard of the lane.
    let known = heard_of(session).await?.contains(&key) || names(session).await?.contains(&key);
    match known {
        true => Ok(key),
        false => Err(not_found(lane)),
    }
}

fn not_found(lane: &str) -> Failure {
    Failure::new("lane-not-found", format!("nothing was heard of a lane `{lane}`"))
        .next("`orrery lanes` lists what there is; `orrery lanes set NAME --new` makes rules for one to come")
        .exit(exit::NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_their_largest_unit() {
        let ages = [0, 59_999, 60_000, 3_600_000, 200_000_000].map(|ms| age(Timestamp(1), Timestamp(ms + 1)));
        assert_eq!(ages, ["0s", "59s", "1m", "1h", "2d"]);
    }
}
