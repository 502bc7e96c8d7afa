//! Lanes: what waits, what runs, and what limits it right now; their rules, and pauses.
//!
//! Which lanes there are is read; how each one stands is asked of the lane itself. The rules stand in
//! the settings `lanes`: a change is a new version of them, which holds at once.

mod dto;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use bus_schemas::commands::broker::{Command, Query};
use bus_schemas::commands::config::{self, Active, Description, Proposed};
use bus_schemas::commands::queue;
use bus_schemas::settings::{Lanes, Setting};
use bus_schemas::views::lane::{Lane, Part};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key};
use futures::StreamExt;
use serde_json::Value;

use super::Edge;
use super::ask::{CALLER, PATIENCE, PATIENCE_OF_MANY, ask, read, view};
use super::extract::{Id, Json, OptionalJson};
use super::layer::Caller;
use super::problem::{Problem, code};
use super::silent::silent;
use super::tasks::VISIBLE_PATIENCE;
pub use dto::BlockView;
use dto::{ChangeLane, LaneList, LaneView, PauseLane, ResumeLane};

/// Lanes, and queues of one, that are asked at once.
const ASKED_AT_ONCE: usize = 16;
/// How often a change is made anew because somebody else changed the settings at the same moment.
const TRIES: usize = 8;

/// Lists lanes.
#[utoipa::path(get, path = "/v1/lanes", operation_id = "listLanes", tag = "lanes", responses((status = 200, description = "as it is now", body = LaneList)))]
pub async fn list(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
) -> Result<axum::Json<LaneList>, Problem> {
    let (mut lanes, mut quiet) = (Vec::new(), Vec::new());
    let mut names: BTreeSet<Key> = seen(&edge).await?.collect();
    match named(&edge, caller, PATIENCE_OF_MANY).await {
        Ok(named) => names.extend(named),
        Err(problem) => quiet.push(silent(&settings_address(), problem)?.into()),
    }
    let asked = futures::stream::iter(names).map(async |lane| {
        let found = describe(&edge, caller, &lane, PATIENCE_OF_MANY).await;
        (lane, found)
    });
    for (lane, found) in asked.buffered(ASKED_AT_ONCE).collect::<Vec<_>>().await {
        match found {
            Ok(lane) => lanes.push(lane),
            Err(problem) => quiet.push(silent(&address(&lane), problem)?.into()),
        }
    }
    Ok(axum::Json(LaneList { lanes, silent: quiet }))
}

/// Shows a lane.
#[utoipa::path(get, path = "/v1/lanes/{lane}", operation_id = "showLane", tag = "lanes", params(("lane" = String, Path)),
    responses((status = 200, description = "as it is now", body = LaneView)))]
pub async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(lane): Id,
) -> Result<axum::Json<LaneView>, Problem> {
    known(&edge, caller, &lane).await?;
    describe(&edge, caller, &lane, PATIENCE).await.map(axum::Json)
}

/// Changes the rules of a lane.
#[utoipa::path(patch, path = "/v1/lanes/{lane}", operation_id = "changeLane", tag = "lanes", params(("lane" = String, Path)), request_body = ChangeLane,
    responses((status = 200, description = "the rules hold", body = LaneView)))]
pub async fn change(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(lane): Id,
    Json(body): Json<ChangeLane>,
) -> Result<axum::Json<LaneView>, Problem> {
    known(&edge, caller, &lane).await?;
    let ChangeLane { rules, reason, by } = body;
    let words = (reason, by.unwrap_or_else(|| CALLER.to_owned()));
    let version = hold(&edge, caller, &lane, &Value::Object(rules), words).await?;
    // It is told by mail. One that only the settings know has nothing to say yet.
    let told = edge.projections.until(VISIBLE_PATIENCE, |reader| {
        let lane = lane.clone();
        async move {
            let view = reader.lane(&lane).await?;
            Ok(view.is_none_or(|view| view.version == Some(version)).then_some(()))
        }
    });
    told.await?;
    describe(&edge, caller, &lane, PATIENCE).await.map(axum::Json)
}

/// No job begins in a lane until it is resumed.
#[utoipa::path(post, path = "/v1/lanes/{lane}/pause", operation_id = "pauseLane", tag = "lanes", params(("lane" = String, Path)), request_body = PauseLane,
    responses((status = 200, description = "as it is now", body = LaneView)))]
pub async fn pause(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(lane): Id,
    Json(body): Json<PauseLane>,
) -> Result<axum::Json<LaneView>, Problem> {
    known(&edge, caller, &lane).await?;
    let PauseLane { reason, by } = body;
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    ask(&edge, caller, lane.clone(), &Command::Pause { reason, by }).await?;
    describe(&edge, caller, &lane, PATIENCE).await.map(axum::Json)
}

/// What was paused goes on, gradually.
#[utoipa::path(post, path = "/v1/lanes/{lane}/resume", operation_id = "resumeLane", tag = "lanes", params(("lane" = String, Path)), request_body = Option<ResumeLane>,
    responses((status = 200, description = "as it is now", body = LaneView)))]
pub async fn resume(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(lane): Id,
    OptionalJson(body): OptionalJson<ResumeLane>,
) -> Result<axum::Json<LaneView>, Problem> {
    known(&edge, caller, &lane).await?;
    let ResumeLane { reason, by, per_minute } = body;
    let reason = reason.unwrap_or_else(|| "resumed".to_owned());
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    ask(&edge, caller, lane.clone(), &Command::Resume { reason, by, per_minute }).await?;
    describe(&edge, caller, &lane, PATIENCE).await.map(axum::Json)
}

/// The lanes of which something was heard.
async fn seen(edge: &Edge) -> Result<impl Iterator<Item = Key>, Problem> {
    Ok(edge.projections.reader.lanes().await?.into_iter().map(|lane| lane.name))
}

/// The lanes that the settings name.
async fn named(edge: &Edge, caller: Caller, patience: Duration) -> Result<Vec<Key>, Problem> {
    let settings: Lanes = read(&settings_address(), document(edge, caller, patience).await?.value)?;
    Ok(settings.lanes.keys().filter_map(|name| Key::parse(name).ok()).collect())
}

async fn known(edge: &Edge, caller: Caller, lane: &Key) -> Result<(), Problem> {
    if edge.projections.reader.lane(lane).await?.is_some()
        || named(edge, caller, PATIENCE).await?.contains(lane)
    {
        return Ok(());
    }
    Err(Problem::new(code::LANE_NOT_FOUND, format!("nothing was heard of a lane `{lane}`"))
        .hint("`GET /v1/lanes` lists what there is; `PUT /v1/config/lanes` makes rules for one to come"))
}

fn settings() -> Key {
    Key::parse(Lanes::NAME).expect("a constant that is a key")
}

fn settings_address() -> EntityAddress {
    EntityAddress::new(config::Command::KIND, settings())
}

async fn document(edge: &Edge, caller: Caller, patience: Duration) -> Result<Description, Problem> {
    let body = Body::json(&config::Query::Describe { version: None });
    view(edge, caller, settings_address(), body, patience).await
}

/// Makes a version of the settings in which the rules of a lane are changed, and lets it hold.
async fn hold(
    edge: &Edge,
    caller: Caller,
    lane: &Key,
    patch: &Value,
    (reason, by): (String, String),
) -> Result<u64, Problem> {
    for _ in 0..TRIES {
        let described = document(edge, caller, PATIENCE).await?;
        let value = Lanes::patched(&described.value, lane.as_str(), patch);
        if value == described.value {
            return Ok(described.active);
        }
        let propose = config::Command::Propose { value, reason: reason.clone(), by: by.clone() };
        let accepted = ask(edge, caller, settings(), &propose).await?;
        let Proposed { version } = read(&settings_address(), accepted.result)?;
        // Somebody else proposed in between: what they say may be missing here.
        if version != described.newest + 1 {
            continue;
        }
        let activate = config::Command::Activate { version, reason, by };
        let accepted = ask(edge, caller, settings(), &activate).await?;
        let active: Active = read(&settings_address(), accepted.result)?;
        return Ok(active.version);
    }
    Err(Problem::new(code::SETTINGS_CONTENDED, "`config/lanes` was changed by others all the time")
        .hint("try again; `GET /v1/config/lanes/history` shows who changes it"))
}

fn address(lane: &Key) -> EntityAddress {
    EntityAddress::new(Command::KIND, lane.clone())
}

/// A lane with what its queues say: who of them does not answer is named.
async fn describe(edge: &Edge, caller: Caller, lane: &Key, patience: Duration) -> Result<LaneView, Problem> {
    let mut found: Lane = view(edge, caller, address(lane), Body::json(&Query::Describe), patience).await?;
    let queues = found.queues(edge.bus.topology().partitions);
    let asked = futures::stream::iter(queues).map(async |queue| {
        let body = Body::json(&queue::Query::Describe);
        let part: Result<Part, Problem> = view(edge, caller, queue.clone(), body, PATIENCE_OF_MANY).await;
        (queue, part)
    });
    for (queue, part) in asked.buffered(ASKED_AT_ONCE).collect::<Vec<_>>().await {
        match part {
            Ok(part) => found.add(&part),
            Err(problem) => found.silent.push(silent(&queue, problem)?),
        }
    }
    Ok(found.into())
}
