//! The sweeper: a supervised worker of each host that looks after tasks which have not changed for long.
//!
//! Every unfinished task has a live lease, a timer, a running child or a named wait. Where nothing was
//! ever lost this cannot be otherwise; the sweeper is for what was.
//!
//! ```text
//! what our partitions commit ─→ open tasks, and when each changed ─→ those that are due
//!   ─→ looked at: the task, its lane, its children, its worker ─→ `sweep` ─→ looked at again
//! ```
//!
//! | what is found | what is done |
//! | --- | --- |
//! | it waits for somebody who knows of it | nothing; it is looked at again later |
//! | a worker has had it for long | `sweep`, unnoted: its lease is set anew, and ends where nobody renews it |
//! | nobody knows of it | `sweep`: it says again what it waits for; noted, once |
//! | it has changed, or somebody knows of it now | `clear` is noted |
//! | nobody knows of it still | `warn` is noted once, with its name; it is swept again now and then |
//!
//! The host that runs a task's partition looks after it, so one does. It hears of its own partitions' commits
//! within the process; what a partition did elsewhere before is read once from the event stream. A look asks
//! entities and writes nothing; `sweep` is a command like any other, and decides by itself.

mod judge;
mod known;
mod look;
mod metric;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors_runtime::lease::chain;
use actors_runtime::observer::CommitObserver;
use actors_runtime::partition::now;
use actors_runtime::quarantine::Quarantine;
use actors_runtime::supervision::{Child, Failed, Restart, Work};
use bus_client::{Ask, Bus, HaltWatch, StoredEvent};
use bus_schemas::commands::healer::Action;
use bus_schemas::commands::task;
use bus_schemas::record::CommitRecord;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, PartitionId, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::known::{Act, Known};
use self::look::Looker;
use crate::healer::notes::Notes;

/// The longest time between two rounds.
const ROUND_MAX: Duration = Duration::from_secs(15);
/// The shortest: a round without anything due costs nothing.
const ROUND_MIN: Duration = Duration::from_millis(100);
/// Tasks that are looked at in one round: each is loaded, which costs a few requests.
const LOOKED_AT_ONCE: usize = 100;

/// What the sweeper of a host needs.
#[derive(Debug, Clone)]
pub(crate) struct Sweeper {
    /// The connection.
    pub(crate) bus: Bus,
    /// The open tasks of this host's partitions.
    pub(crate) tasks: Arc<Tasks>,
    /// What stands still: that is a wait with a name.
    pub(crate) halts: HaltWatch,
    /// Who takes no commands, and so can not be swept: a wait with a name as well.
    pub(crate) quarantine: Quarantine,
    /// For how long a task may stand still before it is looked at.
    pub(crate) after: Duration,
}

/// The open tasks of a host's partitions, as their commits tell.
#[derive(Debug)]
pub(crate) struct Tasks {
    notes: Notes,
    known: Mutex<Known>,
    /// Partitions whose earlier events were not read yet.
    unread: Mutex<BTreeSet<PartitionId>>,
}

impl Tasks {
    /// Knows of none. `host` is the key under which acts are noted, `after` as in [`Sweeper`].
    pub(crate) fn new(host: &Key, after: Duration, partitions: u16) -> Arc<Self> {
        let (known, unread) = (Mutex::new(Known::new(after, partitions)), Mutex::default());
        Arc::new(Self { notes: Notes::new(host), known, unread })
    }
    fn known<R>(&self, with: impl FnOnce(&mut Known) -> R) -> R {
        with(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
    fn unread<R>(&self, with: impl FnOnce(&mut BTreeSet<PartitionId>) -> R) -> R {
        with(&mut self.unread.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CommitObserver for Tasks {
    fn began(&self, partition: PartitionId) {
        self.unread(|unread| unread.insert(partition));
    }
    fn committed(&self, record: &CommitRecord) {
        let mut turns = record.turns.iter().filter(|turn| turn.entity.kind == task::Command::KIND).peekable();
        if turns.peek().is_none() {
            return;
        }
        self.known(|known| {
            for turn in turns {
                for event in &turn.events {
                    let act = known.event(&turn.entity.key, &event.event_type, turn.at);
                    say(&self.notes, &turn.entity.key, act);
                }
            }
        });
    }
    fn ended(&self, partition: PartitionId) {
        self.unread(|unread| unread.remove(&partition));
        self.known(|known| known.leave(partition));
    }
}

impl Sweeper {
    /// The sweeper as a supervised worker.
    pub(crate) fn child(self) -> Child {
        metric::describe();
        let work: Work = Arc::new(move |stop| {
            let sweeper = self.clone();
            Box::pin(async move {
                sweeper.run(stop).await;
                Ok::<(), Failed>(())
            })
        });
        Child { name: "sweeper".into(), restart: Restart::Always, work }
    }

    async fn run(&self, stop: CancellationToken) {
        let notes = &self.tasks.notes;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.rounds() => {}
            () = notes.send_all(&self.bus) => {}
        }
        notes.send_rest(&self.bus).await;
    }

    /// Looks at the tasks that are due, without end.
    async fn rounds(&self) {
        let mut rounds = interval((self.after / 4).clamp(ROUND_MIN, ROUND_MAX));
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            if let Err(error) = self.read().await {
                tracing::debug!(error = chain(&error), "reading open tasks; again later");
            }
            self.round().await;
        }
    }

    /// Reads the open tasks of partitions that came to this host.
    async fn read(&self) -> Result<(), bus_client::Error> {
        let unread = self.tasks.unread(|unread| unread.clone());
        if unread.is_empty() {
            return Ok(());
        }
        let partitions = self.bus.topology().partitions;
        let take = |stored: StoredEvent| {
            if unread.contains(&stored.entity.partition(partitions)) {
                let at = Timestamp::parse_rfc3339(&stored.time).unwrap_or_else(now);
                self.tasks.known(|known| known.read(&stored.entity.key, &stored.event.event_type, at));
            }
        };
        self.bus.each_latest_event(&self.bus.subjects().events(Some(&task::Command::KIND)), take).await?;
        self.tasks.unread(|left| left.retain(|partition| !unread.contains(partition)));
        Ok(())
    }

    /// Looks at what is due.
    async fn round(&self) {
        let (tasks, notes) = (&self.tasks, &self.tasks.notes);
        let due = tasks.known(|known| {
            metrics::gauge!(metric::OPEN).set(known.len() as f64);
            metrics::gauge!(metric::STUCK).set(known.stuck() as f64);
            known.due(now(), LOOKED_AT_ONCE)
        });
        let looker = Looker::new(&self.bus);
        for task in due {
            let verdict = match looker.verdict(&task, (&self.halts, &self.quarantine), now()).await {
                Ok(verdict) => verdict,
                Err(error) => {
                    tracing::debug!(%task, error = chain(&error), "looking at a task; again later");
                    return;
                }
            };
            let act = tasks.known(|known| known.looked(&task, verdict, now()));
            if act.as_ref().is_some_and(Act::sweeps) && !self.sweep(&task).await {
                tasks.known(|known| known.not_swept(&task));
                return;
            }
            say(notes, &task, act);
        }
    }

    /// Whether the command is in the inbox.
    async fn sweep(&self, task: &Key) -> bool {
        let to = EntityAddress::new(task::Command::KIND, task.clone());
        let ask = Ask::new(to, Body::json(&task::Command::Sweep)).caller("sweeper");
        match self.bus.hand_over(&ask).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%task, error = chain(&error), "sweeping a task; trying again");
                false
            }
        }
    }
}

/// Says what was done, in the log, in the metrics, and in the healer's notes.
fn say(notes: &Notes, task: &Key, act: Option<Act>) {
    let subject = format!("task/{task}");
    match act {
        None | Some(Act::SweepAgain) => {}
        Some(Act::Sweep { reason, since }) => {
            metrics::counter!(metric::SWEPT).increment(1);
            let reason = format!("it waits for nobody: {reason}; it is told to say again what it waits for");
            notes.act(Action::Sweep, &subject, reason, [("since", since.to_rfc3339())]);
        }
        Some(Act::Mended) => {
            metrics::counter!(metric::MENDED).increment(1);
            notes.act(Action::Clear, &subject, "it goes on after it was swept".to_owned(), []);
        }
        Some(Act::Report { reason, since }) => {
            metrics::counter!(metric::REPORTED).increment(1);
            tracing::error!(%task, reason, "a task waits for nobody, and sweeping it did not help");
            let reason = format!("sweeping it did not help: {reason}; cancel it, or retry what it waits for");
            notes.act(Action::Warn, &subject, reason, [("since", since.to_rfc3339())]);
        }
    }
}
