//! A decision in progress: each event is folded into a copy of the state at once, so that the next step of
//! the same decision sees it.

use std::mem::take;

use actors_core::{Context, Decision, Key, Refusal};
use bus_schemas::commands::task::{Command, Failure, Submit};
use bus_schemas::commands::{approval, change, dead_letter, lane, queue};
use bus_schemas::events::task::Event;
use bus_schemas::ids::KEY_BYTES_MAX;
use bus_schemas::jobs::{EffectStep, Job, PastEffect};
use bus_schemas::record::Stop;
use bus_schemas::views::task::TaskState;
use bus_schemas::wire::WireCommand;
use bus_schemas::{CommandId, EntityAddress, Hash, Timestamp};
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use super::decide::budget;
use super::state::{Effect, Phase, State, fold};
use super::view::view;

/// How long a worker may be silent, in milliseconds.
pub(super) const LEASE_MS: u64 = 30_000;
/// The extra time for a renewal in transit, in milliseconds.
pub(super) const LEASE_GRACE_MS: u64 = 10_000;
/// How long a worker may take to begin, in milliseconds: a round trip, and some time for a busy process.
const BEGIN_MS: u64 = 2_000;
/// The name of an attempt's lease: its worker must renew it.
pub(super) const LEASE: &str = "attempt";
/// The name of an attempt's progress lease: its worker must make progress.
pub(super) const PROGRESS: &str = "progress";

/// A decision and the state after it.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) state: State,
    /// How the attempt ended, for its lane.
    pub(super) outcome: lane::Outcome,
    /// Whether the attempt's worker reported the end itself.
    pub(super) is_told_by_worker: bool,
    decision: Decision<Event>,
}

impl<'a> Draft<'a> {
    pub(super) fn of(state: &State, context: &'a Context<'a>) -> Self {
        Self {
            context,
            state: state.clone(),
            outcome: lane::Outcome::Withdrawn,
            is_told_by_worker: false,
            decision: Decision::none(),
        }
    }
    pub(super) fn key(&self) -> &'a Key {
        &self.context.entity.key
    }
    /// The root of the tree.
    pub(super) fn root(&self) -> Key {
        Key::parse(self.key().root()).expect("the first part of a key is a key")
    }
    pub(super) fn now(&self) -> Timestamp {
        self.context.now
    }
    /// The submission: a draft is made of a task that exists, or begins with `submitted`.
    pub(super) fn submission(&self) -> &Submit {
        self.state
            .submission
            .as_ref()
            .expect("commands for a task that was never submitted are refused first")
    }

    /// Adds an event.
    pub(super) fn emit(&mut self, event: Event) {
        fold(&mut self.state, &event);
        self.decision.events.push(event);
    }
    pub(super) fn send<C: WireCommand>(&mut self, to: Key, command: &C) {
        self.decision = take(&mut self.decision).send(to, command);
    }
    /// Like [`Self::send`]; a refusal becomes a dead letter, because no sender would learn of it.
    pub(super) fn send_settled<C: WireCommand>(&mut self, to: Key, command: &C) {
        self.decision = take(&mut self.decision).send_settled(to, command);
    }
    pub(super) fn set_timer(&mut self, name: &str, at: Timestamp, command: &Command) {
        self.decision = take(&mut self.decision).set_timer(name, at, command);
    }
    pub(super) fn cancel_timer(&mut self, name: &str) {
        self.decision = take(&mut self.decision).cancel_timer(name);
    }

    /// Queues an attempt.
    pub(super) fn queue(&mut self, attempt: u32) {
        let since = self.now();
        self.emit(Event::Queued { attempt, at: since });
        self.enqueue(attempt, since);
    }
    /// Tells the queue that the attempt waits.
    pub(super) fn enqueue(&mut self, attempt: u32, since: Timestamp) {
        let submission = self.submission();
        let enqueue = queue::Command::Enqueue(queue::Entry {
            task: self.key().clone(),
            attempt,
            skill: submission.skill.clone(),
            priority: submission.priority,
            owner: submission.owner.clone(),
            since,
        });
        self.send(self.queue_key(), &enqueue);
    }
    /// The key of its queue.
    pub(super) fn queue_key(&self) -> Key {
        let partition = self.context.entity.partition(self.context.partitions);
        queue::key(&self.submission().lane, partition, self.context.partitions)
    }
    /// Issues the job of the current attempt.
    pub(super) fn issue_job(&mut self, claim: CommandId, token: Hash, agent: Key) {
        let attempt = self.state.attempt;
        let job = job(&self.state, self.context.entity, agent, self.context.correlation);
        let progress_ms = self.state.policy.retry.progress.as_ms();
        let unrenewed = Command::ReturnIssue { attempt, token };
        let silent = Command::ExpireLease { attempt };
        let late = Command::ExpireProgress { attempt };
        self.decision = take(&mut self.decision)
            .job(claim, job)
            .begin_lease(LEASE, BEGIN_MS, &unrenewed, LEASE_MS + LEASE_GRACE_MS, &silent)
            .begin_lease(PROGRESS, progress_ms, &late, progress_ms, &late);
    }
    pub(super) fn await_deadline(&mut self) {
        if let Some(deadline) = self.submission().deadline {
            self.set_timer("deadline", deadline, &Command::ExpireDeadline);
        }
    }
    /// Takes the current attempt out of its queue, or frees its slot.
    pub(super) fn leave_phase(&mut self) {
        match self.state.phase {
            Phase::Queued => self.release(self.state.attempt),
            Phase::Running => {
                self.decision = take(&mut self.decision).end_lease(LEASE).end_lease(PROGRESS);
                self.stop_worker();
                self.release(self.state.attempt);
            }
            Phase::Backoff => self.cancel_timer("backoff"),
            Phase::New | Phase::Answer | Phase::Children | Phase::Done => {}
        }
    }
    pub(super) fn release(&mut self, attempt: u32) {
        let release = queue::Command::Release { task: self.key().clone(), attempt, outcome: self.outcome };
        self.send(self.queue_key(), &release);
    }
    /// Tells the worker to stop, unless it reported the end itself.
    fn stop_worker(&mut self) {
        let (Some(agent), Some(worker)) = (&self.state.agent, &self.state.worker) else { return };
        if !self.is_told_by_worker {
            let job = format_smolstr!("{}/{}", self.key(), self.state.attempt);
            let stop = Stop { agent: agent.clone(), worker: worker.clone(), job };
            self.decision = take(&mut self.decision).stop(stop);
        }
    }
    /// Makes the effects in progress ambiguous, because no worker will report their outcome.
    pub(super) fn give_up_effects(&mut self, detail: &str) -> Option<String> {
        let open: Vec<_> = self.state.open_effects().map(|(name, _)| name.clone()).collect();
        for effect in &open {
            self.emit(Event::EffectRecorded {
                attempt: self.state.attempt,
                effect: effect.clone(),
                step: EffectStep::Ambiguous,
                detail: detail.to_owned(),
                key: None,
                result: serde_json::Value::Null,
            });
        }
        open.into_iter().next()
    }

    /// Ends the task: leaves the queue or the worker, and tells the parent.
    pub(super) fn end(&mut self, event: Event) {
        self.leave_phase();
        budget::close(self);
        // What waits for this task alone waits for nothing.
        if let Some(approval) = self.state.approval.clone() {
            let reason = format!("the task `{}` is over", self.key());
            self.send(approval, &approval::Command::Cancel { reason });
        }
        self.emit(event);
        self.tell_dead_letters();
        self.tell_change();
        if self.submission().deadline.is_some() {
            self.cancel_timer("deadline");
        }
        self.tell_parent();
    }
    pub(super) fn fail(&mut self, failure: Failure) {
        self.end(Event::Failed { failure, at: self.now() });
    }
    /// Tells the change that this task carries out how it ended.
    pub(super) fn tell_change(&mut self) {
        let Some(change) = self.state.change.clone() else { return };
        let (state, failure) = (self.state.status, self.state.failure.clone());
        self.send(change, &change::Command::SettleTask { state, failure });
    }
    /// Tells the dead letters of this task, and those that retried it, how it ended.
    fn tell_dead_letters(&mut self) {
        let (state, task) = (self.state.status, self.key().clone());
        let settle = |outcome| dead_letter::Command::SettleRedrive {
            redrive: None,
            outcome,
            task: Some(task.clone()),
        };
        if state == TaskState::Completed
            && let Some(entry) = self.dead_letter()
        {
            self.send(entry, &settle(dead_letter::Outcome::Completed));
        }
        if let Some(entry) = self.state.retried_for.clone() {
            self.send(entry, &settle(dead_letter::Outcome::Ended { state }));
        }
    }
    /// The dead letter of this task: its own, or the one that it was submitted for.
    fn dead_letter(&self) -> Option<Key> {
        if let Some(entry) = &self.submission().dead_letter {
            return Some(entry.clone());
        }
        self.state.dead_letter.map(|attempt| dead_letter_key(self.key(), attempt))
    }
    /// Tells the parent task how this one ended.
    pub(super) fn tell_parent(&mut self) {
        let Some(parent) = self.submission().parent.clone() else { return };
        let settle = Command::SettleChild {
            step: self.step(),
            state: self.state.status,
            artifacts: self.state.artifacts.clone(),
            result: self.state.result.clone(),
            failure: self.state.failure.clone(),
        };
        self.send(parent, &settle);
    }
    /// The name of this task's step in the parent's plan.
    fn step(&self) -> SmolStr {
        let key = self.key().as_str();
        key.rsplit_once('.').map_or(key, |(_, step)| step).to_smolstr()
    }

    /// Finishes the decision.
    pub(super) fn done(self) -> Result<Decision<Event>, Refusal> {
        Ok(self.decision)
    }
    /// Finishes the decision, with the view as its result.
    pub(super) fn done_with_view(self) -> Result<Decision<Event>, Refusal> {
        let view = view(&self.state, self.key());
        Ok(self.decision.reply(&view))
    }
}

/// The job of the current attempt.
pub(super) fn job(state: &State, task: &EntityAddress, agent: Key, correlation: CommandId) -> Job {
    let submission = state.submission.as_ref().expect("a task with an attempt was submitted");
    let is_known = |effect: &Effect| matches!(effect.step, EffectStep::Completed | EffectStep::Ambiguous);
    let effects = state.effects.iter().filter(|(_, effect)| is_known(effect));
    Job {
        id: format_smolstr!("{}/{}", task.key, state.attempt),
        task: task.clone(),
        attempt: state.attempt,
        token: SmolStr::default(),
        agent,
        skill: submission.skill.clone(),
        lane: submission.lane.clone(),
        goal: submission.goal.clone(),
        input: submission.input.clone(),
        inputs: submission.inputs.clone(),
        answers: state.answers.clone(),
        deadline: submission.deadline,
        lease_ms: LEASE_MS,
        effects: effects.map(|(name, effect)| past_effect(name, effect)).collect(),
        steps: u32::try_from(state.steps.size()).unwrap_or(u32::MAX),
        metered: budget::is_metered(state),
        correlation,
    }
}

/// An effect, as a later attempt is told of it.
pub(super) fn past_effect(name: &str, effect: &Effect) -> PastEffect {
    let detail = match effect.step {
        EffectStep::Completed => String::new(),
        _ => effect.detail.clone(),
    };
    let (key, result) = (effect.key.clone(), effect.result.clone());
    PastEffect { effect: name.into(), step: effect.step, detail, key, result }
}

/// The key of the dead letter of a task whose last attempt failed; unique to the task.
pub(super) fn dead_letter_key(key: &Key, attempt: u32) -> Key {
    within_bounds(format!("{key}-{attempt}"))
}

/// A key; if the text is too long, a hash of it replaces its tail.
pub(crate) fn within_bounds(mut text: String) -> Key {
    const DIGITS: usize = 16;
    if text.len() > KEY_BYTES_MAX {
        let hash = Hash::of(text.as_bytes()).to_hex();
        text.truncate(KEY_BYTES_MAX - 1 - DIGITS);
        text = format!("{text}-{}", &hash[..DIGITS]);
    }
    Key::parse(&text).expect("a key with a number behind it, cut to its bound, is a key")
}
