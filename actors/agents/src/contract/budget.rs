//! What calls use, against the budget of the tree: reserved at the worst case before a call, settled with what
//! it used. A call that nobody settles counts as used at its worst, so an attempt that is lost costs too much
//! rather than nothing.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_schemas::commands::task::{Command, Reservation, Usage};
use bus_schemas::jobs::{FailureClass, Job};
use bus_schemas::{CommandId, Reply};
use smol_str::{SmolStr, format_smolstr};
use uuid::Uuid;

use super::failure::{Failure, chain};
use super::line::Line;

/// The code of a call that the budget does not allow: the attempt is taken back, and waits for more.
pub(crate) const BUDGET_EXCEEDED: &str = "budget-exceeded";

/// Hears what a call has used. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    used: Arc<Mutex<Option<Usage>>>,
}

impl Meter {
    /// So much was used, beyond what was said before.
    pub fn add(&self, usage: Usage) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = Some(used.unwrap_or_default().plus(usage));
    }
    fn read(&self) -> Option<Usage> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a call within the budget of the tree.
pub(super) async fn spend<T, F>(
    line: &Line,
    job: &Job,
    (worst, lease): (Usage, Duration),
    call: impl FnOnce(Meter) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let meter = Meter::default();
    if !job.metered {
        return call(meter).await;
    }
    let reservation = format_smolstr!("{}/{}", job.id, Uuid::now_v7().simple());
    reserve(line, job, &reservation, worst, lease).await?;
    let outcome = call(meter.clone()).await;
    line.step();
    // Who did not say what a call used is charged the worst.
    settle(line, reservation, meter.read().unwrap_or(worst)).await;
    outcome
}

async fn reserve(
    line: &Line,
    job: &Job,
    reservation: &SmolStr,
    amount: Usage,
    lease: Duration,
) -> Result<(), Failure> {
    let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    let task = job.task.key.clone();
    let command = Command::Reserve { reservation: reservation.clone(), task, amount, lease_ms };
    let unreachable = |reason| {
        let message =
            format!("the call was not made, because the keeper of the budget does not answer: {reason}");
        Failure::transient("budget-unreachable", message)
    };
    let result = match line.tell_root(CommandId(Uuid::now_v7()), &command).await {
        Ok(Reply::Accepted { result, .. }) => result,
        Ok(Reply::Refused { refusal, .. }) if refusal.retry_after_ms.is_some() => {
            return Err(Failure::transient(refusal.code.as_str(), refusal.message));
        }
        Ok(Reply::Refused { refusal, .. }) => {
            let message = format!("the call was not made: {}", refusal.message);
            return Err(Failure::new(FailureClass::Canceled, refusal.code.as_str(), message));
        }
        Err(error) => return Err(unreachable(chain(&error))),
    };
    let answer: Reservation =
        serde_json::from_value(result).map_err(|error| unreachable(error.to_string()))?;
    if answer.granted {
        return Ok(());
    }
    let reason = answer.reason.unwrap_or_else(|| "the budget of the tree does not allow the call".to_owned());
    Err(Failure::new(FailureClass::Budget, BUDGET_EXCEEDED, reason))
}

async fn settle(line: &Line, reservation: SmolStr, used: Usage) {
    let command = Command::Settle { reservation, used };
    match line.tell_root(CommandId(Uuid::now_v7()), &command).await {
        Ok(Reply::Accepted { .. }) => {}
        Ok(Reply::Refused { refusal, .. }) => {
            tracing::warn!(code = %refusal.code, reason = refusal.message, "a call is not settled");
        }
        Err(error) => tracing::warn!(error = chain(&error), "a call is not settled; it will lapse"),
    }
}
