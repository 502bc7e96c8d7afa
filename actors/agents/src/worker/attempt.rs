//! One attempt at one job: begin, run, keep the lease, report.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_client::jobs::Delivery;
use bus_schemas::commands::task::Command;
use bus_schemas::envelope::code;
use bus_schemas::jobs::{EffectStep, Job};
use futures::{Stream, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span};

use super::jobs::{finish_delivery, return_delivery};
use super::verdict::{End, Interruption, Report, report_of};
use super::{Crew, STOP_GRACE};
use crate::breaker::Outcome;
use crate::contract::{
    Agent, Done, Failure, Line, Verdict, Work, chain, job_span, note_report, now, reconcile,
};
use crate::crash;

/// How long `start-job` may take: shorter than the time after which the queue delivers the job again.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Between two renewals: three fit into the thirty seconds after which the queue delivers a silent job again.
const RENEW_PAUSE: Duration = Duration::from_secs(10);
/// The shortest pause between two renewals, whatever lease a task asks for.
const RENEW_PAUSE_MIN: Duration = Duration::from_millis(50);
/// How long a report is tried at least, also when the lease is as good as lost.
const REPORT_PATIENCE_MIN: Duration = Duration::from_secs(2);

/// An attempt that was begun.
struct Attempt<'a> {
    crew: &'a Crew,
    delivery: &'a Delivery,
    job: &'a Job,
    line: Line,
    leased_until: Mutex<Instant>,
}

/// Does one job, from its delivery to its end.
pub(super) async fn attempt(crew: &Arc<Crew>, delivery: &Delivery, job: Job) {
    let span = job_span(&job, &crew.bus.subjects().job(&crew.card.name), delivery.trace);
    let line = Line::new(crew.bus.clone(), crew.name.clone(), &job, delivery.trace, crew.halts.clone());
    let leased_until = Mutex::new(Instant::now());
    Attempt { crew, delivery, job: &job, line, leased_until }.run().instrument(span).await;
}

impl Attempt<'_> {
    async fn run(&self) {
        // Listen first: a cancellation between the start and the subscription would be missed.
        let events = match self.crew.bus.cancellations(&self.job.task.key).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(error = chain(&error), "listening for cancellations");
                return return_delivery(self.delivery).await;
            }
        };
        if let Some(halt) = self.line.halted() {
            tracing::info!(reason = halt.reason, "a halt stands; giving the job back");
            return return_delivery(self.delivery).await;
        }
        let start = Command::StartJob { attempt: self.job.attempt, worker: self.crew.name.to_string() };
        // Each delivery asks anew: the answer to an earlier one was for a worker that may be gone.
        let delivered = u32::try_from(self.delivery.delivered).unwrap_or(u32::MAX);
        let id = self.line.id(&format!("start/{}", self.crew.name), delivered);
        crash::point("before-start");
        match self.line.tell(id, &start, START_PATIENCE).await {
            Ok(Verdict::Accepted) => crash::point("after-start"),
            Ok(Verdict::Refused(refusal)) if refusal.code == code::HALTED => {
                tracing::info!(reason = refusal.message, "a halt stands; giving the job back");
                return return_delivery(self.delivery).await;
            }
            Ok(Verdict::Refused(refusal)) => {
                tracing::info!(code = %refusal.code, reason = refusal.message, "the job is not wanted");
                return finish_delivery(self.delivery).await;
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "starting a job; giving it back");
                return return_delivery(self.delivery).await;
            }
        }
        self.extend_lease();
        let breaker = self.crew.breaker.as_ref().map(|breaker| self.crew.breakers.begin(breaker));
        let (end, interruption) = self.work(events).await;
        let report = report_of(self.job, end, interruption);
        if let Some(permit) = breaker {
            permit.record(report.as_ref().map_or(Outcome::Unknown, Report::outcome));
        }
        let report = match report {
            // Its lane holds it back until the breaker closes; another agent's work backs off instead.
            Some(report) if report.waits_for_breaker() && self.crew.is_held_back().await => {
                Some(report.withdrawn())
            }
            // What the budget does not allow waits with its tree until there is more.
            Some(report) if report.waits_for_budget(self.job) || report.waits_for_halt() => {
                Some(report.withdrawn())
            }
            report => report,
        };
        match report {
            Some(report) => {
                note_report(&report.command);
                self.report(report.bounded(self.crew.bus.payload_bytes_max())).await;
            }
            None => return_delivery(self.delivery).await,
        }
    }

    /// Runs the agent until it ends, or until it was interrupted and its grace is over.
    async fn work(&self, mut events: impl Stream<Item = ()> + Unpin) -> (End, Option<Interruption>) {
        let canceled = CancellationToken::new();
        // However this ends: work on threads of its own looks at the token.
        let _stop_when_dropped = canceled.clone().drop_guard();
        let breakers = self.crew.breakers.clone();
        let work = Work::new(self.job.clone(), self.line.clone(), canceled.clone(), breakers);
        let (agent, line) = (self.crew.agent.clone(), self.line.clone());
        // A task of its own, so that a panic ends the attempt and nothing else.
        let running = tokio::spawn(settle_and_run(agent, line, work).instrument(Span::current()));
        let mut running = AbortOnDropHandle::new(running);
        let interruption = tokio::select! {
            biased;
            // What went wrong under a halt is the halt's doing.
            ended = &mut running => return (End::of(ended), self.line.halted().map(Interruption::halted)),
            interruption = self.interruption(&mut events) => interruption,
        };
        tracing::info!(?interruption, "the work is to stop");
        canceled.cancel();
        let Some(grace) = interruption.grace() else {
            let end = timeout(STOP_GRACE, &mut running).await.map_or(End::Dropped, End::of);
            return (end, Some(interruption));
        };
        // A halt's grace may be longer than the lease: the attempt is its own until the grace is over.
        tokio::select! {
            biased;
            ended = &mut running => (End::of(ended), Some(interruption)),
            () = tokio::time::sleep(grace) => (End::Dropped, Some(interruption)),
            () = self.crew.drained.cancelled() => (End::Dropped, Some(Interruption::Stopping)),
            other = self.keep_lease(&mut events) => (End::Dropped, Some(other)),
        }
    }

    /// Waits for whatever takes the point out of the work.
    async fn interruption(&self, events: &mut (impl Stream<Item = ()> + Unpin)) -> Interruption {
        let deadline = async {
            match self.job.deadline {
                Some(deadline) => tokio::time::sleep(until(deadline.0)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.crew.drained.cancelled() => Interruption::Stopping,
            halt = self.line.until_halted() => Interruption::halted(halt),
            () = deadline => Interruption::Deadline,
            interruption = self.keep_lease(events) => interruption,
        }
    }

    /// Renews until the task does not want the work any more, or can not be reached for a whole lease.
    ///
    /// An event that may mean the end is no more than a reason to ask at once: it can be one from before a retry.
    async fn keep_lease(&self, events: &mut (impl Stream<Item = ()> + Unpin)) -> Interruption {
        let pause = RENEW_PAUSE.min(Duration::from_millis(self.job.lease_ms) / 3).max(RENEW_PAUSE_MIN);
        let mut ticks = interval_at(Instant::now() + pause, pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = self.line.steps();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Some(()) = events.next() => {}
            }
            self.crew.chaos.until_awake().await;
            if let Err(error) = self.delivery.renew().await {
                tracing::debug!(error = chain(&error), "renewing a delivery");
            }
            let steps = self.line.steps();
            let renew = Command::RenewLease { attempt: self.job.attempt, progressed: steps > told };
            match self.line.tell(Line::fresh_id(), &renew, pause).await {
                Ok(Verdict::Accepted) => {
                    told = steps;
                    self.extend_lease();
                }
                Ok(Verdict::Refused(refusal)) => return Interruption::refused(refusal),
                Err(error) if self.lease_left().is_zero() => {
                    tracing::warn!(error = chain(&error), "the lease is lost");
                    return Interruption::LeaseLost;
                }
                Err(error) => tracing::debug!(error = chain(&error), "renewing a lease; trying again"),
            }
        }
    }

    /// Tells the task how it went, for as long as it can be thought to wait for that.
    async fn report(&self, Report { purpose, command }: Report) {
        let patience = self.lease_left().max(REPORT_PATIENCE_MIN);
        tokio::select! {
            () = self.crew.chaos.until_awake() => {}
            () = self.crew.drained.cancelled() => {}
        }
        crash::point("before-report");
        let told = self.line.tell(self.line.id(purpose, 0), &command, patience).await;
        let refusal = match told {
            Ok(Verdict::Accepted) => {
                crash::point("after-report");
                finish_delivery(self.delivery).await;
                crash::point("after-finish");
                return;
            }
            Ok(Verdict::Refused(refusal)) => refusal,
            Err(error) => {
                tracing::warn!(error = chain(&error), purpose, "reporting; giving the job back");
                return return_delivery(self.delivery).await;
            }
        };
        tracing::info!(purpose, code = %refusal.code, reason = refusal.message, "the report was refused");
        // A result that the task does not take, such as a plan with a cycle, must not leave it waiting for the lease
        // to run out. Where the attempt is not wanted any more this is refused too, which is right.
        if matches!(command, Command::CompleteJob { .. } | Command::RequireInput { .. }) {
            let failed = Report::not_taken(self.job.attempt, refusal);
            if let Err(error) = self.line.tell(self.line.id("fail", 1), &failed, patience).await {
                tracing::warn!(error = chain(&error), "reporting a failure; the lease will run out");
            }
        }
        finish_delivery(self.delivery).await;
    }

    fn extend_lease(&self) {
        let until = Instant::now() + Duration::from_millis(self.job.lease_ms);
        *self.leased_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
    fn lease_left(&self) -> Duration {
        let until = *self.leased_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.saturating_duration_since(Instant::now())
    }
}

/// Finds out what became of the effects of earlier attempts, then does the work.
async fn settle_and_run(agent: Arc<dyn Agent>, line: Line, mut work: Work) -> Result<Done, Failure> {
    for index in 0..work.job.effects.len() {
        let past = work.job.effects[index].clone();
        if past.step == EffectStep::Ambiguous {
            let found = agent.reconcile(work.clone(), past.clone()).await?;
            work.job.effects[index] = reconcile(&line, &past, found).await?;
        }
    }
    agent.run(work).await
}

/// From now to a time in milliseconds since 1970; zero when it has passed.
fn until(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds.saturating_sub(now().0))
}
