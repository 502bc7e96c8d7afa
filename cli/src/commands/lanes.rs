//! `orrery lanes`: what waits in each lane, what runs, and what limits it right now; its rules, and pauses.

mod set;

use std::collections::BTreeSet;

use bus_schemas::commands::broker::{Command, Limits};
use bus_schemas::commands::config;
use bus_schemas::settings::{self, Setting};
use bus_schemas::views::lane::{Block, Lane, LaneAgent, Limit};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Key, Timestamp};
use futures::{StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::halt::rate;
use crate::commands::task::one_line;
use crate::failure::{Failure, exit};
use crate::gateway::read;
use crate::output::{Output, Show, table};
use crate::progress::now;
use crate::session::Session;
use crate::who::Who;

pub use set::Told as Set;

/// Lanes that are asked at once.
const ASKED_AT_ONCE: usize = 16;
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
        if self.lanes.is_empty() {
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
        table(&["LANE", "WAITING", "OLDEST", "RUNNING", "CAPS", "LIMITED BY"], &rows)
    }
}

impl Show for Shown {
    fn text(&self) -> String {
        let lane = &self.0;
        let mut lines = vec![format!("lane {}: {} waiting, {} running", lane.id, lane.waiting, lane.running)];
        let mut line = |name: &str, text: String| lines.push(format!("  {name:<9} {text}"));
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
        for LaneAgent { agent, capacity, running, free } in &lane.agents {
            line("agent", format!("{agent}: {running} of {capacity} run, {free} free"));
        }
        for block in &lane.blocks {
            line("limited", limit(block));
        }
        if lane.trees_held > 0 {
            line("held", format!("{} single tasks with what is below them", lane.trees_held));
        }
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
            output.show(&Shown(one(session, key).await?));
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
            let again = !one(session, key.clone()).await?.blocks.iter().any(is_pause);
            let command = Command::Resume { reason, by: who.name(), per_minute: rate };
            let (revision, _) = session.ask(&key, &command).await?;
            output.show(&Told { lane, revision: revision.0, paused: false, per_minute: rate, again });
        }
    }
    Ok(())
}

async fn all(session: &Session) -> Result<Lanes, Failure> {
    let names = names(session).await?;
    let asked = futures::stream::iter(names).map(|lane| one(session, lane));
    Ok(Lanes { lanes: asked.buffered(ASKED_AT_ONCE).try_collect().await? })
}

/// The lanes of which something was heard, and those that the settings name.
async fn names(session: &Session) -> Result<BTreeSet<Key>, Failure> {
    let subject = session.bus.subjects().events(Some(&Command::KIND));
    let mut names: BTreeSet<Key> =
        session.bus.latest_events(&subject).await?.into_iter().map(|event| event.entity.key).collect();
    let (settings, _) = document(session).await?;
    names.extend(settings.lanes.keys().filter_map(|name| Key::parse(name).ok()));
    Ok(names)
}

/// The settings of all lanes as they hold, and as their entity tells them.
async fn document(session: &Session) -> Result<(settings::Lanes, config::Description), Failure> {
    let name = Key::parse(settings::Lanes::NAME).expect("a constant that is a key");
    let (_, answer) = session.ask(&name, &config::Command::Describe { version: None }).await?;
    let described: config::Description = read(answer)?;
    Ok((read(described.value.clone())?, described))
}

async fn one(session: &Session, lane: Key) -> Result<Lane, Failure> {
    read(session.ask(&lane, &Command::Describe).await?.1)
}

/// A lane that there is: a misspelled name must not be answered as if something had been done.
async fn known(session: &Session, lane: &str) -> Result<Key, Failure> {
    let key = Key::parse(lane)?;
    match names(session).await?.contains(&key) {
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
