//! The policies of settings for the tasks of a lane: retries and budgets. A task gets its policy with its
//! assignment, so that its decisions follow from its own log.

use std::sync::Arc;

use actors_core::Refusal;
use bus_schemas::events::lane::Event;
use bus_schemas::settings::{ApplySettings, Budget, Limits, Retry, Setting};
use serde::{Deserialize, Serialize};

use super::state::State;
use crate::rules;

/// The policies for tasks. Shared, because the state is copied for each decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policies {
    retry: Retry,
    budget: Budget,
    /// The version of the settings `retry`; 0 for the defaults.
    #[serde(default)]
    retry_version: u64,
    /// The version of the settings `limits`; 0 for the defaults.
    #[serde(default)]
    limits_version: u64,
}

/// Whether these settings are about tasks.
pub(super) fn are_policies(config: &ApplySettings) -> bool {
    config.name == Retry::NAME || config.name == Limits::NAME
}

/// The change by a version of the settings; `None` if the lane has that version. A version without a change
/// is noted too, so that it can be shown.
pub(super) fn apply_settings(state: &State, config: &ApplySettings) -> Result<Option<Event>, Refusal> {
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

/// Applies an event of the policies.
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
    /// The versions of the settings, by name.
    pub(super) fn versions(&self) -> [(&'static str, u64); 2] {
        [(Limits::NAME, self.limits_version), (Retry::NAME, self.retry_version)]
    }
    /// The policies for the queues.
    pub(super) fn told(&self) -> (Retry, Budget) {
        (self.retry.clone(), self.budget.clone())
    }
}
