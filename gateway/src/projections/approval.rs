//! The view of an approval.

use bus_schemas::events::approval::Event;
use bus_schemas::{Key, Revision, Timestamp};
use gateway_api::approvals::{Approval, ApprovalState};
use rusqlite::types::Value;

use super::view::{View, time};

impl View for Approval {
    type Event = Event;
    const TABLE: &'static str = "approvals";
    const COLUMNS: &'static [(&'static str, &'static str)] =
        &[("state", "TEXT NOT NULL"), ("requested_at", "INTEGER NOT NULL")];
    const INDEXES: &'static [&'static str] = &["requested_at, id", "state, requested_at, id"];

    fn fold(view: &mut Option<Self>, id: &Key, event: &Event, at: Timestamp, revision: Revision) {
        if let Event::Requested { request, tools, by, answer_by, at } = event {
            *view = Some(Self {
                id: id.clone(),
                state: ApprovalState::Waiting,
                hint: request.hint.clone(),
                tools: tools.clone(),
                base: request.grounds.base.to_string(),
                base_check: request.base_check,
                policy_version: request.grounds.policy_version.to_string(),
                settings_version: request.grounds.settings_version.to_string(),
                task: request.task.clone(),
                approvers: request.approvers.iter().map(ToString::to_string).collect(),
                requested_by: by.clone(),
                requested_at: *at,
                answer_by: *answer_by,
                use_by: None,
                decided_by: None,
                decided_at: None,
                reason: None,
                updated_at: *at,
                revision,
            });
        }
        let Some(approval) = view else { return };
        approval.updated_at = at;
        approval.revision = revision;
        change(approval, event);
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        vec![Value::Text(<&str>::from(self.state).to_owned()), time(self.requested_at)]
    }
}

fn change(approval: &mut Approval, event: &Event) {
    approval.state = match event {
        Event::Requested { .. } => ApprovalState::Waiting,
        Event::Approved { by, use_by, at, .. } => {
            (approval.decided_by, approval.decided_at) = (Some(by.clone()), Some(*at));
            approval.use_by = Some(*use_by);
            ApprovalState::Approved
        }
        Event::Rejected { rejection_reason, by, at } => {
            (approval.decided_by, approval.decided_at) = (Some(by.clone()), Some(*at));
            approval.reason = Some(rejection_reason.clone());
            ApprovalState::Rejected
        }
        Event::TimedOut { .. } => ApprovalState::TimedOut,
        Event::Canceled { reason, .. } => {
            approval.reason = Some(reason.clone());
            ApprovalState::Canceled
        }
        Event::Used { .. } => ApprovalState::Used,
        Event::Lapsed { .. } => ApprovalState::Lapsed,
        Event::Revoked { reason, .. } => {
            approval.reason = Some(reason.clone());
            ApprovalState::Revoked
        }
    };
}
