//! The active halts, as workers, hosts and gateways know them from the events of `halt`.

use std::collections::BTreeMap;
use std::fmt;

use crate::events::halt::Event;
use crate::ids::{Key, Timestamp};
use crate::wire::EventFold;

/// The scope of a halt: the key of its entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everything.
    All,
    /// The jobs of one lane.
    Lane(Key),
    /// The jobs of one agent.
    Agent(Key),
    /// A task and everything below it.
    Task(Key),
}

/// A piece of work, as far as halts are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its lane.
    pub lane: &'a Key,
    /// Its agent, if it has one yet.
    pub agent: Option<&'a Key>,
    /// Its task.
    pub task: &'a Key,
}

/// An active halt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveHalt {
    /// The reason.
    pub reason: String,
    /// The caller who halted the scope.
    pub by: String,
    /// When it began.
    pub since: Timestamp,
    /// How long running work has to end by itself, in milliseconds.
    pub grace_ms: u64,
}

/// All active halts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Halts {
    active: BTreeMap<Scope, ActiveHalt>,
}

impl Scope {
    /// Parses an entity's key; `None` if the key is no scope.
    pub fn parse(key: &Key) -> Option<Self> {
        let text = key.as_str();
        let (word, rest) = text.split_once('.').unwrap_or((text, ""));
        match (word, Key::parse(rest)) {
            ("all", Err(_)) if rest.is_empty() => Some(Self::All),
            ("lane", Ok(lane)) => Some(Self::Lane(lane)),
            ("agent", Ok(agent)) => Some(Self::Agent(agent)),
            ("task", Ok(task)) => Some(Self::Task(task)),
            _ => None,
        }
    }
    /// The entity's key; `None` if the name is too long for one.
    pub fn key(&self) -> Option<Key> {
        Key::parse(&self.to_string()).ok()
    }
    fn covers(&self, subject: Subject<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Lane(lane) => lane == subject.lane,
            Self::Agent(agent) => Some(agent) == subject.agent,
            Self::Task(root) => subject.task.is_within(root),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Lane(lane) => write!(f, "lane.{lane}"),
            Self::Agent(agent) => write!(f, "agent.{agent}"),
            Self::Task(task) => write!(f, "task.{task}"),
        }
    }
}

impl EventFold for Halts {
    type Event = Event;
    fn apply(&mut self, key: &Key, event: &Event) {
        let Some(scope) = Scope::parse(key) else { return };
        match event {
            Event::Halted { reason, by, grace_ms, at } => {
                // A repeat with another reason is still the same halt.
                let since = self.active.get(&scope).map_or(*at, |active| active.since);
                let (reason, by, grace_ms) = (reason.clone(), by.clone(), *grace_ms);
                self.active.insert(scope, ActiveHalt { reason, by, since, grace_ms });
            }
            Event::Resumed { .. } => drop(self.active.remove(&scope)),
            Event::Watched { .. } => {}
        }
    }
}

impl Halts {
    /// Adds an active halt from a read model.
    pub fn stand(&mut self, key: &Key, active: ActiveHalt) {
        if let Some(scope) = Scope::parse(key) {
            self.active.insert(scope, active);
        }
    }
    /// The first halt that covers a piece of work.
    pub fn covering(&self, subject: Subject<'_>) -> Option<(&Scope, &ActiveHalt)> {
        self.active.iter().find(|(scope, _)| scope.covers(subject))
    }
    /// Whether an agent gets no work of a lane, whatever the task.
    pub fn covers(&self, lane: &Key, agent: &Key) -> bool {
        let covers = |scope: &Scope| match scope {
            Scope::All => true,
            Scope::Lane(halted) => halted == lane,
            Scope::Agent(halted) => halted == agent,
            Scope::Task(_) => false,
        };
        self.active.keys().any(covers)
    }
    /// All active halts: the one of everything first, then by scope.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &ActiveHalt)> {
        self.active.iter()
    }
    /// The active halt of a scope.
    pub fn of(&self, scope: &Scope) -> Option<&ActiveHalt> {
        self.active.get(scope)
    }
    /// The active halt of everything.
    pub fn all(&self) -> Option<&ActiveHalt> {
        self.active.get(&Scope::All)
    }
    /// Whether no halt is active.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    #[test]
    fn a_scope_is_its_key() {
        for text in ["all", "lane.default", "lane.a.b", "agent.git", "task.t.one"] {
            assert_eq!(Scope::parse(&key(text)).and_then(|scope| scope.key()), Some(key(text)));
        }
        for text in ["lane", "all.x", "everything", "task"] {
            assert_eq!(Scope::parse(&key(text)), None, "{text}");
        }
    }

    #[test]
    fn a_halt_covers_what_is_in_its_scope() {
        let (lane, agent, task) = (key("default"), key("git"), key("t.one"));
        let subject = Subject { lane: &lane, agent: Some(&agent), task: &task };
        let halted =
            Event::Halted { reason: "fire".into(), by: String::new(), grace_ms: 1, at: Timestamp(1) };
        let resumed =
            Event::Resumed { reason: "out".into(), by: String::new(), per_minute: None, at: Timestamp(2) };
        for (scope, covers) in [
            ("all", true),
            ("lane.default", true),
            ("lane.other", false),
            ("agent.git", true),
            ("agent.gitter", false),
            ("task.t", true),
            ("task.t.one", true),
            ("task.t.o", false),
            ("task.t.one.two", false),
        ] {
            let mut halts = Halts::default();
            halts.apply(&key(scope), &halted);
            assert_eq!(halts.covering(subject).is_some(), covers, "{scope}");
            halts.apply(&key(scope), &resumed);
            assert!(halts.is_empty());
        }
    }
}
