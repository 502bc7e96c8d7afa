//! `orrery task why`: what a task waits for, since when, and what would move it, down to the leaves.
//!
//! The tasks, their queues and their lanes say so themselves, over the bus: no gateway is needed.

use std::time::Duration;

use bus_client::{Ask, AskError, Bus};
use bus_schemas::views::task::WaitsFor;
use bus_schemas::views::waits::{Inquiry, Question, Waits};
use bus_schemas::{Key, Refusal, Reply};
use futures::{StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::one_line;
use crate::asked::{self, PATIENCE_OF_MANY};
use crate::commands::lanes::age;
use crate::failure::{Failure, chain, exit};
use crate::output::Show;
use crate::progress::{now, word};

/// Questions that are on their way at once.
const ASKED_AT_ONCE: usize = 16;
/// The code of a task that is not there.
const NOT_FOUND: &str = "task-not-found";

/// What a task waits for.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Answer(pub Waits);

impl Show for Answer {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        self::lines(&self.0, 0, &mut lines);
        lines.join("\n")
    }
}

fn lines(waits: &Waits, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let state = word(waits.state);
    lines.push(format!("{indent}{} ({state}): {}", waits.task, one_line(&waits.sentence())));
    if waits.waits_for == WaitsFor::Nothing {
        return;
    }
    let since = waits.since;
    lines.push(format!("{indent}  since     {}, {} ago", since.to_rfc3339(), age(since, now())));
    lines.extend(waits.until.map(|until| format!("{indent}  until     {}", until.to_rfc3339())));
    lines.push(format!("{indent}  moved by  {}", one_line(&waits.moves)));
    lines.extend(asked::lines(&waits.silent).map(|silent| format!("{indent}  {silent}")));
    waits.children.iter().for_each(|child| self::lines(child, depth + 1, lines));
    if waits.left_out > 0 {
        lines.push(format!("{indent}  and {} more tasks, which were not asked", waits.left_out));
    }
}

/// Asks a task, what is below it, and the queues and lanes in which they wait. Fails with `task-not-found`
/// where there is no such task, and where its partition does not answer within `patience`; a lane that does
/// not answer, and who refuses to say, is part of the answer.
pub(super) async fn of(bus: &Bus, task: &Key, patience: Duration) -> Result<Waits, Failure> {
    let mut inquiry = Inquiry::of(task.clone(), bus.topology().partitions);
    loop {
        let questions = inquiry.questions();
        if questions.is_empty() {
            break;
        }
        let asked = futures::stream::iter(questions).map(async |question| {
            let answer = ask(bus, &question, patience).await?;
            Ok::<_, Failure>((question, answer))
        });
        let answers: Vec<_> = asked.buffered(ASKED_AT_ONCE).try_collect().await?;
        for (question, answer) in answers {
            match answer {
                Ok(answer) => inquiry.answer(&question, answer).map_err(|error| {
                    Failure::of("malformed-answer", &error)
                        .next("the system is of another version than this program: use the same")
                        .exit(exit::UNAVAILABLE)
                })?,
                Err(refusal) => inquiry.refused(&question, refusal)?,
            }
        }
    }
    let (halts, _) = bus.halts().await?;
    halts.read(|halts| inquiry.end(halts)).ok_or_else(|| {
        Failure::new(NOT_FOUND, format!("there is no task `{task}`"))
            .next("`orrery task list` shows what there is")
            .exit(exit::NOT_FOUND)
    })
}

/// The answer, none where there is no such task, or why there is none.
type Told = Result<Option<Value>, Refusal>;

/// Puts a question. A lane lies in another partition than the task, and is not waited for as long.
async fn ask(bus: &Bus, question: &Question, patience: Duration) -> Result<Told, Failure> {
    let patience = match question {
        Question::Task(_) | Question::Queue { .. } => patience,
        Question::Lane { .. } => patience.min(PATIENCE_OF_MANY),
    };
    match bus.query(&Ask::new(question.to(), question.body()).caller("cli"), patience).await {
        Ok(Reply::Accepted { result, .. }) => Ok(Ok(Some(result))),
        Ok(Reply::Refused { refusal, .. }) if refusal.code == NOT_FOUND => Ok(Ok(None)),
        Ok(Reply::Refused { refusal, .. }) => Ok(Err(refusal)),
        Err(error @ AskError::Unanswered { .. }) if matches!(question, Question::Lane { .. }) => {
            Ok(Err(Refusal::new("no-answer", chain(&error))))
        }
        Err(error) => Err(error.into()),
    }
}
