//! steps: a task of one attempt with three recorded steps.
//!
//! Beside it, the bare loop does the minimum for such a task: a caller asks five times in a row, once for the
//! submission, for each step and for the end.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use actors_worker::{Agent, Done, Failure, Work, Worker};
use bus_client::Bus;
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::commands::task::{Command as Task, Submit};
use futures::future::{BoxFuture, try_join_all};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bench::{Measured, Options};
use crate::callers::{Target, closed_loop};
use crate::error::Error;
use crate::installation::{Installation, settle, settle_bare_loop, stop_bare_loop};
use crate::slices::{self, Slice};
use crate::tasks::Tasks;

/// Numbers of callers.
const CALLERS: [usize; 5] = [1, 16, 64, 256, 1_024];
/// Turns of the bare loop for one task.
const BARE_TURNS: u64 = 5;
/// Entities of the bare loop.
const ENTITIES: u64 = 1_000;
/// Jobs that the worker runs at once: as many as there are callers.
const PLACES: usize = 1_024;
/// Tasks before the measurement, so that every partition has its queue.
const WARM_UP: usize = 64;
/// The name of the agent and of its skill.
const AGENT: &str = "bench-steps";

/// An agent whose attempts have three steps.
struct Stepper;

impl Agent for Stepper {
    fn card(&self) -> AgentCard {
        let id = AGENT.into();
        let skill = Skill { id, name: AGENT.to_owned(), ..Skill::default() };
        AgentCard {
            name: bus_schemas::Key::parse(AGENT).expect("a constant that is a key"),
            description: "records three steps".to_owned(),
            version: "1".to_owned(),
            skills: vec![skill],
            dependencies: Vec::new(),
        }
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

/// Starts the worker on its own connection.
async fn worker(installation: &Installation) -> Result<(CancellationToken, JoinHandle<()>), Error> {
    let (bus, stop) = (installation.bus().await?, CancellationToken::new());
    let worker = Worker::new(bus, Arc::new(Stepper), AGENT, PLACES);
    let token = stop.clone();
    let running = tokio::spawn(async move {
        // An early end is reported by the tasks that wait for the worker.
        let _ = worker.run(token).await;
    });
    Ok((stop, running))
}

/// Measures tasks, and five turns in a row of the bare loop, in turns.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.hosts(false).await?;
    let bare = installation.bare_loop().await?;
    let (bus, client) = (installation.bus().await?, installation.client().await?);
    let (stop, working) = worker(installation).await?;
    let submission = Task::Submit(Submit { skill: AGENT.into(), ..Submit::new("three steps") });
    let tasks = Tasks::new(client.clone(), &bus, &submission)?;
    let plain = Target::bare_loop(client, bus.topology().partitions, "bench-steps", ENTITIES)?;
    try_join_all((0..WARM_UP).map(|_| tasks.one())).await?;
    let results = measure(&bus, &bare, &tasks, &plain, options).await?;
    stop.cancel();
    working.await.map_err(|error| Error::answer("stopping the worker", error))?;
    stop_bare_loop(bare).await?;
    running.stop().await;
    let notes = vec![
        "a task is done when the caller's `wait` is answered; a slice ends when all events are out",
        "the bare loop's task is five asks in a row: no queue, no worker, no leases, no timers",
    ];
    Ok(Measured { results, unit: "tasks", notes })
}

async fn measure(
    bus: &Bus,
    bare: &Arc<bare_loop::BareLoop>,
    tasks: &Tasks,
    plain: &Target,
    options: &Options,
) -> Result<Vec<crate::report::Figures>, Error> {
    let numbers = Arc::new(AtomicU64::new(0));
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
            settle(bus).await?;
            orrery.push(Slice::ended_now(&outcome)?);
            let target = plain.clone();
            let outcome = closed_loop(callers, times, &numbers, move |number| {
                let target = target.clone();
                async move {
                    for turn in 0..BARE_TURNS {
                        target.clone().ask(number * BARE_TURNS + turn).await?;
                    }
                    Ok(())
                }
            });
            let outcome = outcome.await?;
            settle_bare_loop(bare).await?;
            baseline.push(Slice::ended_now(&outcome)?);
        }
        let line = slices::line(callers, &orrery, &baseline);
        options.say(&format!(
            "steps, {callers} callers: {:.0}/s, p50 {:.0} µs; bare loop {:.0}/s, p50 {:.0} µs",
            line.per_s.unwrap_or_default(),
            line.p50_us.unwrap_or_default(),
            line.baseline_per_s.unwrap_or_default(),
            line.baseline_p50_us.unwrap_or_default(),
        ));
        results.push(line);
    }
    Ok(results)
}
