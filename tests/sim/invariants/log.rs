//! What every record and every turn in a log must keep.

use actors_core::{Context, Origin, TurnError};
use actors_runtime::decide::timer_command_id;
use bus_client::events::Cursor;
use bus_schemas::envelope::code;
use bus_schemas::record::{CommitRecord, Event, Source, TimerChange, Turn};
use bus_schemas::{LogSequence, PartitionId};

use super::{Audit, Check, hold, violated};
use crate::coverage::{Coverage, Reached};
use crate::store::OutgoingEvent;
use crate::world::OwnerId;

impl Audit {
    /// Every record is written under the newest epoch by the owner that began it; an epoch begins with
    /// a record of its own, one above the last. So a former owner writes nothing after a takeover.
    pub(super) fn single_writer(
        &mut self,
        writer: OwnerId,
        partition: PartitionId,
        sequence: LogSequence,
        record: &CommitRecord,
    ) -> Check {
        let log = self.log_mut(partition);
        let begins = record.epoch.0 == log.epoch.0 + 1 && record.turns.is_empty();
        let goes_on = record.epoch == log.epoch && log.writer == Some(writer);
        hold(begins || goes_on, "single_writer", || {
            format!(
                "record {sequence} of partition {partition} is of epoch {} by owner {writer}; the newest is {} \
                 by {:?}",
                record.epoch, log.epoch, log.writer
            )
        })?;
        if begins {
            (log.epoch, log.writer) = (record.epoch, Some(writer));
        }
        Ok(())
    }

    /// Each record names the hash of the one before it, and sequences have no gap.
    pub(super) fn hash_chain_continuous(
        &mut self,
        partition: PartitionId,
        sequence: LogSequence,
        record: &CommitRecord,
    ) -> Check {
        let log = self.log(partition);
        hold(
            record.previous == log.hash && sequence == log.last.next() && record.partition == partition,
            "hash_chain_continuous",
            || format!("record {sequence} of partition {partition} does not follow record {}", log.last),
        )
    }

    /// Positions never go back, and never claim more than the turns up to them did.
    pub(super) fn positions_monotone(&mut self, partition: PartitionId, record: &CommitRecord) -> Check {
        let log = self.log_mut(partition);
        let before = &log.position;
        let of = |mail: &[(PartitionId, u64)], from: PartitionId| {
            mail.iter().find(|(known, _)| *known == from).map_or(0, |(_, number)| *number)
        };
        let forward = record.position.inbox >= before.inbox
            && before.mail.iter().all(|(from, number)| of(&record.position.mail, *from) >= *number);
        hold(forward, "positions_monotone", || {
            format!("partition {partition}: {:?} follows {before:?}", record.position)
        })?;
        log.position = record.position.clone();
        Ok(())
    }

    /// A command id is applied at most once by an entity. A timer that is set again for the same moment
    /// has the same id and is meant to fire again, and so has what it sends: for these `timers_fire_once`
    /// and `mail_in_order_once` say the same.
    pub(super) fn no_double(
        &mut self,
        partition: PartitionId,
        sequence: LogSequence,
        turn: &Turn,
        coverage: &mut Coverage,
    ) -> Check {
        let id = turn.command.id;
        if matches!(turn.source, Source::Ask | Source::Inbox(_)) {
            let answer = (turn.reply.clone(), turn.command.body.clone());
            self.answers.entry(id).or_insert(answer);
        }
        // A claim of which nothing came is used again, under its id: `no_place_used_twice` says of which.
        let is_timer = matches!(turn.source, Source::Timer(_) | Source::Claim);
        if (is_timer && !self.fired.insert(id)) || self.repeated.contains(&id) {
            self.repeated.extend(turn.sends.iter().map(|mail| mail.command.id));
            return Ok(());
        }
        if is_timer {
            return Ok(());
        }
        let unreadable = turn.dead.as_ref().is_some_and(|dead| dead.subject.is_some());
        if !self.is_home(partition, &turn.entity) && !unreadable {
            coverage.note(Reached::Forwarded);
            self.forwarded.insert(id);
            return Ok(());
        }
        match self.applied.insert((turn.entity.clone(), id), (partition, sequence)) {
            None => Ok(()),
            Some((_, first)) => violated(
                "no_double",
                format!("`{}` applied {id} in record {first} and again in record {sequence}", turn.entity),
            ),
        }
    }

    /// Durable commands are applied in the order of the inbox, each once.
    pub(super) fn inbox_in_order(&mut self, partition: PartitionId, turn: &Turn) -> Check {
        let Source::Inbox(sequence) = turn.source else { return Ok(()) };
        let log = self.log_mut(partition);
        hold(sequence > log.inbox, "inbox_in_order", || {
            format!("partition {partition} applied inbox {sequence} after {}", log.inbox)
        })?;
        log.inbox = sequence;
        Ok(())
    }

    /// Mail between two partitions is numbered 1, 2, 3 …, applied in this order, each once, and only
    /// what the sender has committed: byte for byte the same command.
    pub(super) fn mail_in_order_once(&mut self, partition: PartitionId, turn: &Turn) -> Check {
        const NAME: &str = "mail_in_order_once";
        if let Source::Mail(from, number) = turn.source {
            let sent = self.log(from).sent.get(&partition).and_then(|sent| sent.get(number as usize - 1));
            let same = sent.is_some_and(|mail| {
                mail.to == turn.entity
                    && mail.command.id == turn.command.id
                    && mail.command.body == turn.command.body
            });
            hold(same, NAME, || {
                format!("partition {partition} applied mail {number} of {from}, which it did not send")
            })?;
            let applied = self.log_mut(partition).applied_mail.entry(from).or_default();
            hold(number == *applied + 1, NAME, || {
                format!("partition {partition} applied mail {number} of {from} after {applied}")
            })?;
            *applied = number;
            self.mails.applied(&turn.entity, &turn.command.body);
        }
        for mail in &turn.sends {
            self.mails.sent(mail);
            let sent = self.log_mut(partition).sent.entry(mail.partition).or_default();
            hold(mail.number == sent.len() as u64 + 1, NAME, || {
                format!("partition {partition} sent mail {} after {}", mail.number, sent.len())
            })?;
            sent.push(mail.clone());
        }
        Ok(())
    }

    /// A timer fires at most once for each time that it was set, and with the command it was set with.
    pub(super) fn timers_fire_once(&mut self, partition: PartitionId, turn: &Turn) -> Check {
        let log = self.log_mut(partition);
        if let Source::Timer(name) = &turn.source {
            let entity = &turn.entity;
            let Some((at, body)) = log.timers.remove(&(entity.clone(), name.clone())) else {
                return violated("timers_fire_once", format!("timer `{name}` of `{entity}` fired unset"));
            };
            let same = body == turn.command.body && turn.command.id == timer_command_id(entity, name, at);
            hold(same, "timers_fire_once", || {
                format!("timer `{name}` of `{entity}` is set for {at} and fired with another command")
            })?;
        }
        for change in &turn.timers {
            match change {
                TimerChange::Set { name, at, body } => {
                    log.timers.insert((turn.entity.clone(), name.clone()), (*at, body.clone()));
                }
                TimerChange::Cancel { name } => {
                    log.timers.remove(&(turn.entity.clone(), name.clone()));
                }
            }
        }
        Ok(())
    }

    /// Only a command that says so panics a decision, and no entity stops.
    pub(super) fn poison_only_when_told(&mut self, turn: &Turn, coverage: &mut Coverage) -> Check {
        let Some(dead) = &turn.dead else { return Ok(()) };
        let told = turn.command.body.bytes.windows(7).any(|window| window == b"\"panic\"");
        if dead.class == code::POISON && told {
            coverage.note(Reached::Poisoned);
        }
        let faulty = (dead.class == code::POISON && !told) || dead.class == code::ENTITY_STOPPED;
        hold(!faulty, "poison_only_when_told", || {
            format!("a command of `{}` became a dead letter: {}: {}", turn.entity, dead.class, dead.reason)
        })
    }

    /// An entity's revisions count 1, 2, 3 …, and each event's hash covers all before it.
    pub(super) fn revisions_gap_free(
        &mut self,
        partition: PartitionId,
        record: LogSequence,
        turn: &Turn,
    ) -> Check {
        let known = self.entities.get(&turn.entity);
        let (mut revision, mut hash) =
            known.map_or_else(Default::default, |known| (known.revision(), known.hash()));
        for event in &turn.events {
            let linked = hash.link(revision.next(), &event.event_type, event.schema, &event.body);
            hold(event.revision == revision.next() && event.hash == linked, "revisions_gap_free", || {
                format!("revision {} of `{}` follows {revision}", event.revision, turn.entity)
            })?;
            (revision, hash) = (event.revision, event.hash);
            self.note_event(partition, record, turn, event);
        }
        Ok(())
    }

    fn note_event(&mut self, partition: PartitionId, record: LogSequence, turn: &Turn, event: &Event) {
        let log = self.log_mut(partition);
        let before = log.events.iter().rev().take_while(|known| known.cursor.record == record).count();
        log.events.push(OutgoingEvent {
            cursor: Cursor { partition, record, index: before as u32 },
            entity: turn.entity.clone(),
            event: event.clone(),
            correlation: turn.command.correlation,
        });
    }

    /// Deciding a recorded command again gives what the record says: events, mail, timers, leases
    /// and jobs, byte for byte. This also folds the audit's own copy of the entity.
    pub(super) fn commands_decide_alike(&mut self, partition: PartitionId, turn: &Turn) -> Check {
        let known = self.registry.knows(&turn.entity.kind);
        let unreadable = turn.dead.as_ref().is_some_and(|dead| dead.subject.is_some());
        if !known || unreadable || !self.is_home(partition, &turn.entity) {
            return Ok(());
        }
        let fresh = || self.registry.make(&turn.entity.kind).expect("the kind is known");
        let instance = self.entities.entry(turn.entity.clone()).or_insert_with(fresh);
        let context = Context {
            entity: &turn.entity,
            partitions: self.count,
            revision: instance.revision(),
            now: turn.at,
            by_timer: matches!(turn.source, Source::Timer(_)),
            command: turn.command.id,
            correlation: turn.command.correlation,
            caller: turn.command.caller.as_ref(),
            trace: None,
        };
        let alike = match instance.turn(&turn.command.body, &context) {
            Ok(again) => {
                if !again.events.is_empty() {
                    let (correlation, trace) = (turn.command.correlation, turn.command.trace);
                    instance.begin(Origin { correlation, trace });
                }
                // The last mail of a redriven command tells its dead letter what came of it.
                let told = usize::from(is_redriven(turn));
                let sends = turn.sends.iter().map(|mail| (&mail.to, &mail.command.body));
                let sends = sends.take(turn.sends.len().saturating_sub(told));
                let timers = turn.timers.iter().map(|timer| format!("{timer:?}"));
                let jobs = again.jobs.iter().map(|(claim, job)| (claim, &job.id));
                turn.refusal.is_none()
                    && again.events == turn.events
                    && sends.eq(again.sends.iter().map(|send| (&send.to, &send.body)))
                    && timers.eq(again.timers.iter().map(|timer| format!("{timer:?}")))
                    && again.leases == turn.leases
                    && again.stops == turn.stops
                    && jobs.eq(turn.jobs.iter().map(|job| (&job.claim, &job.id)))
            }
            Err(TurnError::Refused(refusal)) => turn.refusal == Some(refusal),
            Err(
                TurnError::Malformed(_)
                | TurnError::TooLarge(_)
                | TurnError::Poison(_)
                | TurnError::Broken(_),
            ) => turn.dead.is_some() != is_redriven(turn),
        };
        let revision = turn.events.last().map_or(instance.revision(), |event| event.revision);
        hold(alike && revision == instance.revision(), "commands_decide_alike", || {
            format!("deciding {} of `{}` again leads to something else", turn.command.id, turn.entity)
        })
    }
}

/// Whether a dead letter sent this command, and is told what came of it.
fn is_redriven(turn: &Turn) -> bool {
    let by_letter = turn.command.caller.as_ref().is_some_and(|caller| caller.starts_with("dead-letter/"));
    turn.command.settles && by_letter
}
