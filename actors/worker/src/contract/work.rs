//! What an agent gets for one attempt: the job, and the calls it can make meanwhile.

mod installation;

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bus_schemas::chain;
use bus_schemas::commands::task::Usage;
use bus_schemas::jobs::{Artifact, INLINE_BYTES_MAX, Job, OutputChunk, Progress};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use smol_str::SmolStr;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinError;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::budget::{self, Meter};
use super::effect::{self, Effect};
use super::failure::Failure;
use super::step::Steps;
use super::tape::Tape;
use super::task_client::TaskClient;
use super::watch::Watch;
use crate::breaker::Breakers;

/// The pause between two progress messages: ten a second are as many as an eye can follow.
pub const PROGRESS_PAUSE: Duration = Duration::from_millis(100);
/// The size of the largest artifact. It is held in memory while it is stored or read, once for each running
/// job.
pub const ARTIFACT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One attempt at one task. Cheap to clone, so that parts of an agent can run side by side.
#[derive(Debug, Clone)]
pub struct Work {
    /// The job to do.
    pub job: Job,
    source: Source,
    canceled: CancellationToken,
    output: Arc<Mutex<Output>>,
    breakers: Breakers,
}

/// What answers the calls of an attempt.
#[derive(Debug, Clone)]
enum Source {
    /// Its task.
    Live(Arc<Live>),
    /// A recording.
    Recorded(Tape),
}

#[derive(Debug)]
struct Live {
    client: TaskClient,
    steps: Steps,
}

/// The output streamed so far. Locked while a chunk is sent, so that chunks leave in order of their numbers.
#[derive(Debug, Default)]
struct Output {
    number: u64,
    progress: Option<(Progress, Instant)>,
}

impl Work {
    pub(crate) fn new(
        job: Job,
        client: TaskClient,
        canceled: CancellationToken,
        breakers: Breakers,
        steps: Steps,
    ) -> Self {
        Self {
            job,
            source: Source::Live(Arc::new(Live { client, steps })),
            canceled,
            output: Arc::default(),
            breakers,
        }
    }

    /// The work of a recorded attempt.
    pub(crate) fn recorded(job: Job, tape: Tape, canceled: CancellationToken, breakers: Breakers) -> Self {
        Self { job, source: Source::Recorded(tape), canceled, output: Arc::default(), breakers }
    }

    /// The client of the task; none where a recording answers.
    pub(super) fn client(&self) -> Option<&TaskClient> {
        match &self.source {
            Source::Live(live) => Some(&live.client),
            Source::Recorded(_) => None,
        }
    }

    /// Runs a step of the attempt: at least once, with its result recorded once. A later attempt that comes
    /// to the same step gets the recorded result, and does not run it again.
    ///
    /// The name, 1 to 128 bytes, and the input identify the step: the same name with another input fails as
    /// `step-changed`. The result is recorded before the next step begins, or with the report. A side effect
    /// that must not happen twice is an [`effect`](Self::effect).
    pub async fn step<I, T, F>(&self, name: &str, input: &I, call: impl FnOnce() -> F) -> Result<T, Failure>
    where
        I: Serialize + ?Sized,
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failure>>,
    {
        match &self.source {
            Source::Live(live) => live.steps.perform(name, input, call).await,
            Source::Recorded(tape) => tape.step(name, input, call).await,
        }
    }

    /// What a step of this task gave, if it was done with this input; nothing is run otherwise. For an agent that
    /// rebuilds what it knew from its own steps.
    pub async fn recalled<I: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        name: &str,
        input: &I,
    ) -> Result<Option<T>, Failure> {
        let input = super::step::hash(input)?;
        match &self.source {
            Source::Live(live) => live.steps.recalled(name, input).await,
            Source::Recorded(tape) => tape.recalled(name, input).await,
        }
    }

    /// The breakers of the work's dependencies: `work.breakers().call("model.openai", || async { … })`.
    pub fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    /// Streams text for people. Long text is split into chunks; a lost chunk is not sent again.
    pub async fn output(&self, text: &str) {
        let mut rest = text;
        let mut output = self.output.lock().await;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(INLINE_BYTES_MAX));
            self.stream(&mut output, piece.to_owned(), None).await;
            rest = after;
        }
    }

    /// Reports progress. More than ten messages a second are dropped, but never one that reports completion.
    pub async fn progress(&self, done: u64, total: Option<u64>, note: &str) {
        let progress = Progress { done, total, note: note.to_owned() };
        let mut output = self.output.lock().await;
        if let Some((last, at)) = &output.progress
            && (*last == progress || (at.elapsed() < PROGRESS_PAUSE && total != Some(done)))
        {
            return;
        }
        output.progress = Some((progress.clone(), Instant::now()));
        self.stream(&mut output, String::new(), Some(progress)).await;
    }

    async fn stream(&self, output: &mut Output, text: String, progress: Option<Progress>) {
        let Source::Live(live) = &self.source else { return };
        output.number += 1;
        live.client.step();
        let chunk = OutputChunk { attempt: self.job.attempt, number: output.number, text, progress };
        live.client.bus().publish_output(live.client.task(), &chunk).await;
    }

    /// Stores bytes under their hash. Storing the same bytes again costs nothing, so a repeated attempt
    /// leaves no litter.
    pub async fn put_artifact(
        &self,
        name: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Artifact, Failure> {
        let length = bytes.len() as u64;
        if length > ARTIFACT_BYTES_MAX {
            return Err(too_large(name, length));
        }
        let stored = match &self.source {
            Source::Live(live) => live.client.bus().put_blob(&bytes).await,
            Source::Recorded(tape) => Ok(tape.make(bytes)),
        };
        let hash = stored.map_err(|error| {
            Failure::transient("artifact-not-stored", format!("storing artifact `{name}`: {}", chain(&error)))
                .hint(error.hint())
        })?;
        Ok(Artifact {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            hash,
            bytes: length,
            // The parent task fills the step in: a worker need not know that its task is a step.
            step: SmolStr::default(),
        })
    }

    /// Reads an artifact and checks it against its hash.
    pub async fn get_artifact(&self, artifact: &Artifact) -> Result<Bytes, Failure> {
        let name = &artifact.name;
        if artifact.bytes > ARTIFACT_BYTES_MAX {
            return Err(too_large(name, artifact.bytes));
        }
        let bus = match &self.source {
            Source::Live(live) => live.client.bus(),
            Source::Recorded(tape) => match tape.made(artifact.hash) {
                Some(bytes) => return Ok(bytes),
                None => tape.bus(),
            },
        };
        bus.get_blob(artifact.hash).await.map_err(|error| {
            Failure::transient("artifact-unreadable", format!("reading artifact `{name}`: {}", chain(&error)))
                .hint(error.hint())
        })
    }

    /// Reads an artifact that an earlier step wrote as JSON. Its content will not change, so a retry would
    /// not help.
    pub async fn get_json<T: DeserializeOwned>(&self, artifact: &Artifact) -> Result<T, Failure> {
        let bytes = self.get_artifact(artifact).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::permanent(
                "artifact-malformed",
                format!(
                    "artifact `{}` of step `{}` is not what was expected: {error}",
                    artifact.name, artifact.step
                ),
            )
            .hint("run the whole task again: its steps may come from different versions of the agents")
        })
    }

    /// An artifact of an earlier step of the plan.
    pub fn input(&self, step: &str, name: &str) -> Option<&Artifact> {
        self.job.inputs.iter().find(|artifact| artifact.step == step && artifact.name == name)
    }

    /// The step of the plan that this task is; empty for a task without a parent.
    pub fn step_of_plan(&self) -> SmolStr {
        self.job.task.key.as_str().rsplit_once('.').map(|(_, step)| SmolStr::new(step)).unwrap_or_default()
    }

    /// Fires when the result is no longer wanted: the task was canceled, its deadline passed, or the worker
    /// stops.
    pub fn canceled(&self) -> CancellationToken {
        self.canceled.clone()
    }

    /// Does a side effect that must not happen twice, with an entry in the ledger before and after it.
    ///
    /// `call` gets the effect's idempotency key, to pass it to the tool. It runs only after the ledger has
    /// recorded the intention. When the work is canceled after the side effect began, its outcome is awaited
    /// for some seconds. An effect that an earlier attempt has done is not done again: its recorded result is
    /// returned, up to 16 KiB as JSON.
    pub async fn effect<T, F>(&self, effect: Effect, call: impl FnOnce(SmolStr) -> F) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failure>>,
    {
        match &self.source {
            Source::Live(live) => {
                live.steps.record().await?;
                effect::perform(&live.client, &self.canceled, &self.job, &effect, call).await
            }
            Source::Recorded(tape) => tape.effect(&self.job, &effect),
        }
    }

    /// Makes a call that costs: of a model, or of a tool that is counted. `worst` is the most that it can
    /// use; it is reserved in the budget of the tree before the call. Add the actual usage to the meter; a
    /// call that does not do so within `lease` (1 second to 1 hour) counts at its worst.
    ///
    /// Where the budget does not allow the call, it is not made: return the failure, and the attempt waits
    /// until the budget is extended.
    pub async fn spend<T, F>(
        &self,
        worst: Usage,
        lease: Duration,
        call: impl FnOnce(Meter) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        match &self.source {
            Source::Live(live) => {
                budget::spend(&live.client, &self.job, budget::Bound { worst, lease }, call).await
            }
            // The budget of a tree is for its work, not for looking at it again.
            Source::Recorded(_) => call(Meter::default()).await,
        }
    }

    /// Runs long work that does not yield on a thread of its own. Its progress is streamed, and its `Watch`
    /// says that it is canceled when the attempt is, or when nothing waits for it any more.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Watch) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let stop = self.canceled.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let (tell, told) = watch::channel(None);
        let watch = Watch::new(tell, stop);
        let span = tracing::Span::current();
        let mut running = tokio::task::spawn_blocking(move || span.in_scope(|| work(watch)));
        let mut ticks = interval(PROGRESS_PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut running => break ended,
                _ = ticks.tick() => self.pass_on(&told).await,
            }
        };
        self.pass_on(&told).await;
        match ended {
            Ok(outcome) => outcome,
            Err(error) => Err(ended_early(error)),
        }
    }

    async fn pass_on(&self, told: &watch::Receiver<Option<Progress>>) {
        let latest = told.borrow().clone();
        if let Some(Progress { done, total, note }) = latest {
            self.progress(done, total, &note).await;
        }
    }
}

/// A panic is resumed in the agent, where the worker catches it; a thread that never ran means that the
/// process ends.
fn ended_early(error: JoinError) -> Failure {
    match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Failure::transient("worker-stopping", "the process ends"),
    }
}

fn too_large(name: &str, bytes: u64) -> Failure {
    Failure::permanent(
        "artifact-too-large",
        format!("artifact `{name}` has {bytes} bytes, and {ARTIFACT_BYTES_MAX} is the most"),
    )
}
