//! Settings that apply while the system runs: active versions, history, and changes.
//!
//! Everything is queried from the entities themselves, so a response is never older than what was
//! acknowledged.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bus_schemas::commands::breaker::{self, Description as Breaker};
use bus_schemas::commands::lane;
use bus_schemas::commands::settings::{Active, Command, Description, History, Proposed, Query as Question};
use bus_schemas::settings::{Breakers, Prompts, Setting, names};
use bus_schemas::views::lane::Lane;
use bus_schemas::views::silent::Silent;
use bus_schemas::{EntityAddress, Key};
use gateway_api::settings::{
    Activation, EntityVersion, NewVersion, Rollback, RunningSettings, SettingsChanged, SettingsList,
    ShowSettings,
};

use super::ask::{Answer, Call, PATIENCE};
use super::extract::{Id, Json, Query};
use super::problem::Problem;
use super::silent::{Asked, ask_all};
use crate::projections::breaker::Breaker as KnownBreaker;
use crate::projections::lane::Lane as KnownLane;

/// The most lanes that are asked which version they run, and the most breakers: as many as a page of either has.
const ASKED_MAX: u32 = 200;

/// Lists all settings with their active versions, and who runs which.
pub async fn list(call: Call) -> Answer<SettingsList> {
    let keys = names().filter_map(|name| Key::parse(name).ok());
    let Asked { answers, mut silent } =
        ask_all::<_, Description>(&call, keys, &Question::Describe { version: None }).await?;
    let reader = &call.projections.reader;
    let some_lanes = reader.lanes(None, ASKED_MAX).await?.items;
    let some_breakers = reader.breakers(None, ASKED_MAX).await?.items;
    let asked = (some_lanes.len() + some_breakers.len()) as u64;
    let left_out = reader.lanes_and_breakers().await?.saturating_sub(asked);
    let mut known = lanes(&call, some_lanes, &mut silent).await?;
    known.insert(Breakers::NAME.to_owned(), breakers(&call, some_breakers, &mut silent).await?);
    let running = |(_, settings): (EntityAddress, Description)| {
        let entities = known.remove(settings.name.as_str()).unwrap_or_default();
        RunningSettings { settings, entities }
    };
    let settings = answers.into_iter().map(running).collect();
    Ok(axum::Json(SettingsList { settings, silent, left_out }))
}

/// The version that each of these lanes runs, by the name of the settings.
async fn lanes(
    call: &Call,
    lanes: Vec<KnownLane>,
    quiet: &mut Vec<Silent>,
) -> Result<BTreeMap<String, Vec<EntityVersion>>, Problem> {
    let keys = lanes.into_iter().map(|lane| lane.name);
    let Asked { answers, silent } = ask_all::<_, Lane>(call, keys, &lane::Query::Describe).await?;
    quiet.extend(silent);
    let mut known: BTreeMap<String, Vec<EntityVersion>> = BTreeMap::new();
    for (entity, lane) in answers {
        for name in names().filter(|name| ![Breakers::NAME, Prompts::NAME].contains(name)) {
            let version = lane.settings.get(name).copied();
            let runs = EntityVersion { entity: entity.clone(), version };
            known.entry(name.to_owned()).or_default().push(runs);
        }
    }
    Ok(known)
}

/// The version that each of these breakers runs.
async fn breakers(
    call: &Call,
    breakers: Vec<KnownBreaker>,
    quiet: &mut Vec<Silent>,
) -> Result<Vec<EntityVersion>, Problem> {
    let names = breakers.into_iter().map(|breaker| breaker.dependency);
    let Asked { answers, silent } = ask_all::<_, Breaker>(call, names, &breaker::Query::Describe).await?;
    quiet.extend(silent);
    // A breaker that was never told a version runs the defaults.
    let runs = |(entity, now): (EntityAddress, Breaker)| EntityVersion {
        entity,
        version: Some(now.version.unwrap_or(0)),
    };
    Ok(answers.into_iter().map(runs).collect())
}

/// Shows a settings document in one of its versions.
pub async fn show(call: Call, Id(name): Id, Query(query): Query<ShowSettings>) -> Answer<Description> {
    call.query(&name, &Question::Describe { version: query.version }, PATIENCE).await.map(axum::Json)
}

/// Makes a new version, which applies when it is activated.
pub async fn propose(call: Call, Id(name): Id, Json(body): Json<NewVersion>) -> Result<Response, Problem> {
    let NewVersion { value, reason, activate } = body;
    let propose = Command::Propose { value, reason: reason.clone() };
    let Proposed { version } = call.tell(&name, &propose).await?;
    let changed = match activate {
        true => hold(&call, name, Command::Activate { version, reason }).await?,
        false => SettingsChanged { name, version, active: false, former: None },
    };
    Ok((StatusCode::CREATED, axum::Json(changed)).into_response())
}

/// Activates a version in place of the active one.
pub async fn activate(call: Call, Id(name): Id, Json(body): Json<Activation>) -> Answer<SettingsChanged> {
    let Activation { version, reason } = body;
    hold(&call, name, Command::Activate { version, reason }).await.map(axum::Json)
}

/// Activates the version that was active before.
pub async fn rollback(call: Call, Id(name): Id, Json(body): Json<Rollback>) -> Answer<SettingsChanged> {
    hold(&call, name, Command::Rollback { reason: body.reason }).await.map(axum::Json)
}

/// Shows who changed settings, what, when and why.
pub async fn history(call: Call, Id(name): Id) -> Answer<History> {
    call.query(&name, &Question::History, PATIENCE).await.map(axum::Json)
}

/// Activates a version.
async fn hold(call: &Call, name: Key, command: Command) -> Result<SettingsChanged, Problem> {
    let Active { version, former } = call.tell(&name, &command).await?;
    Ok(SettingsChanged { name, version, active: true, former: Some(former) })
}
