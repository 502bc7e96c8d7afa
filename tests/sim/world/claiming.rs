//! How a worker comes to its jobs, modelled after `worker/jobs.rs`: it claims for the places that are free,
//! repeats what nobody answers, and asks of each job whether it is its own before it begins.

use bus_schemas::claims::{Answer, Claim, WAIT_MS};
use bus_schemas::commands::task;
use bus_schemas::jobs::Job;
use bus_schemas::{Body, CommandId, Hash, Refusal, Reply};
use smol_str::{SmolStr, format_smolstr};

use super::claims::{ClaimAnswer, NOBODY_AGAIN_MS};
use super::clients::{DEADLY, LANES, key};
use super::workers::{Called, Next, Work};
use super::{Happening, WorkerId, World};
use crate::coverage::Reached;
use crate::faults::Defect;
use crate::invariants::{Check, hold};

/// A claim of which nothing was heard for so long is sent again.
const SILENCE_MS: u64 = WAIT_MS + 1_000;
/// How long the word that a job may begin is waited for.
const BEGIN_PATIENCE_MS: u64 = 2_000;

/// A claim under way.
#[derive(Debug, Clone)]
pub struct OpenClaim {
    claim: Claim,
    /// Its places that no job has.
    pub left: u32,
    sent: u64,
}

/// The token of the jobs of a claim, which its worker alone knows.
fn token(claim: CommandId) -> SmolStr {
    format_smolstr!("token of {claim}")
}

impl World {
    /// A worker claims for the places that are free, and repeats what nobody answers.
    pub(super) fn worker_looks(&mut self, id: WorkerId) {
        let pause = self.random.between(100, 1_000);
        self.soon(if self.calm { 2 * pause } else { pause }, Happening::WorkerLooks(id));
        if !self.workers[id].is_alive() || !self.workers[id].registered {
            return;
        }
        let all = std::mem::take(&mut self.workers[id].again);
        let time = self.time;
        let mut sending = Vec::new();
        for (claim, open) in &mut self.workers[id].open {
            if all || open.sent + SILENCE_MS <= time {
                open.sent = time;
                open.claim.repeated = true;
                sending.push((*claim, open.claim.clone()));
            }
        }
        for (claim, _) in &sending {
            self.coverage.note(Reached::ClaimRepeated);
            self.audit.claim_is_repeated(*claim);
        }
        sending.extend(self.new_claims(id));
        for (claim, content) in sending {
            if !self.send_claim(claim, id, content)
                && let Some(open) = self.workers[id].open.get_mut(&claim)
            {
                open.sent = (time + NOBODY_AGAIN_MS).saturating_sub(SILENCE_MS);
            }
        }
    }

    /// Claims for the places that are free and not claimed: one for all, or one for each.
    fn new_claims(&mut self, id: WorkerId) -> Vec<(CommandId, Claim)> {
        let mut left = self.workers[id].unclaimed();
        let at_once = if self.random.chance(500) { left } else { 1 };
        let mut claims = Vec::new();
        while left > 0 {
            let places = at_once.min(left);
            left -= places;
            let command = self.random.command_id(self.time);
            let worker = &mut self.workers[id];
            let claim = Claim {
                worker: worker.name.clone(),
                incarnation: worker.incarnation,
                skills: worker.skills.clone(),
                token: Hash::of_token(&token(command)),
                places,
                repeated: false,
                lanes: LANES.map(key).to_vec(),
            };
            let open = OpenClaim { claim: claim.clone(), left: places, sent: self.time };
            worker.open.insert(command, open);
            self.audit.claim_is_made(command, places);
            claims.push((command, claim));
        }
        claims
    }

    /// A worker hears what came of a claim.
    pub(super) fn claim_answered(&mut self, answer: &ClaimAnswer) -> Check {
        let ClaimAnswer { worker: id, life, id: claim, payload, .. } = answer;
        if !self.workers[*id].is_alive() || self.workers[*id].life != *life {
            self.is_undelivered(answer);
            return Ok(());
        }
        // What was answered before is answered a second time after a repeat.
        let Some(mut open) = self.workers[*id].open.remove(claim) else { return Ok(()) };
        match serde_json::from_slice::<Answer>(payload) {
            Ok(Answer::Issued { jobs, more, .. }) => {
                let count = jobs.len() as u32;
                let fits = open.claim.repeated || count <= open.left;
                hold(fits, "capacity_never_exceeded", || {
                    format!("{count} jobs answer claim {claim}, which has {} places left", open.left)
                })?;
                for issued in jobs {
                    let Some(job) = issued.job else { continue };
                    if open.left == 0 || self.workers[*id].life != *life {
                        break;
                    }
                    open.left -= 1;
                    self.take_job(*id, Job { token: token(*claim), ..*job })?;
                }
                if more && self.workers[*id].life == *life {
                    self.workers[*id].open.insert(*claim, open);
                }
            }
            Ok(Answer::ComeAgain { .. }) => {}
            Err(_) => {
                if let Ok(Reply::Refused { refusal, .. }) = serde_json::from_slice::<Reply>(payload) {
                    self.claim_is_refused(*id, &refusal);
                }
            }
        }
        Ok(())
    }

    fn claim_is_refused(&mut self, id: WorkerId, refusal: &Refusal) {
        match refusal.code.as_str() {
            "unknown-worker" | "agent-not-found" | "unknown-skill" => {
                self.workers[id].registered = false;
                self.say_hello(id);
            }
            "worker-replaced" => {
                self.coverage.note(Reached::WorkerReplaced);
                self.worker_dies(id);
            }
            _ => {}
        }
    }

    /// A worker has a job: it asks whether it is its own, and does nothing before.
    fn take_job(&mut self, id: WorkerId, job: Job) -> Check {
        let fresh = self.jobs.len();
        let index = *self.job_numbers.entry(job.id.clone()).or_insert(fresh);
        if index == fresh {
            self.jobs.push(job.id.clone());
        }
        // A second copy while the first is being done.
        if self.workers[id].running.contains_key(&index) {
            return Ok(());
        }
        let worker = &mut self.workers[id];
        let (life, text) = (worker.life, format!("worker {} has {}", worker.name, job.id));
        if worker.view.halts_job(&job) {
            self.coverage.note(Reached::HaltedJobGivenBack);
            self.give_back(id, &job, Next::Nothing);
            return Ok(());
        }
        if job.goal == DEADLY {
            let dies = self.random.chance(300) && !self.calm;
            if dies {
                self.worker_dies(id);
            }
            return Ok(());
        }
        let (called, started) = (Called::NotYet, false);
        let work =
            Work { job: job.clone(), started, called, reserved: false, interrupted: false, reported: false };
        worker.running.insert(index, work);
        self.note(text);
        self.halted_means_no_effect_starts(id, &job, "a job")?;
        if self.defect == Some(Defect::WorkersBeginAtOnce) {
            return self.begin_work(id, index, life);
        }
        self.renew(&job, false, Next::Begun { worker: id, job: index, life });
        self.soon(BEGIN_PATIENCE_MS, Happening::BeginTimeout { worker: id, job: index, life });
        Ok(())
    }

    pub(super) fn renew(&mut self, job: &Job, progressed: bool, next: Next) {
        let query = task::Query::Renew { attempt: job.attempt, token: job.token.clone(), progressed };
        self.query(job.task.clone(), Body::json(&query), next);
    }

    /// Nobody has said in time that a job may begin: its task takes it back.
    pub(super) fn begin_timeout(&mut self, worker: WorkerId, job: usize, life: u32) {
        if self.workers[worker].work(job, life).is_some_and(|work| !work.started) {
            self.finish(worker, job);
        }
    }
}
