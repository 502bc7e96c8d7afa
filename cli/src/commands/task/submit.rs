//! `orrery task submit`: gives a task with everything that can be said about it.

use std::path::PathBuf;

use bus_schemas::commands::task::{Command, Plan, Submit};
use bus_schemas::{Key, Timestamp};
use serde_json::Value;

use super::{Told, budget, show, watch};
use crate::failure::{Failure, exit};
use crate::output::Output;
use crate::session::Session;

/// The task.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What is wanted, in words
    goal: String,
    /// The task's id: the same again is the same task [default: a UUIDv7]
    #[arg(long)]
    id: Option<String>,
    /// When it must be done (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    deadline: Option<Timestamp>,
    #[command(flatten)]
    options: Options,
    /// Follow it to its end
    #[arg(long)]
    wait: bool,
}

/// What can be said about a task beside its goal: also about one that a schedule submits.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Options {
    /// The skill that the agent needs
    #[arg(long, default_value = "plan")]
    skill: String,
    /// Whose work it is: fairness is between owners
    #[arg(long, default_value = "anonymous")]
    owner: String,
    /// 0 (last) to 9 (first)
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=9))]
    priority: u8,
    /// The broker's lane
    #[arg(long, default_value = "default")]
    lane: String,
    /// How often it is tried, 1 to 100 [default: as the settings say for its skill, 3 unless changed]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: Option<u32>,
    /// What the agent needs to know beside the goal: JSON
    #[arg(long, value_name = "JSON", value_parser = json)]
    input: Option<Value>,
    /// A plan made by you: a file with JSON `{"steps": […]}`
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

/// Gives it.
pub(super) async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let id = arguments.id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let submit = Submit { deadline: arguments.deadline, ..arguments.options.submission(arguments.goal)? };
    let key = Key::parse(&id)?;
    let (revision, _) = session.ask(&key, &Command::Submit(submit)).await?;
    if arguments.wait {
        output.say(&format!("task {id}"));
        return watch::to_its_end(session, &id, output).await;
    }
    show::until_shown_at(session, &key, revision).await;
    output.show(&Told { task: id, revision: revision.0 });
    Ok(())
}

impl Options {
    /// The submission of a goal. Fails on a lane that is no key and on a plan that can not be read.
    pub(in crate::commands) fn submission(self, goal: String) -> Result<Submit, Failure> {
        Ok(Submit {
            owner: self.owner.into(),
            priority: self.priority,
            lane: Key::parse(&self.lane)?,
            skill: self.skill.into(),
            input: self.input.unwrap_or_default(),
            plan: self.plan.map(read_plan).transpose()?,
            attempts_max: self.attempts,
            budget: self.budget.given(),
            ..Submit::new(goal)
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
