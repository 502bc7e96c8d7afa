//! Entities that are asked, many at once: who does not answer is named, and the others are shown.

use std::time::Duration;

use bus_schemas::envelope::code;
use bus_schemas::views::silent::Silent;
use bus_schemas::wire::{WireCommand, WireQuery};
use bus_schemas::{Body, EntityAddress, Key, Refusal};
use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commands::task::one_line;
use crate::failure::Failure;
use crate::session::Session;

/// Entities that are asked at once.
const ASKED_AT_ONCE: usize = 16;
/// How long one of many is waited for: the others shall be seen soon.
pub const PATIENCE_OF_MANY: Duration = Duration::from_secs(2);

/// What some entities answered, and who did not.
#[derive(Debug)]
pub struct Asked<T> {
    /// The answers, in the order of the questions.
    pub answers: Vec<(EntityAddress, T)>,
    /// Who gave none.
    pub silent: Vec<Silent>,
}

/// Asks the same of some entities of a kind. Fails where one of them answers what cannot be read, or refuses
/// the query itself.
pub async fn all<Q: WireQuery + Serialize, T: DeserializeOwned>(
    session: &Session,
    keys: impl IntoIterator<Item = Key>,
    query: &Q,
) -> Result<Asked<T>, Failure> {
    let body = Body::json(query);
    let entities = keys.into_iter().map(|key| EntityAddress::new(Q::KIND, key));
    let asked = futures::stream::iter(entities).map(async |entity| {
        let answer = session.view(entity.clone(), body.clone(), PATIENCE_OF_MANY).await;
        (entity, answer)
    });
    let (mut answers, mut silent) = (Vec::new(), Vec::new());
    for (entity, answer) in asked.buffered(ASKED_AT_ONCE).collect::<Vec<_>>().await {
        match answer {
            Ok(answer) => answers.push((entity, answer)),
            Err(failure) => silent.push(one_silent(&entity, failure)?),
        }
    }
    Ok(Asked { answers, silent })
}

/// One of many who does not answer, for as long as nobody mends it or its partition has no host; the failure
/// itself where it is another one.
pub fn one_silent(entity: &EntityAddress, failure: Failure) -> Result<Silent, Failure> {
    let codes = ["no-answer", code::ENTITY_QUARANTINED, code::ENTITY_STOPPED];
    match codes.into_iter().find(|code| *code == failure.code) {
        Some(code) => Ok(Silent::of(entity, &Refusal::new(code, failure.message))),
        None => Err(failure),
    }
}

/// The entities of a kind of which anything was heard. How they stand is asked of them.
pub async fn heard_of<C: WireCommand>(session: &Session) -> Result<Vec<Key>, Failure> {
    let subject = session.bus.subjects().events(Some(&C::KIND));
    let latest = session.bus.latest_events(&subject).await?;
    Ok(latest.into_iter().map(|event| event.entity.key).collect())
}

/// Who did not answer, a line each.
pub fn lines(silent: &[Silent]) -> impl Iterator<Item = String> {
    silent.iter().map(|Silent { entity, code, reason }| {
        format!("{entity} does not answer: {code}: {}", one_line(reason))
    })
}
