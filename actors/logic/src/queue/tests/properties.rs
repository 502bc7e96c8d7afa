//! The invariants of a queue, under random commands.

use std::collections::BTreeMap;

use actors_core::{Entity, Key};
use bus_schemas::commands::lane::Limits;
use proptest::collection::vec;
use proptest::prelude::*;
use smol_str::SmolStr;

use super::super::State;
use super::*;

const SKILLS: [&str; 3] = ["code", "draw", "test"];

fn skill() -> impl Strategy<Value = SmolStr> {
    (0..SKILLS.len()).prop_map(|n| SKILLS[n].into())
}

fn limits() -> impl Strategy<Value = Limits> {
    (proptest::option::of(1_000..3_000u64), proptest::option::of(1..4u32)).prop_map(|(ageing_ms, weight)| {
        let weights = weight.map(|weight| ("owner0".into(), weight)).into_iter().collect();
        Limits { ageing_ms, weights, ..Limits::default() }
    })
}

fn command() -> impl Strategy<Value = Command> {
    let name = || (0..4u8, 0..4u8).prop_map(|(root, step)| key(&format!("t{root}.s{step}")));
    let root = || (0..4u8).prop_map(|root| key(&format!("t{root}")));
    let agent = || (0..2u8).prop_map(|n| key(&format!("agent{n}")));
    let cause = || (0..3u8).prop_map(|n| SmolStr::from(format!("cause{n}")));
    let attempt = || 1..4u32;
    let owner = (0..3u8).prop_map(|n| format!("owner{n}").into());
    prop_oneof![
        8 => (name(), attempt(), skill(), 0..3u8, owner, 0..9_000u64).prop_map(
            |(task, attempt, skill, priority, owner, since)| Command::Enqueue(Entry {
                task, attempt, skill, priority, owner, since: Timestamp(since),
            })
        ),
        3 => (name(), attempt())
            .prop_map(|(task, attempt)| Command::Release { task, attempt, outcome: lane::Outcome::Done }),
        4 => (agent(), vec(skill(), 1..3), 1..4u32).prop_map(|(agent, skills, places)| Command::Take(Take {
            claim: claim(), agent, worker: "w".into(), skills, places, token: Hash::of(b"t"),
        })),
        2 => (any::<bool>(), 0..3u64, limits())
            .prop_map(|(governed, number, limits)| Command::Rules(Rules { limits, ..rules(governed, number) })),
        5 => (name(), attempt(), agent())
            .prop_map(|(task, attempt, agent)| Command::Grant { task, attempt, agent }),
        1 => (name(), attempt()).prop_map(|(task, attempt)| Command::Revoke { task, attempt }),
        1 => (cause(), root(), any::<bool>()).prop_map(|(cause, root, interrupt)| Command::Hold {
            cause, root, reason: "fire".into(), interrupt, grace_ms: 0,
        }),
        1 => cause().prop_map(|cause| Command::Ease { cause }),
    ]
}

/// Asserts what must hold after each decision.
fn check(before: &State, outcome: &Outcome<Queue>) {
    let after = outcome.given.state();
    for (task, _) in after.all_waiting() {
        assert!(after.running(task).is_none(), "`{task}` waits and runs");
    }
    for (task, _) in after.all_granted() {
        assert!(after.waiting(task).is_some() && after.is_governed(), "`{task}` has leave for nothing");
        assert!(after.hold_of(task).is_none(), "`{task}` has leave and is held");
    }
    for event in &outcome.decision().events {
        if let Event::Assigned { task, attempt, agent, .. } = event {
            let waited = before.waiting(task).map(|entry| entry.attempt);
            assert_eq!(waited, Some(*attempt), "`{task}` did not wait");
            assert!(before.hold_of(task).is_none(), "`{task}` was held");
            assert!(before.is_open() || before.granted(task) == Some(agent), "`{task}` had no leave");
        }
    }
    let stored = serde_json::to_value(after).expect("plain data");
    let restored: State = serde_json::from_value(stored).expect("a snapshot");
    assert_eq!(restored, *after, "the order is what the snapshot says");
    assert_eq!(served(restored), served(after.clone()), "a snapshot changes who is next");
}

/// The order in which all attempts that can begin do so, one by one.
fn served(mut state: State) -> Vec<Key> {
    let mut served = Vec::new();
    let skills = SKILLS.map(SmolStr::from);
    for agent in [key("agent0"), key("agent1")] {
        while let Some(task) = state.next(&agent, &skills) {
            let attempt = state.waiting(&task).expect("it is next").attempt;
            let (agent, worker, claim, at) = (agent.clone(), "w".into(), claim(), NOW);
            Queue::fold(
                &mut state,
                &Event::Assigned { task: task.clone(), attempt, agent, worker, claim, at },
            );
            served.push(task);
        }
    }
    served
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_begins_twice_or_without_leave_and_a_snapshot_keeps_the_order(commands in vec(command(), 0..80)) {
        let (mut given, mut events) = (queue([]), Vec::new());
        for command in commands {
            let before = given.state().clone();
            let outcome = given.when(command);
            check(&before, &outcome);
            events.extend(outcome.decision().events.clone());
            given = outcome.given;
        }
        let mut replayed = State::default();
        events.iter().for_each(|event| Queue::fold(&mut replayed, event));
        prop_assert_eq!(&replayed, given.state());
        // Once nothing is held and the lane is open, every attempt is served.
        for cause in ["cause0", "cause1", "cause2"] {
            given = given.when(Command::Ease { cause: cause.into() }).given;
        }
        given = given.when(Command::Rules(rules(false, 9))).given;
        let waits = given.state().all_waiting().count();
        prop_assert_eq!(taken(&given.when(take_by("coder", 100, &SKILLS))).len(), waits);
    }

    /// The lane and its queues may disagree for a while: the last message of the queue about an attempt must
    /// match the queue's state.
    #[test]
    fn the_lane_hears_the_truth_last(commands in vec(command(), 0..60)) {
        let mut given = queue([Event::RulesSet(rules(true, 1))]);
        let mut heard: BTreeMap<Key, u32> = BTreeMap::new();
        for command in commands.into_iter().filter(|command| !matches!(command, Command::Rules(_))) {
            let outcome = given.when(command);
            for told in told_lane(&outcome) {
                match told {
                    lane::Command::Enqueue(entry) => drop(heard.insert(entry.task, entry.attempt)),
                    lane::Command::Release { task, attempt, .. } if heard.get(&task) == Some(&attempt) => {
                        heard.remove(&task);
                    }
                    _ => {}
                }
            }
            given = outcome.given;
        }
        let state = given.state();
        // For the lane a held attempt may wait: leave for it is returned.
        heard.retain(|task, _| state.hold_of(task).is_none() || state.running(task).is_some());
        let waits = state.all_waiting().filter(|(task, _)| state.hold_of(task).is_none());
        let there = waits.map(|(task, entry)| (task.clone(), entry.attempt));
        let runs = state.all_running().map(|(task, job)| (task.clone(), job.attempt));
        prop_assert_eq!(heard, there.chain(runs).collect::<BTreeMap<_, _>>());
    }
}
