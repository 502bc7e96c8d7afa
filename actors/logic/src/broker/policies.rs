//! What settings say of the tasks of a lane: how their attempts are tried again, and what a tree may use.
//! A task is told with its assignment, so that what it decides follows from its own log.

use std::sync::Arc;

use actors_core::Refusal;
use bus_schemas::commands::task::Policy;
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
}

/// Whether these settings are about tasks.
pub(super) fn are_policies(config: &ApplyConfig) -> bool {
    config.name == Retry::NAME || config.name == Limits::NAME
}

/// What a version of the settings changes; none when the lane has it.
pub(super) fn apply_config(state: &State, config: &ApplyConfig) -> Result<Option<Event>, Refusal> {
    let (mut retry, mut budget) = (None, None);
    if config.name == Retry::NAME {
        retry = Some(rules::read::<Retry>(config)?).filter(|retry| *retry != state.policies().retry);
    } else {
        budget =
            Some(rules::read::<Limits>(config)?.budget).filter(|budget| *budget != state.policies().budget);
    }
    let version = config.version;
    Ok((retry.is_some() || budget.is_some()).then_some(Event::PoliciesSet { version, retry, budget }))
}

/// Applies what happened to the policies.
pub(super) fn fold(policies: &mut Arc<Policies>, event: &Event) {
    let Event::PoliciesSet { retry, budget, .. } = event else { return };
    let policies = Arc::make_mut(policies);
    policies.retry = retry.clone().unwrap_or_else(|| std::mem::take(&mut policies.retry));
    policies.budget = budget.clone().unwrap_or_else(|| std::mem::take(&mut policies.budget));
}

impl Policies {
    /// What a task with this skill is told; none where it is the default.
    pub(super) fn of(&self, skill: &str) -> Option<Box<Policy>> {
        let policy = Policy { retry: self.retry.policy(skill).clone(), budget: self.budget.clone() };
        (policy != Policy::default()).then(|| Box::new(policy))
    }
}
