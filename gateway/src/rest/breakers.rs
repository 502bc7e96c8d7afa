//! Breakers: which dependencies may be called and why not; opening and closing breakers by hand.
//!
//! The read model knows which breakers exist; the status of each is queried from the breaker itself.

use bus_schemas::Key;
use bus_schemas::commands::breaker::{Command, Phase, Query as BreakerQuery};
use gateway_api::breakers::{Breaker, BreakerChanged, BreakerPage, ChangeBreaker};
use gateway_api::paging::Paging;
use gateway_api::{NextStep, code};

use super::ask::{Answer, Call, PATIENCE};
use super::cursor;
use super::extract::{Id, Json, Query};
use super::problem::Problem;
use super::silent::{Asked, ask_all};
use super::tasks::VISIBLE_PATIENCE;

/// Lists breakers: the pages are by name, and within a page those that are not closed come first.
pub async fn list(call: Call, Query(paging): Query<Paging>) -> Answer<BreakerPage> {
    let (after, limit) = cursor::page(&paging)?;
    let page = call.projections.reader.breakers(after, limit).await?;
    let heard_of = page.items.into_iter().map(|breaker| breaker.dependency);
    let Asked { answers, silent } = ask_all(&call, heard_of, &BreakerQuery::Describe).await?;
    let breaker = |(entity, now): (bus_schemas::EntityAddress, _)| Breaker { dependency: entity.key, now };
    let mut breakers: Vec<Breaker> = answers.into_iter().map(breaker).collect();
    breakers.sort_by_cached_key(|breaker| (breaker.now.phase == Phase::Closed, breaker.dependency.clone()));
    Ok(axum::Json(BreakerPage { breakers, silent, next_cursor: page.next.as_ref().map(cursor::write) }))
}

/// Shows a breaker.
pub async fn show(call: Call, Id(dependency): Id) -> Answer<Breaker> {
    known(&call, dependency).await.map(axum::Json)
}

/// Opens a breaker until it is reset, also before the dependency's first call.
pub async fn trip(call: Call, Id(dependency): Id, Json(body): Json<ChangeBreaker>) -> Answer<BreakerChanged> {
    let known = describe(&call, &dependency).await?.now.revision > 0;
    call.ask(&dependency, &Command::Trip { reason: body.reason }).await?;
    // From now on the list shows it.
    let listed = call.projections.until(VISIBLE_PATIENCE, |reader| {
        let dependency = dependency.clone();
        async move { Ok(reader.breaker(&dependency).await?.map(|_| ())) }
    });
    listed.await?;
    Ok(axum::Json(BreakerChanged { breaker: describe(&call, &dependency).await?, known }))
}

/// Closes a breaker.
pub async fn reset(
    call: Call,
    Id(dependency): Id,
    Json(body): Json<ChangeBreaker>,
) -> Answer<BreakerChanged> {
    // A misspelled name must not be answered as if a breaker had been closed.
    known(&call, dependency.clone()).await?;
    call.ask(&dependency, &Command::Reset { reason: body.reason }).await?;
    Ok(axum::Json(BreakerChanged { breaker: describe(&call, &dependency).await?, known: true }))
}

/// The status of a known breaker.
async fn known(call: &Call, dependency: Key) -> Result<Breaker, Problem> {
    let breaker = describe(call, &dependency).await?;
    if breaker.now.revision > 0 {
        return Ok(breaker);
    }
    let missing = format!("no dependency `{dependency}` is known");
    Err(Problem::new(code::BREAKER_NOT_FOUND, missing).next(NextStep::ListBreakers))
}

async fn describe(call: &Call, dependency: &Key) -> Result<Breaker, Problem> {
    let now = call.query(dependency, &BreakerQuery::Describe, PATIENCE).await?;
    Ok(Breaker { dependency: dependency.clone(), now })
}
