//! What a task is told about an attempt: a pure function of how the agent ended and what interrupted it.
//!
//! | agent ended with | not interrupted | not wanted | deadline | stopping, lease lost | halted |
//! | --- | --- | --- | --- | --- | --- |
//! | a result | complete | complete | complete | complete | complete |
//! | a panic | fail: poison | fail: poison | fail: poison | fail: poison | fail: poison |
//! | an ambiguous failure | fail | fail | fail | fail | fail |
//! | any other failure | fail | fail: canceled | fail: permanent | give back | give back |
//! | a question | require-input | fail: canceled | fail: permanent | give back | give back |
//! | nothing: it was dropped | | fail: canceled | fail: permanent | give back | give back |

use std::any::Any;
use std::time::Duration;

use bus_schemas::Refusal;
use bus_schemas::commands::task::{self, Command};
use bus_schemas::envelope::code;
use bus_schemas::halts::ActiveHalt;
use bus_schemas::jobs::{FailureClass, Job};
use tokio::task::JoinError;

use crate::breaker::{BREAKER_OPEN, Outcome};
use crate::contract::{BUDGET_EXCEEDED, Done, Failure};

/// Bytes of a message beside the command: headers and protocol.
const MESSAGE_OVERHEAD_BYTES: usize = 4 * 1024;
/// The reason with which a stopping worker gives a job back.
pub(super) const STOPS: &str = "its worker stops";

/// How the agent ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The agent returned.
    Returned(Result<Done, Failure>),
    /// The agent panicked, with this message.
    Panicked(String),
    /// The agent did not return in time, or the process ends.
    Dropped,
}

/// Why an attempt was interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The task refuses to renew the lease: it was canceled, has failed, or was given to another worker.
    Unwanted { reason: String },
    /// The task was unreachable for a whole lease, and has given the attempt up.
    LeaseLost,
    /// The deadline has passed.
    Deadline,
    /// The worker stops.
    Stopping,
    /// A halt covers the attempt.
    Halted { reason: String, grace: Duration },
}

impl Interruption {
    pub(super) fn halted(halt: ActiveHalt) -> Self {
        Self::Halted { reason: halt.reason, grace: Duration::from_millis(halt.grace_ms) }
    }
    /// The interruption for a refusal: a halt that this worker has not received and whose grace is over, or
    /// an end for good.
    pub(super) fn refused(refusal: Refusal) -> Self {
        match refusal.code == code::HALTED {
            true => Self::Halted { reason: refusal.message, grace: Duration::ZERO },
            false => Self::Unwanted { reason: refusal.message },
        }
    }
    /// The time that the agent has to return, when it is not the worker's own bound.
    pub(super) fn grace(&self) -> Option<Duration> {
        match self {
            Self::Halted { grace, .. } => Some(*grace),
            _ => None,
        }
    }
}

/// The report to the task.
#[derive(Debug, PartialEq)]
pub(crate) struct Report {
    /// The purpose: the command's id is derived from it and from the job.
    pub(crate) purpose: &'static str,
    /// The command.
    pub(crate) command: Command,
}

impl End {
    /// Reads how the agent's task ended.
    pub(crate) fn of(ended: Result<Result<Done, Failure>, JoinError>) -> Self {
        match ended.map_err(JoinError::try_into_panic) {
            Ok(returned) => Self::Returned(returned),
            Err(Ok(panic)) => Self::Panicked(words(panic.as_ref())),
            Err(Err(_)) => Self::Dropped,
        }
    }
}

/// The message of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a word".to_owned())
}

/// The report to the task; `None` when the task has given the attempt up already.
pub(crate) fn report_of(job: &Job, end: End, interruption: Option<Interruption>) -> Option<Report> {
    let (attempt, token) = (job.attempt, job.token.clone());
    let failure = match end {
        End::Returned(Ok(Done { artifacts, result, plan })) => {
            let steps = Vec::new();
            let command = Command::CompleteJob { attempt, token, steps, artifacts, result, plan };
            return Some(Report { purpose: "complete", command });
        }
        End::Panicked(text) => {
            let message = format!("the agent `{}` panicked: {text}", job.agent);
            let failure = Failure::new(FailureClass::Poison, "agent-panicked", message)
                .hint("this is a fault in the agent: its log has the place");
            return Some(fail(job, failure));
        }
        End::Returned(Err(failure)) if failure.class() == Some(FailureClass::Ambiguous) => {
            return Some(fail(job, failure));
        }
        End::Returned(Err(failure)) => Some(failure),
        End::Dropped => None,
    };
    let failure = match (interruption, failure) {
        (Some(Interruption::Halted { reason, .. }), _) => {
            let command = Command::GiveBack { attempt, token, reason: format!("halted: {reason}") };
            return Some(Report { purpose: "give-back", command });
        }
        (Some(Interruption::Unwanted { reason }), _) => {
            Failure::new(FailureClass::Canceled, "canceled", format!("the work was stopped: {reason}"))
        }
        (Some(Interruption::Deadline), _) => {
            Failure::permanent("deadline-exceeded", "the deadline came before the work was done")
                .hint("submit it again with a later deadline")
        }
        (Some(Interruption::Stopping), _) | (None, None) => {
            let command = Command::GiveBack { attempt, token, reason: STOPS.to_owned() };
            return Some(Report { purpose: "give-back", command });
        }
        (Some(Interruption::LeaseLost), _) => return None,
        (None, Some(failure)) => failure,
    };
    Some(fail(job, failure))
}

fn fail(job: &Job, failure: Failure) -> Report {
    let (attempt, token) = (job.attempt, job.token.clone());
    match failure {
        Failure::Failed(task::Failure { class, code, message, hint, dependency }) => Report {
            purpose: "fail",
            command: Command::FailJob { attempt, token, class, code, message, hint, dependency },
        },
        Failure::InputRequired { prompt, authorization, approval } => Report {
            purpose: "require-input",
            command: Command::RequireInput { attempt, token, prompt, authorization, approval },
        },
    }
}

impl Report {
    /// The outcome for the agent's breaker. A call that was refused because of another dependency does not
    /// count.
    pub(super) fn outcome(&self) -> Outcome<'_> {
        match &self.command {
            Command::FailJob { .. } if self.waits_for_breaker() => Outcome::Unknown,
            Command::FailJob { class, message, .. } => Outcome::of(Some(*class), message),
            _ => Outcome::Succeeded,
        }
    }

    /// Whether the agent could not go on because one of its dependencies may not be called.
    pub(super) fn waits_for_breaker(&self) -> bool {
        matches!(&self.command, Command::FailJob { code, .. } if code == BREAKER_OPEN)
    }

    /// Whether the agent could not go on because the tree's budget does not allow its call. An agent's own
    /// failure of that name, such as a provider's quota, is treated as any other.
    pub(super) fn waits_for_budget(&self, job: &Job) -> bool {
        let exceeded = |class, code: &str| class == FailureClass::Budget && code == BUDGET_EXCEEDED;
        job.metered && matches!(&self.command, Command::FailJob { class, code, .. } if exceeded(*class, code))
    }

    /// Whether the task refused to let an effect begin, because of a halt.
    pub(super) fn waits_for_halt(&self) -> bool {
        let halted = |class, code: &str| class == FailureClass::Canceled && code == code::HALTED;
        matches!(&self.command, Command::FailJob { class, code, .. } if halted(*class, code))
    }

    /// The report that gives the attempt back: it waits anew, and does not count as a try.
    pub(super) fn withdrawn(self) -> Self {
        let Command::FailJob { attempt, token, message, .. } = self.command else { return self };
        Self { purpose: "give-back", command: Command::GiveBack { attempt, token, reason: message } }
    }

    /// This report, or a failure in its place when it exceeds `bytes_max`, the largest message.
    pub(crate) fn bounded(self, job: &Job, bytes_max: usize) -> Self {
        let Command::CompleteJob { .. } = self.command else { return self };
        let bytes = serde_json::to_vec(&self.command).map_or(usize::MAX, |body| body.len());
        if bytes.saturating_add(MESSAGE_OVERHEAD_BYTES) <= bytes_max {
            return self;
        }
        let message = format!("the result has {bytes} bytes, and a message holds {bytes_max}");
        let failure = Failure::permanent("result-too-large", message)
            .hint("the agent must keep large results as artifacts");
        fail(job, failure)
    }

    /// The failure to report when a task refuses a result.
    pub(super) fn not_taken(job: &Job, refusal: Refusal) -> Command {
        Command::FailJob {
            attempt: job.attempt,
            token: job.token.clone(),
            class: FailureClass::Permanent,
            code: refusal.code.to_string(),
            message: format!("the task does not take the agent's answer: {}", refusal.message),
            hint: refusal.hint,
            dependency: None,
        }
    }
}

#[cfg(test)]
mod tests;
