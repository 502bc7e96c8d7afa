//! The view of a lane: the answers of a lane and its queues to `describe` and `explain`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::silent::Silent;
use crate::commands::halt::Standstill;
use crate::commands::lane::Limits;
use crate::commands::queue;
use crate::ids::{EntityAddress, Key, PartitionId, Revision, Timestamp};
use crate::wire::WireQuery;

/// The most skills that a queue counts one by one.
pub const SKILLS_MAX: usize = 64;

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// The name of the lane.
    pub id: Key,
    /// The number of waiting attempts.
    pub waiting: u64,
    /// When the oldest of them began to wait.
    pub oldest: Option<Timestamp>,
    /// The number of running attempts.
    pub running: u64,
    /// Waiting attempts by skill, as the queues of a lane that does not govern report them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skills: BTreeMap<SmolStr, u64>,
    /// The lane's rules.
    pub limits: Limits,
    /// The version of the settings `lanes` of the rules; 0 for the defaults, `null` if the lane was not told
    /// yet.
    #[serde(default)]
    pub version: Option<u64>,
    /// The version of each of its settings, by name: `lanes` once it was told, `limits` and `retry`; 0 for
    /// the defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<SmolStr, u64>,
    /// Jobs begun in this minute.
    pub begun_in_minute: u32,
    /// Jobs begun on this day, in UTC.
    pub begun_in_day: u32,
    /// What limits the lane now.
    pub blocks: Vec<Block>,
    /// The pause by a person; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Standstill>,
    /// Holds of single task trees, such as by a halt or a used up budget.
    #[serde(default, skip_serializing_if = "crate::wire::is_default")]
    pub trees_held: u64,
    /// The agents that serve it.
    pub agents: Vec<LaneAgent>,
    /// Whether the lane governs: it gives leave to each attempt, because a limit applies to it as a whole.
    pub governed: bool,
    /// The partitions in which it has queues.
    pub partitions: Vec<PartitionId>,
    /// The lane's revision.
    pub revision: Revision,
    /// Its queues that did not answer: their waiting and running attempts are missing here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<Silent>,
}

/// The part of a lane in one partition: a queue's answer to `describe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// The number of waiting attempts.
    pub waiting: u64,
    /// When the oldest of them began to wait.
    pub oldest: Option<Timestamp>,
    /// The number of running attempts, by agent.
    pub running: BTreeMap<Key, u32>,
    /// Whether the lane governs; `null` if the queue was not told its rules yet.
    pub governed: Option<bool>,
    /// Holds of single task trees.
    pub trees_held: u64,
    /// Waiting attempts by skill; the first [`SKILLS_MAX`] by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skills: BTreeMap<SmolStr, u64>,
}

/// An agent of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneAgent {
    /// The agent.
    pub agent: Key,
    /// Concurrent jobs.
    pub capacity: u32,
    /// Jobs of this lane that it runs.
    pub running: u32,
    /// Jobs that it can take now.
    pub free: u32,
    /// The agent's skills.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<SmolStr>,
}

/// Why something waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Block {
    /// The limit.
    pub what: Limit,
    /// The reason, in a sentence.
    pub reason: String,
    /// The cause of the hold, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<SmolStr>,
    /// When the limit ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A limit of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Limit {
    /// A breaker, a halt or a person holds it.
    Held,
    /// A hold ended, and its work is released gradually.
    Easing,
    /// The limit of concurrent jobs.
    Concurrent,
    /// The limit of jobs per minute.
    PerMinute,
    /// The limit of jobs per day.
    PerDay,
    /// A maintenance window.
    Window,
    /// No agent offers the skill.
    NoAgent,
    /// All agents with the skill are busy.
    Busy,
    /// Other work is served first.
    Order,
}

impl Lane {
    /// Its queues, in an installation with `partitions` partitions.
    pub fn queues(&self, partitions: u16) -> Vec<EntityAddress> {
        let queue = |partition: &PartitionId| queue::key(&self.id, *partition, partitions);
        self.partitions.iter().map(queue).map(|key| EntityAddress::new(queue::Query::KIND, key)).collect()
    }
    /// Adds what a queue reports; its attempts only if the lane does not govern, and so does not know them.
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

    /// Why work of a skill waits in a lane that does not govern: no agent has the skill, or all that have it
    /// are busy.
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
    /// A queue's answer about a task, completed with the lane's answer if there is one.
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

/// Why a task waits in its lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// Whether it waits in the lane at all.
    pub waits: bool,
    /// The number of the waiting or running attempt; 0 for none.
    pub attempt: u32,
    /// The agent, if the attempt runs.
    pub agent: Option<Key>,
    /// When it began to wait.
    pub since: Option<Timestamp>,
    /// How many attempts of the same skill are served before it.
    pub ahead: u64,
    /// Why it waits.
    pub blocks: Vec<Block>,
    /// The claim that last got work of the lane in this partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_claim: Option<LastClaim>,
}

/// A claim that got an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastClaim {
    /// The agent.
    pub agent: Key,
    /// The agent's worker.
    pub worker: SmolStr,
    /// When it got the attempt.
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
            "begun_in_day": 0, "blocks": [], "agents": [agent], "governed": false, "partitions": [0, 1], "revision": 1,
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
