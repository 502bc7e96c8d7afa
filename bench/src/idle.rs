//! idle: the memory that a host uses for idle entities.
//!
//! A host also remembers the last command ids of every partition. That memory is filled by a million commands
//! before anything is measured; otherwise the ids of the measuring commands would be counted as the entities'
//! memory. The memory of host and server a minute after that million is the first line.

use std::ffi::OsString;
use std::time::Duration;

use crate::bench::{Measured, Options};
use crate::callers::Target;
use crate::error::Error;
use crate::installation::{Installation, settle};
use crate::machine::resident_bytes;
use crate::owner::Owner;
use crate::report::{Figures, round};

/// Numbers of entities after which the memory is measured. The last is twice the requested number, to show
/// whether memory still grows.
const LEVELS: [u64; 4] = [10_000, 50_000, 100_000, 200_000];
/// Callers that touch the entities.
const CALLERS: usize = 256;
/// Entities that are called again and again, to fill the memory of command ids.
const HOT: u64 = 1_000;
/// Commands to those entities: nearly twice as many as eight partitions remember.
const COMMANDS: u64 = 1_000_000;
/// How long host and server rest afterwards, so that temporary memory is freed.
const REST: Duration = Duration::from_secs(60);

/// Measures the memory of an owner in its own process.
pub(crate) async fn run(
    installation: &Installation,
    options: &Options,
    command: &[OsString],
) -> Result<Measured, Error> {
    let gone = || Error::answer("reading the memory of a process", "the process ended");
    let (bus, client) = (installation.bus().await?, installation.client().await?);
    let mut owner = Owner::start(command, installation, "bench-idle")?;
    owner.ready().await?;
    let hot = Target::orrery(client.clone(), &bus, "bench-hot", HOT)?;
    options.say(&format!("idle: {COMMANDS} commands over {HOT} entities"));
    for _ in 0..COMMANDS / HOT {
        hot.touch_all(0..HOT, CALLERS).await?;
    }
    settle(&bus).await?;
    tokio::time::sleep(REST).await;
    let base = resident_bytes(owner.pid().ok_or_else(gone)?)?;
    let server = resident_bytes(installation.server_pid().ok_or_else(gone)?)?;
    options.say(&format!("idle: host {:.1} MB, server {:.1} MB", base as f64 / 1e6, server as f64 / 1e6));
    let mut results = vec![Figures {
        entities: Some(0),
        rss_bytes: Some(base),
        server_rss_bytes: Some(server),
        ..Figures::default()
    }];
    let entities = LEVELS.into_iter().max().unwrap_or_default();
    let target = Target::orrery(client, &bus, "bench-idle", entities)?;
    let (mut touched, mut before) = (0, base);
    for level in LEVELS {
        target.touch_all(touched..level, CALLERS).await?;
        settle(&bus).await?;
        touched = level;
        let resident = resident_bytes(owner.pid().ok_or_else(gone)?)?;
        let bytes_per_entity = (resident as f64 - base as f64) / level as f64;
        options.say(&format!(
            "idle, {level} entities: {:.1} MB, {bytes_per_entity:.0} bytes each",
            resident as f64 / 1e6
        ));
        results.push(Figures {
            entities: Some(level),
            rss_bytes: Some(resident),
            growth_bytes: Some(resident.cast_signed() - before.cast_signed()),
            bytes_per_entity: Some(round(bytes_per_entity, 1)),
            server_rss_bytes: Some(resident_bytes(installation.server_pid().ok_or_else(gone)?)?),
            ..Figures::default()
        });
        before = resident;
    }
    owner.stop().await?;
    let notes = vec![
        "the host keeps 8,192 live entities in each partition at most; entities above that are parked: they lie in the streams only",
        "the NATS server keeps every subject in its memory: `server_rss_bytes` grows with the entities, the host's does not",
    ];
    Ok(Measured { results, unit: "entities", notes })
}
