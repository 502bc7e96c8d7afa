//! The free places of workers: one pool for all partitions of a host.
//!
//! A claim is in the pool of one host at a time. A partition that has work takes it whole, fills its
//! places in one group, and answers it after the commit. Only memory: a claim that is lost with its host
//! is made again by its worker.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use actors_core::Opening;
use bus_client::{HaltWatch, ReplyTo};
use bus_schemas::claims::{Answer, Claim, WAIT_MS};
use bus_schemas::envelope::code;
use bus_schemas::halts::Halts;
use bus_schemas::jobs::INLINE_BYTES_MAX;
use bus_schemas::record::Job;
use bus_schemas::{CommandId, EntityAddress, Hash, Key, PartitionId, Refusal, TraceContext};
use bytes::Bytes;
use smol_str::SmolStr;
use tokio::sync::Notify;

/// Claims that wait in one host: with more the host tells workers that it is busy.
pub const OFFERS_MAX: usize = 10_000;
/// Workers of which the host knows when it heard of them last.
const WORKERS_MAX: usize = 100_000;
/// How long it is remembered to whom jobs were sent, in milliseconds: the server says within a round trip
/// that nobody is there.
const SENT_MS: u64 = 5_000;

/// A claim that waits for a job.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Its id.
    pub id: CommandId,
    /// The agent.
    pub agent: Key,
    /// What the worker claims.
    pub claim: Claim,
    /// Drawn at random, for the tokens of its jobs.
    pub secret: SmolStr,
    /// Where the answer goes.
    pub reply_to: ReplyTo,
    /// Since when it waits, on the clock that never goes back, in milliseconds.
    pub since: u64,
}

/// What became of a claim that arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    /// It waits.
    Waits,
    /// It cannot be taken in.
    Refused(Refusal),
}

/// The pool. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    inner: Arc<Mutex<Inner>>,
    /// What stands still: its claims wait.
    halts: Option<HaltWatch>,
    /// Where the server says that nobody heard an answer.
    undelivered_to: Arc<str>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { inner: Arc::default(), halts: None, undelivered_to: "".into() }
    }
}

#[derive(Default)]
struct Inner {
    /// Numbers claims in the order of their arrival.
    next: u64,
    offers: BTreeMap<u64, Offer>,
    numbers: HashMap<CommandId, u64>,
    /// The claims that fit a lane and a skill.
    fitting: HashMap<(Key, SmolStr), BTreeSet<u64>>,
    partitions: BTreeMap<PartitionId, Stall>,
    workers: HashMap<(Key, SmolStr), Heard>,
    /// The workers that renewed a lease, by name: a renewal names no agent.
    renewed: HashMap<SmolStr, u64>,
    sent: HashMap<CommandId, Sent>,
}

/// What one partition of this host has to do with the pool.
#[derive(Default)]
struct Stall {
    /// The work that it has no place for.
    openings: Vec<Opening>,
    /// Since when, for each of them.
    since: HashMap<(Key, SmolStr, Option<Key>), u64>,
    /// Entities whose jobs reached nobody.
    returned: Vec<EntityAddress>,
    /// Whether it left a claim to another partition, whose work comes first.
    defers: bool,
    wake: Arc<Notify>,
}

/// When a worker was heard of.
#[derive(Debug, Clone, Copy)]
struct Heard {
    incarnation: u64,
    at: u64,
}

/// Jobs on their way to a worker.
struct Sent {
    partition: PartitionId,
    agent: Key,
    worker: SmolStr,
    entities: Vec<EntityAddress>,
    at: u64,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("offers", &self.lock().offers.len()).finish_non_exhaustive()
    }
}

fn fits(offer: &Offer, opening: &Opening) -> bool {
    opening.agent.as_ref().is_none_or(|agent| *agent == offer.agent)
        && offer.claim.lanes.contains(&opening.lane)
        && offer.claim.skills.contains(&opening.skill)
}

impl Desk {
    /// A pool in which claims wait that a halt covers. `undelivered_to` is where the server says that nobody
    /// heard an answer.
    pub fn under(halts: HaltWatch, undelivered_to: &str) -> Self {
        Self { inner: Arc::default(), halts: Some(halts), undelivered_to: undelivered_to.into() }
    }

    /// Where the server says that nobody heard an answer.
    pub fn undelivered_to(&self) -> String {
        self.undelivered_to.to_string()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_halted(&self, offer: &Offer, lane: &Key) -> bool {
        let covers = |halts: &Halts| !halts.is_empty() && halts.covers(lane, &offer.agent);
        self.halts.as_ref().is_some_and(|watch| watch.read(covers))
    }

    /// Takes a claim in, and wakes the partition whose work is next.
    pub fn arrive(&self, offer: Offer) -> Arrived {
        let mut inner = self.lock();
        if let Some(refusal) = inner.replaced(&offer) {
            return Arrived::Refused(refusal);
        }
        if let Some(number) = inner.numbers.get(&offer.id).copied() {
            let known = inner.offers.get_mut(&number).expect("numbered claims are there");
            if !known.claim.is_same(&offer.claim) || known.agent != offer.agent {
                let refusal = Refusal::new("command-id-reused", "this claim's id was used with another body");
                return Arrived::Refused(refusal.hint("use a fresh id for a new claim"));
            }
            known.reply_to = offer.reply_to;
            return Arrived::Waits;
        }
        if inner.offers.len() >= OFFERS_MAX {
            let refusal = Refusal::new("busy", format!("{OFFERS_MAX} claims wait on this host"));
            return Arrived::Refused(Refusal { retry_after_ms: Some(WAIT_MS), ..refusal });
        }
        inner.insert(offer);
        Arrived::Waits
    }

    /// Puts a claim back that was not used.
    pub fn put_back(&self, offer: Offer) {
        self.lock().insert(offer);
    }

    /// Says what work a partition has that it has no place for.
    pub fn set_openings(&self, partition: PartitionId, openings: Vec<Opening>, now: u64) {
        let mut inner = self.lock();
        let stall = inner.partitions.entry(partition).or_default();
        let name = |opening: &Opening| (opening.lane.clone(), opening.skill.clone(), opening.agent.clone());
        stall.since.retain(|known, _| openings.iter().any(|opening| name(opening) == *known));
        for opening in &openings {
            stall.since.entry(name(opening)).or_insert(now);
        }
        stall.openings = openings;
        inner.wake_deferring(partition);
    }

    /// The claim for a partition's opening: the one that waits longest. None where none fits, or where
    /// another partition of this host comes first; that one is woken.
    pub fn take(&self, partition: PartitionId, opening: &Opening) -> Option<Offer> {
        let mut inner = self.lock();
        let fitting = inner.fitting.get(&(opening.lane.clone(), opening.skill.clone()))?;
        let fit = |number: &&u64| {
            let offer = inner.offers.get(number);
            offer.is_some_and(|offer| fits(offer, opening) && !self.is_halted(offer, &opening.lane))
        };
        let number = *fitting.iter().find(fit)?;
        let offer = inner.offers.get(&number)?;
        let others = inner.partitions.iter().filter(|(other, _)| **other != partition);
        let first = others.filter(|(_, stall)| {
            stall.openings.iter().any(|other| other.rank < opening.rank && fits(offer, other))
        });
        if let Some((_, stall)) = first.min_by_key(|(_, stall)| stall.first(offer)) {
            stall.wake.notify_one();
            inner.partitions.entry(partition).or_default().defers = true;
            return None;
        }
        inner.remove(number)
    }

    /// What wakes a partition: claims that fit its work, and jobs that reached nobody.
    pub fn wake(&self, partition: PartitionId) -> Arc<Notify> {
        Arc::clone(&self.lock().partitions.entry(partition).or_default().wake)
    }

    /// The partition has left this host.
    pub fn leave(&self, partition: PartitionId) {
        let mut inner = self.lock();
        inner.partitions.remove(&partition);
        inner.wake_deferring(partition);
    }

    /// Claims that have waited for as long as claims wait.
    pub fn expired(&self, now: u64) -> Vec<Offer> {
        let mut inner = self.lock();
        inner.sent.retain(|_, sent| now < sent.at + SENT_MS);
        let late = inner.offers.iter().filter(|(_, offer)| now >= offer.since + WAIT_MS);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        late.into_iter().filter_map(|number| inner.remove(number)).collect()
    }

    /// All claims, when the host leaves.
    pub fn drain(&self) -> Vec<Offer> {
        let mut inner = self.lock();
        let all: Vec<u64> = inner.offers.keys().copied().collect();
        all.into_iter().filter_map(|number| inner.remove(number)).collect()
    }

    /// The work for which no claim of this host fits since `before`.
    pub fn unmet(&self, before: u64) -> Vec<Opening> {
        let inner = self.lock();
        let mut unmet: Vec<Opening> = Vec::new();
        for stall in inner.partitions.values() {
            for opening in &stall.openings {
                let name = (opening.lane.clone(), opening.skill.clone(), opening.agent.clone());
                let waits = stall.since.get(&name).is_some_and(|since| *since <= before);
                let met = inner.offers.values().any(|offer| fits(offer, opening));
                if waits && !met {
                    unmet.push(opening.clone());
                }
            }
        }
        unmet
    }

    /// A claim for another host's work, that no partition of this host has work for.
    pub fn pass_on(&self, opening: &Opening) -> Option<Offer> {
        let mut inner = self.lock();
        let fitting = inner.fitting.get(&(opening.lane.clone(), opening.skill.clone()))?;
        let idle = |offer: &Offer| {
            let stalls = inner.partitions.values();
            !stalls.flat_map(|stall| &stall.openings).any(|own| fits(offer, own) && own.rank <= opening.rank)
        };
        let fit =
            |number: &&u64| inner.offers.get(number).is_some_and(|offer| fits(offer, opening) && idle(offer));
        let number = *fitting.iter().find(fit)?;
        inner.remove(number)
    }

    /// Notes to whom jobs are sent, and from which entities.
    pub fn note_sent(&self, partition: PartitionId, offer: &Offer, entities: Vec<EntityAddress>, at: u64) {
        let (agent, worker) = (offer.agent.clone(), offer.claim.worker.clone());
        self.lock().sent.insert(offer.id, Sent { partition, agent, worker, entities, at });
    }

    /// Nobody was there to take the answer of a claim: its jobs go back, and the worker's other claims are
    /// dropped.
    pub fn undelivered(&self, claim: CommandId) {
        let mut inner = self.lock();
        let Some(sent) = inner.sent.remove(&claim) else { return };
        inner.drop_claims(&sent.agent, &sent.worker, u64::MAX);
        if let Some(stall) = inner.partitions.get_mut(&sent.partition) {
            stall.returned.extend(sent.entities);
            stall.wake.notify_one();
        }
    }

    /// Entities of a partition whose jobs reached nobody.
    pub fn returned(&self, partition: PartitionId) -> Vec<EntityAddress> {
        let mut inner = self.lock();
        inner
            .partitions
            .get_mut(&partition)
            .map(|stall| std::mem::take(&mut stall.returned))
            .unwrap_or_default()
    }

    /// A worker was heard of elsewhere, or is known to be registered.
    pub fn hear(&self, agent: &Key, worker: &str, now: u64) {
        let mut inner = self.lock();
        let name = (agent.clone(), SmolStr::new(worker));
        if inner.workers.len() < WORKERS_MAX || inner.workers.contains_key(&name) {
            inner.workers.entry(name).or_insert(Heard { incarnation: 0, at: now }).at = now;
        }
    }

    /// A worker renewed a lease.
    pub fn hear_renewal(&self, worker: &SmolStr, now: u64) {
        let mut inner = self.lock();
        if inner.renewed.len() < WORKERS_MAX || inner.renewed.contains_key(worker) {
            inner.renewed.insert(worker.clone(), now);
        }
    }

    /// The workers that were heard of here, and when.
    pub fn heard(&self) -> Vec<(Key, SmolStr, u64)> {
        let inner = self.lock();
        let renewed = |worker: &SmolStr| inner.renewed.get(worker).copied().unwrap_or_default();
        let workers = inner.workers.iter();
        workers
            .map(|((agent, worker), heard)| (agent.clone(), worker.clone(), heard.at.max(renewed(worker))))
            .collect()
    }

    /// A worker is lost: nothing is expected of it.
    pub fn forget(&self, agent: &Key, worker: &SmolStr) {
        let mut inner = self.lock();
        inner.workers.remove(&(agent.clone(), worker.clone()));
        inner.renewed.remove(worker);
    }
}

/// A job for a claim.
#[derive(Debug, Clone)]
pub struct IssuedJob {
    /// Who issued it.
    pub entity: EntityAddress,
    /// The job.
    pub job: Job,
    /// The span of the decision that issued it.
    pub trace: Option<TraceContext>,
}

/// The messages that answer a claim: as many as the jobs need, at most `bytes_max` each where one job
/// does not take more. Large jobs lie in the blob store already. Without jobs the worker is told to claim again.
pub fn answers(claim: CommandId, jobs: &[IssuedJob], bytes_max: usize) -> Vec<Bytes> {
    if jobs.is_empty() {
        let answer = Answer::ComeAgain { claim };
        return vec![serde_json::to_vec(&answer).expect("an answer is plain data").into()];
    }
    let (mut messages, mut bytes) = (vec![Vec::new()], 0);
    for IssuedJob { job, trace, .. } in jobs {
        let content = match job.body.len() > INLINE_BYTES_MAX {
            true => format!("\"blob\":\"{}\"", Hash::of(&job.body).to_hex()),
            false => format!("\"job\":{}", String::from_utf8_lossy(&job.body)),
        };
        let trace = trace.map(|trace| format!(",\"traceparent\":\"{}\"", trace.to_traceparent()));
        let text = format!("{{{content}{}}}", trace.unwrap_or_default());
        if bytes > 0 && bytes + text.len() > bytes_max {
            messages.push(Vec::new());
            bytes = 0;
        }
        bytes += text.len();
        messages.last_mut().expect("there is one at least").push(text);
    }
    let last = messages.len() - 1;
    let written = messages.into_iter().enumerate().map(|(index, jobs)| {
        let (jobs, more) = (jobs.join(","), index < last);
        // The jobs are JSON already.
        format!("{{\"status\":\"issued\",\"claim\":\"{claim}\",\"jobs\":[{jobs}],\"more\":{more}}}").into()
    });
    written.collect()
}

impl Stall {
    fn first(&self, offer: &Offer) -> Option<(u64, bus_schemas::Timestamp)> {
        self.openings.iter().filter(|opening| fits(offer, opening)).map(|opening| opening.rank).min()
    }
}

impl Inner {
    fn insert(&mut self, offer: Offer) {
        self.next += 1;
        let number = self.next;
        for lane in &offer.claim.lanes {
            for skill in &offer.claim.skills {
                self.fitting.entry((lane.clone(), skill.clone())).or_default().insert(number);
            }
        }
        let ranks = self.partitions.iter().filter_map(|(id, stall)| Some((stall.first(&offer)?, *id)));
        if let Some((_, first)) = ranks.min() {
            for (id, stall) in &mut self.partitions {
                match *id == first {
                    true => stall.wake.notify_one(),
                    false => stall.defers |= stall.first(&offer).is_some(),
                }
            }
        }
        self.numbers.insert(offer.id, number);
        self.offers.insert(number, offer);
    }

    /// Wakes the partitions that left a claim to another one: its work has changed, and it may not have
    /// used it.
    fn wake_deferring(&mut self, changed: PartitionId) {
        for (_, stall) in self.partitions.iter_mut().filter(|(partition, _)| **partition != changed) {
            if std::mem::take(&mut stall.defers) {
                stall.wake.notify_one();
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<Offer> {
        let offer = self.offers.remove(&number)?;
        self.numbers.remove(&offer.id);
        for lane in &offer.claim.lanes {
            for skill in &offer.claim.skills {
                let name = (lane.clone(), skill.clone());
                if let Some(numbers) = self.fitting.get_mut(&name) {
                    numbers.remove(&number);
                    if numbers.is_empty() {
                        self.fitting.remove(&name);
                    }
                }
            }
        }
        Some(offer)
    }

    /// Notes the worker's life; a claim of a former one is refused, and with the first of a new one those
    /// of the former are dropped.
    fn replaced(&mut self, offer: &Offer) -> Option<Refusal> {
        let (agent, worker, life) = (&offer.agent, &offer.claim.worker, offer.claim.incarnation);
        let name = (agent.clone(), worker.clone());
        let known = self.workers.get(&name).copied();
        if known.is_some_and(|known| known.incarnation > life) {
            let message = format!("worker `{worker}` of agent `{agent}` has a newer incarnation");
            return Some(
                Refusal::new(code::WORKER_REPLACED, message).hint("end, or claim under another name"),
            );
        }
        if known.is_none_or(|known| known.incarnation < life) {
            self.drop_claims(agent, worker, life);
        }
        if known.is_some() || self.workers.len() < WORKERS_MAX {
            self.workers.insert(name, Heard { incarnation: life, at: offer.since });
        }
        None
    }

    fn drop_claims(&mut self, agent: &Key, worker: &str, before: u64) {
        let old = self.offers.iter().filter(|(_, offer)| {
            offer.agent == *agent && offer.claim.worker == worker && offer.claim.incarnation < before
        });
        let old: Vec<u64> = old.map(|(number, _)| *number).collect();
        for number in old {
            self.remove(number);
        }
    }
}
