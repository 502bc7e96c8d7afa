//! Looking at a task, its lane, its children and its worker as their events have them.

use actors_runtime::look::Look;
use actors_runtime::quarantine::Quarantine;
use bus_client::{Bus, HaltWatch};
use bus_schemas::commands::{broker, task};
use bus_schemas::events::task::Event;
use bus_schemas::halts::{Halts, Scope, Subject};
use bus_schemas::views::lane::{Limit, Waiting};
use bus_schemas::views::task::{WaitsFor, Why};
use bus_schemas::wire::WireCommand;
use bus_schemas::{EntityAddress, Key, Kind, Revision, Timestamp, upcast};
use serde::de::DeserializeOwned;
use smol_str::SmolStr;

use super::judge::{Child, Found, Verdict, Workers, judge};

/// Looks at entities for one round: what it has loaded it does not load again.
pub(super) struct Looker<'a> {
    bus: &'a Bus,
    look: Look,
}

impl<'a> Looker<'a> {
    /// Has loaded nothing yet.
    pub(super) fn new(bus: &'a Bus) -> Self {
        Self { bus, look: Look::new(actors_logic::registry()) }
    }

    /// What is found of a task. An error means that the bus did not answer.
    pub(super) async fn verdict(
        &mut self,
        task: &Key,
        workers: &Workers,
        (halts, quarantine): (&HaltWatch, &Quarantine),
        now: Timestamp,
    ) -> Result<Verdict, bus_client::Error> {
        let Some(why) = self.why(task, now).await? else {
            // It can not be read, which is said elsewhere; sweeping it would be refused.
            return Ok(Verdict::Waits { until: None });
        };
        let subject = Subject { lane: &why.lane, agent: None, task };
        let is_halted = || halts.read(|halts| halts.covering(subject).is_some());
        if why.waits_for != WaitsFor::Nothing && (is_halted() || is_kept_apart(task, &why, quarantine)) {
            return Ok(Verdict::Waits { until: None });
        }
        let in_lane = match why.waits_for {
            WaitsFor::Lane => {
                let explain = broker::Command::Explain { task: task.clone() };
                self.answer::<_, Waiting>(&why.lane, &explain, now).await?
            }
            _ => None,
        };
        let mut children = Vec::new();
        if why.waits_for == WaitsFor::Children {
            for child in &why.children {
                let found = match self.why(child, now).await? {
                    None => Child::Missing,
                    Some(why) if why.waits_for == WaitsFor::Nothing => Child::Ended,
                    Some(_) => Child::Open,
                };
                children.push((child.clone(), found));
            }
        }
        let worker_lives = match why.waits_for {
            WaitsFor::Worker => {
                worker(self.bus, task).await?.map(|(agent, worker)| workers.lives(&agent, &worker))
            }
            _ => None,
        };
        let lifted = in_lane.as_ref().and_then(|waiting| halts.read(|halts| lifted(waiting, halts)));
        let (in_lane, children) = (in_lane.as_ref(), &children);
        let found = Found { why: &why, in_lane, lifted: lifted.as_deref(), children, worker_lives };
        Ok(judge(&found, now))
    }

    async fn why(&mut self, task: &Key, now: Timestamp) -> Result<Option<Why>, bus_client::Error> {
        self.answer(task, &task::Command::Explain, now).await
    }

    async fn answer<C: WireCommand, A: DeserializeOwned>(
        &mut self,
        key: &Key,
        command: &C,
        now: Timestamp,
    ) -> Result<Option<A>, bus_client::Error> {
        self.look.answer(self.bus, key, command, now).await
    }
}

/// Whether a sweep would reach nobody: the task, or whoever it would tell, takes no commands. Each one
/// would become a dead letter, and that somebody is quarantined is said elsewhere.
fn is_kept_apart(task: &Key, why: &Why, quarantine: &Quarantine) -> bool {
    let is_held = |kind: Kind, key: &Key| quarantine.holds(&EntityAddress::new(kind, key.clone()));
    is_held(task::Command::KIND, task)
        || why.children.iter().any(|child| is_held(task::Command::KIND, child))
        || (why.waits_for == WaitsFor::Lane && is_held(broker::Command::KIND, &why.lane))
}

/// A halt for which a lane holds something, and that does not stand.
fn lifted(waiting: &Waiting, halts: &Halts) -> Option<SmolStr> {
    let causes = waiting.blocks.iter().filter(|block| block.what == Limit::Held);
    let mut causes = causes.filter_map(|block| block.cause.as_ref());
    let stands = |cause: &SmolStr| -> Option<bool> {
        let scope = Scope::parse(&Key::parse(cause.strip_prefix("halt/")?).ok()?)?;
        Some(halts.of(&scope).is_some())
    };
    causes.find(|cause| stands(cause) == Some(false)).cloned()
}

/// The agent and the worker that began the current attempt.
async fn worker(bus: &Bus, task: &Key) -> Result<Option<(Key, String)>, bus_client::Error> {
    let entity = EntityAddress::new(task::Command::KIND, task.clone());
    let (mut agent, mut worker) = (None, None);
    for stored in bus.history(&entity, Revision(0), 0).await? {
        let event = stored.event;
        match upcast::read(&event.event_type, event.schema, &event.body) {
            Ok(Event::JobIssued { agent: issued, .. }) => agent = Some(issued),
            Ok(Event::JobStarted { worker: began, .. }) => worker = Some(began),
            _ => {}
        }
    }
    Ok(agent.zip(worker))
}
