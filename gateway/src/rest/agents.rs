//! Agents and their workers.

use gateway_api::agents::{Agent, AgentPage};
use gateway_api::paging::Paging;
use gateway_api::{NextStep, code};

use super::ask::{Answer, Call};
use super::cursor;
use super::extract::{Id, Query};
use super::problem::Problem;

/// Lists agents, by name.
pub async fn list(call: Call, Query(paging): Query<Paging>) -> Answer<AgentPage> {
    let (after, limit) = cursor::page(&paging)?;
    let mut page = call.projections.reader.agents(after, limit).await?;
    page.items.iter_mut().for_each(|agent| call.heard.note(agent));
    Ok(axum::Json(AgentPage { agents: page.items, next_cursor: page.next.as_ref().map(cursor::write) }))
}

/// Shows an agent with its workers.
pub async fn show(call: Call, Id(name): Id) -> Answer<Agent> {
    let mut agent = call.projections.reader.agent(&name).await?.ok_or_else(|| {
        Problem::new(code::AGENT_NOT_FOUND, format!("no agent is called `{name}`")).next(NextStep::ListAgents)
    })?;
    call.heard.note(&mut agent);
    Ok(axum::Json(agent))
}
