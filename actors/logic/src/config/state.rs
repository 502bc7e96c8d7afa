//! What settings remember: their versions, which one holds, what was done, and who is to be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bus_schemas::commands::config::{Change, Deed, Word};
use bus_schemas::events::config::Event;
use bus_schemas::settings::default_value;
use bus_schemas::{EntityAddress, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

/// Versions whose documents are kept beside those that hold or held: what is older is in the events.
const VERSIONS_MAX: usize = 64;
/// How many rollbacks there can be in a row.
const FORMER_MAX: usize = 16;
/// What was done and is kept; all of it is in the events.
const CHANGES_MAX: usize = 256;
/// Hosts whose word is kept: those heard of longest ago go first.
const HOSTS_MAX: usize = 1_000;

/// Settings; without versions the defaults hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The versions that are kept, by number.
    pub versions: BTreeMap<u64, Version>,
    /// The newest number; 0 when nothing was proposed.
    pub newest: u64,
    /// Which version holds; 0 for the defaults.
    pub active: u64,
    /// What held before, the last one last: where rollbacks lead.
    pub former: Vec<u64>,
    /// What was done, oldest first.
    pub changes: VecDeque<Change>,
    /// Who is told of each activation.
    pub watchers: BTreeSet<EntityAddress>,
    /// What each host runs.
    pub hosts: BTreeMap<SmolStr, HostReport>,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The document, as it was proposed.
    pub value: Value,
    /// Who proposed it, why and when.
    pub word: Word,
}

/// What a host said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// What it was told to run.
    pub version: u64,
    /// Why it could not; empty where it does.
    pub problem: String,
    /// When it said so.
    pub at: Timestamp,
}

impl State {
    /// The document of a version of `name`; none when it was never made, or is no longer kept.
    pub fn value(&self, name: &str, version: u64) -> Option<Value> {
        match version {
            0 => default_value(name),
            version => self.versions.get(&version).map(|version| version.value.clone()),
        }
    }

    /// Whether a version's document is at hand.
    pub(super) fn keeps(&self, version: u64) -> bool {
        version == 0 || self.versions.contains_key(&version)
    }

    fn note(&mut self, deed: Deed, (version, former): (u64, u64), word: Word) {
        self.changes.push_back(Change { deed, version, former, kept: false, word });
        if self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
        }
    }

    /// Lets the oldest documents go that neither hold nor can come back by a rollback.
    fn prune(&mut self) {
        while self.versions.len() > VERSIONS_MAX {
            let needed = |version: &u64| *version == self.active || self.former.contains(version);
            let Some(oldest) = self.versions.keys().find(|version| !needed(version)).copied() else { return };
            self.versions.remove(&oldest);
        }
    }
}

/// Applies an event: also for hosts, which follow what belongs to them.
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
            state.note(Deed::Proposed, (*version, state.active), word);
            state.prune();
        }
        Event::Activated { version, former, reason, by, at } => {
            state.former.push(*former);
            if state.former.len() > FORMER_MAX {
                state.former.remove(0);
            }
            state.active = *version;
            state.note(Deed::Activated, (*version, *former), word(by, reason, at));
        }
        Event::RolledBack { version, former, reason, by, at } => {
            state.former.pop();
            state.active = *version;
            state.note(Deed::RolledBack, (*version, *former), word(by, reason, at));
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
