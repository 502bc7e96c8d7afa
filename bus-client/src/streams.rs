//! Creates the streams and buckets of the topology, and keeps the installation's fixed settings.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType, Stream};
use async_nats::jetstream::{kv, object_store};
use bus_schemas::topology::{DUPLICATE_WINDOW_MS, OUTPUT_TTL_SECONDS, Store};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bus::Bus;
use crate::error::Error;

/// A lease expires after this time without renewal: longer than a slow disk, short enough that a dead host's
/// partitions move within seconds.
pub const LEASE_TTL: Duration = Duration::from_secs(4);
/// The most durable commands that wait in a partition; above it publishers are refused, so that the disk does
/// not fill.
const INBOX_MESSAGES_MAX: i64 = 125_000;

/// The version of the layout of streams, records and events that this program reads and writes.
pub const FORMAT: u16 = 5;

/// The settings that cannot change once an installation exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// The layout version of streams and records: [`FORMAT`].
    pub format: u16,
    /// The number of partitions.
    pub partitions: u16,
    /// A random id of the installation; empty in formats from before there were ids, which are refused.
    #[serde(default)]
    pub id: String,
}

/// Creates what is missing. Changes nothing that exists.
pub(crate) async fn ensure(bus: &Bus) -> Result<(), Error> {
    fix_settings(bus).await?;
    for config in configs(bus) {
        stream(bus, config).await?;
    }
    buckets(bus).await
}

/// The configurations of the streams: the logs first.
pub(crate) fn configs(bus: &Bus) -> Vec<Config> {
    let topology = bus.topology();
    let logs = topology.all_partitions().map(|partition| Config {
        name: topology.log(partition),
        subjects: vec![topology.subjects.log(partition)],
        description: Some("commit records: the truth".into()),
        // A record in the middle cannot be deleted; the beginning is cut after it was archived.
        deny_delete: true,
        ..base(bus)
    });
    let inboxes = topology.all_partitions().map(|partition| Config {
        name: topology.inbox(partition),
        subjects: vec![topology.subjects.commands(partition)],
        description: Some("commands handed over by outsiders".into()),
        duplicate_window: Duration::from_millis(DUPLICATE_WINDOW_MS),
        max_messages: INBOX_MESSAGES_MAX,
        ..base(bus)
    });
    logs.chain(inboxes).chain(derived(bus)).collect()
}

fn derived(bus: &Bus) -> [Config; 3] {
    let topology = bus.topology();
    [
        Config {
            name: topology.events(),
            subjects: vec![topology.subjects.events(None), topology.subjects.marks()],
            description: Some("events, derived from the logs".into()),
            allow_atomic_publish: true,
            ..base(bus)
        },
        Config {
            name: topology.output(),
            subjects: vec![topology.subjects.outputs()],
            description: Some("streamed output".into()),
            max_age: Duration::from_secs(OUTPUT_TTL_SECONDS),
            discard: DiscardPolicy::Old,
            ..base(bus)
        },
        Config {
            name: topology.dead(),
            subjects: vec![topology.subjects.dead_letters()],
            description: Some("dead letters with their payload".into()),
            ..base(bus)
        },
    ]
}

fn base(bus: &Bus) -> Config {
    Config {
        storage: StorageType::File,
        num_replicas: bus.profile().replicas(),
        discard: DiscardPolicy::New,
        allow_direct: true,
        ..Config::default()
    }
}

async fn stream(bus: &Bus, config: Config) -> Result<(), Error> {
    let (name, wanted, subjects) = (config.name.clone(), config.num_replicas, config.subjects.clone());
    let doing = || format!("creating stream `{name}`");
    let stream = bus.jetstream().get_or_create_stream(config).await;
    let stream = stream.map_err(|error| match error.kind() {
        CreateStreamErrorKind::JetStream(answer) => Error::answered(doing(), &answer),
        _ => Error::call(doing(), error),
    })?;
    expect_ours(&stream, &subjects)?;
    let found = stream.cached_info().config.num_replicas;
    if found < wanted {
        // Created under a looser profile: acknowledged writes would be less durable than this profile
        // promises.
        let (found, wanted) = (found.to_string(), wanted.to_string());
        return Err(Error::Installation { what: "copies of each stream:", found, wanted });
    }
    Ok(())
}

/// Refuses a stream of another installation: writes would be lost, or go into the other's data.
fn expect_ours(stream: &Stream, subjects: &[String]) -> Result<(), Error> {
    let found = &stream.cached_info().config.subjects;
    if subjects.iter().all(|subject| found.contains(subject)) {
        return Ok(());
    }
    let what = "a stream of our name with the subjects";
    Err(Error::Installation { what, found: found.join(" "), wanted: subjects.join(" ") })
}

impl Bus {
    /// Refuses an installation with other fixed settings than this connection's, and streams of another
    /// installation. Check before writing.
    pub async fn check_installation(&self) -> Result<(), Error> {
        let store = settings_of(self).await?;
        hold_against(&stored_settings(&store).await?, self)?;
        self.check_streams().await
    }

    /// Refuses streams of these names that belong to another installation. Missing streams are accepted.
    pub async fn check_streams(&self) -> Result<(), Error> {
        for Config { name, subjects, .. } in configs(self) {
            if let Some(stream) = self.find_stream(&name).await? {
                expect_ours(&stream, &subjects)?;
            }
        }
        Ok(())
    }

    /// The id of the installation. A restored copy has the id of the original: they share a history up to the
    /// backup.
    pub async fn installation_id(&self) -> Result<String, Error> {
        Ok(stored_settings(&settings_of(self).await?).await?.id)
    }

    /// Whether an installation exists under this connection's prefix.
    pub async fn is_installed(&self) -> Result<bool, Error> {
        if !self.client().server_info().jetstream {
            return Err(Error::NoJetStream { url: self.url().to_owned() });
        }
        let name = format!("KV_{}", self.topology().settings());
        match self.jetstream().get_stream(&name).await {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(answer)
                    if answer.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(false)
                }
                _ => Err(Error::call("looking for the installation", error)),
            },
        }
    }

    /// Deletes all events and marks: they are derived from the logs, and the caller publishes them again. A
    /// stream that is gone is created.
    pub async fn clear_events(&self) -> Result<(), Error> {
        let [events, ..] = derived(self);
        stream(self, events).await?;
        let name = self.topology().events();
        let failed = |error: String| Error::call(format!("emptying stream `{name}`"), error);
        let stream = self.jetstream().get_stream(&name).await.map_err(|error| failed(error.to_string()))?;
        stream.purge().await.map(drop).map_err(|error| failed(error.to_string()))
    }
}

async fn bucket(bus: &Bus, name: String, max_age: Duration) -> Result<kv::Store, Error> {
    if let Ok(store) = bus.jetstream().get_key_value(&name).await {
        return Ok(store);
    }
    let config = kv::Config {
        bucket: name.clone(),
        history: 1,
        max_age,
        storage: StorageType::File,
        num_replicas: bus.profile().replicas(),
        ..kv::Config::default()
    };
    bus.jetstream()
        .create_key_value(config)
        .await
        .map_err(|error| Error::call(format!("creating bucket `{name}`"), error))
}

async fn buckets(bus: &Bus) -> Result<(), Error> {
    let topology = bus.topology();
    bucket(bus, topology.leases(), LEASE_TTL).await?;
    stream(bus, crate::snapshots::config(bus)).await?;
    stream(bus, crate::cache::config(bus)).await?;
    for store in Store::ALL {
        objects(bus, topology.objects(store)).await?;
    }
    Ok(())
}

async fn objects(bus: &Bus, name: String) -> Result<(), Error> {
    if bus.jetstream().get_object_store(&name).await.is_ok() {
        return Ok(());
    }
    let config = object_store::Config {
        bucket: name.clone(),
        storage: StorageType::File,
        num_replicas: bus.profile().replicas(),
        ..object_store::Config::default()
    };
    bus.jetstream()
        .create_object_store(config)
        .await
        .map(drop)
        .map_err(|error| Error::call(format!("creating object store `{name}`"), error))
}

async fn settings_of(bus: &Bus) -> Result<kv::Store, Error> {
    let store = bus.jetstream().get_key_value(bus.topology().settings()).await;
    store.map_err(|error| Error::call("opening the installation's settings", error))
}

fn encoded(installation: &Installation) -> bytes::Bytes {
    serde_json::to_vec(installation).expect("two numbers and a text").into()
}

/// Writes the fixed settings of a new installation, or compares ours with those of the existing one.
async fn fix_settings(bus: &Bus) -> Result<(), Error> {
    let topology = bus.topology();
    let store = bucket(bus, topology.settings(), Duration::ZERO).await?;
    let (partitions, id) = (topology.partitions, Uuid::now_v7().to_string());
    let new = Installation { format: FORMAT, partitions, id };
    // If two hosts start at once, the second create is refused, and the first one's settings win.
    if store.create("installation", encoded(&new)).await.is_ok() {
        return Ok(());
    }
    hold_against(&stored_settings(&store).await?, bus)
}

/// The fixed settings.
async fn stored_settings(store: &kv::Store) -> Result<Installation, Error> {
    let doing = "reading the installation's settings";
    let entry = store.entry("installation").await.map_err(|error| Error::call(doing, error))?;
    let gone = |entry: &kv::Entry| entry.operation != kv::Operation::Put;
    let lost = || Error::Refused { doing: doing.into(), reason: "the settings are gone".into() };
    let entry = entry.filter(|entry| !gone(entry)).ok_or_else(lost)?;
    serde_json::from_slice(&entry.value).map_err(|error| Error::call(doing, error))
}

fn hold_against(found: &Installation, bus: &Bus) -> Result<(), Error> {
    if found.format != FORMAT {
        return Err(Error::Format { found: found.format, wanted: FORMAT });
    }
    let partitions = bus.topology().partitions;
    if found.partitions != partitions {
        let (found, wanted) = (found.partitions.to_string(), partitions.to_string());
        return Err(Error::Installation { what: "partitions", found, wanted });
    }
    Ok(())
}
