//! repair: seeded bugs in packages that others wrote, repaired by the shipped agent `code`, and graded apart from it.
//!
//! ```text
//! package (pinned) ─→ copy with the bug ─→ `repair` ─→ patch ─→ fresh copy with the bug and the patch ─→ restored:
//!        │                                                      only modules are the patch's ─→ `test` ─→ by name
//!        └─→ `test` as it is: what must pass ───────────────────────────────────────────────────────────────┘
//! ```
//!
//! The agent's word counts for nothing: a bug is repaired when each test that fails with it and each test that passes
//! in the package as it is ran and passed in the end. A test that did not run is a failure.

mod answers;
mod bugs;
mod copies;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actors_agents::Tools;
use actors_models::scripted::Scripted;
use bus_client::{Ask, Bus, Profile};
use bus_schemas::commands::task::{Command as Task, Query, Submit};
use bus_schemas::views::task::{Task as View, TaskState};
use bus_schemas::wire::{WireCommand, WireQuery};
use bus_schemas::{Body, EntityAddress, Key, Reply};
use futures::{StreamExt, TryStreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use self::bugs::{Bug, Files};
use self::copies::Copy;
use crate::bench::{Options, Progress};
use crate::error::Error;
use crate::installation::Installation;
use crate::machine;
use crate::report::round;

/// The most bugs at once: a process lets as many agents into its sandbox.
pub const PARALLEL_MAX: usize = 3;
/// Rounds of edits for a bug: an answer that must not be accepted, one that is wrong, and the right one.
const ROUNDS: u32 = 3;
/// The longest that a task may take: a first run and three rounds of five minutes each, and the model's time.
const TASK_PATIENCE: Duration = Duration::from_secs(3_600);
/// The most names in a sentence.
const NAMED_MAX: usize = 3;

/// What to repair, and with what.
#[derive(Clone)]
pub struct RepairOptions {
    /// The sandbox, and the models to ask; without a model the answers are scripted.
    pub tools: Tools,
    /// The folder with the packages' archives.
    pub packages: PathBuf,
    /// Names of bugs or packages; all of the set where there are none.
    pub only: Vec<String>,
    /// Bugs at once, 1 to [`PARALLEL_MAX`].
    pub parallel: usize,
    /// The `nats-server` program. Default: found as by `orrery up`.
    pub nats_server: Option<PathBuf>,
    /// Receives progress lines.
    pub progress: Option<Progress>,
}

/// A bug of the set, as `--list` shows it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SeededBug {
    /// Its name.
    pub bug: String,
    /// The file.
    pub file: String,
    /// The number of tests that fail with it.
    pub fails: usize,
}

/// The outcome of the benchmark.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RepairReport {
    /// Who gave the answers: `scripted` (a figure of the loop, and of no model) or `models`.
    pub answers: &'static str,
    /// The providers that were asked, in order.
    pub providers: Vec<String>,
    /// The number of bugs.
    pub bugs: usize,
    /// The number of those that were repaired.
    pub repaired: usize,
    /// Rounds of edits, over all bugs.
    pub rounds: u64,
    /// Rounds whose edits did not count, by reason.
    pub refused: BTreeMap<String, u64>,
    /// From the first bug to the end of the last one, in seconds.
    pub seconds: f64,
    /// Processors that the process may use.
    pub cores: usize,
    /// The machine's load averages when the run began and when it ended, as in `/proc/loadavg`.
    pub load: [String; 2],
    /// The bugs, in order.
    pub results: Vec<RepairResult>,
}

/// What became of a bug.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RepairResult {
    /// Its name.
    pub bug: String,
    /// Whether it was repaired, as we grade it.
    pub repaired: bool,
    /// What the agent says of it, or the code of its task's failure.
    pub verdict: String,
    /// Why what the agent calls repaired is not; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong: Option<String>,
    /// Rounds of edits.
    pub rounds: u64,
    /// Rounds whose edits did not count, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The number of tests that must pass in the end.
    pub tests: usize,
    /// From its submission to the end of its grading, in seconds.
    pub seconds: f64,
}

/// The bugs with these names or of these packages; all of the set where there are none.
pub fn seeded_bugs(only: &[String]) -> Result<Vec<SeededBug>, Error> {
    let shown = |bug: Bug| SeededBug { bug: bug.name, file: bug.file, fails: bug.fails.len() };
    Ok(bugs::chosen(only)?.into_iter().map(shown).collect())
}

/// Repairs the bugs on a private server, and reports.
///
/// Fails when the server, the host, the sandbox or a package fail, or when the tests that fail with a bug are others
/// than its data says. A bug that is not repaired is a result.
pub async fn repair(options: RepairOptions) -> Result<RepairReport, Error> {
    if !(1..=PARALLEL_MAX).contains(&options.parallel) {
        return Err(Error::Option { option: "parallel", reason: "1 to 3" });
    }
    let bugs = bugs::chosen(&options.only)?;
    let mut packages = HashMap::new();
    for bug in &bugs {
        if !packages.contains_key(&bug.package) {
            packages.insert(bug.package.clone(), bugs::files(&bug.package, &options.packages)?);
        }
        bug.seeded(&packages[&bug.package])?;
    }
    let (began, load) = (Instant::now(), machine::load());
    let on =
        Options { profile: Profile::Fast, nats_server: options.nats_server.clone(), ..Options::default() };
    let installation = Installation::start(&on).await?;
    let (scripted, tools) = tools(&options, &bugs, &packages, &installation).await?;
    let providers = tools.models.names().into_iter().map(str::to_owned).collect();
    let running = installation.host_of("repair", actors_agents::shipped(&tools)).await?;
    let say = |line: &str| options.progress.iter().for_each(|say| say(line));
    let run = Run { bus: installation.bus().await?, packages };
    let results = all(&run, &bugs, options.parallel, &say).await;
    running.stop().await;
    tools.sandboxes.close().await;
    installation.stop().await;
    let results = results?;
    let mut refused = BTreeMap::new();
    for (reason, count) in results.iter().flat_map(|result| &result.refused) {
        *refused.entry(reason.clone()).or_default() += count;
    }
    Ok(RepairReport {
        answers: if scripted.is_some() { "scripted" } else { "models" },
        providers,
        bugs: results.len(),
        repaired: results.iter().filter(|result| result.repaired).count(),
        rounds: results.iter().map(|result| result.rounds).sum(),
        refused,
        seconds: round(began.elapsed().as_secs_f64(), 1),
        cores: machine::cores(),
        load: [load, machine::load()],
        results,
    })
}

/// The models and the sandbox. Without a model, the server of the scripted answers too.
async fn tools(
    options: &RepairOptions,
    bugs: &[Bug],
    packages: &HashMap<String, Files>,
    installation: &Installation,
) -> Result<(Option<Scripted>, Tools), Error> {
    if !options.tools.models.names().is_empty() {
        return Ok((None, options.tools.clone()));
    }
    let scripts = bugs.iter().map(|bug| (goal(bug), answers::of(bug, &packages[&bug.package])));
    let folder = installation.host_directory("scripted");
    std::fs::create_dir_all(&folder).map_err(Error::io("making a folder for the scripted answers"))?;
    let (server, models) = answers::start(scripts.collect(), &folder).await?;
    Ok((Some(server), Tools { models, ..options.tools.clone() }))
}

/// What a person would ask for. The name of the bug says nothing of its cause.
fn goal(bug: &Bug) -> String {
    format!("make the tests of this repository pass ({})", bug.name)
}

/// Runs the tests of every package as it is, then repairs the bugs.
async fn all(
    run: &Run,
    bugs: &[Bug],
    parallel: usize,
    say: &impl Fn(&str),
) -> Result<Vec<RepairResult>, Error> {
    let whole: BTreeMap<String, BTreeSet<String>> = stream::iter(run.packages.keys())
        .map(async |package| {
            let passed = run.passed_as_it_is(package).await?;
            say(&format!("{package}: {} tests pass as it is", passed.len()));
            Ok::<_, Error>((package.clone(), passed))
        })
        .buffer_unordered(parallel)
        .try_collect()
        .await?;
    let done = AtomicUsize::new(0);
    let results = stream::iter(bugs).map(async |bug| {
        let result = run.one(bug, &whole[&bug.package]).await?;
        let number = done.fetch_add(1, Ordering::Relaxed) + 1;
        let what = if result.repaired { "repaired" } else { "not repaired" };
        let (name, seconds, all) = (&bug.name, result.seconds, bugs.len());
        say(&format!("{name}: {what}, {} rounds, {seconds} s ({number} of {all})", result.rounds));
        Ok(result)
    });
    results.buffered(parallel).try_collect().await
}

/// A run of the benchmark.
struct Run {
    bus: Bus,
    packages: HashMap<String, Files>,
}

/// What the agent `code` says of its work.
#[derive(Debug, Deserialize)]
struct RepairedWork {
    verdict: String,
    failing_before: BTreeSet<String>,
    rounds: Vec<RepairedRound>,
}

#[derive(Debug, Deserialize)]
struct RepairedRound {
    /// Empty if the edits count; else a code, a colon and a sentence.
    refused: String,
}

impl Run {
    /// The names of the tests that pass in a package as it is.
    async fn passed_as_it_is(&self, package: &str) -> Result<BTreeSet<String>, Error> {
        let copy = self.copy(package, None).await?;
        let outcomes = self.outcomes(copy.path()).await?;
        Ok(outcomes.into_iter().filter_map(|(name, passed)| passed.then_some(name)).collect())
    }

    async fn one(&self, bug: &Bug, whole: &BTreeSet<String>) -> Result<RepairResult, Error> {
        let began = Instant::now();
        let copy = self.copy(&bug.package, Some(bug)).await?;
        let input = json!({"repo": copy.path(), "expect": bug.fails, "rounds": ROUNDS});
        let task = self.task("repair", &goal(bug), input).await?;
        let must: BTreeSet<String> = whole.union(&bug.fails).cloned().collect();
        let mut result = RepairResult {
            bug: bug.name.clone(),
            repaired: false,
            verdict: String::new(),
            wrong: None,
            rounds: 0,
            refused: BTreeMap::new(),
            tests: must.len(),
            seconds: 0.0,
        };
        if let Some(failure) = task.failure.as_ref().filter(|_| task.state != TaskState::Completed) {
            result.verdict.clone_from(&failure.code);
            result.wrong = Some(failure.message.clone());
        } else {
            let told: RepairedWork = self.artifact(&task, "repair.json").await?;
            if told.failing_before != bug.fails {
                let reason =
                    format!("{}: other tests fail than its data says: {:?}", bug.name, told.failing_before);
                return Err(Error::answer("checking a bug", reason));
            }
            result.rounds = told.rounds.len() as u64;
            for refused in
                told.rounds.iter().map(|round| &round.refused).filter(|refused| !refused.is_empty())
            {
                let (code, _) = refused.split_once(':').unwrap_or((refused, ""));
                *result.refused.entry(code.to_owned()).or_default() += 1;
            }
            if told.verdict == "repaired" {
                result.wrong = self.grade(bug, &task, &must).await?;
                result.repaired = result.wrong.is_none();
            }
            result.verdict = told.verdict;
        }
        result.seconds = round(began.elapsed().as_secs_f64(), 1);
        Ok(result)
    }

    /// Why a patch is no repair; none if it is.
    async fn grade(&self, bug: &Bug, task: &View, must: &BTreeSet<String>) -> Result<Option<String>, Error> {
        let patch = self.bytes(task, "repair.patch").await?;
        let copy = self.copy(&bug.package, Some(bug)).await?;
        let files = &self.packages[&bug.package];
        // The work of some milliseconds, on a thread that has nothing better to do.
        let applied = tokio::task::block_in_place(|| match copy.apply(&patch)? {
            true => copy.restore(files).map(|()| true),
            false => Ok(false),
        })?;
        if !applied {
            return Ok(Some("git does not apply the patch".to_owned()));
        }
        Ok(judged(&self.outcomes(copy.path()).await?, must))
    }

    async fn copy(&self, package: &str, bug: Option<&Bug>) -> Result<Copy, Error> {
        tokio::task::block_in_place(|| Copy::new(&self.packages[package], bug))
    }

    /// What became of each test of a repository, by name: whether it passed wherever it ran under this name.
    async fn outcomes(&self, repository: &Path) -> Result<BTreeMap<String, bool>, Error> {
        let task = self.task("test", "run the tests", json!({"repo": repository})).await?;
        if let Some(failure) = task.failure.as_ref().filter(|_| task.state != TaskState::Completed) {
            let hint = failure.hint.as_deref().unwrap_or_default();
            return Err(Error::answer(
                "running tests",
                format!("{}: {}: {hint}", failure.code, failure.message),
            ));
        }
        let found: Value = self.artifact(&task, "tests.json").await?;
        let cases =
            found["runners"].as_array().into_iter().flatten().filter_map(|ran| ran["cases"].as_array());
        let mut outcomes = BTreeMap::new();
        for case in cases.flatten() {
            let name = case["name"].as_str().unwrap_or_default().to_owned();
            *outcomes.entry(name).or_insert(true) &= case["outcome"] == "passed";
        }
        Ok(outcomes)
    }

    /// Submits a task and waits for its end.
    async fn task(&self, skill: &str, goal: &str, input: Value) -> Result<View, Error> {
        let key = Key::parse(&Uuid::now_v7().simple().to_string());
        let key = key.map_err(|error| Error::answer("making a key", error))?;
        let submit = Submit { skill: skill.into(), input, ..Submit::new(goal) };
        let ask = Ask::new(EntityAddress::new(Task::KIND, key.clone()), Body::json(&Task::Submit(submit)));
        self.accepted(self.bus.ask(&ask, TASK_PATIENCE).await)?;
        let ask = Ask::new(EntityAddress::new(Query::KIND, key), Body::json(&Query::Wait));
        let view = self.accepted(self.bus.wait(&ask, TASK_PATIENCE).await)?;
        serde_json::from_value(view).map_err(|error| Error::answer("reading a task", error))
    }

    fn accepted(&self, reply: Result<Reply, bus_client::AskError>) -> Result<Value, Error> {
        match reply.map_err(|error| Error::answer("asking a task", error))? {
            Reply::Accepted { result, .. } => Ok(result),
            Reply::Refused { refusal, .. } => Err(Error::answer("asking a task", refusal.message)),
        }
    }

    async fn bytes(&self, task: &View, name: &str) -> Result<bytes::Bytes, Error> {
        let found = task.artifacts.iter().find(|artifact| artifact.name == name);
        let found =
            found.ok_or_else(|| Error::answer("reading an artifact", format!("`{name}` is not there")))?;
        Ok(self.bus.get_blob(found.hash).await?)
    }

    async fn artifact<T: serde::de::DeserializeOwned>(&self, task: &View, name: &str) -> Result<T, Error> {
        let bytes = self.bytes(task, name).await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::answer("reading an artifact", error))
    }
}

/// What is wrong with tests that must all have run and passed; none if nothing is.
fn judged(outcomes: &BTreeMap<String, bool>, must: &BTreeSet<String>) -> Option<String> {
    let absent: Vec<&str> =
        must.iter().filter(|name| !outcomes.contains_key(*name)).map(String::as_str).collect();
    let failed: Vec<&str> =
        must.iter().filter(|name| outcomes.get(*name) == Some(&false)).map(String::as_str).collect();
    let named = |names: &[&str]| names[..usize::min(names.len(), NAMED_MAX)].join(", ");
    match (absent.as_slice(), failed.as_slice()) {
        ([], []) => None,
        ([], failed) => Some(format!("{} tests do not pass, such as {}", failed.len(), named(failed))),
        (absent, _) => Some(format!("{} tests did not run, such as {}", absent.len(), named(absent))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_did_not_run_is_a_failure() {
        let outcomes = |all: &[(&str, bool)]| {
            all.iter().map(|(name, passed)| ((*name).to_owned(), *passed)).collect::<BTreeMap<_, _>>()
        };
        let must: BTreeSet<String> = ["a".to_owned(), "b".to_owned()].into();
        assert_eq!(judged(&outcomes(&[("a", true), ("b", true), ("c", false)]), &must), None);
        let wrong = |all: &[(&str, bool)]| judged(&outcomes(all), &must).unwrap();
        assert_eq!(wrong(&[("a", true)]), "1 tests did not run, such as b");
        assert_eq!(wrong(&[("a", true), ("b", false)]), "1 tests do not pass, such as b");
        assert_eq!(wrong(&[]), "2 tests did not run, such as a, b");
    }
}
