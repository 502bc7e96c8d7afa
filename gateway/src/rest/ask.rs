//! Sending one command or asking one query, and reading the answer.

use std::time::Duration;

use bus_client::Ask;
use bus_schemas::wire::{WireCommand, WireQuery};
use bus_schemas::{Body, EntityAddress, Key, Reply, Revision};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Edge;
use super::layer::Caller;
use super::problem::{Problem, code};
use crate::trace;

/// How long a request waits for an entity: a partition that loses its host is served again within
/// that time.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How long one of many is waited for: who has not answered then is named, and the others are shown.
pub const PATIENCE_OF_MANY: Duration = Duration::from_secs(2);
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
    let ask = fresh(EntityAddress::new(C::KIND, key.clone()), Body::json(command), caller);
    match edge.bus.ask(&ask, PATIENCE).await? {
        Reply::Accepted { revision, events, result, .. } => {
            edge.recent.note(&key);
            Ok(Accepted { revision, events, result })
        }
        Reply::Refused { refusal, .. } => Err(refusal.into()),
    }
}

/// Asks a query of an entity: its owner answers from memory, and nothing of it is in a log.
pub async fn query<Q: WireQuery + Serialize, T: DeserializeOwned>(
    edge: &Edge,
    caller: Caller,
    key: &Key,
    query: &Q,
) -> Result<T, Problem> {
    view(edge, caller, EntityAddress::new(Q::KIND, key.clone()), Body::json(query), PATIENCE).await
}

/// Asks a query, and reads what comes within `patience`.
pub async fn view<T: DeserializeOwned>(
    edge: &Edge,
    caller: Caller,
    to: EntityAddress,
    body: Body,
    patience: Duration,
) -> Result<T, Problem> {
    let ask = fresh(to, body, caller);
    match edge.bus.query(&ask, patience).await? {
        Reply::Accepted { result, .. } => read(&ask.to, result),
        Reply::Refused { refusal, .. } => Err(refusal.into()),
    }
}

/// Reads what an entity answered.
pub fn read<T: DeserializeOwned>(from: &EntityAddress, answer: Value) -> Result<T, Problem> {
    serde_json::from_value(answer).map_err(|error| {
        Problem::new(code::MALFORMED_ANSWER, format!("reading what `{from}` answered: {error}"))
            .hint("gateway and host are of different versions; update the older one")
    })
}

fn fresh(to: EntityAddress, body: Body, caller: Caller) -> Ask {
    let ask = Ask::new(to, body).caller(CALLER).traced(trace::outgoing(caller.trace));
    tracing::Span::current().record("correlation_id", tracing::field::display(ask.id));
    ask
}
