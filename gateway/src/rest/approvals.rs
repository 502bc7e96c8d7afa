//! Approvals: listed, approved, rejected, canceled.

use bus_schemas::Key;
use bus_schemas::commands::approval::Command;
use gateway_api::approvals::{
    Approval, ApprovalPage, ApproveCalls, CancelApproval, ListApprovals, RejectCalls,
};
use gateway_api::{NextStep, code};

use super::ask::{Answer, Call};
use super::cursor;
use super::extract::{Id, Json, Query};
use super::problem::Problem;
use super::tasks::{VISIBLE_PATIENCE, behind, limit};

/// Lists approvals, newest first.
pub async fn list(call: Call, Query(query): Query<ListApprovals>) -> Answer<ApprovalPage> {
    let (limit, after) = (limit(query.limit)?, cursor::read(query.cursor.as_deref())?);
    let page = call.projections.reader.approvals(query.state, after, limit).await?;
    Ok(axum::Json(ApprovalPage { approvals: page.items, next_cursor: page.next.as_ref().map(cursor::write) }))
}

/// Shows an approval with its calls.
pub async fn show(call: Call, Id(id): Id) -> Answer<Approval> {
    call.projections.reader.approval(&id).await?.map(axum::Json).ok_or_else(|| {
        Problem::new(code::APPROVAL_NOT_FOUND, format!("nobody asked for the approval `{id}`"))
            .next(NextStep::ListApprovals)
    })
}

/// Approves the calls.
pub async fn approve(call: Call, Id(id): Id, Json(body): Json<ApproveCalls>) -> Answer<Approval> {
    change(&call, &id, &Command::Approve { ids: body.ids.into_iter().map(Into::into).collect() }).await
}

/// Rejects the calls.
pub async fn reject(call: Call, Id(id): Id, Json(body): Json<RejectCalls>) -> Answer<Approval> {
    change(&call, &id, &Command::Reject { rejection_reason: body.rejection_reason }).await
}

/// Ends the request, or the approval before its use.
pub async fn cancel(call: Call, Id(id): Id, Json(body): Json<CancelApproval>) -> Answer<Approval> {
    change(&call, &id, &Command::Cancel { reason: body.reason }).await
}

/// Sends an approval a command, and shows the state after it.
async fn change(call: &Call, id: &Key, command: &Command) -> Answer<Approval> {
    let accepted = call.ask(id, command).await?;
    let found = call.projections.until(VISIBLE_PATIENCE, |reader| {
        let id = id.clone();
        async move { Ok(reader.approval(&id).await?.filter(|known| known.revision >= accepted.revision)) }
    });
    found.await?.map(axum::Json).ok_or_else(|| behind(call))
}
