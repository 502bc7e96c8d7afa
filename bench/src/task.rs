//! task: a plan of three steps, one after the other, each done by the no-op agent.
//!
//! Beside it, the bare loop does the minimum for a task of three journaled steps: a caller asks seven times
//! in a row, once for the submission and for the begin and the end of each step.

use bus_schemas::commands::task::{Command as Task, Plan, PlanStep, Submit};

use crate::bench::{Measured, Options};
use crate::error::Error;
use crate::installation::Installation;
use crate::tasks::beside_bare_turns;

/// Numbers of callers.
const CALLERS: [usize; 4] = [1, 16, 64, 256];
/// Turns of the bare loop for one task: the submission, and begin and end of three steps.
const BARE_TURNS: u64 = 7;

/// Measures tasks, and seven turns in a row of the bare loop, in turns.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.hosts(true).await?;
    let submission = Task::Submit(Submit { plan: Some(plan()), ..Submit::new("a benchmark") });
    let results = beside_bare_turns("task", installation, options, &CALLERS, &submission, BARE_TURNS).await?;
    running.stop().await;
    let notes = vec![
        "a task is done when the caller's `wait` is answered; a slice ends when all events are out",
        "the bare loop's task is seven asks in a row: no agents, no queue, no retries, no timers",
    ];
    Ok(Measured { results, unit: "tasks", notes })
}

fn plan() -> Plan {
    let step = |name: &'static str, after: &[&'static str]| PlanStep {
        step: name.into(),
        goal: "nothing".into(),
        skill: "noop".into(),
        input: serde_json::Value::Null,
        after: after.iter().map(|name| (*name).into()).collect(),
        optional: false,
    };
    Plan { steps: vec![step("one", &[]), step("two", &["one"]), step("three", &["two"])] }
}
