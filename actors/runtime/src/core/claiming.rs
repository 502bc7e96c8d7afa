//! Claims and leases: a claim is used in the same group as the decision that opened the work, and an entity
//! is told when nobody renews its lease.

use std::collections::{HashMap, VecDeque};

use actors_core::{Opening, Taking};
use bus_schemas::record::{self, Job, Source, Turn};
use bus_schemas::{CommandId, EntityAddress};
use smol_str::SmolStr;

use super::{Core, Moment};
use crate::claims::{IssuedJob, Offer};
use crate::inbox::Item;
use crate::journal::Issue;

/// Lapsed leases taken in one pass; the rest follows in the next group.
const LAPSES_TAKEN_MAX: usize = 512;
/// Claims whose jobs are kept for a repeat: workers repeat a claim within seconds.
const ANSWERED_MAX: usize = 1_024;

/// A claim in use, with its jobs so far.
#[derive(Debug)]
pub(super) struct Used {
    offer: Offer,
    /// Decisions of this claim that are still outstanding.
    left: usize,
    jobs: Vec<IssuedJob>,
}

/// The jobs of claims that were answered recently.
#[derive(Debug, Default)]
pub(super) struct Answered {
    jobs: HashMap<CommandId, Vec<IssuedJob>>,
    order: VecDeque<CommandId>,
}

impl Answered {
    /// Keeps the jobs of a committed turn.
    pub(super) fn note(&mut self, turn: &Turn) {
        for job in &turn.jobs {
            self.add(job.claim, issued(turn, job));
        }
    }
    fn add(&mut self, claim: CommandId, job: IssuedJob) {
        let jobs = self.jobs.entry(claim).or_default();
        if jobs.is_empty() {
            self.order.push_back(claim);
        }
        jobs.push(job);
        while self.order.len() > ANSWERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.jobs.remove(&oldest);
            }
        }
    }
}

fn issued(turn: &Turn, job: &Job) -> IssuedJob {
    IssuedJob { entity: turn.entity.clone(), job: job.clone(), trace: turn.command.trace }
}

impl Core {
    /// Updates leases, openings and used claims after a turn.
    pub(super) fn follow(&mut self, turn: &mut Turn, Moment { steady, .. }: Moment) {
        self.renewals.apply(&turn.entity, &turn.leases, steady);
        if !turn.events.is_empty() {
            self.ask_again(&turn.entity);
            turn.is_open = self.look_for_openings(&turn.entity);
        }
        if let Some(cause) = turn.command.cause {
            self.note_issued(cause, turn);
        }
    }

    /// Updates the openings of a live entity; `true` if it has any.
    pub(super) fn look_for_openings(&mut self, entity: &EntityAddress) -> bool {
        let openings = self.cache.look(entity).map(|live| live.openings(entity)).unwrap_or_default();
        let has_some = !openings.is_empty();
        self.openings_changed |= has_some || self.openings.contains_key(entity);
        if has_some {
            self.looks_for_places = true;
            self.openings.insert(entity.clone(), openings);
        } else {
            self.openings.remove(entity);
        }
        has_some
    }

    /// Counts a decision that a used claim caused, and keeps its jobs.
    fn note_issued(&mut self, claim: CommandId, turn: &Turn) {
        let Some(used) = self.used.get_mut(&claim) else { return };
        let jobs = turn.jobs.iter().filter(|job| job.claim == claim);
        used.jobs.extend(jobs.map(|job| issued(turn, job)));
        used.left = used.left.saturating_sub(1);
        if used.left == 0 {
            self.answer_claim(claim);
        }
    }

    fn answer_claim(&mut self, claim: CommandId) {
        let Some(Used { offer, jobs, .. }) = self.used.remove(&claim) else { return };
        match jobs.is_empty() {
            // No job came of it: the claim may serve other work.
            true => self.settings.places.put_back(offer),
            false => self.group.issues.push(Issue { offer, jobs }),
        }
    }

    /// The next claim that fits open work here, as a command for the entity with the work.
    pub(super) fn take_place(&mut self) -> Option<(Item, Offer)> {
        if !self.looks_for_places {
            return None;
        }
        let mut all: Vec<(&EntityAddress, &Opening)> = self
            .openings
            .iter()
            .flat_map(|(entity, openings)| openings.iter().map(move |o| (entity, o)))
            .collect();
        all.sort_by_key(|(_, opening)| opening.rank);
        for (entity, opening) in all {
            if !self.cache.holds(entity) {
                continue;
            }
            let offer = loop {
                let Some(offer) = self.settings.places.take(self.settings.partition, entity, opening) else {
                    break None;
                };
                if self.has_forgotten(offer.id) {
                    self.issued.push(Issue { offer, jobs: Vec::new() });
                    continue;
                }
                let Some(jobs) = self.repeated(offer.id) else { break Some(offer) };
                // This partition used the claim already; its host did not know that when the claim came
                // again.
                self.issued.extend((!jobs.is_empty()).then_some(Issue { offer, jobs }));
            };
            let Some(offer) = offer else { continue };
            let taking = Taking { id: offer.id, agent: &offer.agent, claim: &offer.claim };
            let Some(body) = self.cache.look(entity).and_then(|live| live.take(&taking)) else {
                self.settings.places.put_back(offer);
                continue;
            };
            let id = offer.id;
            let command = record::Command {
                id,
                body,
                cause: None,
                correlation: id,
                trace: None,
                caller: None,
                settles: false,
            };
            return Some((Item::of(Source::Claim, Ok(entity.clone()), command), offer));
        }
        self.looks_for_places = false;
        None
    }

    /// Uses a claim. If the decision leads to nothing, no record is made and the claim waits on.
    pub(super) fn use_claim(&mut self, item: Item, offer: Offer, moment: Moment) {
        let Ok(entity) = item.to.clone() else { return };
        let turn = self.decide(item.to, item.source, item.command, moment.now);
        let left = turn.sends.len();
        if left == 0 || turn.events.is_empty() {
            // The entity is not asked again before its next event.
            self.openings.remove(&entity);
            self.openings_changed = true;
            self.settings.places.put_back(offer);
            return;
        }
        self.used.insert(offer.id, Used { offer, left, jobs: Vec::new() });
        if let Some(cached) = self.cache.get(&entity) {
            cached.group = self.group.number;
        }
        self.keep(turn, None, moment);
    }

    /// Notes the worker to which jobs are sent.
    pub fn note_sent(&self, offer: &Offer, entities: Vec<EntityAddress>, steady: u64) {
        self.settings.places.note_sent(self.settings.partition, offer, entities, steady);
    }

    /// Leaves the pool. Claims that are used and not answered are lost with this owner.
    pub fn leave(&mut self) {
        self.settings.places.leave(self.settings.partition);
    }

    /// Looks for fitting claims again, because one has arrived, and lapses leases of undelivered jobs.
    pub fn look_for_places(&mut self) {
        self.looks_for_places |= !self.openings.is_empty();
        for entity in self.settings.places.returned(self.settings.partition) {
            for name in self.renewals.not_begun(&entity) {
                self.lapse(&entity, &name, false);
            }
        }
    }

    /// Tells the pool the open work for which no claim fits.
    pub(super) fn tell_openings(&mut self, moment: Moment) {
        if std::mem::take(&mut self.openings_changed) {
            let openings = self.openings.values().flatten().cloned().collect();
            self.settings.places.set_openings(self.settings.partition, openings, moment.steady);
        }
    }

    /// The claims whose jobs are committed, to be answered now.
    pub fn take_issued(&mut self) -> Vec<Issue> {
        std::mem::take(&mut self.issued)
    }

    /// The jobs of a claim that was used here, for a worker that repeats it. `None` if it was not used, or
    /// too long ago; empty while its decisions are not committed, because the commit answers it.
    pub fn repeated(&self, claim: CommandId) -> Option<Vec<IssuedJob>> {
        let is_open = |issues: &[Issue]| issues.iter().any(|issue| issue.offer.id == claim);
        let in_flight = self.in_flight.as_ref().is_some_and(|in_flight| is_open(&in_flight.issues));
        // A predecessor may have used the claim while a turn of this owner issues the job.
        let turns = self.in_flight.iter().flat_map(|in_flight| &in_flight.record.turns);
        let mut jobs = turns.chain(&self.group.turns).flat_map(|turn| &turn.jobs);
        let is_decided = jobs.any(|job| job.claim == claim);
        if self.used.contains_key(&claim) || is_open(&self.group.issues) || in_flight || is_decided {
            return Some(Vec::new());
        }
        let jobs = self.answered.jobs.get(&claim)?;
        Some(jobs.clone())
    }

    /// Whether a claim was used here and its jobs are no longer known, as after a takeover. Jobs that did not
    /// arrive are issued anew, and the worker is told to claim again.
    pub fn has_forgotten(&self, claim: CommandId) -> bool {
        self.repeated(claim).is_none() && self.state.recent.knows(claim)
    }

    /// Queues a command for each entity with a lapsed lease.
    pub(super) fn fire_leases(&mut self, steady: u64) {
        for ((entity, name), was_renewed) in self.renewals.lapsed(steady, LAPSES_TAKEN_MAX) {
            self.lapse(&entity, &name, was_renewed);
        }
    }

    fn lapse(&mut self, entity: &EntityAddress, name: &SmolStr, was_renewed: bool) {
        let Some(lease) = self.state.leases.get(entity, name) else { return };
        let body = if was_renewed { lease.silent.clone() } else { lease.unrenewed.clone() };
        self.lapses += 1;
        let id = CommandId::from_text(&format!(
            "lease {entity} {name} {} {} {}",
            self.settings.partition, self.state.epoch, self.lapses
        ));
        self.queue.push(Item::from_lease(entity.clone(), name.clone(), body, id));
    }

    /// When the loop must look at leases and waiting queries again, on the monotonic clock.
    pub fn next_steady_due(&self) -> Option<u64> {
        self.renewals.next_due().into_iter().chain(self.parked.next_due()).min()
    }
}
