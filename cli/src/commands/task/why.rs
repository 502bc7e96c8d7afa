//! `orrery task why`: what a task waits for, since when, and what would move it, down to the leaves.
//!
//! The tasks and their lanes say so themselves, over the bus: no gateway is needed.

use std::time::Duration;

use bus_client::{Ask, Bus};
use bus_schemas::commands::{broker, task};
use bus_schemas::views::task::WaitsFor;
use bus_schemas::views::waits::{Inquiry, Question, Silent, Waits};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Refusal, Reply};
use futures::{StreamExt, TryStreamExt};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::one_line;
use crate::commands::lanes::age;
use crate::failure::{Failure, exit};
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
    lines.extend(waits.silent.iter().map(|Silent { entity, code, reason }| {
        format!("{indent}  {entity} does not say: {code}: {}", one_line(reason))
    }));
    waits.children.iter().for_each(|child| self::lines(child, depth + 1, lines));
    if waits.left_out > 0 {
        lines.push(format!("{indent}  and {} more tasks, which were not asked", waits.left_out));
    }
}

/// Asks a task, what is below it, and the lanes in which they wait. Fails with `task-not-found` where
/// there is no such task, and where one of them does not answer within `patience`; who refuses to say is part
/// of the answer.
pub(super) async fn of(bus: &Bus, task: &Key, patience: Duration) -> Result<Waits, Failure> {
    let mut inquiry = Inquiry::of(task.clone());
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
                Err(refusal) => inquiry.refused(question, refusal)?,
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

async fn ask(bus: &Bus, question: &Question, patience: Duration) -> Result<Told, Failure> {
    let (to, body) = match question {
        Question::Task(task) => {
            (EntityAddress::new(task::Command::KIND, task.clone()), Body::json(&task::Command::Explain))
        }
        Question::Lane { lane, task } => {
            let command = broker::Command::Explain { task: task.clone() };
            (EntityAddress::new(broker::Command::KIND, lane.clone()), Body::json(&command))
        }
    };
    match bus.ask(&Ask::new(to, body).caller("cli"), patience).await? {
        Reply::Accepted { result, .. } => Ok(Ok(Some(result))),
        Reply::Refused { refusal, .. } if refusal.code == NOT_FOUND => Ok(Ok(None)),
        Reply::Refused { refusal, .. } => Ok(Err(refusal)),
    }
}
