//! task: a plan of three steps, one after the other, each done by the no-op agent.
//!
//! Beside it the bare loop does the least that a task of three journaled steps can be: a caller
//! asks seven times in a row, once for the submission and for the begin and the end of each step.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_client::{Ask, Bus, EventQuery, StoredEvent};
use bus_schemas::commands::task::{Command as Task, Plan, PlanStep, Submit};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Reply};
use futures::{Stream, TryStreamExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::bench::{Measured, Options};
use crate::callers::{Target, closed_loop};
use crate::error::Error;
use crate::installation::{Installation, settle_bare_loop, stop_bare_loop};
use crate::slices::{self, Slice};

/// Numbers of callers.
const CALLERS: [usize; 3] = [1, 16, 64];
/// What the bare loop is asked for one task: the submission, and begin and end of three steps.
const BARE_TURNS: u64 = 7;
/// Entities of the bare loop.
const ENTITIES: u64 = 1_000;
/// How long a task may take before the benchmark is given up.
const TASK_DEADLINE: Duration = Duration::from_secs(60);

/// Who waits for the end of which task.
type Waiting = Arc<Mutex<HashMap<Key, oneshot::Sender<String>>>>;

/// Measures tasks, and seven turns in a row of the bare loop, in turns.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.host(true).await?;
    let bare = installation.bare_loop().await?;
    let (bus, client) = (installation.bus().await?, installation.client().await?);
    let waiting = Waiting::default();
    let following = follow(&bus, &waiting).await?;
    let plain = Target::bare_loop(client, bus.topology().partitions, "bench-task", ENTITIES)?;
    let numbers = Arc::new(AtomicU64::new(0));
    // The first task waits until the agents are known; no slice shall.
    one_task(bus.clone(), Arc::clone(&waiting)).await?;
    let mut results = Vec::new();
    for callers in options.callers_or(&CALLERS) {
        let (count, times) = slices::plan(options.seconds);
        let (mut orrery, mut baseline) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (asking, waiters) = (bus.clone(), Arc::clone(&waiting));
            let outcome = closed_loop(callers, times, &numbers, move |_| {
                one_task(asking.clone(), Arc::clone(&waiters))
            });
            orrery.push(Slice::ended_now(&outcome.await?)?);
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
    following.abort();
    stop_bare_loop(bare).await?;
    running.stop().await;
    let notes = vec![
        "a task is done when its `completed` event was read from the event stream",
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

/// Submits a task and waits until it is completed.
async fn one_task(bus: Bus, waiting: Waiting) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::answer("running a task", error);
    let key = Key::parse(&Uuid::now_v7().simple().to_string()).map_err(|error| failed(&error))?;
    let (sender, ended) = oneshot::channel();
    waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), sender);
    let submit = Task::Submit(Submit { plan: Some(plan()), ..Submit::new("a benchmark") });
    let ask = Ask::new(EntityAddress::new(Task::KIND, key), Body::json(&submit));
    match bus.ask(&ask, TASK_DEADLINE).await.map_err(|error| failed(&error))? {
        Reply::Accepted { .. } => {}
        Reply::Refused { refusal, .. } => return Err(failed(&refusal.message)),
    }
    let end = tokio::time::timeout(TASK_DEADLINE, ended).await;
    let end = end.map_err(|_| Error::Late { what: "the end of a task", seconds: TASK_DEADLINE.as_secs() })?;
    match end.map_err(|error| failed(&error))?.as_str() {
        "completed" => Ok(()),
        other => Err(failed(&other)),
    }
}

/// Reads the events of all tasks and tells those that wait.
async fn follow(bus: &Bus, waiting: &Waiting) -> Result<JoinHandle<()>, Error> {
    let from = bus.events_state().await?.last_sequence + 1;
    let subjects = vec![bus.subjects().events(Some(&Task::KIND))];
    let events = bus.events(EventQuery { subjects, from }).await?;
    let waiting = Arc::clone(waiting);
    Ok(tokio::spawn(tell(events, waiting)))
}

async fn tell(
    mut events: impl Stream<Item = Result<StoredEvent, bus_client::Error>> + Unpin,
    waiting: Waiting,
) {
    // When the stream ends with an error, the tasks that wait for it tell so by being late.
    while let Ok(Some(stored)) = events.try_next().await {
        let kind = stored.event.event_type.as_str();
        if !matches!(kind, "completed" | "failed" | "canceled") {
            continue;
        }
        let waiter = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&stored.entity.key);
        if let Some(waiter) = waiter {
            // Who waited may have given up; then the benchmark ends with that error.
            let _ = waiter.send(kind.to_owned());
        }
    }
}
