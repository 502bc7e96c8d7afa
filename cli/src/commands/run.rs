//! `orrery run`: submits a goal, shows its progress, and writes the result into files; `orrery plan`: shows the plan of
//! a goal and the reasons for it, and does nothing of it.
//!
//! The goal goes to the system that runs on the data directory, or to `nats.url`. Without either, a system is
//! started for the goal and stopped at its end.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use actors_agents::Proposal;
use actors_host::Config;
use bus_schemas::commands::task::Failure as TaskFailure;
use bus_schemas::jobs::Artifact;
use bus_schemas::settings::Budget;
use bus_schemas::views::task::TaskState;
use bus_schemas::{Key, Revision};
use gateway_api::routes;
use gateway_api::tasks::{CancelTask, NewTask};
use schemars::JsonSchema;
use serde::Serialize;

use crate::called;
use crate::client::Client;
use crate::commands::tasks::watch::{End, follow, next};
use crate::commands::tasks::{budget, download};
use crate::commands::up::{System, interrupted};
use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::progress::{Progress, reasoned, word};

/// The goal and its context.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The goal, in words
    goal: String,
    /// The repository that the goal is about
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// Print every change of the task and its children as a line
    #[arg(long)]
    watch: bool,
    /// Submit the goal and return; needs a running system
    #[arg(long, conflicts_with = "watch")]
    detach: bool,
    #[command(flatten)]
    budget: budget::Flags,
}

/// The goal that is only planned.
#[derive(Debug, clap::Args)]
pub struct PlanArguments {
    /// The goal, in words
    goal: String,
    /// The repository that the goal is about
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
}

/// The plan of a goal.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Shown(Proposal);

impl Show for Shown {
    fn text(&self) -> String {
        self.0.text()
    }
}

/// The result of a goal.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Outcome {
    /// The task's id.
    pub task: String,
    /// The task's state: `completed`, or `submitted` with `--detach`.
    pub state: String,
    /// The result, as files.
    pub artifacts: Vec<File>,
    /// Commands that show more.
    pub next: Vec<String>,
}

/// An artifact written to a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct File {
    /// The artifact's name.
    pub name: String,
    /// The path of the file.
    pub path: PathBuf,
    /// The size in bytes.
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

/// Submits the goal, and waits for its end.
pub async fn run(config: Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { goal, repo, watch, detach, budget } = arguments;
    let goal = Goal { watch, budget: budget.given(), ..Goal::of(goal, &repo)? };
    if detach {
        let task = submit(&Client::connect(&config)?, &goal).await?;
        output.show(&outcome(&config, &task, TaskState::Submitted, Vec::new()));
        return Ok(());
    }
    on_a_system(&config, output, async |client| {
        let (task, artifacts) = done(client, &config, &goal, output).await?;
        let files = fetch(client, &config, &task, &artifacts).await?;
        output.show(&outcome(&config, &task, TaskState::Completed, files));
        Ok(())
    })
    .await
}

/// Has the goal planned by a task that does nothing more, and shows the plan.
pub async fn plan(config: Config, arguments: PlanArguments, output: Output) -> Result<(), Failure> {
    let goal = Goal { is_dry: true, ..Goal::of(arguments.goal, &arguments.repo)? };
    on_a_system(&config, output, async |client| {
        let (task, artifacts) = done(client, &config, &goal, output).await?;
        let name = artifacts.first().map_or("plan.json", |artifact| artifact.name.as_str());
        let bytes = download(client, &task, name, None).await?;
        let proposal = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new("artifact-malformed", format!("reading the plan of task {task}: {error}"))
                .next("agents of this version write plans that it can read: `orrery agents` lists who plans")
                .exit(exit::DATA)
        })?;
        output.show(&Shown(proposal));
        Ok(())
    })
    .await
}

/// Uses the system that runs, or one that is started for as long as it is used.
async fn on_a_system(
    config: &Config,
    output: Output,
    verb: impl AsyncFnOnce(&Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if config.nats.url.is_some() || Discovery::find(&config.data_dir)?.is_some() {
        return verb(&Client::connect(config)?).await;
    }
    output.say(&format!("starting a system on `{}`", config.data_dir.display()));
    // Nobody asks for the port of a system that lives only as long as one goal.
    let config = Config { http: (std::net::Ipv4Addr::LOCALHOST, 0).into(), ..config.clone() };
    let system = System::start(&config, true).await?;
    let client = Client::at(system.http().unwrap_or_default())?;
    let result = tokio::select! {
        result = verb(&client) => result,
        reason = system.failed() => {
            Err(Failure::new("supervision-failed", format!("the system gave up: {reason}"))
                .next("`orrery up` continues the task; the log in the data directory tells what failed")
                .exit(exit::SOFTWARE))
        }
    };
    system.stop().await?;
    result
}

/// The log file of this process, so that log lines do not break the progress display.
pub fn log_file(data_dir: &Path) -> Option<std::fs::File> {
    std::fs::create_dir_all(data_dir).ok()?;
    std::fs::OpenOptions::new().create(true).append(true).open(data_dir.join("orrery.log")).ok()
}

struct Goal {
    text: String,
    repo: PathBuf,
    watch: bool,
    /// Whether it is planned and not done.
    is_dry: bool,
    budget: Option<Budget>,
}

impl Goal {
    /// A goal about a folder that is there.
    fn of(text: String, repo: &Path) -> Result<Self, Failure> {
        if text.trim().is_empty() {
            return Err(Failure::new("invalid-goal", "the goal is empty")
                .next("say what you want in words: `orrery run \"Report on this repository\"`")
                .exit(exit::USAGE));
        }
        let repo = repo.canonicalize().map_err(|error| {
            Failure::new("repository-unreadable", format!("opening `{}`: {error}", repo.display()))
                .next("name a directory that exists and can be read with `--repo`")
                .exit(exit::NOT_FOUND)
        })?;
        Ok(Self { text, repo, watch: false, is_dry: false, budget: None })
    }
}

async fn submit(client: &Client, goal: &Goal) -> Result<Key, Failure> {
    let (mut input, budget) = (serde_json::json!({ "repo": goal.repo }), goal.budget.clone());
    if goal.is_dry {
        input["dry_run"] = true.into();
    }
    // The id is chosen here, so that a repeated request is the same task.
    let id = Some(Key::parse(&uuid::Uuid::now_v7().to_string())?);
    let task = NewTask { id, input, budget, ..NewTask::of(&goal.text) };
    Ok(client.send(routes::SubmitTask, &[], &task).await?.id)
}

/// Submits a goal and follows it to its end; its task with the artifacts.
async fn done(
    client: &Client,
    config: &Config,
    goal: &Goal,
    output: Output,
) -> Result<(Key, Vec<Artifact>), Failure> {
    // From here on: an interrupt while the goal is being submitted cancels it as well.
    let mut stop = std::pin::pin!(interrupted());
    let task = submit(client, goal).await?;
    let mut progress = Progress::new(task.clone(), output, goal.watch);
    let mut canceled = false;
    let ended = {
        let mut ended = std::pin::pin!(follow(client, &task, &mut progress));
        loop {
            tokio::select! {
                ended = &mut ended => break ended,
                () = &mut stop, if !canceled => {
                    canceled = true;
                    output.say("canceling the task; Ctrl-C again leaves it");
                    cancel(client, &task).await?;
                }
            }
        }
    };
    progress.end();
    match ended? {
        End::Completed(artifacts) => Ok((task, artifacts)),
        End::Failed { failure, end } => Err(failed(config, &task, failure, end)),
        End::Canceled(reason) => {
            let code = if canceled { exit::INTERRUPTED } else { exit::NO };
            Err(Failure::new("task-canceled", reasoned(&format!("task {} was canceled", task), &reason))
                .next(format!("`{}`", deeper(config, &task).remove(0)))
                .exit(code))
        }
    }
}

async fn cancel(client: &Client, task: &Key) -> Result<(), Failure> {
    let body = Some(CancelTask { reason: "interrupted".to_owned() });
    client.send(routes::CancelTask, &[task.as_str()], &body).await.map(|_| ())
}

/// Writes the reports to files, or all artifacts of a task that made no report.
async fn fetch(
    client: &Client,
    config: &Config,
    key: &Key,
    artifacts: &[Artifact],
) -> Result<Vec<File>, Failure> {
    let report = |artifact: &&Artifact| artifact.name.starts_with("report.");
    let mut wanted: Vec<&Artifact> = artifacts.iter().filter(report).collect();
    if wanted.is_empty() {
        wanted = artifacts.iter().collect();
    }
    let directory = config.data_dir.join("reports").join(key.as_str());
    let unwritable = |path: &Path, error: std::io::Error| {
        Failure::new("output-unwritable", format!("writing `{}`: {error}", path.display()))
            .next(format!("free space, then `orrery tasks artifact {key} NAME` fetches it again"))
            .exit(exit::FILE)
    };
    std::fs::create_dir_all(&directory).map_err(|error| unwritable(&directory, error))?;
    let mut files = Vec::new();
    for artifact in wanted {
        // An artifact's name comes from an agent: only its last part may choose a file.
        let name = Path::new(&artifact.name).file_name().unwrap_or(OsStr::new("artifact"));
        let path = free(&directory, name, &files);
        let step = Some(artifact.step.to_string()).filter(|step| !step.is_empty());
        let bytes = download(client, key, &artifact.name, step).await?;
        std::fs::write(&path, bytes).map_err(|error| unwritable(&path, error))?;
        files.push(File { name: artifact.name.clone(), path, bytes: artifact.bytes });
    }
    Ok(files)
}

/// A path in the directory that none of the files has: two steps may have artifacts of one name.
fn free(directory: &Path, name: &OsStr, files: &[File]) -> PathBuf {
    let mut path = directory.join(name);
    for copy in 2.. {
        if files.iter().all(|file| file.path != path) {
            break;
        }
        path = directory.join(format!("{copy}-{}", name.display()));
    }
    path
}

fn outcome(config: &Config, key: &Key, state: TaskState, artifacts: Vec<File>) -> Outcome {
    let next = deeper(config, key);
    Outcome { task: key.to_string(), state: word(state).to_owned(), artifacts, next }
}

/// Commands that show what happened, ready to be copied.
fn deeper(config: &Config, key: &Key) -> Vec<String> {
    let orrery = called::on(&config.data_dir);
    vec![
        format!("{orrery} events --tree {key}"),
        format!("{orrery} replay task/{key} --step --diff"),
        format!("{orrery} verify --all"),
    ]
}

fn failed(config: &Config, key: &Key, failure: TaskFailure, end: Option<Revision>) -> Failure {
    let hint = failure.hint.unwrap_or_else(|| format!("`{}`", deeper(config, key).remove(0)));
    let failed = Failure::new(failure.code, format!("task {key} failed: {}", failure.message));
    Failure { next: next(key, Some(hint), end), ..failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_of_one_name_have_files_of_their_own() {
        let mut files: Vec<File> = Vec::new();
        for _ in 0..3 {
            let path = free(Path::new("/reports"), OsStr::new("report.md"), &files);
            files.push(File { name: "report.md".into(), path, bytes: 0 });
        }
        let names: Vec<_> = files.iter().map(|file| file.path.display().to_string()).collect();
        assert_eq!(names, ["/reports/report.md", "/reports/2-report.md", "/reports/3-report.md"]);
    }
}
