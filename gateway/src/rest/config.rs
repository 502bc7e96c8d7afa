//! Settings that change while the system runs: what holds, what was done, and changing it.
//!
//! Everything is asked of the entity itself, so an answer is never older than what was acknowledged.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bus_schemas::commands::config::{
    self, Active, Change, Command, Deed, Description, History, HostVersion, Proposed, Word,
};
use bus_schemas::wire::WireCommand;
use bus_schemas::{EntityAddress, Key};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Edge;
use super::ask::{CALLER, ask, query, read};
use super::extract::{Id, Json, Query};
use super::layer::Caller;
use super::problem::Problem;

/// Which version to show.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ShowConfig {
    /// The one that holds when not given; 0 for the defaults.
    #[serde(deserialize_with = "crate::rest::extract::int64", default)]
    version: Option<u64>,
}

/// A new version of settings.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVersion {
    /// The document. What it leaves out has its default; durations are text, such as `30s`.
    value: Value,
    /// Why.
    reason: String,
    /// Who. Default: `rest`.
    by: Option<String>,
    /// Whether it holds at once. Default: false.
    #[serde(default)]
    activate: bool,
}

/// Which version shall hold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Which; 0 for the defaults.
    #[serde(deserialize_with = "crate::rest::extract::some_int64")]
    version: u64,
    /// Why.
    reason: String,
    /// Who. Default: `rest`.
    by: Option<String>,
}

/// Why the version that held before shall hold again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Why.
    reason: String,
    /// Who. Default: `rest`.
    by: Option<String>,
}

/// Settings as they are now, and the document of one version.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ConfigView {
    /// Their name.
    pub name: String,
    /// The version that holds; 0 for the defaults.
    pub active: u64,
    /// The version that a rollback brings back; none when there is nothing to go back to.
    pub former: Option<u64>,
    /// The newest version, whether it ever held or not; 0 when there is none.
    pub newest: u64,
    /// The version that is shown here.
    pub version: u64,
    /// Its document, as it was proposed.
    pub value: Value,
    /// Who proposed it, why and when; none for the defaults.
    pub proposed: Option<WordView>,
    /// Which host runs which version.
    pub hosts: Vec<HostVersionView>,
    /// How many entities are told of each activation.
    pub watchers: u64,
}

/// Who did something, why and when.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WordView {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When: milliseconds since 1970.
    pub at: u64,
}

/// What a host runs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HostVersionView {
    /// The host.
    pub host: String,
    /// What it was told to run.
    pub version: u64,
    /// Why it could not, and runs what it ran before; empty where it does.
    pub problem: String,
    /// When it said so: milliseconds since 1970.
    pub at: u64,
}

/// What came of a change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// The settings.
    pub name: String,
    /// The version that was made, or that holds now; 0 for the defaults.
    pub version: u64,
    /// Whether it holds.
    pub active: bool,
    /// The version that held before; null where nothing was activated.
    #[schema(required = true)]
    pub former: Option<u64>,
}

/// What was done to settings.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ConfigHistory {
    /// Their name.
    pub name: String,
    /// The version that holds; 0 for the defaults.
    pub active: u64,
    /// Oldest first; the last 256.
    pub changes: Vec<ConfigChange>,
}

/// One thing that was done to settings.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ConfigChange {
    /// `proposed`, `activated` or `rolled-back`.
    pub deed: String,
    /// To which version; 0 for the defaults.
    pub version: u64,
    /// The version that held before.
    pub former: u64,
    /// Whether the documents of both versions can still be shown.
    pub kept: bool,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When: milliseconds since 1970.
    pub at: u64,
}

impl From<Word> for WordView {
    fn from(Word { by, reason, at }: Word) -> Self {
        Self { by, reason, at: at.0 }
    }
}

impl From<HostVersion> for HostVersionView {
    fn from(HostVersion { host, version, problem, at }: HostVersion) -> Self {
        Self { host: host.to_string(), version, problem, at: at.0 }
    }
}

impl From<Description> for ConfigView {
    fn from(described: Description) -> Self {
        Self {
            name: described.name.to_string(),
            active: described.active,
            former: described.former,
            newest: described.newest,
            version: described.version,
            value: described.value,
            proposed: described.proposed.map(Into::into),
            hosts: described.hosts.into_iter().map(Into::into).collect(),
            watchers: described.watchers,
        }
    }
}

impl From<Change> for ConfigChange {
    fn from(Change { deed, version, former, kept, word }: Change) -> Self {
        let deed: &'static str = Deed::into(deed);
        let Word { by, reason, at } = word;
        Self { deed: deed.to_owned(), version, former, kept, by, reason, at: at.0 }
    }
}

/// Shows settings with the document of a version.
#[utoipa::path(get, path = "/v1/config/{name}", operation_id = "showConfig", tag = "settings", params(("name" = String, Path), ShowConfig),
    responses((status = 200, description = "as it is now", body = ConfigView)))]
pub async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(name): Id,
    Query(ShowConfig { version }): Query<ShowConfig>,
) -> Result<axum::Json<ConfigView>, Problem> {
    let describe = config::Query::Describe { version };
    let described: Description = query(&edge, caller, &name, &describe).await?;
    Ok(axum::Json(described.into()))
}

/// Makes a new version, which holds when it is activated.
#[utoipa::path(put, path = "/v1/config/{name}", operation_id = "putConfig", tag = "settings", params(("name" = String, Path)), request_body = NewVersion,
    responses((status = 201, description = "the version was made", body = Changed)))]
pub async fn put(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(name): Id,
    Json(body): Json<NewVersion>,
) -> Result<Response, Problem> {
    let NewVersion { value, reason, by, activate } = body;
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    let propose = Command::Propose { value, reason: reason.clone(), by: by.clone() };
    let Proposed { version } = tell(&edge, caller, &name, &propose).await?;
    let changed = match activate {
        true => hold(&edge, caller, name, Command::Activate { version, reason, by }).await?,
        false => Changed { name: name.to_string(), version, active: false, former: None },
    };
    Ok((StatusCode::CREATED, axum::Json(changed)).into_response())
}

/// A version holds from now on, and the former one no longer.
#[utoipa::path(post, path = "/v1/config/{name}/activate", operation_id = "activateConfig", tag = "settings", params(("name" = String, Path)), request_body = Activation,
    responses((status = 200, description = "it holds", body = Changed)))]
pub async fn activate(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(name): Id,
    Json(body): Json<Activation>,
) -> Result<axum::Json<Changed>, Problem> {
    let Activation { version, reason, by } = body;
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    Ok(axum::Json(hold(&edge, caller, name, Command::Activate { version, reason, by }).await?))
}

/// The version that held before holds again.
#[utoipa::path(post, path = "/v1/config/{name}/rollback", operation_id = "rollBackConfig", tag = "settings", params(("name" = String, Path)), request_body = Rollback,
    responses((status = 200, description = "it holds", body = Changed)))]
pub async fn rollback(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(name): Id,
    Json(body): Json<Rollback>,
) -> Result<axum::Json<Changed>, Problem> {
    let by = body.by.unwrap_or_else(|| CALLER.to_owned());
    Ok(axum::Json(hold(&edge, caller, name, Command::Rollback { reason: body.reason, by }).await?))
}

/// Who changed what, when and why.
#[utoipa::path(get, path = "/v1/config/{name}/history", operation_id = "showConfigHistory", tag = "settings", params(("name" = String, Path)),
    responses((status = 200, description = "as it is now", body = ConfigHistory)))]
pub async fn history(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(name): Id,
) -> Result<axum::Json<ConfigHistory>, Problem> {
    let History { name, active, changes } = query(&edge, caller, &name, &config::Query::History).await?;
    let changes = changes.into_iter().map(Into::into).collect();
    Ok(axum::Json(ConfigHistory { name: name.to_string(), active, changes }))
}

/// Lets a version hold.
async fn hold(edge: &Edge, caller: Caller, name: Key, command: Command) -> Result<Changed, Problem> {
    let Active { version, former } = tell(edge, caller, &name, &command).await?;
    Ok(Changed { name: name.to_string(), version, active: true, former: Some(former) })
}

/// Tells the settings something, and reads what they answer.
async fn tell<T: DeserializeOwned>(
    edge: &Edge,
    caller: Caller,
    name: &Key,
    command: &Command,
) -> Result<T, Problem> {
    let accepted = ask(edge, caller, name.clone(), command).await?;
    read(&EntityAddress::new(Command::KIND, name.clone()), accepted.result)
}
