//! What the events of lanes and of their queues must keep, counted independently of the entities.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::commands::queue::{Entry, lane};
use bus_schemas::events::{lane, queue};
use bus_schemas::record::Event;
use bus_schemas::{Key, PartitionId};
use smol_str::SmolStr;

use super::holds::Holds;
use super::work::read;
use super::{Audit, Check, hold, violated};
use crate::coverage::{Coverage, Reached};

/// What a lane as a whole knows.
#[derive(Debug, Default)]
pub struct LaneAudit {
    waiting: BTreeMap<Key, u32>,
    running: BTreeMap<Key, (u32, Key)>,
    capacities: BTreeMap<Key, u32>,
    cap: Option<u32>,
    /// Whether its queues begin attempts by themselves.
    is_open: bool,
    joined: BTreeSet<PartitionId>,
    unreported: BTreeSet<PartitionId>,
    /// What it holds back.
    pub(super) holds: Holds,
}

/// The part of a lane in one partition.
#[derive(Debug, Default)]
pub struct QueueAudit {
    waiting: BTreeMap<Key, (u32, SmolStr)>,
    running: BTreeMap<Key, u32>,
    granted: BTreeMap<Key, Key>,
    /// Whether the lane gives leave; none before it said so.
    governed: Option<bool>,
    /// The tree that each cause holds.
    pub(super) holds: BTreeMap<SmolStr, Key>,
}

/// An attempt that a worker could begin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ready {
    pub attempt: u32,
    pub lane: Key,
    pub skill: SmolStr,
    /// The agent whose worker it is for; none for anybody's.
    pub agent: Option<Key>,
}

impl Audit {
    /// A lane assigns no more than an agent offers and the lane's cap allows.
    pub(super) fn lane_event(&mut self, lane: &Key, event: &Event, coverage: &mut Coverage) -> Check {
        let event = read::<lane::Event>(event)?;
        self.lanes.entry(lane.clone()).or_default().event(lane, &event, coverage)?;
        self.cap_counts_everything(lane)
    }

    /// A queue begins what waits, with leave where its lane governs, and nothing that is held.
    pub(super) fn queue_event(&mut self, key: &Key, event: &Event, coverage: &mut Coverage) -> Check {
        let event = read::<queue::Event>(event)?;
        let lane = lane(key).unwrap_or_else(|| key.clone());
        if let queue::Event::Assigned { task, agent, .. } = &event {
            let is_open = self.queues.get(key).is_some_and(|known| known.governed == Some(false));
            // What a queue has not heard yet it does not follow.
            if is_open && !self.goes_to("queue", key) {
                let holds =
                    self.lanes.get(&lane).map_or(Ok(()), |known| known.holds.passes(&lane, task, agent));
                holds?;
            }
        }
        self.queues.entry(key.clone()).or_default().event(key, &event, coverage)?;
        self.cap_counts_everything(&lane)
    }

    /// What a lane that governs counts is all that runs in its queues, also what began while it was open:
    /// so its cap is a cap of everything.
    fn cap_counts_everything(&self, name: &Key) -> Check {
        let Some(known) = self.lanes.get(name).filter(|known| !known.is_open && known.unreported.is_empty())
        else {
            return Ok(());
        };
        let of_lane = self.queues.iter().filter(|(key, _)| lane(key).as_ref() == Some(name));
        for (task, attempt) in of_lane.flat_map(|(_, queue)| &queue.running) {
            let counted = known.running.get(task).is_some_and(|(running, _)| running == attempt);
            hold(counted, "cap_counts_everything", || {
                format!("`{task}`/{attempt} runs, and lane `{name}` does not know of it")
            })?;
        }
        Ok(())
    }

    /// The attempts that a worker could begin at this moment.
    pub fn ready_work(&self) -> BTreeSet<(Key, Ready)> {
        let mut ready = BTreeSet::new();
        for (key, queue) in &self.queues {
            let Some(lane) = lane(key) else { continue };
            for (task, (attempt, skill)) in &queue.waiting {
                let agent = queue.granted.get(task).cloned();
                let may_begin = queue.governed == Some(false) || agent.is_some();
                if may_begin && !queue.is_held(task) {
                    let (attempt, lane, skill) = (*attempt, lane.clone(), skill.clone());
                    ready.insert((task.clone(), Ready { attempt, lane, skill, agent }));
                }
            }
        }
        ready
    }
}

impl LaneAudit {
    /// How many jobs an agent takes from this lane at once.
    pub(super) fn capacity_of(&self, agent: &Key) -> u32 {
        self.capacities.get(agent).copied().unwrap_or(0)
    }
    /// Counts an event of the lane.
    pub fn event(&mut self, lane: &Key, event: &lane::Event, coverage: &mut Coverage) -> Check {
        self.holds.event(lane, event, coverage)?;
        match event {
            lane::Event::Joined { partition } => drop(self.joined.insert(*partition)),
            lane::Event::GoverningBegun { .. } => {
                coverage.note(Reached::LaneGoverned);
                (self.is_open, self.unreported) = (false, self.joined.clone());
            }
            lane::Event::GoverningEnded { .. } => {
                coverage.note(Reached::LaneOpened);
                self.is_open = true;
                self.waiting.clear();
                self.running.clear();
                self.unreported.clear();
            }
            lane::Event::Reported { partition } => drop(self.unreported.remove(partition)),
            lane::Event::Adopted(running) => {
                coverage.note(Reached::JobAdopted);
                self.waiting.remove(&running.task);
                self.running.insert(running.task.clone(), (running.attempt, running.agent.clone()));
            }
            lane::Event::Enqueued(Entry { task, attempt, .. }) => {
                self.waiting.insert(task.clone(), *attempt);
            }
            lane::Event::Assigned { task, attempt, agent, .. } => {
                return self.assigned(lane, task, *attempt, agent, coverage);
            }
            lane::Event::Released { task, attempt, .. } => {
                if self.waiting.get(task) == Some(attempt) {
                    self.waiting.remove(task);
                } else if self.running.get(task).is_some_and(|(running, _)| running == attempt) {
                    self.running.remove(task);
                }
            }
            lane::Event::AgentOffered { agent, capacity, .. } => {
                self.capacities.insert(agent.clone(), *capacity);
            }
            lane::Event::CapSet { concurrent } => self.cap = *concurrent,
            lane::Event::LimitsSet { limits, .. } | lane::Event::Configured { limits, .. } => {
                self.cap = limits.concurrent;
            }
            lane::Event::Paused { .. }
            | lane::Event::Resumed { .. }
            | lane::Event::Held { .. }
            | lane::Event::Eased { .. }
            | lane::Event::EasingEnded { .. }
            | lane::Event::PoliciesSet { .. }
            | lane::Event::ProbesAllowed { .. } => {}
        }
        Ok(())
    }

    fn assigned(
        &mut self,
        lane: &Key,
        task: &Key,
        attempt: u32,
        agent: &Key,
        coverage: &mut Coverage,
    ) -> Check {
        const NAME: &str = "capacity_never_exceeded";
        let knows = !self.is_open && self.unreported.is_empty();
        hold(knows, "cap_counts_everything", || {
            format!("lane `{lane}` gives leave before {:?} have said what runs there", self.unreported)
        })?;
        if self.waiting.remove(task) != Some(attempt) {
            return violated(NAME, format!("lane `{lane}` assigned `{task}`/{attempt}, which does not wait"));
        }
        let busy = self.running.values().filter(|(_, known)| known == agent).count();
        let capacity = self.capacities.get(agent).copied().unwrap_or(0) as usize;
        hold(busy < capacity, NAME, || {
            format!("lane `{lane}` gave `{agent}` one more than its {capacity} jobs")
        })?;
        let cap = self.cap.map_or(usize::MAX, |cap| cap as usize);
        hold(self.running.len() < cap, NAME, || format!("lane `{lane}` runs more than its cap {cap}"))?;
        self.running.insert(task.clone(), (attempt, agent.clone()));
        if self.running.len() == cap || busy + 1 == capacity {
            coverage.note(Reached::CapacityFull);
        }
        Ok(())
    }
}

impl QueueAudit {
    /// Whether an attempt has its place in the queue.
    pub(super) fn holds_place(&self, task: &Key, attempt: u32) -> bool {
        self.waiting.get(task).is_some_and(|(waiting, _)| *waiting == attempt)
    }
    fn is_held(&self, task: &Key) -> bool {
        self.holds.values().any(|root| task.is_within(root))
    }
    /// Counts an event of the queue.
    pub fn event(&mut self, key: &Key, event: &queue::Event, coverage: &mut Coverage) -> Check {
        match event {
            queue::Event::Enqueued(Entry { task, attempt, skill, .. }) => {
                self.granted.remove(task);
                self.waiting.insert(task.clone(), (*attempt, skill.clone()));
            }
            queue::Event::Granted { task, agent, .. } => {
                self.granted.insert(task.clone(), agent.clone());
            }
            queue::Event::Revoked { task, .. } => {
                coverage.note(Reached::LeaveRevoked);
                self.granted.remove(task);
            }
            queue::Event::Assigned { task, attempt, agent, .. } => {
                return self.assigned(key, task, *attempt, agent);
            }
            queue::Event::Released { task, attempt, .. } => {
                if self.holds_place(task, *attempt) {
                    self.waiting.remove(task);
                    self.granted.remove(task);
                } else if self.running.get(task) == Some(attempt) {
                    self.running.remove(task);
                }
            }
            queue::Event::RulesSet(rules) => {
                self.governed = Some(rules.governed);
                if !rules.governed {
                    self.granted.clear();
                }
            }
            queue::Event::Held { cause, root, .. } => {
                coverage.note(Reached::TreeHeld);
                self.granted.retain(|task, _| !task.is_within(root));
                self.holds.insert(cause.clone(), root.clone());
            }
            queue::Event::Eased { cause } => drop(self.holds.remove(cause)),
        }
        Ok(())
    }

    fn assigned(&mut self, key: &Key, task: &Key, attempt: u32, agent: &Key) -> Check {
        if let Some((cause, _)) = self.holds.iter().find(|(_, root)| task.is_within(root)) {
            let name = match cause.starts_with("budget/") {
                true => "budget_bound",
                false => "halted_means_no_effect_starts",
            };
            return violated(name, format!("queue `{key}` begins `{task}` although {cause} holds"));
        }
        const NAME: &str = "cap_counts_everything";
        let waits = self.waiting.remove(task).is_some_and(|(waiting, _)| waiting == attempt);
        hold(waits, NAME, || format!("queue `{key}` begins `{task}`/{attempt}, which does not wait"))?;
        let leave = self.granted.remove(task);
        let may = self.governed == Some(false) || leave.as_ref() == Some(agent);
        hold(may, NAME, || format!("queue `{key}` begins `{task}`/{attempt} for `{agent}` without leave"))?;
        self.running.insert(task.clone(), attempt);
        Ok(())
    }
}
