//! The answers of settings to queries.

use actors_core::{Context, Refusal, View};
use bus_schemas::commands::settings::{Change, Description, History, HostVersion, Query};
use smol_str::SmolStr;

use super::decide::{check_name, not_found};
use super::state::State;

/// The answer to a query.
pub(super) fn view(state: &State, query: &Query, context: &Context<'_>) -> Result<View, Refusal> {
    check_name(context)?;
    match query {
        Query::Describe { version } => Ok(View::of(&describe(state, *version, context)?)),
        Query::History => Ok(View::of(&history(state, context.entity.key.as_str()))),
    }
}

/// The settings, with the document of one version.
fn describe(state: &State, version: Option<u64>, context: &Context<'_>) -> Result<Description, Refusal> {
    let name = context.entity.key.as_str();
    let version = version.unwrap_or(state.active);
    let value = state.value(name, version).ok_or_else(|| not_found(state, version, context))?;
    let hosts = state.hosts.iter().map(|(host, report)| HostVersion {
        host: host.clone(),
        version: report.version,
        problem: report.problem.clone(),
        at: report.at,
    });
    Ok(Description {
        name: SmolStr::new(name),
        active: state.active,
        former: state.former.last().copied(),
        newest: state.newest,
        version,
        value,
        proposed: state.versions.get(&version).map(|version| version.word.clone()),
        hosts: hosts.collect(),
        watchers: state.watchers.len() as u64,
    })
}

/// The changes of the settings.
fn history(state: &State, name: &str) -> History {
    let change = |change: &Change| Change {
        kept: state.keeps(change.version) && state.keeps(change.former),
        ..change.clone()
    };
    History {
        name: SmolStr::new(name),
        active: state.active,
        changes: state.changes.iter().map(change).collect(),
    }
}
