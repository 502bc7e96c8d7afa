//! Calls from requests to entities: sending a command or a query, and reading the reply.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use bus_client::Ask;
use bus_schemas::wire::{WireCommand, WireQuery};
use bus_schemas::{Body, EntityAddress, Key, Reply, Revision};
use gateway_api::code;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Edge;
use super::layer::Caller;
use super::problem::Problem;
use crate::trace;

/// Timeout of a command or a query: a partition that loses its host is served again within that time.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// Timeout of each of many queries: an entity that has not answered by then is named, and the others are
/// shown.
pub const PATIENCE_OF_MANY: Duration = Duration::from_secs(2);

/// The response of a handler: a view as JSON.
pub type Answer<T> = Result<axum::Json<T>, Problem>;

/// A request: what its handler may use, and the caller.
#[derive(Clone)]
pub struct Call {
    edge: Arc<Edge>,
    /// The caller's name.
    pub caller: Caller,
}

impl Deref for Call {
    type Target = Edge;
    fn deref(&self) -> &Edge {
        &self.edge
    }
}

impl FromRequestParts<Arc<Edge>> for Call {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, edge: &Arc<Edge>) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Problem::new(code::INTERNAL_ERROR, "the request has no caller"))?;
        Ok(Self { edge: Arc::clone(edge), caller })
    }
}

/// The reply to an accepted command.
#[derive(Debug)]
pub struct Accepted {
    /// The entity's revision after the command.
    pub revision: Revision,
    /// The number of events that the command led to.
    pub events: u32,
    /// The result, if any.
    pub result: Value,
}

impl Call {
    /// Sends a command under a new id.
    pub async fn ask<C: WireCommand>(&self, key: &Key, command: &C) -> Result<Accepted, Problem> {
        let ask = self.fresh(EntityAddress::new(C::KIND, key.clone()), Body::json(command));
        match self.bus.ask(&ask, PATIENCE).await? {
            Reply::Accepted { revision, events, result, .. } => {
                self.recent.note(key);
                Ok(Accepted { revision, events, result })
            }
            Reply::Refused { refusal, .. } => Err(refusal.into()),
        }
    }

    /// Sends a command, and reads the result.
    pub async fn tell<C: WireCommand, T: DeserializeOwned>(
        &self,
        key: &Key,
        command: &C,
    ) -> Result<T, Problem> {
        let accepted = self.ask(key, command).await?;
        read(&EntityAddress::new(C::KIND, key.clone()), accepted.result)
    }

    /// Sends a query: the owner answers from memory, and nothing is logged.
    pub async fn query<Q: WireQuery + Serialize, T: DeserializeOwned>(
        &self,
        key: &Key,
        query: &Q,
        patience: Duration,
    ) -> Result<T, Problem> {
        self.view(EntityAddress::new(Q::KIND, key.clone()), Body::json(query), patience).await
    }

    /// Sends a query, and reads an answer that comes within `patience`.
    pub async fn view<T: DeserializeOwned>(
        &self,
        to: EntityAddress,
        body: Body,
        patience: Duration,
    ) -> Result<T, Problem> {
        let ask = self.fresh(to, body);
        match self.bus.query(&ask, patience).await? {
            Reply::Accepted { result, .. } => read(&ask.to, result),
            Reply::Refused { refusal, .. } => Err(refusal.into()),
        }
    }

    fn fresh(&self, to: EntityAddress, body: Body) -> Ask {
        let ask =
            Ask::new(to, body).caller(self.caller.name.as_str()).traced(trace::outgoing(self.caller.trace));
        tracing::Span::current().record("correlation_id", tracing::field::display(ask.id));
        ask
    }
}

/// Reads the result of an entity's reply.
pub fn read<T: DeserializeOwned>(from: &EntityAddress, answer: Value) -> Result<T, Problem> {
    serde_json::from_value(answer).map_err(|error| {
        Problem::new(code::MALFORMED_ANSWER, format!("reading what `{from}` answered: {error}"))
            .hint("gateway and host are of different versions; update the older one")
    })
}
