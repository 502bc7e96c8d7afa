//! Checks that the server keeps the profile's promise: version, JetStream, sync.

use std::time::Duration;

use bus_schemas::Timestamp;
use bus_schemas::record::PAYLOAD_BYTES_NEEDED;
use serde::Deserialize;

use crate::bus::Bus;
use crate::config::{NatsConfig, Profile, redacted_url};
use crate::error::Error;

/// The oldest supported server: it has all used features, and tests run with it.
pub const VERSION_NEEDED: &str = "2.15.0";
/// How long the monitoring port may take to answer.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(5);
/// The conventional port of NATS monitoring.
const MONITOR_PORT: u16 = 8222;

#[derive(Debug, Deserialize)]
struct Jsz {
    #[serde(default)]
    config: Option<JszConfig>,
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    now: String,
}

#[derive(Debug, Default, Deserialize)]
struct JszConfig {
    #[serde(default)]
    sync_always: bool,
    #[serde(default)]
    sync_interval: u64,
    #[serde(default)]
    max_storage: i64,
}

/// A server's used storage and its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The server's monitoring address.
    pub monitor: String,
    /// Bytes in use by JetStream.
    pub used_bytes: u64,
    /// The limit of JetStream's storage in bytes, if there is one; at the limit it refuses writes.
    pub bytes_max: Option<u64>,
    /// Its wall clock when it answered, if it reported one.
    pub clock: Option<Timestamp>,
}

/// The storage of every server whose monitoring is configured.
pub async fn storage(config: &NatsConfig) -> Result<Vec<Storage>, Error> {
    let mut all = Vec::new();
    for monitor in monitors(config) {
        let (settings, used_bytes, clock) = read(&monitor).await?;
        let bytes_max = u64::try_from(settings.max_storage).ok().filter(|limit| *limit > 0);
        all.push(Storage { monitor: redacted_url(&monitor), used_bytes, bytes_max, clock });
    }
    Ok(all)
}

/// Refuses a server that is too old, has no JetStream, takes too small messages, or is less durable than the profile.
pub async fn check(bus: &Bus, config: &NatsConfig) -> Result<(), Error> {
    let found = bus.server_version();
    if parse(&found) < parse(VERSION_NEEDED) {
        return Err(Error::TooOld { found, needed: VERSION_NEEDED });
    }
    if !bus.client().server_info().jetstream {
        return Err(Error::NoJetStream { url: bus.url().to_owned() });
    }
    let found = bus.payload_bytes_max();
    if found < PAYLOAD_BYTES_NEEDED {
        return Err(Error::SmallPayload { found, needed: PAYLOAD_BYTES_NEEDED });
    }
    if bus.profile() == Profile::Fast {
        return Ok(());
    }
    let monitors = monitors(config);
    // A host must be able to start while a minority of a cluster is down: acknowledged writes are on the
    // disks of the others.
    let needed = if bus.profile() == Profile::Replicated { monitors.len() / 2 + 1 } else { monitors.len() };
    let mut sound = 0;
    let mut unchecked = None;
    for monitor in monitors {
        match read(&monitor).await {
            Ok((settings, ..)) if settings.sync_always => sound += 1,
            Ok((settings, ..)) => {
                let found = format!("every {:?}", Duration::from_nanos(settings.sync_interval));
                let monitor = redacted_url(&monitor);
                return Err(Error::LazySync { profile: bus.profile().as_str(), monitor, found });
            }
            Err(error) => {
                tracing::warn!(%error, "a server is not checked");
                unchecked = Some(error);
            }
        }
    }
    match unchecked {
        Some(error) if sound < needed => Err(error),
        _ => Ok(()),
    }
}

fn parse(version: &str) -> Vec<u64> {
    version.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
}

/// The monitoring addresses: as configured, or port 8222 of every host in the URL.
fn monitors(config: &NatsConfig) -> Vec<String> {
    if let Some(urls) = &config.monitor_url {
        return urls.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
    }
    let url = config.url.as_deref().unwrap_or_default();
    url.split(',')
        .map(|url| {
            let host = url.trim().split("://").last().unwrap_or(url);
            let host = host.rsplit('@').next().unwrap_or(host);
            let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
            format!("http://{host}:{MONITOR_PORT}")
        })
        .collect()
}

/// JetStream's settings, its stored bytes, and the server's clock.
async fn read(monitor: &str) -> Result<(JszConfig, u64, Option<Timestamp>), Error> {
    let failed = |reason: String| Error::Monitor { monitor: redacted_url(monitor), reason };
    let unanswered = |error: reqwest::Error| failed(error.without_url().to_string());
    let client = reqwest::Client::builder()
        .timeout(MONITOR_TIMEOUT)
        .no_proxy()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let answer = client
        .get(format!("{monitor}/jsz?config=true"))
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(unanswered)?;
    let jsz: Jsz = answer.json().await.map_err(unanswered)?;
    let settings = jsz.config.ok_or_else(|| failed("JetStream is off".into()))?;
    Ok((settings, jsz.storage, Timestamp::parse_rfc3339(&jsz.now)))
}
