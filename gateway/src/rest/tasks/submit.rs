//! Submitting a task, once for each `Idempotency-Key`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::views::task::Task;
use bus_schemas::{CommandId, Key, Revision, Timestamp};
use uuid::Uuid;

use super::dto::{NewTask, TaskView};
use super::{answered, ask, find_at};
use crate::rest::Edge;
use crate::rest::extract::Json;
use crate::rest::layer::Caller;
use crate::rest::problem::{Problem, code};

/// The longest `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 128;
/// The entity's own word for a second submission with other words.
const TASK_EXISTS: &str = "task-exists";

/// Submits a task.
#[utoipa::path(post, path = "/v1/tasks", operation_id = "submitTask", tag = "tasks", request_body = NewTask,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters: the same key and owner with the same body is the same task")),
    responses(
        (status = 201, description = "it was made", body = TaskView, headers(("Location" = String, description = "the task's path"))),
        (status = 200, body = TaskView, description = "this key was used before with the same body")))]
pub async fn create(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Json(body): Json<NewTask>,
) -> Result<Response, Problem> {
    let relative = body.deadline_ms;
    let submission = submission(body)?;
    let Some(key) = idempotency_key(&headers)? else {
        let id = CommandId(Uuid::now_v7());
        let (key, command) = (task_key(id)?, Command::Submit(submission));
        let accepted = ask(&edge, caller, key.clone(), &command).await?;
        return Ok(response(StatusCode::CREATED, answered(&edge, &key, accepted).await?));
    };
    let id = idempotent(&submission.owner, &key);
    once(&edge, caller, id, submission, relative.is_some()).await
}

/// Submits the task whose id follows from the key: the entity knows whether it is a repeat.
///
/// A deadline is given relative to the request, so a repeat would have another one: it takes over
/// the first one's.
async fn once(
    edge: &Edge,
    caller: Caller,
    id: CommandId,
    mut submission: Submit,
    relative: bool,
) -> Result<Response, Problem> {
    let key = task_key(id)?;
    loop {
        // A fresh id, so that a repeat is decided anew instead of getting the first answer.
        let command = Command::Submit(submission.clone());
        match ask(edge, caller, key.clone(), &command).await {
            Ok(accepted) => {
                let status = if accepted.events > 0 { StatusCode::CREATED } else { StatusCode::OK };
                return Ok(response(status, answered(edge, &key, accepted).await?));
            }
            Err(problem) if problem.code != TASK_EXISTS => return Err(problem),
            Err(_) => {}
        }
        let known = find_at(edge, &key, Revision(1)).await?.ok_or_else(|| super::behind(edge))?;
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

fn submission(body: NewTask) -> Result<Submit, Problem> {
    let mut submission = Submit::new(body.goal);
    submission.owner = body.owner.map_or(submission.owner, Into::into);
    submission.priority = body.priority.unwrap_or(submission.priority);
    submission.lane = body.lane.unwrap_or(submission.lane);
    submission.skill = body.skill.map_or(submission.skill, Into::into);
    submission.input = body.input;
    submission.plan = body.plan.map(Into::into);
    submission.attempts_max = body.attempts_max;
    submission.budget = body.budget.map(Into::into);
    submission.deadline = match body.deadline_ms {
        Some(0) => return Err(Problem::new(code::INVALID_BODY, "`deadline_ms` must be at least 1")),
        // One that never comes is the entity's to refuse.
        Some(milliseconds) => Some(Timestamp(now().0.saturating_add(milliseconds))),
        None => None,
    };
    Ok(submission)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn task_key(id: CommandId) -> Result<Key, Problem> {
    Key::parse(&id.to_string()).map_err(|error| Problem::new(code::INTERNAL_ERROR, error.to_string()))
}

/// The id of a key of an owner. The owner's length stands before it, so that no other owner and key are the
/// same text.
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
    (status, location, axum::Json(TaskView::from(task))).into_response()
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
