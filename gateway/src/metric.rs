//! The names of this crate's metrics, with unit and help, and the recorder that renders them.

use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Requests answered, by `method`, `route` and `status`.
pub const HTTP_REQUESTS: &str = "orrery_gateway_http_requests_total";
/// Time from a request's head to the response's head, by `method`, `route` and `status`.
pub const HTTP_DURATION: &str = "orrery_gateway_http_request_duration_seconds";
/// Open event streams.
pub const STREAMS: &str = "orrery_gateway_event_streams";
/// Messages of the event stream that the read model has not applied yet.
pub const LAG: &str = "orrery_gateway_projection_lag_messages";
/// Events that the read model has applied.
pub const APPLIED: &str = "orrery_gateway_projection_events_total";
/// Events that the read model could not apply.
pub const UNREADABLE: &str = "orrery_gateway_projection_unreadable_total";

/// Failures of the gateway's loops, which are restarted; with `supervisor` `gateway`, in the metric of
/// everything supervised, so that one alert covers it.
pub const LOOP_FAILURES: &str = "orrery_supervision_failures_total";

/// Tasks that are not final, by `state`.
pub const TASKS_OPEN: &str = "orrery_tasks_open";
/// How long the task that has stood still longest has not changed, in seconds, by `state`; 0 when no task is
/// in the state.
pub const TASK_STILL: &str = "orrery_tasks_longest_unchanged_seconds";
/// Tasks that ended, by `state`.
pub const TASKS_ENDED: &str = "orrery_tasks_ended_total";
/// Attempts that failed, by `class`.
pub const ATTEMPTS_FAILED: &str = "orrery_attempts_failed_total";
/// Attempts that are retried after a pause.
pub const RETRIES: &str = "orrery_attempts_retried_total";
/// How often a task tree used up its budget.
pub const BUDGETS_EXCEEDED: &str = "orrery_task_budgets_exceeded_total";
/// Waiting dead letters, by `class`.
pub const DEAD_LETTERS_WAITING: &str = "orrery_dead_letters_waiting";
/// Dead letters with a redrive under way.
pub const DEAD_LETTERS_REDRIVING: &str = "orrery_dead_letters_redriving";
/// The age of the oldest waiting dead letter, in seconds; 0 when none waits.
pub const DEAD_LETTER_AGE: &str = "orrery_dead_letters_oldest_seconds";
/// Changes of dead letters, by `change`: `arrived`, `redriven`, `returned` or `dropped`.
pub const DEAD_LETTER_CHANGES: &str = "orrery_dead_letters_changes_total";
/// Requests for an approval that wait for a person.
pub const APPROVALS_WAITING: &str = "orrery_approvals_waiting";
/// How long the oldest of them waits, in seconds; 0 when none does.
pub const APPROVAL_AGE: &str = "orrery_approvals_oldest_seconds";
/// Changes of approvals, by `change`: the name of the event.
pub const APPROVAL_CHANGES: &str = "orrery_approvals_changes_total";
/// Steps of changes of repositories, by `step`: the name of the event.
pub const CHANGE_STEPS: &str = "orrery_changes_steps_total";
/// Live workers, by `agent`.
pub const WORKERS: &str = "orrery_agent_workers";
/// Lost workers: registered but silent, by `agent`.
pub const WORKERS_LOST: &str = "orrery_agent_workers_lost";
/// How often a worker was lost, by `agent`.
pub const WORKERS_LOST_TOTAL: &str = "orrery_agent_workers_lost_total";

/// Bounds of the duration buckets: from a read from memory to a command that waits for a takeover.
const DURATION_BUCKETS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

/// The interval of [`upkeep`]: a busy host records some ten thousand measurements within it.
const UPKEEP: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Records the process's metrics from now on, for `/metrics`. A program that starts anything else beside a
/// gateway calls this first: counters made earlier are never exported.
pub fn record() {
    recorder();
}

/// The handle of the process's recorder, which the first call installs; `None` where another recorder was
/// installed before.
pub(crate) fn recorder() -> Option<&'static PrometheusHandle> {
    RECORDER.get_or_init(install).as_ref()
}

/// Sorts measurements into their buckets at intervals, without end: otherwise they would pile up until
/// somebody reads the metrics.
pub(crate) async fn upkeep() -> Infallible {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        if let Some(recorder) = recorder() {
            recorder.run_upkeep();
        }
    }
}

fn install() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &DURATION_BUCKETS)
        .expect("there are buckets");
    match builder.install_recorder() {
        Ok(handle) => {
            describe();
            Some(handle)
        }
        Err(error) => {
            tracing::warn!(%error, "metrics go to another recorder, and `/metrics` stays empty");
            None
        }
    }
}

fn describe() {
    metrics::describe_counter!(HTTP_REQUESTS, Unit::Count, "requests answered");
    metrics::describe_histogram!(
        HTTP_DURATION,
        Unit::Seconds,
        "time from a request's head to the answer's head"
    );
    metrics::describe_gauge!(STREAMS, Unit::Count, "event streams that are open now");
    metrics::describe_gauge!(LAG, Unit::Count, "messages of the event stream not applied yet");
    metrics::describe_counter!(APPLIED, Unit::Count, "events applied to the read model");
    metrics::describe_counter!(UNREADABLE, Unit::Count, "events that could not be applied to the read model");
    metrics::describe_counter!(LOOP_FAILURES, Unit::Count, "supervised workers that failed");
    metrics::describe_gauge!(TASKS_OPEN, Unit::Count, "tasks that are not final");
    metrics::describe_gauge!(TASK_STILL, Unit::Seconds, "for how long a task of the state has not changed");
    metrics::describe_counter!(TASKS_ENDED, Unit::Count, "tasks that came to their end");
    metrics::describe_counter!(ATTEMPTS_FAILED, Unit::Count, "attempts that failed");
    metrics::describe_counter!(RETRIES, Unit::Count, "attempts that are tried again after a pause");
    metrics::describe_counter!(BUDGETS_EXCEEDED, Unit::Count, "task trees that used up their budget");
    metrics::describe_gauge!(DEAD_LETTERS_WAITING, Unit::Count, "dead letters that wait");
    metrics::describe_gauge!(DEAD_LETTERS_REDRIVING, Unit::Count, "dead letters that are on their way again");
    metrics::describe_gauge!(DEAD_LETTER_AGE, Unit::Seconds, "for how long the oldest dead letter waits");
    metrics::describe_counter!(DEAD_LETTER_CHANGES, Unit::Count, "what became of dead letters");
    metrics::describe_gauge!(APPROVALS_WAITING, Unit::Count, "requests for an approval that wait");
    metrics::describe_gauge!(APPROVAL_AGE, Unit::Seconds, "for how long the oldest request waits");
    metrics::describe_counter!(APPROVAL_CHANGES, Unit::Count, "what became of approvals");
    metrics::describe_counter!(CHANGE_STEPS, Unit::Count, "steps of changes of repositories");
    metrics::describe_gauge!(WORKERS, Unit::Count, "workers that are heard of");
    metrics::describe_gauge!(WORKERS_LOST, Unit::Count, "workers that were heard of and are silent");
    metrics::describe_counter!(WORKERS_LOST_TOTAL, Unit::Count, "workers that were silent for too long");
}
