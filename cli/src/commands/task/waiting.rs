//! What the tasks of a tree wait for when nothing happens: told after a while, and again when it changes. Where
//! nobody serves their partition, that is what they wait for, whatever they do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bus_client::Bus;
use bus_schemas::events::task::Event;
use bus_schemas::{EntityAddress, Key};

use super::why;
use crate::called;
use crate::progress::Progress;

/// How long a task may stand still before somebody who watches is told why: a queue that moves takes less.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The longest time between two looks at a task that stands still: hundreds of a tree may do so.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a partition may have no owner before that is told: another host takes it over within this time.
const TAKEOVER: Duration = Duration::from_secs(6);
/// How long an answer may take: the next event of the tree is shown after it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// Tasks that are asked at one look; the others follow at the next.
const LOOKED_AT_ONCE: usize = 8;

/// The tasks of a tree that wait for an agent.
#[derive(Debug)]
pub(super) struct Waiting {
    root: EntityAddress,
    tasks: BTreeMap<Key, Still>,
    /// When something was heard of the tree last.
    heard: Instant,
    /// Since when nobody serves its partition, and whether that was told.
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
    /// The tasks of the tree below `root`, of which nothing was heard yet.
    pub(super) fn of(root: EntityAddress) -> Self {
        Self { root, tasks: BTreeMap::new(), heard: Instant::now(), unserved: None }
    }

    /// Takes in an event of the tree.
    pub(super) fn event(&mut self, key: &Key, event: &Event) {
        self.heard = Instant::now();
        if matches!(event, Event::Queued { .. }) {
            let still = Still { next: Instant::now() + PATIENCE, pause: PATIENCE, told: None };
            self.tasks.insert(key.clone(), still);
        } else {
            self.tasks.remove(key);
        }
    }

    /// Tells of those that stand still, unless the same was told before.
    pub(super) async fn tell(&mut self, bus: &Bus, progress: &mut Progress) {
        let now = Instant::now();
        if now.duration_since(self.heard) >= PATIENCE && self.is_unserved(bus, progress).await {
            return;
        }
        let due = self.tasks.iter_mut().filter(|(_, still)| still.next <= now);
        for (key, still) in due.take(LOOKED_AT_ONCE) {
            still.pause = (still.pause * 2).min(PAUSE_MAX);
            still.next = now + still.pause;
            // Who does not answer now is asked again.
            let Ok(waits) = why::of(bus, key, ANSWER_PATIENCE).await else { continue };
            let text = waits.sentence();
            if still.told.as_ref() != Some(&text) {
                progress.waits(key, &text);
                still.told = Some(text);
            }
        }
    }

    /// Whether nobody serves the tree's partition: told once that has lasted longer than a takeover, and once more
    /// when somebody does.
    async fn is_unserved(&mut self, bus: &Bus, progress: &mut Progress) -> bool {
        let partition = self.root.partition(bus.topology().partitions);
        let leases = match tokio::time::timeout(ANSWER_PATIENCE, bus.leases()).await {
            Ok(Ok(leases)) => leases,
            // Who cannot be asked is said by the connection itself.
            Ok(Err(_)) | Err(_) => return false,
        };
        if leases.holders.contains_key(&partition) {
            if let Some((_, true)) = self.unserved.take() {
                progress.waits(&self.root.key, "a host is there again, and goes on with it");
            }
            return false;
        }
        let (since, told) = self.unserved.get_or_insert((Instant::now(), false));
        if !*told && since.elapsed() >= TAKEOVER {
            let text = match leases.hosts.is_empty() {
                true => "no host runs: the task goes on when one is started, as by `orrery up`".to_owned(),
                false => format!("no host serves partition {partition}: the task goes on when one does"),
            };
            progress.waits(&self.root.key, &called::advice(&text));
            *told = true;
        }
        true
    }
}
