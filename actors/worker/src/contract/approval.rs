//! Approvals: what an agent does only when a person allowed it.
//!
//! ```text
//! ask_approval ─→ waits ─→ the attempt ends, and the next one begins with the outcome
//!                      └─→ use_approval, made from what is there now ─→ accepted: the calls may be made
//! ```
//!
//! An answer in words is no approval: only the entity says whether there is one, and for what.

use bus_schemas::commands::approval::{Command, Request, Use};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, chain};
use serde_json::json;

use super::failure::Failure;
use super::task_client::{TaskClient, Verdict};
use super::work::Work;

/// The refusal of a use before a person has answered.
const WAITS: &str = "approval-waits";

impl Work {
    /// Asks for an approval, once: a repeat of an equal request changes nothing. What is asked must be decided in a
    /// step before.
    pub async fn ask_approval(&self, approval: &Key, request: &Request) -> Result<(), Failure> {
        let command = Command::Request(request.clone());
        self.step("ask-approval", &json!([approval, request]), || {
            self.tell_approval(approval, "ask", &command)
        })
        .await
    }

    /// Uses an approval: right before the calls, with what is there now. While no person has answered, the failure ends
    /// the attempt, and the next one begins with the outcome. A step: an attempt after a crash goes on.
    pub async fn use_approval(&self, approval: &Key, call: &Use) -> Result<(), Failure> {
        let command = Command::Use(call.clone());
        self.step("use-approval", &json!([approval, call]), || self.tell_approval(approval, "use", &command))
            .await
    }

    async fn tell_approval(&self, approval: &Key, purpose: &str, command: &Command) -> Result<(), Failure> {
        // A recording answers steps itself; what it does not hold is not asked again.
        let Some(client) = self.client() else {
            return Err(Failure::permanent(WAITS, "a recording asks nobody"));
        };
        told(client, approval, purpose, command).await
    }
}

async fn told(client: &TaskClient, approval: &Key, purpose: &str, command: &Command) -> Result<(), Failure> {
    let to = EntityAddress::new(Command::KIND, approval.clone());
    match client.tell_entity(to, &format!("approval-{purpose}"), Body::json(command)).await {
        Ok(Verdict::Accepted) => Ok(()),
        Ok(Verdict::Refused(refusal)) if refusal.code == WAITS => Err(Failure::approval_required(approval)),
        Ok(Verdict::Refused(refusal)) => {
            let failure = Failure::permanent(refusal.code.as_str(), refusal.message);
            Err(match refusal.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
        Err(error) => Err(Failure::transient(
            "no-answer",
            format!("asking the approval `{approval}`: {}", chain(&error)),
        )),
    }
}
