//! Makes the streams and buckets of the topology, and keeps its fixed settings.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{kv, object_store};
use bus_schemas::topology::{DUPLICATE_WINDOW_SECONDS, OUTPUT_TTL_SECONDS};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bus::Bus;
use crate::error::Error;

/// A lease is lost after this long without renewal. Longer than a garbage pause or a slow disk,
/// short enough that a dead host's partitions move within seconds.
pub const LEASE_TTL: Duration = Duration::from_secs(4);
/// Durable commands that may wait in a partition; then publishers are refused instead of the disk filling.
const INBOX_MESSAGES_MAX: i64 = 125_000;

/// The layout of streams, records and events that this program reads and writes.
pub const FORMAT: u16 = 3;

/// What can not change once an installation exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// The layout of streams and records: [`FORMAT`].
    pub format: u16,
    /// How many partitions there are.
    pub partitions: u16,
    /// What tells it from every other one, made once at random; none in one that no program with ids has opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Makes what is missing. Changes nothing that exists.
pub(crate) async fn ensure(bus: &Bus) -> Result<(), Error> {
    fix_settings(bus).await?;
    for config in configs(bus) {
        stream(bus, config).await?;
    }
    buckets(bus).await
}

/// The streams as they are made: the logs first.
pub(crate) fn configs(bus: &Bus) -> Vec<Config> {
    let topology = bus.topology();
    let logs = topology.all_partitions().map(|partition| Config {
        name: topology.log(partition),
        subjects: vec![topology.subjects.log(partition)],
        description: Some("commit records: the truth".into()),
        // A record in the middle can not be deleted; the beginning is cut behind an archive.
        deny_delete: true,
        ..base(bus)
    });
    let inboxes = topology.all_partitions().map(|partition| Config {
        name: topology.inbox(partition),
        subjects: vec![topology.subjects.commands(partition)],
        description: Some("commands handed over by outsiders".into()),
        duplicate_window: Duration::from_secs(DUPLICATE_WINDOW_SECONDS),
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
    let found = &stream.cached_info().config.subjects;
    if !subjects.iter().all(|subject| found.contains(subject)) {
        // Somebody else's: what we would write there would be lost, or be theirs.
        let what = "a stream of our name with the subjects";
        let (found, wanted) = (found.join(" "), subjects.join(" "));
        return Err(Error::Installation { what, found, wanted });
    }
    let found = stream.cached_info().config.num_replicas;
    if found < wanted {
        // Made under a looser profile: an acknowledgement would mean less than this one says.
        let (found, wanted) = (found.to_string(), wanted.to_string());
        return Err(Error::Installation { what: "copies of each stream:", found, wanted });
    }
    Ok(())
}

impl Bus {
    /// Whether the installation's fixed settings are those of this connection.
    pub async fn check_installation(&self) -> Result<(), Error> {
        let store = settings_of(self).await?;
        hold_against(&stored_settings(&store).await?.0, &wanted(self))
    }

    /// What tells this installation from every other one; none where it was made before there were ids.
    /// A restored copy has the id of the original: they share a history up to the backup.
    pub async fn installation_id(&self) -> Result<Option<String>, Error> {
        Ok(stored_settings(&settings_of(self).await?).await?.0.id)
    }

    /// As [`Bus::installation_id`]; one that has no id gets one.
    pub async fn make_installation_id(&self) -> Result<String, Error> {
        let store = settings_of(self).await?;
        identified(&store).await?;
        let id = stored_settings(&store).await?.0.id;
        id.ok_or_else(|| Error::call("giving the installation an id", "an older program took it away"))
    }

    /// Whether there is an installation under this connection's prefix.
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

    /// Deletes every event and mark: they are derived from the logs, and the caller writes them again.
    pub async fn clear_events(&self) -> Result<(), Error> {
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
    let name = topology.blobs();
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

fn wanted(bus: &Bus) -> Installation {
    Installation { format: FORMAT, partitions: bus.topology().partitions, id: None }
}

async fn settings_of(bus: &Bus) -> Result<kv::Store, Error> {
    let store = bus.jetstream().get_key_value(bus.topology().settings()).await;
    store.map_err(|error| Error::call("opening the installation's settings", error))
}

fn encoded(installation: &Installation) -> bytes::Bytes {
    serde_json::to_vec(installation).expect("two numbers and a text").into()
}

/// An id that no other installation has.
fn new_id() -> Option<String> {
    Some(Uuid::now_v7().to_string())
}

/// Gives an installation that was made before there were ids one.
async fn identified(store: &kv::Store) -> Result<(), Error> {
    let (found, revision) = stored_settings(store).await?;
    if found.id.is_none() {
        // Of several that do so at once the first one's counts.
        let given = Installation { id: new_id(), ..found };
        if let Err(error) = store.update("installation", encoded(&given), revision).await {
            tracing::debug!(%error, "the installation got its id from somebody else");
        }
    }
    Ok(())
}

/// Writes the fixed settings of a new installation, or holds ours against those of the existing one.
async fn fix_settings(bus: &Bus) -> Result<(), Error> {
    let topology = bus.topology();
    let store = bucket(bus, topology.settings(), Duration::ZERO).await?;
    let wanted = wanted(bus);
    let new = Installation { id: new_id(), ..wanted.clone() };
    // Two hosts may start at once: the second create is refused, and then the first one's counts.
    if store.create("installation", encoded(&new)).await.is_ok() {
        return Ok(());
    }
    hold_against(&stored_settings(&store).await?.0, &wanted)?;
    identified(&store).await
}

/// The settings, and the revision of their entry.
async fn stored_settings(store: &kv::Store) -> Result<(Installation, u64), Error> {
    let doing = "reading the installation's settings";
    let entry = store.entry("installation").await.map_err(|error| Error::call(doing, error))?;
    let gone = |entry: &kv::Entry| entry.operation != kv::Operation::Put;
    let lost = || Error::Refused { doing: doing.into(), reason: "they are gone".into() };
    let entry = entry.filter(|entry| !gone(entry)).ok_or_else(lost)?;
    let settings = serde_json::from_slice(&entry.value).map_err(|error| Error::call(doing, error))?;
    Ok((settings, entry.revision))
}

fn hold_against(found: &Installation, wanted: &Installation) -> Result<(), Error> {
    if found.format != wanted.format {
        return Err(Error::Format { found: found.format, wanted: wanted.format });
    }
    if found.partitions != wanted.partitions {
        let (found, wanted) = (found.partitions.to_string(), wanted.partitions.to_string());
        return Err(Error::Installation { what: "partitions", found, wanted });
    }
    Ok(())
}
