//! The claims of workers: one pool for all partitions of a host.
//!
//! A claim is in the pool of one host at a time. A partition with open work takes it whole, fills its places
//! in one group, and answers it after the commit. The pool is memory only: a worker repeats a claim that was
//! lost with its host.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actors_core::Gates;
pub use actors_core::Opening;
use bus_client::ReplyTo;
use bus_schemas::claims::{Answer, Claim, WAIT_MS};
use bus_schemas::envelope::code;
use bus_schemas::jobs::INLINE_BYTES_MAX;
use bus_schemas::record::Job;
use bus_schemas::{CommandId, EntityAddress, Hash, Key, PartitionId, Refusal, TraceContext};
use bytes::Bytes;
use smol_str::SmolStr;
use tokio::sync::Notify;

/// The most claims that wait in one host; further ones are refused as busy.
pub const OFFERS_MAX: usize = 10_000;
/// The most workers whose last sign of life is kept.
const WORKERS_MAX: usize = 100_000;
/// How long the receivers of jobs are remembered, in milliseconds: within a round trip the server reports a
/// message without a receiver.
const SENT_MS: u64 = 5_000;

/// A claim that waits for jobs.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The id of the claim.
    pub id: CommandId,
    /// The agent of the worker.
    pub agent: Key,
    /// The claim.
    pub claim: Claim,
    /// The worker's reply subject.
    pub reply_to: ReplyTo,
    /// When it arrived, in milliseconds on the monotonic clock.
    pub since: u64,
}

/// The outcome of an arriving claim.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    /// The claim waits.
    Waits,
    /// The claim is refused.
    Refused(Refusal),
}

/// The pool of claims. Cheap to clone.
#[derive(Clone)]
pub struct ClaimPool {
    inner: Arc<Mutex<Inner>>,
    /// The gates that may withhold work from an agent.
    gates: Gates,
    /// The subject on which the server reports that an answer had no receiver.
    undelivered_to: Arc<str>,
}

impl Default for ClaimPool {
    fn default() -> Self {
        Self::under(Gates::default(), "")
    }
}

#[derive(Default)]
struct Inner {
    /// The number of the last claim; numbers follow the order of arrival.
    next: u64,
    offers: BTreeMap<u64, Offer>,
    numbers: HashMap<CommandId, u64>,
    /// The numbers of the claims that fit a lane and a skill.
    fitting: HashMap<(Key, SmolStr), BTreeSet<u64>>,
    partitions: BTreeMap<PartitionId, Stall>,
    workers: HashMap<(Key, SmolStr), Heard>,
    /// When a worker last renewed a lease, by its name: a renewal names no agent.
    renewed: HashMap<SmolStr, u64>,
    sent: HashMap<CommandId, Sent>,
}

/// What the pool knows of one partition of this host.
#[derive(Default)]
struct Stall {
    /// The open work for which no claim fits.
    openings: Vec<Opening>,
    /// Since when each kind of that work waits.
    since: HashMap<(Key, SmolStr, Option<Key>), u64>,
    /// Entities whose jobs had no receiver.
    returned: Vec<EntityAddress>,
    /// Whether it left a claim to another partition whose work comes first.
    defers: bool,
    /// Whether a gate withheld its work from a claim that fits.
    withheld: bool,
    wake: Arc<Notify>,
}

/// The last sign of life of a worker.
#[derive(Debug, Clone, Copy)]
struct Heard {
    incarnation: u64,
    at: u64,
}

/// Jobs that were sent to a worker.
struct Sent {
    partition: PartitionId,
    agent: Key,
    worker: SmolStr,
    entities: Vec<EntityAddress>,
    at: u64,
}

impl std::fmt::Debug for ClaimPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimPool").field("offers", &self.lock().offers.len()).finish_non_exhaustive()
    }
}

fn fits(offer: &Offer, opening: &Opening) -> bool {
    opening.agent.as_ref().is_none_or(|agent| *agent == offer.agent)
        && offer.claim.lanes.contains(&opening.lane)
        && offer.claim.skills.contains(&opening.skill)
}

impl ClaimPool {
    /// A pool whose claims get no work that a gate withholds. On `undelivered_to` the server reports answers
    /// without a receiver.
    pub fn under(gates: Gates, undelivered_to: &str) -> Self {
        Self { inner: Arc::default(), gates, undelivered_to: undelivered_to.into() }
    }

    /// The subject on which the server reports that an answer had no receiver.
    pub fn undelivered_to(&self) -> String {
        self.undelivered_to.to_string()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a claim and wakes the partition whose work comes first.
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

    /// Puts back a claim that was not used.
    pub fn put_back(&self, offer: Offer) {
        self.lock().insert(offer);
    }

    /// Sets the open work of a partition for which no claim fits.
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

    /// The longest waiting claim that fits an opening. `None` if no claim fits, or if another partition of
    /// this host has work that comes first; that partition is woken.
    pub fn take(&self, partition: PartitionId, entity: &EntityAddress, opening: &Opening) -> Option<Offer> {
        let mut inner = self.lock();
        let fitting = inner.fitting.get(&(opening.lane.clone(), opening.skill.clone()))?;
        let mut withheld = false;
        let mut fit = |number: &&u64| {
            let offer = inner.offers.get(number).filter(|offer| fits(offer, opening));
            offer.is_some_and(|offer| {
                let withholds = self.gates.withhold(entity, &opening.lane, &offer.agent);
                withheld |= withholds;
                !withholds
            })
        };
        let found = fitting.iter().find(&mut fit).copied();
        let Some(number) = found else {
            inner.partitions.entry(partition).or_default().withheld |= withheld;
            return None;
        };
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

    /// Notified when a claim fits work of the partition, or when its jobs had no receiver.
    pub fn wake(&self, partition: PartitionId) -> Arc<Notify> {
        Arc::clone(&self.lock().partitions.entry(partition).or_default().wake)
    }

    /// Removes a partition that has left this host.
    pub fn leave(&self, partition: PartitionId) {
        let mut inner = self.lock();
        inner.partitions.remove(&partition);
        inner.wake_deferring(partition);
    }

    /// Wakes the partitions whose work a gate withheld from a claim: a gate that opens tells nobody. To be called now
    /// and then; while the gate is closed, each call costs every such partition one look.
    pub fn look_again(&self) {
        for stall in self.lock().partitions.values_mut() {
            if std::mem::take(&mut stall.withheld) {
                stall.wake.notify_one();
            }
        }
    }

    /// Removes the claims that have waited for [`WAIT_MS`].
    pub fn expired(&self, now: u64) -> Vec<Offer> {
        let mut inner = self.lock();
        inner.sent.retain(|_, sent| now < sent.at + SENT_MS);
        let late = inner.offers.iter().filter(|(_, offer)| now >= offer.since + WAIT_MS);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        late.into_iter().filter_map(|number| inner.remove(number)).collect()
    }

    /// Removes all claims, because the host leaves.
    pub fn drain(&self) -> Vec<Offer> {
        let mut inner = self.lock();
        let all: Vec<u64> = inner.offers.keys().copied().collect();
        all.into_iter().filter_map(|number| inner.remove(number)).collect()
    }

    /// The open work that no claim of this host has fitted since `before`.
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

    /// Removes a claim for another host's work, if no partition of this host has work for it that comes
    /// first.
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

    /// Notes the worker that jobs are sent to, and the entities that issued them.
    pub fn note_sent(&self, partition: PartitionId, offer: &Offer, entities: Vec<EntityAddress>, at: u64) {
        let (agent, worker) = (offer.agent.clone(), offer.claim.worker.clone());
        self.lock().sent.insert(offer.id, Sent { partition, agent, worker, entities, at });
    }

    /// An answer to a claim had no receiver: its jobs go back, and the worker's other claims are dropped.
    pub fn undelivered(&self, claim: CommandId) {
        let mut inner = self.lock();
        let Some(sent) = inner.sent.remove(&claim) else { return };
        inner.drop_claims(&sent.agent, &sent.worker, u64::MAX);
        if let Some(stall) = inner.partitions.get_mut(&sent.partition) {
            stall.returned.extend(sent.entities);
            stall.wake.notify_one();
        }
    }

    /// Takes the entities of a partition whose jobs had no receiver.
    pub fn returned(&self, partition: PartitionId) -> Vec<EntityAddress> {
        let mut inner = self.lock();
        inner
            .partitions
            .get_mut(&partition)
            .map(|stall| std::mem::take(&mut stall.returned))
            .unwrap_or_default()
    }

    /// Notes a sign of life of a worker from elsewhere, or its registration.
    pub fn hear(&self, agent: &Key, worker: &str, now: u64) {
        let mut inner = self.lock();
        let name = (agent.clone(), SmolStr::new(worker));
        if inner.workers.len() < WORKERS_MAX || inner.workers.contains_key(&name) {
            inner.workers.entry(name).or_insert(Heard { incarnation: 0, at: now }).at = now;
        }
    }

    /// Notes that a worker renewed a lease.
    pub fn hear_renewal(&self, worker: &SmolStr, now: u64) {
        let mut inner = self.lock();
        if inner.renewed.len() < WORKERS_MAX || inner.renewed.contains_key(worker) {
            inner.renewed.insert(worker.clone(), now);
        }
    }

    /// The workers heard of here, with the time of their last sign of life.
    pub fn heard(&self) -> Vec<(Key, SmolStr, u64)> {
        let inner = self.lock();
        let renewed = |worker: &SmolStr| inner.renewed.get(worker).copied().unwrap_or_default();
        let workers = inner.workers.iter();
        workers
            .map(|((agent, worker), heard)| (agent.clone(), worker.clone(), heard.at.max(renewed(worker))))
            .collect()
    }

    /// Forgets a worker that is lost.
    pub fn forget(&self, agent: &Key, worker: &SmolStr) {
        let mut inner = self.lock();
        inner.workers.remove(&(agent.clone(), worker.clone()));
        inner.renewed.remove(worker);
    }
}

/// A job for a claim.
#[derive(Debug, Clone)]
pub struct IssuedJob {
    /// The entity that issued it.
    pub entity: EntityAddress,
    /// The job.
    pub job: Job,
    /// The span of the decision that issued it.
    pub trace: Option<TraceContext>,
}

/// The messages that answer a claim, each of at most `bytes_max` unless a single job takes more. Large jobs
/// are in the blob store already. Without jobs the worker is told to claim again.
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

    /// Wakes the partitions that left a claim to another one: its work has changed, so the claim may be free.
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

    /// Notes a worker's incarnation. Refuses a claim of an older one; the first claim of a newer one drops
    /// those of the older.
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
