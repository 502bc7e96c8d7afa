//! Budgets: as clients write and see them, and how one is extended.

use std::sync::Arc;

use axum::extract::{Extension, State};
use bus_schemas::commands::task::{Command, Usage};
use bus_schemas::settings::{Budget, Duration};
use bus_schemas::views::task::{Account, Exceeded};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dto::TaskView;
use crate::rest::Edge;
use crate::rest::ask::CALLER;
use crate::rest::extract::{Id, Json};
use crate::rest::layer::Caller;
use crate::rest::problem::Problem;

/// What a task and everything below it may use. What is left out is not bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Budget)]
pub struct BudgetView {
    /// Tokens of models, in both directions.
    #[schema(minimum = 1)]
    #[serde(deserialize_with = "crate::rest::extract::int64", default)]
    pub tokens: Option<u64>,
    /// Money, in millionths of the currency in which the prices are given.
    #[schema(minimum = 1)]
    #[serde(deserialize_with = "crate::rest::extract::int64", default)]
    pub money_micros: Option<u64>,
    /// Calls of tools.
    #[schema(minimum = 1)]
    #[serde(deserialize_with = "crate::rest::extract::int64", default)]
    pub tool_calls: Option<u64>,
    /// Time from its submission to its end: a number with `ms`, `s`, `m`, `h` or `d`, at least `1s`.
    #[schema(value_type = Option<String>)]
    pub wall_clock: Option<Duration>,
    /// Jobs, those of its children with them.
    #[schema(minimum = 1)]
    #[serde(deserialize_with = "crate::rest::extract::int64", default)]
    pub jobs: Option<u64>,
}

/// What calls use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Usage)]
pub struct UsageView {
    /// Tokens of models, in both directions.
    pub tokens: u64,
    /// Money, in millionths of the currency in which the prices are given.
    pub money_micros: u64,
    /// Calls of tools.
    pub tool_calls: u64,
    /// Jobs.
    pub jobs: u64,
}

/// The budget of a tree, kept by its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Account)]
pub struct AccountView {
    /// What it may use.
    pub limits: BudgetView,
    /// What was used.
    pub used: UsageView,
    /// What calls that are under way may use.
    pub reserved: UsageView,
    /// Why it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceeded: Option<ExceededView>,
}

/// A bound that did not allow what was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Exceeded)]
pub struct ExceededView {
    /// Which: `tokens`, `money-micros`, `tool-calls`, `jobs` or `wall-clock`.
    pub dimension: String,
    /// The question.
    pub question: String,
    /// Names the question: an answer says which one it is about.
    pub question_id: u64,
    /// Whom it asks.
    pub asks: String,
    /// Milliseconds since 1970: since when.
    pub at: u64,
}

/// How much more a tree may use.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendBudget {
    /// How much more of each; time counts from now.
    pub extend: BudgetView,
    /// Why; kept in the log.
    #[serde(default)]
    pub reason: String,
    /// Who. Default: `rest`.
    pub by: Option<String>,
}

/// Lets a task and everything below it use more. A tree that was paused for its budget goes on.
#[utoipa::path(post, path = "/v1/tasks/{id}/budget", operation_id = "extendBudget", tag = "tasks", params(("id" = String, Path, description = "the task at the top of the tree")), request_body = ExtendBudget,
    responses((status = 200, description = "as it is now", body = TaskView)))]
pub async fn extend(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    Json(body): Json<ExtendBudget>,
) -> Result<axum::Json<TaskView>, Problem> {
    let ExtendBudget { extend, reason, by } = body;
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    super::change(&edge, caller, id, Command::ExtendBudget { extend: extend.into(), reason, by }).await
}

impl From<BudgetView> for Budget {
    fn from(budget: BudgetView) -> Self {
        let BudgetView { tokens, money_micros, tool_calls, wall_clock, jobs } = budget;
        Self { tokens, money_micros, tool_calls, wall_clock, jobs }
    }
}

impl From<Budget> for BudgetView {
    fn from(budget: Budget) -> Self {
        let Budget { tokens, money_micros, tool_calls, wall_clock, jobs } = budget;
        Self { tokens, money_micros, tool_calls, wall_clock, jobs }
    }
}

impl From<Usage> for UsageView {
    fn from(usage: Usage) -> Self {
        let Usage { tokens, money_micros, tool_calls, jobs } = usage;
        Self { tokens, money_micros, tool_calls, jobs }
    }
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        let Account { limits, used, reserved, exceeded } = account;
        let (limits, used, reserved) = (limits.into(), used.into(), reserved.into());
        Self { limits, used, reserved, exceeded: exceeded.map(Into::into) }
    }
}

impl From<Exceeded> for ExceededView {
    fn from(Exceeded { dimension, question, question_id, asks, at }: Exceeded) -> Self {
        let dimension: &'static str = dimension.into();
        Self {
            dimension: dimension.to_owned(),
            question,
            question_id: question_id.0,
            asks: asks.to_string(),
            at: at.0,
        }
    }
}
