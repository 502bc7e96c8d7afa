//! The view of a dead letter. Its payload stays in the stream of dead letters and in its events.

use bus_schemas::commands::deadletter::Entry;
use bus_schemas::events::deadletter::Event;
use bus_schemas::{EntityAddress, Key, Revision, Timestamp};
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{View, time};

/// Failures that a view keeps: the first one, and the latest. One payload is redriven ten times.
const FAILURES_MAX: usize = 20;

/// How far a dead letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterState {
    /// Nobody has done anything about it.
    Waiting,
    /// It is on its way again.
    Redriving,
    /// It was done after all.
    Redriven,
    /// It was given up.
    Dropped,
}

impl DeadLetterState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Redriving => "redriving",
            Self::Redriven => "redriven",
            Self::Dropped => "dropped",
        }
    }
}

/// What could not be done, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its name.
    #[schema(value_type = String)]
    pub entry: Key,
    /// How far it is.
    pub state: DeadLetterState,
    /// `poison`, `malformed-command`, `unknown-kind`, `refused`, `job-failed` …
    pub class: String,
    /// Why it was recorded, for people.
    pub reason: String,
    /// What led to `reason`, the nearest cause first.
    pub causes: Vec<String>,
    /// What may be done about it.
    pub hint: Option<String>,
    /// Why each redrive failed, the oldest first; at most 20.
    pub failures: Vec<DeadLetterFailure>,
    /// The kind that it was meant for, as written.
    pub kind: String,
    /// The key that it was meant for, as written.
    pub key: String,
    /// For whom it is since it was edited: `<kind>/<key>`.
    pub to: Option<String>,
    /// How it came: `ask`, `inbox`, `mail`, `timer`, `task`, `agent` or `webhook`.
    pub source: Option<String>,
    /// The subject it came on, where that is known.
    pub subject: Option<String>,
    /// Who sent it, where they said.
    pub caller: Option<String>,
    /// The command that led to it, if one did.
    pub cause: Option<String>,
    /// What it depends on and failed by: the key of a breaker.
    pub dependency: Option<String>,
    /// The command.
    pub command_id: String,
    /// What everything caused by one request shares.
    pub correlation: String,
    /// The W3C trace, if there is one.
    pub traceparent: Option<String>,
    /// How often it was tried, redrives included.
    pub attempts: u32,
    /// How often it was redriven.
    pub redrives: u32,
    /// How often it was edited.
    pub edits: u32,
    /// To whom its latest redrive went: `<kind>/<key>`. A failed task that was edited is submitted anew.
    #[serde(default)]
    pub target: Option<String>,
    /// The campaign of its latest redrive.
    pub campaign: Option<String>,
    /// Who edited, redrove or dropped it last.
    pub by: Option<String>,
    /// Milliseconds since 1970: when it was given up.
    #[schema(value_type = u64)]
    pub at: Timestamp,
    /// Milliseconds since 1970: when it last changed.
    #[schema(value_type = u64)]
    pub updated_at: Timestamp,
    /// How many events it has.
    #[schema(value_type = u64)]
    pub revision: Revision,
}

/// Why a redrive failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterFailure {
    /// For programs.
    pub code: String,
    /// For people.
    pub reason: String,
    /// Milliseconds since 1970.
    #[schema(value_type = u64)]
    pub at: Timestamp,
}

impl View for DeadLetter {
    type Event = Event;
    const TABLE: &'static str = "dead_letters";
    const COLUMNS: &'static [&'static str] = &["class", "state", "kind", "key", "dependency", "at"];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
        if let Event::Recorded { entry } = event {
            *view = Some(Self::new(id, entry));
        }
        let Some(letter) = view else { return };
        letter.updated_at = at;
        letter.revision = revision;
        letter.change(event);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        let (kind, key) = self.meant_for();
        vec![
            Value::Text(self.class.clone()),
            Value::Text(self.state.as_str().to_owned()),
            Value::Text(kind.to_owned()),
            Value::Text(key.to_owned()),
            self.dependency.clone().map_or(Value::Null, Value::Text),
            time(self.at),
        ]
    }
}

impl DeadLetter {
    fn new(id: &Key, entry: &Entry) -> Self {
        Self {
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
            campaign: None,
            by: None,
            at: entry.at,
            updated_at: entry.at,
            revision: Revision(0),
        }
    }

    /// For whom it is now, as written.
    fn meant_for(&self) -> (&str, &str) {
        self.to.as_deref().and_then(|to| to.split_once('/')).unwrap_or((&self.kind, &self.key))
    }

    fn change(&mut self, event: &Event) {
        match event {
            Event::Recorded { .. } => {}
            Event::Edited { version, to, by, .. } => {
                self.edits = *version;
                self.to = to.as_ref().map(EntityAddress::to_string).or(self.to.take());
                self.by = Some(by.clone());
            }
            Event::RedriveStarted { number, campaign, by, to, .. } => {
                self.state = DeadLetterState::Redriving;
                self.target = Some(to.to_string());
                self.redrives = *number;
                self.campaign = campaign.as_ref().map(ToString::to_string);
                self.by = Some(by.clone());
            }
            Event::Redriven { .. } => self.state = DeadLetterState::Redriven,
            Event::Returned { code, reason, attempts, at } => {
                self.state = DeadLetterState::Waiting;
                self.attempts = self.attempts.saturating_add(*attempts);
                if self.failures.len() == FAILURES_MAX {
                    self.failures.remove(1);
                }
                let (code, reason) = (code.to_string(), reason.clone());
                self.failures.push(DeadLetterFailure { code, reason, at: *at });
            }
            Event::Dropped { by, .. } => {
                self.state = DeadLetterState::Dropped;
                self.by = Some(by.clone());
            }
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
            campaign: None,
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
        assert_eq!((view.failures.len(), view.meant_for(), view.edits), (1, ("probe", "q"), 1));
    }
}
