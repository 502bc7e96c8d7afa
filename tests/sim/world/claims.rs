//! The door of a host, modelled after `actors/host/src/claims.rs`: claims are checked, kept in the pool of the
//! real [`actors_runtime::claims::ClaimPool`], passed on to hosts that have work for them, told to come again,
//! and given back where their worker is gone.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use actors_core::Opening;
use actors_runtime::claims::{Arrived, IssuedJob, Offer, answers};
use actors_runtime::inbox::refusal_reply;
use bus_schemas::claims::{Answer, Claim};
use bus_schemas::commands::agent::{Command, Query, Registration};
use bus_schemas::{Body, CommandId, Key, Refusal, Reply};
use bytes::Bytes;
use tokio::sync::Notify;

use super::clients::address;
use super::workers::Next;
use super::{Happening, HostId, OwnerId, Phase, WorkerId, World};
use crate::coverage::Reached;
use crate::faults::Defect;

/// How often a host looks at its claims: less often than the product does, for the sake of the steps.
const LOOK_MS: u64 = 150;
/// How often in a calm world.
const LOOK_CALM_MS: u64 = 500;
/// Work that has no place for so long is told to other hosts.
const UNMET_MS: u64 = 20;
/// How long what an agent said of itself counts.
const KNOWN_MS: u64 = 10_000;
/// How long partitions may take to say that a repeated claim was used.
const USED_PATIENCE_MS: u64 = 150;
/// When a worker is told that no host is there, it tries again as if it had heard nothing for so long.
pub const NOBODY_AGAIN_MS: u64 = 200;

/// A claim on its way to a host, or checked there.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The host, and which of its processes.
    pub host: HostId,
    pub process: u32,
    /// Who claims, and in which life.
    pub worker: WorkerId,
    pub life: u32,
    pub id: CommandId,
    pub agent: Key,
    pub claim: Claim,
    /// How long it has waited at another host.
    pub waited: u64,
}

/// The question of a host whether a claim was used.
#[derive(Debug)]
pub struct Doubt {
    sent: Sent,
    was_used: bool,
}

impl Doubt {
    /// Who asks.
    pub fn host(&self) -> HostId {
        self.sent.host
    }
}

/// A claim answered to a worker.
#[derive(Debug, Clone)]
pub struct ClaimAnswer {
    pub worker: WorkerId,
    pub life: u32,
    pub id: CommandId,
    pub payload: Bytes,
    /// Who is to hear that nobody took it.
    from: Option<(HostId, u32)>,
}

impl World {
    /// A worker's claim goes to one of the hosts; whether one is there.
    pub(super) fn send_claim(&mut self, id: CommandId, worker: WorkerId, claim: Claim) -> bool {
        let alive: Vec<HostId> = (0..self.hosts.len()).filter(|host| self.hosts[*host].alive).collect();
        let Some(host) = self.random.pick(&alive).copied() else { return false };
        if self.fault(self.faults.claim_lost, Reached::ClaimLost) {
            return true;
        }
        let (agent, life) = (self.workers[worker].agent.clone(), self.workers[worker].life);
        let process = self.hosts[host].process;
        let way = self.latency();
        let sent = Sent { host, process, worker, life, id, agent, claim, waited: 0 };
        self.soon(way, Happening::ClaimArrives(sent));
        true
    }

    /// Whether what is meant for a process of a host comes to it now.
    fn is_there(&self, host: HostId, process: u32) -> bool {
        self.hosts[host].alive && self.hosts[host].process == process
    }

    /// A claim is at the door.
    pub(super) fn claim_arrives(&mut self, sent: Sent) {
        if !self.is_there(sent.host, sent.process) {
            return;
        }
        let host = &self.hosts[sent.host];
        let steady = self.steady(sent.host);
        let is_known = host.known.get(&sent.agent).is_some_and(|(registration, at)| {
            steady < at + KNOWN_MS && unknown(registration, &sent.claim).is_none()
        });
        if is_known {
            return self.admit(sent);
        }
        let to = address(&lose(""), sent.agent.clone());
        self.query(to, Body::json(&Query::Describe), Next::Known(Box::new(sent)));
    }

    /// An agent said what it is, or did not.
    pub(super) fn agent_is_known(&mut self, sent: &Sent, reply: Option<&Reply>) {
        if !self.is_there(sent.host, sent.process) {
            return;
        }
        let registration = match reply {
            Some(Reply::Accepted { result, .. }) => {
                serde_json::from_value::<Registration>(result.clone()).ok()
            }
            _ => None,
        };
        let refusal = match &registration {
            Some(registration) => unknown(registration, &sent.claim),
            None => Some(Refusal::new("no-answer", "the agent does not answer")),
        };
        if let Some(refusal) = refusal {
            return self.refuse_claim(sent, refusal);
        }
        let steady = self.steady(sent.host);
        self.hosts[sent.host].known.extend(registration.map(|known| (sent.agent.clone(), (known, steady))));
        self.admit(sent.clone());
    }

    fn refuse_claim(&mut self, sent: &Sent, refusal: Refusal) {
        self.coverage.note(Reached::ClaimRefused);
        let payload = refusal_reply(sent.id, refusal);
        self.answer_claim(sent.worker, sent.life, sent.id, payload, None);
    }

    /// A claim of a worker that is known: one that was sent before may have been used.
    fn admit(&mut self, sent: Sent) {
        if !sent.claim.repeated {
            return self.take_claim(sent);
        }
        let owners: Vec<OwnerId> =
            self.owners.values().filter(|owner| owner.is_running()).map(|owner| owner.id).collect();
        let doubt = self.doubts.len();
        self.doubts.push(Doubt { sent, was_used: false });
        for owner in owners {
            if !self.fault(self.faults.word_lost, Reached::WordLost) {
                let way = self.latency();
                self.soon(way, Happening::AskedWasUsed(owner, doubt));
            }
        }
        self.soon(USED_PATIENCE_MS, Happening::DoubtEnds(doubt));
    }

    /// An owner is asked whether a claim was used there: then its jobs are sent once more.
    pub(super) fn asked_was_used(&mut self, id: OwnerId, doubt: usize) {
        let Sent { id: claim, worker, life, .. } = self.doubts[doubt].sent;
        let Some(owner) = self.owners.get(&id).filter(|owner| owner.is_running()) else { return };
        let is_forgotten = owner.core.has_forgotten(claim);
        let Some(jobs) = owner.core.repeated(claim).or(is_forgotten.then(Vec::new)) else { return };
        self.coverage.note(Reached::ClaimAnsweredAgain);
        let way = self.latency();
        self.soon(way, Happening::WasUsed(doubt));
        if !jobs.is_empty() || is_forgotten {
            self.send_jobs(id, worker, life, claim, &jobs);
        }
    }

    pub(super) fn was_used(&mut self, doubt: usize) {
        self.doubts[doubt].was_used = true;
    }

    /// No partition has said in time that it used a claim.
    pub(super) fn doubt_ends(&mut self, doubt: usize) {
        let Doubt { sent, was_used } = &self.doubts[doubt];
        if !was_used && self.is_there(sent.host, sent.process) {
            let sent = sent.clone();
            self.take_claim(sent);
        }
    }

    /// A claim comes into the pool.
    fn take_claim(&mut self, sent: Sent) {
        let since = self.steady(sent.host).saturating_sub(sent.waited);
        let reply_to = format!("{}.{}", sent.worker, sent.life).into();
        let (id, agent, claim) = (sent.id, sent.agent.clone(), sent.claim.clone());
        let offer = Offer { id, agent, claim, reply_to, since };
        match self.hosts[sent.host].pool.arrive(offer) {
            Arrived::Waits => {
                self.free.arrives(sent.id, sent.host, sent.worker, self.time);
                self.look_at_places(sent.host);
            }
            Arrived::Refused(refusal) => self.refuse_claim(&sent, refusal),
        }
    }

    /// Wakes the owners of a host whose work has a place, or whose jobs came back.
    pub(super) fn look_at_places(&mut self, host: HostId) {
        let serving =
            self.owners.values().filter(|owner| owner.host == host && owner.phase == Phase::Serving);
        let woken: Vec<OwnerId> =
            serving.filter(|owner| was_notified(&owner.places)).map(|owner| owner.id).collect();
        for owner in woken {
            self.soon(1, Happening::Places(owner));
        }
    }

    /// An owner looks for places.
    pub(super) fn places(&mut self, id: OwnerId) {
        if let Some(owner) = self.owners.get_mut(&id).filter(|owner| owner.phase == Phase::Serving) {
            owner.core.look_for_places();
            self.wake(id);
        }
    }

    /// The claims whose jobs are committed are answered; whether the host has died meanwhile.
    pub(super) fn send_issued(&mut self, id: OwnerId) -> bool {
        let Some(owner) = self.owners.get_mut(&id) else { return true };
        let (host, partition) = (owner.host, owner.partition);
        let issues = owner.core.take_issued();
        let steady = self.steady(host);
        for issue in issues {
            let Some(owner) = self.owners.get(&id) else { return true };
            let entities = issue.jobs.iter().map(|issued| issued.entity.clone()).collect();
            owner.core.note_sent(&issue.offer, entities, steady);
            if self.dies_at(id, "before-issue") {
                return true;
            }
            if let Some((worker, life)) = worker_of(issue.offer.reply_to.as_str()) {
                self.send_jobs(id, worker, life, issue.offer.id, &issue.jobs);
            }
            if self.defect == Some(Defect::ClaimsStayInPool) {
                self.note(format_args!("a used claim of partition {partition} stays"));
                self.hosts[host].pool.put_back(issue.offer.clone());
            }
            if self.dies_at(id, "after-issue") {
                return true;
            }
        }
        self.look_at_places(host);
        false
    }

    fn send_jobs(&mut self, id: OwnerId, worker: WorkerId, life: u32, claim: CommandId, jobs: &[IssuedJob]) {
        self.free.is_served(worker, self.time);
        let Some(host) = self.owners.get(&id).map(|owner| owner.host) else { return };
        let from = Some((host, self.hosts[host].process));
        for payload in answers(claim, jobs, self.shape.answer_bytes_max) {
            self.answer_claim(worker, life, claim, payload, from);
        }
    }

    fn answer_claim(
        &mut self,
        worker: WorkerId,
        life: u32,
        id: CommandId,
        payload: Bytes,
        from: Option<(HostId, u32)>,
    ) {
        self.free.leaves(id);
        if self.fault(self.faults.claim_answer_lost, Reached::ClaimAnswerLost) {
            return;
        }
        let way = self.latency();
        let answer = ClaimAnswer { worker, life, id, payload, from };
        self.soon(way, Happening::ClaimAnswered(answer));
    }

    /// Nobody was there to hear an answer: the server says so to whoever sent it.
    pub(super) fn is_undelivered(&mut self, answer: &ClaimAnswer) {
        let Some((host, process)) = answer.from else { return };
        let way = self.latency();
        self.soon(way, Happening::Undelivered(host, process, answer.id));
    }

    pub(super) fn undelivered(&mut self, host: HostId, process: u32, claim: CommandId) {
        if self.is_there(host, process) {
            self.coverage.note(Reached::ClaimUndelivered);
            self.note(format_args!("nobody heard the answer to claim {claim}"));
            self.hosts[host].pool.undelivered(claim);
            self.look_at_places(host);
        }
    }

    /// A host looks at its claims: those that waited long enough come again, and work that has no place is
    /// told to the others.
    pub(super) fn pool_looks(&mut self, host: HostId) {
        self.soon(if self.calm { LOOK_CALM_MS } else { LOOK_MS }, Happening::PoolLooks(host));
        if !self.hosts[host].alive {
            return;
        }
        let steady = self.steady(host);
        for offer in self.hosts[host].pool.expired(steady) {
            self.coverage.note(Reached::ClaimComeAgain);
            let answer = Answer::ComeAgain { claim: offer.id };
            let payload = serde_json::to_vec(&answer).expect("an answer is plain data").into();
            if let Some((worker, life)) = worker_of(offer.reply_to.as_str()) {
                self.answer_claim(worker, life, offer.id, payload, None);
            }
        }
        self.hosts[host].pool.look_again();
        self.look_at_places(host);
        let unmet = self.hosts[host].pool.unmet(steady.saturating_sub(UNMET_MS));
        if unmet.is_empty() {
            return;
        }
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            if !self.fault(self.faults.word_lost, Reached::WordLost) {
                let way = self.latency();
                self.soon(way, Happening::Needs { host: other, from: host, unmet: unmet.clone() });
            }
        }
    }

    /// A host hears for what work another one has no place.
    pub(super) fn needs(&mut self, host: HostId, from: HostId, unmet: &[Opening]) {
        if !self.hosts[host].alive || self.defect == Some(Defect::ClaimsStayAtTheirHost) {
            return;
        }
        for opening in unmet {
            let Some(offer) = self.hosts[host].pool.pass_on(opening) else { continue };
            self.coverage.note(Reached::ClaimPassed);
            self.free.leaves(offer.id);
            self.note(format_args!("host {host} passes claim {} to host {from}", offer.id));
            if self.fault(self.faults.word_lost, Reached::WordLost) {
                continue;
            }
            let Some((worker, life)) = worker_of(offer.reply_to.as_str()) else { continue };
            let waited = self.steady(host).saturating_sub(offer.since).max(1);
            let (way, process) = (self.latency(), self.hosts[from].process);
            let Offer { id, agent, claim, .. } = offer;
            let sent = Sent { host: from, process, worker, life, id, agent, claim, waited };
            self.soon(way, Happening::ClaimPassed(sent));
        }
    }

    pub(super) fn claim_passed(&mut self, sent: Sent) {
        if self.is_there(sent.host, sent.process) {
            self.take_claim(sent);
        }
    }
}

/// The worker and its life of which an answer's address tells.
fn worker_of(reply_to: &str) -> Option<(WorkerId, u32)> {
    let (worker, life) = reply_to.split_once('.')?;
    Some((worker.parse().ok()?, life.parse().ok()?))
}

pub(super) fn lose(worker: &str) -> Command {
    Command::LoseWorker { worker: worker.into() }
}

/// Whether somebody was told to wake; once.
fn was_notified(places: &Notify) -> bool {
    let notified = pin!(places.notified());
    notified.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Why an agent does not stand behind a claim.
fn unknown(registration: &Registration, claim: &Claim) -> Option<Refusal> {
    if registration.card.is_none() {
        return Some(Refusal::new("agent-not-found", "no card"));
    }
    let Some(skills) = registration.workers.get(&claim.worker) else {
        return Some(Refusal::new("unknown-worker", "it is not registered"));
    };
    let strange = claim.skills.iter().find(|skill| !skills.contains(skill));
    strange.map(|_| Refusal::new("unknown-skill", "the card has it not"))
}
