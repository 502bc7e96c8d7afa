//! `orrery approvals`: what waits for a person, and the person's answer.

use bus_schemas::Timestamp;
use bus_schemas::text::prose;
use gateway_api::approvals::{
    Approval, ApprovalPage, ApprovalState, ApproveCalls, CancelApproval, ListApprovals, RejectCalls,
};
use gateway_api::routes;

use crate::client::{Client, id};
use crate::commands::tasks::one_line;
use crate::failure::Failure;
use crate::output::{Output, Show, table};
use crate::paging::{self, Page};

/// The action on approvals; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List approvals, newest first
    List(List),
    /// Show an approval: the calls, and the command that approves them
    Show {
        /// The approval's name
        name: String,
    },
    /// Approve the calls that `show` shows
    Approve {
        /// The approval's name
        name: String,
        /// The id of a call; give all of them
        #[arg(long = "id", value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Reject the calls
    Reject {
        /// The approval's name
        name: String,
        /// The reason, for whoever asked
        #[arg(long)]
        reason: String,
    },
    /// Cancel a request, or an approval before its use
    Cancel {
        /// The approval's name
        name: String,
        /// The reason
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Default, clap::Args)]
struct List {
    /// Only approvals in this state
    #[arg(long)]
    state: Option<ApprovalState>,
    #[command(flatten)]
    page: Page,
}

impl Show for ApprovalPage {
    fn text(&self) -> String {
        if self.approvals.is_empty() {
            return "no approvals".to_owned();
        }
        let rows: Vec<Vec<String>> = self.approvals.iter().map(row).collect();
        let table = table(&["APPROVAL", "STATE", "TOOLS", "ASKED BY", "ANSWER BY", "HINT"], &rows);
        paging::shown(table, self.next_cursor.as_ref())
    }
}

fn row(approval: &Approval) -> Vec<String> {
    let tools: Vec<String> = approval.tools.iter().map(|call| one_line(&call.name)).collect();
    let hint = one_line(approval.hint.as_deref().unwrap_or_default()).chars().take(60).collect();
    vec![
        approval.id.to_string(),
        state(approval).to_owned(),
        tools.join(", "),
        one_line(&approval.requested_by),
        approval.answer_by.to_rfc3339(),
        hint,
    ]
}

fn state(approval: &Approval) -> &'static str {
    approval.state.into()
}

impl Show for Approval {
    fn text(&self) -> String {
        let mut lines = vec![
            format!("approval {}: {}", self.id, state(self)),
            format!("  asked by {}, at {}", one_line(&self.requested_by), self.requested_at.to_rfc3339()),
            format!("  answer by {}, for task {}", self.answer_by.to_rfc3339(), self.task),
        ];
        if !self.base.is_empty() {
            lines.push(format!("  base {} ({})", one_line(&self.base), <&str>::from(self.base_check)));
        }
        let versions = [&self.policy_version, &self.settings_version].map(|version| one_line(version));
        lines.push(format!("  policy {}, settings {}", versions[0], versions[1]));
        lines.extend(self.decided_by.iter().map(|by| format!("  answered by {}", one_line(by))));
        lines.extend(self.use_by.map(Timestamp::to_rfc3339).map(|at| format!("  use by {at}")));
        lines.extend(self.reason.iter().map(|reason| format!("  reason: {}", one_line(reason))));
        lines.extend(self.hint.iter().map(|hint| format!("  the requester's words: {}", one_line(hint))));
        for call in &self.tools {
            lines.push(format!("call {}: {}", one_line(&call.name), call.id));
            let fields = call.args.as_object().into_iter().flatten();
            lines.extend(fields.map(|(name, value)| match value.as_str() {
                Some(text) if text.contains('\n') => format!("  {name}:\n{}", prose(text)),
                Some(text) => format!("  {name}: {}", one_line(text)),
                None => format!("  {name}: {}", one_line(&value.to_string())),
            }));
        }
        if self.state == ApprovalState::Waiting {
            let ids: String = self.tools.iter().map(|call| format!(" --id {}", call.id)).collect();
            lines.push(format!("to approve exactly this: orrery approvals approve {}{ids}", self.id));
        }
        lines.join("\n")
    }
}

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let approval = match arguments.verb.unwrap_or(Verb::List(List::default())) {
        Verb::List(List { state, page }) => {
            let query = ListApprovals { state, limit: page.limit, cursor: page.cursor };
            output.show(&client.list(routes::ListApprovals, &query).await?);
            return Ok(());
        }
        Verb::Show { name } => {
            output.show(&client.get(routes::ShowApproval, &[id(&name)?.as_str()]).await?);
            return Ok(());
        }
        Verb::Approve { name, ids } => {
            let body = ApproveCalls { ids };
            client.send(routes::ApproveCalls, &[id(&name)?.as_str()], &body).await?
        }
        Verb::Reject { name, reason } => {
            let body = RejectCalls { rejection_reason: reason };
            client.send(routes::RejectCalls, &[id(&name)?.as_str()], &body).await?
        }
        Verb::Cancel { name, reason } => {
            let body = CancelApproval { reason };
            client.send(routes::CancelApproval, &[id(&name)?.as_str()], &body).await?
        }
    };
    output.changed(&approval, &format!("approval {} is {}", approval.id, state(&approval)));
    Ok(())
}
