//! The effect ledger: what must not happen twice is written into the task's events around the deed.
//!
//! ```text
//! intended → started → completed
//!                    ├ failed       it is known that nothing happened
//!                    └ ambiguous    nobody knows; never tried again by itself
//! ```

use std::future::Future;
use std::time::Duration;

use bus_schemas::commands::task::Command;
use bus_schemas::jobs::{EffectStep, FailureClass};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::failure::{Failure, chain};
use super::line::{Line, Verdict};

/// How long the ledger may be out of reach before an effect that has not begun is given up: a partition moves to
/// another host within seconds.
const LEDGER_PATIENCE: Duration = Duration::from_secs(20);
/// How long a deed that has begun may go on after the work was canceled: long enough for an answer that is on its way,
/// and shorter than what the worker gives the whole attempt.
const DEED_GRACE: Duration = Duration::from_secs(5);

/// One side effect of one attempt.
struct Entry<'a> {
    line: &'a Line,
    name: &'a str,
    /// New for every run: a second worker with the same job must be refused where the first has begun, and must not
    /// be handed the first one's answer.
    run: Uuid,
}

/// How the ledger took an entry.
enum Recorded {
    Yes,
    Refused(bus_schemas::Refusal),
    Unknown(String),
}

impl Entry<'_> {
    async fn record(&self, step: EffectStep, detail: &str) -> Recorded {
        let command = Command::RecordEffect {
            attempt: self.line.attempt(),
            effect: self.name.to_owned(),
            step,
            detail: detail.to_owned(),
        };
        let id = self.line.id(&format!("effect/{}/{}", self.name, self.run), step as u32);
        match self.line.tell(id, &command, LEDGER_PATIENCE).await {
            Ok(Verdict::Accepted) => Recorded::Yes,
            Ok(Verdict::Refused(refusal)) => Recorded::Refused(refusal),
            Err(error) => Recorded::Unknown(chain(&error)),
        }
    }

    /// Writes what precedes the deed. Anything but a clear yes means that the deed must not be done.
    async fn open(&self, step: EffectStep, detail: &str) -> Result<(), Failure> {
        let name = self.name;
        match self.record(step, detail).await {
            Recorded::Yes => Ok(()),
            Recorded::Refused(refusal) => {
                let message = format!("the ledger refuses effect `{name}`: {}", refusal.message);
                let failure = match step {
                    // Somebody may have begun it before.
                    EffectStep::Started => Failure::ambiguous(refusal.code.as_str(), message),
                    _ => Failure::permanent(refusal.code.as_str(), message),
                };
                Err(refusal.hint.into_iter().fold(failure, Failure::hint))
            }
            Recorded::Unknown(reason) => Err(Failure::transient(
                "ledger-unreachable",
                format!("effect `{name}` was not begun, because the ledger does not answer: {reason}"),
            )),
        }
    }

    /// Writes what came of the deed.
    async fn close<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let (step, detail) = match &outcome {
            Ok(_) => (EffectStep::Completed, String::new()),
            Err(failure) if failure.class() == Some(FailureClass::Ambiguous) => {
                (EffectStep::Ambiguous, failure.to_string())
            }
            Err(failure) => (EffectStep::Failed, failure.to_string()),
        };
        let reason = match self.record(step, &detail).await {
            Recorded::Yes => return outcome,
            Recorded::Refused(refusal) => refusal.message,
            Recorded::Unknown(reason) => reason,
        };
        tracing::warn!(effect = self.name, %reason, "the end of an effect is not in the ledger");
        match outcome {
            // It was done, and nobody will know: doing it again must be somebody's decision.
            Ok(_) => Err(Failure::ambiguous(
                "effect-unrecorded",
                format!("effect `{}` was done, and the ledger did not take it: {reason}", self.name),
            )),
            Err(failure) => Err(failure),
        }
    }
}

/// Does `deed` between two entries of the ledger.
pub(super) async fn perform<T>(
    line: &Line,
    canceled: &CancellationToken,
    name: &str,
    detail: &str,
    deed: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let entry = Entry { line, name, run: Uuid::now_v7() };
    entry.open(EffectStep::Intended, detail).await?;
    if canceled.is_cancelled() || line.halted().is_some() {
        return entry.close(Err(Failure::canceled())).await;
    }
    entry.open(EffectStep::Started, detail).await?;
    let too_late = async {
        canceled.cancelled().await;
        tokio::time::sleep(DEED_GRACE).await;
    };
    let outcome = tokio::select! {
        biased;
        outcome = deed => outcome,
        () = too_late => Err(Failure::ambiguous(
            "effect-interrupted",
            format!("effect `{name}` was interrupted after it had begun"),
        )
        .hint("find out whether it happened, then retry the task or leave it")),
    };
    entry.close(outcome).await
}
