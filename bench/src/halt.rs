//! halt: everything is halted under load. How long until the last effect anywhere has begun?
//!
//! Several workers, each with its own connection, run jobs that begin one effect after the other, each
//! between its entries in the ledger. A round halts everything, waits until no job runs, and takes the time
//! of the last effect that began. Only effects that began after the command was sent count: a worker cannot
//! know of the halt before it receives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use actors_worker::{Agent, Done, Effect, Failure, Work};
use bus_client::{Ask, Bus};
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::halt::Command as Halt;
use bus_schemas::commands::lane::Query as LaneQuery;
use bus_schemas::commands::queue::Query as Queue;
use bus_schemas::commands::task::{Command as Task, Submit};
use bus_schemas::views::lane::Lane;
use bus_schemas::wire::{WireCommand, WireQuery};
use bus_schemas::{Body, EntityAddress, Key, Reply};
use futures::future::{BoxFuture, try_join_all};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::bench::{Measured, Options};
use crate::error::Error;
use crate::installation::Installation;
use crate::report::Figures;
use crate::slices::line_of_times;
use crate::workers::{PATIENCE, Workers, card, new_key, told, until};

/// Numbers of jobs that run at the same time.
const JOBS: [usize; 2] = [16, 64];
/// Workers that share the jobs.
const WORKERS: usize = 4;
/// Rounds for each requested second.
const ROUNDS_PER_SECOND: u64 = 10;
/// Effects that each job has begun on average before the halt: then all jobs are at work.
const EFFECTS_BEFORE: u64 = 3;
/// The name of the agent and of its skill.
const AGENT: &str = "bench-halt";

/// The totals over the jobs of all workers.
#[derive(Debug)]
struct Tally {
    origin: Instant,
    running: AtomicUsize,
    effects: AtomicU64,
    /// The beginning of the last effect, in microseconds after the origin.
    last: AtomicU64,
}

/// An agent whose jobs begin one effect after the other until they are stopped.
#[derive(Clone)]
struct Busy {
    tally: Arc<Tally>,
}

impl Tally {
    fn new() -> Self {
        Self {
            origin: Instant::now(),
            running: AtomicUsize::new(0),
            effects: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }
    fn microseconds(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
    fn begin_effect(&self) {
        self.last.fetch_max(self.microseconds(), Ordering::SeqCst);
        self.effects.fetch_add(1, Ordering::SeqCst);
    }
}

/// Counts a job for as long as it lives, however it ends.
struct Counted(Arc<Tally>);

impl Counted {
    fn new(tally: &Arc<Tally>) -> Self {
        tally.running.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(tally))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Agent for Busy {
    fn card(&self) -> AgentCard {
        card(AGENT, "begins effects")
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let tally = Arc::clone(&self.tally);
        Box::pin(async move {
            let _counted = Counted::new(&tally);
            for number in 0_u64.. {
                if work.canceled().is_cancelled() {
                    break;
                }
                let counted = &tally;
                let call = |_key| async move {
                    counted.begin_effect();
                    Ok(())
                };
                work.effect(Effect::new(format!("call-{}-{number}", work.job.attempt)), call).await?;
            }
            Err(Failure::canceled())
        })
    }
}

/// Measures halts of everything.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.host(false).await?;
    let bus = installation.bus().await?;
    let mut results = Vec::new();
    for jobs in options.callers_or(&JOBS) {
        let tally = Arc::new(Tally::new());
        let agent = Arc::new(Busy { tally: Arc::clone(&tally) });
        // Enough places for all jobs: no job must wait for a worker.
        let workers = Workers::start(installation, agent, WORKERS, jobs).await?;
        let (mut last, mut answers, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.seconds.saturating_mul(ROUNDS_PER_SECOND) {
            let round = one_round(&bus, &tally, jobs).await?;
            last.push(round.last_effect);
            answers.push(round.answer);
            ends.push(round.end);
        }
        workers.stop().await?;
        let line = |case, times: &[u64]| -> Result<Figures, Error> {
            Ok(Figures { callers: Some(jobs), case: Some(case), ..line_of_times(times)? })
        };
        let lines = [line("last effect", &last)?, line("answer", &answers)?, line("last job", &ends)?];
        options.say(&format!(
            "halt, {jobs} jobs: last effect p50 {:.0} µs, p99 {:.0} µs after the command",
            lines[0].p50_us.unwrap_or_default(),
            lines[0].p99_us.unwrap_or_default(),
        ));
        results.extend(lines);
    }
    running.stop().await;
    let notes = vec![
        "times from the moment before the halt is sent: to the beginning of the last effect of any worker (0 where none began after it), to the answer, and to the end of the last job",
        "callers are jobs that run at once, in four workers with a connection each; each begins one effect after the other",
    ];
    Ok(Measured { results, unit: "halts", notes })
}

/// The times of one halt, in microseconds.
struct Round {
    last_effect: u64,
    answer: u64,
    end: u64,
}

async fn one_round(bus: &Bus, tally: &Tally, jobs: usize) -> Result<Round, Error> {
    let tasks = submit(bus, jobs).await?;
    holds("all jobs at work", || tally.running.load(Ordering::SeqCst) == jobs).await?;
    let enough = tally.effects.load(Ordering::SeqCst) + EFFECTS_BEFORE * jobs as u64;
    holds("effects", || tally.effects.load(Ordering::SeqCst) >= enough).await?;
    let all = EntityAddress::new(Halt::KIND, Key::parse("all").expect("a constant that is a key"));
    let reason = || "a benchmark".to_owned();
    let sent = tally.microseconds();
    let halt = Halt::Halt { reason: reason(), grace_ms: 1_000 };
    told(bus, &all, &halt).await?;
    let answer = tally.microseconds() - sent;
    holds("the end of all jobs", || tally.running.load(Ordering::SeqCst) == 0).await?;
    let end = tally.microseconds() - sent;
    let last_effect = tally.last.load(Ordering::SeqCst).saturating_sub(sent);
    // The next round has its own jobs.
    let cancel = Task::Cancel { reason: reason() };
    try_join_all(tasks.iter().map(|task| told(bus, task, &cancel))).await?;
    let resume = Halt::Resume { reason: reason(), per_minute: None, revision: None };
    told(bus, &all, &resume).await?;
    // Resumed twice: all work resumes at once, and not one more job for each that is done.
    told(bus, &all, &resume).await?;
    until_open(bus).await?;
    Ok(Round { last_effect, answer, end })
}

/// Waits until the lane holds nothing back, and is empty.
async fn until_open(bus: &Bus) -> Result<(), Error> {
    let lane = EntityAddress::new(LaneQuery::KIND, Submit::new("").lane);
    until("a lane that holds nothing back", async || {
        let mut now: Lane = shown(bus, lane.clone(), &LaneQuery::Describe).await?;
        for queue in now.queues(bus.topology().partitions) {
            now.add(&shown(bus, queue, &Queue::Describe).await?);
        }
        Ok((now.blocks.is_empty() && now.waiting + now.running == 0).then_some(()))
    })
    .await
}

/// The answer of an entity to a query.
async fn shown<Q: Serialize, T: DeserializeOwned>(
    bus: &Bus,
    to: EntityAddress,
    query: &Q,
) -> Result<T, Error> {
    let failed = |reason: &dyn std::fmt::Display| Error::answer("asking an entity", reason);
    let ask = Ask::new(to, Body::json(query)).caller(AGENT);
    match bus.query(&ask, PATIENCE).await.map_err(|error| failed(&error))? {
        Reply::Accepted { result, .. } => serde_json::from_value(result).map_err(|error| failed(&error)),
        Reply::Refused { refusal, .. } => Err(failed(&refusal.message)),
    }
}

/// Submits tasks, each with one job.
async fn submit(bus: &Bus, jobs: usize) -> Result<Vec<EntityAddress>, Error> {
    let asks = (0..jobs).map(|_| async {
        let task = EntityAddress::new(Task::KIND, new_key());
        let submit = Submit { skill: AGENT.into(), ..Submit::new("effects") };
        let submit = Task::Submit(submit);
        told(bus, &task, &submit).await?;
        Ok::<_, Error>(task)
    });
    try_join_all(asks).await
}

async fn holds(what: &'static str, fact: impl Fn() -> bool) -> Result<(), Error> {
    until(what, async || Ok(fact().then_some(()))).await
}
