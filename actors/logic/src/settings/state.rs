//! The state of settings: versions, the active one, changes, and watchers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bus_schemas::commands::settings::{Change, SettingsAction, Word};
use bus_schemas::events::settings::Event;
use bus_schemas::settings::default_value;
use bus_schemas::{EntityAddress, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

/// Versions whose documents are kept beside active and former ones: older ones are in the events.
const VERSIONS_MAX: usize = 64;
/// How many rollbacks there can be in a row.
const FORMER_MAX: usize = 16;
/// The most changes that are kept; all of them are in the events.
const CHANGES_MAX: usize = 256;
/// The most hosts whose report is kept; the oldest reports are dropped first.
const HOSTS_MAX: usize = 1_000;

/// Settings; without versions the defaults are active.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The versions that are kept, by number.
    pub versions: BTreeMap<u64, Version>,
    /// The newest version; 0 if none was proposed.
    pub newest: u64,
    /// The active version; 0 for the defaults.
    pub active: u64,
    /// The formerly active versions, the latest last: the targets of rollbacks.
    pub former: Vec<u64>,
    /// The changes, oldest first.
    pub changes: VecDeque<Change>,
    /// The entities that are told of each activation.
    pub watchers: BTreeSet<EntityAddress>,
    /// The version of each host.
    pub hosts: BTreeMap<SmolStr, HostReport>,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The document as proposed.
    pub value: Value,
    /// Who proposed it, why and when.
    pub word: Word,
}

/// The last report of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// The version that it was told to run.
    pub version: u64,
    /// Why it could not; empty if it could.
    pub problem: String,
    /// When the host reported it.
    pub at: Timestamp,
}

impl State {
    /// The document of a version of `name`; `None` if the version never existed, or is no longer kept.
    pub fn value(&self, name: &str, version: u64) -> Option<Value> {
        match version {
            0 => default_value(name),
            version => self.versions.get(&version).map(|version| version.value.clone()),
        }
    }

    /// Whether a version's document is kept.
    pub(super) fn keeps(&self, version: u64) -> bool {
        version == 0 || self.versions.contains_key(&version)
    }

    fn note(&mut self, action: SettingsAction, version: u64, former: u64, word: Word) {
        self.changes.push_back(Change { action, version, former, kept: false, word });
        if self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
        }
    }

    /// Drops the oldest documents that are neither active nor reachable by a rollback.
    fn prune(&mut self) {
        while self.versions.len() > VERSIONS_MAX {
            let needed = |version: &u64| *version == self.active || self.former.contains(version);
            let Some(oldest) = self.versions.keys().find(|version| !needed(version)).copied() else { return };
            self.versions.remove(&oldest);
        }
    }
}

/// Applies an event; also used by hosts, which follow their own settings.
pub fn fold(state: &mut State, event: &Event) {
    let word = |by: &String, reason: &String, at: &Timestamp| Word {
        by: by.clone(),
        reason: reason.clone(),
        at: *at,
    };
    match event {
        Event::Proposed { version, value, reason, by, at } => {
            let word = word(by, reason, at);
            state.versions.insert(*version, Version { value: value.clone(), word: word.clone() });
            state.newest = *version;
            state.note(SettingsAction::Proposed, *version, state.active, word);
            state.prune();
        }
        Event::Activated { version, former, reason, by, at } => {
            state.former.push(*former);
            if state.former.len() > FORMER_MAX {
                state.former.remove(0);
            }
            state.active = *version;
            state.note(SettingsAction::Activated, *version, *former, word(by, reason, at));
        }
        Event::RolledBack { version, former, reason, by, at } => {
            state.former.pop();
            state.active = *version;
            state.note(SettingsAction::RolledBack, *version, *former, word(by, reason, at));
        }
        Event::Watched { kind, key, .. } => {
            state.watchers.insert(EntityAddress::new(kind.clone(), key.clone()));
        }
        Event::Unwatched { kind, key, .. } => {
            state.watchers.remove(&EntityAddress::new(kind.clone(), key.clone()));
        }
        Event::Applied { host, version, problem, at } => {
            let report = HostReport { version: *version, problem: problem.clone(), at: *at };
            state.hosts.insert(host.clone(), report);
            if state.hosts.len() > HOSTS_MAX {
                let oldest = state.hosts.iter().min_by_key(|(_, report)| report.at);
                let oldest = oldest.map(|(host, _)| host.clone());
                state.hosts.remove(&oldest.unwrap_or_default());
            }
        }
    }
}
