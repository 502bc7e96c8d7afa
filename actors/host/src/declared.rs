//! Agents that manifests declare: follows the manifests, runs the agents that are healthy here, and reports why others
//! are not.
//!
//! ```text
//! events of agents ─→ what each agent is ─→ healthy here? ─→ a worker for each manifest in force
//!                                              │ no               │ another manifest, or none
//!                                              └→ report          └→ takes no more jobs, finishes those it has
//! ```
//!
//! A process that starts reads what is loaded, so that it stays loaded. Nothing is decided here: the agent's entity has
//! accepted the manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actors_runtime::supervision::{Child, Failed, Restart, Supervisor, Work};
use actors_worker::{Agent, Declares, Worker};
use bus_client::{Ask, Bus, EventQuery, Trouble};
use bus_schemas::commands::agent::{AgentCard, Command, Query, Registration};
use bus_schemas::manifests::{AgentManifest, Declared, MANIFESTS_MAX};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, Caller, EntityAddress, Key, Reply, chain};
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// The pause before the events are read anew after an error.
const PAUSE: Duration = Duration::from_secs(1);
/// The interval of what is tried again: an agent that did not answer, a report that was not taken.
const AGAIN: Duration = Duration::from_secs(2);
/// Timeout of a query or a report.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs the agents of manifests in this process.
#[derive(Clone)]
pub(crate) struct Manifests {
    /// The connection of workers, which experiments disturb.
    pub(crate) disturbed: Bus,
    pub(crate) bus: Bus,
    pub(crate) host: String,
    pub(crate) lanes: Vec<Key>,
    pub(crate) declares: Arc<dyn Declares>,
    /// The agents of the program.
    pub(crate) own: Vec<AgentCard>,
    pub(crate) workers: Supervisor,
    /// Outlives a failure of the follower, as the workers do.
    pub(crate) running: Arc<Mutex<Running>>,
}

/// The agents that run here.
#[derive(Default)]
pub(crate) struct Running {
    /// The number of the manifest, and what retires the worker.
    agents: BTreeMap<Key, (u32, CancellationToken)>,
    /// Workers so far: each has a name of its own, since a retired one may still have jobs.
    started: u64,
}

/// What is known of each agent.
type Known = BTreeMap<Key, Registration>;

impl Manifests {
    pub(crate) fn child(self) -> Child {
        let work: Work = Arc::new(move |stop| {
            let manifests = self.clone();
            Box::pin(async move {
                manifests.run(stop).await;
                Ok(())
            })
        });
        Child { name: "manifests".into(), restart: Restart::Always, work }
    }

    /// Follows until `stop`. Trouble with the bus is waited out: what runs goes on meanwhile.
    async fn run(&self, stop: CancellationToken) {
        let mut running = self.running.lock().await;
        let mut trouble =
            Trouble::new("following the manifests, of which the last still hold,", PAUSE, PAUSE);
        loop {
            let followed = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow(&mut running) => followed,
            };
            let pause = followed.map_or_else(|reason| trouble.failed(&reason), |()| PAUSE);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads what each agent is, then follows events; ends with the event stream.
    async fn follow(&self, running: &mut Running) -> Result<(), String> {
        let subject = self.bus.subjects().events(Some(&Command::KIND));
        let latest = self.bus.latest_events(&subject).await.map_err(|error| chain(&error))?;
        let from = latest.iter().map(|stored| stored.stream_sequence + 1).max().unwrap_or(1);
        let mut changed: BTreeSet<Key> = latest.into_iter().map(|stored| stored.entity.key).collect();
        let mut events = self
            .bus
            .events(EventQuery { subjects: vec![subject], from })
            .await
            .map_err(|error| chain(&error))?;
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = Known::new();
        loop {
            for name in std::mem::take(&mut changed) {
                match self.describe(&name).await {
                    Some(registration) => drop(known.insert(name, registration)),
                    None => drop(changed.insert(name)),
                }
            }
            let is_told = self.settle(&known, running).await;
            tokio::select! {
                stored = events.next() => {
                    let stored = stored.ok_or("the event stream ended")?.map_err(|error| chain(&error))?;
                    changed.insert(stored.entity.key);
                }
                _ = again.tick(), if !changed.is_empty() || !is_told => {}
            }
        }
    }

    /// What an agent is; none if nobody answers. An agent that refuses, as in quarantine, is no agent.
    async fn describe(&self, name: &Key) -> Option<Registration> {
        let to = EntityAddress::new(Command::KIND, name.clone());
        let ask = Ask::new(to, Body::json(&Query::Describe)).caller(&self.host);
        match self.bus.query(&ask, PATIENCE).await.ok()? {
            Reply::Accepted { result, .. } => serde_json::from_value(result).ok(),
            Reply::Refused { refusal, .. } => {
                tracing::debug!(agent = %name, code = %refusal.code, "an agent does not say what it is");
                Some(Registration { card: None, workers: BTreeMap::new(), declared: None })
            }
        }
    }

    /// Starts and retires workers by what is known, and reports what is news; whether every report was taken.
    async fn settle(&self, known: &Known, running: &mut Running) -> bool {
        let mut is_told = true;
        let declared = known.iter().filter_map(|(name, each)| Some((name, each.declared.as_ref()?)));
        let (loaded, unloaded): (Vec<_>, Vec<_>) = declared.partition(|(_, declared)| declared.loaded);
        unloaded.into_iter().for_each(|(name, _)| running.retire(name));
        for (place, (name, declared)) in loaded.into_iter().enumerate() {
            let agent = match place < MANIFESTS_MAX {
                true => self.agent(declared, known),
                false => {
                    Err(format!("a host runs the agents of {MANIFESTS_MAX} manifests, the first by name"))
                }
            };
            let problem = match agent {
                Ok(agent) => {
                    self.start(declared, agent, running);
                    String::new()
                }
                Err(problem) => {
                    running.retire(name);
                    problem
                }
            };
            if declared.health.get(self.host.as_str()).is_none_or(|said| said.problem != problem) {
                is_told &= self.report(name, declared.number, problem).await;
            }
        }
        is_told
    }

    /// The agent of a manifest, or why it cannot run here now.
    fn agent(&self, declared: &Declared, known: &Known) -> Result<Arc<dyn Agent>, String> {
        let AgentManifest { name, skill, dependencies, health, orrery, .. } = &declared.manifest;
        let taken = |card: &&AgentCard| card.name == *name || card.skills.iter().any(|own| own.id == *skill);
        if let Some(own) = self.own.iter().find(taken) {
            return Err(format!("the agent `{}` of this program has its name or its skill", own.name));
        }
        if !declared.manifest.is_compatible() {
            return Err(format!(
                "the manifest is for Orrery {orrery}; this is {}",
                env!("CARGO_PKG_VERSION")
            ));
        }
        Caller::parse(&self.worker(name, u64::from(u32::MAX)))
            .map_err(|error| format!("the name of its worker: {error}"))?;
        for (dependency, wanted) in dependencies {
            let there = known.get(dependency).filter(|known| !known.workers.is_empty());
            let Some(card) = there.and_then(|known| known.card.as_ref()) else {
                return Err(format!("the agent `{dependency}` has no worker"));
            };
            if !AgentManifest::is_met(wanted, &card.version) {
                return Err(format!("the agent `{dependency}` has version {}, not {wanted}", card.version));
            }
        }
        let offers = |(other, agent): (&Key, &Registration), wanted| {
            other != name && agent.workers.values().any(|skills| skills.contains(wanted))
        };
        if let Some(missing) = health.skills.iter().find(|skill| !known.iter().any(|one| offers(one, skill)))
        {
            return Err(format!("the skill `{missing}` has no worker"));
        }
        self.declares.agent(declared)
    }

    /// The name of a worker.
    fn worker(&self, agent: &Key, number: u64) -> String {
        format!("{}-{agent}-{number}", self.host)
    }

    /// Starts a worker for the manifest in place of one for a former manifest.
    fn start(&self, declared: &Declared, agent: Arc<dyn Agent>, running: &mut Running) {
        let (name, number) = (&declared.manifest.name, declared.number);
        if running.agents.get(name).is_some_and(|(known, _)| *known == number) {
            return;
        }
        running.retire(name);
        running.started += 1;
        let retired = CancellationToken::new();
        running.agents.insert(name.clone(), (number, retired.clone()));
        let worker = self.worker(name, running.started);
        let (bus, lanes, capacity) =
            (self.disturbed.clone(), self.lanes.clone(), declared.manifest.limits.jobs as usize);
        let named = worker.clone();
        let work: Work = Arc::new(move |stop| {
            let worker = Worker::new(bus.clone(), Arc::clone(&agent), named.clone(), capacity);
            let (worker, retired) = (worker.lanes(lanes.clone()), retired.clone());
            Box::pin(async move {
                if retired.is_cancelled() {
                    return Ok(());
                }
                worker.retired_by(retired).run(stop).await.map_err(|error| Failed::by(&error))
            })
        });
        self.workers.start(Child { name: worker, restart: Restart::OnFailure, work });
    }

    /// Reports whether the agent runs here; whether the report was taken.
    async fn report(&self, name: &Key, number: u32, problem: String) -> bool {
        tracing::info!(agent = %name, number, problem, "whether the agent of a manifest runs here");
        let command = Command::ReportHealth { host: self.host.as_str().into(), number, problem };
        let to = EntityAddress::new(Command::KIND, name.clone());
        let ask = Ask::new(to, Body::json(&command)).caller(Caller::SYSTEM.as_str());
        match self.bus.ask(&ask, PATIENCE).await {
            Ok(Reply::Accepted { .. }) => true,
            Ok(Reply::Refused { refusal, .. }) => refusal.retry_after_ms.is_none(),
            Err(error) => {
                tracing::debug!(agent = %name, reason = chain(&error), "reporting the health of an agent");
                false
            }
        }
    }
}

impl Running {
    /// The agent's worker takes no more jobs, and finishes those that it has.
    fn retire(&mut self, name: &Key) {
        if let Some((_, retired)) = self.agents.remove(name) {
            retired.cancel();
        }
    }
}
