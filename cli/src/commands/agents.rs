//! `orrery agents`: who can do what, and whether they live.

use std::collections::BTreeMap;

use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::views::task::TaskState;
use bus_schemas::{Key, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::task::{Page, one_line};
use crate::failure::{Failure, exit};
use crate::gateway::{query, read, view};
use crate::output::{Output, Show, table};
use crate::progress::word;
use crate::session::Session;

/// The most tasks a page has.
const PAGE: &str = "200";
/// Pages of working tasks that are counted: enough for a thousand jobs at once, and no more than a
/// glance may cost.
const PAGES_MAX: usize = 5;

/// Which agents; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List them
    List,
    /// Show one with its card and its workers
    Show {
        /// The agent
        name: String,
    },
}

/// All agents.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Agents {
    /// By name.
    pub agents: Vec<Agent>,
}

/// An agent.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// Its name.
    pub name: Key,
    /// What it says about itself; none where nothing was heard of it but that it is held.
    pub card: Option<AgentCard>,
    /// Jobs that its living workers do at once.
    pub capacity: u32,
    /// Jobs that it has now; none when more tasks are under way than are counted.
    #[serde(default)]
    pub running: Option<u32>,
    /// Its workers.
    pub workers: Vec<Worker>,
    /// What holds it: it gets no jobs.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// When it last changed: milliseconds since 1970.
    pub updated_at: Timestamp,
    /// How many events it has.
    pub revision: u64,
}

/// Why an agent gets no jobs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// Who holds: `halt/agent.<name>`.
    pub cause: String,
    /// Why.
    pub reason: String,
    /// Since when: milliseconds since 1970.
    pub since: Timestamp,
}

/// A process, or a part of one, that does an agent's jobs.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Worker {
    /// Its name.
    pub worker: String,
    /// Jobs that it does at once.
    pub capacity: u32,
    /// The lanes that it serves.
    pub lanes: Vec<Key>,
    /// When it joined: milliseconds since 1970.
    pub registered_at: Timestamp,
    /// Since when no host hears of it, neither by a claim nor by a renewal; none while it is heard of.
    pub lost_at: Option<Timestamp>,
    /// When a host heard of it last, by a claim or by a renewal, to a few seconds; none where no host has said so
    /// since the gateway began.
    pub heard_at: Option<Timestamp>,
}

impl Agent {
    /// Whether a living worker takes jobs of a skill in a lane.
    pub fn serves(&self, skill: &str, lane: &Key) -> bool {
        let skilled = self.skills().any(|known| known.id == skill);
        skilled && self.living().any(|worker| worker.lanes.contains(lane))
    }
    fn skills(&self) -> impl Iterator<Item = &Skill> {
        self.card.iter().flat_map(|card| &card.skills)
    }
    fn living(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().filter(|worker| worker.lost_at.is_none())
    }
    fn state(&self) -> &'static str {
        match (self.living().count(), self.workers.len()) {
            (0, 0) if self.card.is_none() => "unknown",
            (0, 0) => "left",
            (0, _) => "lost",
            _ => "alive",
        }
    }
    fn load(&self) -> String {
        let running = self.running.map_or_else(|| "?".to_owned(), |running| running.to_string());
        format!("{running}/{}", self.capacity)
    }
}

impl Show for Agents {
    fn text(&self) -> String {
        if self.agents.is_empty() {
            return "no agents".to_owned();
        }
        let row = |agent: &Agent| {
            let skills: Vec<&str> = agent.skills().map(|skill| skill.id.as_str()).collect();
            let living = agent.living().count().to_string();
            let held = if agent.holds.is_empty() { "" } else { ", held" };
            let state = format!("{}{held}", agent.state());
            vec![agent.name.to_string(), skills.join(", "), state, living, agent.load()]
        };
        let rows: Vec<Vec<String>> = self.agents.iter().map(row).collect();
        table(&["AGENT", "SKILLS", "STATE", "WORKERS", "RUNNING"], &rows)
    }
}

impl Show for Agent {
    fn text(&self) -> String {
        let (state, load) = (self.state(), self.load());
        let mut lines = match &self.card {
            None => vec![format!("agent {}: no worker has registered", self.name)],
            Some(card) => vec![
                format!("agent {}: {}", self.name, one_line(&card.description)),
                format!("  state   {state}, version {}, {load} jobs running", one_line(&card.version)),
            ],
        };
        for skill in self.skills() {
            lines.push(format!("  skill   {}: {}", one_line(&skill.id), one_line(&skill.description)));
        }
        for Hold { cause, reason, since } in &self.holds {
            let (cause, reason) = (one_line(cause), one_line(reason));
            lines.push(format!("  held    by {cause} since {}: {reason}", since.to_rfc3339()));
        }
        for worker in &self.workers {
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

/// Prints them.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let mut all: Agents = read(view(session, "/v1/agents").await?)?;
    let running = running(session).await?;
    for agent in &mut all.agents {
        agent.running = running.as_ref().map(|running| running.get(&agent.name).copied().unwrap_or(0));
    }
    let Verb::Show { name } = arguments.verb.unwrap_or(Verb::List) else {
        output.show(&all);
        return Ok(());
    };
    let found = all.agents.into_iter().find(|agent| agent.name.as_str() == name).ok_or_else(|| {
        Failure::new("agent-not-found", format!("no agent is called `{name}`"))
            .next("`orrery agents` lists all of them")
            .exit(exit::NOT_FOUND)
    })?;
    output.show(&found);
    Ok(())
}

/// Jobs by agent; none when there are more working tasks than [`PAGES_MAX`] pages hold.
async fn running(session: &Session) -> Result<Option<BTreeMap<Key, u32>>, Failure> {
    let mut running = BTreeMap::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let working = ("state", Some(word(TaskState::Working).to_owned()));
        let query = query(&[working, ("limit", Some(PAGE.to_owned())), ("cursor", cursor)]);
        let page: Page = read(view(session, &format!("/v1/tasks?{query}")).await?)?;
        for agent in page.tasks.into_iter().filter_map(|task| task.agent) {
            *running.entry(agent).or_insert(0) += 1;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(Some(running));
        }
    }
    Ok(None)
}
