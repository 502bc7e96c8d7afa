//! `orrery agents`: agents with their skills, their workers and whether they are alive; manifests that declare agents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bus_schemas::Key;
use bus_schemas::commands::agent::Skill;
use bus_schemas::manifests::{AgentManifest, Declared, MANIFEST_BYTES_MAX};
use bus_schemas::views::task::TaskState;
use gateway_api::agents::{Agent, AgentPage, Hold, Worker};
use gateway_api::dead_letters::Reason;
use gateway_api::routes;
use gateway_api::tasks::ListTasks;
use schemars::JsonSchema;
use serde::Serialize;

use crate::client::{Client, PAGE, id};
use crate::commands::tasks::one_line;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::paging::{self, Page};

/// Pages of working tasks that are counted: enough for a thousand running jobs. More would cost too much for
/// a list.
const PAGES_MAX: usize = 5;

/// Which agents; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List agents
    List(Page),
    /// Show one agent with its card and its workers
    Show {
        /// The agent's name
        name: String,
    },
    /// Declare an agent by a manifest, or replace its manifest by one with a higher version
    Load {
        /// The manifest, a file in TOML
        file: PathBuf,
        /// Check the manifest, and load nothing
        #[arg(long)]
        check: bool,
    },
    /// Take the manifest of an agent away: it gets no more jobs, and finishes those that it has
    Unload {
        /// The agent's name
        name: String,
        /// The reason
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// A page of agents.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Agents {
    /// The agents, by name.
    pub agents: Vec<Counted>,
    /// The cursor of the next page; `null` on the last page.
    pub next_cursor: Option<String>,
}

/// An agent with the number of its running jobs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Counted {
    /// The agent.
    #[serde(flatten)]
    pub agent: Agent,
    /// Jobs that the agent runs now; `null` when more tasks are working than are counted.
    pub running: Option<u32>,
}

impl Counted {
    fn skills(&self) -> impl Iterator<Item = &Skill> {
        self.agent.card.iter().flat_map(|card| &card.skills)
    }
    fn living(&self) -> impl Iterator<Item = &Worker> {
        self.agent.workers.iter().filter(|worker| worker.lost_at.is_none())
    }
    fn state(&self) -> &'static str {
        if let Some(declared) = &self.agent.declared {
            return match declared.health.values().any(|health| health.problem.is_empty()) {
                _ if !declared.loaded => "unloaded",
                true if self.living().count() > 0 => "healthy",
                true => "lost",
                false if declared.health.is_empty() => "loaded",
                false => "unhealthy",
            };
        }
        match (self.living().count(), self.agent.workers.len()) {
            (0, 0) if self.agent.card.is_none() => "unknown",
            (0, 0) => "left",
            (0, _) => "lost",
            _ => "alive",
        }
    }
    fn version(&self) -> String {
        let declared = self.agent.declared.as_ref().map(|declared| &declared.manifest.version);
        let version = declared.or(self.agent.card.as_ref().map(|card| &card.version));
        version.map_or_else(|| "-".to_owned(), |version| one_line(version))
    }
    fn load(&self) -> String {
        let running = self.running.map_or_else(|| "?".to_owned(), |running| running.to_string());
        format!("{running}/{}", self.agent.capacity)
    }
}

impl Show for Agents {
    fn text(&self) -> String {
        if self.agents.is_empty() {
            return "no agents".to_owned();
        }
        let row = |agent: &Counted| {
            let skills: Vec<&str> = agent.skills().map(|skill| skill.id.as_str()).collect();
            let living = agent.living().count().to_string();
            let held = if agent.agent.holds.is_empty() { "" } else { ", held" };
            let state = format!("{}{held}", agent.state());
            let source = <&str>::from(agent.agent.source).to_owned();
            let name = agent.agent.name.to_string();
            vec![name, agent.version(), source, skills.join(", "), state, living, agent.load()]
        };
        let rows: Vec<Vec<String>> = self.agents.iter().map(row).collect();
        let table = table(&["AGENT", "VERSION", "SOURCE", "SKILLS", "STATE", "WORKERS", "RUNNING"], &rows);
        paging::shown(table, self.next_cursor.as_ref())
    }
}

impl Show for Counted {
    fn text(&self) -> String {
        let (state, load) = (self.state(), self.load());
        let mut lines = match &self.agent.card {
            None => vec![format!("agent {}: no worker has registered", self.agent.name)],
            Some(card) => vec![
                format!("agent {}: {}", self.agent.name, one_line(&card.description)),
                format!("  state   {state}, version {}, {load} jobs running", self.version()),
            ],
        };
        lines.push(format!("  source  {}", <&str>::from(self.agent.source)));
        lines.extend(self.agent.declared.iter().flat_map(declared_lines));
        for skill in self.skills() {
            lines.push(format!("  skill   {}: {}", one_line(&skill.id), one_line(&skill.description)));
            for (name, schema) in [("input", &skill.input), ("output", &skill.output)] {
                if !schema.is_null() {
                    lines.push(format!("    {name:<6}{}", one_line(&schema.to_string())));
                }
            }
        }
        for Hold { cause, reason, since } in &self.agent.holds {
            let (cause, reason) = (one_line(cause), one_line(reason));
            lines.push(format!("  held    by {cause} since {}: {reason}", since.to_rfc3339()));
        }
        for worker in &self.agent.workers {
            let lanes: Vec<_> = worker.lanes.iter().map(ToString::to_string).collect();
            let state = match worker.lost_at {
                None => {
                    let heard = worker.heard_at.map(|at| format!(", heard of at {}", at.to_rfc3339()));
                    let since = worker.registered_at.to_rfc3339();
                    format!("alive since {since}{}", heard.unwrap_or_default())
                }
                Some(at) => format!("lost at {}", at.to_rfc3339()),
            };
            let (name, capacity) = (&worker.worker, worker.capacity);
            lines.push(format!("  worker  {name}: {capacity} at once, lanes {}, {state}", lanes.join(", ")));
        }
        lines.join("\n")
    }
}

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb.unwrap_or(Verb::List(Page::default())) {
        Verb::List(page) => {
            let AgentPage { agents, next_cursor } = client.list(routes::ListAgents, &page.into()).await?;
            let running = running(client).await?;
            let agents = agents.into_iter().map(|agent| counted(agent, running.as_ref())).collect();
            output.show(&Agents { agents, next_cursor });
        }
        Verb::Show { name } => {
            let agent = client.get(routes::ShowAgent, &[id(&name)?.as_str()]).await?;
            output.show(&counted(agent, running(client).await?.as_ref()));
        }
        Verb::Load { file, check: true } => {
            let manifest = read(&file)?;
            let loaded = client.send(routes::CheckManifest, &[manifest.name.as_str()], &manifest).await?;
            let (name, version) = (&manifest.name, one_line(&manifest.version));
            output.changed(&loaded, &format!("agent {name} {version} could be loaded; nothing was"));
        }
        Verb::Load { file, check: false } => {
            let manifest = read(&file)?;
            let agent = client.send(routes::LoadAgent, &[manifest.name.as_str()], &manifest).await?;
            let line = format!("agent {} {} is loaded", agent.name, one_line(&manifest.version));
            output.changed(&counted(agent, None), &line);
        }
        Verb::Unload { name, reason } => {
            let body = Some(Reason { reason });
            let agent = client.send(routes::UnloadAgent, &[id(&name)?.as_str()], &body).await?;
            let line = format!("agent {} is unloaded; it finishes the jobs that it has", agent.name);
            output.changed(&counted(agent, None), &line);
        }
    }
    Ok(())
}

/// What a manifest says, and what hosts report of it.
fn declared_lines(declared: &Declared) -> Vec<String> {
    let Declared { number, loaded, by, at, health, .. } = declared;
    let done = if *loaded { "loaded" } else { "unloaded" };
    let mut lines = vec![format!("  manifest {number}: {done} by {} at {}", one_line(by), at.to_rfc3339())];
    lines.extend(health.iter().map(|(host, health)| {
        let (host, at) = (one_line(host), health.at.to_rfc3339());
        match health.problem.as_str() {
            "" => format!("  health  {host}: healthy since {at}"),
            problem => format!("  health  {host}: unhealthy since {at}: {}", one_line(problem)),
        }
    }));
    lines
}

/// The manifest in a file.
fn read(file: &Path) -> Result<AgentManifest, Failure> {
    let shown = file.display();
    let unreadable = |error: std::io::Error| {
        Failure::new("path-missing", format!("reading `{shown}`: {error}"))
            .next("name a file that can be read")
            .exit(exit::NOT_FOUND)
    };
    let invalid = |reason: String| {
        Failure::new("invalid-manifest", format!("`{shown}` is no manifest: {reason}"))
            .next("correct the file; docs/guides/declare-an-agent.md has an example")
            .exit(exit::DATA)
    };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    // The file may have comments beside the manifest.
    let bytes_max = 2 * MANIFEST_BYTES_MAX;
    if text.len() > bytes_max {
        return Err(invalid(format!("the file has {} bytes, and at most {bytes_max} are taken", text.len())));
    }
    toml::from_str(&text).map_err(|error| invalid(error.to_string()))
}

/// An agent with the number of its running jobs.
fn counted(agent: Agent, running: Option<&BTreeMap<Key, u32>>) -> Counted {
    let running = running.map(|running| running.get(&agent.name).copied().unwrap_or(0));
    Counted { agent, running }
}

/// Running jobs by agent; `None` when there are more working tasks than [`PAGES_MAX`] pages hold.
async fn running(client: &Client) -> Result<Option<BTreeMap<Key, u32>>, Failure> {
    let mut running = BTreeMap::new();
    let state = Some(TaskState::Working);
    let mut query = ListTasks { state, limit: Some(PAGE), ..ListTasks::default() };
    for _ in 0..PAGES_MAX {
        let page = client.list(routes::ListTasks, &query).await?;
        for agent in page.tasks.into_iter().filter_map(|task| task.agent) {
            *running.entry(agent).or_insert(0) += 1;
        }
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(Some(running));
        }
    }
    Ok(None)
}
