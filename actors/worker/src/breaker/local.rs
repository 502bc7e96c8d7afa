//! What a worker knows of one breaker, and the outcomes it has counted since its last report. No I/O.

use std::time::Duration;

use bus_schemas::Timestamp;
use bus_schemas::commands::breaker::{BreakerStatus, Command, Phase, Policy};
use bus_schemas::events::breaker::Event;
use bus_schemas::text;
use smol_str::SmolStr;

use super::Outcome;

/// Bytes of an error's text in a report.
const ERROR_BYTES_MAX: usize = 512;

/// The local state of one breaker. An unknown breaker is treated as closed.
#[derive(Debug, Clone)]
pub(super) struct Local {
    asked: bool,
    phase: Phase,
    since: Option<Timestamp>,
    reason: String,
    slow_call: Duration,
    generation: u64,
    counted: Group,
}

/// Calls that were not reported yet.
#[derive(Debug, Clone, Default)]
struct Group {
    succeeded: u32,
    failed: u32,
    slow: u32,
    consecutive_failed: u32,
    last_error: String,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            asked: false,
            phase: Phase::Closed,
            since: None,
            reason: String::new(),
            slow_call: Duration::from_millis(Policy::default().slow_call_ms),
            generation: 0,
            counted: Group::default(),
        }
    }
}

impl Local {
    /// Whether this is the first query for the breaker. Only the first call waits for its answer: a breaker
    /// that does not answer must not slow every call down.
    pub(super) fn is_first_asked(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }
    /// Whether the state can be forgotten without loss.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Closed && !self.has_counted()
    }
    /// Whether there is something to report.
    pub(super) fn has_counted(&self) -> bool {
        self.counted.succeeded > 0 || self.counted.failed > 0
    }
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }
    pub(super) fn reason(&self) -> String {
        self.reason.clone()
    }
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Counts the outcome of a call that began under `generation`. Returns whether there is something to
    /// report.
    pub(super) fn count(&mut self, generation: u64, outcome: Outcome<'_>, took: Duration) -> bool {
        if generation != self.generation {
            return false;
        }
        let group = &mut self.counted;
        match outcome {
            Outcome::Unknown => return false,
            Outcome::Succeeded => {
                group.succeeded = group.succeeded.saturating_add(1);
                group.consecutive_failed = 0;
            }
            Outcome::Failed(error) => {
                group.failed = group.failed.saturating_add(1);
                group.consecutive_failed = group.consecutive_failed.saturating_add(1);
                group.last_error = text::cut(error, ERROR_BYTES_MAX);
            }
        }
        if took >= self.slow_call {
            group.slow = group.slow.saturating_add(1);
        }
        true
    }

    /// The report of what was counted, after which the count starts anew.
    pub(super) fn take(&mut self, reporter: &SmolStr) -> Option<Command> {
        if !self.has_counted() {
            return None;
        }
        let Group { succeeded, failed, slow, consecutive_failed, last_error } =
            std::mem::take(&mut self.counted);
        let reporter = reporter.clone();
        Some(Command::Report { reporter, succeeded, failed, slow, consecutive_failed, last_error })
    }

    /// Applies the breaker's status, unless it is older than what is known.
    pub(super) fn hear(&mut self, status: &BreakerStatus) {
        self.asked = true;
        self.slow_call = Duration::from_millis(status.slow_call_ms);
        if status.since >= self.since {
            self.enter(status.phase, status.since, &status.reason);
        }
    }

    /// Applies an event of the breaker.
    pub(super) fn follow(&mut self, event: &Event) {
        let (phase, at, reason) = match event {
            Event::Configured { policy, .. } => {
                self.slow_call = Duration::from_millis(policy.slow_call_ms);
                return;
            }
            Event::Opened { reason, at, .. } => (Phase::Open, *at, reason.as_str()),
            Event::HalfOpened { at, .. } => (Phase::HalfOpen, *at, ""),
            Event::Closed { reason, at, .. } => (Phase::Closed, *at, reason.as_str()),
            Event::Reported { .. }
            | Event::Watched { .. }
            | Event::LetterNoted { .. }
            | Event::LettersTried { .. }
            | Event::ProbeGranted { .. }
            | Event::ProbeExpired { .. } => return,
        };
        if Some(at) < self.since {
            return;
        }
        let reason = if reason.is_empty() { self.reason.clone() } else { reason.to_owned() };
        self.asked = true;
        self.enter(phase, Some(at), &reason);
    }

    fn enter(&mut self, phase: Phase, since: Option<Timestamp>, reason: &str) {
        // A call that began before the breaker opened says nothing about the dependency afterwards. A
        // half-open breaker has opened before, whether or not that event was received here.
        let opened = match (self.phase, phase) {
            (Phase::Closed, Phase::Open | Phase::HalfOpen) | (Phase::HalfOpen, Phase::Open) => true,
            (before, after) => before == after && after == Phase::Open && self.since != since,
        };
        if opened {
            self.generation += 1;
            self.counted = Group::default();
        }
        self.phase = phase;
        self.since = since;
        reason.clone_into(&mut self.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(phase: Phase, since: u64) -> BreakerStatus {
        BreakerStatus { phase, since: Some(Timestamp(since)), reason: "why".into(), slow_call_ms: 1_000 }
    }

    fn failed(local: &mut Local, times: u32) {
        for _ in 0..times {
            assert!(local.count(local.generation(), Outcome::Failed("no"), Duration::ZERO));
        }
    }

    #[test]
    fn calls_are_told_as_one_group() {
        let mut local = Local::default();
        local.hear(&status(Phase::Closed, 1));
        failed(&mut local, 2);
        assert!(local.count(0, Outcome::Succeeded, Duration::from_secs(2)));
        failed(&mut local, 3);
        assert!(!local.count(0, Outcome::Unknown, Duration::ZERO));
        let told = local.take(&"w".into()).expect("something was counted");
        let expected = Command::Report {
            reporter: "w".into(),
            succeeded: 1,
            failed: 5,
            slow: 1,
            consecutive_failed: 3,
            last_error: "no".into(),
        };
        assert_eq!(told, expected);
        assert_eq!(local.take(&"w".into()), None);
    }

    #[test]
    fn what_began_before_it_opened_does_not_count_after_it() {
        let mut local = Local::default();
        let before = local.generation();
        failed(&mut local, 1);
        local.hear(&status(Phase::Open, 5));
        assert!(!local.has_counted(), "it is open: nobody wants to know");
        assert!(!local.count(before, Outcome::Succeeded, Duration::ZERO));
        let let_through = local.generation();
        local.hear(&status(Phase::HalfOpen, 9));
        assert!(local.count(let_through, Outcome::Succeeded, Duration::ZERO), "a probe may begin early");
    }

    #[test]
    fn old_news_changes_nothing() {
        let mut local = Local::default();
        local.hear(&status(Phase::Closed, 20));
        let closed = Event::HalfOpened { probes: 3, at: Timestamp(10) };
        local.follow(&closed);
        local.hear(&status(Phase::Open, 5));
        assert_eq!(local.phase(), Phase::Closed);
    }
}
