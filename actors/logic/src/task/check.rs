//! Checks of submissions and plans. A mistake is refused before it has an effect.

use std::collections::{BTreeMap, BTreeSet};

use actors_core::{Context, Key, Refusal, Timestamp};
use bus_schemas::Caller;
use bus_schemas::commands::lane::LANE_BYTES_MAX;
use bus_schemas::commands::task::{Failure, Plan, PlanStep, Submit};
use bus_schemas::jobs::FailureClass;
use bus_schemas::settings::Budget;
use bus_schemas::text::{NAME_BYTES_MAX, is_line, is_prose};

use crate::text::cut_failure;

/// The longest goal in bytes: a page of text; larger texts belong into a blob.
pub(super) const GOAL_BYTES_MAX: usize = 8_192;
/// The highest priority: the lane has ten queues per owner.
const PRIORITY_MAX: u8 = 9;
/// The highest `attempts_max`: more attempts hide a failure.
const ATTEMPTS_MAX: u32 = 100;
/// The shortest wall clock budget in milliseconds: a shorter one is over before anything begins.
const WALL_CLOCK_MS_MIN: u64 = 1_000;
/// The most steps of a plan: all children are started in one decision.
const STEPS_MAX: usize = 256;
/// How deep plans may nest: deeper ones are runaway orchestrators.
const PLAN_DEPTH_MAX: usize = 8;

/// A submission with its owner. A caller's tasks are its own; an entity, such as the task above, names the owner.
pub(crate) fn owned(mut submission: Submit, context: &Context<'_>) -> Result<Submit, Refusal> {
    let Some(caller) = context.caller.filter(|caller| !caller.contains('/')) else { return Ok(submission) };
    if submission.owner != Caller::UNNAMED.as_str() && submission.owner != *caller {
        let owner = &submission.owner;
        return Err(Refusal::new(
            "foreign-owner",
            format!("`{caller}` submits a task whose owner is `{owner}`"),
        )
        .hint("leave `owner` out: a task belongs to its caller"));
    }
    submission.owner = caller.clone();
    Ok(submission)
}

/// Checks a submission for a task with this key.
pub(crate) fn submission(submission: &Submit, key: &Key, now: Timestamp) -> Result<(), Refusal> {
    parent(submission, key)?;
    if !(1..=GOAL_BYTES_MAX).contains(&submission.goal.len()) {
        return Err(Refusal::new("invalid-goal", length("the goal", GOAL_BYTES_MAX, submission.goal.len()))
            .hint(match submission.goal.is_empty() {
                true => "describe the goal in words",
                false => "store a long text as an artifact and refer to it",
            }));
    }
    if !is_prose(&submission.goal) {
        return Err(Refusal::new("invalid-goal", hidden("the goal")));
    }
    if submission.priority > PRIORITY_MAX {
        return Err(Refusal::new(
            "invalid-priority",
            format!("the priority must be 0 to {PRIORITY_MAX}, is {}", submission.priority),
        ));
    }
    if let Some(attempts) = submission.attempts_max.filter(|attempts| !(1..=ATTEMPTS_MAX).contains(attempts))
    {
        return Err(Refusal::new(
            "invalid-attempts",
            format!("`attempts_max` must be 1 to {ATTEMPTS_MAX}, is {attempts}"),
        ));
    }
    budget(submission.budget.as_ref(), now)?;
    let fits = |text: &str| (1..=NAME_BYTES_MAX).contains(&text.len());
    if !fits(&submission.skill) {
        let message = length("the skill", NAME_BYTES_MAX, submission.skill.len());
        return Err(Refusal::new("invalid-skill", message));
    }
    if !fits(&submission.owner) {
        let message = length("the owner", NAME_BYTES_MAX, submission.owner.len());
        return Err(Refusal::new("invalid-owner", message));
    }
    for (name, text, code) in
        [("the skill", &submission.skill, "invalid-skill"), ("the owner", &submission.owner, "invalid-owner")]
    {
        if !is_line(text) {
            return Err(Refusal::new(code, hidden(name)));
        }
    }
    if submission.lane.as_str().len() > LANE_BYTES_MAX {
        let message = length("the lane", LANE_BYTES_MAX, submission.lane.as_str().len());
        return Err(Refusal::new("invalid-lane", message));
    }
    if let Some(deadline) = submission.deadline.filter(|deadline| *deadline <= now) {
        return Err(Refusal::new(
            "invalid-deadline",
            format!("the deadline {} is not in the future", deadline.to_rfc3339()),
        ));
    }
    if submission.deadline.is_some_and(|deadline| deadline > Timestamp::MAX) {
        let message = format!("the deadline is later than {}", Timestamp::MAX.to_rfc3339());
        return Err(Refusal::new("invalid-deadline", message).hint("leave out a deadline that never comes"));
    }
    submission.plan.as_ref().map_or(Ok(()), |given| plan(given, key))
}

/// Checks a budget: with a limit of 0 nothing could begin.
fn budget(budget: Option<&Budget>, submitted_at: Timestamp) -> Result<(), Refusal> {
    let Some(budget) = budget else { return Ok(()) };
    let counts = [budget.tokens, budget.money_micros, budget.tool_calls, budget.jobs];
    let time = budget.wall_clock.map(|time| time.as_ms());
    if counts.contains(&Some(0)) || time.is_some_and(|time| time < WALL_CLOCK_MS_MIN) {
        return Err(Refusal::new(
            "invalid-budget",
            "each bound of a budget is at least 1, its time at least 1s",
        )
        .hint("leave out the bounds that the task does not need"));
    }
    end(budget, submitted_at)
        .map_err(|why| Refusal::new("invalid-budget", why).hint("leave out a time that is never over"))
}

/// Why the time of a budget has no end that can be written; it counts from the submission.
pub(super) fn end(budget: &Budget, submitted_at: Timestamp) -> Result<(), String> {
    let left = Timestamp::MAX.0.saturating_sub(submitted_at.0);
    match budget.wall_clock {
        Some(time) if time.as_ms() > left => {
            Err(format!("the time {time} is over only after {}", Timestamp::MAX.to_rfc3339()))
        }
        _ => Ok(()),
    }
}

/// Checks the parent: a path is a child of the task above it; only roots come from outside.
pub(super) fn parent(submission: &Submit, key: &Key) -> Result<(), Refusal> {
    if submission.parent == key.parent() {
        return Ok(());
    }
    Err(Refusal::new("invalid-parent", format!("the key `{key}` and the parent do not fit together"))
        .hint("submit a key without dots and without parent; children come from plans"))
}

/// The failure of an attempt whose plan is refused.
pub(super) fn refused_plan(refusal: Refusal) -> Failure {
    let Refusal { code, message, hint, .. } = refusal;
    let class = FailureClass::Permanent;
    cut_failure(Failure { class, code: code.to_string(), message, hint, dependency: None })
}

/// Checks a plan for the task with this key.
pub(super) fn plan(plan: &Plan, key: &Key) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new("invalid-plan", message));
    if !(1..=STEPS_MAX).contains(&plan.steps.len()) {
        return refuse(format!("a plan has 1 to {STEPS_MAX} steps, not {}", plan.steps.len()));
    }
    if key.as_str().split('.').count() > PLAN_DEPTH_MAX {
        return refuse(format!("plans lie at most {PLAN_DEPTH_MAX} deep within each other"));
    }
    let mut names = BTreeSet::new();
    for step in &plan.steps {
        self::step(step, key).or_else(refuse)?;
        if !names.insert(step.step.as_str()) {
            return refuse(format!("the step `{}` is there twice", step.step));
        }
    }
    for step in &plan.steps {
        let mut before = BTreeSet::new();
        for name in &step.after {
            if !names.contains(name.as_str()) {
                return refuse(format!("the step `{}` comes after `{name}`, which is not there", step.step));
            }
            if !before.insert(name) {
                return refuse(format!("the step `{}` comes after `{name}` twice", step.step));
            }
        }
    }
    match in_a_cycle(plan) {
        Some(step) => refuse(format!("the step `{step}` would have to wait for itself")),
        None => Ok(()),
    }
}

fn step(step: &PlanStep, key: &Key) -> Result<(), String> {
    key.child(&step.step)
        .map_err(|error| format!("the step {:?} cannot be part of a key: {error}", step.step))?;
    if !(1..=GOAL_BYTES_MAX).contains(&step.goal.len()) {
        return Err(length(&format!("the goal of step `{}`", step.step), GOAL_BYTES_MAX, step.goal.len()));
    }
    if !(1..=NAME_BYTES_MAX).contains(&step.skill.len()) {
        return Err(length(&format!("the skill of step `{}`", step.step), NAME_BYTES_MAX, step.skill.len()));
    }
    if !is_prose(&step.goal) || !is_line(&step.skill) {
        return Err(hidden(&format!("goal or skill of step `{}`", step.step)));
    }
    Ok(())
}

/// The first step of a cycle: one that remains when steps without predecessors are removed one by one.
fn in_a_cycle(plan: &Plan) -> Option<&str> {
    let mut waits: BTreeMap<&str, usize> =
        plan.steps.iter().map(|step| (step.step.as_str(), step.after.len())).collect();
    let mut followers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for step in &plan.steps {
        for before in &step.after {
            followers.entry(before.as_str()).or_default().push(&step.step);
        }
    }
    let mut ready: Vec<&str> =
        plan.steps.iter().filter(|step| step.after.is_empty()).map(|step| step.step.as_str()).collect();
    while let Some(done) = ready.pop() {
        waits.remove(done);
        for follower in followers.get(done).into_iter().flatten() {
            if let Some(count) = waits.get_mut(follower) {
                *count -= 1;
                if *count == 0 {
                    ready.push(follower);
                }
            }
        }
    }
    plan.steps.iter().map(|step| step.step.as_str()).find(|step| waits.contains_key(step))
}

fn hidden(what: &str) -> String {
    format!("{what} holds characters that show nothing, such as control characters")
}

fn length(what: &str, max: usize, found: usize) -> String {
    format!("{what} must have 1 to {max} bytes, has {found}")
}
