//! A failed task whose submission was edited: it is submitted as a new task. The failed one stays as it is.

use actors_core::{Context, Refusal};
use bus_schemas::commands::dead_letter::Entry;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::payload::Payload;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key};

use super::decide::check_payload;
use super::state::State;
use crate::task::{check_submission, within_bounds};

/// The key of the task that a redrive submits: the same for each repeat.
pub(super) fn key(entry: &Key, redrive: u32) -> Key {
    within_bounds(format!("{entry}-r{redrive}"))
}

/// Whether this payload may replace the submission.
pub(super) fn check_edit(
    state: &State,
    entry: &Entry,
    payload: &Payload,
    to: Option<&EntityAddress>,
    context: &Context<'_>,
) -> Result<(), Refusal> {
    let refuse = |why: String, hint: String| Err(Refusal::new("not-editable", why).hint(hint));
    if let Some((root, _)) = entry.key.split_once('.') {
        let hint = format!("redrive it as it is: that retries `{root}`; or drop it and submit another task");
        return refuse(format!("the task `{}` is a step of the plan of `{root}`", entry.key), hint);
    }
    if state.ambiguous {
        let why = format!(
            "a side effect of the task `{}` may have happened, and a new task does not know",
            entry.key
        );
        let hint = "find out whether it did, and redrive it as it is; or drop it".to_owned();
        return refuse(why, hint);
    }
    if to.is_some() {
        let hint = "edit its payload; the new task gets a name of its own".to_owned();
        return refuse("a failed task is redriven to a task and to nothing else".to_owned(), hint);
    }
    let edited = submission(payload)?;
    if let Some(original) = entry.payload.as_ref().and_then(|payload| submission(payload).ok())
        && original.owner != edited.owner
    {
        let hint = format!("leave `owner` as it is: `{}`", original.owner);
        return refuse("an edit does not change whose work it is".to_owned(), hint);
    }
    check_submission(&edited, &key(&context.entity.key, state.redrives.saturating_add(1)), context.now)
}

/// The receiver and the command of a redrive.
pub(super) fn target(
    state: &State,
    edited: &Payload,
    context: &Context<'_>,
) -> Result<(EntityAddress, Option<Body>), Refusal> {
    let entry = &context.entity.key;
    if state.ambiguous {
        let task = state.target.as_ref().map_or_else(|| entry.clone(), |to| to.key.clone());
        let why =
            format!("a side effect of the task `{task}` may have happened, and a new task does not know");
        return Err(Refusal::new("not-redrivable", why)
            .hint(format!("find out whether it did, then retry the task: `orrery tasks show {task}` prints the command; or drop it")));
    }
    let submission = Submit { dead_letter: Some(entry.clone()), ..submission(edited)? };
    let to = EntityAddress::new(Command::KIND, key(entry, state.redrives.saturating_add(1)));
    Ok((to, Some(Body::json(&Command::Submit(submission)))))
}

/// Decodes a payload as a task's `submit`.
fn submission(payload: &Payload) -> Result<Submit, Refusal> {
    let invalid = |why: String| {
        Refusal::new("invalid-payload", why)
            .hint("change the payload that `orrery dead-letters show --payload` shows: its `type` stays `submit`, and it has a `goal`")
    };
    match check_payload(payload)?.read_strictly::<Command>() {
        Ok(Command::Submit(submission)) => Ok(submission),
        Ok(_) => Err(invalid("the payload submits no task".to_owned())),
        Err(error) => Err(invalid(format!("the payload is no submission: {error}"))),
    }
}
