//! The budgets of task trees, modelled after the worker's side: what a call may use is reserved at the
//! root of the tree before it is made, and settled after it; and people extend what is used up.

use bus_schemas::commands::task::{self, Reservation, Usage};
use bus_schemas::jobs::Job;
use bus_schemas::settings::{Budget, Duration};
use bus_schemas::{Body, EntityAddress, Key, Reply};
use serde_json::json;
use smol_str::{SmolStr, format_smolstr};

use super::clients::address;
use super::workers::{Called, Next};
use super::{Happening, WorkerId, World};

/// The most tokens of one call.
const TOKENS_MAX: u64 = 10;

impl World {
    /// What a tree may use: some bounds of some trees.
    pub(super) fn budget(&mut self) -> Option<Budget> {
        if !self.random.chance(300) {
            return None;
        }
        let mut bound = |per_mille, low, high| {
            let bound = self.random.between(low, high);
            self.random.chance(per_mille).then_some(bound)
        };
        Some(Budget {
            tokens: bound(700, TOKENS_MAX, 6 * TOKENS_MAX),
            money_micros: None,
            tool_calls: bound(300, 1, 6),
            jobs: bound(300, 1, 6),
            wall_clock: bound(350, 5, 60).map(Duration::from_secs),
        })
    }

    /// A worker asks for what the call of its job may use.
    pub(super) fn reserve(&mut self, id: WorkerId, index: usize, life: u32, job: &Job) {
        let command = task::Command::Reserve {
            reservation: reservation(job),
            task: job.task.key.clone(),
            amount: Usage { tokens: TOKENS_MAX, tool_calls: 1, ..Usage::default() },
            lease_ms: self.random.between(1_000, 20_000),
        };
        let next = Next::Reserved { worker: id, job: index, life };
        self.ask(root(job), Body::json(&command), next);
    }

    /// The root of the tree says whether the call may be made.
    pub(super) fn may_use(&mut self, id: WorkerId, job: usize, life: u32, reply: Option<&Reply>) {
        let granted = match reply {
            Some(Reply::Accepted { result, .. }) => {
                serde_json::from_value::<Reservation>(result.clone()).is_ok_and(|answer| answer.granted)
            }
            _ => false,
        };
        if let Some(work) = self.workers[id].work(job, life) {
            work.reserved = granted;
        }
        if granted {
            self.pass_breaker(id, job, life);
        } else {
            self.called(id, job, life, Called::Barred);
        }
    }

    /// What a call has used: now and then more than it said, and long after what was reserved for it has
    /// lapsed.
    pub(super) fn settle(&mut self, job: &Job, called: Called) {
        let tokens = if called == Called::Barred { 0 } else { self.random.below(TOKENS_MAX + 3) };
        let is_late = called != Called::Barred && self.random.chance(50);
        let (tokens, delay) =
            if is_late { (tokens + 5, self.random.between(5_000, 30_000)) } else { (tokens, 0) };
        let used = Usage { tokens, tool_calls: u64::from(called != Called::Barred), ..Usage::default() };
        let command = task::Command::Settle { reservation: reservation(job), used };
        match delay {
            0 => self.ask(root(job), Body::json(&command), Next::Nothing),
            delay => self.soon(delay, Happening::CallSettled(root(job), Body::json(&command))),
        }
    }

    /// Somebody answers for a tree that has used up its budget.
    pub(super) fn extend_a_budget(&mut self) {
        let exceeded = self.audit.exceeded_trees();
        let Some(tree) = self.random.pick(&exceeded).cloned() else { return };
        match self.random.below(6) {
            choice @ 0..=1 => {
                let answer = if choice == 0 { json!("no") } else { json!(20) };
                let question = self.audit.question_of(&tree);
                self.tell(tree, &task::Command::Answer { question, answer });
            }
            _ => self.extend_tree(tree, 3),
        }
    }

    /// Every tree may use as much as it needs.
    pub(super) fn calm_budgets(&mut self) {
        for tree in self.audit.exceeded_trees() {
            self.extend_tree(tree, 10_000);
        }
    }

    fn extend_tree(&mut self, tree: Key, calls: u64) {
        let extend = Budget {
            tokens: Some(calls * TOKENS_MAX),
            money_micros: None,
            tool_calls: Some(calls),
            jobs: Some(calls),
            wall_clock: Some(Duration::from_secs(100 * calls)),
        };
        let reason = String::new();
        self.tell(tree, &task::Command::ExtendBudget { extend, reason });
    }
}

/// One for each attempt: each makes one call.
fn reservation(job: &Job) -> SmolStr {
    format_smolstr!("{}/call", job.id)
}

/// Who keeps the budget of a job's tree.
fn root(job: &Job) -> EntityAddress {
    let root = Key::parse(job.task.key.root()).expect("the first part of a key is a key");
    address(&task::Command::Sweep, root)
}
