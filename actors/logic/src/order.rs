//! The order in which attempts are served: indexes over waiting attempts and free agents, so that a pick
//! takes logarithmic time. Rebuilt from the state's maps when a snapshot is read.
//!
//! The maps share their structure with their copies (`rpds`): a decision works on a copy of the state, which
//! is cheap however long the queue is.

use std::cmp::Reverse;

use bus_schemas::commands::lane::Limits;
use bus_schemas::{Key, Timestamp};
use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A waiting attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The number of the attempt.
    pub attempt: u32,
    /// The skill that the task needs.
    pub skill: SmolStr,
    /// The priority, 0 (lowest) to 9 (highest).
    pub priority: u8,
    /// The owner of the work.
    pub owner: SmolStr,
    /// When it began to wait.
    pub since: Timestamp,
}

/// A running attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The number of the attempt.
    pub attempt: u32,
    /// The owner of the work.
    pub owner: SmolStr,
    /// The agent whose worker does it.
    pub agent: Key,
    /// When it was assigned.
    pub at: Timestamp,
}

/// Waiting attempts by skill, and the agents that are free for them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Order {
    /// For each skill and class (lowest first): the waiting owners, best first.
    classes: Map<SmolStr, Map<u64, Set<Rank>>>,
    /// The owners with waiting or running attempts.
    owners: Map<SmolStr, Owner>,
    /// For each skill: the agents with free capacity, most free first.
    free: Map<SmolStr, Set<(Reverse<u32>, Key)>>,
}

/// The place of one attempt in the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) task: &'a Key,
    pub(crate) skill: &'a SmolStr,
    /// Attempts of a lower class go first, whoever owns them.
    pub(crate) class: u64,
    pub(crate) owner: &'a SmolStr,
    pub(crate) since: Timestamp,
}

/// The rank of an owner within a skill and class. The order of the fields is the order of service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Running jobs per unit of weight, in thousandths.
    load: u64,
    served: u64,
    /// When its longest waiting attempt of this skill and class began to wait.
    since: Timestamp,
    task: Key,
    owner: SmolStr,
}

/// A skill and a class.
type JobClass = (SmolStr, u64);

/// The attempts of an owner.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Owner {
    pub(crate) running: u32,
    /// The number of the assignment that ended its last turn; 0 for never.
    pub(crate) served: u64,
    /// Jobs in its present turn: a turn has as many jobs as the owner's weight.
    pub(crate) turn: u32,
    weight: u32,
    /// The waiting attempts by skill and class, oldest first.
    waiting: Map<JobClass, Set<(Timestamp, Key)>>,
}

/// How an owner was served, as snapshots keep it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    pub(crate) served: u64,
    pub(crate) turn: u32,
}

impl Owner {
    fn rank(&self, name: &SmolStr, job_class: &JobClass) -> Option<Rank> {
        let (since, task) = self.waiting.get(job_class)?.first()?;
        let load = u64::from(self.running) * 1_000 / u64::from(self.weight.max(1));
        Some(Rank { load, served: self.served, since: *since, task: task.clone(), owner: name.clone() })
    }
}

impl Order {
    pub(crate) fn insert(&mut self, place: Place<'_>) {
        let job_class = (place.skill.clone(), place.class);
        self.change_owner(place.owner, |owner| {
            let mut waiting = owner.waiting.get(&job_class).cloned().unwrap_or_default();
            waiting.insert_mut((place.since, place.task.clone()));
            owner.waiting.insert_mut(job_class, waiting);
        });
    }
    pub(crate) fn remove(&mut self, place: Place<'_>) {
        let job_class = (place.skill.clone(), place.class);
        self.change_owner(place.owner, |owner| {
            let Some(mut waiting) = owner.waiting.get(&job_class).cloned() else { return };
            waiting.remove_mut(&(place.since, place.task.clone()));
            if waiting.is_empty() {
                owner.waiting.remove_mut(&job_class);
            } else {
                owner.waiting.insert_mut(job_class, waiting);
            }
        });
    }
    /// Notes a job for an owner; `number` counts the assignments of the lane.
    pub(crate) fn serve(&mut self, name: &SmolStr, number: u64) {
        self.change_owner(name, |owner| {
            owner.running += 1;
            owner.turn += 1;
            if owner.turn >= owner.weight.max(1) {
                (owner.turn, owner.served) = (0, number);
            }
        });
    }
    /// Notes the end of an owner's job.
    pub(crate) fn relieve(&mut self, name: &SmolStr) {
        self.change_owner(name, |owner| owner.running = owner.running.saturating_sub(1));
    }
    /// Sets the weight of an owner.
    pub(crate) fn weigh(&mut self, name: &SmolStr, weight: u32) {
        if self.owners.get(name).is_some_and(|owner| owner.weight != weight) {
            self.change_owner(name, |owner| owner.weight = weight);
        }
    }
    /// The owners with attempts here.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (&SmolStr, &Owner)> {
        self.owners.iter()
    }
    /// Restores an owner from a snapshot.
    pub(crate) fn restore_owner(&mut self, name: &SmolStr, running: u32, service: Service) {
        let Service { served, turn } = service;
        self.change_owner(name, |owner| (owner.running, owner.served, owner.turn) = (running, served, turn));
    }

    /// Sets an agent's free capacity for its skills.
    pub(crate) fn set_free<'a>(
        &mut self,
        agent: &Key,
        skills: impl IntoIterator<Item = &'a SmolStr>,
        before: u32,
        after: u32,
    ) {
        if before == after {
            return;
        }
        for skill in skills {
            let mut agents = self.free.get(skill).cloned().unwrap_or_default();
            agents.remove_mut(&(Reverse(before), agent.clone()));
            if after > 0 {
                agents.insert_mut((Reverse(after), agent.clone()));
            }
            if agents.is_empty() {
                self.free.remove_mut(skill);
            } else {
                self.free.insert_mut(skill.clone(), agents);
            }
        }
    }

    /// Whether any attempt waits.
    pub(crate) fn waits(&self) -> bool {
        !self.classes.is_empty()
    }
    /// Whether an attempt waits that needs a skill.
    pub(crate) fn waits_for(&self, skill: &SmolStr) -> bool {
        self.classes.contains_key(skill)
    }
    /// The skills of waiting attempts, each with the class of the next attempt and when it began to wait.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (&SmolStr, (u64, Timestamp))> {
        self.classes.iter().filter_map(|(skill, classes)| {
            let (class, ranks) = classes.first()?;
            Some((skill, (*class, ranks.first()?.since)))
        })
    }
    /// The next attempt among those that need one of these skills.
    pub(crate) fn next(&self, skills: &[SmolStr]) -> Option<Key> {
        let firsts = skills.iter().filter_map(|skill| {
            let (class, ranks) = self.classes.get(skill)?.first()?;
            Some((*class, ranks.first()?))
        });
        firsts.min().map(|(_, rank)| rank.task.clone())
    }

    /// The next attempt, and its agent; `None` if no agent is free for a waiting attempt.
    pub(crate) fn pick(&self) -> Option<(Key, Key)> {
        let best = self.free.iter().filter_map(|(skill, agents)| {
            let (class, ranks) = self.classes.get(skill)?.first()?;
            Some(((*class, ranks.first()?), agents))
        });
        let ((_, rank), agents) = best.min_by_key(|(place, _)| *place)?;
        let (_, agent) = agents.first()?;
        Some((rank.task.clone(), agent.clone()))
    }

    /// How many attempts of the same skill are served before this one, as things stand.
    pub(crate) fn ahead(&self, place: Place<'_>) -> u64 {
        let job_class = (place.skill.clone(), place.class);
        let own = self.owners.get(place.owner).and_then(|owner| owner.rank(place.owner, &job_class));
        let classes =
            self.classes.get(place.skill).into_iter().flat_map(|classes| classes.range(..=place.class));
        let mut ahead = 0;
        for (class, ranks) in classes {
            for rank in ranks.iter() {
                let waits = self
                    .owners
                    .get(&rank.owner)
                    .and_then(|owner| owner.waiting.get(&(place.skill.clone(), *class)));
                let count = waits.map_or(0, Set::size) as u64;
                if *class < place.class {
                    ahead += count;
                } else if rank.owner == *place.owner {
                    let before =
                        waits.map_or(0, |waits| waits.range(..(place.since, place.task.clone())).count());
                    ahead += before as u64;
                } else if own.as_ref().is_some_and(|own| rank < own) {
                    ahead += 1;
                }
            }
        }
        ahead
    }

    /// Changes an owner and its rank everywhere it waits. An owner without attempts is removed: it comes back
    /// as one that was never served.
    fn change_owner(&mut self, name: &SmolStr, change: impl FnOnce(&mut Owner)) {
        let mut owner =
            self.owners.get(name).cloned().unwrap_or_else(|| Owner { weight: 1, ..Owner::default() });
        for job_class in owner.waiting.keys() {
            if let Some(rank) = owner.rank(name, job_class) {
                self.change_class(job_class, |ranks| {
                    ranks.remove_mut(&rank);
                });
            }
        }
        change(&mut owner);
        for job_class in owner.waiting.keys() {
            if let Some(rank) = owner.rank(name, job_class) {
                self.change_class(job_class, |ranks| ranks.insert_mut(rank));
            }
        }
        if owner.running > 0 || !owner.waiting.is_empty() {
            self.owners.insert_mut(name.clone(), owner);
        } else {
            self.owners.remove_mut(name);
        }
    }

    fn change_class(&mut self, job_class: &JobClass, change: impl FnOnce(&mut Set<Rank>)) {
        let (skill, class) = job_class;
        let mut classes = self.classes.get(skill).cloned().unwrap_or_default();
        let mut ranks = classes.get(class).cloned().unwrap_or_default();
        change(&mut ranks);
        if ranks.is_empty() {
            classes.remove_mut(class);
        } else {
            classes.insert_mut(*class, ranks);
        }
        if classes.is_empty() {
            self.classes.remove_mut(skill);
        } else {
            self.classes.insert_mut(skill.clone(), classes);
        }
    }
}

/// The class of an attempt. Without ageing it is the priority. With ageing, a waiting attempt improves by one
/// class per span: the order of two attempts never changes while they wait, so it is computed once.
pub(crate) fn class(limits: &Limits, priority: u8, since: Timestamp) -> u64 {
    let behind = PRIORITY_MAX.saturating_sub(u64::from(priority));
    match limits.ageing_ms {
        None => behind,
        Some(span) => (since.0 / span.max(AGEING_MS_MIN)).saturating_add(behind),
    }
}

/// The highest priority.
const PRIORITY_MAX: u64 = 9;
/// The fastest ageing, in milliseconds: faster ageing would make the priority meaningless.
pub(crate) const AGEING_MS_MIN: u64 = 1_000;
