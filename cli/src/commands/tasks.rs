//! `orrery tasks`: tasks from their submission to their end.

pub(super) mod budget;
pub mod fork;
mod show;
pub(super) mod submit;
mod waiting;
pub mod watch;
pub(crate) mod which;
mod why;

use std::path::PathBuf;

use bus_schemas::Key;
use bus_schemas::views::task::{Task, TaskState};
use gateway_api::tasks::{AnswerTask, CancelTask, ExtendBudget, ListTasks, OneArtifact, RetryTask, TaskPage};
use gateway_api::{code, routes};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub use show::Tree;

use crate::client::{self, Client};
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::paging::{self, Page};
use crate::progress::word;

/// The action on tasks.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List tasks, newest first
    List(List),
    /// Show a task and its descendants
    Show {
        /// The task's id
        id: String,
    },
    /// Show what a task and its descendants wait for, since when, and what would unblock them
    Why {
        /// The task's id
        id: String,
    },
    /// Follow a task and its descendants to the end
    Watch {
        /// The task's id
        id: String,
    },
    /// Submit a task
    Submit(Box<submit::Arguments>),
    /// Cancel a task, its descendants, and the work under way
    Cancel {
        /// The task's id
        id: String,
        /// The reason
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Retry a failed task, with a fresh count of attempts
    Retry {
        /// The task's id
        id: String,
        /// The number of the end that the retry undoes, as `tasks show` prints it. Without it the end is shown,
        /// and nothing is retried
        #[arg(long, value_name = "NUMBER")]
        end: Option<u64>,
    },
    /// Answer the question that a task waits for
    Answer {
        /// The task's id
        id: String,
        /// The answer: JSON, or text when it is not JSON. For a question about a budget: how much more, as a
        /// number, a duration or an object such as `{"tokens":10000}`, or `no`. About an effect: `done`, `not
        /// done` or `give up`
        answer: String,
        /// The question's number, as `tasks show` prints it. Without it the question is shown, and nothing is
        /// answered
        #[arg(long, value_name = "NUMBER")]
        question: Option<u64>,
    },
    /// Extend the budget of a task and its descendants; a task that was paused for its budget goes on
    ExtendBudget {
        /// The id of the task at the top of the tree
        id: String,
        /// The reason
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        more: budget::Flags,
    },
    /// Write an artifact to a file or to stdout
    Artifact {
        /// The task's id
        id: String,
        /// The artifact's name
        name: String,
        /// The step of the plan that made it, where several steps made an artifact of this name
        #[arg(long)]
        step: Option<String>,
        /// The file to write [default: stdout]
        #[arg(long = "output", short = 'o', value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// The filter and the page of a list.
#[derive(Debug, clap::Args)]
struct List {
    /// Only tasks in this state
    #[arg(long, value_parser = state_parser())]
    state: Option<TaskState>,
    /// Only tasks of this owner
    #[arg(long)]
    owner: Option<String>,
    /// Only tasks in this lane
    #[arg(long)]
    lane: Option<String>,
    /// Only direct children of this task
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    /// Include children, not only tasks that were submitted from outside
    #[arg(long, conflicts_with = "parent")]
    all: bool,
    #[command(flatten)]
    page: Page,
}

impl Show for TaskPage {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self.tasks.iter().map(row).collect();
        let table = table(&["TASK", "STATE", "OWNER", "AGENT", "UPDATED", "GOAL"], &rows);
        paging::shown(table, self.next_cursor.as_ref())
    }
}

fn row(task: &Task) -> Vec<String> {
    let agent = task.agent.as_ref().map(ToString::to_string).unwrap_or_default();
    let goal = one_line(&task.goal).chars().take(60).collect();
    let updated = task.updated_at.to_rfc3339();
    vec![task.id.to_string(), word(task.state).to_owned(), task.owner.to_string(), agent, updated, goal]
}

pub(crate) use bus_schemas::text::one_line;

/// Prints a task that a command changed.
pub(super) fn changed(task: &Task, output: Output) {
    output.changed(task, &format!("task {} is {}, at revision {}", task.id, word(task.state), task.revision));
}

/// An artifact written to a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Written {
    /// The task's id.
    pub task: String,
    /// The artifact's name.
    pub artifact: String,
    /// The path of the file.
    pub path: PathBuf,
    /// The size in bytes.
    pub bytes: u64,
}

impl Show for Written {
    fn text(&self) -> String {
        format!("{} bytes in {}", self.bytes, self.path.display())
    }
}

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let task = match arguments.verb {
        Verb::List(list) => {
            output.show(&client.list(routes::ListTasks, &list.query()).await?);
            return Ok(());
        }
        Verb::Show { id } => {
            output.show(&show::tree(client, &client::id(&id)?).await?);
            return Ok(());
        }
        Verb::Why { id } => {
            output.show(&client.get(routes::ExplainTask, &[client::id(&id)?.as_str()]).await?);
            return Ok(());
        }
        Verb::Watch { id } => return watch::to_its_end(client, &client::id(&id)?, output).await,
        Verb::Submit(arguments) => return submit::run(client, *arguments, output).await,
        Verb::Artifact { id, name, step, file } => {
            return artifact(client, &client::id(&id)?, &name, step, file, output).await;
        }
        Verb::ExtendBudget { id, reason, more } => {
            let body = ExtendBudget { extend: more.budget(), reason };
            client.send(routes::ExtendBudget, &[client::id(&id)?.as_str()], &body).await?
        }
        Verb::Cancel { id, reason } => {
            let body = Some(CancelTask { reason });
            client.send(routes::CancelTask, &[client::id(&id)?.as_str()], &body).await?
        }
        Verb::Retry { id, end } => {
            let end = match end {
                Some(number) => number,
                None => which::end(client, &client::id(&id)?).await?,
            };
            client.send(routes::RetryTask, &[client::id(&id)?.as_str()], &RetryTask { end }).await?
        }
        Verb::Answer { id, answer, question } => {
            let question = match question {
                Some(number) => number,
                None => which::question(client, &client::id(&id)?, &answer).await?,
            };
            let answer = serde_json::from_str(&answer).unwrap_or(Value::String(answer));
            client
                .send(routes::AnswerTask, &[client::id(&id)?.as_str()], &AnswerTask { question, answer })
                .await?
        }
    };
    changed(&task, output);
    Ok(())
}

impl List {
    fn query(self) -> ListTasks {
        let Self { state, owner, lane, parent, all, page: Page { limit, cursor } } = self;
        let root = (!all && parent.is_none()).then_some(true);
        ListTasks { state, owner, lane, parent, root, limit, cursor }
    }
}

async fn artifact(
    client: &Client,
    id: &Key,
    name: &str,
    step: Option<String>,
    file: Option<PathBuf>,
    output: Output,
) -> Result<(), Failure> {
    let bytes = download(client, id, name, step).await?;
    let Some(path) = file else {
        output.bytes(&bytes);
        return Ok(());
    };
    std::fs::write(&path, &bytes).map_err(|error| {
        Failure::new("output-unwritable", format!("writing `{}`: {error}", path.display()))
            .next("choose another `--output`")
            .exit(exit::FILE)
    })?;
    let bytes = bytes.len() as u64;
    output.show(&Written { task: id.to_string(), artifact: name.to_owned(), path, bytes });
    Ok(())
}

/// The bytes of an artifact. Where it does not exist, the failure names the existing ones.
pub(super) async fn download(
    client: &Client,
    id: &Key,
    name: &str,
    step: Option<String>,
) -> Result<Vec<u8>, Failure> {
    let query = OneArtifact { step };
    match client.open(routes::DownloadArtifact, &[id.as_str(), name], &query).await {
        Ok(answer) => Ok(answer.bytes().await.map_err(client::unreachable)?.into()),
        Err(failure) if failure.code == code::ARTIFACT_NOT_FOUND => {
            let task = show::one(client, id).await?;
            let names: Vec<&str> = task.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
            Err(failure.next(match names.is_empty() {
                true => "the task has none; `orrery tasks show` shows its state".to_owned(),
                false => format!("the task has {}", names.join(", ")),
            }))
        }
        Err(failure) => Err(failure),
    }
}

/// The states by their serialized names, so that help and completions list them.
fn state_parser() -> impl clap::builder::TypedValueParser<Value = TaskState> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    let states = [
        TaskState::Submitted,
        TaskState::Working,
        TaskState::InputRequired,
        TaskState::AuthRequired,
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Canceled,
        TaskState::Rejected,
    ];
    PossibleValuesParser::new(states.map(word)).try_map(|text| text.parse::<TaskState>())
}
