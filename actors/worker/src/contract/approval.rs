//! What an agent asks of other entities: approvals, without which it does not do something, and other tasks.
//!
//! ```text
//! ask_approval ─→ waits ─→ the attempt ends, and the next one begins with the outcome
//!                      └─→ use_approval, made from what is there now ─→ accepted: the calls may be made
//! ```
//!
//! An answer in words is no approval: only the entity says whether there is one, and for what.

use bus_schemas::commands::approval::{Command, Request, Use};
use bus_schemas::views::task::Task;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Refusal, chain};
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
        self.tell(approval, "ask-approval", &Command::Request(request.clone())).await
    }

    /// Uses an approval: right before the calls, with what is there now. While no person has answered, the failure ends
    /// the attempt, and the next one begins with the outcome. A step: an attempt after a crash goes on.
    pub async fn use_approval(&self, approval: &Key, call: &Use) -> Result<(), Failure> {
        // Recorded also where nobody has answered: a replay finds what this attempt was told.
        let step = format!("use-approval/{}", self.job.answers.len());
        let (to, command) = (EntityAddress::new(Command::KIND, approval.clone()), Command::Use(call.clone()));
        let input = json!([approval, command]);
        let used = self.step(&step, &input, || async {
            match told(self.asked()?, to, &step, Body::json(&command)).await {
                Ok(()) => Ok(true),
                Err(Failure::InputRequired { .. }) => Ok(false),
                Err(failure) => Err(failure),
            }
        });
        if used.await? { Ok(()) } else { Err(Failure::approval_required(approval)) }
    }

    /// Sends an entity a command, once: the step has this name. What is sent must be decided in a step before.
    pub async fn tell<C: WireCommand>(&self, key: &Key, step: &str, command: &C) -> Result<(), Failure> {
        self.step(step, &json!([key, command]), || async {
            told(self.asked()?, EntityAddress::new(C::KIND, key.clone()), step, Body::json(command)).await
        })
        .await
    }

    /// Who asks others. A recording answers steps itself; what it does not hold is not asked again.
    fn asked(&self) -> Result<&TaskClient, Failure> {
        self.client().ok_or_else(|| Failure::permanent("no-answer", "a recording asks nobody"))
    }

    /// What another task is now.
    pub async fn task(&self, key: &Key) -> Result<Task, Failure> {
        match self.asked()?.describe(key).await {
            Ok(Ok(task)) => Ok(task),
            Ok(Err(refusal)) => Err(refused(refusal)),
            Err(error) => {
                Err(Failure::transient("no-answer", format!("asking the task `{key}`: {}", chain(&error))))
            }
        }
    }
}

async fn told(client: &TaskClient, to: EntityAddress, purpose: &str, body: Body) -> Result<(), Failure> {
    match client.tell_entity(to.clone(), purpose, body).await {
        Ok(Verdict::Accepted) => Ok(()),
        Ok(Verdict::Refused(refusal)) if refusal.code == WAITS => Err(Failure::approval_required(&to.key)),
        Ok(Verdict::Refused(refusal)) => Err(refused(refusal)),
        Err(error) => Err(Failure::transient("no-answer", format!("asking `{to}`: {}", chain(&error)))),
    }
}

fn refused(refusal: Refusal) -> Failure {
    let failure = Failure::permanent(refusal.code.as_str(), refusal.message);
    match refusal.hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
