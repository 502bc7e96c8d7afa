//! Recorded attempts: an agent runs once more, and each step and each effect gives what it gave before.
//!
//! Steps and effects are found by their names and compared by the hashes of what they were asked with. Nothing is
//! written: artifacts are hashed and forgotten, output is dropped, and no effect is ever done again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus_client::Bus;
use bus_schemas::Hash;
use bus_schemas::commands::task;
use bus_schemas::jobs::{EffectStep, Job, PastEffect, StepResult};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use smol_str::{SmolStr, ToSmolStr};

use super::effect::{Effect, done_before};
use super::failure::Failure;
use super::step::{given, hash, kept};

/// The code of a failure because of which a replay does not go on.
pub(crate) const DRIFTED: &str = "replay-drifted";

/// An attempt, as its task recorded it.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The job that the agent was given.
    pub job: Job,
    /// The steps that were recorded in this attempt or before it.
    pub steps: Vec<StepResult>,
    /// The effects of this attempt that ended.
    pub effects: Vec<PastEffect>,
    /// The failure that the attempt ended with: what a step or an effect without a record failed with.
    pub failure: Option<task::Failure>,
    /// Whether a step runs that is not recorded, or was recorded with another input.
    pub runs_steps: bool,
}

/// How a request for a step or an effect compares with the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// It is the recorded one.
    Same,
    /// It was recorded with another input.
    Changed {
        /// The hash of what was recorded.
        recorded: SmolStr,
        /// The hash of what is asked for now.
        requested: SmolStr,
    },
    /// It is not recorded.
    Unrecorded {
        /// The hash of what is asked for now.
        requested: SmolStr,
    },
}

/// A request for a step or an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name of the step or effect.
    pub name: SmolStr,
    /// How it compares.
    pub compared: Compared,
}

/// A recording with what was asked for so far. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tape {
    bus: Bus,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    steps: HashMap<SmolStr, StepResult>,
    failure: Option<task::Failure>,
    runs_steps: bool,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    requests: Vec<Request>,
    /// The recorded ends of each effect, in order: one that failed may have been tried again.
    effects: HashMap<SmolStr, VecDeque<PastEffect>>,
    /// Steps that have begun and not ended.
    open: BTreeSet<SmolStr>,
    /// Results of steps that ran in the replay.
    new: HashMap<SmolStr, StepResult>,
    /// Artifacts and results that the replay made, which are stored nowhere.
    made: HashMap<Hash, Bytes>,
}

impl Tape {
    pub(crate) fn of(bus: Bus, recording: Recording) -> Self {
        let Recording { steps, effects, failure, runs_steps, .. } = recording;
        let mut progress = Progress::default();
        for effect in effects {
            progress.effects.entry(effect.effect.clone()).or_default().push_back(effect);
        }
        let inner = Inner {
            steps: steps.into_iter().map(|step| (step.name.clone(), step)).collect(),
            failure,
            runs_steps,
            progress: Mutex::new(progress),
        };
        Self { bus, inner: Arc::new(inner) }
    }

    pub(super) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// What was asked for.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// A step: as recorded.
    pub(super) async fn step<I, T, F>(
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
        let (name, input) = (SmolStr::new(name), hash(input)?);
        if let Some(known) = self.begin(&name, input)? {
            return given(&self.bus, &name, known.result, |hash| self.made(hash)).await;
        }
        let outcome = call().await;
        self.lock().open.remove(&name);
        let value = outcome?;
        // The form that a later attempt would get.
        let result = kept(&name, &value, async |bytes| Ok(self.make(bytes.into()))).await?;
        self.lock().new.insert(name.clone(), StepResult { name, input, result });
        Ok(value)
    }

    /// What a step gave, if it is recorded with this input.
    pub(super) async fn recalled<T: DeserializeOwned>(
        &self,
        name: &str,
        input: Hash,
    ) -> Result<Option<T>, Failure> {
        let name = SmolStr::new(name);
        let known = {
            let mut progress = self.lock();
            let known = progress.new.get(&name).or_else(|| self.inner.steps.get(&name)).cloned();
            let known = known.filter(|known| known.input == input);
            if known.is_some() {
                progress.requests.push(Request { name: name.clone(), compared: Compared::Same });
            }
            known
        };
        match known {
            Some(known) => given(&self.bus, &name, known.result, |hash| self.made(hash)).await.map(Some),
            None => Ok(None),
        }
    }

    /// The recorded step; `None` when the step is to run.
    fn begin(&self, name: &SmolStr, input: Hash) -> Result<Option<StepResult>, Failure> {
        let mut progress = self.lock();
        let known = progress.new.get(name).or_else(|| self.inner.steps.get(name)).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.input == input) {
            progress.requests.push(Request { name: name.clone(), compared: Compared::Same });
            return Ok(Some(known.clone()));
        }
        let compared =
            compared(known.map(|known| known.input.to_hex().to_smolstr()), input.to_hex().to_smolstr());
        progress.requests.push(Request { name: name.clone(), compared: compared.clone() });
        if self.inner.runs_steps {
            return match progress.open.insert(name.clone()) {
                true => Ok(None),
                false => Err(Failure::permanent("step-open", format!("the step `{name}` is open already"))),
            };
        }
        Err(self.drifted("step", name, &compared))
    }

    /// An effect: as recorded, and never done.
    pub(super) fn effect<T: DeserializeOwned>(&self, job: &Job, effect: &Effect) -> Result<T, Failure> {
        let (name, key) = (effect.name(), effect.key(job));
        let before = job.effects.iter().find(|past| past.effect == name).cloned();
        let known = before.or_else(|| self.lock().effects.get_mut(name)?.pop_front());
        let recorded = known.as_ref().map(|known| known.key.clone().unwrap_or_else(|| key.clone()));
        let compared = match recorded {
            Some(recorded) if recorded == key => Compared::Same,
            recorded => compared(recorded, key.clone()),
        };
        self.lock().requests.push(Request { name: name.into(), compared: compared.clone() });
        match known.filter(|_| compared == Compared::Same) {
            Some(known) if known.step == EffectStep::Completed => {
                done_before(std::slice::from_ref(&known), name, &key).expect("it is the one and completed")
            }
            Some(known) => Err(match serde_json::from_value(known.result) {
                Ok(failure) => Failure::Failed(failure),
                Err(_) => self.failed().unwrap_or_else(|| {
                    let message = format!("the effect `{name}` failed: {}", known.detail);
                    Failure::permanent("effect-failed", message)
                }),
            }),
            None => Err(self.drifted("effect", name, &compared)),
        }
    }

    /// The failure of a request that the record does not answer.
    fn drifted(&self, what: &str, name: &str, compared: &Compared) -> Failure {
        let failed = self.failed().filter(|_| matches!(compared, Compared::Unrecorded { .. }));
        failed.unwrap_or_else(|| {
            Failure::permanent(DRIFTED, format!("the {what} `{name}` is not recorded with this input"))
        })
    }

    fn failed(&self) -> Option<Failure> {
        self.inner.failure.clone().map(Failure::Failed)
    }

    /// Keeps bytes for the rest of the replay.
    pub(super) fn make(&self, bytes: Bytes) -> Hash {
        let hash = Hash::of(&bytes);
        self.lock().made.insert(hash, bytes);
        hash
    }

    /// Bytes that the replay made.
    pub(super) fn made(&self, hash: Hash) -> Option<Bytes> {
        self.lock().made.get(&hash).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.inner.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compared(recorded: Option<SmolStr>, requested: SmolStr) -> Compared {
    match recorded {
        Some(recorded) => Compared::Changed { recorded, requested },
        None => Compared::Unrecorded { requested },
    }
}
