//! The worker: takes an agent's jobs, runs each one guarded, and reports what came of it.
//!
//! ```text
//! presence   register → … → deregister                    (entity `agent`)
//! taking     claim → jobs → attempts, at most `capacity` at once
//! attempt    renew → run, lease kept → complete-job | fail-job | require-input | give-back
//! ```
//!
//! An attempt begins when its task says that it is this worker's, and says so three times in each lease. Whatever
//! happens in between (a kill, a lost connection, a panic of ours), the lease lapses, and the task goes on without
//! this worker. So a worker may lose anything but must never begin without that word.

mod attempt;
mod jobs;
mod presence;
mod verdict;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_client::halts::HaltFollower;
use bus_client::{Bus, Chaos, HaltWatch};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::task::Submit;
use bus_schemas::{Key, Refusal};
use smol_str::SmolStr;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breakers;
use crate::contract::{Agent, chain};

/// How long running jobs may go on after the worker was told to stop. Most end by themselves; the rest is given back.
pub const DRAIN: Duration = Duration::from_secs(15);
/// How long an agent has to return after its work was canceled; then it is dropped.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// Before halts are read again after an error.
const HALTS_PAUSE: Duration = Duration::from_secs(1);

/// Why a worker ended although nobody stopped it.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The `agent` entity does not take it. Trying again is the supervisor's decision.
    #[error("registering worker `{worker}` of agent `{agent}`: refused as `{}`: {}", .refusal.code, .refusal.message)]
    Refused { agent: String, worker: SmolStr, refusal: Refusal },
    /// An experiment ended it.
    #[error("worker `{worker}` was killed by the experiment `{experiment}`")]
    Killed { worker: SmolStr, experiment: Key },
    /// The entity's answer makes no sense: host and worker are of different versions.
    #[error("registering worker `{worker}` of agent `{agent}`")]
    Answer { agent: String, worker: SmolStr, source: bus_client::AskError },
}

/// Runs one agent's jobs. Several workers of one agent, in one process or many, share its work.
pub struct Worker {
    bus: Bus,
    agent: Arc<dyn Agent>,
    name: SmolStr,
    capacity: usize,
    drain: Duration,
    lanes: Vec<Key>,
    chaos: Chaos,
}

impl Worker {
    /// A worker; `name` must be unique among the workers of this agent.
    pub fn new(bus: Bus, agent: Arc<dyn Agent>, name: impl Into<SmolStr>, capacity: usize) -> Self {
        let (name, capacity, lanes) = (name.into(), capacity.max(1), vec![Submit::new("").lane]);
        Self { bus, agent, name, capacity, drain: DRAIN, lanes, chaos: Chaos::none() }
    }

    /// Gives running jobs another time than [`DRAIN`].
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Takes part in experiments.
    #[must_use]
    pub fn chaos(mut self, chaos: Chaos) -> Self {
        self.chaos = chaos;
        self
    }

    /// Serves these lanes instead of the one of tasks that name none.
    #[must_use]
    pub fn lanes(mut self, lanes: Vec<Key>) -> Self {
        self.lanes = lanes;
        self
    }

    /// Works until `stop`, then lets running jobs end, gives back those that do not, and leaves in good order.
    ///
    /// A bus that does not answer is waited for without end: the worker can do nothing better.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkerError> {
        let card = self.agent.card();
        let read = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            read = halts(&self.bus) => read,
        };
        let (halts, follower) = read;
        let crew = Arc::new(Crew {
            halts,
            breakers: Breakers::new(self.bus.clone(), self.name.clone()),
            // A name that is too long for a breaker has none.
            breaker: Key::parse(&format!("agent.{}", card.name)).ok(),
            card,
            bus: self.bus,
            agent: self.agent,
            name: self.name,
            capacity: self.capacity,
            lanes: self.lanes,
            chaos: self.chaos,
            drained: CancellationToken::new(),
            incarnation: crate::contract::now().0,
            held: Mutex::default(),
        });
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            joined = presence::join(&crew) => joined?,
        }
        // It ends behind the last job, so that what came of that one is told too.
        let worked = CancellationToken::new();
        let ended = async {
            let ended = work(&crew, &stop, self.drain).await;
            worked.cancel();
            ended
        };
        let done = async { tokio::join!(crew.breakers.run(worked.clone()), ended).1 };
        let ended = tokio::select! {
            ended = done => ended,
            never = follower.run() => match never {},
            // As in a crash: what runs is dropped, and nobody is told.
            experiment = crew.chaos.until_killed(&crew.card.name, &crew.name) => {
                return Err(WorkerError::Killed { worker: crew.name.clone(), experiment });
            }
        };
        presence::leave(&crew).await;
        ended
    }
}

/// Reads what stands still: a worker that does not know must not begin anything.
async fn halts(bus: &Bus) -> (HaltWatch, HaltFollower) {
    loop {
        match bus.halts().await {
            Ok(read) => return read,
            Err(error) => tracing::warn!(error = chain(&error), "reading halts; trying again"),
        }
        tokio::time::sleep(HALTS_PAUSE).await;
    }
}

/// Does jobs until `stop`, or until the agent's entity takes this worker no longer.
async fn work(crew: &Arc<Crew>, stop: &CancellationToken, drain: Duration) -> Result<(), WorkerError> {
    jobs::take(crew, &stop.child_token(), drain).await
}

/// What all attempts of one worker share.
struct Crew {
    bus: Bus,
    agent: Arc<dyn Agent>,
    card: AgentCard,
    name: SmolStr,
    capacity: usize,
    lanes: Vec<Key>,
    /// What is disturbed on purpose.
    chaos: Chaos,
    /// Fires when running jobs have had their time to end.
    drained: CancellationToken,
    /// What stands still.
    halts: HaltWatch,
    /// Which life of this worker this is: later ones are larger.
    incarnation: u64,
    /// The jobs being done here, and what makes each ask at once whether it is still wanted.
    held: Mutex<HashMap<SmolStr, Arc<Notify>>>,
    /// Whether what jobs depend on may be called.
    breakers: Breakers,
    /// The breaker of the agent itself: how its jobs end.
    breaker: Option<Key>,
}

impl Crew {
    /// Takes hold of a job; none when it is being done here already.
    fn hold(self: &Arc<Self>, job: &SmolStr) -> Option<Hold> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains_key(job) {
            return None;
        }
        let nudge = Arc::new(Notify::new());
        held.insert(job.clone(), nudge.clone());
        Some(Hold { crew: self.clone(), job: job.clone(), nudge })
    }
    /// Makes a job, or all of them, ask at once whether it is still wanted.
    fn nudge(&self, job: Option<&SmolStr>) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let concerned = held.iter().filter(|(held, _)| job.is_none_or(|job| job == *held));
        concerned.for_each(|(_, nudge)| nudge.notify_one());
    }
    /// Whether something that the agent says it depends on may not be called, so that its lane waits
    /// for it. Looks again, so that a breaker that closed unheard stops the work once and not twice.
    async fn is_held_back(&self) -> bool {
        self.breakers.look_at_open(&self.card.dependencies).await
    }
}

/// A job that is being done here; lets go when dropped.
struct Hold {
    crew: Arc<Crew>,
    job: SmolStr,
    /// Makes it ask at once whether it is still wanted.
    nudge: Arc<Notify>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.crew.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job);
    }
}
