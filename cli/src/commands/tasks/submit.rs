//! `orrery tasks submit`: submits a task with all its options.

use std::path::PathBuf;

use bus_schemas::commands::task::Plan;
use bus_schemas::{Key, Timestamp};
use gateway_api::routes;
use gateway_api::tasks::NewTask;
use serde_json::Value;

use super::{budget, changed, watch};
use crate::client::{Client, id};
use crate::failure::{Failure, exit};
use crate::output::Output;

/// The task to submit.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The goal, in words
    goal: String,
    /// The task's id; the same id again is the same task [default: a UUIDv7]
    #[arg(long)]
    id: Option<String>,
    /// The deadline (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    deadline: Option<Timestamp>,
    #[command(flatten)]
    options: Options,
    /// Follow the task to its end
    #[arg(long)]
    wait: bool,
}

/// The options of a task beside its goal, also for the task of a schedule.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Options {
    /// The skill that the task needs
    #[arg(long, default_value = "plan")]
    skill: String,
    /// The priority, 0 (last) to 9 (first)
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=9))]
    priority: u8,
    /// The lane that the task's jobs wait in
    #[arg(long, default_value = "default")]
    lane: String,
    /// Attempts at most, 1 to 100 [default: by the settings for its skill, 3 unless changed]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: Option<u32>,
    /// Input for the agent beside the goal, as JSON
    #[arg(long, value_name = "JSON", value_parser = json)]
    input: Option<Value>,
    /// A plan, made by hand: a file with JSON `{"steps": […]}`
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    budget: budget::Flags,
}

/// Reads a time from the command line.
pub(in crate::commands) fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text)
        .ok_or_else(|| "not an RFC 3339 time, such as `2026-01-31T08:00:00Z`".to_owned())
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Submits the task.
pub(super) async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { goal, id: named, deadline, options, wait } = arguments;
    let named = named.as_deref().map(id).transpose()?;
    let task = NewTask { id: named, deadline, ..options.task(goal)? };
    let submitted = client.send(routes::SubmitTask, &[], &task).await?;
    if wait {
        output.say(&format!("task {}", submitted.id));
        return watch::to_its_end(client, &submitted.id, output).await;
    }
    changed(&submitted, output);
    Ok(())
}

impl Options {
    /// The task for a goal. Fails on a lane that is no key and on a plan that cannot be read.
    pub(in crate::commands) fn task(self, goal: String) -> Result<NewTask, Failure> {
        Ok(NewTask {
            priority: Some(self.priority),
            lane: Some(Key::parse(&self.lane)?),
            skill: Some(self.skill),
            input: self.input.unwrap_or_default(),
            plan: self.plan.map(read_plan).transpose()?,
            attempts_max: self.attempts,
            budget: self.budget.given(),
            ..NewTask::of(goal)
        })
    }
}

fn read_plan(path: PathBuf) -> Result<Plan, Failure> {
    let failed = |reason: String, exit| {
        Failure::new("invalid-plan", format!("reading `{}`: {reason}", path.display()))
            .next("a plan is JSON: `{\"steps\": [{\"step\": …, \"goal\": …, \"skill\": …, \"after\": […]}]}`")
            .exit(exit)
    };
    let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string(), exit::NOT_FOUND))?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string(), exit::DATA))
}
