//! Attempts of a leaf: jobs, leases, failures, effects, questions.

use super::*;
use bus_schemas::commands::task::Policy;
use bus_schemas::settings::{Duration, RetryPolicy};

/// What a task of somebody says to its lane.
fn enqueue_of(owner: &str, attempt: u32) -> Send {
    let (skill, since) = ("plan".into(), NOW);
    let enqueue =
        broker::Command::Enqueue { task: key("t"), attempt, skill, priority: 5, owner: owner.into(), since };
    sent("broker/default", &enqueue)
}

fn assign(attempt: u32) -> Command {
    Command::Assign { agent: key("coder"), attempt, policy: None }
}

fn start(attempt: u32, worker: &str) -> Command {
    Command::StartJob { attempt, worker: worker.into() }
}

#[test]
fn an_assigned_attempt_becomes_a_job_and_is_started_by_one_worker() {
    let submission = Submit { skill: "code".into(), ..Submit::new("a goal") };
    let outcome = root([submitted(submission), queued(1)]).when(assign(1));
    let [job] = &outcome.decision().jobs[..] else { panic!("{:?}", outcome.decision().jobs) };
    assert_eq!((job.id.as_str(), job.attempt, job.lease_ms, job.skill.as_str()), ("t/1", 1, 30_000, "code"));
    assert_eq!(timer(&outcome, "lease"), Some(NOW.plus_ms(40_000)));
    let given = outcome.then([issued(1)]);
    let again = given.when(assign(1));
    assert!(again.decision().sends.is_empty() && again.decision().jobs.is_empty(), "the slot is in use");
    again
        .then([])
        .when(start(1, "w1"))
        .then([started(1)])
        .when(start(1, "w1"))
        .then([started(1)])
        .when(start(1, "w2"))
        .then_refused("attempt-taken")
        .when(start(2, "w1"))
        .then_refused("stale-attempt");
}

#[test]
fn an_assignment_that_is_not_wanted_frees_its_slot() {
    let leaf = || [submitted(Submit::new("a goal")), queued(1)];
    for (past, attempt) in [
        (leaf().to_vec(), 2),
        ([leaf().to_vec(), vec![cancel_requested(), canceled()]].concat(), 1),
        ([leaf().to_vec(), vec![issued(1), started(1), completed()]].concat(), 1),
    ] {
        let outcome = root(past).when(assign(attempt));
        assert_eq!(outcome.decision().sends, [release("t", attempt, broker::Outcome::Withdrawn)]);
        assert!(outcome.decision().jobs.is_empty());
        outcome.then([]);
    }
}

#[test]
fn completion_frees_the_slot_tells_the_parent_and_may_be_said_twice() {
    let submission =
        Submit { parent: Some(key("t")), deadline: Some(NOW.plus_ms(9)), ..Submit::new("a goal") };
    let past = [submitted(submission), queued(1), issued(1), started(1)];
    let outcome = given::<Task>(&address("task/t.a"), past).when(complete_job(1));
    let settle = Command::SettleChild {
        step: "a".into(),
        state: TaskState::Completed,
        artifacts: vec![artifact("report", "")],
        result: 42.into(),
        failure: None,
    };
    assert_eq!(outcome.decision().sends, [release("t.a", 1, broker::Outcome::Done), sent("task/t", &settle)]);
    assert!(cancels_timer(&outcome, "lease") && cancels_timer(&outcome, "deadline"));
    outcome
        .then([completed()])
        .when(complete_job(1))
        .then([])
        .when(complete_job(2))
        .then_refused("task-final")
        .when(start(1, "w1"))
        .then_refused("task-final")
        .when(Command::RenewLease { attempt: 1, progressed: false })
        .then_refused("task-final");
}

#[test]
fn too_many_artifacts_are_refused() {
    let artifacts = vec![artifact("a", ""); 1_001];
    let command = Command::CompleteJob { attempt: 1, artifacts, result: Value::Null, plan: None };
    running(Submit::new("a goal")).when(command).then_refused("too-many-artifacts");
}

#[test]
fn a_transient_failure_pauses_then_queues_until_the_attempts_are_used_up() {
    let mut given = running(Submit::new("a goal"));
    for attempt in [1, 2] {
        let outcome = given.when(fail_job(attempt, FailureClass::Transient));
        assert_eq!(outcome.decision().sends, [release("t", attempt, broker::Outcome::Failed)]);
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
    let causes =
        |number| format!("attempt {number} failed as transient, by agent `coder`: broken: it went wrong");
    let known = dead_letters(&outcome).remove(0).1.causes;
    assert_eq!(known, [3, 2].map(causes).into_iter().chain([known[2].clone()]).collect::<Vec<_>>());
    assert!(
        known[2].starts_with("attempt 1 failed as transient, by worker `w1` of agent `coder`: "),
        "{known:?}"
    );
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

/// A task of this name that fails for good with its first attempt.
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
        let settle = deadletter::Command::SettleRedrive { redrive: None, outcome, task: Some(key(task)) };
        sent("deadletter/t-1", &settle)
    };
    let failed = running(submission.clone()).when(fail_job(1, FailureClass::Permanent));
    assert_eq!(failed.decision().sends[0].to, address("deadletter/t-1"));
    let ended = settle(deadletter::Outcome::Ended { state: TaskState::Failed }, "t");
    assert!(failed.decision().sends.contains(&ended), "{:?}", failed.decision().sends);
    let completed = running(submission).when(complete_job(1));
    assert!(completed.decision().sends.contains(&settle(deadletter::Outcome::Completed, "t")));
}

#[test]
fn a_step_that_is_done_after_all_tells_its_entry_by_both_names() {
    let given = failing("co.b").given;
    let given = given.when(Command::Retry { by: "parent".into() }).given;
    let given = given.when(assign(2)).given.when(complete_job(2));
    let told: Vec<_> = given.decision().sends.iter().map(|send| send.to.to_string()).collect();
    assert!(told.contains(&"deadletter/co.b-1".to_owned()), "{told:?}");
    assert!(told.contains(&"deadletter/co-b-1".to_owned()), "an older program named it so: {told:?}");
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
    // The next attempt is told, and nothing is intended again before it is known.
    let outcome = outcome.given.when(assign(2));
    let past = &outcome.decision().jobs[0].effects[0];
    assert_eq!((past.effect.as_str(), past.step), ("push", EffectStep::Ambiguous));
    let given = outcome.then([issued(2)]);
    let given = given.when(effect(2, EffectStep::Intended)).then_refused("illegal-effect-step");
    given
        .when(effect(2, EffectStep::Failed))
        .then([effect_recorded(2, EffectStep::Failed)])
        .when(effect(2, EffectStep::Intended))
        .then([effect_recorded(2, EffectStep::Intended)]);
}

/// A leaf whose last attempt was lost while an effect was under way.
fn lost_in_an_effect() -> Given<Task> {
    let submission = Submit { attempts_max: Some(1), owner: "ann".into(), ..Submit::new("a goal") };
    let given = running(submission).when(effect(1, EffectStep::Intended)).given;
    given.when(effect(1, EffectStep::Started)).given.when(Command::ExpireLease { attempt: 1 }).given
}

fn answer(text: &str) -> Command {
    Command::ProvideInput { answer: text.into(), by: "ann".into() }
}

#[test]
fn where_no_agent_can_tell_what_became_of_an_effect_its_owner_is_asked() {
    let given = lost_in_an_effect();
    assert_eq!((given.state().status, given.state().asks.as_str()), (TaskState::InputRequired, "ann"));
    assert!(given.state().question.as_ref().is_some_and(|question| question.contains("`push`")));
    let given = given.when(answer("perhaps")).then_refused("invalid-answer");
    let outcome = given.when(answer("done"));
    assert_eq!(outcome.decision().sends, [enqueue_of("ann", 2)]);
    assert_eq!(outcome.given.state().effects["push"].step, EffectStep::Completed);
    assert!(outcome.given.state().answers.is_empty(), "the agent asked nothing");

    let outcome = lost_in_an_effect().when(answer("not done"));
    assert_eq!(outcome.given.state().effects["push"].step, EffectStep::Failed);
    // Somebody may also say it to the ledger.
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
    let given = given.when(assign(2)).given.when(start(2, "w2")).given;
    let unknown = Command::FailJob {
        attempt: 2,
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
fn a_worker_that_comes_no_further_is_replaced() {
    let given = root([submitted(Submit::new("a goal")), queued(1), issued(1)]);
    let outcome = given.when(start(1, "w1"));
    assert_eq!(timer(&outcome, "progress"), Some(NOW.plus_ms(900_000)));
    let given = outcome.then([started(1)]).at(NOW.plus_ms(1_000));
    let outcome = given.when(Command::RenewLease { attempt: 1, progressed: true });
    assert_eq!(timer(&outcome, "progress"), Some(NOW.plus_ms(901_000)));
    let outcome = outcome.then([]).when(Command::RenewLease { attempt: 1, progressed: false });
    assert_eq!(timer(&outcome, "progress"), None);
    let outcome = outcome.then([]).when(Command::ExpireProgress { attempt: 1 });
    assert!(cancels_timer(&outcome, "progress") && cancels_timer(&outcome, "lease"));
    let state = outcome.given.state();
    assert_eq!((state.phase, state.failure.as_ref().unwrap().code.as_str()), (Phase::Backoff, "no-progress"));
}

#[test]
fn a_worker_that_never_begins_is_replaced_however_often_it_renews() {
    let outcome = root([submitted(Submit::new("a goal")), queued(1)]).when(assign(1));
    assert_eq!(timer(&outcome, "progress"), Some(NOW.plus_ms(900_000)), "it is awaited from the job on");
    let given = outcome.given.at(NOW.plus_ms(600_000));
    let outcome = given.when(Command::RenewLease { attempt: 1, progressed: true });
    assert!(timer(&outcome, "lease").is_some());
    assert_eq!(timer(&outcome, "progress"), None, "what has not begun comes no further");
    let outcome = outcome.given.when(Command::ExpireProgress { attempt: 1 });
    assert!(cancels_timer(&outcome, "progress") && cancels_timer(&outcome, "lease"));
    assert_eq!(outcome.given.state().failure.as_ref().unwrap().code, "no-progress");
}

#[test]
fn work_that_ends_its_worker_time_after_time_is_poison() {
    let mut given = root([submitted(Submit::new("a goal")), queued(1), issued(1)]);
    for times in 1..=5 {
        let outcome = given.when(start(1, "w1"));
        assert_eq!(timer(&outcome, "progress").is_some(), times == 1, "beginning anew is no progress");
        given = outcome.then([started(1)]);
    }
    let given = given.when(start(1, "w1")).then_refused("started-too-often");
    let outcome = given.when(Command::ExpireLease { attempt: 1 });
    assert_eq!(dead_letters(&outcome).len(), 1);
    let failure = outcome.given.state().failure.clone().expect("it failed");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Poison, "started-too-often"));
    // Another attempt is begun from the first time on.
    let given = outcome.given.when(Command::Retry { by: "ann".into() }).given.when(assign(2)).given;
    given.when(start(2, "w1")).then([started(2)]);
}

#[test]
fn what_workers_give_back_again_and_again_waits_longer_each_time_and_fails_at_last() {
    let mut given = running(Submit::new("a goal")).told_by("w1");
    let mut pauses = Vec::new();
    for attempt in 1..=20 {
        let outcome = given.when(withdraw(attempt));
        pauses.push(timer(&outcome, "backoff").map_or(0, |until| until.0 - NOW.0));
        let next = attempt + 1;
        let events = &outcome.decision().events;
        assert_eq!((events.len(), &events[0]), (2, &withdrawn(attempt, false)));
        given = outcome.given.when(Command::EndBackoff { attempt: next }).given;
        given = given.when(assign(next)).then([issued(next)]);
    }
    assert_eq!(pauses[0], 0, "once is no row");
    assert!((800..=1_200).contains(&pauses[1]) && (1_600..=2_400).contains(&pauses[2]), "{pauses:?}");
    assert!(pauses[19] >= 240_000, "{pauses:?}");
    let given = given.when(withdraw(21)).given;
    let failure = given.state().failure.clone().expect("it failed");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Transient, "withdrawn-too-often"));
    assert_eq!((given.state().phase, given.state().failures), (Phase::Backoff, 1));
}

#[test]
fn what_is_held_in_between_is_not_given_back_in_a_row() {
    // Its lane takes it back, and holds it.
    let mut given = running(Submit::new("a goal"));
    for attempt in 1..=30 {
        given = given.when(withdraw(attempt)).then([withdrawn(attempt, true), queued(attempt + 1)]);
        given = given.when(assign(attempt + 1)).then([issued(attempt + 1)]);
    }
    // Its worker was the first to hear of a halt each time; then the task waits in its lane.
    let mut given = running(Submit::new("a goal")).told_by("w1");
    for attempt in 1..=30_u32 {
        let at = |seconds: u32| NOW.plus_ms(u64::from(attempt * 60 + seconds) * 1_000);
        let outcome = given.at(at(0)).when(withdraw(attempt));
        assert_eq!(timer(&outcome, "backoff"), None, "attempt {attempt}");
        given = outcome.given.at(at(30)).when(assign(attempt + 1)).given;
    }
}

#[test]
fn the_settings_say_how_attempts_are_tried_again() {
    let retry = RetryPolicy { attempts: 2, base: Duration::from_secs(10), ..RetryPolicy::default() };
    let policy = Policy { retry, ..Policy::default() };
    let told =
        |attempt| Command::Assign { agent: key("coder"), attempt, policy: Some(Box::new(policy.clone())) };
    let given = root([submitted(Submit::new("a goal")), queued(1)]);
    let given = given.when(told(1)).then([Event::PolicySet { policy: policy.clone() }, issued(1)]);
    let outcome = given.when(fail_job(1, FailureClass::Transient));
    let until = timer(&outcome, "backoff").expect("it pauses");
    assert!((8_000..=12_000).contains(&(until.0 - NOW.0)), "{until}");
    let given = outcome.given.when(Command::EndBackoff { attempt: 2 }).given;
    let given = given.when(told(2)).then([issued(2)]);
    let given = given.when(fail_job(2, FailureClass::Transient)).given;
    assert_eq!(given.state().status, TaskState::Failed, "two attempts, as the settings say");
    // A task that names its own number has that.
    let submission = Submit { attempts_max: Some(3), ..Submit::new("a goal") };
    let given = root([submitted(submission), queued(1)]).when(told(1)).given;
    let given =
        given.when(fail_job(1, FailureClass::Transient)).given.when(Command::EndBackoff { attempt: 2 }).given;
    let given = given.when(told(2)).given.when(fail_job(2, FailureClass::Transient)).given;
    assert_eq!(given.state().phase, Phase::Backoff);
}

#[test]
fn a_lease_is_renewed_by_its_worker_only() {
    let given = running(Submit::new("a goal")).at(Timestamp(2_000_000));
    let outcome = given.when(Command::RenewLease { attempt: 1, progressed: false });
    assert_eq!(timer(&outcome, "lease"), Some(Timestamp(2_040_000)));
    outcome
        .then([])
        .when(Command::RenewLease { attempt: 2, progressed: false })
        .then_refused("stale-attempt");
}

#[test]
fn the_effect_ledger_takes_legal_steps_only() {
    use EffectStep::{Ambiguous, Completed, Failed, Intended, Reconciled, Started};
    let all = [Intended, Started, Completed, Failed, Ambiguous, Reconciled];
    // What was said, and what may follow; the same step again is accepted except `started`.
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

#[test]
fn a_question_waits_for_its_answer_and_costs_no_attempt() {
    let ask = |attempt, prompt: &str| Command::RequireInput {
        attempt,
        prompt: prompt.into(),
        authorization: false,
    };
    let answer = Command::ProvideInput { answer: "blue".into(), by: "ann".into() };
    let submission = Submit { attempts_max: Some(1), ..Submit::new("a goal") };
    let outcome = running(submission).when(answer.clone()).then_refused("no-question").when(ask(1, "which?"));
    assert_eq!(outcome.decision().sends, [release("t", 1, broker::Outcome::Withdrawn)]);
    assert!(cancels_timer(&outcome, "lease"));
    let required = Event::InputRequired {
        attempt: 1,
        prompt: "which?".into(),
        authorization: false,
        effect: None,
        asks: "".into(),
        at: NOW,
    };
    let given = outcome.then([required]).when(ask(1, "which?")).then([]);
    assert_eq!(given.state().status, TaskState::InputRequired);
    let outcome = given.when(answer);
    assert_eq!(outcome.decision().sends, [enqueue("t", 2, "plan")]);
    let provided = Event::InputProvided { answer: "blue".into(), by: "ann".into() };
    let outcome = outcome.then([provided, queued(2)]).when(assign(2));
    assert_eq!(outcome.decision().jobs[0].answers, [Value::from("blue")]);
    let given = outcome.then([issued(2)]).when(ask(1, "which?")).then_refused("stale-attempt");
    let given = given.when(ask(2, "")).then_refused("invalid-prompt");
    let given = given.when(effect(2, EffectStep::Intended)).given.when(effect(2, EffectStep::Started)).given;
    given.when(ask(2, "why?")).then_refused("effect-open");
    let authorize = Command::RequireInput { attempt: 1, prompt: "may I?".into(), authorization: true };
    assert_eq!(running(Submit::new("a goal")).when(authorize).given.state().status, TaskState::AuthRequired);
}

fn withdraw(attempt: u32) -> Command {
    Command::Withdraw { attempt, reason: "halt/all: fire".into() }
}

fn withdrawn(attempt: u32, held: bool) -> Event {
    Event::AttemptWithdrawn { attempt, reason: "halt/all: fire".into(), held }
}

#[test]
fn an_attempt_that_is_taken_back_costs_none_and_waits_anew() {
    let submission = Submit { attempts_max: Some(1), ..Submit::new("a goal") };
    let withdrawn = withdrawn(1, true);
    let outcome = running(submission.clone()).when(withdraw(1));
    assert_eq!(
        outcome.decision().sends,
        [release("t", 1, broker::Outcome::Withdrawn), enqueue("t", 2, "plan")]
    );
    let given = outcome.then([withdrawn, queued(2)]);
    given.when(withdraw(1)).then([]).when(assign(2)).then([issued(2)]);
    // What was begun may have happened: nobody tries it again by himself.
    let outcome = running(submission).when(effect(1, EffectStep::Intended)).given;
    let outcome = outcome.when(effect(1, EffectStep::Started)).given.when(withdraw(1));
    assert_eq!(outcome.given.state().status, TaskState::InputRequired);
    assert_eq!(
        outcome.given.state().failure.as_ref().map(|failure| failure.class),
        Some(FailureClass::Ambiguous)
    );
}
