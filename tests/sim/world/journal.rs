//! Stage 4, journal, modelled after `journal::append_until_known`: the way to the log and back. What
//! the end of the log says is judged by the real [`journal::judge`].

use actors_runtime::journal::{self, Commit, Fate};
use actors_runtime::stuck;
use bus_schemas::{Hash, LogSequence};

use super::{AppendAnswer, Happening, OwnerId, Phase, World};
use crate::coverage::Reached;
use crate::faults::Defect;
use crate::invariants::Check;

/// How long an answer is waited for, in milliseconds.
const TIMEOUT_MS: u64 = 1_000;
/// How much of a command is shown in the trace.
const BODY_SHOWN_BYTES: usize = 60;
/// The pause before an append is tried again, in milliseconds.
const AGAIN_MS: u64 = stuck::PAUSE_MIN.as_millis() as u64;

impl World {
    /// Sends an owner's record to the log.
    pub(super) fn send_append(&mut self, id: OwnerId) -> Check {
        if self.dies_at(id, "before-append") {
            return Ok(());
        }
        let Some(owner) = self.owners.get_mut(&id) else { return Ok(()) };
        let Some(commit) = owner.commit.clone() else { return Ok(()) };
        owner.round += 1;
        let round = owner.round;
        // They are stored before the record, as `journal::append_until_known` does.
        for (_, body) in &commit.blobs {
            self.store.put_body(body);
        }
        if self.defect == Some(Defect::RepliesBeforeCommit) {
            self.reply_early(id, &commit)?;
        }
        let silence = Happening::AppendAnswered { owner: id, round, answer: AppendAnswer::Unanswered };
        if self.fault(self.faults.append_lost, Reached::AppendLost) {
            self.soon(TIMEOUT_MS, silence);
            return Ok(());
        }
        let arrives = Happening::AppendArrives { owner: id, round, commit };
        let way = if self.fault(self.faults.append_late, Reached::AppendLate) {
            self.soon(TIMEOUT_MS, silence);
            TIMEOUT_MS + self.random.between(0, 4_000)
        } else {
            self.latency()
        };
        self.soon(way, arrives);
        Ok(())
    }

    /// The record is at the server, whatever became of its sender.
    pub(super) fn append_arrives(&mut self, id: OwnerId, round: u64, commit: &Commit) -> Check {
        let (partition, expected) = (commit.partition, commit.expected);
        if self.fault(self.faults.append_refused, Reached::AppendRefused) {
            let way = self.latency();
            let answer = AppendAnswer::Refused;
            self.soon(way, Happening::AppendAnswered { owner: id, round, answer });
            return Ok(());
        }
        let checked = (self.defect != Some(Defect::LogIgnoresExpectation)).then_some(expected);
        let answer = match self.store.append(partition, checked, commit.bytes.clone()) {
            Ok(sequence) => {
                self.note_record(id, sequence, commit);
                let (bytes, store) = (&commit.bytes, &self.store);
                self.audit.appended(id, partition, sequence, bytes, store, &mut self.coverage)?;
                AppendAnswer::Written(sequence)
            }
            Err(last) => {
                self.note(format_args!("log {partition}: owner {id} expects {expected}, not {last}"));
                if self.defect == Some(Defect::ConflictTakenForSuccess) {
                    AppendAnswer::Written(last)
                } else {
                    AppendAnswer::Conflict
                }
            }
        };
        if self.dies_at(id, "after-append") {
            return Ok(());
        }
        if self.fault(self.faults.append_answer_lost, Reached::AppendAnswerLost) {
            let answer = AppendAnswer::Unanswered;
            self.soon(TIMEOUT_MS, Happening::AppendAnswered { owner: id, round, answer });
            return Ok(());
        }
        let way = self.latency();
        self.soon(way, Happening::AppendAnswered { owner: id, round, answer });
        Ok(())
    }

    /// A record in words, with its hash: two runs of one seed must write the same bytes.
    fn note_record(&mut self, id: OwnerId, sequence: LogSequence, commit: &Commit) {
        let hash = Hash::of(&commit.bytes).to_hex();
        self.note(format_args!("log {}: record {sequence} by owner {id}, {}", commit.partition, &hash[..12]));
        for turn in self.store.read_record(&commit.bytes).into_iter().flat_map(|record| record.turns) {
            let body = &turn.command.body.bytes;
            let body = String::from_utf8_lossy(&body[..body.len().min(BODY_SHOWN_BYTES)]).into_owned();
            let events: Vec<&str> = turn.events.iter().map(|event| event.event_type.as_str()).collect();
            let refused = turn.refusal.as_ref().map_or("", |refusal| refusal.code.as_str());
            self.note(format_args!(
                "  {:?} {} `{}` {body} -> {} {refused}",
                turn.source,
                turn.command.id,
                turn.entity,
                events.join(" ")
            ));
        }
    }

    /// The owner hears of its append, or has waited long enough.
    pub(super) fn append_answered(&mut self, id: OwnerId, round: u64, answer: AppendAnswer) -> Check {
        let Some(owner) = self.owners.get_mut(&id).filter(|owner| owner.round == round) else {
            return Ok(());
        };
        if owner.commit.is_none() {
            return Ok(());
        }
        // Whatever answers this try later is not listened to any more.
        owner.round += 1;
        let round = owner.round;
        match answer {
            AppendAnswer::Written(sequence) => return self.fate(id, Fate::Committed(sequence)),
            AppendAnswer::Refused => self.soon(AGAIN_MS, Happening::AppendAgain { owner: id, round }),
            AppendAnswer::Conflict | AppendAnswer::Unanswered => {
                let way = self.latency();
                self.soon(way, Happening::ReadEndOfLog { owner: id, round });
            }
        }
        Ok(())
    }

    pub(super) fn append_again(&mut self, id: OwnerId, round: u64) -> Check {
        if self.owners.get(&id).is_some_and(|owner| owner.round == round) {
            return self.send_append(id);
        }
        Ok(())
    }

    /// An owner finds out what became of its record.
    pub(super) fn read_end_of_log(&mut self, id: OwnerId, round: u64) -> Check {
        let Some(owner) = self.owners.get(&id).filter(|owner| owner.round == round) else { return Ok(()) };
        let Some(commit) = &owner.commit else { return Ok(()) };
        let last = self.store.last_record(owner.partition);
        let fate = journal::judge(commit, last.map(|(sequence, bytes)| (sequence, &bytes[..])), "simulated");
        match fate {
            Fate::Again(_) => {
                self.coverage.note(Reached::AmbiguousNotWritten);
                self.soon(AGAIN_MS, Happening::AppendAgain { owner: id, round });
                Ok(())
            }
            Fate::Committed(_) => {
                self.coverage.note(Reached::AmbiguousWritten);
                self.fate(id, fate)
            }
            Fate::Lost(_) => self.fate(id, fate),
        }
    }

    /// What became of a record is known.
    fn fate(&mut self, id: OwnerId, fate: Fate) -> Check {
        let Some(owner) = self.owners.get_mut(&id) else { return Ok(()) };
        owner.commit = None;
        let taking = owner.phase == Phase::Taking;
        match fate {
            Fate::Committed(sequence) if taking => self.took_over(id, sequence),
            Fate::Committed(sequence) => self.committed(id, sequence),
            Fate::Lost(reason) | Fate::Again(reason) => {
                self.note(format_args!("owner {id} is fenced: {reason}"));
                if taking {
                    self.take_over_again(id)
                } else {
                    self.coverage.note(Reached::ZombieFenced);
                    self.end_owner(id);
                    Ok(())
                }
            }
        }
    }

    /// A defect: callers hear of a record that is only on its way.
    fn reply_early(&mut self, id: OwnerId, commit: &Commit) -> Check {
        let record = self.store.read_record(&commit.bytes).expect("an owner wrote it");
        for turn in record.turns {
            self.note(format_args!("owner {id} answers {} early", turn.command.id));
            if let Some(call) = self.callers.call_of(turn.command.id) {
                self.send_answer(call, turn.reply)?;
            }
        }
        Ok(())
    }

    /// Whether the host of an owner dies at this place of the flow.
    pub(super) fn dies_at(&mut self, id: OwnerId, place: &str) -> bool {
        let Some(host) = self.owners.get(&id).map(|owner| owner.host) else { return true };
        let dies = self.fault(self.faults.dies_at_point, Reached::DiedAtPoint);
        if dies {
            self.note(format_args!("at {place}:"));
            self.kill_host(host);
        }
        dies
    }

    /// The newest record that owners know to be in the log.
    pub(super) fn end_of_log(&self, partition: bus_schemas::PartitionId) -> LogSequence {
        self.store.last_record(partition).map_or(LogSequence(0), |(sequence, _)| sequence)
    }
}
