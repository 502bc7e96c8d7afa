//! Says what the tasks of a tree wait for when nothing happens: after a while, and again when it changes.
//! Where no host serves the tree's partition, that is what all its tasks wait for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bus_schemas::events::task::Event;
use bus_schemas::{EntityAddress, Key};
use gateway_api::operations::{Partitions, Ready};
use gateway_api::routes;

use super::watch::TASK;
use crate::called;
use crate::client::{Client, fetch};
use crate::progress::Progress;

/// How long a task may stand still before the reason is shown: less than a moving queue takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The longest pause between two queries of a task that stands still: a tree may have hundreds of them.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a partition may have no owner before that is shown: another host takes it over within this time.
const TAKEOVER: Duration = Duration::from_secs(6);
/// Timeout of a query: the tree's next event is shown only after it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// Tasks that are queried in one round; the others follow in the next.
const LOOKED_AT_ONCE: usize = 8;

/// The tasks of a tree that wait for an agent.
#[derive(Debug)]
pub(super) struct Waiting {
    root: Key,
    tasks: BTreeMap<Key, Still>,
    /// The time of the tree's last event.
    heard: Instant,
    /// Since when no host serves the tree's partition, and whether that was shown.
    unserved: Option<(Instant, bool)>,
}

/// A task that waits.
#[derive(Debug)]
struct Still {
    next: Instant,
    pause: Duration,
    told: Option<String>,
}

impl Waiting {
    /// The waiting tasks of the tree below `root`: none, until events say so.
    pub(super) fn of(root: Key) -> Self {
        Self { root, tasks: BTreeMap::new(), heard: Instant::now(), unserved: None }
    }

    /// Applies an event of the tree.
    pub(super) fn event(&mut self, key: &Key, event: &Event) {
        self.heard = Instant::now();
        if matches!(event, Event::Queued { .. }) {
            let still = Still { next: Instant::now() + PATIENCE, pause: PATIENCE, told: None };
            self.tasks.insert(key.clone(), still);
        } else {
            self.tasks.remove(key);
        }
    }

    /// Shows what tasks that stand still wait for, unless the same was shown before.
    pub(super) async fn tell(&mut self, client: &Client, progress: &mut Progress) {
        let now = Instant::now();
        if now.duration_since(self.heard) >= PATIENCE && self.is_unserved(client, progress).await {
            return;
        }
        let due = self.tasks.iter_mut().filter(|(_, still)| still.next <= now);
        for (key, still) in due.take(LOOKED_AT_ONCE) {
            still.pause = (still.pause * 2).min(PAUSE_MAX);
            still.next = now + still.pause;
            // A task that does not answer now is queried again.
            let path = [key.as_str()];
            let asked = client.get(routes::ExplainTask, &path);
            let Ok(Ok(waits)) = tokio::time::timeout(ANSWER_PATIENCE, asked).await else { continue };
            let text = waits.sentence();
            if still.told.as_ref() != Some(&text) {
                progress.waits(key, &text);
                still.told = Some(text);
            }
        }
    }

    /// Whether no host serves the tree's partition. Shows that once it has lasted longer than a takeover, and
    /// once more when a host serves it again.
    async fn is_unserved(&mut self, client: &Client, progress: &mut Progress) -> bool {
        let url = format!("{}/ready", client.address());
        let ready = fetch::<Ready>(&url);
        let Partitions { total, unowned, hosts, .. } =
            match tokio::time::timeout(ANSWER_PATIENCE, ready).await {
                Ok(Ok((_, ready))) if ready.partitions.error.is_none() => ready.partitions,
                // A gateway that does not answer is the stream's to wait for.
                Ok(_) | Err(_) => return false,
            };
        let partition = EntityAddress::new(TASK, self.root.clone()).partition(total);
        if !unowned.contains(&partition.0) {
            if let Some((_, true)) = self.unserved.take() {
                progress.waits(&self.root, "a host is there again, and goes on with it");
            }
            return false;
        }
        let (since, told) = self.unserved.get_or_insert((Instant::now(), false));
        if !*told && since.elapsed() >= TAKEOVER {
            let text = match hosts.is_empty() {
                true => "no host runs: the task goes on when one is started, as by `orrery up`".to_owned(),
                false => format!("no host serves partition {partition}: the task goes on when one does"),
            };
            progress.waits(&self.root, &called::advice(&text));
            *told = true;
        }
        true
    }
}
