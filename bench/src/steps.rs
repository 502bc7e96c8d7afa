//! steps: a task of one attempt with three recorded steps.
//!
//! Beside it, the bare loop does the minimum for such a task: a caller asks five times in a row, once for the
//! submission, for each step and for the end.

use std::sync::Arc;

use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::task::{Command as Task, Submit};
use futures::future::BoxFuture;

use crate::bench::{Measured, Options};
use crate::error::Error;
use crate::installation::Installation;
use crate::tasks::beside_bare_turns;
use crate::workers::{Workers, card};

/// Numbers of callers.
const CALLERS: [usize; 5] = [1, 16, 64, 256, 1_024];
/// Turns of the bare loop for one task.
const BARE_TURNS: u64 = 5;
/// Jobs that the worker runs at once: as many as there are callers.
const PLACES: usize = 1_024;
/// The name of the agent and of its skill.
const AGENT: &str = "bench-steps";

/// An agent whose attempts have three steps.
struct Stepper;

impl Agent for Stepper {
    fn card(&self) -> AgentCard {
        card(AGENT, "records three steps")
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        Box::pin(async move {
            for (number, name) in (0_u32..).zip(["one", "two", "three"]) {
                work.step(name, &number, || async move { Ok(number) }).await?;
            }
            Ok(Done::default())
        })
    }
}

/// Measures tasks, and five turns in a row of the bare loop, in turns.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.hosts(false).await?;
    let workers = Workers::start(installation, Arc::new(Stepper), 1, PLACES).await?;
    let submission = Task::Submit(Submit { skill: AGENT.into(), ..Submit::new("three steps") });
    let results =
        beside_bare_turns("steps", installation, options, &CALLERS, &submission, BARE_TURNS).await?;
    workers.stop().await?;
    running.stop().await;
    let notes = vec![
        "a task is done when the caller's `wait` is answered; a slice ends when all events are out",
        "the bare loop's task is five asks in a row: no queue, no worker, no leases, no timers",
    ];
    Ok(Measured { results, unit: "tasks", notes })
}
