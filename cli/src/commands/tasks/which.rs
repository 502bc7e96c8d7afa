//! Which question an answer answers, and which end a retry undoes: both are named by a number, so that a command
//! that is repeated does not answer a question or undo an end that nobody has read.

use bus_schemas::{Key, Revision};

use super::{one_line, show};
use crate::called::quoted;
use crate::client::Client;
use crate::failure::{Failure, exit};
use crate::progress::word;

/// The command that answers a question.
pub fn answer(task: &Key, answer: &str, question: Revision) -> String {
    format!("orrery tasks answer {task} {answer} --question {question}")
}

/// The command that retries a task.
pub fn retry(task: &Key, end: Revision) -> String {
    format!("orrery tasks retry {task} --end {end}")
}

/// The failure of an answer that names no question. Where the task asks nothing, a number that is no question's:
/// its entity refuses the answer and says why.
pub(super) async fn question(client: &Client, id: &Key, typed: &str) -> Result<u64, Failure> {
    let task = show::current(client, id).await?;
    let Some(number) = task.question_id else { return Ok(0) };
    let question = one_line(task.question.as_deref().unwrap_or_default());
    Err(missing(
        &format!("`--question` is missing: question {number} of task {id} is: {question}"),
        &format!("`{}` answers it", answer(id, &quoted(typed), number)),
    ))
}

/// The failure of a retry that names no end. Where the task has not ended, a number that is no end's: its entity
/// refuses the retry and says why.
pub(super) async fn end(client: &Client, id: &Key) -> Result<u64, Failure> {
    let task = show::current(client, id).await?;
    let Some(number) = task.end_id else { return Ok(0) };
    let how = match &task.failure {
        Some(failure) => format!("{}: {}", one_line(&failure.code), one_line(&failure.message)),
        None => word(task.state).to_owned(),
    };
    Err(missing(
        &format!("`--end` is missing: end {number} of task {id} is: {how}"),
        &format!("`{}` retries it", retry(id, number)),
    ))
}

fn missing(message: &str, next: &str) -> Failure {
    Failure::new("bad-argument", message).next(next).exit(exit::USAGE)
}
