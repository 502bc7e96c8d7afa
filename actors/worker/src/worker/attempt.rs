//! One attempt at a job: begin, run, renew the lease, report.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_client::now;
use bus_schemas::commands::task::Command;
use bus_schemas::envelope::code;
use bus_schemas::jobs::{EffectStep, Job};
use bus_schemas::{TraceContext, chain};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span};

use super::inputs::Inputs;
use super::verdict::{End, Interruption, Report, STOPS, report_of};
use super::{Hold, STOP_GRACE, WorkerContext};
use crate::breaker::Outcome;
use crate::contract::{
    Agent, Done, Failure, Steps, TaskClient, Verdict, Work, job_span, note_report, reconcile,
};
use crate::crash;

/// Timeout of the first renewal: by then the task takes the job back.
const BEGIN_PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two renewals: three fit into a lease of thirty seconds.
const RENEW_PAUSE: Duration = Duration::from_secs(10);
/// The shortest pause between two renewals, however short the lease.
const RENEW_PAUSE_MIN: Duration = Duration::from_millis(50);
/// How long a halted job is kept for its owner to take it back. A halt reaches worker, lane and owner on ways of their
/// own: one that is given back before the others know of it is issued again.
const TAKE_BACK_PATIENCE: Duration = Duration::from_secs(1);
/// The pause between two renewals of a halted job.
const TAKE_BACK_PAUSE: Duration = Duration::from_millis(100);
/// The least time for which a report is retried, also when the lease is almost over.
const REPORT_PATIENCE_MIN: Duration = Duration::from_secs(2);

/// An attempt that has begun.
struct Attempt<'a> {
    context: &'a WorkerContext,
    hold: &'a Hold,
    job: &'a Job,
    client: TaskClient,
    leased_until: Mutex<Instant>,
}

/// Runs one job, from its claim to its end.
pub(super) async fn attempt(
    context: &Arc<WorkerContext>,
    hold: &Hold,
    job: Job,
    trace: Option<TraceContext>,
) {
    let span = job_span(&job, &context.bus.subjects().claim(&context.card.name), trace);
    Attempt::new(context, hold, &job, trace).run().instrument(span).await;
}

/// Gives back a job that arrived when the worker was told to stop.
pub(super) async fn give_back(
    context: &Arc<WorkerContext>,
    hold: &Hold,
    job: Job,
    trace: Option<TraceContext>,
) {
    Attempt::new(context, hold, &job, trace).give_back(STOPS.to_owned()).await;
}

impl<'a> Attempt<'a> {
    fn new(context: &'a WorkerContext, hold: &'a Hold, job: &'a Job, trace: Option<TraceContext>) -> Self {
        let client =
            TaskClient::new(context.bus.clone(), context.name.clone(), job, trace, context.halts.clone());
        Self { context, hold, job, client, leased_until: Mutex::new(Instant::now()) }
    }

    async fn run(&self) {
        if let Some(halt) = self.client.halted() {
            tracing::info!(reason = halt.reason, "a halt stands; giving the job back");
            if !self.is_taken_back().await {
                self.give_back(format!("halted: {}", halt.reason)).await;
            }
            return;
        }
        crash::point("before-start");
        let renewed = tokio::select! {
            biased;
            () = self.context.drained.cancelled() => return self.give_back(STOPS.to_owned()).await,
            renewed = self.client.renew(false, BEGIN_PATIENCE) => renewed,
        };
        match renewed {
            Ok(Verdict::Accepted) => crash::point("after-start"),
            Ok(Verdict::Refused(refusal)) if refusal.code == code::HALTED => {
                tracing::info!(reason = refusal.message, "a halt stands; giving the job back");
                return self.give_back(format!("halted: {}", refusal.message)).await;
            }
            Ok(Verdict::Refused(refusal)) => {
                return tracing::info!(code = %refusal.code, reason = refusal.message, "the job is not wanted");
            }
            Err(error) => {
                return tracing::warn!(error = chain(&error), "beginning a job; its task takes it back");
            }
        }
        self.extend_lease();
        let breaker = self.context.breaker.as_ref().map(|breaker| self.context.breakers.begin(breaker));
        let steps = Steps::of(self.client.clone(), self.job);
        let (end, interruption) = self.work(&steps).await;
        let is_halted = matches!(interruption, Some(Interruption::Halted { .. }));
        let report = report_of(self.job, end, interruption);
        if let Some(permit) = breaker {
            permit.record(report.as_ref().map_or(Outcome::Unknown, Report::outcome));
        }
        let report = match report {
            // The lane holds the job back until the breaker closes; another agent's work backs off instead.
            Some(report) if report.waits_for_breaker() && self.context.is_held_back().await => {
                Some(report.withdrawn())
            }
            // A job that the budget does not allow waits with its tree for an extension.
            Some(report) if report.waits_for_budget(self.job) || report.waits_for_halt() => {
                Some(report.withdrawn())
            }
            Some(Report { command: Command::GiveBack { .. }, .. })
                if is_halted && self.is_taken_back().await =>
            {
                None
            }
            report => report,
        };
        match report {
            Some(mut report) => {
                steps.report(&mut report.command).await;
                note_report(&report.command);
                self.report(report.bounded(self.job, self.context.bus.payload_bytes_max())).await;
            }
            None => tracing::info!("the task has given the attempt up"),
        }
    }

    /// Gives back a job that was not begun.
    async fn give_back(&self, reason: String) {
        let (attempt, token) = (self.job.attempt, self.job.token.clone());
        let command = Command::GiveBack { attempt, token, reason };
        self.report(Report { purpose: "give-back", command }).await;
    }

    /// Runs the agent until it ends, or until it was interrupted and its grace period is over.
    async fn work(&self, steps: &Steps) -> (End, Option<Interruption>) {
        let canceled = CancellationToken::new();
        // However this ends: work on its own thread looks at the token.
        let _stop_when_dropped = canceled.clone().drop_guard();
        let breakers = self.context.breakers.clone();
        let (job, client) = (self.job.clone(), self.client.clone());
        let work = Work::new(job, client, canceled.clone(), breakers, steps.clone());
        let (agent, client, inputs) =
            (self.context.agent.clone(), self.client.clone(), self.context.inputs.clone());
        // A task of its own, so that a panic ends the attempt and nothing else.
        let running = tokio::spawn(settle_and_run(agent, client, inputs, work).instrument(Span::current()));
        let mut running = AbortOnDropHandle::new(running);
        let interruption = tokio::select! {
            biased;
            // A failure under a halt is attributed to the halt.
            ended = &mut running => return (End::of(ended), self.client.halted().map(Interruption::halted)),
            interruption = self.interruption() => interruption,
        };
        tracing::info!(?interruption, "the work is to stop");
        canceled.cancel();
        let Some(grace) = interruption.grace() else {
            let end = timeout(STOP_GRACE, &mut running).await.map_or(End::Dropped, End::of);
            return (end, Some(interruption));
        };
        // A halt's grace may be longer than the lease, which is renewed until the grace is over.
        tokio::select! {
            biased;
            ended = &mut running => (End::of(ended), Some(interruption)),
            () = tokio::time::sleep(grace) => (End::Dropped, Some(interruption)),
            () = self.context.drained.cancelled() => (End::Dropped, Some(Interruption::Stopping)),
            other = self.keep_lease() => (End::Dropped, Some(other)),
        }
    }

    /// Waits for anything that makes the work pointless.
    async fn interruption(&self) -> Interruption {
        let deadline = async {
            match self.job.deadline {
                Some(deadline) => tokio::time::sleep(until(deadline.0)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.context.drained.cancelled() => Interruption::Stopping,
            halt = self.client.until_halted() => Interruption::halted(halt),
            () = deadline => Interruption::Deadline,
            interruption = self.keep_lease() => interruption,
        }
    }

    /// Renews the lease until the task no longer wants the work, or is unreachable for a whole lease.
    async fn keep_lease(&self) -> Interruption {
        let third = Duration::from_millis(self.job.lease_ms) / 3;
        self.keep_lease_every(RENEW_PAUSE.min(third).max(RENEW_PAUSE_MIN)).await
    }

    /// As [`Self::keep_lease`], with a pause between two renewals. A notification that may mean the end only causes a
    /// renewal at once.
    async fn keep_lease_every(&self, pause: Duration) -> Interruption {
        let mut ticks = interval_at(Instant::now() + pause, pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = self.client.steps();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.hold.nudge.notified() => {}
            }
            self.context.bus.ready().await;
            let steps = self.client.steps();
            match self.client.renew(steps > told, pause).await {
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

    /// Whether the owner takes a halted attempt back by itself, while its lease is kept. An owner that knows of the halt
    /// and whose grace time is over refuses the lease.
    async fn is_taken_back(&self) -> bool {
        tokio::select! {
            biased;
            () = self.context.drained.cancelled() => false,
            other = self.keep_lease_every(TAKE_BACK_PAUSE) => !matches!(other, Interruption::Halted { .. }),
            () = tokio::time::sleep(TAKE_BACK_PATIENCE) => false,
        }
    }

    /// Reports the outcome to the task, for as long as the task can be expected to wait for it.
    async fn report(&self, Report { purpose, command }: Report) {
        let patience = self.lease_left().max(REPORT_PATIENCE_MIN);
        tokio::select! {
            () = self.context.bus.ready() => {}
            () = self.context.drained.cancelled() => {}
        }
        crash::point("before-report");
        let told = self.client.tell(self.client.id(purpose, 0), &command, patience).await;
        let refusal = match told {
            Ok(Verdict::Accepted) => return crash::point("after-report"),
            Ok(Verdict::Refused(refusal)) => refusal,
            Err(error) => {
                return tracing::warn!(error = chain(&error), purpose, "reporting; the lease lapses");
            }
        };
        tracing::info!(purpose, code = %refusal.code, reason = refusal.message, "the report was refused");
        // A result that the task refuses, such as a plan with a cycle, must not leave the task waiting for
        // the lease to lapse. Where the attempt is no longer wanted this command is refused too, which is
        // right.
        if matches!(command, Command::CompleteJob { .. } | Command::RequireInput { .. }) {
            let failed = Report::not_taken(self.job, refusal);
            if let Err(error) = self.client.tell(self.client.id("fail", 1), &failed, patience).await {
                tracing::warn!(error = chain(&error), "reporting a failure; the lease will run out");
            }
        }
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

/// Checks the input, reconciles the effects of earlier attempts, then runs the agent.
async fn settle_and_run(
    agent: Arc<dyn Agent>,
    client: TaskClient,
    inputs: Arc<Inputs>,
    mut work: Work,
) -> Result<Done, Failure> {
    inputs.check(&work.job)?;
    for index in 0..work.job.effects.len() {
        let past = work.job.effects[index].clone();
        if past.step == EffectStep::Ambiguous {
            let found = agent.reconcile(work.clone(), past.clone()).await?;
            work.job.effects[index] = reconcile(&client, &past, found).await?;
        }
    }
    agent.run(work).await
}

/// The time until a moment in milliseconds since 1970; zero when it has passed.
fn until(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds.saturating_sub(now().0))
}
