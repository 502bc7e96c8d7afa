//! Questions and their answers; an answer reaches only the question that it names.

use bus_schemas::commands::approval;

use super::*;

/// A leaf whose last attempt was lost with an effect in progress.
fn lost_in_an_effect() -> Given<Task> {
    let submission = Submit { attempts_max: Some(1), owner: "ann".into(), ..Submit::new("a goal") };
    let given = running(submission).when(effect(1, EffectStep::Intended)).given;
    given.when(effect(1, EffectStep::Started)).given.when(Command::ExpireLease { attempt: 1 }).given
}

#[test]
fn where_no_agent_can_tell_what_became_of_an_effect_its_owner_is_asked() {
    let given = lost_in_an_effect();
    assert_eq!((given.state().status, given.state().asks.as_str()), (TaskState::InputRequired, "ann"));
    assert!(given.state().question.as_ref().is_some_and(|question| question.contains("`push`")));
    let answer = |text: &str| answer_to(&lost_in_an_effect(), text);
    let given = given.when(answer("perhaps")).then_refused("invalid-answer");
    let outcome = given.when(answer("done"));
    let (skill, owner) = ("plan".into(), "ann".into());
    let entry = queue::Entry { task: key("t"), attempt: 2, skill, priority: 5, owner, since: NOW };
    assert_eq!(outcome.decision().sends, [sent(&queue_of("t"), &queue::Command::Enqueue(entry))]);
    assert_eq!(outcome.given.state().effects["push"].step, EffectStep::Completed);
    assert!(outcome.given.state().answers.is_empty(), "the agent asked nothing");

    let outcome = lost_in_an_effect().when(answer("not done"));
    assert_eq!(outcome.given.state().effects["push"].step, EffectStep::Failed);
    // A person may also report the outcome to the ledger.
    let outcome = lost_in_an_effect().when(effect(1, EffectStep::Completed));
    assert_eq!(outcome.given.state().phase, Phase::Queued);

    let outcome = lost_in_an_effect().when(answer("give up"));
    assert_eq!(dead_letters(&outcome)[0].1.class, "job-ambiguous");
    assert_eq!(outcome.given.state().status, TaskState::Failed);
}

#[test]
fn an_agent_that_does_not_know_either_leaves_it_to_a_person() {
    let given = running(Submit::new("a goal")).when(effect(1, EffectStep::Intended)).given;
    let given =
        given.when(effect(1, EffectStep::Started)).given.when(Command::ExpireLease { attempt: 1 }).given;
    let given = given.when(assign(2)).given;
    let unknown = Command::FailJob {
        attempt: 2,
        token: token(2),
        class: FailureClass::Ambiguous,
        code: "effect-unknown".into(),
        message: "the mail server does not say".into(),
        hint: None,
        dependency: None,
    };
    let state = given.when(unknown).given;
    assert_eq!((state.state().phase, state.state().failures), (Phase::Answer, 2));
}

#[test]
fn a_question_waits_for_its_answer_and_costs_no_attempt() {
    let submission = Submit { attempts_max: Some(1), ..Submit::new("a goal") };
    let given = running(submission);
    let early = answer_to(&given, "blue");
    let outcome = given.when(early).then_refused("no-question").when(ask(1, "which?"));
    assert_eq!(outcome.decision().sends, [release("t", 1, lane::Outcome::Withdrawn)]);
    assert!(ends_leases(&outcome));
    let required = Event::InputRequired {
        attempt: 1,
        prompt: "which?".into(),
        authorization: false,
        effect: None,
        asks: "".into(),
        approval: None,
        at: NOW,
    };
    let given = outcome.then([required]).when(ask(1, "which?")).then([]);
    assert_eq!(given.state().status, TaskState::InputRequired);
    let answer = answer_to(&given, "blue");
    let outcome = given.when(answer);
    assert_eq!(outcome.decision().sends, [enqueue("t", 2, "plan")]);
    let provided = Event::Answered { answer: "blue".into(), by: "ann".into() };
    let outcome = outcome.then([provided, queued(2)]).when(assign(2));
    assert_eq!(outcome.decision().jobs[0].1.answers, [Value::from("blue")]);
    let given = outcome.then([issued(2)]).when(ask(1, "which?")).then_refused("stale-attempt");
    let given = given.when(ask(2, "")).then_refused("invalid-prompt");
    let given = given.when(effect(2, EffectStep::Intended)).given.when(effect(2, EffectStep::Started)).given;
    given.when(ask(2, "why?")).then_refused("effect-open");
    let (token, prompt) = (token(1), "may I?".into());
    let authorize = Command::RequireInput { attempt: 1, token, prompt, authorization: true, approval: None };
    assert_eq!(running(Submit::new("a goal")).when(authorize).given.state().status, TaskState::AuthRequired);
}

/// Two people answer "delete A?" at the same time; the task asks "delete B?" when the second answer comes.
#[test]
fn a_late_answer_approves_nothing_else() {
    for next in ["delete B?", "delete A?"] {
        let given = running(Submit::new("a goal")).when(ask(1, "delete A?")).given;
        let late = answer_to(&given, "yes");
        let given = given.when(late.clone()).given.when(late.clone()).then_refused("no-question");
        let given = given.when(assign(2)).given.when(ask(2, next)).given;
        let given = given.when(late).then_refused("question-over");
        assert_eq!(given.state().answers, [Value::from("yes")]);
        let answer = answer_to(&given, "no");
        assert_eq!(given.when(answer).given.state().answers, [Value::from("yes"), Value::from("no")]);
    }
}

/// Two people retry one failure; the task has failed once more when the second retry comes.
#[test]
fn a_late_retry_begins_nothing() {
    let failed = |attempt, given: Given<Task>| given.when(fail_job(attempt, FailureClass::Permanent)).given;
    let given = failed(1, running(Submit::new("a goal")));
    let end = super::super::view(given.state(), &key("t")).expect("it was submitted").end_id;
    assert!(end.is_some());
    let retry = || Command::Retry { end };
    let given = given.when(retry()).given;
    assert_eq!(super::super::view(given.state(), &key("t")).expect("it was submitted").end_id, None);
    let given = failed(2, given.when(retry()).then_refused("task-not-final").when(assign(2)).given);
    let given = given.when(retry()).then_refused("retried-already");
    given.when(Command::Retry { end: None }).then([Event::Retried { by: "ann".into(), at: NOW }, queued(3)]);
}

/// Complaint 9: what waits for a person waits neither in vain nor for ever, and a timeout is no answer of a person.
#[test]
fn a_task_goes_on_with_the_outcome_of_its_approval() {
    let asking = || Command::RequireInput {
        attempt: 1,
        token: token(1),
        prompt: "may I?".into(),
        authorization: true,
        approval: Some(key("a")),
    };
    let settle =
        |approval: &str| Command::SettleApproval { approval: key(approval), outcome: "timed-out".into() };
    let outcome = running(Submit::new("a goal")).when(asking());
    assert!(outcome.decision().sends.contains(&sent("approval/a", &approval::Command::Watch)));
    let given = outcome.given;
    assert_eq!(given.state().status, TaskState::AuthRequired);
    let given = given.when(settle("b")).then([]).called_by("approval/a").when(settle("a"));
    let answered = Event::Answered { answer: "timed-out".into(), by: "approval/a".into() };
    given.then([answered, queued(2)]).when(settle("a")).then([]);
    // A host that was killed between the two has it said again, and who cancels closes what waits.
    let outcome = running(Submit::new("a goal")).when(asking()).given.when(Command::Sweep);
    assert_eq!(outcome.decision().sends, [sent("approval/a", &approval::Command::Watch)]);
    let outcome = outcome.given.when(Command::Cancel { reason: "enough".into() });
    let reason = "the task `t` is over".into();
    assert!(outcome.decision().sends.contains(&sent("approval/a", &approval::Command::Cancel { reason })));
}
