//! Every code has a status, and every problem the same shape.

use super::*;

#[test]
fn refusals_have_the_status_that_a_client_expects() {
    let cases = [
        ("task-not-found", 404),
        ("schedule-not-found", 404),
        ("invalid-plan", 422),
        ("malformed-command", 422),
        ("command-id-reused", 422),
        ("idempotency-key-reused", 422),
        ("task-exists", 409),
        ("task-final", 409),
        ("not-waiting", 409),
        ("command-id-stale", 409),
        ("too-large", 413),
        ("unsupported-content-type", 415),
        ("busy", 503),
        ("not-owner", 503),
        ("unknown-query", 422),
        ("wrong-partition", 400),
        ("poison", 500),
    ];
    for (code, expected) in cases {
        assert_eq!(status(code), expected, "{code}");
    }
}

#[test]
fn a_problem_has_its_type_its_code_and_when_to_try_again() {
    let mut refusal = Refusal::new("busy", "the queue is full").hint("slow down");
    refusal.retry_after_ms = Some(250);
    let response = Problem::from(refusal).into_response();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    let problem = View::from(Problem::new("task-not-found", "there is no task `x`"));
    assert_eq!(problem.kind, "/errors/task-not-found");
    assert_eq!(problem.title, "task not found");
    assert_eq!(problem.hint.as_deref(), Some("`/errors/task-not-found` says what to do"));
    assert_eq!(problem.next, Some(NextStep::Explain));
    let problem =
        View::from(Problem::new("task-not-found", "there is no task `x`").next(NextStep::ListTasks));
    assert_eq!(problem.hint.as_deref(), Some("`GET /v1/tasks` lists what there is"));
    let problem = View::from(Problem::new("invalid-id", "a space").hint("leave it out"));
    assert_eq!((problem.hint.as_deref(), problem.next), (Some("leave it out"), None));
}
