//! `orrery lanes`: what waits and runs in each lane, and what limits it now; its rules, and pauses.

mod set;

use bus_client::now;
use bus_schemas::Timestamp;
use bus_schemas::commands::halt::Standstill;
use bus_schemas::commands::lane::Limits;
use bus_schemas::settings::{self, Setting};
use bus_schemas::views::lane::{Block, Lane, LaneAgent};
use gateway_api::lanes::{LanePage, LanePaused, PauseLane, ResumeLane};
use gateway_api::routes;

use crate::client::{Client, id};
use crate::commands::halt::{goes_on, rate};
use crate::commands::tasks::one_line;
use crate::failure::Failure;
use crate::output::{Output, Show, silent_lines, table};
use crate::paging::{self, Page};

/// Characters of a lane's limits shown in a row.
const LIMIT_CHARS_MAX: usize = 80;

/// The action; without a verb lanes are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List lanes: what waits and since when, what runs, and what limits the lane now
    List(Page),
    /// Show one lane with its rules, its agents, and everything that limits it now
    Show {
        /// The lane's name
        lane: String,
    },
    /// Change a lane's rules: makes a new version of the settings `lanes`, which applies at once
    Set(set::Arguments),
    /// Pause a lane: no job begins until it is resumed; running jobs go on
    Pause {
        /// The lane's name
        lane: String,
        /// The reason
        #[arg(long)]
        reason: String,
    },
    /// Resume a paused lane
    Resume {
        /// The lane's name
        lane: String,
        /// Jobs that may begin in the first minute. Each minute that uses its number up doubles it; a failure
        /// brings the first number back. Without it, one job begins at first, and one more for each that is
        /// done. Repeat the command while work still resumes gradually to change its rate; without a rate, all
        /// work resumes at once
        #[arg(long, value_name = "N/min", value_parser = rate)]
        rate: Option<u32>,
        /// The revision of the lane whose pause is meant, as `lanes show` tells it: one that was made or ended after
        /// it stays. Without it, whatever pause there is, which is shown
        #[arg(long)]
        revision: Option<u64>,
        /// The reason
        #[arg(long, default_value = "resumed")]
        reason: String,
    },
}

impl Show for LanePage {
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
        let parts = self.lanes.iter().flat_map(|lane| silent_lines(&lane.silent));
        let silent = silent_lines(&self.silent).chain(parts);
        let text = [table].into_iter().chain(silent).collect::<Vec<_>>().join("\n");
        paging::shown(text, self.next_cursor.as_ref())
    }
}

impl Show for Lane {
    fn text(&self) -> String {
        let lane = self;
        let mut lines = vec![format!("lane {}: {} waiting, {} running", lane.id, lane.waiting, lane.running)];
        let mut line = |name: &str, text: String| lines.push(format!("  {name:<9} {text}"));
        if lane.governed {
            line("governed", "each job begins with leave of the lane".to_owned());
        }
        if let Some(Standstill { reason, by, since }) = &lane.pause {
            let (by, since, reason) = (one_line(by), since.to_rfc3339(), one_line(reason));
            line("paused", format!("by {by} since {since}: {reason} (revision {})", lane.revision));
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
        lines.extend(silent_lines(&lane.silent).map(|silent| format!("  {silent}")));
        lines.join("\n")
    }
}

/// The caps as short text.
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

/// What limits the lane, and until when.
fn limit(block: &Block) -> String {
    let what: &'static str = block.what.into();
    let cause = block.cause.as_ref().map(|cause| format!(" by {cause}")).unwrap_or_default();
    let until = block.until.map(|until| format!(", until {}", until.to_rfc3339())).unwrap_or_default();
    format!("{what}{cause}: {}{until}", one_line(&block.reason))
}

/// The time since `since`, in its largest unit.
pub(in crate::commands) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.0.saturating_sub(since.0) / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb.unwrap_or(Verb::List(Page::default())) {
        Verb::List(page) => output.show(&client.list(routes::ListLanes, &page.into()).await?),
        Verb::Show { lane } => output.show(&client.get(routes::ShowLane, &[id(&lane)?.as_str()]).await?),
        Verb::Set(arguments) => set::run(client, arguments, output).await?,
        Verb::Pause { lane, reason } => {
            let paused =
                client.send(routes::PauseLane, &[id(&lane)?.as_str()], &PauseLane { reason }).await?;
            changed(&paused, output);
        }
        Verb::Resume { lane, rate, revision, reason } => {
            let body = Some(ResumeLane { reason: Some(reason), per_minute: rate, revision });
            changed(&client.send(routes::ResumeLane, &[id(&lane)?.as_str()], &body).await?, output);
        }
    }
    Ok(())
}

fn changed(told: &LanePaused, output: Output) {
    let state = match told.paused {
        true => "is paused: what runs goes on".to_owned(),
        false => goes_on(told.per_minute, told.ended.as_ref()),
    };
    output.changed(told, &format!("lane {} {state}", told.lane.id));
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
