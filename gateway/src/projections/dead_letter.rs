//! The view of a dead letter. Its payload stays in the stream of dead letters and in its events.

use bus_schemas::commands::dead_letter::Entry;
use bus_schemas::events::dead_letter::Event;
use bus_schemas::{EntityAddress, Key, Revision, Timestamp};
use gateway_api::dead_letters::{DeadLetter, DeadLetterFailure, DeadLetterState};
use rusqlite::types::Value;

use super::view::{View, time};

/// Failures that a view keeps: the first one, and the latest. A payload is redriven at most ten times.
const FAILURES_MAX: usize = 20;

impl View for DeadLetter {
    type Event = Event;
    const TABLE: &'static str = "dead_letters";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("class", "TEXT NOT NULL"),
        ("state", "TEXT NOT NULL"),
        ("kind", "TEXT NOT NULL"),
        ("key", "TEXT NOT NULL"),
        ("dependency", "TEXT"),
        ("at", "INTEGER NOT NULL"),
    ];
    const INDEXES: &'static [&'static str] = &["at, id", "state, at, id"];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
        if let Event::Recorded { entry } = event {
            *view = Some(waiting(id, entry));
        }
        let Some(letter) = view else { return };
        letter.updated_at = at;
        letter.revision = revision;
        change(letter, event);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        let (kind, key) = meant_for(self);
        vec![
            Value::Text(self.class.clone()),
            Value::Text(<&str>::from(self.state).to_owned()),
            Value::Text(kind.to_owned()),
            Value::Text(key.to_owned()),
            self.dependency.clone().map_or(Value::Null, Value::Text),
            time(self.at),
        ]
    }
}

/// A dead letter as it was recorded.
fn waiting(id: &Key, entry: &Entry) -> DeadLetter {
    DeadLetter {
        entry: id.clone(),
        state: DeadLetterState::Waiting,
        class: entry.class.to_string(),
        reason: entry.reason.clone(),
        causes: entry.causes.clone(),
        hint: entry.hint.clone(),
        failures: Vec::new(),
        kind: entry.kind.clone(),
        key: entry.key.clone(),
        to: None,
        source: entry.source.as_ref().map(ToString::to_string),
        subject: entry.subject.clone(),
        caller: entry.caller.as_ref().map(ToString::to_string),
        cause: entry.cause.map(|cause| cause.to_string()),
        dependency: entry.dependency.as_ref().map(ToString::to_string),
        command_id: entry.command_id.to_string(),
        correlation: entry.correlation.to_string(),
        traceparent: entry.traceparent.clone(),
        attempts: entry.attempts,
        redrives: 0,
        edits: 0,
        target: None,
        in_redrive: None,
        by: None,
        at: entry.at,
        updated_at: entry.at,
        revision: Revision(0),
    }
}

/// The entity that it is meant for now, as sent.
fn meant_for(letter: &DeadLetter) -> (&str, &str) {
    letter.to.as_deref().and_then(|to| to.split_once('/')).unwrap_or((&letter.kind, &letter.key))
}

fn change(letter: &mut DeadLetter, event: &Event) {
    match event {
        Event::Recorded { .. } => {}
        Event::Edited { version, to, by, .. } => {
            letter.edits = *version;
            letter.to = to.as_ref().map(EntityAddress::to_string).or(letter.to.take());
            letter.by = Some(by.clone());
        }
        Event::RedriveStarted { number, in_redrive, by, to, .. } => {
            letter.state = DeadLetterState::Redriving;
            letter.target = Some(to.to_string());
            letter.redrives = *number;
            letter.in_redrive = in_redrive.as_ref().map(ToString::to_string);
            letter.by = Some(by.clone());
        }
        Event::Redriven { .. } => letter.state = DeadLetterState::Redriven,
        Event::Returned { code, reason, attempts, at } => {
            letter.state = DeadLetterState::Waiting;
            letter.attempts = letter.attempts.saturating_add(*attempts);
            if letter.failures.len() == FAILURES_MAX {
                letter.failures.remove(1);
            }
            let (code, reason) = (code.to_string(), reason.clone());
            letter.failures.push(DeadLetterFailure { code, reason, at: *at });
        }
        Event::Dropped { by, .. } => {
            letter.state = DeadLetterState::Dropped;
            letter.by = Some(by.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schemas::CommandId;

    #[test]
    fn an_entry_is_edited_redriven_and_comes_back() {
        let id = Key::parse("d").unwrap();
        let ids = (CommandId::from_text("c"), CommandId::from_text("r"));
        let entry = Entry::new("poison", "it panicked", ("probe", "p"), ids, Timestamp(5));
        let started = |number| Event::RedriveStarted {
            redrive: CommandId::from_text("redrive"),
            number,
            to: "probe/q".parse().unwrap(),
            in_redrive: None,
            by: "ada".into(),
            reason: String::new(),
            at: Timestamp(6),
        };
        let returned =
            Event::Returned { code: "poison".into(), reason: "again".into(), attempts: 1, at: Timestamp(7) };
        let edited = Event::Edited {
            version: 1,
            payload: bus_schemas::payload::Payload::written(Default::default(), b"{}"),
            to: Some("probe/q".parse().unwrap()),
            by: "ada".into(),
            reason: String::new(),
            at: Timestamp(6),
        };
        let events = [Event::Recorded { entry }, started(1), returned, edited, started(2)];
        let mut view = None;
        for (number, event) in (1..).zip(events.iter().chain([&Event::Redriven { at: Timestamp(9) }])) {
            DeadLetter::fold(&mut view, &id, event, Timestamp(number), Revision(number));
        }
        let view = view.unwrap();
        assert_eq!((view.state, view.redrives, view.attempts), (DeadLetterState::Redriven, 2, 2));
        assert_eq!((view.failures.len(), meant_for(&view), view.edits), (1, ("probe", "q"), 1));
    }
}
