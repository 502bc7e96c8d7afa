//! The order in which attempts are served: indexes over what waits and who is free, so that a pick costs
//! the logarithm of the queue. Rebuilt from the state's maps when a snapshot is read.
//!
//! The maps share their structure with their copies (`rpds`): a decision works on a copy of the
//! state, which costs nothing, however long the queue is.

use std::cmp::Reverse;

use bus_schemas::commands::broker::Limits;
use bus_schemas::{Key, Timestamp};
use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};
use smol_str::SmolStr;

/// Who waits for which skill, and which agents are free for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Order {
    /// For each skill and class (lowest first) the owners that wait, best first.
    lines: Map<SmolStr, Map<u64, Set<Rank>>>,
    /// The owners that have something waiting or running.
    owners: Map<SmolStr, Owner>,
    /// For each skill the agents with free capacity, freest first.
    free: Map<SmolStr, Set<(Reverse<u32>, Key)>>,
}

/// One attempt's place in the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) task: &'a Key,
    pub(crate) skill: &'a SmolStr,
    /// Attempts of a lower class go first, whoever owns them.
    pub(crate) class: u64,
    pub(crate) owner: &'a SmolStr,
    pub(crate) since: Timestamp,
}

/// An owner's standing in one line. The order of the fields is the order of service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Running jobs for each unit of weight, in thousandths.
    load: u64,
    served: u64,
    /// Its attempt that waits longest in this line.
    since: Timestamp,
    task: Key,
    owner: SmolStr,
}

/// A line: a skill and a class.
type Line = (SmolStr, u64);

/// What an owner has here.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Owner {
    pub(crate) running: u32,
    /// The number of the assignment that ended its last turn; 0 for never.
    pub(crate) served: u64,
    /// How many jobs it got in its present turn: as many as its weight are one turn.
    pub(crate) turn: u32,
    weight: u32,
    /// What waits, line by line, oldest first.
    waiting: Map<Line, Set<(Timestamp, Key)>>,
}

impl Owner {
    fn rank(&self, name: &SmolStr, line: &Line) -> Option<Rank> {
        let (since, task) = self.waiting.get(line)?.first()?;
        let load = u64::from(self.running) * 1_000 / u64::from(self.weight.max(1));
        Some(Rank { load, served: self.served, since: *since, task: task.clone(), owner: name.clone() })
    }
}

impl Order {
    pub(crate) fn insert(&mut self, place: Place<'_>) {
        let line = (place.skill.clone(), place.class);
        self.change_owner(place.owner, |owner| {
            let mut line_of_owner = owner.waiting.get(&line).cloned().unwrap_or_default();
            line_of_owner.insert_mut((place.since, place.task.clone()));
            owner.waiting.insert_mut(line, line_of_owner);
        });
    }
    pub(crate) fn remove(&mut self, place: Place<'_>) {
        let line = (place.skill.clone(), place.class);
        self.change_owner(place.owner, |owner| {
            let Some(mut line_of_owner) = owner.waiting.get(&line).cloned() else { return };
            line_of_owner.remove_mut(&(place.since, place.task.clone()));
            if line_of_owner.is_empty() {
                owner.waiting.remove_mut(&line);
            } else {
                owner.waiting.insert_mut(line, line_of_owner);
            }
        });
    }
    /// An owner got a job; `number` counts the assignments of the lane.
    pub(crate) fn serve(&mut self, name: &SmolStr, number: u64) {
        self.change_owner(name, |owner| {
            owner.running += 1;
            owner.turn += 1;
            if owner.turn >= owner.weight.max(1) {
                (owner.turn, owner.served) = (0, number);
            }
        });
    }
    /// A job of an owner ended.
    pub(crate) fn relieve(&mut self, name: &SmolStr) {
        self.change_owner(name, |owner| owner.running = owner.running.saturating_sub(1));
    }
    /// An owner gets so many jobs when others get one.
    pub(crate) fn weigh(&mut self, name: &SmolStr, weight: u32) {
        if self.owners.get(name).is_some_and(|owner| owner.weight != weight) {
            self.change_owner(name, |owner| owner.weight = weight);
        }
    }
    /// The owners that have something here.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (&SmolStr, &Owner)> {
        self.owners.iter()
    }
    /// Restores what a snapshot says of an owner.
    pub(crate) fn restore_owner(&mut self, name: &SmolStr, running: u32, (served, turn): (u64, u32)) {
        self.change_owner(name, |owner| (owner.running, owner.served, owner.turn) = (running, served, turn));
    }

    /// An agent's free capacity for its skills changed.
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

    /// Whether anything stands in it.
    pub(crate) fn waits(&self) -> bool {
        !self.lines.is_empty()
    }
    /// Whether anything stands in it that needs a skill.
    pub(crate) fn waits_for(&self, skill: &SmolStr) -> bool {
        self.lines.contains_key(skill)
    }
    /// The skills that somebody waits for, and for each the class of the next attempt and since when it
    /// waits.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (&SmolStr, (u64, Timestamp))> {
        self.lines.iter().filter_map(|(skill, classes)| {
            let (class, ranks) = classes.first()?;
            Some((skill, (*class, ranks.first()?.since)))
        })
    }
    /// Who is next among those that need one of these skills.
    pub(crate) fn next(&self, skills: &[SmolStr]) -> Option<Key> {
        let firsts = skills.iter().filter_map(|skill| {
            let (class, ranks) = self.lines.get(skill)?.first()?;
            Some((*class, ranks.first()?))
        });
        firsts.min().map(|(_, rank)| rank.task.clone())
    }

    /// Who is next, and with whom: none when nobody waits that somebody is free for.
    pub(crate) fn pick(&self) -> Option<(Key, Key)> {
        let best = self.free.iter().filter_map(|(skill, agents)| {
            let (class, ranks) = self.lines.get(skill)?.first()?;
            Some(((*class, ranks.first()?), agents))
        });
        let ((_, rank), agents) = best.min_by_key(|(place, _)| *place)?;
        let (_, agent) = agents.first()?;
        Some((rank.task.clone(), agent.clone()))
    }

    /// How many of the same skill are served before this one, as things stand.
    pub(crate) fn ahead(&self, place: Place<'_>) -> u64 {
        let line = (place.skill.clone(), place.class);
        let own = self.owners.get(place.owner).and_then(|owner| owner.rank(place.owner, &line));
        let lines = self.lines.get(place.skill).into_iter().flat_map(|lines| lines.range(..=place.class));
        let mut ahead = 0;
        for (class, ranks) in lines {
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

    /// Changes an owner, and its standing in every line where it waits. An owner without anything
    /// is forgotten: it comes back as one that was never served.
    fn change_owner(&mut self, name: &SmolStr, change: impl FnOnce(&mut Owner)) {
        let mut owner =
            self.owners.get(name).cloned().unwrap_or_else(|| Owner { weight: 1, ..Owner::default() });
        for line in owner.waiting.keys() {
            if let Some(rank) = owner.rank(name, line) {
                self.change_line(line, |ranks| {
                    ranks.remove_mut(&rank);
                });
            }
        }
        change(&mut owner);
        for line in owner.waiting.keys() {
            if let Some(rank) = owner.rank(name, line) {
                self.change_line(line, |ranks| ranks.insert_mut(rank));
            }
        }
        if owner.running > 0 || !owner.waiting.is_empty() {
            self.owners.insert_mut(name.clone(), owner);
        } else {
            self.owners.remove_mut(name);
        }
    }

    fn change_line(&mut self, (skill, class): &Line, change: impl FnOnce(&mut Set<Rank>)) {
        let mut classes = self.lines.get(skill).cloned().unwrap_or_default();
        let mut ranks = classes.get(class).cloned().unwrap_or_default();
        change(&mut ranks);
        if ranks.is_empty() {
            classes.remove_mut(class);
        } else {
            classes.insert_mut(*class, ranks);
        }
        if classes.is_empty() {
            self.lines.remove_mut(skill);
        } else {
            self.lines.insert_mut(skill.clone(), classes);
        }
    }
}

/// The class of an attempt. Without ageing it is the priority. With it, an attempt that waits is one class
/// better for each span: the order of two attempts never changes while they wait, so it is computed once.
pub(crate) fn class(limits: &Limits, priority: u8, since: Timestamp) -> u64 {
    let behind = PRIORITY_MAX.saturating_sub(u64::from(priority));
    match limits.ageing_ms {
        None => behind,
        Some(span) => (since.0 / span.max(AGEING_MS_MIN)).saturating_add(behind),
    }
}

/// The highest priority.
const PRIORITY_MAX: u64 = 9;
/// Faster ageing would make the priority mean nothing.
pub(crate) const AGEING_MS_MIN: u64 = 1_000;
