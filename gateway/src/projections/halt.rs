//! The view of a halt: whether it is in force, why, and since when.

use bus_schemas::events::halt::Event;
use bus_schemas::{Key, Revision, Timestamp};
use gateway_api::halts::Halt;
use rusqlite::types::Value;

use super::view::View;

impl View for Halt {
    type Event = Event;
    const TABLE: &'static str = "halts";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[("halted", "INTEGER NOT NULL")];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
        let halt = view.get_or_insert_with(|| Self {
            scope: id.clone(),
            halted: false,
            reason: String::new(),
            by: String::new(),
            since: at,
            grace_ms: None,
            per_minute: None,
            revision,
        });
        halt.revision = revision;
        match event {
            Event::Halted { reason, by, grace_ms, at } => {
                // Repeated with another reason, it is still the same halt.
                let since = if halt.halted { halt.since } else { *at };
                let (reason, by, grace_ms) = (reason.clone(), by.clone(), Some(*grace_ms));
                let (scope, revision) = (halt.scope.clone(), halt.revision);
                *halt = Self { scope, halted: true, reason, by, since, grace_ms, per_minute: None, revision };
            }
            Event::Resumed { reason, by, per_minute, at } => {
                (halt.halted, halt.grace_ms) = (false, None);
                (halt.reason, halt.by) = (reason.clone(), by.clone());
                (halt.since, halt.per_minute) = (*at, *per_minute);
            }
            Event::Watched { .. } => {}
        }
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        vec![Value::Integer(i64::from(self.halted))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_stands_from_its_first_word_until_it_is_ended() {
        let key = |text| Key::parse(text).unwrap();
        let halted = |reason: &str, at| {
            let (reason, by) = (reason.to_owned(), "ann".to_owned());
            Event::Halted { reason, by, grace_ms: 5, at: Timestamp(at) }
        };
        let resumed =
            Event::Resumed { reason: "out".into(), by: "bob".into(), per_minute: Some(9), at: Timestamp(7) };
        let watched = Event::Watched { lane: key("default") };
        let mut view = None;
        let mut seen = Vec::new();
        let events = [watched, halted("fire", 3), halted("a larger fire", 5), resumed, halted("again", 9)];
        for (number, event) in (1..).zip(events) {
            Halt::fold(&mut view, &key("all"), &event, Timestamp(number), Revision(number));
            let now = view.clone().unwrap();
            seen.push((now.halted, now.since.0, now.per_minute, now.grace_ms));
        }
        assert_eq!(
            seen,
            [
                (false, 1, None, None),
                (true, 3, None, Some(5)),
                (true, 3, None, Some(5)),
                (false, 7, Some(9), None),
                (true, 9, None, Some(5)),
            ]
        );
    }
}
