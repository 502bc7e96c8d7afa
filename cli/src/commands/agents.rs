//! `orrery agents`: who can do what, and whether they live.

use bus_schemas::commands::agent::AgentCard;
use bus_schemas::{Key, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::gateway::{read, view};
use crate::output::{Output, Show, table};
use crate::session::Session;

/// Which agents.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only this one, with its card and its workers
    name: Option<String>,
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
    /// What it says about itself.
    pub card: AgentCard,
    /// Jobs that its living workers do at once.
    pub capacity: u32,
    /// Its workers.
    pub workers: Vec<Worker>,
    /// When it last changed: milliseconds since 1970.
    pub updated_at: Timestamp,
    /// How many events it has.
    pub revision: u64,
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
    /// How often it says that it is alive, in milliseconds.
    pub heartbeat_ms: u64,
    /// When it joined: milliseconds since 1970.
    pub registered_at: Timestamp,
    /// When it was found silent for too long; none while it lives.
    pub lost_at: Option<Timestamp>,
}

impl Show for Agents {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self.agents.iter().map(row).collect();
        table(&["AGENT", "SKILLS", "WORKERS", "CAPACITY", "STATE"], &rows)
    }
}

fn row(agent: &Agent) -> Vec<String> {
    let skills: Vec<&str> = agent.card.skills.iter().map(|skill| skill.id.as_str()).collect();
    let living = agent.workers.iter().filter(|worker| worker.lost_at.is_none()).count();
    let state = match (living, agent.workers.len()) {
        (0, 0) => "left",
        (0, _) => "lost",
        _ => "alive",
    };
    vec![
        agent.name.to_string(),
        skills.join(", "),
        living.to_string(),
        agent.capacity.to_string(),
        state.into(),
    ]
}

impl Show for Agent {
    fn text(&self) -> String {
        let mut lines = vec![format!("agent {}: {}", self.name, self.card.description)];
        for skill in &self.card.skills {
            lines.push(format!("  skill   {}: {}", skill.id, skill.description));
        }
        for worker in &self.workers {
            let lanes: Vec<_> = worker.lanes.iter().map(ToString::to_string).collect();
            let state = match worker.lost_at {
                None => format!("alive, every {} ms", worker.heartbeat_ms),
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
    let all: Agents = read(view(session, "/v1/agents").await?)?;
    let Some(name) = arguments.name else {
        output.show(&all);
        return Ok(());
    };
    let found = all.agents.into_iter().find(|agent| agent.name.as_str() == name).ok_or_else(|| {
        Failure::new("agent-not-found", format!("no agent is called `{name}`"))
            .next("`orrery agents` lists all of them")
            .exit(crate::failure::exit::NOT_FOUND)
    })?;
    output.show(&found);
    Ok(())
}
