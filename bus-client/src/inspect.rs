//! Compares the configuration of existing streams and buckets with the one they are created with.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, StorageType};
use bus_schemas::topology::Store;

use crate::bus::Bus;
use crate::error::Error;
use crate::streams::{LEASE_TTL, configs};

/// A stream setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deviation {
    /// The stream; a bucket is a stream too.
    pub stream: String,
    /// The setting, or `stream` if the stream does not exist.
    pub setting: &'static str,
    /// The existing value.
    pub found: String,
    /// The value it is created with.
    pub wanted: String,
    /// Whether it breaks a guarantee; otherwise a safeguard or a convenience is missing.
    pub grave: bool,
}

impl Bus {
    /// Every setting of every stream and bucket that differs from the one it is created with.
    pub async fn deviations(&self) -> Result<Vec<Deviation>, Error> {
        let mut wanted = configs(self);
        wanted.extend(buckets(self));
        let mut deviations = Vec::new();
        for wanted in wanted {
            match self.found(&wanted.name).await? {
                Some(found) => deviations.extend(compare(&wanted, &found)),
                None => deviations.push(Deviation {
                    stream: wanted.name,
                    setting: "stream",
                    found: "missing".into(),
                    wanted: "there".into(),
                    grave: true,
                }),
            }
        }
        Ok(deviations)
    }

    async fn found(&self, name: &str) -> Result<Option<Config>, Error> {
        match self.jetstream().get_stream(name).await {
            Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(answer)
                    if answer.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(Error::call(format!("asking for the settings of stream `{name}`"), error)),
            },
        }
    }
}

/// The streams of the buckets: only the settings of this program, the rest is the client library's.
fn buckets(bus: &Bus) -> Vec<Config> {
    let topology = bus.topology();
    let bucket = |name: String, subjects: Vec<String>| Config {
        name,
        subjects,
        storage: StorageType::File,
        num_replicas: bus.profile().replicas(),
        allow_direct: true,
        ..Config::default()
    };
    let table = |name: String| bucket(format!("KV_{name}"), vec![format!("$KV.{name}.>")]);
    let objects = |store| {
        let name = topology.objects(store);
        bucket(format!("OBJ_{name}"), vec![format!("$O.{name}.C.>"), format!("$O.{name}.M.>")])
    };
    let tables = [
        Config { max_age: LEASE_TTL, ..table(topology.leases()) },
        table(topology.settings()),
        crate::snapshots::config(bus),
        crate::cache::config(bus),
    ];
    tables.into_iter().chain(Store::ALL.map(objects)).collect()
}

/// Settings that must be equal, and limits that may be larger.
fn compare(wanted: &Config, found: &Config) -> Vec<Deviation> {
    let subjects = |config: &Config| {
        let mut subjects = config.subjects.clone();
        subjects.sort();
        subjects.join(" ")
    };
    let transform = |config: &Config| {
        let transform = config.subject_transform.as_ref();
        transform.map_or_else(|| "none".to_owned(), |to| format!("{} → {}", to.source, to.destination))
    };
    let debug = |value: &dyn std::fmt::Debug| format!("{value:?}");
    // An unwanted limit deletes the oldest messages, or refuses new ones.
    let limited = |limit: i64, ours: i64| limit > 0 && ours <= 0;
    let (bytes, messages) = (found.max_bytes, found.max_messages);
    let unlimited = || "unlimited".to_owned();
    let on = || "true".to_owned();
    let settings = [
        ("subjects", subjects(found) != subjects(wanted), subjects(found), subjects(wanted), true),
        (
            "subject_transform",
            transform(found) != transform(wanted),
            transform(found),
            transform(wanted),
            true,
        ),
        ("storage", found.storage != wanted.storage, debug(&found.storage), debug(&wanted.storage), true),
        (
            "retention",
            found.retention != wanted.retention,
            debug(&found.retention),
            debug(&wanted.retention),
            true,
        ),
        ("max_age", found.max_age != wanted.max_age, debug(&found.max_age), debug(&wanted.max_age), true),
        ("max_bytes", limited(bytes, wanted.max_bytes), bytes.to_string(), unlimited(), true),
        ("max_msgs", limited(messages, wanted.max_messages), messages.to_string(), unlimited(), true),
        (
            "num_replicas",
            found.num_replicas < wanted.num_replicas,
            found.num_replicas.to_string(),
            wanted.num_replicas.to_string(),
            true,
        ),
        // A longer window makes the server drop commands that the partition would refuse with a reason. Zero
        // leaves the choice to the server, and means that messages there have no ids.
        (
            "duplicate_window",
            !wanted.duplicate_window.is_zero() && found.duplicate_window > wanted.duplicate_window,
            debug(&found.duplicate_window),
            debug(&wanted.duplicate_window),
            true,
        ),
        (
            "allow_atomic",
            wanted.allow_atomic_publish && !found.allow_atomic_publish,
            "false".to_owned(),
            on(),
            true,
        ),
        ("allow_direct", wanted.allow_direct && !found.allow_direct, "false".to_owned(), on(), true),
        ("deny_delete", wanted.deny_delete && !found.deny_delete, "false".to_owned(), on(), false),
    ];
    let differing = settings.into_iter().filter(|(_, differs, ..)| *differs);
    differing
        .map(|(setting, _, found, wanted_text, grave)| Deviation {
            stream: wanted.name.clone(),
            setting,
            found,
            wanted: wanted_text,
            grave,
        })
        .collect()
}
