//! Entities of all kinds that send each other commands: a runtime without bus, log or clock.

use std::collections::{BTreeMap, VecDeque};

use actors_core::decision::Timer;
use actors_core::{CommandId, Context, EntityAddress, Instance, Registry, Revision, Timestamp, TurnError};
use bus_schemas::jobs::Job;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, Hash, Refusal, record};
use serde_json::Value;
use smol_str::SmolStr;

use super::address;

/// Everything that lives, and everything under way.
pub(super) struct World {
    registry: Registry,
    entities: BTreeMap<EntityAddress, Live>,
    mail: VecDeque<(EntityAddress, Body)>,
    timers: BTreeMap<(EntityAddress, SmolStr), (Timestamp, Body)>,
    turns: u64,
    pub(super) now: Timestamp,
    pub(super) jobs: VecDeque<Job>,
    pub(super) refusals: Vec<(EntityAddress, Refusal)>,
}

struct Live {
    instance: Box<dyn Instance>,
    events: Vec<record::Event>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            registry: crate::registry(),
            entities: BTreeMap::new(),
            mail: VecDeque::new(),
            timers: BTreeMap::new(),
            turns: 0,
            now: Timestamp(1_000_000),
            jobs: VecDeque::new(),
            refusals: Vec::new(),
        }
    }

    /// Sends a command, and lets everybody decide until no mail is left.
    pub(super) fn tell<C: WireCommand>(&mut self, to: &str, command: &C) {
        self.mail.push_back((address(to), Body::json(command)));
        while let Some((to, body)) = self.mail.pop_front() {
            self.turn(&to, &body);
        }
    }

    /// Lets time pass to the next timer, which fires; false when there is none.
    pub(super) fn fire_next_timer(&mut self) -> bool {
        let next = self.timers.iter().min_by_key(|(_, (at, _))| *at).map(|(name, _)| name.clone());
        let Some((at, body)) = next.as_ref().and_then(|name| self.timers.remove(name)) else { return false };
        self.now = self.now.max(at);
        let (entity, _) = next.expect("it was just removed");
        self.mail.push_back((entity, body));
        while let Some((to, body)) = self.mail.pop_front() {
            self.turn(&to, &body);
        }
        true
    }

    /// An entity's state as its snapshot has it.
    pub(super) fn state(&self, entity: &str) -> Value {
        self.entities.get(&address(entity)).map_or(Value::Null, |live| live.instance.state())
    }
    pub(super) fn addresses(&self) -> impl Iterator<Item = &EntityAddress> {
        self.entities.keys()
    }
    /// How many timers wait.
    pub(super) fn timers(&self) -> Vec<&(EntityAddress, SmolStr)> {
        self.timers.keys().collect()
    }

    /// Asserts that events alone, and a snapshot alone, give the same entity.
    pub(super) fn check_replay(&self) {
        for (entity, live) in &self.entities {
            let mut replayed = self.registry.make(&entity.kind).expect("it lives");
            for event in &live.events {
                replayed.replay(event).expect("it was just written");
            }
            let state = live.instance.state();
            assert_eq!(replayed.state(), state, "replay of `{entity}`");
            let restored = self.registry.restore(&entity.kind, Revision(0), Hash::default(), state.clone());
            assert_eq!(
                restored.expect("it lives").expect("a snapshot").state(),
                state,
                "snapshot of `{entity}`"
            );
        }
    }

    fn turn(&mut self, to: &EntityAddress, body: &Body) {
        self.turns += 1;
        assert!(self.turns < 100_000, "the world never comes to rest");
        let id = CommandId::from_text("a world").derive("turn", self.turns as u32);
        let registry = &self.registry;
        let live = self.entities.entry(to.clone()).or_insert_with(|| Live {
            instance: registry.make(&to.kind).expect("a known kind"),
            events: Vec::new(),
        });
        let revision = live.instance.revision();
        let context = Context {
            entity: to,
            revision,
            now: self.now,
            command: id,
            correlation: id,
            caller: None,
            trace: None,
        };
        let turn = match live.instance.turn(body, &context) {
            Ok(turn) => turn,
            Err(TurnError::Refused(refusal)) => return self.refusals.push((to.clone(), refusal)),
            Err(error) => panic!("`{to}`: {error:?}"),
        };
        live.events.extend(turn.events);
        self.jobs.extend(turn.jobs);
        self.mail.extend(turn.sends.into_iter().map(|send| (send.to, send.body)));
        for timer in turn.timers {
            match timer {
                Timer::Set { name, at, body } => {
                    self.timers.insert((to.clone(), name), (at, body));
                }
                Timer::Cancel { name } => {
                    self.timers.remove(&(to.clone(), name));
                }
            }
        }
    }
}
