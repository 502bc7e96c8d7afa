//! What an open task waits for, as the logs have it, after every record: nothing runs for ever, because
//! nothing waits for what nobody will bring.

use std::collections::BTreeMap;

use bus_schemas::commands::queue;
use bus_schemas::events::task;
use bus_schemas::record::Mail;
use bus_schemas::views::task::TaskState;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Kind, PartitionId};
use smol_str::SmolStr;

use super::lanes::QueueAudit;
use super::{Audit, Check, hold};

/// How the body of the one command begins that brings an attempt into its queue.
const ENQUEUE: &[u8] = br#"{"type":"enqueue""#;

/// The mail that is in a log and not applied yet.
#[derive(Debug, Default)]
pub struct Mails {
    /// How many are on their way to an entity.
    to: BTreeMap<EntityAddress, u32>,
    /// How many bring an attempt into a queue.
    enqueued: BTreeMap<(Key, u32), u32>,
}

/// What a task waits for, counted from its events.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Waits {
    /// Nothing: it is not there, or has ended.
    #[default]
    Nothing,
    /// An agent, from its lane.
    Lane {
        /// Which attempt.
        attempt: u32,
    },
    /// A worker, under a lease.
    Worker,
    /// The end of a pause.
    Pause,
    /// A person.
    Person,
    /// Its children.
    Children,
}

/// One task, as far as it can be stuck.
#[derive(Debug, Default)]
pub struct Progress {
    waits: Waits,
    lane: Option<Key>,
    /// Whether it is on its way to its end: then its time is not bounded any more.
    stopping: bool,
    /// The child of each started step, and whether it is open.
    children: BTreeMap<SmolStr, (Key, bool)>,
}

impl Mails {
    /// A log sent it.
    pub(super) fn sent(&mut self, mail: &Mail) {
        *self.to.entry(mail.to.clone()).or_default() += 1;
        if let Some(attempt) = enqueues(&mail.to, &mail.command.body) {
            *self.enqueued.entry(attempt).or_default() += 1;
        }
    }
    /// Its receiver's log has it.
    pub(super) fn applied(&mut self, to: &EntityAddress, body: &Body) {
        take(&mut self.to, to);
        if let Some(attempt) = enqueues(to, body) {
            take(&mut self.enqueued, &attempt);
        }
    }
    /// Whether any is on its way to an entity.
    pub(super) fn goes_to(&self, entity: &EntityAddress) -> bool {
        self.to.contains_key(entity)
    }
}

/// The attempt that a command brings into a queue, if it does.
fn enqueues(to: &EntityAddress, body: &Body) -> Option<(Key, u32)> {
    if to.kind != queue::Command::KIND || !body.bytes.starts_with(ENQUEUE) {
        return None;
    }
    match body.read::<queue::Command>() {
        Ok(queue::Command::Enqueue(entry)) => Some((entry.task, entry.attempt)),
        _ => None,
    }
}

fn take<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    let left = counts.get(key).copied().unwrap_or(0).saturating_sub(1);
    match left {
        0 => drop(counts.remove(key)),
        _ => *counts.get_mut(key).expect("it was counted") = left,
    }
}

impl Progress {
    /// Takes an event of the task in.
    pub fn event(&mut self, event: &task::Event) {
        let has_plan = !self.children.is_empty();
        match event {
            task::Event::Retried { .. } => self.stopping = false,
            task::Event::CancelRequested { .. } => self.stopping = true,
            task::Event::AttemptFailed { .. } if has_plan => self.stopping = true,
            task::Event::ChildSettled { state, .. } if *state != TaskState::Completed => self.stopping = true,
            _ => {}
        }
        match event {
            task::Event::Submitted { submission, .. } => self.lane = Some(submission.lane.clone()),
            task::Event::Queued { attempt, .. } => self.waits = Waits::Lane { attempt: *attempt },
            task::Event::JobIssued { .. } => self.waits = Waits::Worker,
            task::Event::BackoffStarted { .. } => self.waits = Waits::Pause,
            task::Event::InputRequired { .. } => self.waits = Waits::Person,
            task::Event::Planned { .. } => self.waits = Waits::Children,
            task::Event::Retried { .. } if !self.children.is_empty() => self.waits = Waits::Children,
            task::Event::ChildStarted { step, child } => {
                self.children.insert(step.clone(), (child.clone(), true));
            }
            task::Event::ChildSettled { step, .. } => {
                if let Some((_, open)) = self.children.get_mut(step) {
                    *open = false;
                }
            }
            task::Event::Rejected { .. }
            | task::Event::Completed { .. }
            | task::Event::Failed { .. }
            | task::Event::Canceled { .. } => self.waits = Waits::Nothing,
            _ => {}
        }
    }
    /// The lane that it was submitted to.
    pub(super) fn lane(&self) -> Option<&Key> {
        self.lane.as_ref()
    }
    fn is_open(&self) -> bool {
        self.waits != Waits::Nothing
    }
}

impl Audit {
    /// Each open task waits for something that comes: a place in its queue, a worker under a
    /// lease, the end of a pause, a person, a child that is open; or a command is on its way to it.
    pub(super) fn every_open_task_waits(&self) -> Check {
        self.open.iter().try_for_each(|task| self.task_waits(task))
    }

    /// Notes whether a task is open after its events.
    pub(super) fn note_open(&mut self, task: &Key) {
        let open = self.tasks.get(task).is_some_and(|known| known.progress.is_open());
        if open {
            self.open.insert(task.clone());
        } else {
            self.open.remove(task);
        }
    }

    fn task_waits(&self, task: &Key) -> Check {
        let Some(progress) = self.tasks.get(task).map(|known| &known.progress) else { return Ok(()) };
        let address = EntityAddress::new(Kind::from_static("task"), task.clone());
        let has_timer =
            |name| self.log(address.partition(self.count)).timers.contains_key(&(address.clone(), name));
        let comes = match &progress.waits {
            Waits::Nothing | Waits::Person => true,
            Waits::Lane { attempt } => {
                self.mails.enqueued.contains_key(&(task.clone(), *attempt))
                    || self.queue_of(task).is_some_and(|queue| queue.holds_place(task, *attempt))
            }
            Waits::Worker => {
                let leases = &self.log(address.partition(self.count)).shadow.state.leases;
                leases.get(&address, &SmolStr::new_static("attempt")).is_some()
            }
            Waits::Pause => has_timer(SmolStr::new_static("backoff")),
            Waits::Children => {
                progress.children.values().any(|(child, open)| *open && self.child_moves(child))
            }
        };
        hold(comes || self.mails.goes_to(&address), "every_open_task_moves", || {
            format!("the task `{task}` waits for {:?}, and nothing brings it", progress.waits)
        })?;
        // What a person does not answer for ever ends with its time, where that is bounded.
        let is_timed =
            !progress.stopping && self.tasks.get(task).is_some_and(|known| known.budget.is_timed());
        hold(!is_timed || has_timer(SmolStr::new_static("wall-clock")), "every_open_task_moves", || {
            format!("the time of `{task}` is bounded, and nothing ends it")
        })
    }

    /// The queue in which a task waits, and what it has.
    pub(super) fn queue_key(&self, task: &Key) -> Option<Key> {
        let lane = self.tasks.get(task)?.progress.lane()?;
        let partition = PartitionId::of(task.root(), self.count);
        Some(queue::key(lane, partition, self.count))
    }
    fn queue_of(&self, task: &Key) -> Option<&QueueAudit> {
        self.queues.get(&self.queue_key(task)?)
    }

    /// Whether a child is open, or is told to be.
    fn child_moves(&self, child: &Key) -> bool {
        let address = EntityAddress::new(Kind::from_static("task"), child.clone());
        self.open.contains(child) || self.mails.goes_to(&address)
    }
}
