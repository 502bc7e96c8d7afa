//! The order of a lane: indexes over what waits and who is free, so that a pick costs the
//! logarithm of the queue. Rebuilt from the state's maps when a snapshot is read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::{Key, Timestamp};
use smol_str::SmolStr;

/// Who waits for which skill, and which agents are free for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Queue {
    /// For each skill and priority (highest first) the owners that wait, best first.
    lines: BTreeMap<SmolStr, BTreeMap<Reverse<u8>, BTreeSet<Rank>>>,
    /// The owners that have something waiting or running.
    owners: BTreeMap<SmolStr, Owner>,
    /// For each skill the agents with free capacity, freest first.
    free: BTreeMap<SmolStr, BTreeSet<(Reverse<u32>, Key)>>,
}

/// An owner's standing in one line. The order of the fields is the order of service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    running: u32,
    served: u64,
    /// Its attempt that waits longest in this line.
    since: Timestamp,
    task: Key,
    owner: SmolStr,
}

/// A line: a skill and a priority.
type Line = (SmolStr, Reverse<u8>);

#[derive(Debug, Clone, Default, PartialEq)]
struct Owner {
    running: u32,
    /// The number of the assignment that served it last; 0 for never.
    served: u64,
    /// What waits, line by line, oldest first.
    waiting: BTreeMap<Line, BTreeSet<(Timestamp, Key)>>,
}

/// A job that is about to end: a pick counts its owner and its agent as relieved of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving<'a> {
    pub(super) owner: &'a SmolStr,
    pub(super) agent: &'a Key,
    /// The agent's skills and free capacity without the job.
    pub(super) skills: &'a BTreeSet<SmolStr>,
    pub(super) free: u32,
}

impl Owner {
    fn rank(&self, name: &SmolStr, line: &Line, running: u32) -> Option<Rank> {
        let (since, task) = self.waiting.get(line)?.first()?;
        Some(Rank { running, served: self.served, since: *since, task: task.clone(), owner: name.clone() })
    }
}

impl Queue {
    pub(super) fn insert(
        &mut self,
        task: &Key,
        skill: &SmolStr,
        priority: u8,
        owner: &SmolStr,
        since: Timestamp,
    ) {
        self.change_owner(owner, |known| {
            let line = (skill.clone(), Reverse(priority));
            known.waiting.entry(line).or_default().insert((since, task.clone()));
        });
    }
    pub(super) fn remove(
        &mut self,
        task: &Key,
        skill: &SmolStr,
        priority: u8,
        owner: &SmolStr,
        since: Timestamp,
    ) {
        self.change_owner(owner, |known| {
            let line = (skill.clone(), Reverse(priority));
            if let Some(waiting) = known.waiting.get_mut(&line) {
                waiting.remove(&(since, task.clone()));
                if waiting.is_empty() {
                    known.waiting.remove(&line);
                }
            }
        });
    }
    /// An owner got a job; `number` counts the assignments of the lane.
    pub(super) fn serve(&mut self, owner: &SmolStr, number: u64) {
        self.change_owner(owner, |known| {
            known.running += 1;
            known.served = number;
        });
    }
    /// A job of an owner ended.
    pub(super) fn relieve(&mut self, owner: &SmolStr) {
        self.change_owner(owner, |known| known.running = known.running.saturating_sub(1));
    }
    /// When each owner was served, for a snapshot.
    pub(super) fn served(&self) -> impl Iterator<Item = (&SmolStr, u64)> {
        self.owners.iter().map(|(owner, known)| (owner, known.served))
    }
    /// Restores what a snapshot says of an owner.
    pub(super) fn restore_owner(&mut self, owner: &SmolStr, running: u32, served: u64) {
        self.change_owner(owner, |known| (known.running, known.served) = (running, served));
    }

    /// An agent's free capacity for its skills changed.
    pub(super) fn set_free<'a>(
        &mut self,
        agent: &Key,
        skills: impl IntoIterator<Item = &'a SmolStr>,
        before: u32,
        after: u32,
    ) {
        for skill in skills {
            let agents = self.free.entry(skill.clone()).or_default();
            agents.remove(&(Reverse(before), agent.clone()));
            if after > 0 {
                agents.insert((Reverse(after), agent.clone()));
            }
            if agents.is_empty() {
                self.free.remove(skill);
            }
        }
    }
    /// The agent that is freest for a skill.
    pub(super) fn freest(&self, skill: &SmolStr) -> Option<&Key> {
        self.free.get(skill)?.first().map(|(_, agent)| agent)
    }

    /// Who is next, and with whom: none when nobody waits that somebody is free for.
    pub(super) fn pick(&self, leaving: Option<Leaving<'_>>) -> Option<(Key, Key)> {
        let relieved = leaving.filter(|leaving| leaving.free > 0);
        let skills = self.free.keys().chain(relieved.into_iter().flat_map(|leaving| leaving.skills));
        let best = skills.filter_map(|skill| {
            let (priority, rank) = self.first_in(skill, leaving)?;
            Some(((priority, rank), skill))
        });
        let ((_, rank), skill) = best.min()?;
        let mut agents: BTreeSet<_> = self
            .free
            .get(skill)
            .into_iter()
            .flat_map(|agents| agents.iter().take(2))
            .filter(|(_, agent)| relieved.is_none_or(|leaving| leaving.agent != agent))
            .map(|(free, agent)| (*free, agent))
            .collect();
        agents.extend(
            relieved
                .filter(|leaving| leaving.skills.contains(skill))
                .map(|leaving| (Reverse(leaving.free), leaving.agent)),
        );
        agents.first().map(|(_, agent)| (rank.task, (*agent).clone()))
    }

    /// The best of those that wait for a skill.
    fn first_in(&self, skill: &SmolStr, leaving: Option<Leaving<'_>>) -> Option<(Reverse<u8>, Rank)> {
        let (priority, ranks) = self.lines.get(skill)?.first_key_value()?;
        let Some(leaving) = leaving else { return Some((*priority, ranks.first()?.clone())) };
        let other = ranks.iter().find(|rank| rank.owner != *leaving.owner).cloned();
        let relieved = self.owners.get(leaving.owner).and_then(|known| {
            known.rank(leaving.owner, &(skill.clone(), *priority), known.running.saturating_sub(1))
        });
        other.into_iter().chain(relieved).min().map(|rank| (*priority, rank))
    }

    /// Changes an owner, and its standing in every line where it waits. An owner without anything
    /// is forgotten: it comes back as one that was never served.
    fn change_owner(&mut self, name: &SmolStr, change: impl FnOnce(&mut Owner)) {
        let mut owner = self.owners.remove(name).unwrap_or_default();
        for line in owner.waiting.keys() {
            if let Some(rank) = owner.rank(name, line, owner.running) {
                self.leave_line(line, &rank);
            }
        }
        change(&mut owner);
        for line in owner.waiting.keys() {
            if let Some(rank) = owner.rank(name, line, owner.running) {
                self.lines.entry(line.0.clone()).or_default().entry(line.1).or_default().insert(rank);
            }
        }
        if owner.running > 0 || !owner.waiting.is_empty() {
            self.owners.insert(name.clone(), owner);
        }
    }

    fn leave_line(&mut self, (skill, priority): &Line, rank: &Rank) {
        let Some(priorities) = self.lines.get_mut(skill) else { return };
        if let Some(ranks) = priorities.get_mut(priority) {
            ranks.remove(rank);
            if ranks.is_empty() {
                priorities.remove(priority);
            }
        }
        if priorities.is_empty() {
            self.lines.remove(skill);
        }
    }
}
