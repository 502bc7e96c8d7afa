//! What a task is told about an attempt: pure, from how the agent ended and what interrupted it.
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
use bus_schemas::halts::Standing;
use bus_schemas::jobs::{FailureClass, Job};
use tokio::task::JoinError;

use crate::breaker::{BREAKER_OPEN, Outcome};
use crate::contract::{BUDGET_EXCEEDED, Done, Failure};

/// What a message holds beside the command: headers and protocol.
const MESSAGE_OVERHEAD_BYTES: usize = 4 * 1024;
/// Why a worker that leaves gives a job back.
pub(super) const STOPS: &str = "its worker stops";

/// How the agent ended.
#[derive(Debug)]
pub(super) enum End {
    /// It returned.
    Returned(Result<Done, Failure>),
    /// It panicked.
    Panicked(String),
    /// It did not return in time, or the process ends.
    Dropped,
}

/// Why an attempt was stopped from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Interruption {
    /// The task refuses to renew the lease: canceled, failed, or given to somebody else.
    Unwanted { reason: String },
    /// The task could not be reached for a whole lease, and has given the attempt up.
    LeaseLost,
    /// The deadline has come.
    Deadline,
    /// The worker stops.
    Stopping,
    /// A halt covers it.
    Halted { reason: String, grace: Duration },
}

impl Interruption {
    pub(super) fn halted(halt: Standing) -> Self {
        Self::Halted { reason: halt.reason, grace: Duration::from_millis(halt.grace_ms) }
    }
    /// A task refuses to go on: for a halt of which this worker has not heard, whose grace is over, or for good.
    pub(super) fn refused(refusal: Refusal) -> Self {
        match refusal.code == code::HALTED {
            true => Self::Halted { reason: refusal.message, grace: Duration::ZERO },
            false => Self::Unwanted { reason: refusal.message },
        }
    }
    /// How long the agent has to return, where that is not the worker's own bound.
    pub(super) fn grace(&self) -> Option<Duration> {
        match self {
            Self::Halted { grace, .. } => Some(*grace),
            _ => None,
        }
    }
}

/// What the task is told.
#[derive(Debug, PartialEq)]
pub(super) struct Report {
    /// From this and the job follows the command's id.
    pub(super) purpose: &'static str,
    /// The command.
    pub(super) command: Command,
}

impl End {
    /// Reads how the agent's task ended.
    pub(super) fn of(ended: Result<Result<Done, Failure>, JoinError>) -> Self {
        match ended.map_err(JoinError::try_into_panic) {
            Ok(returned) => Self::Returned(returned),
            Err(Ok(panic)) => Self::Panicked(words(panic.as_ref())),
            Err(Err(_)) => Self::Dropped,
        }
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a word".to_owned())
}

/// What to tell the task; none when it has given the attempt up already.
pub(super) fn report_of(job: &Job, end: End, interruption: Option<Interruption>) -> Option<Report> {
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
        Failure::InputRequired { prompt, authorization } => Report {
            purpose: "require-input",
            command: Command::RequireInput { attempt, token, prompt, authorization },
        },
    }
}

impl Report {
    /// What this says about the agent. A call that was refused because something else is down says nothing.
    pub(super) fn outcome(&self) -> Outcome<'_> {
        match &self.command {
            Command::FailJob { .. } if self.waits_for_breaker() => Outcome::Unknown,
            Command::FailJob { class, message, .. } => Outcome::of(Some(*class), message),
            _ => Outcome::Succeeded,
        }
    }

    /// Whether the agent could not go on because something that it depends on may not be called.
    pub(super) fn waits_for_breaker(&self) -> bool {
        matches!(&self.command, Command::FailJob { code, .. } if code == BREAKER_OPEN)
    }

    /// Whether the agent could not go on because the budget of the tree does not allow what it wants to do. An
    /// agent's own failure of that name, such as a provider's quota, is one like any other.
    pub(super) fn waits_for_budget(&self, job: &Job) -> bool {
        let exceeded = |class, code: &str| class == FailureClass::Budget && code == BUDGET_EXCEEDED;
        job.metered && matches!(&self.command, Command::FailJob { class, code, .. } if exceeded(*class, code))
    }

    /// Whether the task refused what the agent wanted to begin, because of a halt.
    pub(super) fn waits_for_halt(&self) -> bool {
        let halted = |class, code: &str| class == FailureClass::Canceled && code == code::HALTED;
        matches!(&self.command, Command::FailJob { class, code, .. } if halted(*class, code))
    }

    /// The attempt is taken back: it waits anew, and was no try.
    pub(super) fn withdrawn(self) -> Self {
        let Command::FailJob { attempt, token, message, .. } = self.command else { return self };
        Self { purpose: "give-back", command: Command::GiveBack { attempt, token, reason: message } }
    }

    /// This report, or a failure in its place when no message of `bytes_max` can hold it.
    pub(super) fn bounded(self, job: &Job, bytes_max: usize) -> Self {
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

    /// What is told when a task does not take a result.
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
