//! Presence: the `agent` entity knows its workers by registration and deregistration; in between, claims and
//! renewals show the hosts that the worker is alive.

use std::time::Duration;

use bus_client::{Ask, AskError};
use bus_schemas::commands::agent::Command;
use bus_schemas::{Body, EntityAddress, Kind, Refusal, Reply, chain};

use super::{WorkerContext, WorkerError};

/// Timeout of one command.
const PATIENCE: Duration = Duration::from_secs(10);
/// Timeout of deregistration: the process is about to end, and silence has the same effect.
const LEAVE_PATIENCE: Duration = Duration::from_secs(3);

/// Registers the worker, however long it takes.
pub(super) async fn join(context: &WorkerContext) -> Result<(), WorkerError> {
    let register = Command::Register {
        worker: context.name.clone(),
        card: context.card.clone(),
        capacity: u32::try_from(context.capacity).unwrap_or(u32::MAX),
        lanes: context.lanes.clone(),
    };
    loop {
        match tell(context, &register, PATIENCE).await {
            Ok(None) => {
                tracing::info!(agent = %context.card.name, worker = %context.name, capacity = context.capacity, "registered");
                return Ok(());
            }
            Ok(Some(refusal)) => {
                return Err(WorkerError::Refused {
                    agent: context.card.name.to_string(),
                    worker: context.name.clone(),
                    refusal,
                });
            }
            // `tell` has waited for PATIENCE, so this is no busy loop.
            Err(error @ AskError::Unanswered { .. }) => {
                tracing::warn!(agent = %context.card.name, error = chain(&error), "registering; trying again");
            }
            Err(source) => {
                let (agent, worker) = (context.card.name.to_string(), context.name.clone());
                return Err(WorkerError::Answer { agent, worker, source });
            }
        }
    }
}

/// Deregisters the worker. A failure is no error: the hosts will notice the silence.
pub(super) async fn leave(context: &WorkerContext) {
    let deregister = Command::Deregister { worker: context.name.clone(), reason: "stopping".into() };
    match tell(context, &deregister, LEAVE_PATIENCE).await {
        Ok(_) => tracing::info!(agent = %context.card.name, worker = %context.name, "left"),
        Err(error) => tracing::warn!(agent = %context.card.name, error = chain(&error), "leaving"),
    }
}

/// The refusal of the agent's entity, if it refuses the command.
async fn tell(
    context: &WorkerContext,
    command: &Command,
    patience: Duration,
) -> Result<Option<Refusal>, AskError> {
    let agent = EntityAddress::new(Kind::from_static("agent"), context.card.name.clone());
    let ask = Ask::new(agent, Body::json(command)).caller(&context.name);
    Ok(match context.bus.ask(&ask, patience).await? {
        Reply::Accepted { .. } => None,
        Reply::Refused { refusal, .. } => Some(refusal),
    })
}
