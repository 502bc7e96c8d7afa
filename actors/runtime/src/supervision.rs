//! Supervision: whatever lives in the process is a ractor actor with a supervisor above it.
//!
//! A worker is one future. Its failure, or its panic, reaches the supervisor, which starts it again
//! after a pause; more failures than the intensity allows make the supervisor fail, and so its own
//! supervisor decides. The root's failure ends the process.

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

/// Spawns a task that is not supervised: it belongs to a worker, ends by itself, and reports its own
/// trouble. `what` names it for whoever looks at the tasks of a process.
pub fn spawn<F: Future<Output = ()> + Send + 'static>(what: &'static str, future: F) {
    tracing::trace!(what, "task spawned");
    #[expect(clippy::disallowed_methods, reason = "the one place where tasks are spawned")]
    tokio::spawn(future);
}

/// What happens when a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// It is started again, however it ended.
    Always,
    /// It is started again after a failure.
    OnFailure,
}

/// How many failures a supervisor bears.
#[derive(Debug, Clone, Copy)]
pub struct Intensity {
    /// Failures …
    pub failures: usize,
    /// … within this time. One more, and the supervisor fails itself.
    pub within: Duration,
}

/// Why a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failed {
    /// The error with its causes.
    pub reason: String,
    /// Whether it is the server's: no answer, or no leader. That passes by itself, however long it takes,
    /// and no supervisor gives up for it.
    pub outside: bool,
}

impl Failed {
    /// What an error says, and whether one of its causes is the server's.
    pub fn by(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let outside = |error: &(dyn std::error::Error + 'static)| {
            error.downcast_ref::<bus_client::Error>().is_some_and(bus_client::Error::is_temporary)
        };
        Self { reason: crate::lease::chain(error), outside: causes.any(outside) }
    }
}

impl From<String> for Failed {
    fn from(reason: String) -> Self {
        Self { reason, outside: false }
    }
}

/// The future of a worker; the token says when it shall end.
pub type Work = Arc<dyn Fn(CancellationToken) -> BoxFuture<'static, Result<(), Failed>> + Send + Sync>;

/// A worker to be supervised.
#[derive(Clone)]
pub struct Child {
    /// Its name, unique below its supervisor.
    pub name: String,
    /// What happens when it ends.
    pub restart: Restart,
    /// What it does.
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
    /// Why.
    pub reason: String,
    /// Whether it is the server's.
    pub outside: bool,
    /// When.
    pub at: Instant,
}

/// What a supervisor did about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `<supervisor>/<worker>`.
    pub worker: String,
    /// Why it failed.
    pub reason: String,
    /// Failures of all workers of this supervisor within its window, with this one.
    pub failures: usize,
    /// The window.
    pub within: Duration,
    /// How long until it is started again; none when the supervisor gave up and its own one decides.
    pub pause: Option<Duration>,
}

/// Where supervisors report. A report for which there is no room is dropped: what fails so often is
/// told by its failures in any case.
pub type Reports = mpsc::Sender<Report>;

/// The actor of one worker.
struct Worker;

/// What a worker is told.
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

/// That a worker fails, before it ever did.
fn trouble(supervisor: &str, worker: &str) -> Trouble {
    Trouble::new(format!("worker `{supervisor}/{worker}`"), PAUSE_MIN, PAUSE_MAX)
}

/// What a supervisor is told.
enum SupervisorMessage {
    Start(Child),
    Again(String),
    Stop(String),
    Shutdown(oneshot::Sender<()>),
}

struct Running {
    child: Child,
    actor: Option<ActorId>,
    stop: CancellationToken,
    /// When it was started last.
    since: Instant,
    pause: Duration,
    /// That it fails again and again, and how that is said.
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

    /// A worker ended: starts it again where that is its rule.
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
        // Who ran well for so long fails for a new reason.
        if running.since.elapsed() > self.intensity.within {
            running.pause = PAUSE_MIN;
            running.trouble = trouble(&self.name, &name);
        }
        let pause = running.pause;
        running.pause = (pause * 2).min(PAUSE_MAX);
        if let Some(failed) = failure {
            self.failed(&name, failed, pause)?;
        }
        let (again, myself) = (name, myself.clone());
        spawn("supervision pause", async move {
            tokio::time::sleep(pause).await;
            // The supervisor may have ended in the meantime.
            let _ = myself.cast(SupervisorMessage::Again(again));
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
            // Nothing here would be better for giving up: it goes on when the server does.
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
                // Who asked may have given up waiting.
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
        (name, intensity, reports, told): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
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
            SupervisorMessage::Again(name) => state.start(&myself, &name).await,
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
    /// Whether its end was asked for, and so is no failure.
    closing: Arc<AtomicBool>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Starts a supervisor of its own.
    pub async fn root(name: &str, intensity: Intensity) -> Result<Self, SpawnErr> {
        Ok(Self::spawn(name, intensity, None).await?.0)
    }
    /// Starts a supervisor of its own; it and those below it report what they do.
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
    /// Starts a supervisor below this one: when it fails, this one fails.
    pub async fn below(&self, name: &str, intensity: Intensity) -> Result<Self, SpawnErr> {
        let (child, handle) = Self::spawn(name, intensity, self.told.clone()).await?;
        // The branch is a worker here: it ends when the branch's supervisor ends, and fails with it.
        let (actor, mut handle) = (child.actor.clone(), Some(handle));
        let guard = Arc::new(std::sync::Mutex::new(handle.take()));
        let branch = child.clone();
        let work: Work = Arc::new(move |stop| {
            let (branch, actor, guard) = (branch.clone(), actor.clone(), Arc::clone(&guard));
            Box::pin(async move {
                let handle = guard.lock().map_err(|_| "poisoned".to_owned())?.take();
                let Some(handle) = handle else {
                    return Err("the branch can not be started again".to_owned().into());
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
    /// Tells a worker to end; it is not started again.
    pub fn stop(&self, name: &str) {
        // A supervisor that has ended has no workers.
        let _ = self.actor.cast(SupervisorMessage::Stop(name.to_owned()));
    }
    /// Tells all workers to end and waits for them, at most `deadline`; then they are killed.
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
    /// The last failure, and those that come.
    pub fn failures(&self) -> watch::Receiver<Option<Failure>> {
        self.failures.clone()
    }
    /// Resolves when the supervisor has given up.
    pub async fn ended(&self) {
        // Waiting without a deadline can only end with the actor.
        let _ = self.actor.wait(None).await;
    }
}
