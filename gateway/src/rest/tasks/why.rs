//! What a task and its descendants wait for: queried from the tasks, their queues and their lanes themselves.

use bus_schemas::Refusal;
use bus_schemas::halts::{ActiveHalt, Halts};
use bus_schemas::views::waits::{Inquiry, Question, Waits};
use futures::{StreamExt, TryStreamExt};
use gateway_api::{NextStep, code};
use serde_json::Value;

use crate::rest::ask::{Answer as Answered, Call, PATIENCE, PATIENCE_OF_MANY};
use crate::rest::extract::Id;
use crate::rest::problem::Problem;
use crate::rest::silent::silent;

/// Queries under way at once.
const ASKED_AT_ONCE: usize = 16;

/// The result of a query: the answer, `None` where the task does not exist, or the refusal.
type Answer = Result<Option<Value>, Refusal>;

/// Explains what a task and its descendants wait for, since when, and what would unblock them.
pub async fn why(call: Call, Id(id): Id) -> Answered<Waits> {
    let mut inquiry = Inquiry::of(id.clone(), call.bus.topology().partitions);
    loop {
        let questions = inquiry.questions();
        if questions.is_empty() {
            break;
        }
        let asked = futures::stream::iter(questions).map(|question| put(&call, question));
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
    let missing =
        || Problem::new(code::TASK_NOT_FOUND, format!("there is no task `{id}`")).next(NextStep::ListTasks);
    let halts = halts(&call).await?;
    inquiry.end(&halts).map(axum::Json).ok_or_else(missing)
}

/// The halts in force, from the read model.
async fn halts(call: &Call) -> Result<Halts, Problem> {
    let mut halts = Halts::default();
    for halt in call.projections.reader.all_halts().await?.into_iter().filter(|halt| halt.halted) {
        let (reason, by, since) = (halt.reason, halt.by, halt.since);
        let grace_ms = halt.grace_ms.unwrap_or_default();
        halts.stand(&halt.scope, ActiveHalt { reason, by, since, grace_ms });
    }
    Ok(halts)
}

/// Sends a query. A task that does not exist has no answer, and an entity may refuse one. A lane lies in
/// another partition than the task, and has a shorter timeout.
async fn put(call: &Call, question: Question) -> Result<(Question, Answer), Problem> {
    let patience = match &question {
        Question::Task(_) | Question::Queue { .. } => PATIENCE,
        Question::Lane { .. } => PATIENCE_OF_MANY,
    };
    let to = question.to();
    match call.view(to.clone(), question.body(), patience).await {
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
