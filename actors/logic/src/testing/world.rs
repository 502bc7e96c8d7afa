//! Entities of all kinds that send each other commands: a runtime without bus, log or clock.

use std::collections::{BTreeMap, VecDeque};

use actors_core::decision::Timer;
use actors_core::{
    CommandId, Context, EntityAddress, Instance, Key, Opening, Registry, Revision, Taking, Timestamp,
    TurnError,
};
use bus_schemas::claims::Claim;
use bus_schemas::commands::task;
use bus_schemas::jobs::Job;
use bus_schemas::record::LeaseChange;
use bus_schemas::topology::PARTITIONS_DEFAULT;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, Hash, Refusal, record};
use serde_json::Value;
use smol_str::SmolStr;

use super::{address, key};

/// The token of the worker's jobs.
const TOKEN: &str = "a token";

/// All entities, and everything in transit.
pub(super) struct World {
    registry: Registry,
    entities: BTreeMap<EntityAddress, Live>,
    mail: VecDeque<(EntityAddress, Body, Option<SmolStr>)>,
    timers: BTreeMap<(EntityAddress, SmolStr), (Timestamp, Body)>,
    leases: BTreeMap<(EntityAddress, SmolStr), Lease>,
    turns: u64,
    pub(super) now: Timestamp,
    pub(super) jobs: VecDeque<Job>,
    pub(super) refusals: Vec<(EntityAddress, Refusal)>,
}

/// A lease of a worker: `body` is sent when it expires.
struct Lease {
    until: Timestamp,
    body: Body,
    ms: u64,
    silent: Body,
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
            leases: BTreeMap::new(),
            turns: 0,
            now: Timestamp(1_000_000),
            jobs: VecDeque::new(),
            refusals: Vec::new(),
        }
    }

    /// Sends a command, and decides until no mail is left.
    pub(super) fn tell<C: WireCommand>(&mut self, to: &str, command: &C) {
        self.hand(address(to), Body::json(command), Some("ann".into()));
    }

    /// Like [`Self::tell`], with a caller.
    fn hand(&mut self, to: EntityAddress, body: Body, caller: Option<SmolStr>) {
        self.mail.push_back((to, body, caller));
        while let Some((to, body, caller)) = self.mail.pop_front() {
            self.turn(&to, &body, caller.as_ref());
        }
    }

    /// Advances the time to the next timer or the next end of a lease; `false` if there is none.
    pub(super) fn fire_next_timer(&mut self) -> bool {
        let timers = self.timers.iter().map(|(name, (at, _))| (*at, name));
        let leases = self.leases.iter().map(|(name, lease)| (lease.until, name));
        let Some((at, name)) = timers.chain(leases).min().map(|(at, name)| (at, name.clone())) else {
            return false;
        };
        self.now = self.now.max(at);
        let timer = self.timers.get(&name).filter(|(due, _)| *due == at).map(|(_, body)| body.clone());
        let body = match timer {
            Some(body) => {
                self.timers.remove(&name);
                body
            }
            None => self.leases.remove(&name).expect("it was just found").body,
        };
        self.hand(name.0, body, None);
        true
    }

    /// Claims for a worker; `false` if there is no work.
    pub(super) fn claim(&mut self, agent: &Key, skills: &[SmolStr], places: u32) -> bool {
        let before = self.jobs.len();
        let claim = Claim {
            worker: "w1".into(),
            incarnation: 0,
            skills: skills.to_vec(),
            token: Hash::of_token(TOKEN),
            places,
            repeated: false,
            lanes: vec![key("default")],
        };
        let fits = |opening: &Opening| {
            skills.contains(&opening.skill) && opening.agent.as_ref().is_none_or(|named| named == agent)
        };
        loop {
            let left = places.saturating_sub((self.jobs.len() - before) as u32);
            let openings = self.entities.iter().flat_map(|(entity, live)| {
                live.instance.openings(entity).into_iter().map(move |opening| (opening, entity))
            });
            let next = openings.filter(|(opening, _)| fits(opening)).min_by_key(|(opening, _)| opening.rank);
            let Some(entity) = next.map(|(_, entity)| entity.clone()).filter(|_| left > 0) else { break };
            let claim = Claim { places: left, ..claim.clone() };
            let id = CommandId::from_text(&format!("claim {}", self.turns));
            let taking = Taking { id, agent, claim: &claim };
            let taken = self.entities[&entity].instance.take(&taking).expect("it has work");
            self.hand(entity, taken, None);
        }
        self.jobs.len() > before
    }

    /// Renews an attempt; `false` if it is no longer the worker's.
    pub(super) fn renews(&mut self, job: &Job) -> bool {
        let (attempt, token) = (job.attempt, job.token.clone());
        let query = task::Query::Renew { attempt, token, progressed: true };
        let live = self.entities.get(&job.task).expect("it gave the job");
        let context = context(&job.task, live.instance.revision(), self.now, CommandId::from_text("a query"));
        let Ok(view) = live.instance.view(&Body::json(&query), &context) else { return false };
        for name in view.renews {
            let lease = self.leases.get_mut(&(job.task.clone(), name.into())).expect("it has begun");
            (lease.until, lease.body) = (self.now.plus_ms(lease.ms), lease.silent.clone());
        }
        true
    }

    /// An entity's state, as a snapshot has it.
    pub(super) fn state(&self, entity: &str) -> Value {
        self.entities.get(&address(entity)).map_or(Value::Null, |live| live.instance.state())
    }
    pub(super) fn addresses(&self) -> impl Iterator<Item = &EntityAddress> {
        self.entities.keys()
    }
    /// The timers and the leases that are set.
    pub(super) fn timers(&self) -> Vec<&(EntityAddress, SmolStr)> {
        self.timers.keys().chain(self.leases.keys()).collect()
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

    fn turn(&mut self, to: &EntityAddress, body: &Body, caller: Option<&SmolStr>) {
        self.turns += 1;
        assert!(self.turns < 100_000, "the world never comes to rest");
        let id = CommandId::from_text("a world").derive("turn", self.turns as u32);
        let registry = &self.registry;
        let live = self.entities.entry(to.clone()).or_insert_with(|| Live {
            instance: registry.make(&to.kind).expect("a known kind"),
            events: Vec::new(),
        });
        let revision = live.instance.revision();
        let context = Context { caller, ..context(to, revision, self.now, id) };
        let turn = match live.instance.turn(body, &context) {
            Ok(turn) => turn,
            Err(TurnError::Refused(refusal)) => return self.refusals.push((to.clone(), refusal)),
            Err(error) => panic!("`{to}`: {error:?}"),
        };
        live.events.extend(turn.events);
        self.jobs.extend(turn.jobs.into_iter().map(|(_, job)| Job { token: TOKEN.into(), ..job }));
        let sender = SmolStr::new(to.to_string());
        self.mail.extend(turn.sends.into_iter().map(|send| (send.to, send.body, Some(sender.clone()))));
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
        for change in turn.leases {
            match change {
                LeaseChange::Begin { name, first_ms, ms, unrenewed, silent } => {
                    let lease = Lease { until: self.now.plus_ms(first_ms), body: unrenewed, ms, silent };
                    self.leases.insert((to.clone(), name), lease);
                }
                LeaseChange::End { name } => {
                    self.leases.remove(&(to.clone(), name));
                }
            }
        }
    }
}

fn context(entity: &EntityAddress, revision: Revision, now: Timestamp, id: CommandId) -> Context<'_> {
    Context {
        entity,
        partitions: PARTITIONS_DEFAULT,
        revision,
        now,
        by_timer: false,
        command: id,
        correlation: id,
        caller: None,
        trace: None,
    }
}
