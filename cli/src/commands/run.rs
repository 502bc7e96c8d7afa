//! `orrery run`: gives a goal, shows how it is done, and puts the result where it is found.
//!
//! Where a system runs on the data directory, or `nats.url` is set, the goal goes there; otherwise
//! a system is started for the goal and stopped at its end.

use std::path::{Path, PathBuf};

use actors_host::Config;
use bus_client::{Ask, Bus};
use bus_schemas::commands::task::{Command, Failure as TaskFailure, Submit};
use bus_schemas::jobs::Artifact;
use bus_schemas::settings::Budget;
use bus_schemas::views::task::TaskState;
use bus_schemas::{Body, EntityAddress, Key, Kind, Reply};
use schemars::JsonSchema;
use serde::Serialize;

use crate::called;
use crate::commands::task::budget;
use crate::commands::task::watch::{End, follow};
use crate::commands::up::{System, interrupted};
use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::progress::{Progress, reasoned, word};
use crate::session::{PATIENCE, Session};
use crate::who::by;

/// The goal and what it is about.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What is wanted, in words
    goal: String,
    /// The repository that it is about
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// Print every change of the task and its children as a line
    #[arg(long)]
    watch: bool,
    /// Give the goal and return; needs a system that runs
    #[arg(long, conflicts_with = "watch")]
    detach: bool,
    #[command(flatten)]
    budget: budget::Flags,
}

/// How a goal ended.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Outcome {
    /// The task.
    pub task: String,
    /// Its state: `completed`, or `submitted` with `--detach`.
    pub state: String,
    /// What came out, as files.
    pub artifacts: Vec<File>,
    /// Commands that look deeper.
    pub next: Vec<String>,
}

/// An artifact that was written to a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct File {
    /// The artifact's name.
    pub name: String,
    /// Where it is now.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Show for Outcome {
    fn text(&self) -> String {
        let mut lines = vec![format!("task {} {}", self.task, self.state)];
        lines.extend(self.artifacts.iter().map(|file| format!("  {}", file.path.display())));
        lines.push("look deeper:".to_owned());
        lines.extend(self.next.iter().map(|command| format!("  {command}")));
        lines.join("\n")
    }
}

/// Gives the goal, and waits for its end.
pub async fn run(config: Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    if arguments.goal.trim().is_empty() {
        return Err(Failure::new("invalid-goal", "the goal is empty")
            .next("say what you want in words: `orrery run \"Report on this repository\"`")
            .exit(exit::USAGE));
    }
    let repo = arguments.repo.canonicalize().map_err(|error| {
        Failure::new("repository-unreadable", format!("opening `{}`: {error}", arguments.repo.display()))
            .next("name a directory that exists and can be read with `--repo`")
            .exit(exit::NOT_FOUND)
    })?;
    let budget = arguments.budget.given();
    let goal = Goal { text: arguments.goal, repo, watch: arguments.watch, budget };
    if config.nats.url.is_some() || arguments.detach || Discovery::find(&config.data_dir)?.is_some() {
        let session = Session::connect(&config).await?;
        session.expect_host().await?;
        if arguments.detach {
            let task = submit(&session.bus, &goal).await?;
            output.show(&outcome(&config, &task.key, TaskState::Submitted, Vec::new()));
            return Ok(());
        }
        return done(&session.bus, &config, &goal, output).await;
    }
    output.say(&format!("starting a system on `{}`", config.data_dir.display()));
    // Nobody asks for the port of a system that lives as long as one goal.
    let config = Config { http: (std::net::Ipv4Addr::LOCALHOST, 0).into(), ..config };
    let system = System::start(&config, true).await?;
    let result = tokio::select! {
        result = done(system.bus(), &config, &goal, output) => result,
        reason = system.failed() => {
            Err(Failure::new("supervision-failed", format!("the system gave up: {reason}"))
                .next("`orrery up` continues the task; the log in the data directory tells what failed")
                .exit(exit::SOFTWARE))
        }
    };
    system.stop().await?;
    result
}

/// Where this process logs, so that lines do not break the picture.
pub fn log_file(data_dir: &Path) -> Option<std::fs::File> {
    std::fs::create_dir_all(data_dir).ok()?;
    std::fs::OpenOptions::new().create(true).append(true).open(data_dir.join("orrery.log")).ok()
}

struct Goal {
    text: String,
    repo: PathBuf,
    watch: bool,
    budget: Option<Budget>,
}

async fn submit(bus: &Bus, goal: &Goal) -> Result<EntityAddress, Failure> {
    let key = Key::parse(&uuid::Uuid::now_v7().to_string())?;
    let task = EntityAddress::new(Kind::from_static("task"), key);
    let (input, budget) = (serde_json::json!({ "repo": goal.repo }), goal.budget.clone());
    let submit = Submit { input, budget, ..Submit::new(&goal.text) };
    let ask = Ask::new(task.clone(), Body::json(&Command::Submit(submit))).caller("cli");
    match bus.ask(&ask, PATIENCE).await? {
        Reply::Accepted { .. } => Ok(task),
        Reply::Refused { refusal, .. } => Err(refusal.into()),
    }
}

async fn done(bus: &Bus, config: &Config, goal: &Goal, output: Output) -> Result<(), Failure> {
    // From here on: who interrupts while the goal is given wants it canceled as well.
    let mut stop = std::pin::pin!(interrupted());
    let task = submit(bus, goal).await?;
    let mut progress = Progress::new(task.key.clone(), output, goal.watch);
    let mut canceled = false;
    let ended = {
        let mut ended = std::pin::pin!(follow(bus, &task, &mut progress));
        loop {
            tokio::select! {
                ended = &mut ended => break ended,
                () = &mut stop, if !canceled => {
                    canceled = true;
                    output.say("canceling the task; Ctrl-C again leaves it");
                    cancel(bus, &task).await?;
                }
            }
        }
    };
    progress.end();
    match ended? {
        End::Completed(artifacts) => {
            let files = fetch(bus, config, &task.key, &artifacts).await?;
            output.show(&outcome(config, &task.key, TaskState::Completed, files));
            Ok(())
        }
        End::Failed(failure) => Err(failed(config, &task.key, failure)),
        End::Canceled(reason) => {
            let code = if canceled { exit::INTERRUPTED } else { exit::NO };
            Err(Failure::new("task-canceled", reasoned(&format!("task {} was canceled", task.key), &reason))
                .next(format!("`{}`", deeper(config, &task.key).remove(0)))
                .exit(code))
        }
    }
}

async fn cancel(bus: &Bus, task: &EntityAddress) -> Result<(), Failure> {
    let command = Command::Cancel { reason: "interrupted".to_owned(), by: by() };
    let ask = Ask::new(task.clone(), Body::json(&command)).caller("cli");
    match bus.ask(&ask, PATIENCE).await? {
        Reply::Accepted { .. } => Ok(()),
        Reply::Refused { refusal, .. } => Err(refusal.into()),
    }
}

/// Writes the reports, or all artifacts of a task that made no report.
async fn fetch(bus: &Bus, config: &Config, key: &Key, artifacts: &[Artifact]) -> Result<Vec<File>, Failure> {
    let report = |artifact: &&Artifact| artifact.name.starts_with("report.");
    let mut wanted: Vec<&Artifact> = artifacts.iter().filter(report).collect();
    if wanted.is_empty() {
        wanted = artifacts.iter().collect();
    }
    let directory = config.data_dir.join("reports").join(key.as_str());
    let unwritable = |path: &Path, error: std::io::Error| {
        Failure::new("output-unwritable", format!("writing `{}`: {error}", path.display()))
            .next(format!("free space, then `orrery task artifact {key} NAME` fetches it again"))
            .exit(exit::FILE)
    };
    std::fs::create_dir_all(&directory).map_err(|error| unwritable(&directory, error))?;
    let mut files = Vec::new();
    for artifact in wanted {
        // A name is an agent's word: only its last part may choose a file.
        let name = Path::new(&artifact.name).file_name().unwrap_or(std::ffi::OsStr::new("artifact"));
        let path = directory.join(name);
        let bytes = bus.get_blob(artifact.hash).await?;
        std::fs::write(&path, bytes).map_err(|error| unwritable(&path, error))?;
        files.push(File { name: artifact.name.clone(), path, bytes: artifact.bytes });
    }
    Ok(files)
}

fn outcome(config: &Config, key: &Key, state: TaskState, artifacts: Vec<File>) -> Outcome {
    let next = deeper(config, key);
    Outcome { task: key.to_string(), state: word(state).to_owned(), artifacts, next }
}

/// The commands that tell what happened, ready to be copied.
fn deeper(config: &Config, key: &Key) -> Vec<String> {
    let orrery = called::on(&config.data_dir);
    vec![
        format!("{orrery} events --tree {key}"),
        format!("{orrery} replay task/{key} --step --diff"),
        format!("{orrery} verify --all"),
    ]
}

fn failed(config: &Config, key: &Key, failure: TaskFailure) -> Failure {
    let next = failure.hint.unwrap_or_else(|| format!("`{}`", deeper(config, key).remove(0)));
    Failure::new(failure.code, format!("task {key} failed: {}", failure.message)).next(next)
}
