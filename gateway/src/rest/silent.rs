//! Queries of many entities at once: those that do not answer are named, and the others are shown.

use bus_schemas::envelope::code as refusal;
use bus_schemas::views::silent::Silent;
use bus_schemas::wire::WireQuery;
use bus_schemas::{Body, EntityAddress, Key, Refusal};
use futures::StreamExt;
use gateway_api::code;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ask::{Call, PATIENCE_OF_MANY};
use super::problem::Problem;

/// Entities queried at once.
const ASKED_AT_ONCE: usize = 16;

/// The answers of some entities, and those that did not answer.
#[derive(Debug)]
pub struct Asked<T> {
    /// The answers, in the order of the queries.
    pub answers: Vec<(EntityAddress, T)>,
    /// The entities that did not answer.
    pub silent: Vec<Silent>,
}

/// Sends some entities of a kind the same query. Fails where an answer cannot be read, or the query itself is
/// refused.
pub async fn ask_all<Q: WireQuery + Serialize, T: DeserializeOwned>(
    call: &Call,
    keys: impl IntoIterator<Item = Key>,
    query: &Q,
) -> Result<Asked<T>, Problem> {
    let entities: Vec<EntityAddress> = keys.into_iter().map(|key| EntityAddress::new(Q::KIND, key)).collect();
    let asked = futures::stream::iter(entities).map(|entity| {
        let (call, body) = (call.clone(), Body::json(query));
        async move {
            let answer = call.view(entity.clone(), body, PATIENCE_OF_MANY).await;
            (entity, answer)
        }
    });
    let (mut answers, mut quiet) = (Vec::new(), Vec::new());
    for (entity, answer) in asked.buffered(ASKED_AT_ONCE).collect::<Vec<_>>().await {
        match answer {
            Ok(answer) => answers.push((entity, answer)),
            Err(problem) => quiet.push(silent(&entity, problem)?),
        }
    }
    Ok(Asked { answers, silent: quiet })
}

/// An entity that does not answer because it is stopped or its partition has no host; any other problem is
/// returned as it is.
pub fn silent(entity: &EntityAddress, problem: Problem) -> Result<Silent, Problem> {
    let codes = [code::NO_ANSWER, refusal::ENTITY_QUARANTINED, refusal::ENTITY_STOPPED];
    match codes.into_iter().find(|code| *code == problem.code) {
        Some(code) => Ok(Silent::of(entity, &Refusal::new(code, problem.detail))),
        None => Err(problem),
    }
}
