//! handover: commands that are stored before they are acknowledged, while a host applies them.
//!
//! Beside it, a bare publisher stores the same bytes in as many streams that nobody reads.

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, StorageType};
use bus_client::Bus;
use tokio::time::Instant;

use crate::bench::{Measured, Options};
use crate::callers::Target;
use crate::error::Error;
use crate::installation::{Installation, LOOK, SETTLE_DEADLINE, late, settle};
use crate::slices::{Side, in_turns};

/// Numbers of publishers, each of which waits for its acknowledgement.
const CALLERS: [usize; 4] = [1, 16, 64, 256];
/// Entities: a few hundred in each partition.
const ENTITIES: u64 = 1_000;
/// The first token of the bare publisher's subjects.
const BARE: &str = "bare-inbox";

/// Measures handover and the bare publisher in turns.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.hosts(false).await?;
    let (bus, client) = (installation.bus().await?, installation.client().await?);
    make_streams(&client, bus.topology().partitions).await?;
    let ours = Target::handed_over(client.clone(), &bus, "bench-handover", ENTITIES)?;
    let bare = Target::stored(client, bus.topology().partitions, BARE, ENTITIES)?;
    let applied = async || applied(&bus).await;
    let ours = Side { act: move |number| ours.clone().ask(number), settle: applied };
    let bare = Side { act: move |number| bare.clone().ask(number), settle: applied };
    let results = in_turns("handover", options, &CALLERS, ours, bare).await?;
    running.stop().await;
    let notes = vec![
        "a command counts when it is acknowledged; a host applies what is stored meanwhile, and all of it before the next slice",
        "the bare publisher stores the same bytes in as many streams, which nobody reads",
    ];
    Ok(Measured { results, unit: "commands", notes })
}

/// Waits until everything that was handed over is applied, and its events are published.
async fn applied(bus: &Bus) -> Result<(), Error> {
    let deadline = Instant::now() + SETTLE_DEADLINE;
    while bus.inbox_waiting().await? > 0 {
        late(deadline, "the commands of a slice")?;
        tokio::time::sleep(LOOK).await;
    }
    settle(bus).await
}

async fn make_streams(client: &async_nats::Client, partitions: u16) -> Result<(), Error> {
    let context = jetstream::new(client.clone());
    for partition in 0..partitions {
        let config = Config {
            name: format!("BARE_INBOX_{partition}"),
            subjects: vec![format!("{BARE}.{partition}.>")],
            storage: StorageType::File,
            ..Config::default()
        };
        let made = context.create_stream(config).await;
        made.map_err(|error| Error::answer("making a stream for the bare publisher", error))?;
    }
    Ok(())
}
