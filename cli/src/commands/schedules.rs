//! `orrery schedules`: schedules and when each fires next.

use bus_schemas::Timestamp;
use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::settings::Duration;
use gateway_api::routes;
use gateway_api::schedules::{NewSchedule, Schedule, SchedulePage, ScheduledTask};
use gateway_api::tasks::NewTask;

use crate::client::{Client, id};
use crate::commands::tasks::one_line;
use crate::commands::tasks::submit::{Options, time};
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::paging::{self, Page};

/// The minimum interval: the entity refuses less.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// The action on schedules; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List schedules
    List(Page),
    /// Show a schedule with the task that it submits
    Show {
        /// The schedule's name
        name: String,
    },
    /// Create a schedule, or replace it
    Create(Box<Create>),
    /// Pause a schedule: it does not fire until resumed
    Pause {
        /// The schedule's name
        name: String,
    },
    /// Resume a schedule: it fires again from now on
    Resume {
        /// The schedule's name
        name: String,
    },
    /// Delete a schedule: it never fires again
    Delete {
        /// The schedule's name
        name: String,
    },
}

/// The schedule to create.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("when").required(true).args(["at", "every", "cron"]))]
struct Create {
    /// The schedule's name
    name: String,
    /// The goal of each task, in words
    goal: String,
    /// Fire once, at this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// Fire at this interval: seconds, or a number with a unit, such as `90s`, `15m`, `6h`, `1d`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    every: Option<Duration>,
    /// Fire by a cron expression of five or six fields, in UTC
    #[arg(long, value_name = "EXPRESSION")]
    cron: Option<String>,
    #[command(flatten)]
    options: Options,
}

/// Reads a duration; without a unit, seconds are meant.
fn duration(text: &str) -> Result<Duration, String> {
    let bare = text.bytes().all(|byte| byte.is_ascii_digit());
    let duration: Result<Duration, _> = if bare { format!("{text}s").parse() } else { text.parse() };
    duration.map_err(|wrong: &str| format!("`{text}` {wrong}"))
}

impl Show for SchedulePage {
    fn text(&self) -> String {
        if self.schedules.is_empty() {
            return "no schedules".to_owned();
        }
        let rows: Vec<Vec<String>> = self.schedules.iter().map(row).collect();
        let table = table(&["SCHEDULE", "WHEN", "STATE", "NEXT", "FIRED", "GOAL"], &rows);
        paging::shown(table, self.next_cursor.as_ref())
    }
}

fn row(schedule: &Schedule) -> Vec<String> {
    let (when, state) = (when(schedule), state(schedule).to_owned());
    let next = schedule.next.map(Timestamp::to_rfc3339).unwrap_or_default();
    let goal = one_line(&schedule.task.goal).chars().take(60).collect();
    vec![schedule.name.to_string(), when, state, next, schedule.fired.to_string(), goal]
}

fn when(schedule: &Schedule) -> String {
    match &schedule.recurrence {
        Recurrence::Once { at } => format!("at {}", at.to_rfc3339()),
        Recurrence::Every { every_ms } => format!("every {}", Duration::from_ms(*every_ms)),
        Recurrence::Cron { expression } => format!("cron {expression}"),
    }
}

fn state(schedule: &Schedule) -> &'static str {
    match (schedule.deleted, schedule.paused, schedule.next) {
        (true, ..) => "deleted",
        (_, true, _) => "paused",
        (_, _, None) => "over",
        _ => "active",
    }
}

impl Show for Schedule {
    fn text(&self) -> String {
        let task = &self.task;
        let mut lines = vec![
            format!("schedule {}: {}", self.name, when(self)),
            format!("  state     {}, fired {} times", state(self), self.fired),
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

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let schedule = match arguments.verb.unwrap_or(Verb::List(Page::default())) {
        Verb::List(page) => {
            output.show(&client.list(routes::ListSchedules, &page.into()).await?);
            return Ok(());
        }
        Verb::Show { name } => {
            output.show(&client.get(routes::ShowSchedule, &[id(&name)?.as_str()]).await?);
            return Ok(());
        }
        Verb::Create(add) => {
            let name = id(&add.name)?;
            client.send(routes::PutSchedule, &[name.as_str()], &create(*add)?).await?
        }
        Verb::Pause { name } => client.get(routes::PauseSchedule, &[id(&name)?.as_str()]).await?,
        Verb::Resume { name } => client.get(routes::ResumeSchedule, &[id(&name)?.as_str()]).await?,
        Verb::Delete { name } => {
            let deleted = client.get(routes::DeleteSchedule, &[id(&name)?.as_str()]).await?;
            output.changed(&deleted, &format!("schedule {name} is deleted"));
            return Ok(());
        }
    };
    output.changed(&schedule, &format!("schedule {} is at revision {}", schedule.name, schedule.revision));
    Ok(())
}

fn create(add: Create) -> Result<NewSchedule, Failure> {
    let recurrence = match (add.at, add.every, add.cron) {
        (Some(at), ..) => Recurrence::Once { at },
        (_, Some(every), _) if every < EVERY_MIN => {
            return Err(Failure::new("invalid-recurrence", "`--every` is less than a second")
                .next("give the time between two runs, at least `--every 1s`, such as `--every 15m`")
                .exit(exit::USAGE));
        }
        (_, Some(every), _) => Recurrence::Every { every_ms: every.as_ms() },
        (_, _, cron) => Recurrence::Cron { expression: cron.expect("clap asks for one of the three") },
    };
    let NewTask { goal, priority, lane, skill, input, plan, attempts_max, budget, .. } =
        add.options.task(add.goal)?;
    let task = ScheduledTask { goal, priority, lane, skill, input, plan, attempts_max, budget };
    Ok(NewSchedule { recurrence, task })
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_have_units() {
        let ms = |text| super::duration(text).map(super::Duration::as_ms);
        assert_eq!((ms("90"), ms("15m")), (Ok(90_000), Ok(900_000)));
        assert!(
            super::duration("2w").is_err() && super::duration("m").is_err() && super::duration("").is_err()
        );
        for text in ["1d", "36h", "15m", "90s", "1500ms"] {
            assert_eq!(super::duration(text).map(|every| every.to_string()).as_deref(), Ok(text));
        }
    }
}
