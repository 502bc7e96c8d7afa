//! Breakers: what may be called, what may not, and why; opening and closing by hand.
//!
//! Which breakers there are is in the read model; how each one stands is asked of the breaker itself.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use bus_schemas::commands::breaker::{Command, Description, Phase, Query};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Edge;
use super::ask::{CALLER, PATIENCE, PATIENCE_OF_MANY, ask, view};
use super::extract::{Id, Json};
use super::layer::Caller;
use super::problem::{Problem, code};
use super::silent::{SilentView, silent};
use super::tasks::VISIBLE_PATIENCE;

/// Breakers that are asked at once.
const ASKED_AT_ONCE: usize = 16;

/// Why a breaker is opened or closed by hand.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeBreaker {
    /// Why: somebody will ask.
    reason: String,
    /// Who. Default: `rest`.
    by: Option<String>,
}

/// All breakers of which something was heard.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BreakerList {
    /// Those that are not closed first, then by name.
    breakers: Vec<BreakerView>,
    /// Those that did not answer.
    #[serde(default)]
    silent: Vec<SilentView>,
}

/// A breaker as it is now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Breaker)]
pub struct BreakerView {
    /// What it is about.
    dependency: String,
    /// `closed`: everything may be called; `open`: nothing; `half-open`: a few calls are tried.
    phase: String,
    /// Milliseconds since 1970: since when; null when it was always closed.
    since: Option<u64>,
    /// Milliseconds since 1970: until when it is open; null until it is reset, and unless it is open.
    until: Option<u64>,
    /// Why it is so.
    reason: String,
    /// How many times it opened in succession.
    times: u32,
    /// Calls in the window.
    calls: u32,
    /// Those of them that failed.
    failed: u32,
    /// Those of them that were slow.
    slow: u32,
    /// How many failed one after the other.
    consecutive_failed: u32,
    /// What the last failure said.
    last_error: String,
    /// The lanes that hear of it.
    lanes: Vec<String>,
    /// Its revision.
    revision: u64,
}

impl BreakerView {
    fn new(dependency: &Key, now: Description) -> Self {
        Self {
            dependency: dependency.to_string(),
            phase: now.phase.to_string(),
            since: now.since.map(|at| at.0),
            until: now.until.map(|at| at.0),
            reason: now.reason,
            times: now.times,
            calls: now.calls,
            failed: now.failed,
            slow: now.slow,
            consecutive_failed: now.consecutive_failed,
            last_error: now.last_error,
            lanes: now.lanes.iter().map(Key::to_string).collect(),
            revision: now.revision,
        }
    }
}

/// Lists breakers.
#[utoipa::path(get, path = "/v1/breakers", operation_id = "listBreakers", tag = "breakers", responses((status = 200, description = "as it is now", body = BreakerList)))]
pub async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
) -> Result<axum::Json<BreakerList>, Problem> {
    let known = edge.projections.reader.breakers().await?;
    let asked = futures::stream::iter(known).map(async |breaker| {
        let found = describe(&edge, caller, &breaker.dependency, PATIENCE_OF_MANY).await;
        (breaker.dependency, found)
    });
    let (mut breakers, mut quiet) = (Vec::new(), Vec::new());
    for (dependency, found) in asked.buffered(ASKED_AT_ONCE).collect::<Vec<_>>().await {
        match found {
            Ok(breaker) => breakers.push(breaker),
            Err(problem) => quiet.push(silent(&address(&dependency), problem)?.into()),
        }
    }
    let is_closed = |breaker: &BreakerView| breaker.phase == Phase::Closed.to_string();
    breakers.sort_by_cached_key(|breaker| (is_closed(breaker), breaker.dependency.clone()));
    Ok(axum::Json(BreakerList { breakers, silent: quiet }))
}

/// Shows a breaker.
#[utoipa::path(get, path = "/v1/breakers/{dependency}", operation_id = "showBreaker", tag = "breakers", params(("dependency" = String, Path)),
    responses((status = 200, description = "as it is now", body = BreakerView)))]
pub async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(dependency): Id,
) -> Result<axum::Json<BreakerView>, Problem> {
    known(&edge, caller, dependency).await.map(axum::Json)
}

/// Opens a breaker until it is reset: nothing is called, and work that needs it waits.
#[utoipa::path(post, path = "/v1/breakers/{dependency}/trip", operation_id = "tripBreaker", tag = "breakers", params(("dependency" = String, Path)), request_body = ChangeBreaker,
    responses((status = 200, description = "it is open", body = BreakerView)))]
pub async fn trip(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(dependency): Id,
    Json(body): Json<ChangeBreaker>,
) -> Result<axum::Json<BreakerView>, Problem> {
    let ChangeBreaker { reason, by } = body;
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    ask(&edge, caller, dependency.clone(), &Command::Trip { reason, by }).await?;
    // The list has it from now on.
    let listed = edge.projections.until(VISIBLE_PATIENCE, |reader| {
        let dependency = dependency.clone();
        async move {
            let breakers = reader.breakers().await?;
            Ok(breakers.iter().any(|breaker| breaker.dependency == dependency).then_some(()))
        }
    });
    listed.await?;
    describe(&edge, caller, &dependency, PATIENCE).await.map(axum::Json)
}

/// Closes a breaker: everything may be called again.
#[utoipa::path(post, path = "/v1/breakers/{dependency}/reset", operation_id = "resetBreaker", tag = "breakers", params(("dependency" = String, Path)), request_body = ChangeBreaker,
    responses((status = 200, description = "it is closed", body = BreakerView)))]
pub async fn reset(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(dependency): Id,
    Json(body): Json<ChangeBreaker>,
) -> Result<axum::Json<BreakerView>, Problem> {
    // A misspelled name must not be answered as if something had been closed.
    known(&edge, caller, dependency.clone()).await?;
    let ChangeBreaker { reason, by } = body;
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    ask(&edge, caller, dependency.clone(), &Command::Reset { reason, by }).await?;
    describe(&edge, caller, &dependency, PATIENCE).await.map(axum::Json)
}

/// A breaker of which something was heard.
async fn known(edge: &Edge, caller: Caller, dependency: Key) -> Result<BreakerView, Problem> {
    let breaker = describe(edge, caller, &dependency, PATIENCE).await?;
    if breaker.revision > 0 {
        return Ok(breaker);
    }
    let missing = format!("nothing was heard of a dependency `{}`", breaker.dependency);
    Err(Problem::new(code::BREAKER_NOT_FOUND, missing).hint("`GET /v1/breakers` lists what there is"))
}

fn address(dependency: &Key) -> EntityAddress {
    EntityAddress::new(Command::KIND, dependency.clone())
}

async fn describe(
    edge: &Edge,
    caller: Caller,
    dependency: &Key,
    patience: Duration,
) -> Result<BreakerView, Problem> {
    let now = view(edge, caller, address(dependency), Body::json(&Query::Describe), patience).await?;
    Ok(BreakerView::new(dependency, now))
}
