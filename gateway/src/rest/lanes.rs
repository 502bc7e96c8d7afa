//! Lanes: what waits, what runs, and what limits it right now; their rules, and pauses.
//!
//! Which lanes there are is read; how each one stands is asked of the lane itself. The rules stand in
//! the settings `lanes`: a change is a new version of them, which holds at once.

mod dto;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Extension, State};
use bus_schemas::Key;
use bus_schemas::commands::broker::Command;
use bus_schemas::commands::config::{self, Active, Description, Proposed};
use bus_schemas::settings::{Lanes, Setting};
use bus_schemas::views::lane::Lane;
use futures::{StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Edge;
use super::ask::{CALLER, ask};
use super::extract::{Id, Json, OptionalJson};
use super::layer::Caller;
use super::problem::{Problem, ProblemView, code};
use super::tasks::VISIBLE_PATIENCE;
pub use dto::BlockView;
use dto::{ChangeLane, LaneList, LaneView, PauseLane, ResumeLane};

/// Lanes that are asked at once.
const ASKED_AT_ONCE: usize = 16;
/// How often a change is made anew because somebody else changed the settings at the same moment.
const TRIES: usize = 8;

/// Lists lanes.
#[utoipa::path(get, path = "/v1/lanes", operation_id = "listLanes", tag = "lanes", responses((status = 200, description = "as it is now", body = LaneList)))]
pub async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
) -> Result<axum::Json<LaneList>, Problem> {
    let names = names(&edge, &caller).await?;
    let asked = futures::stream::iter(names).map(|lane| describe(&edge, &caller, lane));
    let lanes: Vec<LaneView> = asked.buffered(ASKED_AT_ONCE).try_collect().await?;
    Ok(axum::Json(LaneList { lanes }))
}

/// Shows a lane.
#[utoipa::path(get, path = "/v1/lanes/{lane}", operation_id = "showLane", tag = "lanes", params(("lane" = String, Path)),
    responses((status = 200, description = "as it is now", body = LaneView), (status = "4XX", description = "the request was refused", body = ProblemView, content_type = "application/problem+json")))]
pub async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(lane): Id,
) -> Result<axum::Json<LaneView>, Problem> {
    known(&edge, &caller, &lane).await?;
    describe(&edge, &caller, lane).await.map(axum::Json)
}

/// Changes the rules of a lane.
#[utoipa::path(patch, path = "/v1/lanes/{lane}", operation_id = "changeLane", tag = "lanes", params(("lane" = String, Path)), request_body = ChangeLane,
    responses((status = 200, description = "the rules hold", body = LaneView), (status = "4XX", description = "the request was refused", body = ProblemView, content_type = "application/problem+json")))]
pub async fn change(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(lane): Id,
    Json(body): Json<ChangeLane>,
) -> Result<axum::Json<LaneView>, Problem> {
    known(&edge, &caller, &lane).await?;
    let ChangeLane { rules, reason, by } = body;
    let words = (reason, by.unwrap_or_else(|| CALLER.to_owned()));
    let version = hold(&edge, &caller, &lane, &Value::Object(rules), words).await?;
    // It is told by mail. One that only the settings know has nothing to say yet.
    let told = edge.projections.until(VISIBLE_PATIENCE, |reader| {
        let lane = lane.clone();
        async move {
            let view = reader.lane(&lane).await?;
            Ok(view.is_none_or(|view| view.version == Some(version)).then_some(()))
        }
    });
    told.await?;
    describe(&edge, &caller, lane).await.map(axum::Json)
}

/// No job begins in a lane until it is resumed.
#[utoipa::path(post, path = "/v1/lanes/{lane}/pause", operation_id = "pauseLane", tag = "lanes", params(("lane" = String, Path)), request_body = PauseLane,
    responses((status = 200, description = "as it is now", body = LaneView), (status = "4XX", description = "the request was refused", body = ProblemView, content_type = "application/problem+json")))]
pub async fn pause(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(lane): Id,
    Json(body): Json<PauseLane>,
) -> Result<axum::Json<LaneView>, Problem> {
    known(&edge, &caller, &lane).await?;
    let PauseLane { reason, by } = body;
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    ask(&edge, caller, lane.clone(), &Command::Pause { reason, by }).await?;
    describe(&edge, &caller, lane).await.map(axum::Json)
}

/// What was paused goes on, gradually.
#[utoipa::path(post, path = "/v1/lanes/{lane}/resume", operation_id = "resumeLane", tag = "lanes", params(("lane" = String, Path)), request_body = Option<ResumeLane>,
    responses((status = 200, description = "as it is now", body = LaneView), (status = "4XX", description = "the request was refused", body = ProblemView, content_type = "application/problem+json")))]
pub async fn resume(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(lane): Id,
    OptionalJson(body): OptionalJson<ResumeLane>,
) -> Result<axum::Json<LaneView>, Problem> {
    known(&edge, &caller, &lane).await?;
    let ResumeLane { reason, by, per_minute } = body;
    let reason = reason.unwrap_or_else(|| "resumed".to_owned());
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    ask(&edge, caller, lane.clone(), &Command::Resume { reason, by, per_minute }).await?;
    describe(&edge, &caller, lane).await.map(axum::Json)
}

/// The lanes of which something was heard, and those that the settings name.
async fn names(edge: &Edge, caller: &Caller) -> Result<BTreeSet<Key>, Problem> {
    let seen = edge.projections.reader.lanes().await?.into_iter().map(|lane| lane.name);
    let settings: Lanes = read(document(edge, caller).await?.value)?;
    Ok(seen.chain(settings.lanes.keys().filter_map(|name| Key::parse(name).ok())).collect())
}

async fn known(edge: &Edge, caller: &Caller, lane: &Key) -> Result<(), Problem> {
    if edge.projections.reader.lane(lane).await?.is_some() || names(edge, caller).await?.contains(lane) {
        return Ok(());
    }
    Err(Problem::new(code::LANE_NOT_FOUND, format!("nothing was heard of a lane `{lane}`"))
        .hint("`GET /v1/lanes` lists what there is; `PUT /v1/config/lanes` makes rules for one to come"))
}

fn settings() -> Key {
    Key::parse(Lanes::NAME).expect("a constant that is a key")
}

async fn document(edge: &Edge, caller: &Caller) -> Result<Description, Problem> {
    let command = config::Command::Describe { version: None };
    read(ask(edge, *caller, settings(), &command).await?.result)
}

/// Makes a version of the settings in which the rules of a lane are changed, and lets it hold.
async fn hold(
    edge: &Edge,
    caller: &Caller,
    lane: &Key,
    patch: &Value,
    (reason, by): (String, String),
) -> Result<u64, Problem> {
    for _ in 0..TRIES {
        let described = document(edge, caller).await?;
        let value = Lanes::patched(&described.value, lane.as_str(), patch);
        if value == described.value {
            return Ok(described.active);
        }
        let propose = config::Command::Propose { value, reason: reason.clone(), by: by.clone() };
        let accepted = ask(edge, *caller, settings(), &propose).await?;
        let Proposed { version } = read(accepted.result)?;
        // Somebody else proposed in between: what they say may be missing here.
        if version != described.newest + 1 {
            continue;
        }
        let activate = config::Command::Activate { version, reason, by };
        let active: Active = read(ask(edge, *caller, settings(), &activate).await?.result)?;
        return Ok(active.version);
    }
    Err(Problem::new(code::SETTINGS_CONTENDED, "`config/lanes` was changed by others all the time")
        .hint("try again; `GET /v1/config/lanes/history` shows who changes it"))
}

async fn describe(edge: &Edge, caller: &Caller, lane: Key) -> Result<LaneView, Problem> {
    let lane: Lane = read(ask(edge, *caller, lane, &Command::Describe).await?.result)?;
    Ok(lane.into())
}

/// Reads what an entity answered.
fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Problem> {
    serde_json::from_value(answer).map_err(|error| {
        Problem::new(code::MALFORMED_ANSWER, format!("reading what a lane or its settings answered: {error}"))
            .hint("gateway and host are of different versions; update the older one")
    })
}
