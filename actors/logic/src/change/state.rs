//! The state of a change: what it is, and how far it has come.

use bus_schemas::commands::change::Plan;
use bus_schemas::events::change::{Event, Trace};
use bus_schemas::{Hash, Key, Timestamp};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A change; without a plan nobody scheduled it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What it is.
    pub plan: Option<Plan>,
    /// How far it has come.
    pub phase: Phase,
    /// Its diff, once it is known.
    pub proposal: Option<Proposal>,
    /// Its commit, once there is one.
    pub commit: Option<SmolStr>,
    /// Whether somebody asked for its end.
    pub is_canceled: bool,
    /// Why its task ended before it did, and the task that rolls back.
    pub stopped: Option<Stopped>,
}

/// What a change will do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The branch.
    pub branch: String,
    /// The hash of the diff.
    pub diff: Hash,
    /// Whether a person is asked.
    pub asks: bool,
}

/// The end of the task before that of the change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    /// Why.
    pub reason: String,
    /// The task that removes what was written.
    pub rollback: Option<Key>,
}

/// How far a change has come, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    #[default]
    Scheduled,
    Proposed,
    Approved,
    Applied,
    Branched,
    SyntaxPassed,
    SyntaxFailed,
    TestsStarted,
    TestsPassed,
    TestsFailed,
    Merged,
    Tested,
    RolledBack,
}

impl Phase {
    /// Whether nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Merged | Self::Tested | Self::RolledBack)
    }
}

impl State {
    /// The branch and the diff for an event.
    pub(super) fn trace(&self, at: Timestamp) -> Option<Trace> {
        let Proposal { branch, diff, .. } = self.proposal.as_ref()?;
        Some(Trace { branch: branch.clone(), diff: *diff, at })
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    // A failed task was retried before anything was written.
    if matches!(event, Event::Proposed { .. } | Event::Approved { .. } | Event::Applied { .. }) {
        state.stopped = None;
    }
    state.phase = match event {
        Event::Scheduled { plan, .. } => {
            state.plan = Some(plan.clone());
            Phase::Scheduled
        }
        Event::Proposed { branch, diff, approval, .. } => {
            let asks = approval.is_some();
            state.proposal = Some(Proposal { branch: branch.clone(), diff: diff.hash, asks });
            Phase::Proposed
        }
        Event::Approved { .. } => Phase::Approved,
        Event::Applied { commit, .. } => {
            state.commit = Some(commit.clone());
            Phase::Applied
        }
        Event::Branched { .. } => Phase::Branched,
        Event::SyntaxPassed { .. } => Phase::SyntaxPassed,
        Event::SyntaxFailed { .. } => Phase::SyntaxFailed,
        Event::TestsStarted { .. } => Phase::TestsStarted,
        Event::TestsPassed { .. } => Phase::TestsPassed,
        Event::TestsFailed { .. } => Phase::TestsFailed,
        Event::Merged { .. } => Phase::Merged,
        Event::Tested { .. } => Phase::Tested,
        Event::RolledBack { .. } => Phase::RolledBack,
        Event::CancelRequested { .. } => {
            state.is_canceled = true;
            state.phase
        }
        Event::Stopped { failure, rollback, .. } => {
            let reason = failure
                .as_ref()
                .map_or("canceled".to_owned(), |why| format!("{}: {}", why.code, why.message));
            state.stopped = Some(Stopped { reason, rollback: rollback.clone() });
            state.phase
        }
        // A person removes it; the task that could not can be retried.
        Event::RollbackFailed { .. } => state.phase,
    };
}
