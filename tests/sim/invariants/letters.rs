//! Dead letters and redrives: what came in is what waits, is on its way, was redriven or was dropped.

use std::collections::BTreeSet;

use bus_schemas::commands::dead_letter::Entry;
use bus_schemas::commands::redrive::{EntryOutcome, Filter};
use bus_schemas::commands::task::{self, Submit};
use bus_schemas::events::redrive::Event;
use bus_schemas::{EntityAddress, Key, Kind};
use serde_json::Value;

use super::{Audit, Check, hold};
use crate::coverage::{Coverage, Reached};

/// The invariant.
const NAME: &str = "dead_letters_are_conserved";

/// The entries of one redrive.
#[derive(Debug, Default)]
pub struct RedriveAudit {
    filter: Option<Filter>,
    /// Whether no more are added, and whether it has ended.
    complete: bool,
    ended: bool,
    paused: bool,
    added: BTreeSet<Key>,
    queued: BTreeSet<Key>,
    sent: BTreeSet<Key>,
    settled: BTreeSet<Key>,
    /// How many were redriven, returned, skipped.
    counts: [u64; 3],
}

impl RedriveAudit {
    /// Takes an event in: an entry is added once, sent once behind that, and settled once behind that.
    pub fn event(&mut self, key: &Key, event: &Event, coverage: &mut Coverage) -> Check {
        match event {
            Event::Started { filter, .. } => {
                if filter.dependency.is_some() {
                    coverage.note(Reached::DrainStarted);
                }
                self.filter = Some(filter.clone());
            }
            Event::EntriesAdded { entries, last } => {
                for entry in entries {
                    let fresh = self.added.insert(entry.clone()) && self.queued.insert(entry.clone());
                    hold(fresh, NAME, || format!("`redrive/{key}` adds {entry} again"))?;
                }
                self.complete |= last;
            }
            Event::EntriesSent { entries, .. } => {
                for entry in entries {
                    let fresh = self.queued.remove(entry) && self.sent.insert(entry.clone());
                    hold(fresh && !self.paused && !self.ended, NAME, || {
                        format!("`redrive/{key}` sends {entry}, which does not wait")
                    })?;
                }
            }
            Event::EntrySettled { entry, outcome, .. } => {
                let fresh = self.sent.contains(entry) && self.settled.insert(entry.clone());
                hold(fresh, NAME, || format!("`redrive/{key}` settles {entry}, which is not under way"))?;
                let index = match outcome {
                    EntryOutcome::Redriven => 0,
                    EntryOutcome::Returned => 1,
                    EntryOutcome::Skipped => 2,
                };
                self.counts[index] += 1;
            }
            Event::Paused { .. } => {
                coverage.note(Reached::RedrivePaused);
                self.paused = true;
            }
            Event::Resumed { .. } => self.paused = false,
            Event::Canceled { .. } => {
                self.ended = true;
                self.queued.clear();
            }
            Event::Completed { .. } => {
                coverage.note(Reached::RedriveCompleted);
                let over = self.complete && self.queued.is_empty() && self.sent == self.settled;
                hold(over, NAME, || format!("`redrive/{key}` is completed before its entries are"))?;
                self.ended = true;
            }
        }
        Ok(())
    }

    /// What its state says is what its events add up to.
    fn agrees(&self, key: &Key, state: &Value) -> Check {
        let length = |entries: &Value| entries.as_array().map(|entries| entries.len());
        let told = ["redriven", "returned", "skipped"].map(|name| state[name].as_u64());
        let under_way = self.sent.len() - self.settled.len();
        let agrees = length(&state["known"]) == Some(self.added.len())
            && length(&state["queue"]) == Some(self.queued.len())
            && length(&state["under_way"]) == Some(under_way)
            && told == self.counts.map(Some);
        hold(agrees, NAME, || format!("`redrive/{key}` says {state}, and its events {self:?}"))
    }
}

impl Audit {
    /// The redrives for which entries are looked for, what they mean, and what they have.
    pub fn gathering_redrives(&self) -> Vec<(Key, Filter, BTreeSet<Key>)> {
        let gathering = self.redrives.iter().filter(|(_, known)| !known.complete && !known.ended);
        gathering
            .filter_map(|(key, known)| Some((key.clone(), known.filter.clone()?, known.added.clone())))
            .collect()
    }
    /// The redrives that send nothing until they are resumed.
    pub fn paused_redrives(&self) -> Vec<Key> {
        let paused = self.redrives.iter().filter(|(_, known)| known.paused && !known.ended);
        paused.map(|(key, _)| key.clone()).collect()
    }
    /// The redrives that have not ended.
    pub fn open_redrives(&self) -> Vec<Key> {
        self.redrives.iter().filter(|(_, known)| !known.ended).map(|(key, _)| key.clone()).collect()
    }
    /// A redrive that is not at its end, nor has entries on their way, in words.
    pub fn open_redrive(&self) -> Option<String> {
        let open = |known: &super::letters::RedriveAudit| {
            !known.ended && (!known.complete || !known.queued.is_empty())
        };
        let (key, _) = self.redrives.iter().find(|(_, known)| open(known))?;
        Some(format!("the redrive `{key}`"))
    }
    /// The dead letters that wait, of one dependency or of all.
    pub fn waiting_letters(&self, dependency: Option<&Key>) -> Vec<Key> {
        let states = self.letters().filter_map(|key| Some((key, self.letter(key)?)));
        let meant = states.filter(|(_, state)| {
            let failed_by = state["entry"]["dependency"].as_str();
            state["status"] == "waiting"
                && !state["entry"].is_null()
                && dependency.is_none_or(|wanted| failed_by == Some(wanted.as_str()))
        });
        meant.map(|(key, _)| key.clone()).collect()
    }

    /// What was submitted, where a dead letter is a task that failed.
    pub fn failed_task(&self, key: &Key) -> Option<Submit> {
        let entry = self.letter(key)?["entry"].take();
        let entry: Entry = serde_json::from_value(entry).ok().filter(|entry: &Entry| entry.kind == "task")?;
        match entry.payload?.body()?.read().ok()? {
            task::Command::Submit(submission) => Some(submission),
            _ => None,
        }
    }

    fn letter(&self, key: &Key) -> Option<Value> {
        self.state_of(&EntityAddress::new(Kind::from_static("dead-letter"), key.clone()))
    }

    /// Every redrive says what its events add up to.
    pub(super) fn redrives_agree(&self) -> Check {
        for (key, known) in &self.redrives {
            let address = EntityAddress::new(Kind::from_static("redrive"), key.clone());
            known.agrees(key, &self.state_of(&address).unwrap_or_default())?;
        }
        Ok(())
    }
}
