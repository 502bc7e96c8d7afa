//! turn: one command of 128 bytes, one event, one reply, over a thousand entities.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::bench::{Measured, Options};
use crate::callers::{Target, closed_loop};
use crate::error::Error;
use crate::installation::{Installation, settle, settle_bare_loop, stop_bare_loop};
use crate::slices::{self, Side, Slice, in_turns};

/// Numbers of callers.
const CALLERS: [usize; 5] = [1, 16, 64, 256, 1_024];
/// Entities that the commands are spread over.
const ENTITIES: u64 = 1_000;
/// The prefix of the entities' keys.
const PREFIX: &str = "bench-turn";
/// Callers that touch every entity once before the measurement.
const TOUCHING: usize = 64;

const UNIT: &str = "turns";
const SUSTAINED: &str = "a slice ends when the events of all its commands are in the event stream, so `per_s` is a rate that lasts";

/// Measures Orrery and the bare loop in turns.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.hosts(false).await?;
    let bare = installation.bare_loop().await?;
    let (bus, client) = (installation.bus().await?, installation.client().await?);
    let partitions = bus.topology().partitions;
    let ours = Target::orrery(client.clone(), &bus, PREFIX, ENTITIES)?;
    let theirs = Target::bare_loop(client, partitions, PREFIX, ENTITIES)?;
    ours.touch_all(0..ENTITIES, TOUCHING).await?;
    theirs.touch_all(0..ENTITIES, TOUCHING).await?;
    let ours = Side { act: move |number| ours.clone().ask(number), settle: async || settle(&bus).await };
    let theirs = Side {
        act: move |number| theirs.clone().ask(number),
        settle: async || settle_bare_loop(&bare).await,
    };
    let results = in_turns("turn", options, &CALLERS, ours, theirs).await?;
    stop_bare_loop(bare).await?;
    running.stop().await;
    Ok(Measured { results, unit: UNIT, notes: vec![SUSTAINED] })
}

/// Measures only the bare loop: its figures stand in the columns of Orrery.
pub(crate) async fn run_baseline(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let bare = installation.bare_loop().await?;
    let partitions = installation.config().partitions.get();
    let target = Target::bare_loop(installation.client().await?, partitions, PREFIX, ENTITIES)?;
    target.touch_all(0..ENTITIES, TOUCHING).await?;
    let numbers = Arc::new(AtomicU64::new(0));
    let mut results = Vec::new();
    for callers in options.callers_or(&CALLERS) {
        let (count, times) = slices::plan(options.seconds);
        let mut measured = Vec::new();
        for _ in 0..count {
            let target = target.clone();
            let outcome =
                closed_loop(callers, times, &numbers, move |number| target.clone().ask(number)).await?;
            settle_bare_loop(&bare).await?;
            measured.push(Slice::ended_now(&outcome)?);
        }
        let line = slices::line(callers, &measured, &[]);
        options.say(&format!("baseline, {callers} callers: {:.0}/s", line.per_s.unwrap_or_default()));
        results.push(line);
    }
    stop_bare_loop(bare).await?;
    let alone = "the bare loop alone: `per_s`, `p50_us` and `p99_us` are its own";
    Ok(Measured { results, unit: UNIT, notes: vec![alone, SUSTAINED] })
}
