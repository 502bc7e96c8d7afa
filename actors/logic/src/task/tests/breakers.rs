//! The cost of an open breaker for a task, and the dependency that its dead letter names.

use bus_schemas::commands::task::Policy;
use bus_schemas::events::task::WithdrawnBy;
use bus_schemas::settings::{Duration, RetryPolicy};

use super::*;

fn refused(attempt: u32) -> Command {
    let class = FailureClass::Transient;
    let (code, message) = ("breaker-open".to_owned(), "`tool.git` is not called: an outage".to_owned());
    let dependency = Some(key("tool.git"));
    Command::FailJob { attempt, token: token(attempt), class, code, message, hint: None, dependency }
}

fn policy(retry: RetryPolicy) -> Event {
    Event::PolicySet { policy: Policy { retry, ..Policy::default() } }
}

#[test]
fn a_call_that_an_open_breaker_refused_is_no_attempt() {
    let mut given = running(Submit { attempts_max: Some(1), ..Submit::new("a goal") });
    let mut paused = 0;
    for attempt in 1..=12 {
        let outcome = given.when(refused(attempt));
        assert_eq!(outcome.decision().sends, [release("t", attempt, lane::Outcome::Withdrawn)]);
        let until = timer(&outcome, "backoff").expect("it pauses");
        assert!(until.0 - NOW.0 > paused || paused > 200_000, "it comes more and more seldom");
        paused = until.0 - NOW.0;
        let reason = "breaker-open: `tool.git` is not called: an outage".to_owned();
        let withdrawn = Event::AttemptWithdrawn { attempt, reason, by: WithdrawnBy::Worker };
        let waiting =
            outcome.then([withdrawn, Event::BackoffStarted { attempt: attempt + 1, until, at: NOW }]);
        let queued = waiting.when(Command::EndBackoff { attempt: attempt + 1 }).given;
        given = queued.when(assign(attempt + 1)).then([issued(attempt + 1)]);
    }
    assert_eq!(given.state().failures, 0);
    let outcome = given.when(fail_job(13, FailureClass::Transient));
    assert_eq!(outcome.given.state().status, TaskState::Failed, "a real failure counts as ever");
}

#[test]
fn what_is_refused_for_too_long_fails_by_its_dependency() {
    let retry = RetryPolicy { deadline: Some(Duration::from_secs(60)), ..RetryPolicy::default() };
    let past = [submitted(Submit::new("a goal")), queued(1), policy(retry), issued(1)];
    let outcome = root(past).at(NOW.plus_ms(60_000)).when(refused(1));
    assert_eq!(dead_letters(&outcome)[0].1.dependency, Some(key("tool.git")));
}

#[test]
fn poison_is_nobodys_outage() {
    let by = |class| {
        let submission = Submit { attempts_max: Some(1), ..Submit::new("a goal") };
        let outcome = running(submission).when(fail_job(1, class));
        dead_letters(&outcome).remove(0).1.dependency
    };
    assert_eq!(by(FailureClass::Transient), Some(key("agent.coder")));
    assert_eq!(by(FailureClass::Poison), None);
    assert_eq!(by(FailureClass::Permanent), None);
    let poison = Command::FailJob {
        attempt: 1,
        token: token(1),
        class: FailureClass::Poison,
        code: "nonsense".into(),
        message: "it went wrong".into(),
        hint: None,
        dependency: Some(key("tool.git")),
    };
    let outcome = running(Submit::new("a goal")).when(poison);
    assert_eq!(dead_letters(&outcome)[0].1.dependency, None, "it fails again however well that is");
}

#[test]
fn no_pause_is_longer_than_the_longest() {
    let cap = Duration::from_secs(2);
    // Each attempt has another jitter.
    for attempt in 1..=40 {
        let retry = RetryPolicy { base: cap, cap, ..RetryPolicy::default() };
        let submission = Submit { attempts_max: Some(9), ..Submit::new("a goal") };
        let past = [submitted(submission), queued(attempt), policy(retry), issued(attempt)];
        let outcome = root(past).when(fail_job(attempt, FailureClass::Transient));
        let until = timer(&outcome, "backoff").expect("it pauses");
        assert!(until.0 - NOW.0 <= cap.as_ms(), "{} ms", until.0 - NOW.0);
    }
}
