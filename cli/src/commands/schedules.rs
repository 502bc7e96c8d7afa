//! `orrery schedules`: what starts by itself, and when.

use bus_schemas::commands::schedule::{Command, Recurrence};
use bus_schemas::commands::task::Submit;
use bus_schemas::{Key, Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::task::one_line;
use crate::commands::task::submit::{Options, time};
use crate::failure::{Failure, exit};
use crate::gateway::{read, until_shown, view};
use crate::output::{Output, Show, table};
use crate::session::Session;

/// The least time between two runs, in milliseconds: the entity refuses less.
const EVERY_MS_MIN: u64 = 1_000;

/// What to do with schedules; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List them
    List,
    /// Show one with the task that it submits
    Show {
        /// The schedule
        name: String,
    },
    /// Make one, or replace it
    Add(Box<Add>),
    /// Let it not fire until resumed
    Pause {
        /// The schedule
        name: String,
    },
    /// Let it fire again, from now on
    Resume {
        /// The schedule
        name: String,
    },
    /// Let it never fire again
    Remove {
        /// The schedule
        name: String,
    },
}

/// A schedule to make.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("when").required(true).args(["at", "every", "cron"]))]
struct Add {
    /// Its name
    name: String,
    /// What is wanted each time, in words
    goal: String,
    /// Once, at this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// Again and again: seconds between two, or with a unit, such as `90s`, `15m`, `6h`, `1d`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    every: Option<u64>,
    /// By a cron expression of five or six fields, in UTC
    #[arg(long, value_name = "EXPRESSION")]
    cron: Option<String>,
    #[command(flatten)]
    options: Options,
}

/// Milliseconds.
fn duration(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1_000,
        "ms" => 1,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => return Err(format!("`{other}` is no unit: ms, s, m, h or d")),
    };
    let number: u64 = digits.parse().map_err(|_| "not a whole number with a unit".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "too long".to_owned())
}

/// Milliseconds as they would be typed, in the largest unit that fits.
fn typed(milliseconds: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fits = units.into_iter().find(|(unit, _)| milliseconds.is_multiple_of(*unit));
    let (unit, name) = fits.unwrap_or((1, "ms"));
    format!("{}{name}", milliseconds / unit)
}

/// All schedules.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Schedules {
    /// By name.
    pub schedules: Vec<Schedule>,
}

/// A schedule.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Schedule {
    /// Its name.
    pub name: Key,
    /// When it fires.
    pub recurrence: Recurrence,
    /// The task that it submits.
    pub task: Submit,
    /// Whether it waits to be resumed.
    pub paused: bool,
    /// Whether it never fires again.
    pub deleted: bool,
    /// When it fires next: milliseconds since 1970.
    pub next: Option<Timestamp>,
    /// How often it has fired.
    pub fired: u64,
    /// The task that it submitted last.
    pub last_task: Option<Key>,
    /// How many events it has.
    pub revision: Revision,
}

impl Show for Schedules {
    fn text(&self) -> String {
        if self.schedules.is_empty() {
            return "no schedules".to_owned();
        }
        let rows: Vec<Vec<String>> = self.schedules.iter().map(row).collect();
        table(&["SCHEDULE", "WHEN", "STATE", "NEXT", "FIRED", "GOAL"], &rows)
    }
}

fn row(schedule: &Schedule) -> Vec<String> {
    let (when, state) = (schedule.when(), schedule.state().to_owned());
    let next = schedule.next.map(Timestamp::to_rfc3339).unwrap_or_default();
    let goal = one_line(&schedule.task.goal).chars().take(60).collect();
    vec![schedule.name.to_string(), when, state, next, schedule.fired.to_string(), goal]
}

impl Schedule {
    fn when(&self) -> String {
        match &self.recurrence {
            Recurrence::Once { at } => format!("at {}", at.to_rfc3339()),
            Recurrence::Every { every_ms } => format!("every {}", typed(*every_ms)),
            Recurrence::Cron { expression } => format!("cron {expression}"),
        }
    }
    fn state(&self) -> &'static str {
        match (self.deleted, self.paused, self.next) {
            (true, ..) => "removed",
            (_, true, _) => "paused",
            (_, _, None) => "over",
            _ => "active",
        }
    }
}

impl Show for Schedule {
    fn text(&self) -> String {
        let task = &self.task;
        let mut lines = vec![
            format!("schedule {}: {}", self.name, self.when()),
            format!("  state     {}, fired {} times", self.state(), self.fired),
        ];
        lines.extend(self.next.iter().map(|next| format!("  next      {}", next.to_rfc3339())));
        lines.extend(self.last_task.iter().map(|task| format!("  last task {task}")));
        lines.push(format!("  goal      {}", one_line(&task.goal)));
        let attempts = task.attempts_max.map(|most| format!(", up to {most} attempts")).unwrap_or_default();
        lines.push(format!("  skill     {}{attempts}", task.skill));
        let owner = one_line(&task.owner);
        lines.push(format!("  owner     {owner}, priority {}, lane {}", task.priority, task.lane));
        if !task.input.is_null() {
            lines.push(format!("  input     {}", task.input));
        }
        lines.extend(task.plan.iter().map(|plan| format!("  plan      {} steps", plan.steps.len())));
        lines.join("\n")
    }
}

/// What came of a command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Told {
    /// The schedule.
    pub schedule: String,
    /// Its revision after the command.
    pub revision: u64,
}

impl Show for Told {
    fn text(&self) -> String {
        format!("schedule {} is at revision {}", self.schedule, self.revision)
    }
}

/// Does it.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let (name, command) = match arguments.verb.unwrap_or(Verb::List) {
        Verb::List => {
            output.show(&read::<Schedules>(view(session, "/v1/schedules").await?)?);
            return Ok(());
        }
        Verb::Show { name } => {
            output.show(&one(session, &name).await?);
            return Ok(());
        }
        Verb::Add(add) => (add.name.clone(), create(*add)?),
        Verb::Pause { name } => (name, Command::Pause),
        Verb::Resume { name } => (name, Command::Resume),
        Verb::Remove { name } => (name, Command::Delete),
    };
    let removed = command == Command::Delete;
    let (revision, _) = session.ask(&Key::parse(&name)?, &command).await?;
    until_shown(session, async || {
        Ok(match find(session, &name).await? {
            Some(schedule) => !removed && schedule.revision >= revision,
            None => removed,
        })
    })
    .await;
    output.show(&Told { schedule: name, revision: revision.0 });
    Ok(())
}

async fn find(session: &Session, name: &str) -> Result<Option<Schedule>, Failure> {
    let all: Schedules = read(view(session, "/v1/schedules").await?)?;
    Ok(all.schedules.into_iter().find(|schedule| schedule.name.as_str() == name))
}

async fn one(session: &Session, name: &str) -> Result<Schedule, Failure> {
    find(session, name).await?.ok_or_else(|| {
        Failure::new("schedule-not-found", format!("there is no schedule `{name}`"))
            .next("`orrery schedules` shows what there is")
            .exit(exit::NOT_FOUND)
    })
}

fn create(add: Add) -> Result<Command, Failure> {
    let recurrence = match (add.at, add.every, add.cron) {
        (Some(at), ..) => Recurrence::Once { at },
        (_, Some(every_ms), _) if every_ms < EVERY_MS_MIN => {
            return Err(Failure::new("invalid-recurrence", "`--every` is less than a second")
                .next("give the time between two runs, at least `--every 1s`, such as `--every 15m`")
                .exit(exit::USAGE));
        }
        (_, Some(every_ms), _) => Recurrence::Every { every_ms },
        (_, _, cron) => Recurrence::Cron { expression: cron.expect("clap asks for one of the three") },
    };
    Ok(Command::Create { recurrence, task: add.options.submission(add.goal)? })
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_have_units() {
        assert_eq!(super::duration("90"), Ok(90_000));
        assert_eq!(super::duration("15m"), Ok(900_000));
        assert!(super::duration("2w").is_err() && super::duration("m").is_err());
        for text in ["1d", "36h", "15m", "90s", "1500ms"] {
            assert_eq!(super::duration(text).map(super::typed).as_deref(), Ok(text));
        }
    }
}
