//! The effect ledger: a side effect that must not happen twice is recorded in the task's events before and
//! after.
//!
//! ```text
//! intended → started → completed
//!                    ├ failed       it is known that nothing happened
//!                    └ ambiguous    nobody knows; never tried again by itself
//! ```

use std::future::Future;
use std::time::Duration;

use bus_schemas::approvals::canonical;
use bus_schemas::commands::task::Command;
use bus_schemas::envelope::code;
use bus_schemas::jobs::{EffectStep, FailureClass, Job, PastEffect};
use bus_schemas::{Hash, chain};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use smol_str::{SmolStr, ToSmolStr};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::failure::Failure;
use super::task_client::{TaskClient, Verdict};
use crate::crash;

/// How long the ledger may be unreachable before an effect that has not begun is given up: a partition moves
/// to another host within seconds.
const LEDGER_PATIENCE: Duration = Duration::from_secs(20);
/// How long a side effect that has begun may go on after the work was canceled: long enough for a response
/// that is on its way, and shorter than the grace of the whole attempt. Under a halt it is the halt's grace.
const CALL_GRACE: Duration = Duration::from_secs(5);

/// A side effect that must not be done twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    name: SmolStr,
    tool: SmolStr,
    arguments: Value,
    detail: String,
}

impl Effect {
    /// An effect; `name` identifies it within the task, and is the same in every attempt.
    pub fn new(name: impl Into<SmolStr>) -> Self {
        Self { name: name.into(), tool: SmolStr::default(), arguments: Value::Null, detail: String::new() }
    }
    /// The tool that does it, and the arguments. Both are part of the idempotency key.
    #[must_use]
    pub fn tool(mut self, tool: impl Into<SmolStr>, arguments: Value) -> Self {
        (self.tool, self.arguments) = (tool.into(), arguments);
        self
    }
    /// A description, for people who must find out whether the effect was done.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
    pub(super) fn name(&self) -> &str {
        &self.name
    }
    /// The idempotency key: the same in every attempt of the task, different for other arguments. BLAKE3 over
    /// task, name, tool and arguments, these as JSON with sorted keys and without spaces.
    pub fn key(&self, job: &Job) -> SmolStr {
        let parts = Value::from(vec![
            Value::from(job.task.key.as_str()),
            Value::from(self.name.as_str()),
            Value::from(self.tool.as_str()),
            self.arguments.clone(),
        ]);
        Hash::of(canonical(&parts).as_bytes()).to_hex().to_smolstr()
    }
}

/// What an agent found out about an effect with unknown outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Reconciled {
    /// The effect was done, with this result.
    Done(Value),
    /// The effect was not done.
    NotDone,
    /// The agent cannot find out: a person is asked.
    Unknown(String),
}

/// Records the outcome of earlier attempts' effects. Only then may the work go on.
pub(crate) async fn reconcile(
    client: &TaskClient,
    past: &PastEffect,
    found: Reconciled,
) -> Result<PastEffect, Failure> {
    let name = past.effect.as_str();
    let (step, detail, result) = match found {
        Reconciled::Done(result) => {
            (EffectStep::Completed, "its agent found that it was done".to_owned(), result)
        }
        Reconciled::NotDone => {
            (EffectStep::Failed, "its agent found that it was not done".to_owned(), Value::Null)
        }
        Reconciled::Unknown(reason) => {
            return Err(Failure::ambiguous(
                "effect-unknown",
                format!("whether effect `{name}` was done cannot be found out: {reason}"),
            ));
        }
    };
    let entry = Entry { client, name, run: Uuid::now_v7(), key: None };
    match entry.record(step, &detail, result.clone()).await {
        Recorded::Yes => Ok(PastEffect { step, detail, result, ..past.clone() }),
        Recorded::Refused(refusal) => Err(Failure::transient(refusal.code.as_str(), refusal.message)),
        Recorded::Unknown(reason) => Err(Failure::transient(
            "ledger-unreachable",
            format!("what became of effect `{name}` is known, and the ledger does not answer: {reason}"),
        )),
    }
}

/// The result of the effect when an earlier attempt did it; `None` when it is still to be done.
pub(super) fn done_before<T: DeserializeOwned>(
    effects: &[PastEffect],
    name: &str,
    key: &str,
) -> Option<Result<T, Failure>> {
    let past = effects.iter().find(|past| past.effect == name && past.step == EffectStep::Completed)?;
    if past.key.as_ref().is_some_and(|before| before != key) {
        return Some(Err(Failure::permanent(
            "effect-changed",
            format!("effect `{name}` was done by an earlier attempt with other arguments"),
        )
        .hint("an effect's name and arguments must be the same in every attempt")));
    }
    Some(serde_json::from_value(past.result.clone()).map_err(|error| {
        Failure::permanent(
            "effect-result-lost",
            format!(
                "effect `{name}` was done by an earlier attempt, and what it gave is not at hand: {error}"
            ),
        )
        .hint("keep large results as artifacts; the ledger keeps up to 16 KiB")
    }))
}

/// The ledger entry of one effect in one attempt.
struct Entry<'a> {
    client: &'a TaskClient,
    name: &'a str,
    /// New for every run: a second worker with the same job must be refused once the first has begun, and
    /// must not receive the reply to the first.
    run: Uuid,
    key: Option<SmolStr>,
}

/// The ledger's answer to an entry.
enum Recorded {
    Yes,
    Refused(bus_schemas::Refusal),
    Unknown(String),
}

impl Entry<'_> {
    async fn record(&self, step: EffectStep, detail: &str, result: Value) -> Recorded {
        let command = Command::RecordEffect {
            attempt: self.client.attempt(),
            token: self.client.token().clone(),
            effect: self.name.to_owned(),
            step,
            detail: detail.to_owned(),
            key: self.key.clone().filter(|_| step == EffectStep::Intended),
            result,
        };
        let id = self.client.id(&format!("effect/{}/{}", self.name, self.run), step as u32);
        match self.client.tell(id, &command, LEDGER_PATIENCE).await {
            Ok(Verdict::Accepted) => Recorded::Yes,
            Ok(Verdict::Refused(refusal)) => Recorded::Refused(refusal),
            Err(error) => Recorded::Unknown(chain(&error)),
        }
    }

    /// Records a step before the side effect. Unless it is accepted, the side effect must not be done.
    async fn open(&self, step: EffectStep, detail: &str) -> Result<(), Failure> {
        let name = self.name;
        match self.record(step, detail, Value::Null).await {
            Recorded::Yes => Ok(()),
            Recorded::Refused(refusal) => {
                let message = format!("the ledger refuses effect `{name}`: {}", refusal.message);
                let failure = match step {
                    // An effect that was not begun waits for the end of the halt.
                    _ if refusal.code == code::HALTED => {
                        Failure::new(FailureClass::Canceled, code::HALTED, refusal.message)
                    }
                    // Another worker may have begun it before.
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

    /// Records the outcome of the side effect.
    async fn close<T: Serialize>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        self.client.step();
        let (step, detail, result) = match &outcome {
            // A result that cannot be serialized is not recorded; a later attempt is told so.
            Ok(given) => {
                (EffectStep::Completed, String::new(), serde_json::to_value(given).unwrap_or_default())
            }
            Err(failure) if failure.class() == Some(FailureClass::Ambiguous) => {
                (EffectStep::Ambiguous, failure.to_string(), Value::Null)
            }
            // A replay gives the agent the same failure.
            Err(failure) => (EffectStep::Failed, failure.to_string(), failure.as_json()),
        };
        let reason = match self.record(step, &detail, result).await {
            Recorded::Yes => return outcome,
            Recorded::Refused(refusal) => refusal.message,
            Recorded::Unknown(reason) => reason,
        };
        tracing::warn!(effect = self.name, %reason, "the end of an effect is not in the ledger");
        match outcome {
            // The effect was done, and that is not recorded: a repeat must be somebody's decision.
            Ok(_) => Err(Failure::ambiguous(
                "effect-unrecorded",
                format!("effect `{}` was done, and the ledger did not take it: {reason}", self.name),
            )),
            Err(failure) => Err(failure),
        }
    }
}

/// Runs `call`, the side effect, between two entries of the ledger, unless an earlier attempt has done it.
pub(super) async fn perform<T, F>(
    client: &TaskClient,
    canceled: &CancellationToken,
    job: &Job,
    effect: &Effect,
    call: impl FnOnce(SmolStr) -> F,
) -> Result<T, Failure>
where
    T: Serialize + DeserializeOwned,
    F: Future<Output = Result<T, Failure>>,
{
    let (name, detail, key) = (effect.name.as_str(), effect.detail.as_str(), effect.key(job));
    if let Some(done) = done_before(&job.effects, name, &key) {
        return done;
    }
    let entry = Entry { client, name, run: Uuid::now_v7(), key: Some(key.clone()) };
    crash::point("before-intent");
    entry.open(EffectStep::Intended, detail).await?;
    crash::point("after-intent");
    if canceled.is_cancelled() || client.halted().is_some() {
        return entry.close(Err(Failure::canceled())).await;
    }
    entry.open(EffectStep::Started, detail).await?;
    // A halt that arrived while the ledger answered still precedes the side effect.
    if client.halted().is_some() {
        return entry.close(Err(Failure::canceled())).await;
    }
    crash::point("before-call");
    let too_late = async {
        canceled.cancelled().await;
        let grace = client.halted().map_or(CALL_GRACE, |halt| Duration::from_millis(halt.grace_ms));
        tokio::time::sleep(grace).await;
    };
    let outcome = tokio::select! {
        biased;
        outcome = call(key) => outcome,
        () = too_late => Err(Failure::ambiguous(
            "effect-interrupted",
            format!("effect `{name}` was interrupted after it had begun"),
        )
        .hint("find out whether it happened, then retry the task or leave it")),
    };
    crash::point("after-call");
    let closed = entry.close(outcome).await;
    crash::point("after-effect");
    closed
}
