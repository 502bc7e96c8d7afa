//! task: a plan of three steps, one after the other, each done by the no-op agent.
//!
//! Beside it, the bare loop does the minimum for a task of three journaled steps: a caller asks seven times
//! in a row, once for the submission and for the begin and the end of each step.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bus_schemas::commands::task::{Command as Task, Plan, PlanStep, Submit};
use futures::future::try_join_all;

use crate::bench::{Measured, Options};
use crate::callers::{Target, closed_loop};
use crate::error::Error;
use crate::installation::{Installation, settle, settle_bare_loop, stop_bare_loop};
use crate::slices::{self, Slice};
use crate::tasks::Tasks;

/// Numbers of callers.
const CALLERS: [usize; 4] = [1, 16, 64, 256];
/// Turns of the bare loop for one task: the submission, and begin and end of three steps.
const BARE_TURNS: u64 = 7;
/// Entities of the bare loop.
const ENTITIES: u64 = 1_000;
/// Tasks before the measurement, so that every partition has its queue.
const WARM_UP: usize = 64;

/// Measures tasks, and seven turns in a row of the bare loop, in turns.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.hosts(true).await?;
    let bare = installation.bare_loop().await?;
    let (bus, client) = (installation.bus().await?, installation.client().await?);
    let submission = Task::Submit(Submit { plan: Some(plan()), ..Submit::new("a benchmark") });
    let tasks = Tasks::new(client.clone(), &bus, &submission)?;
    let plain = Target::bare_loop(client, bus.topology().partitions, "bench-task", ENTITIES)?;
    let numbers = Arc::new(AtomicU64::new(0));
    // The first tasks wait until the agents are known; no measured one must.
    try_join_all((0..WARM_UP).map(|_| tasks.one())).await?;
    let mut results = Vec::new();
    for callers in options.callers_or(&CALLERS) {
        let (count, times) = slices::plan(options.seconds);
        let (mut orrery, mut baseline) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let asking = tasks.clone();
            let outcome = closed_loop(callers, times, &numbers, move |_| {
                let asking = asking.clone();
                async move { asking.one().await }
            });
            let outcome = outcome.await?;
            settle(&bus).await?;
            orrery.push(Slice::ended_now(&outcome)?);
            let target = plain.clone();
            let outcome =
                closed_loop(callers, times, &numbers, move |number| one_bare_task(target.clone(), number));
            let outcome = outcome.await?;
            settle_bare_loop(&bare).await?;
            baseline.push(Slice::ended_now(&outcome)?);
        }
        let line = slices::line(callers, &orrery, &baseline);
        options.say(&format!(
            "task, {callers} callers: {:.0}/s, p50 {:.0} µs; bare loop {:.0}/s, p50 {:.0} µs",
            line.per_s.unwrap_or_default(),
            line.p50_us.unwrap_or_default(),
            line.baseline_per_s.unwrap_or_default(),
            line.baseline_p50_us.unwrap_or_default(),
        ));
        results.push(line);
    }
    stop_bare_loop(bare).await?;
    running.stop().await;
    let notes = vec![
        "a task is done when the caller's `wait` is answered; a slice ends when all events are out",
        "the bare loop's task is seven asks in a row: no agents, no queue, no retries, no timers",
    ];
    Ok(Measured { results, unit: "tasks", notes })
}

async fn one_bare_task(target: Target, number: u64) -> Result<(), Error> {
    for turn in 0..BARE_TURNS {
        target.clone().ask(number * BARE_TURNS + turn).await?;
    }
    Ok(())
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
