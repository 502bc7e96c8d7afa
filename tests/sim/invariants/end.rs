//! What must hold once the world rests: nothing is lost, nothing is stuck.

use bus_schemas::{CommandId, EntityAddress, Key, Kind};
use serde_json::Value;

use super::{Audit, Check, hold};
use crate::world::World;

impl World {
    /// Every invariant that can only be judged at rest.
    pub fn check_end(&mut self) -> Check {
        self.audit.no_loss(self.callers.accepted())?;
        self.audit.derived_stream_is_complete()?;
        self.audit.mail_arrives()?;
        self.dead_letters_are_kept()?;
        self.audit.dead_letters_are_conserved()?;
        self.audit.redrives_agree()?;
        self.every_open_task_moves()?;
        self.audit.fold_from_scratch()?;
        self.check_all_live()
    }

    /// Every dead letter in a log is kept with its payload.
    fn dead_letters_are_kept(&self) -> Check {
        for (entry, payload) in &self.audit.dead {
            hold(self.store.dead.get(entry) == Some(payload), "dead_letters_are_kept", || {
                format!("dead letter {entry} is not kept")
            })?;
        }
        Ok(())
    }

    /// Without faults every task comes to its end, or waits for an answer that only a person can give.
    /// The world rests only when that is so; this says it once more where it can be read.
    fn every_open_task_moves(&self) -> Check {
        let open = self.audit.open_task();
        hold(open.is_none(), "every_open_task_moves", || open.unwrap_or_default())
    }
}

/// A dead letter at rest waits, is redriven or is dropped, or is on its way with a task that is open.
pub fn letter_is_settled(state: &Value, waits_for_a_task: bool) -> Check {
    let settled = ["waiting", "redriven", "dropped"].iter().any(|word| state["status"] == *word);
    hold(settled || waits_for_a_task, "dead_letters_are_conserved", || format!("a dead letter: {state}"))
}

impl Audit {
    /// Every command that was acknowledged as accepted is in a log. That it is there once is
    /// `no_double`.
    fn no_loss(&self, accepted: impl Iterator<Item = CommandId>) -> Check {
        for id in accepted {
            hold(self.has_answered(id), "no_loss", || format!("{id} was accepted and is in no log"))?;
            let delivered =
                self.forwarded.contains(&id) && !self.applied.keys().any(|(_, known)| *known == id);
            hold(!delivered, "no_loss", || format!("{id} was sent on and never arrived"))?;
        }
        Ok(())
    }

    /// Every mail that a log sent is in its receiver's log.
    fn mail_arrives(&self) -> Check {
        for (from, log) in &self.partitions {
            for (to, sent) in &log.sent {
                let applied = self.log(*to).applied_mail.get(from).copied().unwrap_or_default();
                hold(applied == sent.len() as u64, "mail_arrives", || {
                    format!("partition {to} applied {applied} of {} mails of {from}", sent.len())
                })?;
            }
        }
        Ok(())
    }

    /// A task that is open and does not wait for a person, in words.
    pub fn open_task(&self) -> Option<String> {
        self.tasks.keys().find(|key| !self.may_rest(key)).map(|key| {
            let state = self.task(key).unwrap_or_default();
            format!("the task `{key}`, {} {}", state["status"], state["phase"])
        })
    }

    /// What came in waits, was redriven or was dropped: every dead letter has its entry, and at rest
    /// none is on its way but with a task that is open, and no redrive waits for one.
    fn dead_letters_are_conserved(&self) -> Check {
        let name = "dead_letters_are_conserved";
        for entry in self.dead.keys() {
            let key = Key::parse(entry).ok();
            let letter =
                key.and_then(|key| self.state_of(&EntityAddress::new(Kind::from_static("dead-letter"), key)));
            let is_recorded = letter.is_some_and(|state| !state["entry"].is_null());
            hold(is_recorded, name, || format!("dead letter {entry} has no entry"))?;
        }
        for (entity, instance) in &self.entities {
            let state = instance.state();
            match entity.kind.as_str() {
                "dead-letter" => letter_is_settled(&state, self.waits_for_a_task(&state))?,
                "redrive" => {
                    for entry in state["under_way"].as_array().into_iter().flatten() {
                        let key = entry.as_str().and_then(|text| Key::parse(text).ok());
                        let letter = key.map(|key| EntityAddress::new(Kind::from_static("dead-letter"), key));
                        let letter = letter.and_then(|letter| self.state_of(&letter)).unwrap_or_default();
                        hold(self.waits_for_a_task(&letter), name, || {
                            format!("`{entity}` waits for {entry}")
                        })?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a dead letter is on its way with a task that has not ended.
    fn waits_for_a_task(&self, letter: &Value) -> bool {
        let target = letter["target"]["key"].as_str().or(letter["entry"]["key"].as_str());
        let root = target.and_then(|key| key.split('.').next());
        let task = root.and_then(|root| Key::parse(root).ok()).and_then(|root| self.task(&root));
        let is_open = |task: Value| {
            !["completed", "failed", "canceled", "rejected"].iter().any(|word| task["status"] == *word)
        };
        letter["status"] == "redriving" && letter["entry"]["kind"] == "task" && task.is_some_and(is_open)
    }

    fn task(&self, key: &Key) -> Option<Value> {
        self.state_of(&EntityAddress::new(Kind::from_static("task"), key.clone()))
    }

    /// Whether a task is final, waits for an answer, or has a child that does.
    fn may_rest(&self, key: &Key) -> bool {
        let Some(state) = self.task(key) else { return true };
        if ["completed", "failed", "canceled", "rejected"].iter().any(|word| state["status"] == *word) {
            return true;
        }
        if state["phase"] == "answer" {
            return true;
        }
        let children = state["children"].as_object().into_iter().flatten();
        let mut open = children.filter(|(_, child)| child["end"].is_null()).peekable();
        let has_open = open.peek().is_some();
        let rest = |child: &Value| {
            child["key"]
                .as_str()
                .and_then(|text| Key::parse(text).ok())
                .is_some_and(|key| self.may_rest(&key))
        };
        state["phase"] == "children" && has_open && open.all(|(_, child)| rest(child))
    }
}
