//! replay: events that are read back, decoded and folded, beside a raw consumer of the same stream.
//!
//! `events`: from the event stream, as an entity is loaded and a read model is built. `log`: from the
//! commit records, as a takeover and a verification read them. Both check every entity's chain of
//! hashes while they fold.

use std::collections::HashMap;

use actors_core::{Instance, Registry};
use async_nats::jetstream::{self, consumer::pull::OrderedConfig};
use bus_client::{Bus, EventQuery};
use bus_schemas::record::{CommitRecord, Event};
use bus_schemas::{EntityAddress, LogSequence, PartitionId};
use futures::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::{Measured, Options};
use crate::callers::Target;
use crate::error::Error;
use crate::installation::{Installation, settle};
use crate::report::{Figures, median, round};
use crate::slices::rate;

/// Events in the streams for each second of a point: some seconds of reading in all.
const EVENTS_PER_SECOND: u64 = 40_000;
/// The number of entities of these events.
const ENTITIES: u64 = 1_000;
/// Callers that create the events: enough for records as large as those of a busy installation.
const CALLERS: usize = 256;
/// Rounds of each sort, in turns.
const ROUNDS: usize = 5;

/// Reads both streams, raw and folding, in turns.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.host(false).await?;
    let (bus, client) = (installation.bus().await?, installation.client().await?);
    let target = Target::orrery(client.clone(), &bus, "bench-replay", ENTITIES)?;
    let wanted = options.seconds * EVENTS_PER_SECOND;
    options.say(&format!("replay: writing {wanted} events"));
    for _ in 0..wanted.div_ceil(ENTITIES) {
        target.touch_all(0..ENTITIES, CALLERS).await?;
    }
    settle(&bus).await?;
    // A host that renews leases and takes snapshots would use the same disk.
    running.stop().await;
    let context = jetstream::new(client);
    let registry = actors_logic::registry();
    let (mut events, mut log) = (Sides::default(), Sides::default());
    for round in 0..ROUNDS {
        let last = bus.events_state().await?.last_sequence;
        let stream = bus.topology().events();
        let started = Instant::now();
        raw(&context, &stream, last).await?;
        events.raw.push(rate(wanted, started));
        let started = Instant::now();
        let folded = fold_events(&bus, &registry, wanted).await?;
        events.folded.push(rate(folded, started));

        let started = Instant::now();
        raw_log(&bus, &context).await?;
        log.raw.push(rate(wanted, started));
        let started = Instant::now();
        let folded = fold_log(&bus).await?;
        log.folded.push(rate(folded, started));
        options.say(&format!("replay, round {round} of {ROUNDS}: {last} messages in the event stream"));
    }
    let results = vec![events.line("events"), log.line("log")];
    let notes = vec![
        "`events` reads one message an event; `log` reads one message a commit record, all partitions at once; a record holds many turns with their commands and answers, so a raw consumer has next to nothing to do for each event",
        "both check the chain of hashes of every entity",
    ];
    Ok(Measured { results, unit: "events", notes })
}

/// Rates of one stream.
#[derive(Default)]
struct Sides {
    folded: Vec<f64>,
    raw: Vec<f64>,
}

impl Sides {
    fn line(self, case: &'static str) -> Figures {
        let rounds = self.folded.len();
        let of = |rates| median(rates).map(|rate| round(rate, 1));
        let (per_s, baseline_per_s) = (of(self.folded), of(self.raw));
        let line =
            Figures { per_s, baseline_per_s, case: Some(case), samples: Some(rounds), ..Figures::default() };
        line.with_ratios()
    }
}

/// Reads a number of messages without looking at them.
async fn raw(context: &jetstream::Context, stream: &str, messages: u64) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::answer("reading a stream", error);
    let stream = context.get_stream_no_info(stream).await.map_err(|error| failed(&error))?;
    let consumer = stream.create_consumer(OrderedConfig::default()).await.map_err(|error| failed(&error))?;
    let mut stored = consumer.messages().await.map_err(|error| failed(&error))?.take(messages as usize);
    while stored.try_next().await.map_err(|error| failed(&error))?.is_some() {}
    Ok(())
}

/// The folded entities; `None` while one of them is being folded.
struct Entities<'a> {
    registry: &'a Registry,
    live: HashMap<EntityAddress, Option<Box<dyn Instance>>>,
    events: u64,
}

impl<'a> Entities<'a> {
    fn new(registry: &'a Registry) -> Self {
        Self { registry, live: HashMap::new(), events: 0 }
    }

    fn fold(&mut self, entity: &EntityAddress, event: &Event) -> Result<(), Error> {
        if !self.live.contains_key(entity) {
            self.live.insert(entity.clone(), self.registry.make(&entity.kind));
        }
        let failed = |reason: &str| Error::answer("folding an event", format!("`{entity}`: {reason}"));
        let live = self.live.get_mut(entity).ok_or_else(|| failed("the entity was not kept"))?;
        let instance = live.take().ok_or_else(|| failed("the kind is unknown"))?;
        let folded = actors_runtime::fold::replay(instance, [event]);
        *live = Some(folded.map_err(|stopped| failed(&stopped.reason))?);
        self.events += 1;
        Ok(())
    }
}

/// Folds the event stream. Returns the number of events.
async fn fold_events(bus: &Bus, registry: &Registry, wanted: u64) -> Result<u64, Error> {
    let mut entities = Entities::new(registry);
    let mut events = bus.events(EventQuery::default()).await?;
    while entities.events < wanted
        && let Some(stored) = events.try_next().await?
    {
        entities.fold(&stored.entity, &stored.event)?;
    }
    Ok(entities.events)
}

/// Reads all logs concurrently, without looking at the records.
async fn raw_log(bus: &Bus, context: &jetstream::Context) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    for partition in bus.topology().all_partitions() {
        let stream = bus.topology().log(partition);
        let records = bus.state_of(&stream).await?.messages;
        let context = context.clone();
        tasks.spawn(async move { raw(&context, &stream, records).await });
    }
    while let Some(read) = tasks.join_next().await {
        read.map_err(|error| Error::answer("reading a stream", error))??;
    }
    Ok(())
}

/// Folds the logs concurrently, as hosts do. Returns the number of events.
async fn fold_log(bus: &Bus) -> Result<u64, Error> {
    let mut tasks = JoinSet::new();
    for partition in bus.topology().all_partitions() {
        let bus = bus.clone();
        tasks.spawn(async move { fold_partition(&bus, partition).await });
    }
    let mut events = 0;
    while let Some(folded) = tasks.join_next().await {
        events += folded.map_err(|error| Error::answer("folding a log", error))??;
    }
    Ok(events)
}

async fn fold_partition(bus: &Bus, partition: PartitionId) -> Result<u64, Error> {
    let registry = actors_logic::registry();
    let mut entities = Entities::new(&registry);
    let mut records = bus.records_after(partition, LogSequence(0)).await?;
    while let Some(entry) = records.try_next().await? {
        let record = CommitRecord::decode(&entry.record);
        let record = record.map_err(|error| Error::answer("reading a record", error))?;
        for turn in &record.turns {
            for event in &turn.events {
                entities.fold(&turn.entity, event)?;
            }
        }
    }
    Ok(entities.events)
}
