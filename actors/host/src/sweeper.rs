//! The sweeper: a supervised worker of each host that checks tasks which have not changed for long.
//!
//! Every unfinished task has a live lease, a timer, a running child or a named wait. As long as nothing is
//! lost, this is always so; the sweeper is for what was lost.
//!
//! ```text
//! what our partitions commit ─→ open tasks, and when each changed ─→ those that are due
//!   ─→ checked: the task, its lane, its children, its worker ─→ `sweep` ─→ checked again
//! ```
//!
//! | the sweeper finds | the sweeper does |
//! | --- | --- |
//! | the task waits, and whoever it waits for knows of it | nothing; it checks the task again later |
//! | a worker has had the task for long | sends `sweep`, without a note: the task sets its lease anew, and the lease ends where nobody renews it |
//! | nobody knows of the task | sends `sweep`, with one note: the task repeats its requests |
//! | a swept task has changed, or somebody knows of it now | notes `clear` |
//! | still nobody knows of a swept task | notes `warn` once, with the task's name; sends `sweep` again now and then |
//!
//! The host that runs a task's partition checks the task, so exactly one host does. It receives the commits
//! of its partitions within the process; a partition's earlier events are read once from the event stream. A
//! check sends queries and writes nothing; `sweep` is an ordinary command, and its entity decides.

mod judge;
mod known;
mod look;
mod metric;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors_runtime::observer::CommitObserver;
use actors_runtime::supervision::{Child, Failed, Restart, Work};
use bus_client::{Ask, Bus, Folded, StoredEvent, now};
use bus_schemas::commands::healer::Action;
use bus_schemas::commands::task;
use bus_schemas::halts::Halts;
use bus_schemas::record::CommitRecord;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, Caller, EntityAddress, Key, PartitionId, Timestamp, chain};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::known::{Act, Known};
use self::look::Looker;
use crate::healer::notes::Notes;
use crate::quarantine::Quarantine;

/// The longest pause between two rounds.
const ROUND_MAX: Duration = Duration::from_secs(15);
/// The shortest pause: a round without anything due costs nothing.
const ROUND_MIN: Duration = Duration::from_millis(100);
/// Tasks checked in one round: each is loaded, which costs a few requests.
const LOOKED_AT_ONCE: usize = 100;

/// The dependencies of a host's sweeper.
#[derive(Debug, Clone)]
pub(crate) struct Sweeper {
    /// The connection.
    pub(crate) bus: Bus,
    /// The open tasks of this host's partitions.
    pub(crate) tasks: Arc<Tasks>,
    /// The halts in force: a wait for one has a name.
    pub(crate) halts: Folded<Halts>,
    /// The quarantined entities, which cannot be swept: a wait for one has a name as well.
    pub(crate) quarantine: Quarantine,
    /// How long a task may stand still before it is checked.
    pub(crate) after: Duration,
}

/// The open tasks of a host's partitions, from their commits.
#[derive(Debug)]
pub(crate) struct Tasks {
    notes: Notes,
    known: Mutex<Known>,
    /// Partitions whose earlier events were not read yet.
    unread: Mutex<BTreeSet<PartitionId>>,
}

impl Tasks {
    /// An empty list. `host` is the key under which acts are recorded, `after` as in [`Sweeper`].
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

    /// Checks the tasks that are due, round after round, without end.
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

    /// Reads the open tasks of partitions that this host took over.
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

    /// Checks the tasks that are due.
    async fn round(&self) {
        let (tasks, notes) = (&self.tasks, &self.tasks.notes);
        let due = tasks.known(|known| {
            metrics::gauge!(metric::OPEN).set(known.len() as f64);
            metrics::gauge!(metric::STUCK).set(known.stuck() as f64);
            known.due(now(), LOOKED_AT_ONCE)
        });
        let looker = Looker::new(&self.bus);
        for task in due {
            let verdict = match looker.verdict(&task, &self.halts, &self.quarantine, now()).await {
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

    /// Sends `sweep`. Returns whether the command is in the inbox.
    async fn sweep(&self, task: &Key) -> bool {
        let to = EntityAddress::new(task::Command::KIND, task.clone());
        let ask = Ask::new(to, Body::json(&task::Command::Sweep)).caller(Caller::SYSTEM.as_str());
        match self.bus.hand_over(&ask).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%task, error = chain(&error), "sweeping a task; trying again");
                false
            }
        }
    }
}

/// Reports an act: in the log, in the metrics, and in the healer's notes.
fn say(notes: &Notes, task: &Key, act: Option<Act>) {
    let subject = format!("task/{task}");
    match act {
        None | Some(Act::SweepAgain) => {}
        Some(Act::Sweep { reason, since }) => {
            metrics::counter!(metric::SWEPT).increment(1);
            let reason = format!("nobody knows of the task: {reason}; it repeats its requests");
            notes.act(Action::Sweep, &subject, reason, [("since", since.to_rfc3339())]);
        }
        Some(Act::Mended) => {
            metrics::counter!(metric::MENDED).increment(1);
            notes.act(Action::Clear, &subject, "the task goes on after it was swept".to_owned(), []);
        }
        Some(Act::Report { reason, since }) => {
            metrics::counter!(metric::REPORTED).increment(1);
            tracing::error!(%task, reason, "nobody knows of a task, and sweeping it did not help");
            let reason = format!("sweeping it did not help: {reason}; cancel it, or retry what it waits for");
            notes.act(Action::Warn, &subject, reason, [("since", since.to_rfc3339())]);
        }
    }
}
