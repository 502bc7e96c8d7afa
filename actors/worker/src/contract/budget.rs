//! Budget of calls: the worst case is reserved in the tree's budget before a call, and settled with the
//! actual usage after it. A call that is never settled counts at its worst, so a lost attempt costs too much
//! rather than nothing.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_schemas::commands::task::{Command, Reservation, Usage};
use bus_schemas::jobs::{FailureClass, Job};
use bus_schemas::{CommandId, Reply, chain};
use smol_str::{SmolStr, format_smolstr};
use uuid::Uuid;

use super::failure::Failure;
use super::task_client::TaskClient;

/// The failure code of a call that the budget does not allow: the attempt is taken back, and waits for an
/// extension.
pub(crate) const BUDGET_EXCEEDED: &str = "budget-exceeded";

/// Counts what a call has used. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    used: Arc<Mutex<Option<Usage>>>,
}

impl Meter {
    /// Adds usage to what was added before.
    pub fn add(&self, usage: Usage) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = Some(used.unwrap_or_default().plus(usage));
    }
    fn read(&self) -> Option<Usage> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is reserved for a call: the most that it can use, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) worst: Usage,
    pub(super) lease: Duration,
}

/// Makes a call within the budget of the tree.
pub(super) async fn spend<T, F>(
    client: &TaskClient,
    job: &Job,
    bound: Bound,
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
    reserve(client, job, &reservation, bound).await?;
    let outcome = call(meter.clone()).await;
    client.step();
    // A call whose usage is unknown is charged at its worst.
    settle(client, reservation, meter.read().unwrap_or(bound.worst)).await;
    outcome
}

async fn reserve(client: &TaskClient, job: &Job, reservation: &SmolStr, bound: Bound) -> Result<(), Failure> {
    let Bound { worst: amount, lease } = bound;
    let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    let task = job.task.key.clone();
    let command = Command::Reserve { reservation: reservation.clone(), task, amount, lease_ms };
    let unreachable = |reason| {
        let message = format!(
            "the call was not made, because the root of the tree, which keeps the budget, does not answer: {reason}"
        );
        Failure::transient("budget-unreachable", message)
    };
    let result = match client.tell_root(CommandId(Uuid::now_v7()), &command).await {
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

async fn settle(client: &TaskClient, reservation: SmolStr, used: Usage) {
    let command = Command::Settle { reservation, used };
    match client.tell_root(CommandId(Uuid::now_v7()), &command).await {
        Ok(Reply::Accepted { .. }) => {}
        Ok(Reply::Refused { refusal, .. }) => {
            tracing::warn!(code = %refusal.code, reason = refusal.message, "a call is not settled");
        }
        Err(error) => tracing::warn!(error = chain(&error), "a call is not settled; it will lapse"),
    }
}
