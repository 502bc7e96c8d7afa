//! What operators do, and what a gateway does for them: halts and their ends, dead letters and
//! redrives.

use bus_schemas::commands::{breaker, dead_letter, halt, probe, redrive, task};
use bus_schemas::payload::Payload;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key};
use smol_str::format_smolstr;

use super::World;
use super::calls::DEPENDENCIES;
use super::clients::{LANES, key};
use crate::coverage::Reached;

/// Entries that a gateway adds with one command.
const PAGE: usize = 20;

impl World {
    /// Somebody halts something, or resumes what stands still.
    pub(super) fn halt_or_resume(&mut self) {
        let active = self.audit.active_halts();
        if !active.is_empty() && self.random.chance(600) {
            let index = self.random.below(active.len() as u64) as usize;
            return self.resume(active[index].clone());
        }
        let scope = match self.random.below(8) {
            0..2 => "all".to_owned(),
            2..4 => format!("lane.{}", LANES[self.random.below(2) as usize]),
            4..6 => format!("agent.{}", if self.random.chance(500) { "alpha" } else { "omega" }),
            _ => match self.some_task() {
                Some(task) => format!("task.{task}"),
                None => return,
            },
        };
        let reason = "a drill".to_owned();
        let grace_ms = self.random.below(4_000);
        self.coverage.note(Reached::Halted);
        self.tell(key(&scope), &halt::Command::Halt { reason, grace_ms });
    }

    fn resume(&mut self, scope: Key) {
        let per_minute = self.random.chance(300).then(|| self.random.between(20, 100) as u32);
        let reason = "the drill is over".to_owned();
        self.tell(scope, &halt::Command::Resume { reason, per_minute, revision: None });
    }

    /// Somebody does something about what could not be done.
    pub(super) fn work_on_a_letter(&mut self) {
        let known: Vec<Key> = self.audit.letters().cloned().collect();
        let Some(letter) = self.random.pick(&known).cloned() else { return };
        let reason = String::new();
        match self.random.below(6) {
            0..3 => self.tell(letter, &dead_letter::Command::Redrive { reason, in_redrive: None }),
            3 => match self.audit.failed_task(&letter) {
                // Submitted anew when it is redriven; a step is refused.
                Some(submission) => {
                    let goal = format!("{} again", submission.goal);
                    let edited = task::Command::Submit(task::Submit { goal, ..submission });
                    let payload = Payload::of(&Body::json(&edited)).expect("it is small");
                    self.tell(letter, &dead_letter::Command::Edit { payload, to: None, reason });
                }
                None => self.edit_to_touch(letter),
            },
            4 => self.tell(letter, &dead_letter::Command::Drop { reason }),
            _ => self.work_on_a_redrive(),
        }
    }

    /// Something else is sent to somebody else.
    fn edit_to_touch(&mut self, letter: Key) {
        let reason = String::new();
        let touch = Body::json(&probe::Command::Touch { note: "mended".to_owned() });
        let payload = Payload::of(&touch).expect("it is small");
        let to = Some(EntityAddress::new(probe::Command::KIND, self.probe_key()));
        self.tell(letter, &dead_letter::Command::Edit { payload, to, reason });
    }

    /// Somebody starts a redrive, pauses, resumes or cancels one, or a gateway adds entries to it.
    pub(super) fn work_on_a_redrive(&mut self) {
        let known = self.audit.open_redrives();
        let fresh = key(&format_smolstr!("c{}", self.random.below(4)));
        let name = self.random.pick(&known).cloned().unwrap_or_else(|| fresh.clone());
        let reason = String::new();
        match self.random.below(10) {
            0..4 => {
                let rate = self.random.between(1, 50) as u32;
                let filter = redrive::Filter::default();
                self.tell(fresh, &redrive::Command::Start { filter, rate, reason });
            }
            4..6 => self.gather(),
            6 | 7 => self.tell(name, &redrive::Command::Pause { reason }),
            8 => {
                let rate = self.random.chance(500).then(|| self.random.between(1, 50) as u32);
                self.tell(name, &redrive::Command::Resume { rate });
            }
            _ => self.tell(name, &redrive::Command::Cancel { reason }),
        }
    }

    /// A gateway finds what the redrives mean that are not complete.
    pub(super) fn gather(&mut self) {
        for (name, filter, added) in self.audit.gathering_redrives() {
            let mut waiting = self.audit.waiting_letters(filter.dependency.as_ref());
            waiting.retain(|letter| !added.contains(letter));
            let last = waiting.len() <= PAGE;
            let entries = waiting.into_iter().take(PAGE).collect();
            // The last page says so in the calm at the latest.
            let last = last && (self.calm || self.random.chance(700));
            self.tell(name, &redrive::Command::AddEntries { entries, last });
        }
    }

    /// Nothing stands still any more, and no redrive waits for somebody.
    pub(super) fn calm_operators(&mut self) {
        for scope in self.audit.active_halts() {
            self.resume(scope);
        }
        for dependency in DEPENDENCIES.map(key) {
            if self.audit.is_tripped(&dependency) {
                let reason = "the drill is over".to_owned();
                self.tell(dependency, &breaker::Command::Reset { reason });
            }
        }
        for name in self.audit.paused_redrives() {
            self.tell(name, &redrive::Command::Resume { rate: None });
        }
        self.gather();
        self.calm_budgets();
    }
}
