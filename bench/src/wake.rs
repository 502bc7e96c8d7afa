//! wake: the cost of calling entities that are in the streams and not in memory.
//!
//! Many entities are created. Then three rates are measured with the same callers in the same run, in turns:
//! of a burst over entities with a history, each called once, after all the others have pushed them out of
//! memory; of the same entities while they are in memory; and of all entities in random order.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::time::Instant;

use crate::bench::{Measured, Options};
use crate::callers::{Target, Times, closed_loop};
use crate::error::Error;
use crate::installation::{Installation, settle};
use crate::machine::resident_bytes;
use crate::report::Figures;
use crate::slices::{self, Slice, rate};

/// Entities of the burst, and their events before they are parked.
const BURST: u64 = 1_000;
const HISTORY: u64 = 200;
/// Callers, unless others are requested.
const CALLERS: [usize; 1] = [64];
/// Callers that create the entities and park those of the burst.
const MAKING: usize = 1_024;
/// The least number of entities. A host keeps 65,536 in memory; fewer would park nothing.
const ENTITIES_MIN: u64 = 70_000;
/// How often everything is measured.
const SLICES: u32 = 3;
/// The fraction of a slice's time that callers run before it.
const WARM_UP_SHARE: u32 = 4;

/// Measures the rates, and their ratios to the warm one.
pub(crate) async fn run(
    installation: &Installation,
    options: &Options,
    entities: u64,
) -> Result<Measured, Error> {
    if entities < ENTITIES_MIN {
        return Err(Error::Option { option: "entities", reason: "at least 70000, or nothing is parked" });
    }
    let running = installation.host(false).await?;
    let (bus, client) = (installation.bus().await?, installation.client().await?);
    let burst = Target::orrery(client.clone(), &bus, "bench-burst", BURST)?;
    let all = Target::orrery(client, &bus, "bench-wake", entities)?;
    for _ in 0..HISTORY {
        burst.touch_all(0..BURST, MAKING).await?;
    }
    options.say(&format!("wake: {BURST} entities have {HISTORY} events each"));
    let mut results = Vec::new();
    for callers in options.callers_or(&CALLERS) {
        let slice = Duration::from_secs(options.seconds) / SLICES;
        let times = Times { warm_up: slice / WARM_UP_SHARE, duration: slice };
        let (mut parked, mut warm, mut cold) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..SLICES {
            let began = Instant::now();
            all.touch_all(0..entities, MAKING).await?;
            settle(&bus).await?;
            options.say(&format!("wake: {entities} entities touched, {:.0}/s", rate(entities, began)));
            let began = Instant::now();
            let latencies = burst.touch_all(0..BURST, callers).await?;
            parked.push(Slice::of(&latencies, began.elapsed().as_secs_f64())?);
            warm.push(at_random(&burst, callers, times, &bus).await?);
            cold.push(at_random(&all, callers, times, &bus).await?);
        }
        for (case, slices) in [("warm", &warm), ("burst", &parked), ("all-keys", &cold)] {
            let bare = if case == "warm" { &[][..] } else { &warm };
            let line =
                Figures { case: Some(case), entities: Some(entities), ..slices::line(callers, slices, bare) };
            let (per_s, ratio) = (line.per_s.unwrap_or_default(), line.ratio_per_s.unwrap_or(1.0));
            options.say(&format!("wake, {callers} callers, {case}: {per_s:.0}/s, {ratio} of the warm rate"));
            results.push(line);
        }
    }
    let server = installation.server_pid().map(resident_bytes).transpose()?;
    if let Some(line) = results.last_mut() {
        line.rss_bytes = Some(resident_bytes(std::process::id())?);
        line.server_rss_bytes = server;
    }
    running.stop().await;
    let notes = vec![
        "the baseline is `warm`: the rate over entities that are in memory",
        "`rss_bytes` is of one process with host and callers",
    ];
    Ok(Measured { results, unit: "turns", notes })
}

/// Calls entities at random, until all their events are published.
async fn at_random(
    target: &Target,
    callers: usize,
    times: Times,
    bus: &bus_client::Bus,
) -> Result<Slice, Error> {
    let (target, numbers) = (target.clone(), Arc::new(AtomicU64::new(0)));
    let outcome = closed_loop(callers, times, &numbers, move |number| target.clone().ask(number)).await?;
    settle(bus).await?;
    Slice::ended_now(&outcome)
}
