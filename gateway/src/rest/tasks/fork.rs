//! Forks: the events of a task up to a revision, for the task that goes on from there.

use bus_client::{Ask, EventQuery};
use bus_schemas::commands::task::{Command, Fork, PastEvent};
use bus_schemas::events::task::Event;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, Caller, EntityAddress, Key, Reply, Revision, upcast};
use futures::TryStreamExt;
use gateway_api::code;
use gateway_api::tasks::ForkTask;

use super::{Task, answered, find};
use crate::rest::ask::{Accepted, Answer, Call, PATIENCE};
use crate::rest::extract::{Id, Json};
use crate::rest::problem::Problem;

/// The most bytes of events that a fork carries: command and events must fit into messages of the server.
const PAST_BYTES_MAX: usize = 512 * 1024;

/// Forks a task. Only hosts and gateways send this command: what it says about another task must be so.
pub async fn fork(call: Call, Id(id): Id, Json(ForkTask { at, name }): Json<ForkTask>) -> Answer<Task> {
    find(&call, &id).await?;
    let name = match name {
        Some(name) => name,
        None => Key::parse(&format!("{id}-at-{at}").replace('.', "-"))
            .map_err(|error| Problem::new(code::INVALID_BODY, error.to_string()).hint("send a `name`"))?,
    };
    let (at, owner) = (Revision(at), call.caller.name.clone().into());
    let past = past(&call, &id, at).await?;
    let command = Command::Fork(Fork { origin: id, at, owner, past });
    let ask = Ask::new(EntityAddress::new(Command::KIND, name.clone()), Body::json(&command));
    match call.bus.ask(&ask.caller(Caller::SYSTEM.as_str()), PATIENCE).await? {
        Reply::Accepted { revision, events, result, .. } => {
            call.recent.note(&name);
            answered(&call, &name, Accepted { revision, events, result }).await.map(axum::Json)
        }
        Reply::Refused { refusal, .. } => Err(refusal.into()),
    }
}

/// The events of a task and of those below it, up to a revision of the task. A tree lies in one log, whose order the
/// stream has.
async fn past(call: &Call, id: &Key, at: Revision) -> Result<Vec<PastEvent>, Problem> {
    let entity = EntityAddress::new(Command::KIND, id.clone());
    let subjects = call.bus.subjects().event_tree(&entity).to_vec();
    let mut events = Box::pin(call.bus.events_until_now(EventQuery { subjects, from: 0 }).await?);
    let (mut past, mut bytes) = (Vec::new(), 0);
    while let Some(stored) = events.try_next().await? {
        let (task, revision) = (stored.entity.key, stored.event.revision);
        let is_last = task == *id && revision >= at;
        let event = upcast::read(&stored.event.event_type, stored.event.schema, &stored.event.body);
        let event: Event = event.map_err(|error| Problem::new(code::INTERNAL_ERROR, error.to_string()))?;
        if is_last || !is_of_budget(&event) {
            bytes += stored.event.body.len();
            past.push(PastEvent { task, revision, event });
        }
        if bytes > PAST_BYTES_MAX {
            let detail = format!("up to revision {at} `{id}` has more than {PAST_BYTES_MAX} bytes of events");
            return Err(Problem::new(code::FORK_TOO_LARGE, detail).hint("fork it at an earlier revision"));
        }
        if is_last {
            break;
        }
    }
    Ok(past)
}

/// Whether a fork, which has a budget of its own, needs nothing of this event.
fn is_of_budget(event: &Event) -> bool {
    matches!(event, Event::Reserved { .. } | Event::Settled { .. } | Event::JobCounted { .. })
}
