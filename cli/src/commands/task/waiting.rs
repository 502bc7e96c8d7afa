//! What the tasks of a tree wait for when nothing happens: told after a while, and again when it changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bus_client::{Bus, EventQuery};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::events::{agent, task};
use bus_schemas::{Key, Kind, upcast};
use futures::TryStreamExt;

use crate::progress::Progress;

/// How long a task may stand still before somebody who watches is told why: a queue that moves takes less.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The open tasks of a tree.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    tasks: BTreeMap<Key, Open>,
}

/// A task that has not ended.
#[derive(Debug)]
struct Open {
    skill: String,
    lane: Key,
    waits: Option<For>,
    since: Instant,
    told: Option<String>,
}

/// What comes next.
#[derive(Debug)]
enum For {
    /// Somebody who can do it.
    AnAgent,
    /// The one who has it.
    ToBegin(Key),
}

impl Waiting {
    /// Takes in an event of the tree.
    pub(super) fn event(&mut self, key: &Key, event: &task::Event) {
        use task::Event;
        if let Event::Submitted { submission, .. } = event {
            let (skill, lane) = (submission.skill.to_string(), submission.lane.clone());
            let open = Open { skill, lane, waits: None, since: Instant::now(), told: None };
            self.tasks.insert(key.clone(), open);
        }
        let Some(open) = self.tasks.get_mut(key) else { return };
        open.waits = match event {
            Event::Queued { .. } => Some(For::AnAgent),
            Event::JobIssued { agent, .. } => Some(For::ToBegin(agent.clone())),
            _ => None,
        };
        (open.since, open.told) = (Instant::now(), None);
    }

    /// Tells of those that stand still, unless the same was told before.
    pub(super) async fn tell(&mut self, bus: &Bus, progress: &mut Progress) {
        let still = |open: &&mut Open| open.waits.is_some() && open.since.elapsed() >= PATIENCE;
        let wants_agent = |open: &&mut Open| matches!(open.waits, Some(For::AnAgent));
        let asked = self.tasks.values_mut().filter(still).any(|open| wants_agent(&open));
        let agents = if asked { Agents::read(bus).await } else { None };
        for (key, open) in &mut self.tasks {
            if open.since.elapsed() < PATIENCE {
                continue;
            }
            let text = match &open.waits {
                Some(For::AnAgent) => {
                    let served = agents.as_ref().is_none_or(|agents| agents.serve(&open.skill, &open.lane));
                    an_agent(&open.skill, &open.lane, served)
                }
                Some(For::ToBegin(agent)) => format!("agent {agent} to begin"),
                None => continue,
            };
            if open.told.as_ref() != Some(&text) {
                progress.waits(key, &text);
                open.told = Some(text);
            }
        }
    }
}

/// What a queued task waits for.
pub(super) fn an_agent(skill: &str, lane: &Key, served: bool) -> String {
    let nobody = if served { "" } else { "; no living agent has it" };
    format!("an agent with the skill {skill} in lane {lane}{nobody}")
}

/// Who lives, from the events of agents: commands need no gateway.
#[derive(Debug, Default)]
struct Agents {
    agents: BTreeMap<Key, (Option<AgentCard>, BTreeMap<String, Vec<Key>>)>,
}

impl Agents {
    /// None where they can not be read: then nothing is said about them.
    async fn read(bus: &Bus) -> Option<Self> {
        let subjects = vec![bus.subjects().events(Some(&Kind::from_static("agent")))];
        let mut events = bus.events_until_now(EventQuery { subjects, from: 0 }).await.ok()?;
        let mut all = Self::default();
        while let Some(stored) = events.try_next().await.ok()? {
            let event = &stored.event;
            if let Ok(event) = upcast::read::<agent::Event>(&event.event_type, event.schema, &event.body) {
                all.fold(stored.entity.key, event);
            }
        }
        Some(all)
    }

    fn fold(&mut self, key: Key, event: agent::Event) {
        let (card, workers) = self.agents.entry(key).or_default();
        match event {
            agent::Event::WorkerRegistered { worker, card: said, lanes, .. } => {
                *card = Some(said);
                workers.insert(worker.to_string(), lanes);
            }
            agent::Event::WorkerDeregistered { worker, .. } | agent::Event::WorkerLost { worker, .. } => {
                workers.remove(worker.as_str());
            }
            _ => {}
        }
    }

    fn serve(&self, skill: &str, lane: &Key) -> bool {
        self.agents.values().any(|(card, workers)| {
            let skilled = card.iter().flat_map(|card| &card.skills).any(|known| known.id == skill);
            skilled && workers.values().any(|lanes| lanes.contains(lane))
        })
    }
}
