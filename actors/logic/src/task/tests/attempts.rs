//! Attempts of a leaf: jobs, leases, failures, effects, questions.

use super::*;
use bus_schemas::Body;
use bus_schemas::commands::task::Policy;
use bus_schemas::record::Stop;
use bus_schemas::settings::{Duration, RetryPolicy};

#[test]
fn an_assigned_attempt_becomes_a_job_with_its_leases() {
    let submission = Submit { skill: "code".into(), ..Submit::new("a goal") };
    let outcome = root([submitted(submission), queued(1)]).when(assign(1));
    let [(answers, job)] = &outcome.decision().jobs[..] else { panic!("{:?}", outcome.decision().jobs) };
    assert_eq!((job.id.as_str(), job.attempt, job.lease_ms, job.skill.as_str()), ("t/1", 1, 30_000, "code"));
    assert_eq!((*answers, job.steps), (claim(), 0));
    assert!(!serde_json::to_string(job).expect("plain data").contains(token(1).as_str()));
    let unrenewed = Body::json(&Command::ReturnIssue { attempt: 1, token: hashed(1) });
    let silent = Body::json(&Command::ExpireLease { attempt: 1 });
    let late = Body::json(&Command::ExpireProgress { attempt: 1 });
    let leases = [
        LeaseChange::Begin { name: "attempt".into(), first_ms: 2_000, ms: 40_000, unrenewed, silent },
        LeaseChange::Begin {
            name: "progress".into(),
            first_ms: 900_000,
            ms: 900_000,
            unrenewed: late.clone(),
            silent: late,
        },
    ];
    assert_eq!(outcome.decision().leases, leases);
    let given = outcome.then([issued(1)]);
    let again = given.when(assign(1));
    assert!(again.decision().sends.is_empty() && again.decision().jobs.is_empty(), "the slot is in use");
    again.then([]);
}

#[test]
fn an_assignment_that_is_not_wanted_frees_its_slot() {
    let leaf = || [submitted(Submit::new("a goal")), queued(1)];
    for (past, attempt) in [
        (leaf().to_vec(), 2),
        ([leaf().to_vec(), vec![cancel_requested(), canceled()]].concat(), 1),
        ([leaf().to_vec(), vec![issued(1), completed()]].concat(), 1),
    ] {
        let outcome = root(past).when(assign(attempt));
        assert_eq!(outcome.decision().sends, [release("t", attempt, lane::Outcome::Withdrawn)]);
        assert!(outcome.decision().jobs.is_empty());
        outcome.then([]);
    }
}

#[test]
fn completion_frees_the_slot_tells_the_parent_and_may_be_said_twice() {
    let submission =
        Submit { parent: Some(key("t")), deadline: Some(NOW.plus_ms(9)), ..Submit::new("a goal") };
    let past = [submitted(submission), queued(1), issued(1)];
    let outcome = given::<Task>(&address("task/t.a"), past).when(complete_job(1));
    let settle = Command::SettleChild {
        step: "a".into(),
        state: TaskState::Completed,
        artifacts: vec![artifact("report", "")],
        result: 42.into(),
        failure: None,
    };
    assert_eq!(outcome.decision().sends, [release("t.a", 1, lane::Outcome::Done), sent("task/t", &settle)]);
    assert!(ends_leases(&outcome) && cancels_timer(&outcome, "deadline"));
    assert!(outcome.decision().stops.is_empty(), "its worker said so itself");
    outcome
        .then([completed()])
        .when(complete_job(1))
        .then([])
        .when(complete_job(2))
        .then_refused("task-final")
        .when(ask(1, "which?"))
        .then_refused("task-final");
}

#[test]
fn too_many_artifacts_are_refused() {
    let artifacts = vec![artifact("a", ""); 1_001];
    let command = complete_with(1, artifacts, Value::Null, None);
    running(Submit::new("a goal")).when(command).then_refused("too-many-artifacts");
}

#[test]
fn a_transient_failure_pauses_then_queues_until_the_attempts_are_used_up() {
    let mut given = running(Submit::new("a goal"));
    for attempt in [1, 2] {
        let outcome = given.when(fail_job(attempt, FailureClass::Transient));
        assert_eq!(outcome.decision().sends, [release("t", attempt, lane::Outcome::Failed)]);
        let until = timer(&outcome, "backoff").expect("it pauses");
        let (low, high) = [(800, 1_200), (1_600, 2_400)][attempt as usize - 1];
        assert!((low..=high).contains(&(until.0 - NOW.0)), "attempt {attempt} pauses until {until}");
        let failed = Event::AttemptFailed { attempt, failure: failure(FailureClass::Transient, "broken") };
        let waiting = outcome.then([failed, Event::BackoffStarted { attempt: attempt + 1, until, at: NOW }]);
        let waiting = waiting.when(fail_job(attempt, FailureClass::Transient)).then([]);
        let waiting = waiting.when(Command::EndBackoff { attempt: attempt + 2 }).then([]);
        let outcome = waiting.when(Command::EndBackoff { attempt: attempt + 1 });
        assert_eq!(outcome.decision().sends, [enqueue("t", attempt + 1, "plan")]);
        given = outcome.then([queued(attempt + 1)]).when(assign(attempt + 1)).then([issued(attempt + 1)]);
    }
    let outcome = given.when(fail_job(3, FailureClass::Transient));
    let causes = |number| {
        let by = "by worker `w1` of agent `coder`";
        format!("attempt {number} failed as transient, {by}: broken: it went wrong")
    };
    assert_eq!(dead_letters(&outcome).remove(0).1.causes, [3, 2, 1].map(causes));
    let [(entry, letter)] = &dead_letters(&outcome)[..] else { panic!("{:?}", outcome.decision().sends) };
    assert_eq!((entry.as_str(), letter.class.as_str(), letter.attempts), ("t-3", "job-failed", 3));
    let dependency = letter.dependency.as_ref().map(ToString::to_string);
    assert!(dependency.as_ref().is_some_and(|key| key.starts_with("agent.")), "{dependency:?}");
    let last = failure(FailureClass::Transient, "broken");
    outcome.then([
        Event::AttemptFailed { attempt: 3, failure: last.clone() },
        Event::Failed { failure: last, at: NOW },
    ]);
}

#[test]
fn other_failures_are_final_and_only_some_are_dead_letters() {
    use FailureClass::{Ambiguous, Budget, Canceled, Permanent, Poison};
    for (class, letters) in [(Permanent, 1), (Poison, 1), (Ambiguous, 1), (Budget, 1), (Canceled, 0)] {
        let outcome = running(Submit::new("a goal")).when(fail_job(1, class));
        assert_eq!(dead_letters(&outcome).len(), letters, "{class:?}");
        let state = outcome.given.state();
        assert_eq!(
            (state.status, state.failure.as_ref().map(|failure| failure.class)),
            (TaskState::Failed, Some(class))
        );
    }
}

/// A task of this name whose first attempt fails for good.
fn failing(name: &str) -> Outcome<Task> {
    let submission = Submit { parent: key(name).parent(), owner: "ada".into(), ..Submit::new("a goal") };
    let past = [submitted(submission), queued(1), issued(1)];
    given::<Task>(&address(&format!("task/{name}")), past).when(fail_job(1, FailureClass::Poison))
}

#[test]
fn dead_letters_of_different_tasks_have_different_keys() {
    let keys = ["co.b", "co-b", "co--b", "co_b", "co-b.1", "co.b-1", "co-b-1"];
    let entries: Vec<String> = keys.iter().map(|name| dead_letters(&failing(name)).remove(0).0).collect();
    assert_eq!(entries[..2], ["co.b-1", "co-b-1"]);
    let different: std::collections::BTreeSet<&String> = entries.iter().collect();
    assert_eq!(different.len(), keys.len(), "{entries:?}");
}

#[test]
fn a_dead_letter_has_what_was_submitted() {
    let letter = dead_letters(&failing("t")).remove(0).1;
    let body = letter.payload.and_then(|payload| payload.body()).expect("it is small");
    let wanted = Submit { owner: "ada".into(), ..Submit::new("a goal") };
    assert_eq!(body.read::<Command>().unwrap(), Command::Submit(wanted));
}

#[test]
fn what_was_submitted_for_a_dead_letter_is_that_one() {
    let submission = Submit { dead_letter: Some(key("t-1")), ..Submit::new("a goal") };
    let settle = |outcome, task: &str| {
        let settle = dead_letter::Command::SettleRedrive { redrive: None, outcome, task: Some(key(task)) };
        sent("dead-letter/t-1", &settle)
    };
    let failed = running(submission.clone()).when(fail_job(1, FailureClass::Permanent));
    assert_eq!(failed.decision().sends[0].to, address("dead-letter/t-1"));
    let ended = settle(dead_letter::Outcome::Ended { state: TaskState::Failed }, "t");
    assert!(failed.decision().sends.contains(&ended), "{:?}", failed.decision().sends);
    let completed = running(submission).when(complete_job(1));
    assert!(completed.decision().sends.contains(&settle(dead_letter::Outcome::Completed, "t")));
}

#[test]
fn a_step_that_is_done_after_all_tells_its_entry() {
    let given = failing("co.b").given.called_by("task/co");
    let given = given.when(Command::Retry { end: None }).given;
    let given = given.when(assign(2)).given.when(complete_job(2));
    let told: Vec<_> = given.decision().sends.iter().map(|send| send.to.to_string()).collect();
    assert!(told.contains(&"dead-letter/co.b-1".to_owned()), "{told:?}");
    assert!(!told.contains(&"dead-letter/co-b-1".to_owned()), "that may be another task's: {told:?}");
}

#[test]
fn a_dead_letter_of_a_deep_task_has_a_key_that_fits() {
    let long = format!("t.{}", "x".repeat(158));
    let submission = Submit { parent: Some(key("t")), ..Submit::new("a goal") };
    let past = [submitted(submission), queued(1), issued(1)];
    let outcome =
        given::<Task>(&address(&format!("task/{long}")), past).when(fail_job(1, FailureClass::Poison));
    assert_eq!(dead_letters(&outcome)[0].0.len(), 160);
}

#[test]
fn a_silent_worker_is_a_transient_failure_unless_an_effect_is_under_way() {
    let expire = Command::ExpireLease { attempt: 1 };
    let outcome = running(Submit::new("a goal")).when(expire.clone());
    let state = outcome.given.state();
    assert_eq!(
        (state.phase, state.failure.as_ref().unwrap().code.as_str()),
        (Phase::Backoff, "worker-silent")
    );
    let outcome = outcome.given.when(expire.clone());
    assert!(outcome.decision().sends.is_empty());
    outcome.then([]);

    let begun = running(Submit::new("a goal"))
        .when(effect(1, EffectStep::Intended))
        .then([effect_recorded(1, EffectStep::Intended)])
        .when(effect(1, EffectStep::Started))
        .then([effect_recorded(1, EffectStep::Started)]);
    let outcome = begun.when(expire);
    let state = outcome.given.state();
    assert_eq!(state.failure.as_ref().unwrap().class, FailureClass::Ambiguous);
    assert_eq!((state.effects["push"].step, state.phase), (EffectStep::Ambiguous, Phase::Queued));
    // The next attempt is told, and no effect is intended again before its outcome is known.
    let outcome = outcome.given.when(assign(2));
    let past = &outcome.decision().jobs[0].1.effects[0];
    assert_eq!((past.effect.as_str(), past.step), ("push", EffectStep::Ambiguous));
    let given = outcome.then([issued(2)]);
    let given = given.when(effect(2, EffectStep::Intended)).then_refused("illegal-effect-step");
    given
        .when(effect(2, EffectStep::Failed))
        .then([effect_recorded(2, EffectStep::Failed)])
        .when(effect(2, EffectStep::Intended))
        .then([effect_recorded(2, EffectStep::Intended)]);
}

#[test]
fn a_worker_that_comes_no_further_is_replaced() {
    let outcome = running(Submit::new("a goal")).when(Command::ExpireProgress { attempt: 1 });
    assert!(ends_leases(&outcome));
    let stop = Stop { agent: key("coder"), worker: "w1".into(), job: "t/1".into() };
    assert_eq!(outcome.decision().stops, [stop], "it is told that it need not go on");
    let state = outcome.given.state();
    assert_eq!((state.phase, state.failure.as_ref().unwrap().code.as_str()), (Phase::Backoff, "no-progress"));
}

/// A failure of 200,000 control characters once made a message that the server refused.
#[test]
fn what_a_worker_says_of_a_failure_is_cut() {
    let long = || "\u{1}".repeat(200_000);
    let fail = Command::FailJob {
        attempt: 1,
        token: token(1),
        class: FailureClass::Permanent,
        code: long(),
        message: long(),
        hint: Some(long()),
        dependency: None,
    };
    let outcome = running(Submit::new("a goal")).when(fail);
    let failure = outcome.given.state().failure.clone().expect("it failed");
    // Cut between two characters: each is replaced by a mark of three bytes.
    let lengths = [failure.code.len(), failure.message.len(), failure.hint.unwrap_or_default().len()];
    assert!(
        lengths.iter().zip([128, 4_096, 4_096]).all(|(length, max)| (max - 2..=max).contains(length)),
        "{lengths:?}"
    );
    assert!(failure.message.ends_with('…'), "{}", failure.message);
    let told: usize = outcome.decision().sends.iter().map(|send| send.body.bytes.len()).sum();
    assert!(told < 100_000, "its dead letter has {told} bytes");
    let words = Command::Cancel { reason: long() };
    let outcome = running(Submit::new("a goal")).when(words);
    let [Event::CancelRequested { reason, .. }, ..] = &outcome.decision().events[..] else {
        panic!("{:?}", outcome.decision().events)
    };
    assert!((4_094..=4_096).contains(&reason.len()), "{}", reason.len());
}

#[test]
fn the_settings_say_how_attempts_are_tried_again() {
    let retry = RetryPolicy { attempts: 2, base: Duration::from_secs(10), ..RetryPolicy::default() };
    let policy = Policy { retry, ..Policy::default() };
    let told = |attempt| match assign(attempt) {
        Command::Assign { agent, worker, claim, attempt, token, .. } => {
            let policy = Some(Box::new(policy.clone()));
            Command::Assign { agent, worker, claim, attempt, token, policy }
        }
        other => panic!("{other:?}"),
    };
    let given = root([submitted(Submit::new("a goal")), queued(1)]);
    let given = given.when(told(1)).then([Event::PolicySet { policy: policy.clone() }, issued(1)]);
    let outcome = given.when(fail_job(1, FailureClass::Transient));
    let until = timer(&outcome, "backoff").expect("it pauses");
    assert!((8_000..=12_000).contains(&(until.0 - NOW.0)), "{until}");
    let given = outcome.given.when(Command::EndBackoff { attempt: 2 }).given;
    let given = given.when(told(2)).then([issued(2)]);
    let given = given.when(fail_job(2, FailureClass::Transient)).given;
    assert_eq!(given.state().status, TaskState::Failed, "two attempts, as the settings say");
    // A task's own `attempts_max` takes precedence.
    let submission = Submit { attempts_max: Some(3), ..Submit::new("a goal") };
    let given = root([submitted(submission), queued(1)]).when(told(1)).given;
    let given =
        given.when(fail_job(1, FailureClass::Transient)).given.when(Command::EndBackoff { attempt: 2 }).given;
    let given = given.when(told(2)).given.when(fail_job(2, FailureClass::Transient)).given;
    assert_eq!(given.state().phase, Phase::Backoff);
}

#[test]
fn the_effect_ledger_takes_legal_steps_only() {
    use EffectStep::{Ambiguous, Completed, Failed, Intended, Reconciled, Started};
    let all = [Intended, Started, Completed, Failed, Ambiguous, Reconciled];
    // Each step, and those that may follow; a repeat is accepted, except of `started`.
    let cases: [(&[EffectStep], &[EffectStep]); 7] = [
        (&[], &[Intended]),
        (&[Intended], &[Intended, Started]),
        (&[Intended, Started], &[Completed, Failed, Ambiguous]),
        (&[Intended, Started, Completed], &[Completed]),
        (&[Intended, Started, Failed], &[Failed, Intended]),
        (&[Intended, Started, Ambiguous], &[Ambiguous, Reconciled, Completed, Failed]),
        (&[Intended, Started, Ambiguous, Reconciled], &[Reconciled, Intended]),
    ];
    for (past, legal) in cases {
        for next in all {
            let mut given = running(Submit::new("a goal"));
            for step in past {
                given = given.when(effect(1, *step)).then([effect_recorded(1, *step)]);
            }
            let outcome = given.when(effect(1, next));
            match legal.contains(&next) {
                true => assert!(outcome.result.is_ok(), "{past:?} then {next:?}"),
                false => drop(outcome.then_refused("illegal-effect-step")),
            }
        }
    }
    running(Submit::new("a goal")).when(effect(2, Intended)).then_refused("stale-attempt");
    let nameless = Command::RecordEffect {
        attempt: 1,
        token: token(1),
        effect: String::new(),
        step: Intended,
        detail: String::new(),
        key: None,
        result: Value::Null,
    };
    running(Submit::new("a goal")).when(nameless).then_refused("invalid-effect");
}

#[test]
fn what_was_done_for_sure_is_not_done_again_by_a_later_attempt() {
    let mut given = running(Submit::new("a goal"));
    for step in [EffectStep::Intended, EffectStep::Started, EffectStep::Completed] {
        given = given.when(effect(1, step)).then([effect_recorded(1, step)]);
    }
    let given = given.when(fail_job(1, FailureClass::Transient)).given;
    let given =
        given.when(Command::EndBackoff { attempt: 2 }).then([queued(2)]).when(assign(2)).then([issued(2)]);
    given.when(effect(2, EffectStep::Intended)).then_refused("illegal-effect-step");
}

/// A success ends the task: no later attempt would find out the outcome of an effect.
#[test]
fn a_job_is_not_completed_while_it_is_unknown_how_an_effect_ended() {
    use EffectStep::{Ambiguous, Completed, Failed, Intended, Reconciled, Started};
    let plan = || Some(Plan { steps: vec![step("s0", &[])] });
    for (steps, accepted) in [
        (vec![Intended], true),
        (vec![Intended, Started], false),
        (vec![Intended, Started, Ambiguous], false),
        (vec![Intended, Started, Completed], true),
        (vec![Intended, Started, Failed], true),
        (vec![Intended, Started, Ambiguous, Reconciled], true),
    ] {
        for plan in [None, plan()] {
            let given = steps.iter().fold(running(Submit::new("a goal")), |given, step| {
                given.when(effect(1, *step)).then([effect_recorded(1, *step)])
            });
            let outcome = given.when(complete_with(1, vec![], Value::Null, plan));
            match accepted {
                true => assert!(outcome.result.is_ok(), "{steps:?}"),
                false => drop(outcome.then_refused("effect-open")),
            }
        }
    }
    // The outcome of an earlier attempt's effect is unknown as well.
    let given = running(Submit::new("a goal")).when(effect(1, Intended)).given;
    let given = given.when(effect(1, Started)).given.when(Command::ExpireLease { attempt: 1 }).given;
    let given = given.when(assign(2)).given.when(complete_job(2)).then_refused("effect-open");
    let given = given.when(effect(2, Failed)).given.when(complete_job(2)).given;
    assert_eq!(given.state().status, TaskState::Completed);
}
