//! The view of a campaign: many dead letters redriven at a rate, and how far that is.

use bus_schemas::commands::campaign::{EntryOutcome, Filter};
use bus_schemas::events::campaign::Event;
use bus_schemas::{Key, Revision, Timestamp};
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{View, time};

/// How far a campaign is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CampaignState {
    /// Its entries are being looked for; those that were found are sent.
    Gathering,
    /// Its entries are being sent, or it is awaited what comes of them.
    Running,
    /// Nothing is sent until it is resumed.
    Paused,
    /// All of its entries were tried.
    Completed,
    /// Nothing more is sent.
    Canceled,
}

/// A redrive of many dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Campaign {
    /// Its name.
    #[schema(value_type = String)]
    pub id: Key,
    /// How far it is.
    pub state: CampaignState,
    /// Which dead letters.
    #[schema(value_type = Object)]
    pub filter: Filter,
    /// Entries a second.
    pub rate: u32,
    /// How many entries it has.
    pub entries: u64,
    /// Whether all of its entries are known.
    pub gathered: bool,
    /// How many were sent.
    pub sent: u64,
    /// How many were done.
    pub redriven: u64,
    /// How many failed again, and wait.
    pub returned: u64,
    /// How many were not tried.
    pub skipped: u64,
    /// Why the latest one was not done.
    pub last_failure: Option<String>,
    /// Who started it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Milliseconds since 1970: when it was started.
    #[schema(value_type = u64)]
    pub started_at: Timestamp,
    /// Milliseconds since 1970: when it ended.
    #[schema(value_type = Option<u64>)]
    pub ended_at: Option<Timestamp>,
    /// How many events it has.
    #[schema(value_type = u64)]
    pub revision: Revision,
}

impl View for Campaign {
    type Event = Event;
    const TABLE: &'static str = "campaigns";
    const COLUMNS: &'static [&'static str] = &["gathering", "started_at"];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, _: Timestamp, revision: Revision) {
        if let Event::Started { filter, rate, by, reason, at } = event {
            *view = Some(Self {
                id: id.clone(),
                state: CampaignState::Gathering,
                filter: filter.clone(),
                rate: *rate,
                entries: 0,
                gathered: false,
                sent: 0,
                redriven: 0,
                returned: 0,
                skipped: 0,
                last_failure: None,
                by: by.clone(),
                reason: reason.clone(),
                started_at: *at,
                ended_at: None,
                revision,
            });
        }
        let Some(campaign) = view else { return };
        campaign.revision = revision;
        campaign.change(event);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        let gathering = !self.gathered && self.ended_at.is_none();
        vec![Value::Integer(i64::from(gathering)), time(self.started_at)]
    }
}

impl Campaign {
    fn change(&mut self, event: &Event) {
        match event {
            Event::Started { .. } => {}
            Event::EntriesAdded { entries, last } => {
                self.entries += entries.len() as u64;
                self.gathered |= last;
                if self.state == CampaignState::Gathering {
                    self.state = self.at_work();
                }
            }
            Event::EntriesSent { entries, .. } => self.sent += entries.len() as u64,
            Event::EntrySettled { outcome, reason, .. } => {
                match outcome {
                    EntryOutcome::Redriven => self.redriven += 1,
                    EntryOutcome::Returned => self.returned += 1,
                    EntryOutcome::Skipped => self.skipped += 1,
                }
                if *outcome != EntryOutcome::Redriven {
                    self.last_failure = Some(reason.clone());
                }
            }
            Event::Paused { .. } => self.state = CampaignState::Paused,
            Event::Resumed { rate, .. } => {
                self.rate = *rate;
                self.state = self.at_work();
            }
            Event::Canceled { at, .. } => self.end(CampaignState::Canceled, *at),
            Event::Completed { at } => self.end(CampaignState::Completed, *at),
        }
    }
    fn at_work(&self) -> CampaignState {
        if self.gathered { CampaignState::Running } else { CampaignState::Gathering }
    }
    fn end(&mut self, state: CampaignState, at: Timestamp) {
        self.state = state;
        self.ended_at = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_gathers_sends_waits_and_ends() {
        let (id, at, by) = (Key::parse("c").unwrap(), Timestamp(7), "ada".to_owned());
        let entries = || vec![Key::parse("a").unwrap()];
        let started =
            Event::Started { filter: Filter::default(), rate: 5, by: by.clone(), reason: String::new(), at };
        let settled = Event::EntrySettled {
            entry: entries().remove(0),
            outcome: EntryOutcome::Returned,
            reason: "again".into(),
            at,
        };
        let events = [
            started,
            Event::Paused { by: by.clone(), reason: String::new(), at },
            Event::EntriesAdded { entries: entries(), last: true },
            Event::Resumed { rate: 9, by, at },
            Event::EntriesSent { entries: entries(), at },
            settled,
            Event::Completed { at },
        ];
        let (mut view, mut states) = (None, Vec::new());
        for (number, event) in (1..).zip(&events) {
            Campaign::fold(&mut view, &id, event, at, Revision(number));
            states.push(view.as_ref().unwrap().state);
        }
        use CampaignState::{Completed, Gathering, Paused, Running};
        assert_eq!(states, [Gathering, Paused, Paused, Running, Running, Running, Completed]);
        let view = view.unwrap();
        assert_eq!((view.rate, view.entries, view.sent, view.returned), (9, 1, 1, 1));
        assert_eq!(view.last_failure.as_deref(), Some("again"));
    }
}
