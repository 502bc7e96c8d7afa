//! What operators and orchestrators ask: alive, ready, measured, described.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Edge;
use super::problem::Problem;
use crate::metric;
use crate::projections::chain;

/// How long a readiness check may take: probes give up after a few seconds themselves.
const PATIENCE: Duration = Duration::from_secs(2);
/// A read model that is further behind shows a past that no longer matters: about a second of work.
const LAG_MAX: u64 = 10_000;
/// Unreadable events that `/ready` names.
const UNREADABLE_SHOWN: u32 = 5;

/// The process lives.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    pub status: String,
    /// The gateway's version.
    pub version: String,
}

/// Whether requests can be served, and what keeps them from it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Whether all of the below is well.
    pub ready: bool,
    /// The connection to NATS.
    pub bus: Bus,
    /// The read model.
    pub projection: Projection,
    /// Who serves what.
    pub partitions: Partitions,
}

/// The connection to NATS.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Bus {
    /// Whether it stands.
    pub connected: bool,
    /// The durability profile.
    pub profile: String,
    /// The server's version.
    pub server_version: String,
}

/// The read model.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Projection {
    /// Whether everything that was there has been applied once.
    pub caught_up: bool,
    /// The last message that is applied.
    pub applied: u64,
    /// Messages that are not applied yet.
    pub lag: u64,
    /// Events that could not be applied.
    pub unreadable: u64,
    /// The first of them.
    pub unreadable_first: Vec<UnreadableView>,
}

/// An event that could not be applied.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UnreadableView {
    /// Its sequence in the event stream.
    pub sequence: u64,
    /// The entity and the revision, or the message's subject.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// Who serves what.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Partitions {
    /// How many there are.
    pub total: u16,
    /// How many a host serves.
    pub owned: usize,
    /// Which ones nobody serves.
    pub unowned: Vec<u16>,
    /// Which ones do not answer or do not go on although a host has them, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stuck: BTreeMap<u16, String>,
    /// Hosts with the number of their partitions.
    pub hosts: BTreeMap<String, usize>,
    /// Why this is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/health", operation_id = "health", tag = "operations", responses((status = 200, description = "as it is now", body = Health)))]
pub async fn health() -> axum::Json<Health> {
    axum::Json(Health { status: "ok".into(), version: env!("CARGO_PKG_VERSION").into() })
}

/// Whether requests can be served.
#[utoipa::path(get, path = "/ready", operation_id = "ready", tag = "operations",
    responses((status = 200, description = "as it is now", body = Ready), (status = 503, description = "something is missing: the body says what", body = Ready)))]
pub async fn ready(State(edge): State<Arc<Edge>>) -> Result<Response, Problem> {
    let connected = edge.bus.is_connected();
    let (projection, partitions) = tokio::join!(projection(&edge), partitions(&edge));
    let projection = projection?;
    let bus =
        Bus { connected, profile: edge.bus.profile().to_string(), server_version: edge.bus.server_version() };
    let ready = connected
        && projection.caught_up
        && projection.lag <= LAG_MAX
        && partitions.owned == usize::from(partitions.total)
        && partitions.stuck.is_empty()
        && !edge.stop.is_cancelled();
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
            .map(|one| UnreadableView { sequence: one.sequence, subject: one.subject, reason: one.reason })
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
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operations", responses((status = 200, description = "as it is now", content_type = "text/plain")))]
pub async fn metrics() -> Response {
    let text = metric::recorder().map(|recorder| {
        recorder.run_upkeep();
        recorder.render()
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.unwrap_or_default())
        .into_response()
}

/// The OpenAPI document.
#[utoipa::path(get, path = "/v1/openapi.json", operation_id = "openapi", tag = "operations", responses((status = 200, description = "as it is now", content_type = "application/json")))]
pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], super::openapi::openapi()).into_response()
}
