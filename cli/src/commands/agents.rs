//! `orrery agents`: agents with their skills, their workers and whether they are alive.

use std::collections::BTreeMap;

use bus_schemas::Key;
use bus_schemas::commands::agent::Skill;
use bus_schemas::views::task::TaskState;
use gateway_api::agents::{Agent, AgentPage, Hold, Worker};
use gateway_api::routes;
use gateway_api::tasks::ListTasks;
use schemars::JsonSchema;
use serde::Serialize;

use crate::client::{Client, PAGE, id};
use crate::commands::tasks::one_line;
use crate::failure::Failure;
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
        match (self.living().count(), self.agent.workers.len()) {
            (0, 0) if self.agent.card.is_none() => "unknown",
            (0, 0) => "left",
            (0, _) => "lost",
            _ => "alive",
        }
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
            vec![agent.agent.name.to_string(), skills.join(", "), state, living, agent.load()]
        };
        let rows: Vec<Vec<String>> = self.agents.iter().map(row).collect();
        let table = table(&["AGENT", "SKILLS", "STATE", "WORKERS", "RUNNING"], &rows);
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
                format!("  state   {state}, version {}, {load} jobs running", one_line(&card.version)),
            ],
        };
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
    }
    Ok(())
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
