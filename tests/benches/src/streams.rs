//! The streams of the bare loop: as Orrery's logs and event stream are.

use anyhow::Context as _;
use async_nats::Client;
use async_nats::jetstream::{self, stream};

/// The stream of a partition's records.
fn log_stream(partition: u16) -> String {
    format!("BARE_LOG_{partition}")
}
/// The stream of events and marks.
const EVENTS: &str = "BARE_EVENTS";

/// Where a partition's records go.
pub(crate) fn log(partition: u16) -> String {
    format!("bare.log.{partition}")
}
/// The asks of a partition.
pub(crate) fn asks(partition: u16) -> String {
    format!("bare.ask.{partition}.>")
}
/// Where an entity's events appear.
pub(crate) fn event(key: &str) -> String {
    format!("bare.evt.{key}")
}
/// Where a partition notes how far its events are out.
pub(crate) fn mark(partition: u16) -> String {
    format!("bare.mark.{partition}")
}

/// Makes the streams, without what an earlier run left.
pub(crate) async fn make(client: &Client, partitions: u16) -> anyhow::Result<()> {
    let context = jetstream::new(client.clone());
    for partition in 0..partitions {
        let config = stream::Config {
            name: log_stream(partition),
            subjects: vec![log(partition)],
            deny_delete: true,
            deny_purge: true,
            ..base()
        };
        replace(&context, config).await?;
    }
    let config = stream::Config {
        name: EVENTS.into(),
        subjects: vec!["bare.evt.>".into(), "bare.mark.*".into()],
        allow_atomic_publish: true,
        ..base()
    };
    replace(&context, config).await
}

fn base() -> stream::Config {
    stream::Config {
        storage: stream::StorageType::File,
        discard: stream::DiscardPolicy::New,
        allow_direct: true,
        ..stream::Config::default()
    }
}

async fn replace(context: &jetstream::Context, config: stream::Config) -> anyhow::Result<()> {
    let name = config.name.clone();
    if context.get_stream(&name).await.is_ok() {
        context.delete_stream(&name).await.with_context(|| format!("deleting `{name}`"))?;
    }
    context.create_stream(config).await.map(drop).with_context(|| format!("creating `{name}`"))
}
