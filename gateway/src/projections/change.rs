//! The view of a change.

use bus_schemas::events::change::Event;
use bus_schemas::{Key, Revision, Timestamp};
use gateway_api::changes::{Change, ChangeState};
use rusqlite::types::Value;

use super::view::{View, time};

impl View for Change {
    type Event = Event;
    const TABLE: &'static str = "changes";
    const COLUMNS: &'static [(&'static str, &'static str)] =
        &[("state", "TEXT NOT NULL"), ("scheduled_at", "INTEGER NOT NULL")];
    const INDEXES: &'static [&'static str] = &["scheduled_at, id", "state, scheduled_at, id"];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
        if let Event::Scheduled { plan, by, at } = event {
            *view = Some(Self {
                id: id.clone(),
                state: ChangeState::Scheduled,
                repo: plan.repo.clone(),
                target: plan.target.clone(),
                paths: plan.paths.clone(),
                message: plan.message.clone(),
                dry_run: plan.dry_run,
                full_base: plan.full_base,
                ground: plan.ground.clone(),
                base: None,
                branch: None,
                diff: None,
                approval: None,
                commit: None,
                merged: None,
                reason: None,
                rollback: None,
                scheduled_by: by.clone(),
                scheduled_at: *at,
                updated_at: *at,
                revision,
            });
        }
        let Some(change) = view else { return };
        (change.updated_at, change.revision) = (at, revision);
        step(change, event);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        vec![Value::Text(<&str>::from(self.state).to_owned()), time(self.scheduled_at)]
    }
}

fn step(change: &mut Change, event: &Event) {
    change.state = match event {
        Event::Scheduled { .. } => ChangeState::Scheduled,
        Event::Proposed { base, branch, diff, approval, .. } => {
            change.base = Some(base.to_string());
            change.branch = Some(branch.clone());
            (change.diff, change.approval) = (Some(diff.clone()), approval.clone());
            if approval.is_some() { ChangeState::Waiting } else { ChangeState::Testing }
        }
        Event::Applied { commit, .. } => {
            change.commit = Some(commit.to_string());
            ChangeState::Testing
        }
        Event::SyntaxFailed { reason, .. } | Event::TestsFailed { reason, .. } => {
            change.reason = Some(reason.clone());
            ChangeState::Testing
        }
        Event::Approved { .. }
        | Event::Branched { .. }
        | Event::SyntaxPassed { .. }
        | Event::TestsStarted { .. }
        | Event::TestsPassed { .. } => ChangeState::Testing,
        Event::Merged { commit, .. } => {
            change.merged = Some(commit.to_string());
            ChangeState::Merged
        }
        Event::Tested { .. } => ChangeState::Tested,
        Event::RolledBack { reason, .. } => {
            change.reason = Some(reason.clone());
            ChangeState::RolledBack
        }
        Event::CancelRequested { reason, .. } => {
            change.reason = Some(reason.clone());
            change.state
        }
        Event::Stopped { failure, rollback, .. } => {
            let failed = failure.as_ref().map(|failure| format!("{}: {}", failure.code, failure.message));
            change.reason = failed.or(change.reason.take());
            change.rollback.clone_from(rollback);
            if rollback.is_some() { ChangeState::RollingBack } else { ChangeState::Stopped }
        }
        Event::RollbackFailed { failure, .. } => {
            change.reason = Some(format!("{}: {}", failure.code, failure.message));
            ChangeState::RollbackFailed
        }
    };
}
