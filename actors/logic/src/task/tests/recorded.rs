//! What the events of a task tell of its attempts.

use bus_schemas::jobs::{PastEffect, StepResult};
use serde_json::json;

use super::*;
use crate::task::recorded::{Attempt, Decision, End, attempts};

fn told(events: &[Event]) -> Vec<Attempt> {
    attempts(&address("task/t"), events.to_vec())
}

fn step_recorded(attempt: u32, name: &str) -> Event {
    let step = StepResult { name: name.into(), input: Hash::of(name.as_bytes()), result: json!(name) };
    Event::StepRecorded { attempt, step }
}

/// Goal: a replayed agent gets what the recorded one got. Method: the job that the decision issues, beside the job that
/// its events tell, after an attempt with a step, an effect and an answer.
#[test]
fn a_job_is_told_as_it_was_issued() {
    let submission =
        Submit { input: json!({"a": 1}), inputs: vec![artifact("x", "s")], ..Submit::new("a goal") };
    let mut events = vec![
        submitted(submission),
        queued(1),
        issued(1),
        step_recorded(1, "look"),
        effect_recorded(1, EffectStep::Intended),
        effect_recorded(1, EffectStep::Started),
        effect_recorded(1, EffectStep::Completed),
        Event::InputRequired {
            attempt: 1,
            prompt: "which?".into(),
            authorization: false,
            effect: None,
            asks: SmolStr::default(),
            approval: None,
            at: NOW,
        },
        Event::Answered { answer: json!("this"), by: "ann".into() },
        queued(2),
    ];
    let outcome = root(events.clone()).when(assign(2));
    let (_, issued_job) = outcome.decision().jobs[0].clone();
    events.extend(outcome.decision().events.clone());
    let told = told(&events);
    assert_eq!(told.len(), 2);
    let job = &told[1].job;
    assert_eq!((job.steps, job.effects.len(), job.answers.len()), (1, 1, 1), "{job:?}");
    let correlation = issued_job.correlation;
    assert_eq!(bus_schemas::jobs::Job { correlation, ..job.clone() }, issued_job);
    let asked = Decision::Asked { prompt: "which?".into(), authorization: false };
    assert_eq!((&told[0].end, &told[1].end), (&End::Decided(asked), &End::Open));
    assert_eq!(told[0].own, ["look", "push"], "what was recorded in the attempt itself");
    assert_eq!(told[1].steps.len(), 1, "a later attempt has the steps of the former ones");
}

/// Every way in which an attempt ends is told apart: by its agent, or by something else.
#[test]
fn decisions_of_agents_are_told_from_other_ends() {
    let failed =
        |code: &str| Event::AttemptFailed { attempt: 1, failure: failure(FailureClass::Transient, code) };
    let withdrawn = Event::AttemptWithdrawn {
        attempt: 1,
        reason: "halted".into(),
        by: bus_schemas::events::task::WithdrawnBy::Worker,
    };
    let begun = [submitted(Submit::new("a goal")), queued(1), issued(1)];
    let end = |event: Event| told(&[&begun[..], &[event]].concat())[0].end.clone();
    assert_eq!(
        end(completed()),
        End::Decided(Decision::Done { artifacts: vec![artifact("report", "")], result: 42.into() })
    );
    assert_eq!(end(Event::Planned { plan: diamond() }), End::Decided(Decision::Planned(diamond())));
    let broken = failure(FailureClass::Transient, "broken");
    assert_eq!(end(failed("broken")), End::Decided(Decision::Failed(broken)));
    for outside in [failed("worker-silent"), failed("no-progress"), withdrawn, canceled()] {
        assert!(matches!(end(outside.clone()), End::Interrupted(_)), "{outside:?}");
    }
    let dead = Event::Failed { failure: failure(FailureClass::Permanent, "deadline-exceeded"), at: NOW };
    assert!(matches!(end(dead), End::Interrupted(_)));
}

/// An effect whose outcome was found out before the attempt went on belongs to its job.
#[test]
fn an_effect_that_was_found_out_is_given_with_the_job() {
    let events = [
        submitted(Submit::new("a goal")),
        queued(1),
        issued(1),
        effect_recorded(1, EffectStep::Started),
        effect_recorded(1, EffectStep::Ambiguous),
        Event::AttemptFailed { attempt: 1, failure: failure(FailureClass::Ambiguous, "worker-silent") },
        queued(2),
        issued(2),
        effect_recorded(2, EffectStep::Completed),
        completed(),
    ];
    let told = told(&events);
    let steps = |effects: &[PastEffect]| effects.iter().map(|effect| effect.step).collect::<Vec<_>>();
    assert_eq!(steps(&told[0].effects), [EffectStep::Ambiguous]);
    assert_eq!(steps(&told[1].job.effects), [EffectStep::Completed]);
    assert!(told[1].effects.is_empty() && told[1].own.is_empty());
}

/// A plan that the task refuses is the failure that the task recorded.
#[test]
fn a_refused_plan_is_a_failure() {
    let plan = Plan { steps: vec![step("a", &["a"])] };
    let report = complete_with(1, vec![], Value::Null, Some(plan));
    let outcome = running(Submit::new("a goal")).when(report.clone());
    let events: Vec<Event> = vec![submitted(Submit::new("a goal")), queued(1), issued(1)];
    let told = told(&[events, outcome.decision().events.clone()].concat());
    let decided = Decision::of(report, &key("t")).expect("a decision");
    assert_eq!(told[0].end, End::Decided(decided));
}
