//! What a task and everything below it waits for: asked of the tasks, their queues and their lanes themselves.

use std::sync::Arc;

use axum::extract::{Extension, State};
use bus_schemas::Refusal;
use bus_schemas::halts::{Halts, Standing};
use bus_schemas::views::lane::{LastClaim, Waiting};
use bus_schemas::views::waits::{Halted, Inquiry, Question, Waits};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::dto::State as TaskStateName;
use crate::rest::Edge;
use crate::rest::ask::{PATIENCE, PATIENCE_OF_MANY, view};
use crate::rest::extract::Id;
use crate::rest::lanes::BlockView;
use crate::rest::layer::Caller;
use crate::rest::problem::{Problem, code};
use crate::rest::silent::{SilentView, silent};

/// Questions that are on their way at once.
const ASKED_AT_ONCE: usize = 16;

/// What came of a question: the answer, none where there is no such task, or why there is none.
type Answer = Result<Option<Value>, Refusal>;

/// What a task and everything below it waits for. Times are milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Waits)]
pub struct WaitsView {
    /// The task.
    pub task: String,
    /// How far it is.
    pub state: TaskStateName,
    /// `nothing`, `lane`, `worker`, `backoff`, `answer`, `budget` or `children`.
    pub waits_for: String,
    /// In a sentence.
    pub reason: String,
    /// What would move it; empty for a task that has ended.
    pub moves: String,
    /// Since when, as far as its events say.
    pub since: u64,
    /// When it goes on by itself; null where that is not known.
    pub until: Option<u64>,
    /// The lane in which it waits.
    pub lane: String,
    /// What its lane says; null where it does not wait in one.
    pub in_lane: Option<WaitingView>,
    /// Its children that have not ended, with theirs.
    #[schema(no_recursion)]
    pub children: Vec<WaitsView>,
    /// Children that were started, and are not there.
    pub missing: Vec<String>,
    /// The halt that covers it.
    pub halted: Option<HaltedView>,
    /// Who did not say: its queue, its lane, or children that were started.
    pub silent: Vec<SilentView>,
    /// How many children were not asked, because there are too many.
    pub left_out: u64,
}

/// A halt that covers a task.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Halted)]
pub struct HaltedView {
    /// What stands still.
    pub scope: String,
    /// Why.
    pub reason: String,
    /// Who wanted it.
    pub by: String,
    /// Since when.
    pub since: u64,
}

/// What a task waits for in its lane.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Waiting)]
pub struct WaitingView {
    /// Whether it waits there at all.
    pub waits: bool,
    /// Which attempt waits or runs; 0 for none.
    pub attempt: u32,
    /// The agent, where it runs.
    pub agent: Option<String>,
    /// Since when it waits.
    pub since: Option<u64>,
    /// How many of the same skill are served before it.
    pub ahead: u64,
    /// Why it waits.
    pub blocks: Vec<BlockView>,
    /// Who was given work of the lane last in the task's partition; null where nobody was.
    pub last_claim: Option<LastClaimView>,
}

/// A claim that was given an attempt.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = LastClaim)]
pub struct LastClaimView {
    /// The agent.
    pub agent: String,
    /// Its worker.
    pub worker: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// Says what a task and everything below it waits for, since when, and what would move it.
#[utoipa::path(get, path = "/v1/tasks/{id}/why", operation_id = "explainTask", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, description = "as it is now", body = WaitsView)))]
pub async fn why(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
) -> Result<axum::Json<WaitsView>, Problem> {
    let mut inquiry = Inquiry::of(id.clone(), edge.bus.topology().partitions);
    loop {
        let questions = inquiry.questions();
        if questions.is_empty() {
            break;
        }
        let asked = futures::stream::iter(questions).map(|question| put(&edge, caller, question));
        let answers: Vec<_> = asked.buffered(ASKED_AT_ONCE).try_collect().await?;
        for (question, answer) in answers {
            match answer {
                Ok(answer) => inquiry.answer(&question, answer).map_err(|error| {
                    Problem::new(code::MALFORMED_ANSWER, format!("reading what a task waits for: {error}"))
                        .hint("gateway and host are of different versions; update the older one")
                })?,
                Err(refusal) => inquiry.refused(&question, refusal)?,
            }
        }
    }
    let missing = || {
        Problem::new(code::TASK_NOT_FOUND, format!("there is no task `{id}`"))
            .hint("`GET /v1/tasks` lists what there is")
    };
    let halts = halts(&edge).await?;
    inquiry.end(&halts).map(|waits| axum::Json(waits.into())).ok_or_else(missing)
}

/// The halts that stand, as far as the read model has them.
async fn halts(edge: &Edge) -> Result<Halts, Problem> {
    let mut halts = Halts::default();
    for halt in edge.projections.reader.halts().await?.into_iter().filter(|halt| halt.halted) {
        let (reason, by, since) = (halt.reason, halt.by, halt.since);
        let grace_ms = halt.grace_ms.unwrap_or_default();
        halts.stand(&halt.scope, Standing { reason, by, since, grace_ms });
    }
    Ok(halts)
}

/// Puts a question; a task that is not there has no answer, and one may refuse to give one. A lane lies in
/// another partition than the task, and is not waited for as long.
async fn put(edge: &Edge, caller: Caller, question: Question) -> Result<(Question, Answer), Problem> {
    let patience = match &question {
        Question::Task(_) | Question::Queue { .. } => PATIENCE,
        Question::Lane { .. } => PATIENCE_OF_MANY,
    };
    let to = question.to();
    match view(edge, caller, to.clone(), question.body(), patience).await {
        Ok(answer) => Ok((question, Ok(Some(answer)))),
        Err(problem) if problem.code == code::TASK_NOT_FOUND => Ok((question, Ok(None))),
        Err(problem) if problem.code == code::NO_ANSWER && !matches!(question, Question::Lane { .. }) => {
            Err(problem)
        }
        Err(problem) => {
            let hint = problem.hint.clone();
            let said = silent(&to, problem)?;
            let refusal = Refusal { code: said.code, message: said.reason, hint, retry_after_ms: None };
            Ok((question, Err(refusal)))
        }
    }
}

impl From<Waits> for WaitsView {
    fn from(waits: Waits) -> Self {
        let waits_for: &'static str = waits.waits_for.into();
        Self {
            task: waits.task.to_string(),
            state: waits.state.into(),
            waits_for: waits_for.to_owned(),
            reason: waits.reason,
            moves: waits.moves,
            since: waits.since.0,
            until: waits.until.map(|until| until.0),
            lane: waits.lane.to_string(),
            in_lane: waits.in_lane.map(Into::into),
            children: waits.children.into_iter().map(Into::into).collect(),
            missing: waits.missing.into_iter().map(|child| child.to_string()).collect(),
            halted: waits.halted.map(Into::into),
            silent: waits.silent.into_iter().map(Into::into).collect(),
            left_out: waits.left_out,
        }
    }
}

impl From<Halted> for HaltedView {
    fn from(Halted { scope, reason, by, since }: Halted) -> Self {
        Self { scope: scope.to_string(), reason, by, since: since.0 }
    }
}

impl From<Waiting> for WaitingView {
    fn from(waiting: Waiting) -> Self {
        Self {
            waits: waiting.waits,
            attempt: waiting.attempt,
            agent: waiting.agent.map(|agent| agent.to_string()),
            since: waiting.since.map(|since| since.0),
            ahead: waiting.ahead,
            blocks: waiting.blocks.into_iter().map(Into::into).collect(),
            last_claim: waiting.last_claim.map(|LastClaim { agent, worker, at }| LastClaimView {
                agent: agent.to_string(),
                worker: worker.to_string(),
                at: at.0,
            }),
        }
    }
}
