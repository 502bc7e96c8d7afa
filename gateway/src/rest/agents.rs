//! Agents and their workers.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Edge;
use super::problem::Problem;
use crate::projections::agent::Agent;

/// All agents.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AgentList {
    /// By name.
    pub agents: Vec<Agent>,
}

/// Lists agents.
#[utoipa::path(get, path = "/v1/agents", operation_id = "listAgents", tag = "agents", responses((status = 200, description = "as it is now", body = AgentList)))]
pub async fn list(State(edge): State<Arc<Edge>>) -> Result<axum::Json<AgentList>, Problem> {
    let mut agents = edge.projections.reader.agents().await?;
    agents.iter_mut().for_each(|agent| edge.heard.note(agent));
    Ok(axum::Json(AgentList { agents }))
}
