//! The sweeper: a supervised worker of each host that looks after tasks which have not changed for long.
//!
//! Every unfinished task has a live lease, a timer, a running child or a named wait. Where nothing was
//! ever lost this cannot be otherwise; the sweeper is for what was.
//!
//! ```text
//! events of tasks ─→ open tasks, and when each changed ─→ those that are due, of our partitions
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
//! The host that runs a task's partition looks after it, so one does. It looks at entities as their events
//! have them, and writes nothing for a look; `sweep` is a command like any other, and decides by itself.

mod judge;
mod known;
mod look;
mod metric;

use std::sync::Arc;
use std::time::Duration;

use actors_runtime::lease::chain;
use actors_runtime::partition::now;
use actors_runtime::quarantine::Quarantine;
use actors_runtime::supervision::{Child, Failed, Restart, Work};
use bus_client::{Ask, Bus, EventQuery, HaltWatch, StoredEvent};
use bus_schemas::commands::healer::Action;
use bus_schemas::commands::task;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Timestamp};
use futures::StreamExt;
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
    /// This host's name in leases: the key under which acts are noted.
    pub(crate) host: Key,
    /// What stands still: that is a wait with a name.
    pub(crate) halts: HaltWatch,
    /// Who takes no commands, and so can not be swept: a wait with a name as well.
    pub(crate) quarantine: Quarantine,
    /// For how long a task may stand still before it is looked at.
    pub(crate) after: Duration,
}

impl Sweeper {
    /// The sweeper as a supervised worker.
    pub(crate) fn child(self) -> Child {
        metric::describe();
        let notes = Notes::new(&self.host);
        let work: Work = Arc::new(move |stop| {
            let (sweeper, notes) = (self.clone(), notes.clone());
            Box::pin(async move { sweeper.run(&notes, stop).await })
        });
        Child { name: "sweeper".into(), restart: Restart::Always, work }
    }

    async fn run(&self, notes: &Notes, stop: CancellationToken) -> Result<(), Failed> {
        tokio::select! {
            () = stop.cancelled() => {}
            ended = self.follow(notes) => return ended,
            () = notes.send_all(&self.bus) => {}
        }
        notes.send_rest(&self.bus).await;
        Ok(())
    }

    /// Follows tasks, and looks at those that are due, without end.
    async fn follow(&self, notes: &Notes) -> Result<(), Failed> {
        let failed = |error: bus_client::Error| {
            let Failed { reason, outside } = Failed::by(&error);
            Failed { reason: format!("following tasks: {reason}"), outside }
        };
        let bus = &self.bus;
        // Before what there is is read: what happens meanwhile comes twice, and counts once.
        let from = bus.events_state().await.map_err(failed)?.last_sequence + 1;
        let mut known = Known::new(self.after);
        let tasks = bus.subjects().events(Some(&task::Command::KIND));
        bus.each_latest_event(&tasks, |stored| drop(take_task(&mut known, &stored))).await.map_err(failed)?;
        let subjects = vec![tasks];
        let mut events = bus.events(EventQuery { subjects, from }).await.map_err(failed)?;
        let mut rounds = interval((self.after / 4).clamp(ROUND_MIN, ROUND_MAX));
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => self.round(&mut known, notes).await,
                stored = events.next() => match stored.ok_or_else(|| "following tasks: the stream ended".to_owned())? {
                    Ok(stored) => {
                        let act = take_task(&mut known, &stored);
                        say(notes, &stored.entity.key, act);
                    }
                    // One that can not be read stops its entity, which is named elsewhere.
                    Err(error @ bus_client::Error::Event { .. }) => {
                        tracing::debug!(error = chain(&error), "an event can not be read");
                    }
                    Err(error) => return Err(failed(error)),
                },
            }
        }
    }

    /// Looks at what is due.
    async fn round(&self, known: &mut Known, notes: &Notes) {
        metrics::gauge!(metric::OPEN).set(known.len() as f64);
        metrics::gauge!(metric::STUCK).set(known.stuck() as f64);
        let due = known.due(now(), LOOKED_AT_ONCE);
        if due.is_empty() {
            return;
        }
        // A bus that does not answer is somebody else's complaint.
        let Ok(leases) = self.bus.leases().await else { return };
        let looker = Looker::new(&self.bus);
        for task in due {
            let address = EntityAddress::new(task::Command::KIND, task.clone());
            let partition = address.partition(self.bus.topology().partitions);
            if leases.holders.get(&partition).is_none_or(|holder| holder != self.host.as_str()) {
                known.leave(&task, now());
                continue;
            }
            let verdict = match looker.verdict(&task, (&self.halts, &self.quarantine), now()).await {
                Ok(verdict) => verdict,
                Err(error) => {
                    tracing::debug!(%task, error = chain(&error), "looking at a task; again later");
                    return;
                }
            };
            let act = known.looked(&task, verdict, now());
            if act.as_ref().is_some_and(Act::sweeps) && !self.sweep(&task).await {
                known.not_swept(&task);
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

/// Takes in an event of a task. Its type and its time say enough.
fn take_task(known: &mut Known, stored: &StoredEvent) -> Option<Act> {
    let at = Timestamp::parse_rfc3339(&stored.time).unwrap_or_else(now);
    known.event(&stored.entity.key, &stored.event.event_type, at)
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
