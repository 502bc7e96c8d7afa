//! `orrery task`: the tasks that exist, one of them, and what can be done to it.

mod submit;
pub mod watch;

use std::io::Write;

use bus_schemas::Key;
use bus_schemas::commands::task::Command;
use bus_schemas::views::task::{Task, TaskState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Failure, exit};
use crate::gateway::{query, read, view};
use crate::output::{Output, Show, table};
use crate::progress::word;
use crate::session::Session;

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
    },
    /// Try a failed task again, with a fresh count of attempts
    Retry {
        /// The task
        id: String,
    },
    /// Answer the question that a task waits with
    Input {
        /// The task
        id: String,
        /// The answer: JSON, or text where it is not JSON
        answer: String,
    },
    /// Write an artifact to a file or to stdout
    Artifact {
        /// The task
        id: String,
        /// The artifact's name
        name: String,
        /// The file; stdout when not given
        #[arg(long, short, value_name = "FILE")]
        output: Option<std::path::PathBuf>,
    },
}

/// Which tasks.
#[derive(Debug, clap::Args)]
struct List {
    /// In this state, such as `working`
    #[arg(long)]
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
    let goal = task.goal.lines().next().unwrap_or_default().chars().take(60).collect();
    let updated = task.updated_at.to_rfc3339();
    vec![task.id.to_string(), word(task.state).to_owned(), task.owner.to_string(), agent, updated, goal]
}

/// A task with everything below it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tree {
    /// The task.
    pub task: Task,
    /// Its children with theirs, in the order of the plan.
    pub children: Vec<Tree>,
}

impl Show for Tree {
    fn text(&self) -> String {
        let task = &self.task;
        let mut lines = vec![format!("task {}", task.id), format!("  goal      {}", task.goal)];
        lines.push(format!("  state     {}", word(task.state)));
        lines.push(format!("  owner     {}, priority {}, lane {}", task.owner, task.priority, task.lane));
        lines.push(format!("  submitted {}", task.submitted_at.to_rfc3339()));
        lines.push(format!("  updated   {} (revision {})", task.updated_at.to_rfc3339(), task.revision));
        if let Some(deadline) = task.deadline {
            lines.push(format!("  deadline  {}", deadline.to_rfc3339()));
        }
        if task.attempt > 0 {
            let agent = task.agent.as_ref().map(|agent| format!(" by {agent}")).unwrap_or_default();
            lines.push(format!("  attempt   {}{agent}", task.attempt));
        }
        if let Some(question) = &task.question {
            lines.push(format!("  question  {question}"));
            lines.push(format!("  answer it with `orrery task input {} ANSWER`", task.id));
        }
        if let Some(failure) = &task.failure {
            lines.push(format!("  failure   {}: {}", failure.code, failure.message));
            lines.extend(failure.hint.iter().map(|hint| format!("  next      {hint}")));
        }
        if !task.result.is_null() {
            lines.push(format!("  result    {}", task.result));
        }
        for artifact in &task.artifacts {
            lines.push(format!("  artifact  {} ({} bytes)", artifact.name, artifact.bytes));
        }
        self.children.iter().for_each(|child| child.line(1, &mut lines));
        lines.join("\n")
    }
}

impl Tree {
    fn line(&self, depth: usize, lines: &mut Vec<String>) {
        let task = &self.task;
        let step = task.id.as_str().rsplit('.').next().unwrap_or_default();
        let took = task.updated_at.0.saturating_sub(task.submitted_at.0);
        let agent = task.agent.as_ref().map(ToString::to_string).unwrap_or_default();
        let state = word(task.state);
        let seconds = took as f64 / 1000.0;
        lines.push(format!(
            "{:indent$}{step:<14} {state:<12} {seconds:>8.1} s  {agent}",
            "",
            indent = depth * 2
        ));
        self.children.iter().for_each(|child| child.line(depth + 1, lines));
    }
}

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

/// Does it.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let by = || std::env::var("USER").unwrap_or_else(|_| "cli".to_owned());
    match arguments.verb {
        Verb::List(list) => {
            let page: Page = read(view(session, &format!("/v1/tasks?{}", list.query())).await?)?;
            output.show(&page);
        }
        Verb::Show { id } => output.show(&tree(session, &Key::parse(&id)?).await?),
        Verb::Watch { id } => return watch::run(session, &id, output).await,
        Verb::Submit(arguments) => return submit::run(session, *arguments, output).await,
        Verb::Cancel { id, reason } => {
            tell(session, &id, &Command::Cancel { reason, by: by() }, output).await?;
        }
        Verb::Retry { id } => tell(session, &id, &Command::Retry { by: by() }, output).await?,
        Verb::Input { id, answer } => {
            let answer = serde_json::from_str(&answer).unwrap_or(Value::String(answer));
            tell(session, &id, &Command::ProvideInput { answer, by: by() }, output).await?;
        }
        Verb::Artifact { id, name, output } => artifact(session, &id, &name, output).await?,
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

async fn tell(session: &Session, id: &str, command: &Command, output: Output) -> Result<(), Failure> {
    let (revision, _) = session.ask(&Key::parse(id)?, command).await?;
    output.show(&Told { task: id.to_owned(), revision: revision.0 });
    Ok(())
}

async fn show(session: &Session, key: &Key) -> Result<Task, Failure> {
    read(view(session, &format!("/v1/tasks/{key}")).await?)
}

/// Reads a tree from its root down; plans lie at most eight deep.
fn tree<'a>(session: &'a Session, key: &'a Key) -> futures::future::BoxFuture<'a, Result<Tree, Failure>> {
    Box::pin(async move {
        let task = show(session, key).await?;
        let mut children = Vec::new();
        for child in &task.children {
            children.push(tree(session, child).await?);
        }
        Ok(Tree { task, children })
    })
}

async fn artifact(
    session: &Session,
    id: &str,
    name: &str,
    file: Option<std::path::PathBuf>,
) -> Result<(), Failure> {
    let task = show(session, &Key::parse(id)?).await?;
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
    let written = match &file {
        Some(path) => std::fs::write(path, &bytes),
        None => std::io::stdout().lock().write_all(&bytes),
    };
    written.map_err(|error| {
        Failure::of("output-unwritable", &error).next("choose another `--output`").exit(exit::FILE)
    })
}
