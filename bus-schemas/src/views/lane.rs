//! A lane as readers see it: what a broker answers to `describe` and `explain`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::broker::Limits;
use crate::ids::{Key, PartitionId, Timestamp};

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
}
