//! What the tasks of a tree wait for when nothing happens: told after a while, and again when it changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bus_client::Bus;
use bus_schemas::Key;
use bus_schemas::events::task::Event;

use super::why;
use crate::progress::Progress;

/// How long a task may stand still before somebody who watches is told why: a queue that moves takes less.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The longest time between two looks at a task that stands still: hundreds of a tree may do so.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long an answer may take: the next event of the tree is shown after it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// Tasks that are asked at one look; the others follow at the next.
const LOOKED_AT_ONCE: usize = 8;

/// The tasks of a tree that wait for an agent.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    tasks: BTreeMap<Key, Still>,
}

/// A task that waits.
#[derive(Debug)]
struct Still {
    next: Instant,
    pause: Duration,
    told: Option<String>,
}

impl Waiting {
    /// Takes in an event of the tree.
    pub(super) fn event(&mut self, key: &Key, event: &Event) {
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
}
