//! `orrery task`: the tasks that exist, one of them, and what can be done to it.

pub(super) mod budget;
mod show;
pub(super) mod submit;
mod waiting;
pub mod watch;
mod why;

use std::path::PathBuf;

use bus_schemas::commands::task::{Command, Query};
use bus_schemas::views::task::{Task, TaskState};
use bus_schemas::{Key, Revision};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use show::Tree;
pub use why::Answer;

use crate::failure::{Failure, exit};
use crate::gateway::{query, read, view};
use crate::output::{Output, Show, table};
use crate::progress::word;
use crate::session::{PATIENCE, Session};
use crate::who::Who;

/// What to do with tasks.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List tasks, newest first
    List(List),
    /// Show a task and everything below it
    Show {
        /// The task
        id: String,
    },
    /// Say what a task and everything below it waits for, since when, and what would move it
    Why {
        /// The task
        id: String,
    },
    /// Follow a task and everything below it to its end
    Watch {
        /// The task
        id: String,
    },
    /// Give a task
    Submit(Box<submit::Arguments>),
    /// Stop a task, everything below it, and the work under way
    Cancel {
        /// The task
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// Try a failed task again, with a fresh count of attempts
    Retry {
        /// The task
        id: String,
        #[command(flatten)]
        who: Who,
    },
    /// Answer the question that a task waits with
    #[command(visible_alias = "answer")]
    Input {
        /// The task
        id: String,
        /// The answer: JSON, or text where it is not JSON. To a question about a budget: how much more, as a
        /// number, a duration or an object such as `{"tokens":10000}`, or `no`. About an effect: `done`, `not
        /// done` or `give up`
        answer: String,
        /// The question, as `task show` numbers it; the one that it asks now when not given
        #[arg(long, value_name = "NUMBER")]
        question: Option<u64>,
        #[command(flatten)]
        who: Who,
    },
    /// Let a task and everything below it use more; one that was paused for its budget goes on
    Extend {
        /// The task at the top of the tree
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        more: budget::Flags,
        #[command(flatten)]
        who: Who,
    },
    /// Write an artifact to a file or to stdout
    Artifact {
        /// The task
        id: String,
        /// The artifact's name
        name: String,
        /// The file; stdout when not given
        #[arg(long = "output", short, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Which tasks.
#[derive(Debug, clap::Args)]
struct List {
    /// In this state
    #[arg(long, value_parser = state_parser())]
    state: Option<TaskState>,
    /// Of this owner
    #[arg(long)]
    owner: Option<String>,
    /// In this lane
    #[arg(long)]
    lane: Option<String>,
    /// Directly below this task
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    /// Children too, not only those that were given from outside
    #[arg(long, conflicts_with = "parent")]
    all: bool,
    /// Rows at most, 1 to 200
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// `next_cursor` of the page before
    #[arg(long)]
    cursor: Option<String>,
}

/// A page of tasks.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Page {
    /// Newest first.
    pub tasks: Vec<Task>,
    /// What `--cursor` takes for the next page; none at the end.
    pub next_cursor: Option<String>,
}

impl Show for Page {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self.tasks.iter().map(row).collect();
        let mut text = table(&["TASK", "STATE", "OWNER", "AGENT", "UPDATED", "GOAL"], &rows);
        if let Some(cursor) = &self.next_cursor {
            text.push_str(&format!("\nmore: --cursor {cursor}"));
        }
        text
    }
}

fn row(task: &Task) -> Vec<String> {
    let agent = task.agent.as_ref().map(ToString::to_string).unwrap_or_default();
    let goal = one_line(&task.goal).chars().take(60).collect();
    let updated = task.updated_at.to_rfc3339();
    vec![task.id.to_string(), word(task.state).to_owned(), task.owner.to_string(), agent, updated, goal]
}

pub(crate) use bus_schemas::text::one_line;

/// What came of a command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Told {
    /// The task.
    pub task: String,
    /// Its revision after the command.
    pub revision: u64,
}

impl Show for Told {
    fn text(&self) -> String {
        format!("task {} is at revision {}", self.task, self.revision)
    }
}

/// An artifact that was written to a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Written {
    /// The task.
    pub task: String,
    /// The artifact's name.
    pub artifact: String,
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Show for Written {
    fn text(&self) -> String {
        format!("{} bytes in {}", self.bytes, self.path.display())
    }
}

/// Does it.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb {
        Verb::List(list) => {
            let page: Page = read(view(session, &format!("/v1/tasks?{}", list.query())).await?)?;
            output.show(&page);
        }
        Verb::Show { id } => output.show(&show::tree(session, &Key::parse(&id)?).await?),
        Verb::Why { id } => {
            let key = Key::parse(&id)?;
            session.expect_host().await?;
            output.show(&Answer(why::of(&session.bus, &key, PATIENCE).await?));
        }
        Verb::Extend { id, reason, more, who } => {
            let command = Command::ExtendBudget { extend: more.budget(), reason, by: who.name() };
            tell(session, &id, &command, output).await?;
        }
        Verb::Watch { id } => return watch::run(session, &id, output).await,
        Verb::Submit(arguments) => return submit::run(session, *arguments, output).await,
        Verb::Cancel { id, reason, who } => {
            tell(session, &id, &Command::Cancel { reason, by: who.name() }, output).await?;
        }
        Verb::Retry { id, who } => {
            // Named, so that the end of an attempt that began in between is not undone as well.
            let end = described(session, &id).await?.end_id;
            tell(session, &id, &Command::Retry { end, by: who.name() }, output).await?;
        }
        Verb::Input { id, answer, question, who } => {
            let answer = serde_json::from_str(&answer).unwrap_or(Value::String(answer));
            let question = match question {
                Some(number) => Revision(number),
                // The entity says what is wrong where it asks nothing.
                None => described(session, &id).await?.question_id.unwrap_or_default(),
            };
            tell(session, &id, &Command::ProvideInput { question, answer, by: who.name() }, output).await?;
        }
        Verb::Artifact { id, name, file } => artifact(session, &id, &name, file, output).await?,
    }
    Ok(())
}

impl List {
    fn query(&self) -> String {
        let roots = (!self.all && self.parent.is_none()).then(|| "true".to_owned());
        query(&[
            ("state", self.state.map(|state| word(state).to_owned())),
            ("owner", self.owner.clone()),
            ("lane", self.lane.clone()),
            ("parent", self.parent.clone()),
            ("root", roots),
            ("limit", Some(self.limit.to_string())),
            ("cursor", self.cursor.clone()),
        ])
    }
}

/// The task as the entity itself sees it now.
async fn described(session: &Session, id: &str) -> Result<Task, Failure> {
    session.query::<_, Task>(&Key::parse(id)?, &Query::Describe).await.map(Task::shown)
}

async fn tell(session: &Session, id: &str, command: &Command, output: Output) -> Result<(), Failure> {
    let key = Key::parse(id)?;
    let (revision, _) = session.ask(&key, command).await?;
    show::until_shown_at(session, &key, revision).await;
    output.show(&Told { task: id.to_owned(), revision: revision.0 });
    Ok(())
}

async fn artifact(
    session: &Session,
    id: &str,
    name: &str,
    file: Option<PathBuf>,
    output: Output,
) -> Result<(), Failure> {
    let task = show::one(session, &Key::parse(id)?).await?;
    let found = task.artifacts.iter().find(|artifact| artifact.name == name).ok_or_else(|| {
        let names: Vec<&str> = task.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
        let next = match names.is_empty() {
            true => "it has none yet; `orrery task show` tells how far it is".to_owned(),
            false => format!("it has {}", names.join(", ")),
        };
        Failure::new("artifact-not-found", format!("task {id} has no artifact `{name}`"))
            .next(next)
            .exit(exit::NOT_FOUND)
    })?;
    let bytes = session.bus.get_blob(found.hash).await?;
    let Some(path) = file else {
        output.bytes(&bytes);
        return Ok(());
    };
    std::fs::write(&path, &bytes).map_err(|error| {
        Failure::new("output-unwritable", format!("writing `{}`: {error}", path.display()))
            .next("choose another `--output`")
            .exit(exit::FILE)
    })?;
    output.show(&Written { task: id.to_owned(), artifact: name.to_owned(), path, bytes: found.bytes });
    Ok(())
}

/// The states by their wire words, so that help and completions name them.
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
