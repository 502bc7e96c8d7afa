//! A lane as readers see it: what a broker and its queues answer to `describe` and `explain`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::silent::Silent;
use crate::commands::broker::Limits;
use crate::commands::queue;
use crate::ids::{EntityAddress, Key, PartitionId, Timestamp};
use crate::wire::WireQuery;

/// Skills that a queue counts one by one: more are named by nobody who looks at a lane.
pub const SKILLS_MAX: usize = 64;

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// Its name.
    pub id: Key,
    /// How many attempts wait.
    pub waiting: u64,
    /// Since when the oldest of them waits.
    pub oldest: Option<Timestamp>,
    /// How many attempts run.
    pub running: u64,
    /// How many attempts wait, by the skill that they need, as its queues say where it is open.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skills: BTreeMap<SmolStr, u64>,
    /// Its rules.
    pub limits: Limits,
    /// The version of the settings `lanes` that they are of; 0 for the defaults, none when it was not
    /// told yet.
    #[serde(default)]
    pub version: Option<u64>,
    /// Which version of which settings it runs, by name: `lanes` since it was told, `limits` and `retry`;
    /// 0 for the defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<SmolStr, u64>,
    /// Jobs begun in this minute.
    pub begun_in_minute: u32,
    /// Jobs begun on this day, in UTC.
    pub begun_in_day: u32,
    /// What limits it right now.
    pub blocks: Vec<Block>,
    /// How many holds there are of single task trees, such as a halt or a budget that is used up.
    #[serde(default, skip_serializing_if = "crate::wire::is_default")]
    pub trees_held: u64,
    /// Who serves it.
    pub agents: Vec<LaneAgent>,
    /// Whether it gives leave to each attempt, because something bounds it as a whole.
    pub governed: bool,
    /// The partitions in which it has queues.
    pub partitions: Vec<PartitionId>,
    /// Its queues that did not answer: what waits and runs there is missing here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<Silent>,
}

/// The part of a lane that lies in one partition: what a queue answers to `describe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// How many attempts wait.
    pub waiting: u64,
    /// Since when the oldest of them waits.
    pub oldest: Option<Timestamp>,
    /// How many attempts run, by agent.
    pub running: BTreeMap<Key, u32>,
    /// Whether the lane gives leave to each attempt; none when the queue has not heard of its rules.
    pub governed: Option<bool>,
    /// How many holds there are of single task trees.
    pub trees_held: u64,
    /// How many attempts wait, by the skill that they need; the first [`SKILLS_MAX`] by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skills: BTreeMap<SmolStr, u64>,
}

/// An agent of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneAgent {
    /// The agent.
    pub agent: Key,
    /// Jobs at once.
    pub capacity: u32,
    /// Jobs of this lane that it has.
    pub running: u32,
    /// Jobs that it may get now.
    pub free: u32,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<SmolStr>,
}

/// Why something waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Block {
    /// What limits.
    pub what: Limit,
    /// In a sentence.
    pub reason: String,
    /// Who holds, where somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<SmolStr>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What can limit a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Limit {
    /// A breaker, a halt or a person holds it.
    Held,
    /// It was held, and is released gradually.
    Easing,
    /// The bound on jobs at once.
    Concurrent,
    /// The bound on jobs in a minute.
    PerMinute,
    /// The bound on jobs in a day.
    PerDay,
    /// A maintenance window.
    Window,
    /// No agent offers the skill.
    NoAgent,
    /// All agents with the skill are busy.
    Busy,
    /// Others are served first.
    Order,
}

impl Lane {
    /// Its queues, in an installation with so many partitions.
    pub fn queues(&self, partitions: u16) -> Vec<EntityAddress> {
        let queue = |partition: &PartitionId| queue::key(&self.id, *partition, partitions);
        self.partitions.iter().map(queue).map(|key| EntityAddress::new(queue::Query::KIND, key)).collect()
    }
    /// The lane with what its queues say of an open one: who waits and runs there.
    pub fn add(&mut self, part: &Part) {
        self.trees_held += part.trees_held;
        if self.governed {
            return;
        }
        self.waiting += part.waiting;
        self.oldest = self.oldest.into_iter().chain(part.oldest).min();
        for (agent, running) in &part.running {
            self.running += u64::from(*running);
            if let Some(known) = self.agents.iter_mut().find(|known| known.agent == *agent) {
                known.running += running;
                known.free = known.capacity.saturating_sub(known.running);
            }
        }
        for (skill, waiting) in &part.skills {
            *self.skills.entry(skill.clone()).or_default() += waiting;
        }
        self.blocks.retain(|block| ![Limit::NoAgent, Limit::Busy].contains(&block.what));
        let blocks: Vec<Block> = self.skills.keys().filter_map(|skill| self.lacks(skill)).collect();
        self.blocks.extend(blocks);
    }

    /// What keeps work of a skill waiting in an open lane: nobody has it, or all who have it are busy.
    fn lacks(&self, skill: &SmolStr) -> Option<Block> {
        let skilled = self.agents.iter().filter(|agent| agent.capacity > 0 && agent.skills.contains(skill));
        let (what, reason) = match skilled.map(|agent| agent.free).max() {
            None => (Limit::NoAgent, format!("no living agent offers the skill `{skill}`")),
            Some(0) => (Limit::Busy, format!("all agents with the skill `{skill}` are busy")),
            Some(_) => return None,
        };
        Some(Block { what, reason, cause: None, until: None })
    }
}

impl Waiting {
    /// What a queue says of a task, with what its lane says: none where the lane says nothing.
    #[must_use]
    pub fn with_lane(mut self, lane: Option<Self>) -> Self {
        let Some(lane) = lane.filter(|_| self.waits) else { return self };
        let waits_for_worker = self.blocks.iter().any(|block| block.what == Limit::Busy);
        self.blocks
            .extend(lane.blocks.into_iter().filter(|block| !waits_for_worker || block.what != Limit::Busy));
        self.ahead = self.ahead.max(lane.ahead);
        if self.blocks.is_empty() {
            let (what, reason) = match self.ahead {
                0 => (Limit::Busy, "all workers with the skill are busy".to_owned()),
                ahead => (Limit::Order, format!("{ahead} are served before it")),
            };
            self.blocks.push(Block { what, reason, cause: None, until: None });
        }
        self
    }
}

/// What a task waits for in its lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// Whether it waits here at all.
    pub waits: bool,
    /// Which attempt waits or runs; 0 for none.
    pub attempt: u32,
    /// The agent, where it runs.
    pub agent: Option<Key>,
    /// Since when it waits.
    pub since: Option<Timestamp>,
    /// How many of the same skill are served before it.
    pub ahead: u64,
    /// Why it waits.
    pub blocks: Vec<Block>,
    /// Who was given work of the lane last in this partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_claim: Option<LastClaim>,
}

/// A claim that was given an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastClaim {
    /// The agent.
    pub agent: Key,
    /// Its worker.
    pub worker: SmolStr,
    /// When.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_open_lane_is_the_sum_of_its_queues_and_says_whom_it_lacks() {
        let agent = json!({"agent": "git", "capacity": 3, "running": 0, "free": 3, "skills": ["report"]});
        let mut lane: Lane = serde_json::from_value(json!({
            "id": "default", "waiting": 0, "oldest": null, "running": 0, "limits": {}, "begun_in_minute": 0,
            "begun_in_day": 0, "blocks": [], "agents": [agent], "governed": false, "partitions": [0, 1],
        }))
        .expect("a lane");
        let part = |running: u32, skill: &str, oldest: u64| -> Part {
            serde_json::from_value(json!({
                "waiting": 1, "oldest": oldest, "running": {"git": running}, "governed": false,
                "trees_held": 1, "skills": {skill: 1},
            }))
            .expect("a part")
        };
        lane.add(&part(2, "report", 7));
        assert!(lane.blocks.is_empty(), "one more may begin: {:?}", lane.blocks);
        lane.add(&part(1, "juggling", 5));
        let blocks: Vec<Limit> = lane.blocks.iter().map(|block| block.what).collect();
        assert_eq!(blocks, [Limit::NoAgent, Limit::Busy]);
        assert_eq!((lane.waiting, lane.running, lane.trees_held, lane.agents[0].free), (2, 3, 2, 0));
        assert_eq!(lane.oldest, Some(Timestamp(5)));
        let queues: Vec<String> = lane.queues(2).iter().map(|queue| queue.key.to_string()).collect();
        assert!(
            queues.iter().all(|queue| queue.ends_with(".default")) && queues[0] != queues[1],
            "{queues:?}"
        );
    }
}
