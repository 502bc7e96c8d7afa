//! What settings say of the tasks of a lane: how their attempts are tried again, and what a tree may use.
//! A task is told with its assignment, so that what it decides follows from its own log.

use std::sync::Arc;

use actors_core::Refusal;
use bus_schemas::events::broker::Event;
use bus_schemas::settings::{ApplyConfig, Budget, Limits, Retry, Setting};
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::rules;

/// What settings say of tasks. Shared, because the state is copied for each decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policies {
    retry: Retry,
    budget: Budget,
    /// The version of the settings `retry` that the lane was told; 0 for the defaults.
    #[serde(default)]
    retry_version: u64,
    /// The version of the settings `limits` that the lane was told; 0 for the defaults.
    #[serde(default)]
    limits_version: u64,
}

/// Whether these settings are about tasks.
pub(super) fn are_policies(config: &ApplyConfig) -> bool {
    config.name == Retry::NAME || config.name == Limits::NAME
}

/// What a version of the settings changes; none when the lane has it. A version that says the same as
/// the one before is noted as well: people ask which one a lane runs.
pub(super) fn apply_config(state: &State, config: &ApplyConfig) -> Result<Option<Event>, Refusal> {
    let (mut retry, mut budget) = (None, None);
    let (known, version) = (state.policies(), config.version);
    if config.name == Retry::NAME {
        let is_news = |retry: &Retry| *retry != known.retry || version != known.retry_version;
        retry = Some(rules::read::<Retry>(config)?).filter(is_news);
    } else {
        let is_news = |budget: &Budget| *budget != known.budget || version != known.limits_version;
        budget = Some(rules::read::<Limits>(config)?.budget).filter(is_news);
    }
    Ok((retry.is_some() || budget.is_some()).then_some(Event::PoliciesSet { version, retry, budget }))
}

/// Applies what happened to the policies.
pub(super) fn fold(policies: &mut Arc<Policies>, event: &Event) {
    let Event::PoliciesSet { version, retry, budget } = event else { return };
    let policies = Arc::make_mut(policies);
    if let Some(retry) = retry {
        (policies.retry, policies.retry_version) = (retry.clone(), *version);
    }
    if let Some(budget) = budget {
        (policies.budget, policies.limits_version) = (budget.clone(), *version);
    }
}

impl Policies {
    /// Which versions of the settings the lane was told, by name.
    pub(super) fn versions(&self) -> [(&'static str, u64); 2] {
        [(Limits::NAME, self.limits_version), (Retry::NAME, self.retry_version)]
    }
    /// What queues are told, for their tasks.
    pub(super) fn told(&self) -> (Retry, Budget) {
        (self.retry.clone(), self.budget.clone())
    }
}
