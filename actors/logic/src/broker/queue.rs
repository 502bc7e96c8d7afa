//! The order of a lane: indexes over what waits and who is free, so that a pick costs the
//! logarithm of the queue. Rebuilt from the state's maps when a snapshot is read.
//!
//! The maps share their structure with their copies (`rpds`): a decision works on a copy of the
//! lane, which costs nothing, however long the queue is.

use std::cmp::Reverse;

use bus_schemas::{Key, Timestamp};
use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};
use smol_str::SmolStr;

/// Who waits for which skill, and which agents are free for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Queue {
    /// For each skill and class (lowest first) the owners that wait, best first.
    lines: Map<SmolStr, Map<u64, Set<Rank>>>,
    /// The owners that have something waiting or running.
    owners: Map<SmolStr, Owner>,
    /// For each skill the agents with free capacity, freest first.
    free: Map<SmolStr, Set<(Reverse<u32>, Key)>>,
}

/// One attempt's place in the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) task: &'a Key,
    pub(super) skill: &'a SmolStr,
    /// Attempts of a lower class go first, whoever owns them.
    pub(super) class: u64,
    pub(super) owner: &'a SmolStr,
    pub(super) since: Timestamp,
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
pub(super) struct Owner {
    pub(super) running: u32,
    /// The number of the assignment that ended its last turn; 0 for never.
    pub(super) served: u64,
    /// How many jobs it got in its present turn: as many as its weight are one turn.
    pub(super) turn: u32,
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

impl Queue {
    pub(super) fn insert(&mut self, place: Place<'_>) {
        let line = (place.skill.clone(), place.class);
        self.change_owner(place.owner, |owner| {
            let mut line_of_owner = owner.waiting.get(&line).cloned().unwrap_or_default();
            line_of_owner.insert_mut((place.since, place.task.clone()));
            owner.waiting.insert_mut(line, line_of_owner);
        });
    }
    pub(super) fn remove(&mut self, place: Place<'_>) {
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
    pub(super) fn serve(&mut self, name: &SmolStr, number: u64) {
        self.change_owner(name, |owner| {
            owner.running += 1;
            owner.turn += 1;
            if owner.turn >= owner.weight.max(1) {
                (owner.turn, owner.served) = (0, number);
            }
        });
    }
    /// A job of an owner ended.
    pub(super) fn relieve(&mut self, name: &SmolStr) {
        self.change_owner(name, |owner| owner.running = owner.running.saturating_sub(1));
    }
    /// An owner gets so many jobs when others get one.
    pub(super) fn weigh(&mut self, name: &SmolStr, weight: u32) {
        if self.owners.get(name).is_some_and(|owner| owner.weight != weight) {
            self.change_owner(name, |owner| owner.weight = weight);
        }
    }
    /// The owners that have something here.
    pub(super) fn owners(&self) -> impl Iterator<Item = (&SmolStr, &Owner)> {
        self.owners.iter()
    }
    /// Restores what a snapshot says of an owner.
    pub(super) fn restore_owner(&mut self, name: &SmolStr, running: u32, (served, turn): (u64, u32)) {
        self.change_owner(name, |owner| (owner.running, owner.served, owner.turn) = (running, served, turn));
    }

    /// An agent's free capacity for its skills changed.
    pub(super) fn set_free<'a>(
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
    pub(super) fn waits(&self) -> bool {
        !self.lines.is_empty()
    }
    /// Whether anything stands in it that needs a skill.
    pub(super) fn waits_for(&self, skill: &SmolStr) -> bool {
        self.lines.contains_key(skill)
    }
    /// Who is next, and with whom: none when nobody waits that somebody is free for.
    pub(super) fn pick(&self) -> Option<(Key, Key)> {
        let best = self.free.iter().filter_map(|(skill, agents)| {
            let (class, ranks) = self.lines.get(skill)?.first()?;
            Some(((*class, ranks.first()?), agents))
        });
        let ((_, rank), agents) = best.min_by_key(|(place, _)| *place)?;
        let (_, agent) = agents.first()?;
        Some((rank.task.clone(), agent.clone()))
    }

    /// How many of the same skill are served before this one, as things stand.
    pub(super) fn ahead(&self, place: Place<'_>) -> u64 {
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
