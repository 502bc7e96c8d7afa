//! budget: a tree of many jobs spends until its budget is used up. What does a call cost, and by how much
//! does the tree exceed its budget?
//!
//! Each job makes one call after the other, and each call is reserved at its worst case and settled with its
//! usage. The budget is enough for half of the calls. A round waits until the tree is paused and no job runs,
//! and reads the account; then it extends the budget and lets the tree end.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors_worker::{Agent, Done, Failure, Work};
use bus_client::Bus;
use bus_schemas::EntityAddress;
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::task::{Command, Plan, PlanStep, Submit, Usage};
use bus_schemas::settings::Budget;
use bus_schemas::views::task::{Task, TaskState};
use bus_schemas::wire::WireCommand;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::time::Instant;

use crate::bench::{Measured, Options};
use crate::error::Error;
use crate::installation::Installation;
use crate::report::Figures;
use crate::slices::line_of_times;
use crate::workers::{Workers, card, new_key, told, until};

/// Numbers of jobs that spend at the same time.
const JOBS: [usize; 2] = [16, 64];
/// Workers that share the jobs.
const WORKERS: usize = 4;
/// Calls of each job.
const CALLS: u64 = 8;
/// Tokens that a call reserves.
const WORST: u64 = 150;
/// Tokens that a call uses: within its reservation, and beyond it.
const USED: [(&str, u64); 2] =
    [("calls within what they reserve", 100), ("calls a third beyond what they reserve", 200)];
/// How long a call may stay unsettled.
const LEASE: Duration = Duration::from_secs(60);
/// The name of the agent and of its skill.
const AGENT: &str = "bench-budget";

/// The totals over the jobs of all workers.
#[derive(Debug, Default)]
struct Tally {
    running: AtomicUsize,
    used_by_call: AtomicU64,
    /// Microseconds that reserving and settling took, by call.
    times: Mutex<Vec<u64>>,
}

/// An agent whose jobs make calls that cost.
struct Spender(Arc<Tally>);

/// Counts a job for as long as it lives, however it ends.
struct Counted(Arc<Tally>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Agent for Spender {
    fn card(&self) -> AgentCard {
        card(AGENT, "makes calls that cost")
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let tally = Arc::clone(&self.0);
        Box::pin(async move {
            tally.running.fetch_add(1, Ordering::SeqCst);
            let _counted = Counted(Arc::clone(&tally));
            let tokens = tally.used_by_call.load(Ordering::SeqCst);
            for _ in 0..CALLS {
                let (worst, began) = (Usage { tokens: WORST, ..Usage::default() }, Instant::now());
                work.spend(worst, LEASE, |meter| async move {
                    meter.add(Usage { tokens, ..Usage::default() });
                    Ok(())
                })
                .await?;
                let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                tally.times.lock().unwrap_or_else(PoisonError::into_inner).push(took);
            }
            Ok(Done::default())
        })
    }
}

/// Measures budgets under fan-out.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.host(false).await?;
    let bus = installation.bus().await?;
    let mut results = Vec::new();
    for jobs in options.callers_or(&JOBS) {
        for (case, used_by_call) in USED {
            let tally = Arc::new(Tally::default());
            tally.used_by_call.store(used_by_call, Ordering::SeqCst);
            let workers = {
                let agent = Arc::new(Spender(Arc::clone(&tally)));
                Workers::start(installation, agent, WORKERS, jobs.div_ceil(WORKERS)).await?
            };
            let (began, mut over) = (Instant::now(), 0);
            let mut rounds = 0_u64;
            while rounds == 0 || began.elapsed() < Duration::from_secs(options.seconds) {
                over = over.max(one_round(&bus, &tally, jobs).await?);
                rounds += 1;
            }
            let seconds = began.elapsed().as_secs_f64();
            workers.stop().await?;
            let times = std::mem::take(&mut *tally.times.lock().unwrap_or_else(PoisonError::into_inner));
            let per_s = Some((times.len() as f64 / seconds).round());
            let line = line_of_times(&times)?;
            options.say(&format!("budget, {jobs} jobs, {case}: {over} tokens beyond the budget at most"));
            let (callers, case, over_tokens) = (Some(jobs), Some(case), Some(over));
            results.push(Figures { callers, case, per_s, over_tokens, ..line });
        }
    }
    running.stop().await;
    let notes = vec![
        "a call is a reservation at the root of the tree, nothing, and its settlement: two commands, each with an answer after its commit",
        "over_tokens is the most by which a paused tree had used more than its budget; a call reserves 150 tokens, and at most one call of each job is under way",
    ];
    Ok(Measured { results, unit: "calls", notes })
}

/// One round: a tree is paused, read, extended and ended. Returns the usage beyond its budget, in tokens.
async fn one_round(bus: &Bus, tally: &Tally, jobs: usize) -> Result<u64, Error> {
    let task = EntityAddress::new(Command::KIND, new_key());
    let steps = (0..jobs).map(|number| PlanStep {
        step: format!("s{number}").into(),
        goal: "spend".into(),
        skill: AGENT.into(),
        input: Value::Null,
        after: Vec::new(),
        optional: false,
    });
    let limit = jobs as u64 * CALLS * WORST / 2;
    let budget = Budget { tokens: Some(limit), ..Budget::default() };
    let submit = Command::Submit(Submit {
        plan: Some(Plan { steps: steps.collect() }),
        budget: Some(budget),
        ..Submit::new("spend")
    });
    told(bus, &task, &submit).await?;
    let paused = when(bus, &task, &submit, "a tree that is paused", |view| {
        view.state == TaskState::InputRequired && tally.running.load(Ordering::SeqCst) == 0
    })
    .await?;
    let account = paused.budget.ok_or_else(|| Error::answer("reading a budget", "the tree has none"))?;
    let more = Command::ExtendBudget {
        extend: Budget { tokens: Some(limit * 100), ..Budget::default() },
        reason: "a benchmark".into(),
    };
    told(bus, &task, &more).await?;
    when(bus, &task, &submit, "the end of the tree", |view| view.state.is_final()).await?;
    Ok(account.used.tokens.saturating_sub(limit))
}

/// Waits until the task fits. The same submission again returns the task.
async fn when(
    bus: &Bus,
    task: &EntityAddress,
    submit: &Command,
    what: &'static str,
    fits: impl Fn(&Task) -> bool,
) -> Result<Task, Error> {
    until(what, async || {
        let view: Task = serde_json::from_value(told(bus, task, submit).await?)
            .map_err(|error| Error::answer("reading a task", error))?;
        Ok(fits(&view).then_some(view))
    })
    .await
}
