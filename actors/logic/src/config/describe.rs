//! What settings answer to those who look at them.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::config::{Change, Description, History, HostVersion};
use bus_schemas::events::config::Event;
use smol_str::SmolStr;

use super::decide::not_found;
use super::state::State;

/// The settings, with the document of one version.
pub(super) fn describe(
    state: &State,
    version: Option<u64>,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let name = context.entity.key.as_str();
    let version = version.unwrap_or(state.active);
    let value = state.value(name, version).ok_or_else(|| not_found(state, version, context))?;
    let hosts = state.hosts.iter().map(|(host, report)| HostVersion {
        host: host.clone(),
        version: report.version,
        problem: report.problem.clone(),
        at: report.at,
    });
    Ok(Decision::none().reply(&Description {
        name: SmolStr::new(name),
        active: state.active,
        former: state.former.last().copied(),
        newest: state.newest,
        version,
        value,
        proposed: state.versions.get(&version).map(|version| version.word.clone()),
        hosts: hosts.collect(),
        watchers: state.watchers.len() as u64,
    }))
}

/// What was done to the settings.
pub(super) fn history(state: &State, name: &str) -> History {
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
