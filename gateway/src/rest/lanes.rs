//! Lanes: what waits and runs in each, and what limits it now; their rules, and pauses.
//!
//! The read model knows which lanes exist; the state of each is queried from the lane itself. The rules stand
//! in the settings `lanes`: a change is a new version, which is activated at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus_schemas::commands::halt::Standstill;
use bus_schemas::commands::lane::{Command, Query as LaneQuery};
use bus_schemas::commands::queue;
use bus_schemas::commands::settings::{self as documents, Active, Description, Proposed};
use bus_schemas::settings::{self, Setting};
use bus_schemas::views::lane::{Lane, Part};
use bus_schemas::views::silent::Silent;
use bus_schemas::wire::WireCommand;
use bus_schemas::{EntityAddress, Key, Revision};
use gateway_api::lanes::{ChangeLane, LaneChanged, LanePage, LanePaused, PauseLane, ResumeLane};
use gateway_api::paging::Paging;
use gateway_api::{NextStep, code};
use serde_json::Value;

use super::ask::{Answer, Call, PATIENCE, PATIENCE_OF_MANY};
use super::cursor;
use super::extract::{Id, Json, OptionalJson, Query};
use super::problem::Problem;
use super::silent::{Asked, ask_all, silent};
use super::tasks::VISIBLE_PATIENCE;
use crate::projections::Place;

/// Tries of a change that conflicts with other changes of the settings.
const TRIES: usize = 8;

/// Lists lanes, by name: those that have events, and those that the settings name.
pub async fn list(call: Call, Query(paging): Query<Paging>) -> Answer<LanePage> {
    let (after, limit) = cursor::page(&paging)?;
    let mut quiet = Vec::new();
    let seen = call.projections.reader.lanes(after.clone(), limit).await?;
    let mut more = seen.next.is_some();
    let mut names: BTreeSet<Key> = seen.items.into_iter().map(|lane| lane.name).collect();
    match named(&call, PATIENCE_OF_MANY).await {
        Ok(named) => {
            let is_behind = |name: &Key| after.as_ref().is_none_or(|after| name.as_str() > after.id.as_str());
            names.extend(named.into_iter().filter(is_behind));
        }
        Err(problem) => {
            let settings = EntityAddress::new(documents::Command::KIND, document_name());
            quiet.push(silent(&settings, problem)?);
        }
    }
    let limit = limit as usize;
    more |= names.len() > limit;
    let names: Vec<Key> = names.into_iter().take(limit).collect();
    let last = names.last().filter(|_| more).map(|name| Place::named(name.as_str()));
    let Asked { answers, silent } = ask_all::<_, Lane>(&call, names, &LaneQuery::Describe).await?;
    quiet.extend(silent);
    let lanes = answers.into_iter().map(|(_, lane)| lane).collect();
    let lanes = with_queues(&call, lanes).await?;
    Ok(axum::Json(LanePage { lanes, silent: quiet, next_cursor: last.as_ref().map(cursor::write) }))
}

/// Shows a lane.
pub async fn show(call: Call, Id(lane): Id) -> Answer<Lane> {
    known(&call, &lane).await?;
    describe(&call, &lane).await.map(axum::Json)
}

/// Changes the rules of a lane.
pub async fn change(call: Call, Id(lane): Id, Json(body): Json<ChangeLane>) -> Answer<LaneChanged> {
    let ChangeLane { rules, reason, new } = body;
    let is_known = is_known(&call, &lane).await?;
    if !is_known && !new {
        return Err(not_found(&lane));
    }
    let Active { version: active, former } = hold(&call, &lane, &Value::Object(rules), reason).await?;
    if !is_known {
        // The lane asks the settings for its rules.
        call.ask(&lane, &Command::Wake).await?;
    }
    // The rules arrive by mail. A lane that only the settings name cannot confirm them yet.
    let told = call.projections.until(VISIBLE_PATIENCE, |reader| {
        let lane = lane.clone();
        async move {
            let view = reader.lane(&lane).await?;
            Ok(view.is_none_or(|view| view.version == Some(active)).then_some(()))
        }
    });
    told.await?;
    let lane = describe(&call, &lane).await?;
    Ok(axum::Json(LaneChanged { applied: lane.version == Some(active), lane, active, former }))
}

/// Pauses a lane: no job begins until it is resumed.
pub async fn pause(call: Call, Id(lane): Id, Json(body): Json<PauseLane>) -> Answer<LanePaused> {
    known(&call, &lane).await?;
    call.ask(&lane, &Command::Pause { reason: body.reason }).await?;
    let lane = describe(&call, &lane).await?;
    Ok(axum::Json(LanePaused { lane, paused: true, per_minute: None, already_resumed: false, ended: None }))
}

/// Resumes a paused lane: work comes back gradually.
pub async fn resume(
    call: Call,
    Id(lane): Id,
    OptionalJson(body): OptionalJson<ResumeLane>,
) -> Answer<LanePaused> {
    known(&call, &lane).await?;
    let ResumeLane { reason, per_minute, revision } = body;
    let reason = reason.unwrap_or_else(|| "resumed".to_owned());
    // What was not seen does not end: a pause made in this moment stays.
    let revision = match revision {
        Some(revision) => Revision(revision),
        None => call.query::<_, Lane>(&lane, &LaneQuery::Describe, PATIENCE).await?.revision,
    };
    let resume = Command::Resume { reason, per_minute, revision: Some(revision) };
    let ended: Option<Standstill> = call.tell(&lane, &resume).await?;
    let (lane, already_resumed) = (describe(&call, &lane).await?, ended.is_none());
    Ok(axum::Json(LanePaused { lane, paused: false, per_minute, already_resumed, ended }))
}

/// The lanes that the settings name.
async fn named(call: &Call, patience: Duration) -> Result<Vec<Key>, Problem> {
    let described = document(call, patience).await?;
    let lanes = described.value.get("lanes").and_then(Value::as_object).into_iter().flatten();
    Ok(lanes.filter_map(|(name, _)| Key::parse(name).ok()).collect())
}

async fn is_known(call: &Call, lane: &Key) -> Result<bool, Problem> {
    // The settings lie in another partition, and are queried only for a lane without events.
    let heard_of = call.projections.reader.lane(lane).await?.is_some();
    Ok(heard_of || named(call, PATIENCE).await?.contains(lane))
}

/// Refuses an unknown lane: a misspelled name must not be answered as if something had been done.
async fn known(call: &Call, lane: &Key) -> Result<(), Problem> {
    if is_known(call, lane).await? { Ok(()) } else { Err(not_found(lane)) }
}

fn not_found(lane: &Key) -> Problem {
    Problem::new(code::LANE_NOT_FOUND, format!("no lane `{lane}` is known")).next(NextStep::ListLanes)
}

fn document_name() -> Key {
    Key::parse(settings::Lanes::NAME).expect("a constant that is a key")
}

async fn document(call: &Call, patience: Duration) -> Result<Description, Problem> {
    call.query(&document_name(), &documents::Query::Describe { version: None }, patience).await
}

/// Makes a version of the settings with changed rules for a lane, and activates it.
async fn hold(call: &Call, lane: &Key, patch: &Value, reason: String) -> Result<Active, Problem> {
    let name = document_name();
    for _ in 0..TRIES {
        let described = document(call, PATIENCE).await?;
        let value = settings::Lanes::patched(&described.value, lane.as_str(), patch);
        if value == described.value {
            return Ok(Active { version: described.active, former: described.active });
        }
        let propose = documents::Command::Propose { value, reason: reason.clone() };
        let Proposed { version } = call.tell(&name, &propose).await?;
        // Another version was proposed in between: its changes may be missing here.
        if version != described.newest + 1 {
            continue;
        }
        return call.tell(&name, &documents::Command::Activate { version, reason }).await;
    }
    Err(Problem::new(code::SETTINGS_CONTENDED, "the settings `lanes` were changed by others all the time")
        .next(NextStep::ReadLaneHistory))
}

async fn describe(call: &Call, lane: &Key) -> Result<Lane, Problem> {
    let found: Lane = call.query(lane, &LaneQuery::Describe, PATIENCE).await?;
    Ok(with_queues(call, vec![found]).await?.remove(0))
}

/// Adds the state of the lanes' queues, which are queried concurrently; those that do not answer are named.
async fn with_queues(call: &Call, mut lanes: Vec<Lane>) -> Result<Vec<Lane>, Problem> {
    let partitions = call.bus.topology().partitions;
    let queues: Vec<Key> =
        lanes.iter().flat_map(|lane| lane.queues(partitions)).map(|queue| queue.key).collect();
    let Asked { answers, silent } = ask_all::<_, Part>(call, queues, &queue::Query::Describe).await?;
    let mut parts: BTreeMap<EntityAddress, Part> = answers.into_iter().collect();
    let mut quiet: BTreeMap<String, Silent> =
        silent.into_iter().map(|silent| (silent.entity.clone(), silent)).collect();
    for lane in &mut lanes {
        for queue in lane.queues(partitions) {
            parts.remove(&queue).iter().for_each(|part| lane.add(part));
            lane.silent.extend(quiet.remove(&queue.to_string()));
        }
    }
    Ok(lanes)
}
