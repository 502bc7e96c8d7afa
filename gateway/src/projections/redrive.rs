//! The view of a redrive: many dead letters redriven at a rate, with its progress.

use bus_schemas::commands::redrive::EntryOutcome;
use bus_schemas::events::redrive::Event;
use bus_schemas::{Key, Revision, Timestamp};
use gateway_api::redrives::{Redrive, RedriveState};
use rusqlite::types::Value;

use super::view::{View, time};

impl View for Redrive {
    type Event = Event;
    const TABLE: &'static str = "redrives";
    const COLUMNS: &'static [(&'static str, &'static str)] =
        &[("gathering", "INTEGER NOT NULL"), ("started_at", "INTEGER NOT NULL")];
    const INDEXES: &'static [&'static str] = &["started_at, id"];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, _: Timestamp, revision: Revision) {
        if let Event::Started { filter, rate, by, reason, at } = event {
            *view = Some(Self {
                id: id.clone(),
                state: RedriveState::Gathering,
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
        let Some(redrive) = view else { return };
        redrive.revision = revision;
        change(redrive, event);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        let gathering = !self.gathered && self.ended_at.is_none();
        vec![Value::Integer(i64::from(gathering)), time(self.started_at)]
    }
}

fn change(redrive: &mut Redrive, event: &Event) {
    match event {
        Event::Started { .. } => {}
        Event::EntriesAdded { entries, last } => {
            redrive.entries += entries.len() as u64;
            redrive.gathered |= last;
            if redrive.state == RedriveState::Gathering {
                redrive.state = at_work(redrive);
            }
        }
        Event::EntriesSent { entries, .. } => redrive.sent += entries.len() as u64,
        Event::EntrySettled { outcome, reason, .. } => {
            match outcome {
                EntryOutcome::Redriven => redrive.redriven += 1,
                EntryOutcome::Returned => redrive.returned += 1,
                EntryOutcome::Skipped => redrive.skipped += 1,
            }
            if *outcome != EntryOutcome::Redriven {
                redrive.last_failure = Some(reason.clone());
            }
        }
        Event::Paused { .. } => redrive.state = RedriveState::Paused,
        Event::Resumed { rate, .. } => {
            redrive.rate = *rate;
            redrive.state = at_work(redrive);
        }
        Event::Canceled { at, .. } => end(redrive, RedriveState::Canceled, *at),
        Event::Completed { at } => end(redrive, RedriveState::Completed, *at),
    }
}

fn at_work(redrive: &Redrive) -> RedriveState {
    if redrive.gathered { RedriveState::Running } else { RedriveState::Gathering }
}

fn end(redrive: &mut Redrive, state: RedriveState, at: Timestamp) {
    (redrive.state, redrive.ended_at) = (state, Some(at));
}

#[cfg(test)]
mod tests {
    use bus_schemas::commands::redrive::Filter;

    use super::*;

    #[test]
    fn a_redrive_gathers_sends_waits_and_ends() {
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
            Redrive::fold(&mut view, &id, event, at, Revision(number));
            states.push(view.as_ref().unwrap().state);
        }
        use RedriveState::{Completed, Gathering, Paused, Running};
        assert_eq!(states, [Gathering, Paused, Paused, Running, Running, Running, Completed]);
        let view = view.unwrap();
        assert_eq!((view.rate, view.entries, view.sent, view.returned), (9, 1, 1, 1));
        assert_eq!(view.last_failure.as_deref(), Some("again"));
    }
}
