//! Presence: the `agent` entity knows who is there. Registration and leaving; in between claims and renewals
//! tell the hosts that the worker lives.

use std::time::Duration;

use bus_client::{Ask, AskError};
use bus_schemas::commands::agent::Command;
use bus_schemas::{Body, EntityAddress, Kind, Refusal, Reply};

use super::{Crew, WorkerError};
use crate::contract::chain;

/// How long one command waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long leaving may take: the process is about to end, and silence tells the same.
const LEAVE_PATIENCE: Duration = Duration::from_secs(3);

/// Registers, however long it takes.
pub(super) async fn join(crew: &Crew) -> Result<(), WorkerError> {
    let register = Command::Register {
        worker: crew.name.clone(),
        card: crew.card.clone(),
        capacity: u32::try_from(crew.capacity).unwrap_or(u32::MAX),
        lanes: crew.lanes.clone(),
    };
    loop {
        match tell(crew, &register, PATIENCE).await {
            Ok(None) => {
                tracing::info!(agent = %crew.card.name, worker = %crew.name, capacity = crew.capacity, "registered");
                return Ok(());
            }
            Ok(Some(refusal)) => {
                return Err(WorkerError::Refused {
                    agent: crew.card.name.to_string(),
                    worker: crew.name.clone(),
                    refusal,
                });
            }
            // `tell` has waited for PATIENCE, so this is no busy loop.
            Err(error @ AskError::Unanswered { .. }) => {
                tracing::warn!(agent = %crew.card.name, error = chain(&error), "registering; trying again");
            }
            Err(source) => {
                let (agent, worker) = (crew.card.name.to_string(), crew.name.clone());
                return Err(WorkerError::Answer { agent, worker, source });
            }
        }
    }
}

/// Says good-bye. Not heard is no error: the silence will be noticed.
pub(super) async fn leave(crew: &Crew) {
    let deregister = Command::Deregister { worker: crew.name.clone(), reason: "stopping".into() };
    match tell(crew, &deregister, LEAVE_PATIENCE).await {
        Ok(_) => tracing::info!(agent = %crew.card.name, worker = %crew.name, "left"),
        Err(error) => tracing::warn!(agent = %crew.card.name, error = chain(&error), "leaving"),
    }
}

/// Why the agent's entity refuses a command, if it does.
async fn tell(crew: &Crew, command: &Command, patience: Duration) -> Result<Option<Refusal>, AskError> {
    let agent = EntityAddress::new(Kind::from_static("agent"), crew.card.name.clone());
    let ask = Ask::new(agent, Body::json(command)).caller(&crew.name);
    Ok(match crew.bus.ask(&ask, patience).await? {
        Reply::Accepted { .. } => None,
        Reply::Refused { refusal, .. } => Some(refusal),
    })
}
