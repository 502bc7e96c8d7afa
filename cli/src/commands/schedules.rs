//! `orrery schedules`: what starts by itself, and when.

use bus_schemas::commands::schedule::{Command, Recurrence};
use bus_schemas::commands::task::Submit;
use bus_schemas::{Key, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::gateway::{read, view};
use crate::output::{Output, Show, table};
use crate::session::Session;

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
    /// The skill that the agent needs
    #[arg(long, default_value = "plan")]
    skill: String,
    /// Whose work it is
    #[arg(long, default_value = "anonymous")]
    owner: String,
    /// What the agent needs to know beside the goal: JSON
    #[arg(long, value_name = "JSON", value_parser = json)]
    input: Option<Value>,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "not an RFC 3339 time".to_owned())
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
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
    let when = match &schedule.recurrence {
        Recurrence::Once { at } => format!("at {}", at.to_rfc3339()),
        Recurrence::Every { every_ms } => format!("every {} s", *every_ms as f64 / 1000.0),
        Recurrence::Cron { expression } => format!("cron {expression}"),
    };
    let state = match (schedule.deleted, schedule.paused, schedule.next) {
        (true, ..) => "removed",
        (_, true, _) => "paused",
        (_, _, None) => "over",
        _ => "active",
    };
    let next = schedule.next.map(Timestamp::to_rfc3339).unwrap_or_default();
    let goal = schedule.task.goal.chars().take(60).collect();
    vec![schedule.name.to_string(), when, state.into(), next, schedule.fired.to_string(), goal]
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
        Verb::Add(add) => (add.name.clone(), create(*add)),
        Verb::Pause { name } => (name, Command::Pause),
        Verb::Resume { name } => (name, Command::Resume),
        Verb::Remove { name } => (name, Command::Delete),
    };
    let (revision, _) = session.ask(&Key::parse(&name)?, &command).await?;
    output.show(&Told { schedule: name, revision: revision.0 });
    Ok(())
}

fn create(add: Add) -> Command {
    let recurrence = match (add.at, add.every, add.cron) {
        (Some(at), ..) => Recurrence::Once { at },
        (_, Some(every_ms), _) => Recurrence::Every { every_ms },
        (_, _, cron) => Recurrence::Cron { expression: cron.expect("clap asks for one of the three") },
    };
    let task = Submit {
        skill: add.skill.into(),
        owner: add.owner.into(),
        input: add.input.unwrap_or_default(),
        ..Submit::new(add.goal)
    };
    Command::Create { recurrence, task }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_have_units() {
        assert_eq!(super::duration("90"), Ok(90_000));
        assert_eq!(super::duration("15m"), Ok(900_000));
        assert!(super::duration("2w").is_err() && super::duration("m").is_err());
    }
}
