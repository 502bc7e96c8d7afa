//! Why a task and everything below it wait. The view is put together from the answers to `explain` of each
//! task, of the queues and lanes in which they wait, and from the active halts.
//!
//! Pure: an [`Inquiry`] lists the queries to ask, takes the answers, and builds the view. The caller decides
//! how to ask: the command line and the gateway ask over the bus, the sweeper reads a projection.

mod moves;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use super::lane::{Block, LastClaim, Limit, Waiting};
use super::silent::Silent;
use super::task::{TaskState, WaitsFor, Why};
use crate::commands::{lane, queue, task};
use crate::envelope::{Body, Refusal};
use crate::halts::{Halts, Subject};
use crate::ids::{EntityAddress, Key, PartitionId, Timestamp};
use crate::wire::WireQuery;

/// The most tasks that one inquiry asks: a person reads the answer, or it is one response.
pub const TASKS_MAX: usize = 1_000;

/// Why a task and everything below it wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waits {
    /// The task.
    pub task: Key,
    /// Its state.
    pub state: TaskState,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// The reason, in a sentence.
    pub reason: String,
    /// What would end the wait; empty for a task that has ended.
    pub moves: String,
    /// Since when, as far as its events tell.
    pub since: Timestamp,
    /// When the wait ends by itself; `null` if that is not known.
    pub until: Option<Timestamp>,
    /// The lane in which it waits.
    pub lane: Key,
    /// The lane's answer; `null` if the task does not wait in a lane.
    pub in_lane: Option<Waiting>,
    /// The halt that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halted>,
    /// The children that have not ended, with theirs.
    pub children: Vec<Waits>,
    /// Children that were started and do not exist.
    pub missing: Vec<Key>,
    /// Entities that did not answer: its queue, its lane, or children that were started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<Silent>,
    /// How many children were not asked, because there are too many.
    pub left_out: u64,
}

/// A halt that covers a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Halted {
    /// The halted scope.
    pub scope: SmolStr,
    /// The reason.
    pub reason: String,
    /// The caller who halted it.
    pub by: String,
    /// When it began.
    pub since: Timestamp,
}

/// A query with its receiver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// `explain`, for this task.
    Task(Key),
    /// `explain`, for a queue in the task's partition, about the task.
    Queue {
        /// The queue.
        queue: Key,
        /// The task.
        task: Key,
    },
    /// `explain`, for a lane, about a task.
    Lane {
        /// The lane.
        lane: Key,
        /// The task.
        task: Key,
        /// The skill that the task needs.
        skill: SmolStr,
    },
}

impl Question {
    /// The receiver.
    pub fn to(&self) -> EntityAddress {
        match self {
            Self::Task(task) => EntityAddress::new(task::Query::KIND, task.clone()),
            Self::Queue { queue, .. } => EntityAddress::new(queue::Query::KIND, queue.clone()),
            Self::Lane { lane, .. } => EntityAddress::new(lane::Query::KIND, lane.clone()),
        }
    }
    /// The encoded query.
    pub fn body(&self) -> Body {
        match self.clone() {
            Self::Task(_) => Body::json(&task::Query::Explain),
            Self::Queue { task, .. } => Body::json(&queue::Query::Explain { task }),
            Self::Lane { task, skill, .. } => Body::json(&lane::Query::Explain { task, skill }),
        }
    }
}

/// The answers about a tree so far, and the queries that remain.
#[derive(Debug)]
pub struct Inquiry {
    root: Key,
    partition: PartitionId,
    partitions: u16,
    next: Vec<Question>,
    /// Queries for lanes, held back until every task has answered.
    of_lanes: BTreeMap<Key, Vec<Question>>,
    asked: BTreeSet<Key>,
    found: BTreeMap<Key, Why>,
    in_queue: BTreeMap<Key, Waiting>,
    in_lane: BTreeMap<Key, Waiting>,
    /// Lanes that have answered.
    heard: BTreeSet<Key>,
    silent: BTreeMap<EntityAddress, Refusal>,
}

impl Inquiry {
    /// An inquiry about a task and everything below it, in an installation with `partitions` partitions.
    pub fn of(task: Key, partitions: u16) -> Self {
        Self {
            next: vec![Question::Task(task.clone())],
            of_lanes: BTreeMap::new(),
            asked: BTreeSet::from([task.clone()]),
            partition: PartitionId::of(task.root(), partitions),
            partitions,
            root: task,
            found: BTreeMap::new(),
            in_queue: BTreeMap::new(),
            in_lane: BTreeMap::new(),
            heard: BTreeSet::new(),
            silent: BTreeMap::new(),
        }
    }
    /// The queries to ask now; each is returned once. Empty when everything is known.
    ///
    /// A lane is first asked about one task only: if it does not answer, that is one wait and not one per
    /// task.
    pub fn questions(&mut self) -> Vec<Question> {
        if self.next.is_empty() {
            for (lane, mut questions) in take(&mut self.of_lanes) {
                if self.silent.contains_key(&lane_of(&lane)) {
                    continue;
                }
                if !self.heard.contains(&lane) {
                    let rest = questions.split_off(1);
                    if !rest.is_empty() {
                        self.of_lanes.insert(lane, rest);
                    }
                }
                self.next.append(&mut questions);
            }
        }
        take(&mut self.next)
    }
    /// Takes an answer: the result of the reply, or `None` if the task does not exist. Fails if the answer
    /// cannot be read, such as one of another version.
    pub fn answer(&mut self, question: &Question, answer: Option<Value>) -> Result<(), serde_json::Error> {
        let Some(answer) = answer else { return Ok(()) };
        match question {
            Question::Queue { task, .. } => {
                self.in_queue.insert(task.clone(), serde_json::from_value(answer)?);
            }
            Question::Lane { lane, task, .. } => {
                self.heard.insert(lane.clone());
                self.in_lane.insert(task.clone(), serde_json::from_value(answer)?);
            }
            Question::Task(task) => {
                let why: Why = serde_json::from_value(answer)?;
                if why.waits_for == WaitsFor::Lane {
                    let (lane, skill) = (why.lane.clone(), why.skill.clone());
                    self.next.push(Question::Queue { queue: self.queue(&lane), task: task.clone() });
                    let question = Question::Lane { lane: lane.clone(), task: task.clone(), skill };
                    self.of_lanes.entry(lane).or_default().push(question);
                }
                for child in &why.children {
                    if self.asked.len() < TASKS_MAX && self.asked.insert(child.clone()) {
                        self.next.push(Question::Task(child.clone()));
                    }
                }
                self.found.insert(task.clone(), why);
            }
        }
        Ok(())
    }
    /// Takes a refusal, which does not affect the other answers. Returns it if it is about the task of this
    /// inquiry.
    pub fn refused(&mut self, question: &Question, refusal: Refusal) -> Result<(), Refusal> {
        if *question == Question::Task(self.root.clone()) {
            return Err(refusal);
        }
        self.silent.insert(question.to(), refusal);
        Ok(())
    }
    /// The view of the tree under the active halts; `None` if the task does not exist.
    pub fn end(mut self, halts: &Halts) -> Option<Waits> {
        let root = self.root.clone();
        self.tree(&root, halts)
    }

    fn queue(&self, lane: &Key) -> Key {
        queue::key(lane, self.partition, self.partitions)
    }

    /// The view of a task. Recursion ends, because a child's key is longer than its parent's.
    fn tree(&mut self, task: &Key, halts: &Halts) -> Option<Waits> {
        let why = self.found.remove(task)?;
        let in_lane = self.waiting(task);
        let halted = halted(&why, halts);
        let moves = moves::of(&why, in_lane.as_ref(), halted.as_ref());
        let mut silent = Vec::new();
        if why.waits_for == WaitsFor::Lane {
            let queue = EntityAddress::new(queue::Query::KIND, self.queue(&why.lane));
            silent.extend([queue, lane_of(&why.lane)].iter().filter_map(|who| self.silence(who)));
        }
        let (mut children, mut missing, mut left_out) = (Vec::new(), Vec::new(), 0);
        for child in why.children {
            let said_nothing = self.silence(&Question::Task(child.clone()).to());
            match (said_nothing, self.tree(&child, halts)) {
                (Some(found), _) => silent.push(found),
                (None, Some(waits)) => children.push(waits),
                (None, None) if self.asked.contains(&child) => missing.push(child),
                (None, None) => left_out += 1,
            }
        }
        let Why { task, state, waits_for, reason, since, until, lane, .. } = why;
        // Under a halt of everything timers wait; under any other halt, what they begin waits.
        let until = until.filter(|_| halted.is_none());
        Some(Waits {
            task,
            state,
            waits_for,
            reason,
            moves,
            since,
            until,
            lane,
            in_lane,
            halted,
            children,
            missing,
            silent,
            left_out,
        })
    }
    /// The joint answer of the task's queue and its lane. Without the queue's answer, a lane that does not
    /// govern knows nothing of the task.
    fn waiting(&mut self, task: &Key) -> Option<Waiting> {
        let lane = self.in_lane.remove(task);
        match self.in_queue.remove(task) {
            Some(here) => Some(here.with_lane(lane)),
            None => lane.filter(|lane| lane.waits || lane.agent.is_some()),
        }
    }
    fn silence(&self, who: &EntityAddress) -> Option<Silent> {
        self.silent.get(who).map(|refusal| Silent::of(who, refusal))
    }
}

fn lane_of(lane: &Key) -> EntityAddress {
    EntityAddress::new(lane::Query::KIND, lane.clone())
}

/// The halt that keeps a task waiting.
fn halted(why: &Why, halts: &Halts) -> Option<Halted> {
    let subject = Subject { lane: &why.lane, agent: None, task: &why.task };
    let (scope, active) = halts.covering(subject).filter(|_| why.waits_for != WaitsFor::Nothing)?;
    Some(Halted {
        scope: scope.to_string().into(),
        reason: active.reason.clone(),
        by: active.by.clone(),
        since: active.since,
    })
}

impl Waits {
    /// One sentence, with the limits of its lane and its halt.
    pub fn sentence(&self) -> String {
        let mut more: Vec<String> = match &self.in_lane {
            Some(waiting) if waiting.waits => {
                let claim = waiting.last_claim.as_ref().map(|LastClaim { agent, worker, at }| {
                    let at = at.to_rfc3339();
                    format!("worker `{worker}` of agent `{agent}` was given work of it last, at {at}")
                });
                waiting.blocks.iter().map(phrase).chain(claim).collect()
            }
            Some(Waiting { agent: Some(agent), .. }) => vec![format!("its lane gave it to agent `{agent}`")],
            Some(_) => vec!["its lane has not heard of it".to_owned()],
            None => self.missing.iter().map(|child| format!("`{child}` is not there")).collect(),
        };
        if let Some(halt) = &self.halted {
            let cause = format!("halt/{}", halt.scope);
            let blocks = self.in_lane.iter().flat_map(|waiting| &waiting.blocks);
            // The lane's answer may contain the halt already.
            if !blocks.into_iter().any(|block| block.cause.as_deref() == Some(cause.as_str())) {
                more.push(format!("halted by {cause}: {}", halt.reason));
            }
        }
        more.extend(
            self.silent.iter().map(|silent| format!("`{}` does not say: {}", silent.entity, silent.reason)),
        );
        match more.is_empty() {
            true => self.reason.clone(),
            false => format!("{}: {}", self.reason, more.join("; ")),
        }
    }
    /// This task and everything below it, parents before their children.
    pub fn all(&self) -> Vec<&Self> {
        let mut all = vec![self];
        all.extend(self.children.iter().flat_map(Self::all));
        all
    }
}

/// The words for a limit of a lane.
fn phrase(block: &Block) -> String {
    let Block { what, reason, cause, until } = block;
    let mut text = match (what, cause) {
        (Limit::Held, Some(cause)) => format!("held by {cause}: {reason}"),
        (Limit::Held, None) => format!("held: {reason}"),
        (Limit::Easing, Some(cause)) => format!("released gradually after {cause}: {reason}"),
        _ => reason.clone(),
    };
    if let Some(until) = until {
        text.push_str(&format!(", until {}", until.to_rfc3339()));
    }
    text
}
