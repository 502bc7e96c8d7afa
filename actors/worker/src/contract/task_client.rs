//! The client of an attempt's task: commands with stable ids, and the job's trace and correlation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus_client::{Ask, AskError, Bus, Folded};
use bus_schemas::commands::task::{Command, Query};
use bus_schemas::halts::{ActiveHalt, Halts, Subject};
use bus_schemas::jobs::Job;
use bus_schemas::views::task::Task;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, EntityAddress, Key, Refusal, Reply, TraceContext};
use smol_str::SmolStr;
use uuid::Uuid;

use super::trace::current_trace;

/// How long the root of the tree, which keeps the budget, may be unreachable: a partition moves to another
/// host within seconds.
const ROOT_PATIENCE: Duration = Duration::from_secs(20);

/// A task's answer to a command.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The command was applied.
    Accepted,
    /// The command was refused: nothing changed.
    Refused(Refusal),
}

/// Sends commands to the task of one attempt. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TaskClient {
    bus: Bus,
    worker: SmolStr,
    task: EntityAddress,
    attempt: u32,
    token: SmolStr,
    base: CommandId,
    lane: Key,
    agent: Key,
    halts: Folded<Halts>,
    correlation: CommandId,
    trace: Option<TraceContext>,
    /// The number of steps the attempt has made: its progress.
    steps: Arc<AtomicU64>,
}

impl TaskClient {
    pub(crate) fn new(
        bus: Bus,
        worker: SmolStr,
        job: &Job,
        trace: Option<TraceContext>,
        halts: Folded<Halts>,
    ) -> Self {
        Self {
            bus,
            worker,
            task: job.task.clone(),
            attempt: job.attempt,
            token: job.token.clone(),
            base: CommandId::from_text(&job.id),
            lane: job.lane.clone(),
            agent: job.agent.clone(),
            halts,
            correlation: job.correlation,
            trace,
            steps: Arc::default(),
        }
    }
    /// The halt that covers this attempt, if one stands.
    pub(crate) fn halted(&self) -> Option<ActiveHalt> {
        self.halts.read(|halts| self.covered(halts))
    }
    /// Waits until a halt covers this attempt.
    pub(crate) async fn until_halted(&self) -> ActiveHalt {
        self.halts.until(|halts| self.covered(halts)).await
    }
    fn covered(&self, halts: &Halts) -> Option<ActiveHalt> {
        let subject = Subject { lane: &self.lane, agent: Some(&self.agent), task: &self.task.key };
        halts.covering(subject).map(|(_, active)| active.clone())
    }
    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }
    /// The worker's name, under which it asks.
    pub(crate) fn worker(&self) -> &str {
        &self.worker
    }
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }
    pub(crate) fn task(&self) -> &Key {
        &self.task.key
    }
    /// Notes progress of the attempt.
    pub(crate) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
    /// The number of steps the attempt has made.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }
    /// The id of a command that this attempt sends once: repeated runs have the same id.
    pub(crate) fn id(&self, purpose: &str, index: u32) -> CommandId {
        self.base.derive(purpose, index)
    }
    /// The token that every command about the attempt carries.
    pub(crate) fn token(&self) -> &SmolStr {
        &self.token
    }
    /// Renews the lease: asks whether the attempt is still this worker's.
    pub(crate) async fn renew(&self, progressed: bool, patience: Duration) -> Result<Verdict, AskError> {
        let renew = Query::Renew { attempt: self.attempt, token: self.token.clone(), progressed };
        let ask = self.asking(self.task.clone(), CommandId(Uuid::now_v7()), Body::json(&renew));
        Ok(match self.bus.query(&ask, patience).await? {
            Reply::Accepted { .. } => Verdict::Accepted,
            Reply::Refused { refusal, .. } => Verdict::Refused(refusal),
        })
    }
    /// Sends the task a command and waits for the answer.
    pub(crate) async fn tell(
        &self,
        id: CommandId,
        command: &Command,
        patience: Duration,
    ) -> Result<Verdict, AskError> {
        Ok(match self.ask(self.task.clone(), id, command, patience).await? {
            Reply::Accepted { .. } => Verdict::Accepted,
            Reply::Refused { refusal, .. } => Verdict::Refused(refusal),
        })
    }
    /// Sends a command to the root of the tree, which keeps its budget.
    pub(crate) async fn tell_root(&self, id: CommandId, command: &Command) -> Result<Reply, AskError> {
        let key = Key::parse(self.task.key.root()).expect("the first part of a key is a key");
        let root = EntityAddress::new(self.task.kind.clone(), key);
        self.ask(root, id, command, ROOT_PATIENCE).await
    }
    /// Sends a command to another entity under an id that repeated runs of this attempt have too.
    /// What another task is now, or why nobody says.
    pub(crate) async fn describe(&self, key: &Key) -> Result<Result<Task, Refusal>, AskError> {
        let to = EntityAddress::new(Command::KIND, key.clone());
        let ask = self.asking(to, CommandId(Uuid::now_v7()), Body::json(&Query::Describe));
        Ok(match self.bus.query(&ask, ROOT_PATIENCE).await? {
            Reply::Accepted { result, .. } => serde_json::from_value(result)
                .map_err(|error| Refusal::new("bad-answer", format!("the answer is no task: {error}"))),
            Reply::Refused { refusal, .. } => Err(refusal),
        })
    }
    pub(crate) async fn tell_entity(
        &self,
        to: EntityAddress,
        purpose: &str,
        body: Body,
    ) -> Result<Verdict, AskError> {
        let ask = self.asking(to, self.id(purpose, 0), body);
        Ok(match self.bus.ask(&ask, ROOT_PATIENCE).await? {
            Reply::Accepted { .. } => Verdict::Accepted,
            Reply::Refused { refusal, .. } => Verdict::Refused(refusal),
        })
    }
    async fn ask(
        &self,
        to: EntityAddress,
        id: CommandId,
        command: &Command,
        patience: Duration,
    ) -> Result<Reply, AskError> {
        let ask = self.asking(to, id, Body::json(command));
        self.bus.ask(&ask, patience).await
    }
    fn asking(&self, to: EntityAddress, id: CommandId, body: Body) -> Ask {
        let ask = Ask::new(to, body).with_id(id).caller(&self.worker).traced(current_trace(self.trace));
        Ask { correlation: Some(self.correlation), ..ask }
    }
}
