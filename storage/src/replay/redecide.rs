//! Redecision: decides recorded commands again with this program, on the state that the log had, and compares
//! the results with the recorded ones.
//!
//! The runtime's own stage decides; everything it needs is in the record. Compared are events byte for byte,
//! refusals, replies, mail, timers, leases, jobs, stops, dead letters, and whether the entity has work for
//! workers. Not compared are span ids, which are new in each turn.

use std::collections::{HashMap, HashSet};

use actors_core::Registry;
use actors_runtime::decide::{TurnContext, decide};
use actors_runtime::fold::{Cached, Loaded};
use actors_runtime::state::PartitionState;
use bus_client::Bus;
use bus_schemas::envelope::code;
use bus_schemas::record::{Event, Mail, Turn};
use bus_schemas::{Body, EntityAddress, PartitionId, Revision};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Error;
use crate::Progress;
use crate::archive::Archive;
use crate::history::records;

/// A command that leads to another result today.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Divergence {
    /// The entity: `<kind>/<key>`.
    pub entity: String,
    /// The entity's revision before the command.
    pub revision: u64,
    /// The id of the command: a UUID.
    pub command: String,
    /// The position in the log: `<partition>.<record>`.
    pub place: String,
    /// The part that differs: `events`, `refusal`, `sends`, `timers`, `leases`, `jobs`, `stops`, `is_open`,
    /// `dead` or `reply`.
    pub what: String,
    /// The recorded result.
    pub recorded: Value,
    /// Today's result.
    pub decided: Value,
}

/// The summary of a comparison.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Summary {
    /// Commands that were decided again.
    pub commands: u64,
    /// Commands that were not compared, because the state of their entity was no longer the log's.
    pub skipped: u64,
    /// Entities that diverged.
    pub diverged: u64,
}

impl Summary {
    /// Fails when an entity decides otherwise today.
    pub fn expect_same(&self) -> Result<(), Error> {
        if self.diverged == 0 { Ok(()) } else { Err(Error::Diverged(self.diverged)) }
    }
}

/// Decides the commands of one entity again, or of all; `show` receives every divergence.
pub async fn run(
    bus: &Bus,
    archive: &Archive,
    only: Option<&EntityAddress>,
    progress: &dyn Progress,
    show: &mut (dyn FnMut(Divergence) + Send),
) -> Result<Summary, Error> {
    let topology = bus.topology();
    let partitions: Vec<PartitionId> = match only {
        Some(entity) => vec![entity.partition(topology.partitions)],
        None => topology.all_partitions().collect(),
    };
    let mut summary = Summary::default();
    for partition in partitions {
        let mut redecision = Redecision::new(partition, topology.partitions, only);
        let mut records = records(bus, archive, partition, progress).await?;
        while let Some(entry) = records.next().await? {
            entry
                .record
                .turns
                .iter()
                .filter_map(|turn| redecision.turn(entry.sequence.0, turn))
                .for_each(&mut *show);
            redecision.state.apply_record(entry.sequence, entry.hash, &entry.record);
        }
        summary.commands += redecision.summary.commands;
        summary.skipped += redecision.summary.skipped;
        summary.diverged += redecision.summary.diverged;
    }
    match only {
        Some(entity) if summary.commands == 0 => Err(Error::NoCommands(entity.clone())),
        _ => Ok(summary),
    }
}

/// The redecision of one partition.
struct Redecision<'a> {
    registry: Registry,
    partitions: u16,
    only: Option<&'a EntityAddress>,
    state: PartitionState,
    live: HashMap<EntityAddress, Cached>,
    /// Entities that diverged.
    diverged: HashSet<EntityAddress>,
    /// Entities whose state is no longer the log's.
    lost: HashSet<EntityAddress>,
    summary: Summary,
}

impl<'a> Redecision<'a> {
    fn new(partition: PartitionId, partitions: u16, only: Option<&'a EntityAddress>) -> Self {
        Self {
            registry: actors_logic::registry(),
            partitions,
            only,
            state: PartitionState { partition, ..PartitionState::default() },
            live: HashMap::new(),
            diverged: HashSet::new(),
            lost: HashSet::new(),
            summary: Summary::default(),
        }
    }

    /// Decides one command again, then continues with the recorded result.
    fn turn(&mut self, record: u64, turn: &Turn) -> Option<Divergence> {
        let wanted = self.only.is_none_or(|only| *only == turn.entity) && self.was_decided(turn);
        let is_lost = self.lost.contains(&turn.entity);
        self.summary.skipped += u64::from(wanted && is_lost);
        let divergence = if wanted && !is_lost { self.decide(record, turn) } else { None };
        self.state.apply_turn(turn);
        divergence
    }

    /// Whether an entity decided this turn, rather than the runtime, which forwarded it or could not read it.
    fn was_decided(&self, turn: &Turn) -> bool {
        let unreadable = turn.dead.as_ref().is_some_and(|dead| dead.subject.is_some());
        let ours = turn.entity.partition(self.partitions) == self.state.partition;
        let runtimes =
            [code::ENTITY_STOPPED, code::ENTITY_QUARANTINED, code::ID_REUSED, code::CHAOS_NOT_ALLOWED];
        let refused = turn.refusal.as_ref().is_some_and(|refusal| runtimes.contains(&refusal.code.as_str()));
        ours && !unreadable && !refused && self.registry.knows(&turn.entity.kind)
    }

    fn decide(&mut self, record: u64, turn: &Turn) -> Option<Divergence> {
        let registry = &self.registry;
        let cached = self.live.entry(turn.entity.clone()).or_insert_with(|| {
            let instance = registry.make(&turn.entity.kind).expect("the kind was looked up");
            Cached::new(Loaded { instance: Ok(instance), snapshot: Revision(0) })
        });
        let revision = cached.instance.as_ref().map_or(0, |instance| instance.revision().0);
        let undeliverable = registry.undeliverable();
        let turn_context = TurnContext {
            outbox: &self.state.outbox,
            partitions: self.partitions,
            now: turn.at,
            undeliverable,
        };
        let mut again =
            decide(cached, turn.entity.clone(), turn.source.clone(), turn.command.clone(), &turn_context);
        // As the runtime does when something happened.
        again.is_open = !again.events.is_empty() && has_work(cached, &turn.entity);
        self.summary.commands += 1;
        // A stopped entity is loaded again when its host next has to; its replies until then cannot be
        // derived from the log.
        if cached.instance.is_err() || turn.events != again.events {
            self.lost.insert(turn.entity.clone());
            self.live.remove(&turn.entity);
        }
        let (what, recorded, decided) = difference(turn, &again)?;
        self.summary.diverged += u64::from(self.diverged.insert(turn.entity.clone()));
        Some(Divergence {
            entity: turn.entity.to_string(),
            revision,
            command: turn.command.id.to_string(),
            place: format!("{}.{record}", self.state.partition),
            what: what.to_owned(),
            recorded,
            decided,
        })
    }
}

/// Whether a live entity has work for workers who claim.
fn has_work(cached: &Cached, entity: &EntityAddress) -> bool {
    cached.instance.as_ref().is_ok_and(|instance| !instance.openings(entity).is_empty())
}

/// The first part in which two turns differ, in both versions.
fn difference(recorded: &Turn, decided: &Turn) -> Option<(&'static str, Value, Value)> {
    let text = |part: &dyn std::fmt::Debug| Value::String(format!("{part:?}"));
    if recorded.events != decided.events {
        return Some(("events", events(&recorded.events), events(&decided.events)));
    }
    if recorded.refusal != decided.refusal {
        return Some(("refusal", text(&recorded.refusal), text(&decided.refusal)));
    }
    if sends(recorded) != sends(decided) {
        return Some(("sends", text(&recorded.sends), text(&decided.sends)));
    }
    if recorded.timers != decided.timers {
        return Some(("timers", text(&recorded.timers), text(&decided.timers)));
    }
    if recorded.leases != decided.leases {
        return Some(("leases", text(&recorded.leases), text(&decided.leases)));
    }
    if recorded.jobs != decided.jobs {
        return Some(("jobs", text(&recorded.jobs), text(&decided.jobs)));
    }
    if recorded.stops != decided.stops {
        return Some(("stops", text(&recorded.stops), text(&decided.stops)));
    }
    if recorded.is_open != decided.is_open {
        return Some(("is_open", recorded.is_open.into(), decided.is_open.into()));
    }
    if recorded.dead != decided.dead {
        return Some(("dead", text(&recorded.dead), text(&decided.dead)));
    }
    (recorded.reply != decided.reply).then(|| ("reply", text(&recorded.reply), text(&decided.reply)))
}

/// The mail of a turn without span ids. The note about a dead letter has one in its body: that of the span
/// before the turn's own, and the record has only the turn's.
fn sends(turn: &Turn) -> Vec<Mail> {
    let mut sends = turn.sends.clone();
    for mail in &mut sends {
        mail.command.trace = None;
        if turn.dead.is_some()
            && let Ok(mut note) = serde_json::from_slice::<Value>(&mail.command.body.bytes)
            && let Some(fields) = note.as_object_mut()
        {
            fields.remove("traceparent");
            mail.command.body = Body::json(&note);
        }
    }
    sends
}

fn events(events: &[Event]) -> Value {
    let body = |event: &Event| {
        serde_json::from_slice(&event.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&event.body).into_owned()))
    };
    events.iter().map(body).collect()
}

#[cfg(test)]
mod tests {
    use bus_schemas::commands::probe::Command as Probe;
    use bus_schemas::record::{Command, LeaseChange, Source, Stop};
    use bus_schemas::{CommandId, Key, Kind, Timestamp};
    use bytes::Bytes;

    use super::*;

    /// What a new probe makes of being touched, as its log has it.
    fn touched(times: u64) -> Vec<Turn> {
        let entity = EntityAddress::new(Kind::from_static("probe"), Key::parse("p").expect("a key"));
        let registry = actors_logic::registry();
        let instance = registry.make(&entity.kind).expect("the kind exists");
        let mut cached = Cached::new(Loaded { instance: Ok(instance), snapshot: Revision(0) });
        let state = PartitionState::default();
        let undeliverable = registry.undeliverable();
        let turn_context =
            TurnContext { outbox: &state.outbox, partitions: 1, now: Timestamp(1), undeliverable };
        let touch = |number: u64| Command {
            id: CommandId::from_text(&number.to_string()),
            body: Body::json(&Probe::Touch { note: String::new() }),
            cause: None,
            correlation: CommandId::from_text("request"),
            trace: None,
            caller: None,
            settles: false,
        };
        (0..times)
            .map(|number| decide(&mut cached, entity.clone(), Source::Ask, touch(number), &turn_context))
            .collect()
    }

    fn redecide(turns: &[Turn]) -> (u64, u64, u64) {
        let mut redecision = Redecision::new(PartitionId(0), 1, None);
        turns.iter().for_each(|turn| drop(redecision.turn(1, turn)));
        let Summary { commands, skipped, diverged } = redecision.summary;
        (commands, skipped, diverged)
    }

    #[test]
    fn what_leads_to_other_events_diverges_once_and_is_followed_no_further() {
        assert_eq!(redecide(&touched(3)), (3, 0, 0));
        let mut turns = touched(3);
        turns[1].events[0].body = Bytes::from_static(b"{}");
        assert_eq!(redecide(&turns), (2, 1, 1));
    }

    #[test]
    fn each_part_of_a_turn_is_compared() {
        let turn = touched(1).remove(0);
        let lease = LeaseChange::End { name: "attempt".into() };
        let stop = Stop { agent: Key::parse("a").expect("a key"), worker: "w".into(), job: "j".into() };
        let others = [
            (Turn { leases: vec![lease], ..turn.clone() }, "leases"),
            (Turn { stops: vec![stop], ..turn.clone() }, "stops"),
            (Turn { is_open: true, ..turn.clone() }, "is_open"),
        ];
        for (other, what) in others {
            assert_eq!(difference(&other, &turn).map(|(what, ..)| what), Some(what));
        }
        assert_eq!(difference(&turn, &turn), None);
    }

    #[test]
    fn what_leads_to_another_reply_diverges_and_is_followed() {
        let mut turns = touched(3);
        turns[1].reply = Bytes::from_static(b"{}");
        assert_eq!(redecide(&turns), (3, 0, 1));
    }
}
