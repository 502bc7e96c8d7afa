//! The effect ledger: what must not happen twice is written into the task's events around the deed.
//!
//! ```text
//! intended → started → completed
//!                    ├ failed       it is known that nothing happened
//!                    └ ambiguous    nobody knows; never tried again by itself
//! ```

use std::future::Future;
use std::time::Duration;

use bus_schemas::Hash;
use bus_schemas::commands::task::Command;
use bus_schemas::envelope::code;
use bus_schemas::jobs::{EffectStep, FailureClass, Job, PastEffect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use smol_str::{SmolStr, ToSmolStr};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::failure::{Failure, chain};
use super::line::{Line, Verdict};

/// How long the ledger may be out of reach before an effect that has not begun is given up: a partition moves to
/// another host within seconds.
const LEDGER_PATIENCE: Duration = Duration::from_secs(20);
/// How long a deed that has begun may go on after the work was canceled: long enough for an answer that is on its way,
/// and shorter than what the worker gives the whole attempt. Under a halt it is the halt's grace.
const DEED_GRACE: Duration = Duration::from_secs(5);

/// Something outside that must not be done twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    name: SmolStr,
    tool: SmolStr,
    arguments: Value,
    detail: String,
}

impl Effect {
    /// An effect; `name` tells it from the others of the task, and is the same in every attempt.
    pub fn new(name: impl Into<SmolStr>) -> Self {
        Self { name: name.into(), tool: SmolStr::default(), arguments: Value::Null, detail: String::new() }
    }
    /// What does it, and with what. Both go into the idempotency key.
    #[must_use]
    pub fn tool(mut self, tool: impl Into<SmolStr>, arguments: Value) -> Self {
        (self.tool, self.arguments) = (tool.into(), arguments);
        self
    }
    /// What it does, for people who must find out whether it was done.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
    /// Its idempotency key: the same in every attempt of the task, and another one for other arguments.
    /// BLAKE3 over task, name, tool and arguments, these as JSON with sorted keys and without spaces.
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

/// JSON with sorted keys and without spaces: however a value was put together, its text is the same.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|a, b| a.0.cmp(b.0));
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// What an agent found out about an effect of which nobody knew whether it was done.
#[derive(Debug, Clone, PartialEq)]
pub enum Reconciled {
    /// It was done, and gave this.
    Done(Value),
    /// It was not done.
    NotDone,
    /// It can not be found out: a person is asked.
    Unknown(String),
}

/// Writes down what became of the effects of earlier attempts. Only then may the work go on.
pub(crate) async fn reconcile(
    line: &Line,
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
                format!("whether effect `{name}` was done can not be found out: {reason}"),
            ));
        }
    };
    let entry = Entry { line, name, run: Uuid::now_v7(), key: None };
    match entry.record(step, &detail, result.clone()).await {
        Recorded::Yes => Ok(PastEffect { step, detail, result, ..past.clone() }),
        Recorded::Refused(refusal) => Err(Failure::transient(refusal.code.as_str(), refusal.message)),
        Recorded::Unknown(reason) => Err(Failure::transient(
            "ledger-unreachable",
            format!("what became of effect `{name}` is known, and the ledger does not answer: {reason}"),
        )),
    }
}

/// What the effect gave when an earlier attempt did it; none when it is still to be done.
fn done_before<T: DeserializeOwned>(job: &Job, name: &str, key: &str) -> Option<Result<T, Failure>> {
    let past = job.effects.iter().find(|past| past.effect == name && past.step == EffectStep::Completed)?;
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

/// One side effect of one attempt.
struct Entry<'a> {
    line: &'a Line,
    name: &'a str,
    /// New for every run: a second worker with the same job must be refused where the first has begun, and must not
    /// be handed the first one's answer.
    run: Uuid,
    key: Option<SmolStr>,
}

/// How the ledger took an entry.
enum Recorded {
    Yes,
    Refused(bus_schemas::Refusal),
    Unknown(String),
}

impl Entry<'_> {
    async fn record(&self, step: EffectStep, detail: &str, result: Value) -> Recorded {
        let command = Command::RecordEffect {
            attempt: self.line.attempt(),
            token: self.line.token().clone(),
            effect: self.name.to_owned(),
            step,
            detail: detail.to_owned(),
            key: self.key.clone().filter(|_| step == EffectStep::Intended),
            result,
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
        match self.record(step, detail, Value::Null).await {
            Recorded::Yes => Ok(()),
            Recorded::Refused(refusal) => {
                let message = format!("the ledger refuses effect `{name}`: {}", refusal.message);
                let failure = match step {
                    // What was not begun waits for the end of the halt.
                    _ if refusal.code == code::HALTED => {
                        Failure::new(FailureClass::Canceled, code::HALTED, refusal.message)
                    }
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
    async fn close<T: Serialize>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        self.line.step();
        let (step, detail, result) = match &outcome {
            // What can not be written is not at hand for a later attempt, which is then told so.
            Ok(given) => {
                (EffectStep::Completed, String::new(), serde_json::to_value(given).unwrap_or_default())
            }
            Err(failure) if failure.class() == Some(FailureClass::Ambiguous) => {
                (EffectStep::Ambiguous, failure.to_string(), Value::Null)
            }
            Err(failure) => (EffectStep::Failed, failure.to_string(), Value::Null),
        };
        let reason = match self.record(step, &detail, result).await {
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

/// Does `deed` between two entries of the ledger, unless an earlier attempt has done it.
pub(super) async fn perform<T, F>(
    line: &Line,
    canceled: &CancellationToken,
    job: &Job,
    effect: &Effect,
    deed: impl FnOnce(SmolStr) -> F,
) -> Result<T, Failure>
where
    T: Serialize + DeserializeOwned,
    F: Future<Output = Result<T, Failure>>,
{
    let (name, detail, key) = (effect.name.as_str(), effect.detail.as_str(), effect.key(job));
    if let Some(done) = done_before(job, name, &key) {
        return done;
    }
    let entry = Entry { line, name, run: Uuid::now_v7(), key: Some(key.clone()) };
    entry.open(EffectStep::Intended, detail).await?;
    if canceled.is_cancelled() || line.halted().is_some() {
        return entry.close(Err(Failure::canceled())).await;
    }
    entry.open(EffectStep::Started, detail).await?;
    // A halt that was heard of while the ledger answered still comes before the deed.
    if line.halted().is_some() {
        return entry.close(Err(Failure::canceled())).await;
    }
    let too_late = async {
        canceled.cancelled().await;
        let grace = line.halted().map_or(DEED_GRACE, |halt| Duration::from_millis(halt.grace_ms));
        tokio::time::sleep(grace).await;
    };
    let outcome = tokio::select! {
        biased;
        outcome = deed(key) => outcome,
        () = too_late => Err(Failure::ambiguous(
            "effect-interrupted",
            format!("effect `{name}` was interrupted after it had begun"),
        )
        .hint("find out whether it happened, then retry the task or leave it")),
    };
    entry.close(outcome).await
}
