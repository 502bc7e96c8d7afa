//! The worker: claims an agent's jobs, runs each attempt in isolation, and reports the outcome.
//!
//! ```text
//! presence   register → … → deregister                    (entity `agent`)
//! taking     claim → jobs → attempts, at most `capacity` at once
//! attempt    renew → run, lease kept → complete-job | fail-job | require-input | give-back
//! ```
//!
//! An attempt begins when its task confirms that it is this worker's, and the confirmation is renewed three
//! times in each lease. Whatever happens in between (a kill, a lost connection, a panic of the worker), the
//! lease lapses, and the task goes on without this worker. So a worker may lose anything, but must never
//! begin without that confirmation.

mod attempt;
pub(crate) mod inputs;
mod jobs;
mod presence;
pub(crate) mod verdict;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_client::{Bus, Folded, Follower};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::task::Submit;
use bus_schemas::halts::Halts;
use bus_schemas::{Key, Refusal, chain};
use smol_str::SmolStr;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breakers;
use crate::contract::Agent;

/// How long running jobs may go on after the worker was told to stop. Most end by themselves; the rest are
/// given back.
pub const DRAIN: Duration = Duration::from_secs(15);
/// How long an agent has to return after its work was canceled; then it is dropped.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// The pause before halts are read again after an error.
const HALTS_PAUSE: Duration = Duration::from_secs(1);

/// Why a worker ended although it was not told to stop.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The `agent` entity refuses the registration. The supervisor decides whether to retry.
    #[error("registering worker `{worker}` of agent `{agent}`: refused as `{}`: {}", .refusal.code, .refusal.message)]
    Refused { agent: String, worker: SmolStr, refusal: Refusal },
    /// An experiment killed the worker.
    #[error("worker `{worker}` was killed by the experiment `{experiment}`")]
    Killed { worker: SmolStr, experiment: Key },
    /// The entity's reply cannot be read: host and worker are of different versions.
    #[error("registering worker `{worker}` of agent `{agent}`")]
    Answer { agent: String, worker: SmolStr, source: bus_client::AskError },
}

/// Runs one agent's jobs. Several workers of one agent, in one process or many, share the agent's work.
pub struct Worker {
    bus: Bus,
    agent: Arc<dyn Agent>,
    name: SmolStr,
    capacity: usize,
    drain: Duration,
    lanes: Vec<Key>,
    retired: CancellationToken,
}

impl Worker {
    /// A worker; `name` must be unique among the workers of the agent, `capacity` is the number of jobs at
    /// once.
    pub fn new(bus: Bus, agent: Arc<dyn Agent>, name: impl Into<SmolStr>, capacity: usize) -> Self {
        let (name, capacity, lanes) = (name.into(), capacity.max(1), vec![Submit::new("").lane]);
        let retired = CancellationToken::new();
        Self { bus, agent, name, capacity, drain: DRAIN, lanes, retired }
    }

    /// Sets the time that running jobs have to end, instead of [`DRAIN`].
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Takes no more jobs once the token fires, and ends when those that it has are done, however long that takes.
    #[must_use]
    pub fn retired_by(mut self, retired: CancellationToken) -> Self {
        self.retired = retired;
        self
    }

    /// Serves these lanes instead of the default lane.
    #[must_use]
    pub fn lanes(mut self, lanes: Vec<Key>) -> Self {
        self.lanes = lanes;
        self
    }

    /// Works until `stop`, then lets running jobs end, gives back those that do not, and deregisters.
    ///
    /// Waits for an unreachable bus without end: the worker can do nothing better.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkerError> {
        let card = self.agent.card();
        let read = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            read = halts(&self.bus) => read,
        };
        let (halts, follower) = read;
        let context = Arc::new(WorkerContext {
            halts,
            breakers: Breakers::new(self.bus.clone(), self.name.clone()),
            // An agent's name that is too long for a key has no breaker.
            breaker: Key::parse(&format!("agent.{}", card.name)).ok(),
            inputs: Arc::new(inputs::Inputs::of(&card)),
            card,
            bus: self.bus,
            agent: self.agent,
            name: self.name,
            capacity: self.capacity,
            lanes: self.lanes,
            drained: CancellationToken::new(),
            retired: self.retired,
            incarnation: bus_client::now().0,
            held: Mutex::default(),
        });
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            joined = presence::join(&context) => joined?,
        }
        // Reporting ends after the last job, so that its outcome is reported too.
        let worked = CancellationToken::new();
        let ended = async {
            let ended = work(&context, &stop, self.drain).await;
            worked.cancel();
            ended
        };
        let done = async { tokio::join!(context.breakers.run(worked.clone()), ended).1 };
        let ended = tokio::select! {
            ended = done => ended,
            never = follower.run() => match never {},
            // As in a crash: running attempts are dropped, and nothing is reported.
            experiment = context.bus.killed(&context.card.name, &context.name) => {
                return Err(WorkerError::Killed { worker: context.name.clone(), experiment });
            }
        };
        presence::leave(&context).await;
        ended
    }
}

/// Reads the halts: a worker that does not know them must not begin anything.
async fn halts(bus: &Bus) -> (Folded<Halts>, Follower<Halts>) {
    loop {
        match bus.follow().await {
            Ok(read) => return read,
            Err(error) => tracing::warn!(error = chain(&error), "reading halts; trying again"),
        }
        tokio::time::sleep(HALTS_PAUSE).await;
    }
}

/// Runs jobs until `stop`, or until the agent's entity no longer accepts this worker.
async fn work(
    context: &Arc<WorkerContext>,
    stop: &CancellationToken,
    drain: Duration,
) -> Result<(), WorkerError> {
    let halt = stop.child_token();
    let retiring = async {
        context.retired.cancelled().await;
        halt.cancel();
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        ended = jobs::take(context, &halt, stop, drain) => ended,
        never = retiring => match never {},
    }
}

/// What all attempts of one worker share.
struct WorkerContext {
    bus: Bus,
    agent: Arc<dyn Agent>,
    card: AgentCard,
    /// What the inputs of jobs must be like.
    inputs: Arc<inputs::Inputs>,
    name: SmolStr,
    capacity: usize,
    lanes: Vec<Key>,
    /// Fires when running jobs have had their time to end.
    drained: CancellationToken,
    /// Fires when the worker takes no more jobs, and has all the time for those that it has.
    retired: CancellationToken,
    /// The halts in force.
    halts: Folded<Halts>,
    /// The number of this worker's run; later runs have larger numbers.
    incarnation: u64,
    /// The jobs running here, each with the notification that makes it renew its lease at once.
    held: Mutex<HashMap<SmolStr, Arc<Notify>>>,
    /// The breakers of the jobs' dependencies.
    breakers: Breakers,
    /// The breaker of the agent itself, which counts the outcomes of its jobs.
    breaker: Option<Key>,
}

impl WorkerContext {
    /// Registers the job as running here; `None` when it already is.
    fn hold(self: &Arc<Self>, job: &SmolStr) -> Option<Hold> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains_key(job) {
            return None;
        }
        let nudge = Arc::new(Notify::new());
        held.insert(job.clone(), nudge.clone());
        Some(Hold { context: self.clone(), job: job.clone(), nudge })
    }
    /// Makes one job, or all of them, renew at once.
    fn nudge(&self, job: Option<&SmolStr>) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let concerned = held.iter().filter(|(held, _)| job.is_none_or(|job| job == *held));
        concerned.for_each(|(_, nudge)| nudge.notify_one());
    }
    /// Whether a dependency on the agent's card may not be called, so that its lane waits for it. Queries
    /// again, so that a breaker whose closing was missed stops the work once and not twice.
    async fn is_held_back(&self) -> bool {
        self.breakers.look_at_open(&self.card.dependencies).await
    }
}

/// A job that is running here; unregisters it when dropped.
struct Hold {
    context: Arc<WorkerContext>,
    job: SmolStr,
    /// Makes the job renew its lease at once.
    nudge: Arc<Notify>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.context.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job);
    }
}
