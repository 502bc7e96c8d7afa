//! The open tasks, when each changed, and what to do about those that do not. Pure: times are arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use bus_schemas::{Key, PartitionId, Timestamp};

use super::judge::Verdict;

/// Milliseconds that a swept task has at least to go on: a lease that was set anew must be able to end.
const MEND_MS_MIN: u64 = 60_000;
/// The pause between two checks of a task that waits well, or that cannot be mended, grows up to this
/// multiple of the bound: a wait for a person may take weeks.
const PAUSE_FACTOR_MAX: u32 = 8;
/// The event types that end a task.
const FINAL: [&str; 4] = ["completed", "failed", "canceled", "rejected"];

/// The open tasks.
#[derive(Debug)]
pub(super) struct Known {
    after_ms: u64,
    partitions: u16,
    tasks: BTreeMap<Key, Open>,
}

/// A task that has not ended.
#[derive(Debug)]
struct Open {
    changed: Timestamp,
    next: Timestamp,
    factor: u32,
    swept: bool,
    reported: bool,
}

/// What to do, and what to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// The task waits for nothing: sweep it.
    Sweep {
        /// What is missing.
        reason: String,
        /// The time of the task's last change.
        since: Timestamp,
    },
    /// The task was reported, and is swept once more without a report.
    SweepAgain,
    /// The task was swept, and goes on.
    Mended,
    /// The task was swept, and does not go on: reported once, and swept once more.
    Report {
        /// What is missing.
        reason: String,
        /// The time of the task's last change.
        since: Timestamp,
    },
}

impl Act {
    /// Whether the act includes a sweep.
    pub(super) fn sweeps(&self) -> bool {
        !matches!(self, Self::Mended)
    }
}

impl Known {
    /// An empty list. `after` is how long a task may stand still before it is due; `partitions` is the number
    /// of partitions.
    pub(super) fn new(after: Duration, partitions: u16) -> Self {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Self { after_ms, partitions, tasks: BTreeMap::new() }
    }
    /// The number of open tasks.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }
    /// The number of reported tasks that have not changed since.
    pub(super) fn stuck(&self) -> usize {
        self.tasks.values().filter(|open| open.reported).count()
    }

    /// Applies an event of a task.
    pub(super) fn event(&mut self, task: &Key, event_type: &str, at: Timestamp) -> Option<Act> {
        let before = match FINAL.contains(&event_type) {
            true => self.tasks.remove(task),
            false => {
                let next = at.plus_ms(self.after_ms);
                let open = Open { changed: at, next, factor: 1, swept: false, reported: false };
                self.tasks.insert(task.clone(), open)
            }
        };
        before.filter(|open| open.swept).map(|_| Act::Mended)
    }

    /// At most `max` tasks that are due, those unchanged for longest first.
    pub(super) fn due(&self, now: Timestamp, max: usize) -> Vec<Key> {
        let mut due: Vec<_> = self.tasks.iter().filter(|(_, open)| open.next <= now).collect();
        due.sort_by_key(|(_, open)| open.next);
        due.into_iter().take(max).map(|(task, _)| task.clone()).collect()
    }

    /// Applies the last event of a task, read from the event stream: newer knowledge wins.
    pub(super) fn read(&mut self, task: &Key, event_type: &str, at: Timestamp) {
        if !FINAL.contains(&event_type) && !self.tasks.contains_key(task) {
            self.event(task, event_type, at);
        }
    }

    /// Forgets the tasks of a partition that another host took over.
    pub(super) fn leave(&mut self, partition: PartitionId) {
        let partitions = self.partitions;
        self.tasks.retain(|task, _| PartitionId::of(task.root(), partitions) != partition);
    }

    /// Applies the verdict on a task.
    pub(super) fn looked(&mut self, task: &Key, verdict: Verdict, now: Timestamp) -> Option<Act> {
        let after_ms = self.after_ms;
        if verdict == Verdict::Ended {
            // The event of its end is on its way, or was published before this process followed.
            return self.tasks.remove(task).filter(|open| open.swept).map(|_| Act::Mended);
        }
        let open = self.tasks.get_mut(task)?;
        match verdict {
            Verdict::Ended => None,
            Verdict::Waits { until } => {
                let was_swept = std::mem::take(&mut open.swept);
                open.reported = false;
                open.pause(after_ms, now);
                // A task that goes on by itself is checked when it should have done so.
                open.next = until.map_or(open.next, |until| until.max(now).plus_ms(after_ms));
                was_swept.then_some(Act::Mended)
            }
            Verdict::Missing { reason } if !open.swept => {
                (open.swept, open.factor) = (true, 1);
                open.next = now.plus_ms(after_ms.max(MEND_MS_MIN));
                Some(Act::Sweep { reason, since: open.changed })
            }
            Verdict::Missing { reason } => {
                open.pause(after_ms.max(MEND_MS_MIN), now);
                let is_news = !std::mem::replace(&mut open.reported, true);
                Some(if is_news { Act::Report { reason, since: open.changed } } else { Act::SweepAgain })
            }
        }
    }

    /// The command could not be handed over: the task is as before the check.
    pub(super) fn not_swept(&mut self, task: &Key) {
        if let Some(open) = self.tasks.get_mut(task) {
            open.next = open.changed.plus_ms(self.after_ms);
            if !open.reported {
                open.swept = false;
            }
        }
    }
}

impl Open {
    /// Sets the time of the next check: each pause is longer.
    fn pause(&mut self, after_ms: u64, now: Timestamp) {
        self.next = now.plus_ms(after_ms.saturating_mul(u64::from(self.factor)));
        self.factor = (self.factor * 2).min(PAUSE_FACTOR_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn key() -> Key {
        Key::parse("t").expect("a constant of a test")
    }
    fn at(minute: u64) -> Timestamp {
        Timestamp(1_000_000_000 + minute * MINUTE)
    }
    fn missing() -> Verdict {
        Verdict::Missing { reason: "lost".into() }
    }
    fn known() -> Known {
        let mut known = Known::new(Duration::from_secs(600), 8);
        assert_eq!(known.event(&key(), "queued", at(0)), None);
        known
    }

    #[test]
    fn a_task_is_due_when_it_has_not_changed_for_long_and_only_then() {
        let mut known = known();
        assert!(known.due(at(9), 10).is_empty());
        assert_eq!(known.due(at(10), 10), [key()]);
        known.event(&key(), "job-issued", at(9));
        assert!(known.due(at(18), 10).is_empty());
        known.event(&key(), "completed", at(18));
        assert!(known.due(at(100), 10).is_empty() && known.len() == 0);
    }

    #[test]
    fn one_that_waits_well_is_looked_at_less_and_less_often() {
        let mut known = known();
        for (now, next) in [(10, 20), (20, 40), (40, 80), (80, 160), (160, 240)] {
            assert_eq!(known.due(at(now), 10), [key()], "{now}");
            assert_eq!(known.looked(&key(), Verdict::Waits { until: None }, at(now)), None);
            assert!(known.due(at(next - 1), 10).is_empty(), "{next}");
        }
        let pause = Verdict::Waits { until: Some(at(300)) };
        assert_eq!(known.looked(&key(), pause, at(240)), None);
        assert!(known.due(at(309), 10).is_empty());
        assert_eq!(known.due(at(310), 10), [key()], "when its pause should have ended");
    }

    #[test]
    fn what_is_missing_is_swept_once_in_a_bound_and_reported_once() {
        let mut known = known();
        let sweep = Act::Sweep { reason: "lost".into(), since: at(0) };
        assert_eq!(known.looked(&key(), missing(), at(10)), Some(sweep));
        assert!(known.due(at(19), 10).is_empty(), "it has the bound to go on");
        let report = Act::Report { reason: "lost".into(), since: at(0) };
        assert_eq!(known.looked(&key(), missing(), at(20)), Some(report));
        assert_eq!((known.stuck(), known.due(at(29), 10)), (1, vec![]));
        assert_eq!(known.looked(&key(), missing(), at(30)), Some(Act::SweepAgain));
        assert_eq!(known.looked(&key(), Verdict::Waits { until: None }, at(60)), Some(Act::Mended));
        assert_eq!(known.stuck(), 0);
    }

    #[test]
    fn what_is_read_later_changes_nothing_and_what_leaves_is_forgotten() {
        let mut known = known();
        known.event(&key(), "job-issued", at(5));
        known.read(&key(), "queued", at(0));
        assert!(known.due(at(14), 10).is_empty(), "the commit came later");
        let other = Key::parse("u").expect("a constant of a test");
        known.read(&other, "completed", at(0));
        assert_eq!(known.len(), 1, "it has ended");
        known.read(&other, "queued", at(0));
        known.leave(PartitionId::of("u", 8));
        assert_eq!(known.due(at(100), 10), [key()]);
    }

    #[test]
    fn one_that_changes_after_it_was_swept_was_mended() {
        let mut known = known();
        known.looked(&key(), missing(), at(10));
        assert_eq!(known.event(&key(), "job-issued", at(11)), Some(Act::Mended));
        assert_eq!(known.event(&key(), "completed", at(12)), None);
    }

    #[test]
    fn a_sweep_that_was_not_sent_is_tried_again_at_once() {
        let mut known = known();
        known.looked(&key(), missing(), at(10));
        known.not_swept(&key());
        assert_eq!(known.due(at(10), 10), [key()]);
        assert!(matches!(known.looked(&key(), missing(), at(10)), Some(Act::Sweep { .. })));
    }
}
