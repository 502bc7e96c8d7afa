//! Endpoints for operators and orchestrators: health, readiness, metrics, and the interface's description.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus_schemas::chain;
use gateway_api::operations::{Bus, Health, Partitions, Projection, Ready, Unreadable};

use super::Edge;
use super::ask::Call;
use super::problem::Problem;
use crate::metric;

/// Timeout of a readiness check: probes give up after a few seconds themselves.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest lag, in messages, of a ready read model: about a second of work.
const LAG_MAX: u64 = 10_000;
/// Unreadable events that `/ready` names.
const UNREADABLE_SHOWN: u32 = 5;

/// Whether the process is alive.
pub async fn health() -> axum::Json<Health> {
    axum::Json(Health { status: "ok".into(), version: env!("CARGO_PKG_VERSION").into() })
}

/// Whether requests can be served.
pub async fn ready(call: Call) -> Result<Response, Problem> {
    let connected = call.bus.is_connected();
    let (projection, partitions) = tokio::join!(projection(&call), partitions(&call));
    let projection = projection?;
    let bus =
        Bus { connected, profile: call.bus.profile().to_string(), server_version: call.bus.server_version() };
    let ready = connected
        && projection.caught_up
        && projection.lag <= LAG_MAX
        && partitions.owned == usize::from(partitions.total)
        && partitions.stuck.is_empty()
        && !call.stop.is_cancelled();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, axum::Json(Ready { ready, bus, projection, partitions })).into_response())
}

async fn projection(edge: &Edge) -> Result<Projection, Problem> {
    let (unreadable, first) = edge.projections.reader.unreadable(UNREADABLE_SHOWN).await?;
    let progress = edge.projections.progress();
    Ok(Projection {
        caught_up: progress.caught_up && progress.connected,
        applied: progress.applied,
        lag: progress.lag(),
        unreadable,
        unreadable_first: first
            .into_iter()
            .map(|one| Unreadable { sequence: one.sequence, subject: one.subject, reason: one.reason })
            .collect(),
    })
}

async fn partitions(edge: &Edge) -> Partitions {
    let total = edge.bus.topology().partitions;
    let unknown = |error: String| Partitions {
        total,
        owned: 0,
        unowned: Vec::new(),
        stuck: BTreeMap::new(),
        hosts: BTreeMap::new(),
        error: Some(error),
    };
    let leases = match tokio::time::timeout(PATIENCE, edge.bus.leases()).await {
        Ok(Ok(leases)) => leases,
        Ok(Err(error)) => return unknown(chain(&error)),
        Err(_) => return unknown(format!("no answer within {PATIENCE:?}")),
    };
    let mut stuck = edge.renewals.silent(&leases);
    stuck.extend(leases.stuck().into_iter().map(|(partition, why)| (partition.0, why)));
    let mut hosts: BTreeMap<String, usize> = leases.hosts.into_iter().map(|host| (host, 0)).collect();
    for holder in leases.holders.values() {
        *hosts.entry(holder.clone()).or_default() += 1;
    }
    let unowned: Vec<u16> = edge
        .bus
        .topology()
        .all_partitions()
        .filter(|partition| !leases.holders.contains_key(partition))
        .map(|partition| partition.0)
        .collect();
    Partitions { total, owned: usize::from(total) - unowned.len(), unowned, stuck, hosts, error: None }
}

/// Metrics in Prometheus' text format.
pub async fn metrics() -> Response {
    let text = metric::recorder().map(|recorder| {
        recorder.run_upkeep();
        recorder.render()
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.unwrap_or_default())
        .into_response()
}

/// The OpenAPI document.
pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], gateway_api::openapi::openapi()).into_response()
}
