//! Agents and their workers, and the manifests that declare some of them.

use bus_schemas::commands::agent::{Command, Loaded, Query as Question};
use bus_schemas::manifests::{AgentManifest, MANIFESTS_MAX};
use bus_schemas::{Key, Revision};
use gateway_api::agents::{Agent, AgentPage, Source};
use gateway_api::dead_letters::Reason;
use gateway_api::paging::Paging;
use gateway_api::{NextStep, code};

use super::ask::{Answer, Call, PATIENCE};
use super::cursor;
use super::extract::{Id, Json, OptionalJson, Query};
use super::problem::Problem;
use super::tasks::{VISIBLE_PATIENCE, behind};

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

/// Declares an agent by a manifest, or replaces its manifest.
pub async fn load(call: Call, Id(name): Id, Json(manifest): Json<AgentManifest>) -> Answer<Agent> {
    check_all(&call, &name, &manifest).await?;
    let accepted = call.ask(&name, &Command::Load { manifest: Box::new(manifest) }).await?;
    at(&call, &name, accepted.revision).await
}

/// Takes the manifest of an agent away.
pub async fn unload(call: Call, Id(name): Id, OptionalJson(body): OptionalJson<Reason>) -> Answer<Agent> {
    let accepted = call.ask(&name, &Command::Unload { reason: body.reason }).await?;
    at(&call, &name, accepted.revision).await
}

/// Checks a manifest as loading it would.
pub async fn check(call: Call, Id(name): Id, Json(manifest): Json<AgentManifest>) -> Answer<Loaded> {
    check_all(&call, &name, &manifest).await.map(axum::Json)
}

/// Checks a manifest by itself, then against the other agents. What they are may change at any time: hosts look again
/// before they run the agent, and report.
async fn check_all(call: &Call, name: &Key, manifest: &AgentManifest) -> Result<Loaded, Problem> {
    let question = Question::CheckManifest { manifest: Box::new(manifest.clone()) };
    let loaded = call.query(name, &question, PATIENCE).await?;
    for (field, schema) in [("input", &manifest.input), ("output", &manifest.output)] {
        jsonschema::validator_for(schema).map_err(|error| {
            Problem::new(code::INVALID_MANIFEST, format!("`/{field}` is no JSON Schema: {error}"))
                .hint("correct the schema: JSON Schema 2020-12, written as a table")
        })?;
    }
    check_others(manifest, &call.projections.reader.all_agents().await?)?;
    Ok(loaded)
}

/// Checks a manifest against the other agents.
fn check_others(manifest: &AgentManifest, agents: &[Agent]) -> Result<(), Problem> {
    let AgentManifest { name, skill, dependencies, .. } = manifest;
    let others = || agents.iter().filter(|agent| agent.name != *name);
    let is_loaded = |agent: &&Agent| agent.declared.as_ref().is_some_and(|declared| declared.loaded);
    if others().filter(is_loaded).count() >= MANIFESTS_MAX {
        let message = format!("{MANIFESTS_MAX} agents are declared by manifests already");
        return Err(Problem::new(code::TOO_MANY_MANIFESTS, message).hint("unload one that nobody needs"));
    }
    let has = |agent: &&Agent| match agent.declared.as_ref() {
        Some(declared) => declared.loaded && declared.manifest.skill == *skill,
        None => {
            let is_there = agent.source == Source::Shipped || !agent.workers.is_empty();
            is_there && agent.card.iter().flat_map(|card| &card.skills).any(|known| known.id == *skill)
        }
    };
    if let Some(other) = others().find(has) {
        let message = format!("the agent `{}` has the skill `{skill}`", other.name);
        return Err(Problem::new(code::SKILL_TAKEN, message).hint("give the skill another id"));
    }
    for (dependency, wanted) in dependencies {
        let missing = |found: String| {
            let message = format!("`{name}` depends on the agent `{dependency}` {wanted}, {found}");
            Problem::new(code::DEPENDENCY_MISSING, message).next(NextStep::ListAgents)
        };
        let card = others().find(|agent| agent.name == *dependency && !agent.workers.is_empty());
        let card = card.and_then(|agent| agent.card.as_ref());
        let card = card.ok_or_else(|| missing("which has no worker".to_owned()))?;
        if !AgentManifest::is_met(wanted, &card.version) {
            return Err(missing(format!("and there is version {}", card.version)));
        }
    }
    Ok(())
}

/// The agent as of a revision: what was acknowledged is shown.
async fn at(call: &Call, name: &Key, revision: Revision) -> Answer<Agent> {
    let found = call.projections.until(VISIBLE_PATIENCE, |reader| {
        let name = name.clone();
        async move { Ok(reader.agent(&name).await?.filter(|agent| agent.revision >= revision)) }
    });
    found.await?.map(axum::Json).ok_or_else(|| behind(call))
}
