//! Sending one command and reading its answer.

use std::time::Duration;

use bus_client::Ask;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Reply, Revision};
use serde_json::Value;

use super::Edge;
use super::layer::Caller;
use super::problem::Problem;
use crate::trace;

/// How long a request waits for an entity: a partition that loses its host is served again within
/// that time.
const PATIENCE: Duration = Duration::from_secs(15);
/// Who asks, in the log.
pub const CALLER: &str = "rest";

/// What an entity answered.
#[derive(Debug)]
pub struct Accepted {
    /// Its revision after the command.
    pub revision: Revision,
    /// How many events the command led to.
    pub events: u32,
    /// What it says, if anything.
    pub result: Value,
}

/// Sends a command under a fresh id.
pub async fn ask<C: WireCommand>(
    edge: &Edge,
    caller: Caller,
    key: Key,
    command: &C,
) -> Result<Accepted, Problem> {
    let ask = Ask::new(EntityAddress::new(C::KIND, key.clone()), Body::json(command))
        .caller(CALLER)
        .traced(trace::outgoing(caller.trace));
    tracing::Span::current().record("correlation_id", tracing::field::display(ask.id));
    match edge.bus.ask(&ask, PATIENCE).await? {
        Reply::Accepted { revision, events, result, .. } => {
            edge.recent.note(&key);
            Ok(Accepted { revision, events, result })
        }
        Reply::Refused { refusal, .. } => Err(refusal.into()),
    }
}
