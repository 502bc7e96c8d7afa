//! Random commands: nothing panics, events alone give the state, and plans are never circular.

use std::collections::BTreeMap;

use actors_core::Entity;
use bus_schemas::jobs::StepResult;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{State, check};
use super::*;

fn plan() -> impl Strategy<Value = Plan> {
    let names = || (0..6u8).prop_map(|n| format!("s{n}"));
    let step = (names(), vec(names(), 0..3), any::<bool>()).prop_map(|(name, after, optional)| {
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        PlanStep { optional, ..step(&name, &after) }
    });
    vec(step, 1..6).prop_map(|steps| Plan { steps })
}

fn class() -> impl Strategy<Value = FailureClass> {
    use FailureClass::{Ambiguous, Permanent, Transient};
    prop_oneof![4 => Just(Transient), 1 => Just(Permanent), 1 => Just(Ambiguous)]
}

fn state() -> impl Strategy<Value = TaskState> {
    use TaskState::{Canceled, Completed, Failed, Rejected, Working};
    prop_oneof![4 => Just(Completed), 1 => Just(Failed), 1 => Just(Canceled), 1 => Just(Rejected), 1 => Just(Working)]
}

fn effect_step() -> impl Strategy<Value = EffectStep> {
    use EffectStep::{Ambiguous, Completed, Failed, Intended, Reconciled, Started};
    prop_oneof![
        Just(Intended),
        Just(Started),
        Just(Completed),
        Just(Failed),
        Just(Ambiguous),
        Just(Reconciled)
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let attempt = || 0..4u32;
    let submission = || {
        (proptest::option::weighted(0.4, plan()), any::<bool>()).prop_map(|(plan, bounded)| {
            let deadline = bounded.then_some(NOW.plus_ms(100_000));
            Command::Submit(Submit { plan, deadline, ..Submit::new("a goal") })
        })
    };
    prop_oneof![
        4 => submission(),
        8 => attempt().prop_map(assign),
        2 => (attempt(), 0..3u8).prop_map(|(attempt, n)| Command::RecordStep {
            attempt, token: token(attempt), steps: vec![StepResult {
                name: format_smolstr!("s{n}"), input: Hash::of(&[n]), result: n.into(),
            }],
        }),
        4 => (attempt(), effect_step()).prop_map(|(attempt, step)| effect(attempt, step)),
        2 => attempt().prop_map(complete_job),
        2 => (attempt(), plan()).prop_map(|(attempt, plan)| complete_with(attempt, vec![], Value::Null, Some(plan))),
        3 => (attempt(), class()).prop_map(|(attempt, class)| fail_job(attempt, class)),
        2 => (attempt(), any::<bool>()).prop_map(|(attempt, authorization)| Command::RequireInput {
            attempt, token: token(attempt), prompt: "which?".into(), authorization, approval: None,
        }),
        3 => (1..30u64).prop_map(|n| Command::Answer {
            question: Revision(n), answer: 7.into(),
        }),
        1 => Just(cancel()),
        2 => Just(Command::Retry { end: None }),
        6 => (0..6u8, state()).prop_map(|(n, state)| settle(&format!("s{n}"), state)),
        1 => Just(Command::ExpireDeadline),
        3 => attempt().prop_map(|attempt| Command::EndBackoff { attempt }),
        1 => attempt().prop_map(|attempt| Command::ExpireLease { attempt }),
        2 => attempt().prop_map(|attempt| Command::ReturnIssue { attempt, token: hashed(attempt) }),
        1 => attempt().prop_map(|attempt| Command::Withdraw { attempt, reason: String::new() }),
        1 => attempt().prop_map(|attempt| {
            Command::GiveBack { attempt, token: token(attempt), reason: String::new() }
        }),
    ]
}

/// Asserts what must hold in every state that a task can reach.
fn check_state(state: &State) {
    assert_eq!(state.status.is_final(), state.phase == Phase::Done, "{state:?}");
    assert_eq!(state.phase == Phase::Answer, state.question.is_some());
    assert_eq!(state.question.is_some(), state.question_id.is_some());
    assert_eq!(state.status.is_final(), state.end_id.is_some());
    assert!(state.phase != Phase::Running || state.token.is_some());
    if state.status.is_final() {
        assert_eq!(state.open_children().count(), 0, "a task ends after its children");
        assert_eq!(state.open_effects().count(), 0, "an effect ends before its task, or is given up");
    }
    if state.status == TaskState::Completed {
        assert_eq!(state.unsettled_effect(), None, "what became of each effect is known");
    }
    if state.phase == Phase::Children {
        assert!(state.open_children().next().is_some(), "a plan always waits for a child");
    }
    let restored: State = serde_json::from_value(serde_json::to_value(state).unwrap()).unwrap();
    assert_eq!(restored, *state);
}

/// Whether a step waits for itself, found by a simple search: walk back as often as there are steps.
fn is_circular(plan: &Plan) -> bool {
    let after: BTreeMap<_, _> = plan.steps.iter().map(|step| (&step.step, &step.after)).collect();
    let mut front: Vec<_> = plan.steps.iter().map(|step| &step.step).collect();
    for _ in 0..plan.steps.len() {
        front = front.iter().flat_map(|name| after[*name]).collect();
        front.sort();
        front.dedup();
    }
    !front.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_commands_breaks_a_task(
        first in command().prop_filter("a submission", |command| matches!(command, Command::Submit(_))),
        rest in vec((command(), 0..20_000u64), 0..60),
    ) {
        let (mut given, mut events, mut now) = (root([]), Vec::new(), NOW);
        for (mut command, later) in std::iter::once((first, 0)).chain(rest) {
            // Half of the answers are for the current question.
            if let Command::Answer { question, .. } = &mut command
                && let Some(asked) = given.state().question_id.filter(|_| question.0 % 2 == 0)
            {
                *question = asked;
            }
            now = now.plus_ms(later);
            let outcome = given.at(now).when(command);
            if let Ok(decision) = &outcome.result {
                events.extend(decision.events.clone());
            }
            check_state(outcome.given.state());
            given = outcome.given;
        }
        let mut replayed = State::default();
        for event in &events {
            let stored = serde_json::to_vec(event).unwrap();
            Task::fold(&mut replayed, &serde_json::from_slice(&stored).unwrap());
        }
        prop_assert_eq!(&replayed, given.state());
    }

    #[test]
    fn a_plan_that_is_accepted_is_never_circular(plan in plan()) {
        if check::plan(&plan, &key("t")).is_ok() {
            prop_assert!(!is_circular(&plan));
        }
    }
}
