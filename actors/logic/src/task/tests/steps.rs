//! Steps within an attempt: done at least once, recorded once.

use bus_schemas::jobs::{INLINE_BYTES_MAX, StepResult};

use super::*;

fn step_of(name: &str, input: &str, result: impl Into<Value>) -> StepResult {
    StepResult { name: name.into(), input: Hash::of(input.as_bytes()), result: result.into() }
}

fn record(attempt: u32, steps: Vec<StepResult>) -> Command {
    Command::RecordStep { attempt, token: token(attempt), steps }
}

fn recorded(attempt: u32, step: StepResult) -> Event {
    Event::StepRecorded { attempt, step }
}

#[test]
fn a_step_is_recorded_once_and_the_next_attempt_is_told_how_many_there_are() {
    let (clone, build) = (|| step_of("clone", "main", "a1b2"), || step_of("build", "a1b2", 7));
    let given = running(Submit::new("a goal")).when(record(1, vec![clone()])).then([recorded(1, clone())]);
    let given = given.when(record(1, vec![clone(), build()])).then([recorded(1, build())]);
    // A step that was done and not recorded is done again, and may have another result: the first record
    // holds.
    let again = step_of("clone", "main", "c3d4");
    let given = given.when(record(1, vec![again])).then([]);
    let given = given.when(fail_job(1, FailureClass::Transient)).given;
    let outcome = given.when(Command::EndBackoff { attempt: 2 }).given.when(assign(2));
    assert_eq!(outcome.decision().jobs[0].1.steps, 2);
    let given = outcome.given.when(record(2, vec![clone()])).then([]);
    // Each step knows the revision of its event, after the three events of the first issue.
    let revisions: Vec<u64> = given.state().steps.values().map(|done| done.revision.0).collect();
    assert_eq!(revisions, [5, 4]);
    given.when(record(2, vec![step_of("clone", "other", 1)])).then_refused("step-changed");
}

#[test]
fn the_last_steps_come_with_the_end_of_the_job() {
    let complete = |steps: Vec<StepResult>| Command::CompleteJob {
        attempt: 1,
        token: token(1),
        steps,
        artifacts: vec![artifact("report", "")],
        result: 42.into(),
        plan: None,
    };
    let step = || step_of("clone", "main", 1);
    running(Submit::new("a goal")).when(complete(vec![step()])).then([recorded(1, step()), completed()]);
    let many = (0..17).map(|n| step_of(&format!("s{n}"), "", n)).collect();
    let given = running(Submit::new("a goal")).when(complete(many)).then_refused("invalid-step");
    assert_eq!((given.state().phase, given.state().steps.size()), (Phase::Running, 0));
    let given = given.when(record(1, vec![step()])).given;
    given.when(complete(vec![step_of("clone", "other", 1)])).then_refused("step-changed");
}

#[test]
fn unsound_steps_are_refused() {
    let named = |bytes: usize| vec![step_of(&"n".repeat(bytes), "", 1)];
    let many = |count: u32| (0..count).map(|n| step_of(&format!("s{n}"), "", n)).collect();
    let large = |bytes: usize| vec![step_of("s", "", "x".repeat(bytes - 2))];
    let cases = [
        (named(0), Some("invalid-step")),
        (named(1), None),
        (named(128), None),
        (named(129), Some("invalid-step")),
        (many(0), Some("invalid-step")),
        (many(16), None),
        (many(17), Some("invalid-step")),
        (large(INLINE_BYTES_MAX), None),
        (large(INLINE_BYTES_MAX + 1), Some("step-too-large")),
    ];
    for (steps, refused) in cases {
        let count = steps.len();
        let outcome = running(Submit::new("a goal")).when(record(1, steps));
        match refused {
            Some(code) => drop(outcome.then_refused(code)),
            None => assert_eq!(outcome.decision().events.len(), count),
        }
    }
}

/// A leaf with a number of steps, and one effect.
fn with_steps(count: u32) -> Given<Task> {
    let mut given = running(Submit::new("a goal")).when(effect(1, EffectStep::Intended)).given;
    for first in (0..count).step_by(16) {
        let steps = (first..count.min(first + 16)).map(|n| step_of(&format!("s{n:05}"), "", n)).collect();
        given = given.when(record(1, steps)).given;
    }
    given
}

#[test]
fn steps_and_effects_together_are_bounded() {
    let given = with_steps(9_999);
    let given = given.when(record(1, vec![step_of("one more", "", 1)])).then_refused("too-many-steps");
    let given = given.when(record(1, vec![step_of("s00007", "", 7)])).then([]);
    let more = Command::RecordEffect {
        attempt: 1,
        token: token(1),
        effect: "one more".into(),
        step: EffectStep::Intended,
        detail: String::new(),
        key: None,
        result: Value::Null,
    };
    given.when(more).then_refused("too-many-effects").when(complete_job(1)).then([completed()]);
}

/// A decision works on a copy of the state. Method: counts the entries that a copy or a decision duplicates.
#[test]
fn the_ten_thousandth_step_copies_no_other() {
    let given = with_steps(9_998);
    let before = given.state().clone();
    let given = given.when(record(1, vec![step_of("the last", "", 1)])).given;
    let after = given.state().clone();
    assert_eq!((before.steps.size(), after.steps.size()), (9_998, 9_999));
    let same = before
        .steps
        .iter()
        .filter(|(name, done)| std::ptr::eq(after.steps.get(*name).expect("it was recorded"), *done));
    assert_eq!(same.count(), 9_998, "both hold the same entries");
    assert!(before.effects.iter().all(|(name, known)| std::ptr::eq(&after.effects[name], known)));
}
