//! The names of this crate's metrics, with unit and help, and the recorder that renders them.

use std::sync::OnceLock;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Requests answered, by `method`, `route` and `status`.
pub const HTTP_REQUESTS: &str = "orrery_gateway_http_requests_total";
/// Time from a request's head to the answer's head, by `method`, `route` and `status`.
pub const HTTP_DURATION: &str = "orrery_gateway_http_request_duration_seconds";
/// Event streams that are open now.
pub const STREAMS: &str = "orrery_gateway_event_streams";
/// Messages of the event stream that the read model has not applied yet.
pub const LAG: &str = "orrery_gateway_projection_lag_messages";
/// Events that the read model has applied.
pub const APPLIED: &str = "orrery_gateway_projection_events_total";
/// Events that the read model could not apply.
pub const UNREADABLE: &str = "orrery_gateway_projection_unreadable_total";

/// Bounds of the duration buckets: from a read out of memory to an ask that waits for a takeover.
const DURATION_BUCKETS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// The handle of the process's recorder: installed by the first call, and none where the process
/// has installed another recorder before.
pub fn recorder() -> Option<&'static PrometheusHandle> {
    RECORDER.get_or_init(install).as_ref()
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
}
