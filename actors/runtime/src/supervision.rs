//! Supervision: every long-lived part of the process is a ractor actor under a supervisor.
//!
//! A worker is one future. The supervisor restarts it after a pause when it fails or panics. More failures
//! than the intensity allows make the supervisor fail, and its own supervisor decides. When the root fails,
//! the process ends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bus_client::Trouble;
use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The first pause before a restart; doubles with every failure within the intensity's window.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause before a restart.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Spawns an unsupervised task: it belongs to a worker, ends by itself and logs its own errors. `what` names
/// it in tools that list tasks.
pub fn spawn<F: Future<Output = ()> + Send + 'static>(what: &'static str, future: F) {
    tracing::trace!(what, "task spawned");
    #[expect(clippy::disallowed_methods, reason = "the one place where tasks are spawned")]
    tokio::spawn(future);
}

/// When a worker that ended is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// After any end.
    Always,
    /// After a failure.
    OnFailure,
}

/// How many failures a supervisor tolerates.
#[derive(Debug, Clone, Copy)]
pub struct Intensity {
    /// The most failures within the window; one more makes the supervisor fail.
    pub failures: usize,
    /// The window.
    pub within: Duration,
}

/// Why a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failed {
    /// The error with its causes.
    pub reason: String,
    /// Whether the server caused it: no answer, or no leader. Such a failure passes by itself, so no
    /// supervisor gives up because of it.
    pub outside: bool,
}

impl Failed {
    /// A failure from an error; it is `outside` if the server is one of the causes.
    pub fn by(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let outside = |error: &(dyn std::error::Error + 'static)| {
            error.downcast_ref::<bus_client::Error>().is_some_and(bus_client::Error::is_temporary)
        };
        Self { reason: bus_schemas::chain(error), outside: causes.any(outside) }
    }
}

impl From<String> for Failed {
    fn from(reason: String) -> Self {
        Self { reason, outside: false }
    }
}

/// Makes the future of a worker; the token asks it to end.
pub type Work = Arc<dyn Fn(CancellationToken) -> BoxFuture<'static, Result<(), Failed>> + Send + Sync>;

/// A worker to be supervised.
#[derive(Clone)]
pub struct Child {
    /// Its name, unique below its supervisor.
    pub name: String,
    /// When it is restarted.
    pub restart: Restart,
    /// Makes its future.
    pub work: Work,
}

impl std::fmt::Debug for Child {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Child").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A failure, for the healer.
#[derive(Debug, Clone)]
pub struct Failure {
    /// `<supervisor>/<worker>`.
    pub worker: String,
    /// The error.
    pub reason: String,
    /// Whether the server caused it.
    pub outside: bool,
    /// When it happened.
    pub at: Instant,
}

/// A supervisor's reaction to a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `<supervisor>/<worker>`.
    pub worker: String,
    /// The error.
    pub reason: String,
    /// Failures of all workers of this supervisor within its window, including this one.
    pub failures: usize,
    /// The window.
    pub within: Duration,
    /// The pause before the restart; `None` if the supervisor gave up and its own supervisor decides.
    pub pause: Option<Duration>,
}

/// The channel for reports. A report without room is dropped: the failures themselves are counted in any
/// case.
pub type Reports = mpsc::Sender<Report>;

/// The actor of one worker.
struct Worker;

/// A message to a worker's actor.
enum WorkerMessage {
    Run,
}

impl Actor for Worker {
    type Msg = WorkerMessage;
    type State = Option<BoxFuture<'static, Result<(), Failed>>>;
    type Arguments = BoxFuture<'static, Result<(), Failed>>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        work: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(WorkerMessage::Run)?;
        Ok(Some(work))
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WorkerMessage::Run => {
                if let Some(work) = state.take() {
                    work.await.map_err(ActorProcessingErr::from)?;
                }
                myself.stop(None);
                Ok(())
            }
        }
    }
}

/// The log throttle for a worker's failures.
fn trouble(supervisor: &str, worker: &str) -> Trouble {
    Trouble::new(format!("worker `{supervisor}/{worker}`"), PAUSE_MIN, PAUSE_MAX)
}

/// A message to a supervisor.
enum SupervisorMessage {
    Start(Child),
    Restart(String),
    Stop(String),
    Shutdown(oneshot::Sender<()>),
}

struct Running {
    child: Child,
    actor: Option<ActorId>,
    stop: CancellationToken,
    /// When it was last started.
    since: Instant,
    pause: Duration,
    /// Throttles the log lines of repeated failures.
    trouble: Trouble,
}

impl Running {
    fn new(supervisor: &str, child: Child) -> Self {
        let trouble = trouble(supervisor, &child.name);
        let (stop, since) = (CancellationToken::new(), Instant::now());
        Self { child, actor: None, stop, since, pause: PAUSE_MIN, trouble }
    }
}

struct SupervisorState {
    name: String,
    intensity: Intensity,
    children: HashMap<String, Running>,
    failures: VecDeque<Instant>,
    reports: watch::Sender<Option<Failure>>,
    told: Option<Reports>,
    shutdown: Vec<oneshot::Sender<()>>,
    stopping: bool,
}

struct SupervisorActor;

impl SupervisorState {
    async fn start(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        name: &str,
    ) -> Result<(), ActorProcessingErr> {
        let Some(running) = self.children.get_mut(name) else { return Ok(()) };
        if running.actor.is_some() || running.stop.is_cancelled() {
            return Ok(());
        }
        let work = (running.child.work)(running.stop.clone());
        let (actor, _) = Actor::spawn_linked(None, Worker, work, myself.get_cell()).await?;
        running.actor = Some(actor.get_id());
        running.since = Instant::now();
        Ok(())
    }

    /// Restarts a worker that ended, where its rule says so.
    fn ended(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        actor: &ActorCell,
        failure: Option<Failed>,
    ) -> Result<(), ActorProcessingErr> {
        let found = self.children.iter().find(|(_, running)| running.actor == Some(actor.get_id()));
        let Some(name) = found.map(|(name, _)| name.clone()) else { return Ok(()) };
        let Some(running) = self.children.get_mut(&name) else { return Ok(()) };
        running.actor = None;
        let wanted = match running.child.restart {
            Restart::Always => true,
            Restart::OnFailure => failure.is_some(),
        };
        if self.stopping || running.stop.is_cancelled() || !wanted {
            self.children.remove(&name);
            self.finish_shutdown(myself);
            return Ok(());
        }
        // After a whole window without a failure, the pause starts over.
        if running.since.elapsed() > self.intensity.within {
            running.pause = PAUSE_MIN;
            running.trouble = trouble(&self.name, &name);
        }
        let pause = running.pause;
        running.pause = (pause * 2).min(PAUSE_MAX);
        if let Some(failed) = failure {
            self.failed(&name, failed, pause)?;
        }
        let myself = myself.clone();
        spawn("supervision pause", async move {
            tokio::time::sleep(pause).await;
            // The supervisor may have ended in the meantime.
            let _ = myself.cast(SupervisorMessage::Restart(name));
        });
        Ok(())
    }

    fn failed(&mut self, name: &str, failed: Failed, pause: Duration) -> Result<(), ActorProcessingErr> {
        let worker = format!("{}/{name}", self.name);
        if let Some(running) = self.children.get_mut(name) {
            running.trouble.failed(&format_args!("worker failed and is started again: {failed}"));
        }
        let Failed { reason, outside } = failed;
        let failure = Failure { worker: worker.clone(), reason: reason.clone(), outside, at: Instant::now() };
        self.reports.send_replace(Some(failure));
        if outside {
            // Giving up would not help: the worker can go on only when the server does.
            return Ok(());
        }
        metrics::counter!(crate::metric::FAILURES, "supervisor" => self.name.clone()).increment(1);
        let now = Instant::now();
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|at| now.duration_since(*at) > self.intensity.within) {
            self.failures.pop_front();
        }
        let gives_up = self.failures.len() > self.intensity.failures;
        let (failures, within) = (self.failures.len(), self.intensity.within);
        let pause = (!gives_up).then_some(pause);
        let report = Report { worker: worker.clone(), reason: reason.clone(), failures, within, pause };
        if self.told.as_ref().is_some_and(|told| told.try_send(report).is_err()) {
            tracing::warn!(worker, "a failure could not be reported");
        }
        if gives_up {
            tracing::error!(supervisor = self.name, worker, reason, "workers failed too often; giving up");
            let (count, within) = (self.failures.len(), self.intensity.within);
            return Err(format!("{count} failures within {within:?}, last `{worker}`: {reason}").into());
        }
        Ok(())
    }

    fn finish_shutdown(&mut self, myself: &ActorRef<SupervisorMessage>) {
        if self.stopping && self.children.values().all(|running| running.actor.is_none()) {
            for done in self.shutdown.drain(..) {
                // The requester may have stopped waiting.
                let _ = done.send(());
            }
            myself.stop(None);
        }
    }
}

impl Actor for SupervisorActor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = (String, Intensity, watch::Sender<Option<Failure>>, Option<Reports>);

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let (name, intensity, reports, told) = arguments;
        Ok(SupervisorState {
            name,
            intensity,
            children: HashMap::new(),
            failures: VecDeque::new(),
            reports,
            told,
            shutdown: Vec::new(),
            stopping: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Start(child) => {
                let name = child.name.clone();
                let running = Running::new(&state.name, child);
                state.children.insert(name.clone(), running);
                state.start(&myself, &name).await
            }
            SupervisorMessage::Restart(name) => state.start(&myself, &name).await,
            SupervisorMessage::Stop(name) => {
                if let Some(running) = state.children.get(&name) {
                    running.stop.cancel();
                    if running.actor.is_none() {
                        state.children.remove(&name);
                    }
                }
                Ok(())
            }
            SupervisorMessage::Shutdown(done) => {
                state.stopping = true;
                state.shutdown.push(done);
                for running in state.children.values() {
                    running.stop.cancel();
                }
                state.finish_shutdown(&myself);
                Ok(())
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(actor, ..) => state.ended(&myself, &actor, None),
            SupervisionEvent::ActorFailed(actor, reason) => {
                let failed = match reason.downcast::<Failed>() {
                    Ok(failed) => *failed,
                    // A panic.
                    Err(reason) => Failed::from(reason.to_string()),
                };
                state.ended(&myself, &actor, Some(failed))
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

/// A handle to a supervisor.
#[derive(Clone)]
pub struct Supervisor {
    actor: ActorRef<SupervisorMessage>,
    failures: watch::Receiver<Option<Failure>>,
    told: Option<Reports>,
    /// Whether its end was requested and is no failure.
    closing: Arc<AtomicBool>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Starts a root supervisor.
    pub async fn root(name: &str, intensity: Intensity) -> Result<Self, SpawnErr> {
        Ok(Self::spawn(name, intensity, None).await?.0)
    }
    /// Starts a root supervisor; it and those below it send reports.
    pub async fn root_reporting(name: &str, intensity: Intensity, told: Reports) -> Result<Self, SpawnErr> {
        Ok(Self::spawn(name, intensity, Some(told)).await?.0)
    }
    async fn spawn(
        name: &str,
        intensity: Intensity,
        told: Option<Reports>,
    ) -> Result<(Self, tokio::task::JoinHandle<()>), SpawnErr> {
        let (reports, failures) = watch::channel(None);
        let arguments = (name.to_owned(), intensity, reports, told.clone());
        let (actor, handle) = Actor::spawn(None, SupervisorActor, arguments).await?;
        Ok((Self { actor, failures, told, closing: Arc::default() }, handle))
    }
    /// Starts a supervisor below this one; its failure makes this one fail.
    pub async fn below(&self, name: &str, intensity: Intensity) -> Result<Self, SpawnErr> {
        let (child, handle) = Self::spawn(name, intensity, self.told.clone()).await?;
        // Here the branch is a worker: it ends when the branch's supervisor ends, and fails with it.
        let (actor, mut handle) = (child.actor.clone(), Some(handle));
        let guard = Arc::new(std::sync::Mutex::new(handle.take()));
        let branch = child.clone();
        let work: Work = Arc::new(move |stop| {
            let (branch, actor, guard) = (branch.clone(), actor.clone(), Arc::clone(&guard));
            Box::pin(async move {
                let handle = guard.lock().map_err(|_| "poisoned".to_owned())?.take();
                let Some(handle) = handle else {
                    return Err("a branch cannot be restarted by itself".to_owned().into());
                };
                tokio::select! {
                    _ = handle => {}
                    () = stop.cancelled() => { branch.shutdown(Duration::MAX).await; return Ok(()) }
                }
                drop(actor);
                if branch.closing.load(Ordering::SeqCst) {
                    return Ok(());
                }
                let failure = branch.failures.borrow().clone();
                let reason = failure.map_or_else(
                    || "the branch ended".to_owned(),
                    |failure| format!("{}: {}", failure.worker, failure.reason),
                );
                Err(reason.into())
            })
        });
        self.start(Child { name: name.to_owned(), restart: Restart::OnFailure, work });
        Ok(child)
    }
    /// Starts a worker.
    pub fn start(&self, child: Child) {
        if self.actor.cast(SupervisorMessage::Start(child)).is_err() {
            tracing::warn!("starting a worker below a supervisor that has ended");
        }
    }
    /// Asks a worker to end; it is not restarted.
    pub fn stop(&self, name: &str) {
        // A supervisor that has ended has no workers.
        let _ = self.actor.cast(SupervisorMessage::Stop(name.to_owned()));
    }
    /// Asks all workers to end and waits for them at most `deadline`; then they are killed.
    pub async fn shutdown(&self, deadline: Duration) {
        self.closing.store(true, Ordering::SeqCst);
        let (done, ended) = oneshot::channel();
        if self.actor.cast(SupervisorMessage::Shutdown(done)).is_ok()
            && tokio::time::timeout(deadline.min(Duration::from_secs(3_600)), ended).await.is_err()
        {
            tracing::warn!("workers did not end in time and are killed");
        }
        self.actor.kill();
    }
    /// The last failure, and the following ones.
    pub fn failures(&self) -> watch::Receiver<Option<Failure>> {
        self.failures.clone()
    }
    /// Resolves when the supervisor has ended.
    pub async fn ended(&self) {
        // Without a deadline the wait ends only with the actor.
        let _ = self.actor.wait(None).await;
    }
}
