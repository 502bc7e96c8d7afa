//! What a breaker may do, counted from its events: only legal transitions, the open time respected, and
//! a half-open one gives leave to its probes alone.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::commands::breaker::{Phase, Policy};
use bus_schemas::events::breaker::{CloseCause, Event, OpenCause};
use bus_schemas::{Key, Timestamp};
use smol_str::SmolStr;

use super::{Check, hold};
use crate::coverage::{Coverage, Reached};

/// The invariant.
const NAME: &str = "breaker_legality";

/// One breaker.
#[derive(Debug, Default)]
pub struct BreakerAudit {
    phase: Phase,
    policy: Policy,
    until: Option<Timestamp>,
    /// Since when, as its event says.
    opened_at: Timestamp,
    /// Why it is so.
    reason: String,
    /// Dead letters that it knows of and that were not tried.
    letters: BTreeSet<Key>,
    /// Calls that failed one after the other, while it is closed.
    failed_in_succession: u32,
    /// Probes that succeeded and that did not, while it is half-open.
    probed: (u32, bool),
    /// Who may try one call, by permit.
    permits: BTreeMap<u64, SmolStr>,
    permits_given: u64,
    lanes: BTreeSet<Key>,
}

impl BreakerAudit {
    /// How it stands.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }
    /// Whether it is open until somebody resets it.
    pub(super) fn is_tripped(&self) -> bool {
        self.phase == Phase::Open && self.until.is_none()
    }
    /// The lanes that hear of it.
    pub(super) fn lanes(&self) -> &BTreeSet<Key> {
        &self.lanes
    }

    /// Takes an event in, and says whether it may be.
    pub fn event(&mut self, key: &Key, event: &Event, coverage: &mut Coverage) -> Check {
        let legal = match event {
            Event::Configured { policy, .. } => {
                (self.policy, self.failed_in_succession) = (policy.clone(), 0);
                Ok(())
            }
            Event::Reported { reporter, succeeded, failed, slow, consecutive_failed, .. } => {
                self.reported(reporter, *succeeded, *failed, *slow, *consecutive_failed)
            }
            Event::Opened { cause, reason, until, at, .. } => {
                self.opened(*cause, reason, *until, *at, coverage)
            }
            Event::HalfOpened { at, .. } => self.half_opened(*at, coverage),
            Event::ProbeGranted { reporter, permit, .. } => self.granted(reporter, *permit, coverage),
            Event::ProbeExpired { permit, .. } => {
                let known = self.permits.remove(permit).is_some();
                if known { Ok(()) } else { Err(format!("permit {permit} expires, and is not given")) }
            }
            Event::Closed { cause, .. } => self.closed(*cause, coverage),
            Event::Watched { lane, .. } => {
                self.lanes.insert(lane.clone());
                Ok(())
            }
            Event::LetterNoted { entry, .. } => {
                self.letters.insert(entry.clone());
                Ok(())
            }
            Event::LettersTried { entries, .. } => self.tried(entries),
        };
        let reason = legal.err();
        hold(reason.is_none(), NAME, || {
            format!("`breaker/{key}`, {}: {}", self.phase, reason.unwrap_or_default())
        })
    }

    fn reported(
        &mut self,
        reporter: &SmolStr,
        succeeded: u32,
        failed: u32,
        slow: u32,
        consecutive_failed: u32,
    ) -> Result<(), String> {
        match self.phase {
            Phase::Open => return Err("calls count although none may be made".to_owned()),
            Phase::Closed => {
                self.failed_in_succession =
                    if succeeded == 0 { self.failed_in_succession + failed } else { consecutive_failed };
            }
            Phase::HalfOpen => {
                self.probed.0 += succeeded;
                self.probed.1 |= failed > 0 || slow > 0;
                let of_reporter = self.permits.iter().filter(|(_, holder)| *holder == reporter);
                let settled: Vec<u64> =
                    of_reporter.map(|(permit, _)| *permit).take((succeeded + failed) as usize).collect();
                for permit in settled {
                    self.permits.remove(&permit);
                }
            }
        }
        Ok(())
    }

    fn opened(
        &mut self,
        cause: OpenCause,
        reason: &str,
        until: Option<Timestamp>,
        at: Timestamp,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        coverage.note(Reached::BreakerOpened);
        self.opened_at = at;
        let evidence = match cause {
            OpenCause::Tripped => self.phase != Phase::Open || self.until.is_some() || self.reason != reason,
            OpenCause::ProbeFailed => self.phase == Phase::HalfOpen && self.probed.1,
            OpenCause::ConsecutiveFailures => {
                self.phase == Phase::Closed && self.failed_in_succession >= self.policy.consecutive_failures
            }
            OpenCause::FailureRate | OpenCause::SlowRate => self.phase == Phase::Closed,
        };
        if !evidence {
            return Err(format!("nothing opens it as {cause}"));
        }
        let jitter = u64::from(self.policy.jitter_percent);
        let bounds =
            self.policy.open_ms_min * (100 - jitter) / 100..=self.policy.open_ms_max * (100 + jitter) / 100;
        match until {
            None if cause != OpenCause::Tripped => return Err("it opens by itself for ever".to_owned()),
            Some(until) if !bounds.contains(&until.0.saturating_sub(at.0)) => {
                return Err(format!("it opens for {} ms", until.0.saturating_sub(at.0)));
            }
            _ => {}
        }
        self.enter(Phase::Open, until);
        reason.clone_into(&mut self.reason);
        Ok(())
    }

    fn half_opened(&mut self, at: Timestamp, coverage: &mut Coverage) -> Result<(), String> {
        coverage.note(Reached::BreakerHalfOpened);
        match self.until.filter(|_| self.phase == Phase::Open) {
            Some(until) if until <= at => {}
            // The clock was set back while it was open: then its pause is over.
            Some(_) if at < self.opened_at => {}
            until => return Err(format!("it is half-open at {at}, and was open until {until:?}")),
        }
        self.enter(Phase::HalfOpen, None);
        Ok(())
    }

    /// Dead letters are tried while it is half-open, and each once.
    fn tried(&mut self, entries: &[Key]) -> Result<(), String> {
        if self.phase != Phase::HalfOpen || entries.len() > self.policy.probes as usize {
            return Err(format!("{} dead letters are tried", entries.len()));
        }
        match entries.iter().find(|entry| !self.letters.remove(*entry)) {
            Some(entry) => Err(format!("the dead letter `{entry}` is tried, and is not known")),
            None => Ok(()),
        }
    }

    fn granted(&mut self, reporter: &SmolStr, permit: u64, coverage: &mut Coverage) -> Result<(), String> {
        coverage.note(Reached::ProbeGranted);
        let fresh = permit == self.permits_given + 1;
        let room = self.permits.len() < self.policy.probes as usize;
        if self.phase != Phase::HalfOpen || !fresh || !room {
            return Err(format!("permit {permit} is given beside {:?}", self.permits));
        }
        self.permits_given = permit;
        self.permits.insert(permit, reporter.clone());
        Ok(())
    }

    fn closed(&mut self, cause: CloseCause, coverage: &mut Coverage) -> Result<(), String> {
        let legal = match cause {
            CloseCause::Probed => {
                coverage.note(Reached::BreakerClosed);
                let (succeeded, failed) = self.probed;
                self.phase == Phase::HalfOpen && succeeded >= self.policy.successes && !failed
            }
            CloseCause::Reset => self.phase != Phase::Closed,
        };
        if !legal {
            return Err(format!("nothing closes it as {cause}"));
        }
        self.enter(Phase::Closed, None);
        Ok(())
    }

    fn enter(&mut self, phase: Phase, until: Option<Timestamp>) {
        (self.phase, self.until) = (phase, until);
        (self.failed_in_succession, self.probed) = (0, (0, false));
        self.permits.clear();
    }
}
