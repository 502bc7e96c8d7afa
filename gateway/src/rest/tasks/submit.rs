//! Submitting a task, once for each `Idempotency-Key`.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus_client::now;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::views::task::Task;
use bus_schemas::{CommandId, Key, Revision, Timestamp};
use gateway_api::code;
use gateway_api::tasks::NewTask;
use uuid::Uuid;

use super::{answered, find_at};
use crate::rest::ask::Call;
use crate::rest::extract::Json;
use crate::rest::problem::Problem;

/// Bytes of an `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 128;
/// The entity's code for a second submission with other content.
const TASK_EXISTS: &str = "task-exists";

/// Submits a task.
pub async fn create(call: Call, headers: HeaderMap, Json(body): Json<NewTask>) -> Result<Response, Problem> {
    let (relative, named) = (body.deadline_ms.is_some(), body.id.clone());
    let submission = submission(body, &call)?;
    let task = match (named, idempotency_key(&headers)?) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(code::INVALID_BODY, "`id` and `Idempotency-Key` exclude each other")
                .hint("an `id` makes a task once as well"));
        }
        (Some(id), None) => id,
        (None, Some(key)) => {
            return once(&call, task_key(idempotent(&submission.owner, &key))?, submission, relative).await;
        }
        (None, None) => task_key(CommandId(Uuid::now_v7()))?,
    };
    let accepted = call.ask(&task, &Command::Submit(submission)).await?;
    let status = if accepted.events > 0 { StatusCode::CREATED } else { StatusCode::OK };
    Ok(response(status, answered(&call, &task, accepted).await?))
}

/// Submits the task whose id follows from the key: the entity knows whether it is a repeat.
///
/// A relative deadline would differ in a repeat, which therefore takes the first one's.
async fn once(call: &Call, key: Key, mut submission: Submit, relative: bool) -> Result<Response, Problem> {
    loop {
        // A new command id, so that a repeat is decided anew instead of getting the first reply.
        let command = Command::Submit(submission.clone());
        match call.ask(&key, &command).await {
            Ok(accepted) => {
                let status = if accepted.events > 0 { StatusCode::CREATED } else { StatusCode::OK };
                return Ok(response(status, answered(call, &key, accepted).await?));
            }
            Err(problem) if problem.code != TASK_EXISTS => return Err(problem),
            Err(_) => {}
        }
        let known = find_at(call, &key, Revision(1)).await?.ok_or_else(|| super::behind(call))?;
        if !relative || known.deadline.is_none() || known.deadline == submission.deadline {
            return Err(Problem::new(
                code::IDEMPOTENCY_KEY_REUSED,
                format!("this `Idempotency-Key` was used for task `{key}` with another body"),
            )
            .hint("use a fresh key for another task"));
        }
        submission.deadline = known.deadline;
    }
}

fn submission(body: NewTask, call: &Call) -> Result<Submit, Problem> {
    let mut submission = Submit::new(body.goal);
    submission.owner = call.caller.name.clone().into();
    submission.priority = body.priority.unwrap_or(submission.priority);
    submission.lane = body.lane.unwrap_or(submission.lane);
    submission.skill = body.skill.map_or(submission.skill, Into::into);
    submission.input = body.input;
    submission.plan = body.plan;
    submission.attempts_max = body.attempts_max;
    submission.budget = body.budget;
    submission.deadline = match (body.deadline_ms, body.deadline) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(code::INVALID_BODY, "`deadline` and `deadline_ms` exclude each other"));
        }
        (Some(0), None) => return Err(Problem::new(code::INVALID_BODY, "`deadline_ms` must be at least 1")),
        // The entity refuses a deadline that never comes.
        (Some(milliseconds), None) => Some(Timestamp(now().0.saturating_add(milliseconds))),
        (None, deadline) => deadline,
    };
    Ok(submission)
}

fn task_key(id: CommandId) -> Result<Key, Problem> {
    Key::parse(&id.to_string()).map_err(|error| Problem::new(code::INTERNAL_ERROR, error.to_string()))
}

/// The id for a key of an owner. The owner's length precedes it, so that no other owner and key give the same
/// text.
fn idempotent(owner: &str, key: &str) -> CommandId {
    CommandId::from_text(&format!("idempotency/{}/{owner}/{key}", owner.len()))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let good = (1..=KEY_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(u8::is_ascii_graphic)
        && values.next().is_none();
    match value.to_str() {
        Ok(text) if good => Ok(Some(text.to_owned())),
        _ => Err(Problem::new(
            code::INVALID_IDEMPOTENCY_KEY,
            format!(
                "an `Idempotency-Key` is given once and has 1 to {KEY_BYTES_MAX} visible ASCII characters"
            ),
        )
        .hint("a UUID is a good key")),
    }
}

fn response(status: StatusCode, task: Task) -> Response {
    let location = [(header::LOCATION, format!("/v1/tasks/{}", task.id))];
    (status, location, axum::Json(task)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_owners_never_meet() {
        let pairs = [("a", "b/k"), ("a/b", "k"), ("", "a/b/k"), ("1/a", "b/k"), ("3/a", "k"), ("a/b/k", "")];
        let ids: std::collections::HashSet<_> = pairs.map(|(owner, key)| idempotent(owner, key)).into();
        assert_eq!(ids.len(), pairs.len());
        assert_eq!(idempotent("a", "k"), idempotent("a", "k"));
    }

    #[test]
    fn an_idempotency_key_is_short_visible_and_single() {
        let mut headers = HeaderMap::new();
        assert_eq!(idempotency_key(&headers).unwrap(), None);
        headers.insert("idempotency-key", "a-1".parse().unwrap());
        assert_eq!(idempotency_key(&headers).unwrap().as_deref(), Some("a-1"));
        headers.append("idempotency-key", "b".parse().unwrap());
        assert!(idempotency_key(&headers).is_err());
        for bad in ["", "a b", &"x".repeat(129)] {
            headers.insert("idempotency-key", bad.parse().unwrap());
            assert_eq!(idempotency_key(&headers).unwrap_err().code, "invalid-idempotency-key", "{bad:?}");
        }
    }
}
