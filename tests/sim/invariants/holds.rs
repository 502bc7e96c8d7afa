//! What lanes hold back, and for whom: counted from the events of lanes, agents, halts and breakers.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::commands::breaker::Phase;
use bus_schemas::commands::lane::HoldScope;
use bus_schemas::events::{agent, halt, lane};
use bus_schemas::halts::Scope;
use bus_schemas::record::{CommitRecord, Source};
use bus_schemas::{EntityAddress, Key, Kind, Revision, Timestamp};
use smol_str::{SmolStr, format_smolstr};

use super::work::read;
use super::{Audit, Check, hold, violated};
use crate::coverage::{Coverage, Reached};

/// What a lane holds back for one cause.
#[derive(Debug)]
pub struct Hold {
    scope: HoldScope,
    /// How many jobs may try.
    permits: u32,
}

/// Everything that one lane holds back.
#[derive(Debug, Default)]
pub struct Holds {
    by_cause: BTreeMap<SmolStr, Hold>,
    /// What each agent depends on.
    dependencies: BTreeMap<Key, BTreeSet<Key>>,
}

/// What stands behind the holds.
#[derive(Debug, Default)]
pub struct Causes {
    /// The halts that stand.
    halts: BTreeSet<Key>,
    /// The lanes that hear of the halt of everything.
    watching: BTreeSet<Key>,
    /// What holds each agent.
    agents: BTreeMap<Key, BTreeSet<SmolStr>>,
}

impl Hold {
    fn concerns(&self, agent: &Key, needs: &BTreeSet<Key>) -> bool {
        match &self.scope {
            HoldScope::Lane => true,
            HoldScope::Agent { agent: held } => held == agent,
            HoldScope::Dependency { dependency } => needs.contains(dependency),
        }
    }
}

/// Something begins that is held back.
fn barred(lane: &Key, task: &Key, agent: &Key, cause: &str) -> Check {
    let name = match cause.starts_with("breaker/") {
        true => "breaker_legality",
        false => "halted_means_no_effect_starts",
    };
    violated(name, format!("lane `{lane}` gave `{task}` to `{agent}` although {cause} holds"))
}

impl Holds {
    /// Takes an event of the lane in; what is assigned must not be held back.
    pub(super) fn event(&mut self, lane: &Key, event: &lane::Event, coverage: &mut Coverage) -> Check {
        match event {
            lane::Event::AgentOffered { agent, dependencies, .. } => {
                self.dependencies.insert(agent.clone(), dependencies.iter().cloned().collect());
            }
            lane::Event::Held { cause, scope, .. } => {
                self.by_cause.insert(cause.clone(), Hold { scope: scope.clone(), permits: 0 });
            }
            lane::Event::Eased { cause, .. } => drop(self.by_cause.remove(cause)),
            lane::Event::ProbesAllowed { cause, permits } => {
                if let Some(hold) = self.by_cause.get_mut(cause) {
                    hold.permits = *permits;
                }
            }
            lane::Event::Assigned { task, agent, .. } => {
                return self.assigned(lane, task, agent, coverage);
            }
            _ => {}
        }
        Ok(())
    }

    fn assigned(&mut self, lane: &Key, task: &Key, agent: &Key, coverage: &mut Coverage) -> Check {
        let none = BTreeSet::new();
        let needs = self.dependencies.get(agent).unwrap_or(&none);
        for (cause, held) in &mut self.by_cause {
            if !held.concerns(agent, needs) {
                continue;
            }
            if held.permits == 0 {
                return barred(lane, task, agent, cause);
            }
            held.permits -= 1;
            coverage.note(Reached::LaneProbed);
        }
        Ok(())
    }
    /// Nothing that an open queue begins is held back by its lane.
    pub(super) fn passes(&self, lane: &Key, task: &Key, agent: &Key) -> Check {
        let none = BTreeSet::new();
        let needs = self.dependencies.get(agent).unwrap_or(&none);
        match self.by_cause.iter().find(|(_, held)| held.concerns(agent, needs)) {
            Some((cause, _)) => barred(lane, task, agent, cause),
            None => Ok(()),
        }
    }
    fn holds(&self, cause: &str) -> bool {
        self.by_cause.contains_key(cause)
    }
    fn knows_agents(&self) -> bool {
        !self.dependencies.is_empty()
    }
}

impl Causes {
    pub(super) fn halt_event(&mut self, key: &Key, event: &halt::Event) {
        match event {
            halt::Event::Halted { .. } => drop(self.halts.insert(key.clone())),
            halt::Event::Resumed { .. } => drop(self.halts.remove(key)),
            halt::Event::Watched { lane } => drop(self.watching.insert(lane.clone())),
        }
    }
    pub(super) fn agent_event(&mut self, agent: &Key, event: &agent::Event) {
        match event {
            agent::Event::Held { cause, .. } => {
                self.agents.entry(agent.clone()).or_default().insert(cause.clone());
            }
            agent::Event::Eased { cause, .. } => {
                self.agents.entry(agent.clone()).or_default().remove(cause);
            }
            _ => {}
        }
    }
}

impl Audit {
    /// The halts that stand.
    pub fn active_halts(&self) -> Vec<Key> {
        self.causes.halts.iter().cloned().collect()
    }
    /// Whether a breaker is open until somebody resets it.
    pub fn is_tripped(&self, dependency: &Key) -> bool {
        self.breakers.get(dependency).is_some_and(super::breakers::BreakerAudit::is_tripped)
    }

    /// The trees that are paused until their budget is extended.
    pub fn exceeded_trees(&self) -> Vec<Key> {
        let exceeded = self.open.iter().filter(|task| self.is_exceeded(task));
        exceeded.cloned().collect()
    }
    /// Names the question that a task asks now; 0 where it asks none.
    pub fn question_of(&self, task: &Key) -> Revision {
        let state = self.state_of(&EntityAddress::new(Kind::from_static("task"), task.clone()));
        let state = state.unwrap_or_default();
        let asked = [&state["account"]["exceeded"]["question_id"], &state["question_id"]];
        Revision(asked.into_iter().find_map(serde_json::Value::as_u64).unwrap_or_default())
    }
    fn is_exceeded(&self, task: &Key) -> bool {
        self.tasks.get(task).is_some_and(|known| known.budget.is_exceeded())
    }

    pub(super) fn goes_to(&self, kind: &'static str, key: &Key) -> bool {
        self.mails.goes_to(&EntityAddress::new(Kind::from_static(kind), key.clone()))
    }

    /// A lane holds back what a halt that stands or a breaker that is not closed covers, and nothing for
    /// one that does not, or the word is on its way: after every record.
    pub(super) fn holds_follow_their_cause(&self) -> Check {
        for key in &self.causes.halts {
            self.halt_is_held(key)?;
        }
        for (dependency, breaker) in self.breakers.iter().filter(|(_, known)| known.phase() != Phase::Closed)
        {
            let cause = format_smolstr!("breaker/{dependency}");
            breaker.lanes().iter().try_for_each(|lane| self.lane_holds(lane, &cause))?;
        }
        for tree in self.exceeded_trees() {
            self.tree_is_held(&tree, &format_smolstr!("budget/{tree}"))?;
        }
        for (lane, known) in &self.lanes {
            known.holds.by_cause.keys().try_for_each(|cause| self.cause_stands("lane", lane, cause))?;
        }
        for (queue, known) in &self.queues {
            known.holds.keys().try_for_each(|cause| self.cause_stands("queue", queue, cause))?;
        }
        Ok(())
    }

    /// The queue of a tree holds it.
    fn tree_is_held(&self, tree: &Key, cause: &str) -> Check {
        let Some(queue) = self.queue_key(tree) else { return Ok(()) };
        let held = self.queues.get(&queue).is_some_and(|known| known.holds.contains_key(cause));
        hold(held || self.goes_to("queue", &queue), "holds_follow_their_cause", || {
            format!("queue `{queue}` holds nothing back for {cause}")
        })
    }

    fn lane_holds(&self, lane: &Key, cause: &str) -> Check {
        let held = self.lanes.get(lane).is_some_and(|known| known.holds.holds(cause));
        hold(held || self.goes_to("lane", lane), "holds_follow_their_cause", || {
            format!("lane `{lane}` holds nothing back for {cause}")
        })
    }

    fn halt_is_held(&self, key: &Key) -> Check {
        let cause = format_smolstr!("halt/{key}");
        match Scope::parse(key) {
            Some(Scope::All) => {
                let offered = self.lanes.iter().filter(|(_, known)| known.holds.knows_agents());
                for (lane, _) in offered {
                    let watches = self.causes.watching.contains(lane) || self.goes_to("halt", key);
                    hold(watches, "holds_follow_their_cause", || {
                        format!("lane `{lane}` does not hear of the halt of everything")
                    })?;
                }
                self.causes.watching.iter().try_for_each(|lane| self.lane_holds(lane, &cause))
            }
            Some(Scope::Lane(lane)) => self.lane_holds(&lane, &cause),
            Some(Scope::Agent(agent)) => self.agent_is_held(&agent, &cause),
            Some(Scope::Task(task)) if self.goes_to("task", &task) => Ok(()),
            Some(Scope::Task(task)) => self.tree_is_held(&task, &cause),
            None => violated("holds_follow_their_cause", format!("`{key}` is no scope")),
        }
    }

    fn agent_is_held(&self, agent: &Key, cause: &SmolStr) -> Check {
        if self.goes_to("agent", agent) {
            return Ok(());
        }
        let held = self.causes.agents.get(agent).is_some_and(|causes| causes.contains(cause));
        hold(held, "holds_follow_their_cause", || format!("`{agent}` does not hear of {cause}"))?;
        let offered = self.lanes.iter().filter(|(_, known)| known.capacity_of(agent) > 0);
        offered.map(|(lane, _)| lane).try_for_each(|lane| self.lane_holds(lane, cause))
    }

    /// What a lane or a queue holds back has a cause that stands.
    fn cause_stands(&self, kind: &'static str, key: &Key, cause: &SmolStr) -> Check {
        let parts = cause.split_once('/').and_then(|(kind, key)| Some((kind, Key::parse(key).ok()?)));
        let stands = match parts {
            Some(("halt", key)) => {
                self.causes.halts.contains(&key)
                    || match Scope::parse(&key) {
                        Some(Scope::Agent(agent)) => self.goes_to("agent", &agent),
                        Some(Scope::Task(task)) => self.goes_to("task", &task),
                        _ => false,
                    }
            }
            Some(("breaker", key)) => {
                self.breakers.get(&key).is_some_and(|known| known.phase() != Phase::Closed)
            }
            Some(("budget", key)) => self.is_exceeded(&key),
            _ => true,
        };
        hold(stands || self.goes_to(kind, key), "holds_follow_their_cause", || {
            format!("`{kind}/{key}` holds back for {cause}, which does not stand")
        })
    }

    /// Under a halt of everything of which its host heard at `since`, a record takes no new work from a
    /// caller, gives no job away, lets no worker begin an effect, and fires no timer that leads to work and became
    /// due behind it.
    pub fn halted_hosts_rest(&self, record: &CommitRecord, since: Timestamp) -> Check {
        const NAME: &str = "halted_hosts_rest";
        for turn in &record.turns {
            let submits = turn.events.iter().any(|event| event.event_type == "submitted");
            let is_new = turn.source == Source::Ask && turn.at > since && submits;
            hold(!is_new, NAME, || format!("`{}` was submitted under a halt", turn.entity))?;
            let begins = turn.source == Source::Ask && turn.at > since && turn.events.iter().any(begins);
            hold(!begins, NAME, || format!("a worker began something of `{}` under a halt", turn.entity))?;
            let gives = turn.source == Source::Claim && turn.at > since && !turn.events.is_empty();
            hold(!gives, NAME, || format!("`{}` gave jobs away under a halt", turn.entity))?;
            let Source::Timer(name) = &turn.source else { continue };
            let timers = &self.log(record.partition).timers;
            let due = timers.get(&(turn.entity.clone(), name.clone())).map(|(at, _)| *at);
            let rests = actors_logic::halt::RESTING.contains(&turn.entity.kind);
            let fires = rests && due.is_some_and(|due| due > since);
            hold(!fires, NAME, || format!("timer `{name}` of `{}` fired under a halt", turn.entity))?;
        }
        Ok(())
    }

    /// Takes the events of halts and agents in.
    pub(super) fn note_cause(&mut self, entity: &EntityAddress, event: &bus_schemas::record::Event) -> Check {
        match entity.kind.as_str() {
            "halt" => self.causes.halt_event(&entity.key, &read(event)?),
            _ => self.causes.agent_event(&entity.key, &read(event)?),
        }
        Ok(())
    }
}

/// Whether something begins that could be seen outside.
fn begins(event: &bus_schemas::record::Event) -> bool {
    let started = |body: &[u8]| {
        serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|body| body["step"] == "started")
    };
    event.event_type == "effect-recorded" && started(&event.body)
}
