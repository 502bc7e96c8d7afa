//! Steps within an attempt: each runs at least once, and its result is recorded once. A later attempt gets
//! the recorded result.
//!
//! A step's result is recorded before the next step begins. The last results go with the report of the
//! attempt, so that they cost no commit of their own.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bus_client::Bus;
use bus_schemas::approvals::canonical;
use bus_schemas::commands::task::Command;
use bus_schemas::events::task::Event;
use bus_schemas::jobs::{INLINE_BYTES_MAX, Job, StepResult};
use bus_schemas::{EntityAddress, Hash, Revision, chain, record, upcast};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use smol_str::SmolStr;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::failure::Failure;
use super::task_client::{TaskClient, Verdict};
use crate::crash;

/// How long the record may be unreachable: a partition moves to another host within seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a step's result may wait for others before it is recorded on its own.
const HOLD: Duration = Duration::from_millis(20);
/// The polling interval for steps that the event stream does not show yet.
const LOOK: Duration = Duration::from_millis(50);
/// The type of the event that records a step.
const RECORDED: &str = "step-recorded";
/// The only field of a recorded result that lies in the blob store.
const BLOB: &str = "blob";

/// The steps of an attempt. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    client: TaskClient,
    task: EntityAddress,
    /// The number of steps that earlier attempts recorded.
    past: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Steps that are done, but not recorded yet.
    pending: Vec<StepResult>,
    open: BTreeSet<SmolStr>,
    /// The recorded steps, once they were read.
    known: Option<HashMap<SmolStr, StepResult>>,
}

impl Steps {
    pub(crate) fn of(client: TaskClient, job: &Job) -> Self {
        Self { client, task: job.task.clone(), past: job.steps as usize, inner: Arc::default() }
    }

    /// Runs a step, unless it was recorded before.
    pub(super) async fn perform<I, T, F>(
        &self,
        name: &str,
        input: &I,
        call: impl FnOnce() -> F,
    ) -> Result<T, Failure>
    where
        I: Serialize + ?Sized,
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failure>>,
    {
        let name = SmolStr::new(name);
        let input = hash(input)?;
        if let Some(known) = self.begin(&name, input).await? {
            return given(self.client.bus(), &name, known.result, |_| None).await;
        }
        let outcome = call().await;
        let mut inner = self.inner.lock().await;
        inner.open.remove(&name);
        let value = outcome?;
        drop(inner);
        crash::point("after-step");
        let result = kept(&name, &value, async |bytes| self.client.bus().put_blob(&bytes).await).await?;
        let step = StepResult { name: name.clone(), input, result };
        let mut inner = self.inner.lock().await;
        if let Some(known) = &mut inner.known {
            known.insert(name, step.clone());
        }
        inner.pending.push(step);
        drop(inner);
        self.client.step();
        self.record_soon();
        Ok(value)
    }

    /// What a step gave, if it is recorded with this input.
    pub(super) async fn recalled<T: DeserializeOwned>(
        &self,
        name: &str,
        input: Hash,
    ) -> Result<Option<T>, Failure> {
        let name = SmolStr::new(name);
        let mut inner = self.inner.lock().await;
        if inner.known.is_none() {
            inner.known = Some(self.past().await?);
        }
        let known = inner.known.as_ref().and_then(|known| known.get(&name));
        let known = known.filter(|known| known.input == input).cloned();
        drop(inner);
        match known {
            Some(known) => given(self.client.bus(), &name, known.result, |_| None).await.map(Some),
            None => Ok(None),
        }
    }

    /// The recorded result of a step; without one, the step is open from now on.
    async fn begin(&self, name: &SmolStr, input: Hash) -> Result<Option<StepResult>, Failure> {
        let mut inner = self.inner.lock().await;
        if inner.known.is_none() {
            inner.known = Some(self.past().await?);
        }
        if let Some(known) = inner.known.as_ref().and_then(|known| known.get(name)) {
            if known.input != input {
                let message = format!("the step `{name}` was done with another input");
                let hint = "a step's name and input must be the same in every attempt";
                return Err(Failure::permanent("step-changed", message).hint(hint));
            }
            return Ok(Some(known.clone()));
        }
        if !inner.open.insert(name.clone()) {
            let message = format!("the step `{name}` is open already");
            return Err(Failure::permanent("step-open", message).hint("give each step a name of its own"));
        }
        // Earlier steps are in the log before this one begins.
        let recorded = self.record_pending(&mut inner).await;
        if recorded.is_err() {
            inner.open.remove(name);
        }
        recorded.map(|()| None)
    }

    /// Records pending results after a moment, unless something else does so before.
    fn record_soon(&self) {
        let steps = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(HOLD).await;
            if let Err(failure) = steps.record().await {
                tracing::debug!(%failure, "recording a step; it goes with the report");
            }
        });
    }

    /// Records pending results.
    pub(super) async fn record(&self) -> Result<(), Failure> {
        let mut inner = self.inner.lock().await;
        self.record_pending(&mut inner).await
    }

    async fn record_pending(&self, inner: &mut Inner) -> Result<(), Failure> {
        if inner.pending.is_empty() {
            return Ok(());
        }
        let (attempt, token) = (self.client.attempt(), self.client.token().clone());
        let command = Command::RecordStep { attempt, token, steps: inner.pending.clone() };
        let id = self.client.id(&format!("step/{}", Uuid::now_v7()), 0);
        match self.client.tell(id, &command, PATIENCE).await {
            Ok(Verdict::Accepted) => {
                crash::point("after-record");
                inner.pending.clear();
                Ok(())
            }
            Ok(Verdict::Refused(refusal)) => {
                let failure = Failure::permanent(refusal.code.as_str(), refusal.message);
                Err(refusal.hint.into_iter().fold(failure, Failure::hint))
            }
            Err(error) => Err(Failure::transient(
                "ledger-unreachable",
                format!("a step was done, and cannot be recorded: {}", chain(&error)),
            )),
        }
    }

    /// Adds pending results to the report of a completed job; records them before any other report.
    pub(crate) async fn report(&self, report: &mut Command) {
        if let Command::CompleteJob { steps, .. } = report {
            *steps = std::mem::take(&mut self.inner.lock().await.pending);
        } else if let Err(failure) = self.record().await {
            tracing::warn!(%failure, "recording steps of an attempt that failed; they are done again");
        }
    }

    /// The steps that earlier attempts recorded: as many as the job says. The event stream may show the last
    /// ones a little later, and none of them may run again.
    async fn past(&self) -> Result<HashMap<SmolStr, StepResult>, Failure> {
        let late = Instant::now() + PATIENCE;
        let mut known = HashMap::new();
        while self.past > known.len() {
            known = self.shown().await?;
            if self.past <= known.len() {
                break;
            }
            if Instant::now() >= late {
                let message =
                    format!("the event stream shows {} of {} recorded steps", known.len(), self.past);
                return Err(Failure::transient("ledger-unreachable", message));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(known)
    }

    /// The recorded steps that the event stream shows.
    async fn shown(&self) -> Result<HashMap<SmolStr, StepResult>, Failure> {
        let read = self.client.bus().history(&self.task, Revision(0), 0).await;
        let events = read.map_err(|error| {
            let message = format!("reading the steps of earlier attempts: {}", chain(&error));
            Failure::transient("ledger-unreachable", message).hint(error.hint())
        })?;
        let steps = events.iter().filter(|stored| stored.event.event_type == RECORDED);
        let read = steps.filter_map(|stored| {
            let record::Event { event_type, schema, body, .. } = &stored.event;
            match upcast::read(event_type, *schema, body) {
                Ok(Event::StepRecorded { step, .. }) => Some((step.name.clone(), step)),
                _ => None,
            }
        });
        Ok(read.collect())
    }
}

/// The recorded form of a value: itself, or its hash in the blob store.
pub(super) async fn kept<T: Serialize>(
    name: &str,
    value: &T,
    store: impl AsyncFnOnce(Vec<u8>) -> Result<Hash, bus_client::Error>,
) -> Result<Value, Failure> {
    let bytes = serde_json::to_vec(value).map_err(|error| unwritable(name, &error))?;
    if bytes.len() <= INLINE_BYTES_MAX {
        return serde_json::from_slice(&bytes).map_err(|error| unwritable(name, &error));
    }
    let hash = store(bytes).await.map_err(|error| {
        let message = format!("storing what the step `{name}` gave: {}", chain(&error));
        Failure::transient("ledger-unreachable", message).hint(error.hint())
    })?;
    Ok(json!({ BLOB: hash.to_hex() }))
}

/// The value of a recorded result. `at_hand` has blobs that are not in the store.
pub(super) async fn given<T: DeserializeOwned>(
    bus: &Bus,
    name: &str,
    result: Value,
    at_hand: impl Fn(Hash) -> Option<Bytes>,
) -> Result<T, Failure> {
    let read = match blob(&result) {
        None => serde_json::from_value(result),
        Some(hash) => {
            let bytes = match at_hand(hash) {
                Some(bytes) => bytes,
                None => bus.get_blob(hash).await.map_err(|error| {
                    let message = format!("reading what the step `{name}` gave: {}", chain(&error));
                    Failure::transient("ledger-unreachable", message).hint(error.hint())
                })?,
            };
            serde_json::from_slice(&bytes)
        }
    };
    read.map_err(|error| {
        let message = format!("what the step `{name}` gave is not what this program expects: {error}");
        Failure::permanent("step-changed", message).hint("give the step another name when its result changes")
    })
}

/// The hash of a result in the blob store.
fn blob(result: &Value) -> Option<Hash> {
    let fields = result.as_object().filter(|fields| fields.len() == 1)?;
    Hash::from_hex(fields.get(BLOB)?.as_str()?)
}

/// BLAKE3 of an input as JSON with sorted keys and without spaces.
pub(super) fn hash<I: Serialize + ?Sized>(input: &I) -> Result<Hash, Failure> {
    let value = serde_json::to_value(input).map_err(|error| {
        Failure::permanent("invalid-step", format!("the input of a step cannot be written as JSON: {error}"))
    })?;
    Ok(Hash::of(canonical(&value).as_bytes()))
}

fn unwritable(name: &str, error: &serde_json::Error) -> Failure {
    let message = format!("what the step `{name}` gave cannot be written as JSON: {error}");
    Failure::permanent("invalid-step", message)
}
