//! The deterministic simulation: real partitions and real entities in a modelled world, from one seed.
//!
//! **Real**: [`actors_runtime::core::Core`] with inbox, decide, group, fold, cache and timers; what a
//! takeover makes of snapshot and log (`Core::recover`, `Core::take_over`); `journal::judge`, which
//! resolves an append whose answer is lost; `claims::ClaimPool`, the pool of free places that the partitions of
//! a host share; `tenure::Tenure`; `fanout::leaving`, which says which events go next; `fold::restore` and `fold::replay`; every entity of `actors-logic`; records, events and snapshots
//! as they are encoded.
//!
//! **Modelled**, call by call after the asynchronous code: the loop around the core
//! (`partition.rs`: order of stages, queries, mail and receipts, ticks, trimming), the order of a takeover
//! (`takeover.rs`), batches and their fates (`fanout.rs`), leases (`lease.rs`), the door of hosts for claims
//! (`claims.rs`), JetStream (`store.rs` beside this file), the network, clocks, callers, agents and their
//! workers.
//!
//! A run has a wild time with faults of every kind, and a calm one in which everything must come to
//! rest. The invariants in `invariants.rs` are checked at every record, event, answer, load and trim.
//!
//! `ORRERY_SIM_SEED=<n>` runs one seed, and `ORRERY_SIM_TRACE=1` prints all of it; `ORRERY_SIM_RUNS=<n>` says how many runs the large test makes, and `ORRERY_SIM_SECONDS=<n>` for how long it makes them.

mod coverage;
mod faults;
mod invariants;
mod mutations;
mod random;
mod regressions;
mod store;
mod trace;
mod world;

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actors_core::Registry;

use coverage::Coverage;
use world::{Failure, run};

/// The first seed of the large test: fixed, so that a change is judged by the same runs.
const FIRST_SEED: u64 = 20_260_101;
/// How many runs the large test makes: a minute's work of two cores in the profile of the tests.
const RUNS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The registry of the product. Commands that are told to panic do so without a word.
fn registry() -> Arc<Registry> {
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload_as_str() != Some("the probe was told to panic") {
                usual(panic);
            }
        }));
    });
    Arc::new(actors_logic::registry())
}

fn describe(failure: &Failure) -> String {
    let Failure { seed, step, violation, trace } = failure;
    format!(
        "the invariant `{}` does not hold: {}\nseed {seed}, step {step}; the last lines:\n{}\n\
         run it again: ORRERY_SIM_SEED={seed} cargo test -p system-tests --test sim one_seed -- --nocapture",
        violation.invariant,
        violation.reason,
        trace.join("\n")
    )
}

/// Goal: no seed breaks an invariant, and together they reach every fault and every path.
/// Method: many seeds on all cores; the first failure is shown with the way to see it again.
#[test]
fn many_seeds_keep_every_invariant() {
    let registry = registry();
    let seconds = number("ORRERY_SIM_SECONDS").map(Duration::from_secs);
    let begun = Instant::now();
    let is_over = || seconds.is_some_and(|seconds| begun.elapsed() >= seconds);
    let runs = number("ORRERY_SIM_RUNS").unwrap_or(if seconds.is_some() { u64::MAX / 2 } else { RUNS });
    let (next, steps, records) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let results: Vec<Result<Coverage, Box<Failure>>> = thread::scope(|scope| {
        let work = || {
            let mut coverage = Coverage::default();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= runs || is_over() {
                    return Ok(coverage);
                }
                let outcome = run(FIRST_SEED + index, &registry, None).inspect_err(|_| {
                    // The others need not go on.
                    next.store(runs, Ordering::Relaxed);
                })?;
                steps.fetch_add(outcome.steps, Ordering::Relaxed);
                records.fetch_add(outcome.records, Ordering::Relaxed);
                coverage.add(&outcome.coverage);
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    let mut coverage = Coverage::default();
    for result in results {
        match result {
            Ok(reached) => coverage.add(&reached),
            Err(failure) => panic!("{}", describe(&failure)),
        }
    }
    let [steps, records] = [steps, records].map(|count| count.load(Ordering::Relaxed));
    let runs = runs.min(next.load(Ordering::Relaxed));
    println!("{runs} runs, {steps} steps, {records} records\n{coverage:?}");
    if runs >= RUNS {
        let missing = coverage.missing();
        assert!(missing.is_empty(), "never reached: {missing:?}");
    }
}

/// Goal: a seed that was reported can be looked at. Without `ORRERY_SIM_SEED` it is a small run.
#[test]
fn one_seed() {
    let seed = number("ORRERY_SIM_SEED").unwrap_or(1);
    match run(seed, &registry(), None) {
        Ok(outcome) => println!("{outcome:?}"),
        Err(failure) => panic!("{}", describe(&failure)),
    }
}

/// Goal: a seed determines everything. Method: the hash over the whole trace, which holds the hash of
/// every record, is the same in a second run, and another one for another seed.
#[test]
fn the_same_seed_gives_the_same_trace() {
    let registry = registry();
    let hash = |seed| match run(seed, &registry, None) {
        Ok(outcome) => (outcome.trace_hash, outcome.steps),
        Err(failure) => panic!("{}", describe(&failure)),
    };
    for seed in 0..20 {
        assert_eq!(hash(seed), hash(seed), "seed {seed}");
        assert_ne!(hash(seed).0, hash(seed + 1).0, "seeds {seed} and the next one");
    }
}
