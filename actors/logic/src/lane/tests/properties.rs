//! The invariants of a lane, under random commands.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::testing::scenario::Given;
use actors_core::{Entity, Key, Timestamp};
use bus_schemas::commands::lane::{Command, Outcome};
use bus_schemas::commands::queue::Entry;
use bus_schemas::events::lane::Event;
use proptest::collection::vec;
use proptest::prelude::*;
use smol_str::SmolStr;

use super::super::bounds;
use super::super::state::State;
use super::{Lane, lane};
use crate::testing::key;

fn command() -> impl Strategy<Value = Command> {
    let skill = (0..3u8).prop_map(|n| ["code", "draw", "test"][usize::from(n)].into());
    let task = (0..12u8).prop_map(|n| key(&format!("t{n}")));
    let agent = (0..3u8).prop_map(|n| key(&format!("agent{n}")));
    let owner = (0..3u8).prop_map(|n| format!("owner{n}").into());
    let skills = vec((0..3u8).prop_map(|n| ["code", "draw", "test"][usize::from(n)].into()), 0..3);
    prop_oneof![
        5 => (task.clone(), 1..4u32, skill, 0..3u8, owner, 0..5u64).prop_map(
            |(task, attempt, skill, priority, owner, since)| Command::Enqueue(Entry {
                task, attempt, skill, priority, owner, since: Timestamp(since),
            })
        ),
        4 => (task, 1..4u32).prop_map(|(task, attempt)| Command::Release { task, attempt, outcome: Outcome::Done }),
        2 => (agent, skills, 0..4u32)
            .prop_map(|(agent, skills, capacity)| Command::OfferAgent { agent, skills, capacity, dependencies: vec![] }),
        1 => proptest::option::of(0..5u32).prop_map(|concurrent| Command::SetCap { concurrent }),
    ]
}

/// A simple model of the lane: each pick looks at everything.
#[derive(Debug, Default)]
struct Model {
    waiting: BTreeMap<Key, Entry>,
    running: BTreeMap<Key, (SmolStr, Key)>,
    served: BTreeMap<SmolStr, u64>,
    offers: BTreeMap<Key, (Vec<SmolStr>, u32)>,
    assigned: u64,
}

impl Model {
    /// Applies an event; an assignment must be the one that this model makes.
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Enqueued(entry) => drop(self.waiting.insert(entry.task.clone(), entry.clone())),
            Event::Assigned { task, agent, .. } => {
                assert_eq!(self.pick(), Some((task.clone(), agent.clone())), "{self:?}");
                let Some(Entry { owner, .. }) = self.waiting.remove(task) else { return };
                self.assigned += 1;
                self.served.insert(owner.clone(), self.assigned);
                self.running.insert(task.clone(), (owner, agent.clone()));
            }
            Event::Released { task, .. } => {
                let waited = self.waiting.remove(task).is_some();
                if !waited {
                    self.running.remove(task);
                }
            }
            Event::AgentOffered { agent, skills, capacity, .. } => {
                self.offers.insert(agent.clone(), (skills.clone(), *capacity));
            }
            _ => {}
        }
        let busy = |owner: &SmolStr| {
            self.waiting.values().any(|entry| entry.owner == *owner)
                || self.running.values().any(|(other, _)| other == owner)
        };
        let forgotten: Vec<_> = self.served.keys().filter(|owner| !busy(owner)).cloned().collect();
        for owner in &forgotten {
            self.served.remove(owner);
        }
    }
    fn pick(&self) -> Option<(Key, Key)> {
        let best = self.waiting.values().filter_map(|entry| {
            let Entry { task, skill, priority, owner, since, .. } = entry;
            let running = self.running.values().filter(|(other, _)| other == owner).count();
            let served = self.served.get(owner).copied().unwrap_or(0);
            Some((Reverse(*priority), running, served, *since, task.clone(), self.freest(skill)?))
        });
        best.min().map(|(_, _, _, _, task, agent)| (task, agent))
    }
    fn freest(&self, skill: &SmolStr) -> Option<Key> {
        let free = self.offers.iter().filter(|(_, (skills, _))| skills.contains(skill)).map(
            |(agent, (_, capacity))| {
                let running = self.running.values().filter(|(_, other)| other == agent).count() as u32;
                (Reverse(capacity.saturating_sub(running)), agent)
            },
        );
        free.filter(|(free, _)| free.0 > 0).min().map(|(_, agent)| agent.clone())
    }
}

/// Asserts what must hold after each decision.
fn check(before: &State, events: &[Event], after: &State) {
    let assigned: Vec<&Key> = events
        .iter()
        .filter_map(|event| match event {
            Event::Assigned { task, .. } => Some(task),
            _ => None,
        })
        .collect();
    assert_eq!(assigned.len(), assigned.iter().collect::<BTreeSet<_>>().len(), "assigned twice: {events:?}");
    if !assigned.is_empty() {
        assert!(
            after.limits().concurrent.is_none_or(|cap| after.running_count() <= cap as usize),
            "over the cap"
        );
    }
    for (agent, offer) in after.offers() {
        let had = before.offer(agent).map_or(0, |offer| offer.running);
        assert!(offer.running <= offer.capacity.max(had), "`{agent}` has more than it offers");
    }
    let room = bounds::of(after, Timestamp(1_000_000)).is_empty();
    assert!(!room || after.pick().is_none(), "something waits that could be assigned");
    let restored: State = serde_json::from_value(serde_json::to_value(after).unwrap()).unwrap();
    assert_eq!(restored, *after, "the indexes are what the snapshot says");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bounds_hold_nothing_is_assigned_twice_and_the_lane_is_always_full(commands in vec(command(), 0..60)) {
        let (mut given, mut model) = (lane([]), Model::default());
        for command in commands {
            let before = given.state().clone();
            let outcome = given.when(command);
            outcome.decision().events.iter().for_each(|event| model.follow(event));
            check(&before, &outcome.decision().events, outcome.given.state());
            given = outcome.given;
        }
        serve_all(given);
    }
}

/// Once every skill is offered and jobs end, every attempt is served.
fn serve_all(given: Given<Lane>) {
    let skills = vec!["code".into(), "draw".into(), "test".into()];
    let mut given = given.when(Command::SetCap { concurrent: Some(2) }).given;
    given = given
        .when(Command::OfferAgent { agent: key("agent0"), skills, capacity: 9, dependencies: vec![] })
        .given;
    for _ in 0..100 {
        let running = (0..12).map(|n| key(&format!("t{n}"))).find_map(|task| {
            let attempt = given.state().running(&task)?.attempt;
            Some((task, attempt))
        });
        let Some((task, attempt)) = running else { break };
        given = given.when(Command::Release { task, attempt, outcome: Outcome::Done }).given;
    }
    assert_eq!((given.state().waiting_count(), given.state().running_count()), (0, 0));
}

/// Decisions stay fast with a long queue: 10,000 attempts of 500 owners, one agent.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures how long decisions take; none sees the clock")]
fn ten_thousand_waiting_attempts_are_served_in_time() {
    const TASKS: usize = 10_000;
    let begun = Instant::now();
    let mut given = lane([]);
    for n in 0..TASKS {
        given = given
            .when(super::enqueue(&format!("t{n}"), &format!("owner{}", n % 500), (n % 10) as u8, n as u64))
            .given;
    }
    let mut running: Vec<Key> = Vec::new();
    let mut outcome = given.when(Command::OfferAgent {
        agent: key("coder"),
        skills: vec!["code".into()],
        capacity: 100,
        dependencies: vec![],
    });
    let mut served = 0;
    loop {
        running.extend(outcome.decision().events.iter().filter_map(|event| match event {
            Event::Assigned { task, .. } => Some(task.clone()),
            _ => None,
        }));
        let Some(task) = running.pop() else { break };
        served += 1;
        outcome = outcome.given.when(Command::Release { task, attempt: 1, outcome: Outcome::Done });
    }
    assert_eq!(served, TASKS);
    assert!(begun.elapsed() < Duration::from_secs(10), "20,000 decisions took {:?}", begun.elapsed());
}

#[test]
fn replaying_the_events_gives_the_live_state() {
    let mut given = lane([]);
    let mut events = Vec::new();
    for n in 0..50u8 {
        let command = match n % 5 {
            0 => super::offer(&format!("agent{}", n % 3), u32::from(n % 4)),
            4 => super::release(&format!("t{}", n / 2)),
            _ => super::enqueue(&format!("t{n}"), &format!("owner{}", n % 3), n % 10, u64::from(n)),
        };
        let outcome = given.when(command);
        events.extend(outcome.decision().events.clone());
        given = outcome.given;
    }
    let mut replayed = State::default();
    for event in &events {
        Lane::fold(&mut replayed, event);
    }
    assert_eq!(replayed, *given.state());
}
