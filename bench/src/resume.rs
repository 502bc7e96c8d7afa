//! resume: an owner is killed under load. How long until each of its partitions replies to a new command?
//!
//! `restart`: a process with the same host name follows at once, as started by a process supervisor; its
//! lease is its own. `standby`: another host takes the partitions over once the leases have expired.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus_client::{Ask, Bus};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::{Body, EntityAddress, PartitionId, Reply};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::bench::{Measured, Options};
use crate::callers::probe;
use crate::error::Error;
use crate::installation::Installation;
use crate::owner::Owner;
use crate::report::Figures;
use crate::slices::line_of_times;

/// Callers that keep the owner busy.
const CALLERS: usize = 16;
/// Entities that they call.
const ENTITIES: u64 = 1_000;
/// The prefix of the entities' keys.
const PREFIX: &str = "bench-resume";
/// Takeovers of each sort.
const ROUNDS: usize = 5;
/// How long the owner works under load before it is killed: some hundred records.
const LOAD: Duration = Duration::from_secs(1);
/// Timeout of a reply, after which the benchmark fails: many times a lease.
const PATIENCE: Duration = Duration::from_secs(60);
/// The polling interval for leases while hosts share the partitions.
const LOOK: Duration = Duration::from_millis(100);
const FIRST: &str = "bench-first";
const SECOND: &str = "bench-second";

/// Measures both sorts of takeover.
pub(crate) async fn run(
    installation: &Installation,
    options: &Options,
    command: &[OsString],
) -> Result<Measured, Error> {
    let bus = installation.bus().await?;
    let mut first = Owner::start(command, installation, FIRST)?;
    first.ready().await?;
    let mut restarts = Vec::new();
    for round in 0..ROUNDS {
        let all: Vec<PartitionId> = bus.topology().all_partitions().collect();
        let load = Load::start(&bus);
        tokio::time::sleep(LOAD).await;
        let killed = Instant::now();
        first.kill()?;
        let mut next = Owner::start(command, installation, FIRST)?;
        let times = first_answers(&bus, &all, killed).await?;
        options.say(&format!("resume, restart {round}: {}", shown(&times)));
        restarts.extend(times);
        next.ready().await?;
        load.stop().await?;
        first.gone().await?;
        first = next;
    }
    let mut second = Owner::start(command, installation, SECOND)?;
    let mut takeovers = Vec::new();
    for round in 0..ROUNDS {
        let held = until_shared(&bus).await?;
        let load = Load::start(&bus);
        tokio::time::sleep(LOAD).await;
        let killed = Instant::now();
        first.kill()?;
        let times = first_answers(&bus, &held, killed).await?;
        options.say(&format!("resume, standby {round}: {}", shown(&times)));
        takeovers.extend(times);
        load.stop().await?;
        first.gone().await?;
        first = Owner::start(command, installation, FIRST)?;
    }
    until_shared(&bus).await?;
    first.stop().await?;
    second.ready().await?;
    second.stop().await?;
    let line = |case, times: &[u64]| -> Result<Figures, Error> {
        Ok(Figures { callers: Some(CALLERS), case: Some(case), ..line_of_times(times)? })
    };
    let results = vec![line("restart", &restarts)?, line("standby", &takeovers)?];
    let notes = vec![
        "times from the kill to the answer of a command that was first sent after the kill, one for each partition of the dead owner",
        "a lease lasts 4 s: a standby host waits for its end, a host of the same name does not",
        "a command that was on its way to the owner as it died is never answered; its caller sends it again under its id after a fifth of a second, and it is applied once",
    ];
    Ok(Measured { results, unit: "takeovers", notes })
}

fn shown(times: &[u64]) -> String {
    let (least, most) = (times.iter().min(), times.iter().max());
    format!("{} to {} ms", least.unwrap_or(&0) / 1_000, most.unwrap_or(&0) / 1_000)
}

fn touch(entity: EntityAddress) -> Ask {
    Ask::new(entity, Body::json(&Probe::Touch { note: String::new() }))
}

/// Sends a command until there is a reply, as any client does.
async fn answered(bus: &Bus, entity: EntityAddress) -> Result<(), Error> {
    let failed = |reason: &dyn std::fmt::Display| Error::answer("asking after a takeover", reason);
    match bus.ask(&touch(entity), PATIENCE).await.map_err(|error| failed(&error))? {
        Reply::Accepted { .. } => Ok(()),
        Reply::Refused { refusal, .. } => Err(failed(&refusal.message)),
    }
}

/// How long after `killed` each partition replies, in microseconds.
async fn first_answers(bus: &Bus, partitions: &[PartitionId], killed: Instant) -> Result<Vec<u64>, Error> {
    let asks = partitions.iter().map(|partition| async move {
        answered(bus, resident(bus, *partition)?).await?;
        Ok::<_, Error>(u64::try_from(killed.elapsed().as_micros()).unwrap_or(u64::MAX))
    });
    futures::future::try_join_all(asks).await
}

/// An entity that lives in a partition.
fn resident(bus: &Bus, partition: PartitionId) -> Result<EntityAddress, Error> {
    let partitions = bus.topology().partitions;
    for number in 0..ENTITIES {
        let entity = probe(PREFIX, number)?;
        if entity.partition(partitions) == partition {
            return Ok(entity);
        }
    }
    Err(Error::answer("choosing an entity", format!("none of {ENTITIES} lives in partition {partition}")))
}

/// Waits until both hosts have their share and every partition answers. Returns the first host's partitions.
async fn until_shared(bus: &Bus) -> Result<Vec<PartitionId>, Error> {
    let deadline = Instant::now() + PATIENCE;
    let share = usize::from(bus.topology().partitions / 2);
    loop {
        let holders = bus.leases().await?.holders;
        let of = |host: &str| -> Vec<PartitionId> {
            holders.iter().filter(|(_, holder)| *holder == host).map(|(id, _)| *id).collect()
        };
        let (first, second) = (of(FIRST), of(SECOND));
        if first.len() == share && second.len() == share {
            let all: Vec<PartitionId> = bus.topology().all_partitions().collect();
            first_answers(bus, &all, Instant::now()).await?;
            return Ok(first);
        }
        if Instant::now() > deadline {
            return Err(Error::Late { what: "an even share of the partitions", seconds: PATIENCE.as_secs() });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Callers in a closed loop that tolerate the death of an owner.
struct Load {
    tasks: JoinSet<Result<(), Error>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

impl Load {
    fn start(bus: &Bus) -> Self {
        let (stop, numbers) = (Arc::default(), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..CALLERS {
            let (bus, stop) = (bus.clone(), Arc::<std::sync::atomic::AtomicBool>::clone(&stop));
            let numbers = Arc::clone(&numbers);
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    answered(&bus, probe(PREFIX, number % ENTITIES)?).await?;
                }
                Ok(())
            });
        }
        Self { tasks, stop }
    }

    /// Stops the callers; a lost command is an error.
    async fn stop(mut self) -> Result<(), Error> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| Error::answer("running a caller", error))??;
        }
        Ok(())
    }
}
