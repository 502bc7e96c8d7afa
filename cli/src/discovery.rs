//! How one process finds another on the same data directory: by the file `orrery.json`, which exists while
//! the system runs.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use actors_host::Addresses;
use bus_client::NatsConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, exit};

/// The file's name in the data directory.
const FILE: &str = "orrery.json";

/// The addresses of a running system. Printed by `up --json`, kept in the data directory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Discovery {
    /// The id of the process that runs the system.
    pub pid: u32,
    /// When that process started, in clock ticks since the machine did: after a crash another process may
    /// have its id.
    #[serde(default)]
    pub began: Option<u64>,
    /// `http://host:port` of the gateway; `null` when this process has none.
    pub http: Option<String>,
    /// `http://host:port` of the process's own metrics; `null` when the gateway serves them all.
    #[serde(default)]
    pub metrics: Option<String>,
    /// `nats://host:port`. Credentials stand only in the file, and are hidden in output.
    pub nats_url: String,
    /// The NATS user; absent when the settings name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_user: Option<String>,
    /// The file with that user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_password_file: Option<PathBuf>,
    /// The file with the NATS token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_token_file: Option<PathBuf>,
    /// The file with the NATS credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_credentials_file: Option<PathBuf>,
    /// `http://host:port` of the NATS server's monitoring; `null` when not known.
    pub monitor_url: Option<String>,
    /// The durability profile: `durable`, `replicated` or `fast`.
    pub profile: String,
    /// When the server syncs writes: `always`, or an interval.
    pub fsync: String,
    /// The first token of every subject.
    pub subject_prefix: String,
    /// The number of partitions of the installation.
    pub partitions: u16,
    /// The NATS server's version.
    pub server_version: String,
    /// The data directory.
    pub data_dir: PathBuf,
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = serde_json::to_string(&self.shown()).map_err(|_| std::fmt::Error)?;
        write!(f, "Discovery {shown}")
    }
}

impl Discovery {
    /// Describes this process.
    pub fn new(
        addresses: &Addresses,
        http: Option<String>,
        metrics: Option<String>,
        data_dir: &Path,
    ) -> Self {
        let nats = &addresses.nats;
        // Whoever reads the file may have another working directory.
        let whole = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        Self {
            pid: std::process::id(),
            began: began(std::process::id()),
            http,
            metrics,
            nats_url: nats.url.clone().unwrap_or_default(),
            nats_user: nats.user.clone(),
            nats_password_file: nats.password_file.as_ref().map(whole),
            nats_token_file: nats.token_file.as_ref().map(whole),
            nats_credentials_file: nats.credentials_file.as_ref().map(whole),
            monitor_url: nats.monitor_url.clone(),
            profile: nats.profile.to_string(),
            fsync: nats.profile.fsync().to_owned(),
            subject_prefix: nats.subject_prefix.clone(),
            partitions: nats.partitions.get(),
            server_version: addresses.server_version.clone(),
            data_dir: data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned()),
        }
    }
    /// Settings for using NATS as the running system does; `others` supplies the rest.
    pub fn nats(&self, others: &NatsConfig) -> NatsConfig {
        NatsConfig {
            url: Some(self.nats_url.clone()),
            monitor_url: self.monitor_url.clone(),
            user: self.nats_user.clone(),
            password_file: self.nats_password_file.clone(),
            token_file: self.nats_token_file.clone(),
            credentials_file: self.nats_credentials_file.clone(),
            profile: self.profile.parse().unwrap_or(others.profile),
            subject_prefix: self.subject_prefix.clone(),
            partitions: self.partitions.try_into().unwrap_or(others.partitions),
        }
    }
    /// Settings for the server of the running system, with its credentials where `nats` has none.
    pub fn access(&self, nats: NatsConfig) -> NatsConfig {
        let is_named = nats.user.is_some() || nats.token_file.is_some() || nats.credentials_file.is_some();
        if is_named || nats.url.as_ref().is_some_and(|url| url.contains('@')) {
            return nats;
        }
        let Self { nats_user, nats_password_file, nats_token_file, nats_credentials_file, .. } = self.clone();
        NatsConfig {
            user: nats_user,
            password_file: nats_password_file,
            token_file: nats_token_file,
            credentials_file: nats_credentials_file,
            ..nats
        }
    }
    /// A copy without credentials, for output.
    pub fn shown(&self) -> Self {
        let monitor_url = self.monitor_url.as_deref().map(bus_client::redacted_url);
        Self { nats_url: bus_client::redacted_url(&self.nats_url), monitor_url, ..self.clone() }
    }
    /// The system that runs on a data directory; `None` when no live process has written the file.
    pub fn find(data_dir: &Path) -> Result<Option<Self>, Failure> {
        let path = data_dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&path, &error)),
        };
        let found: Self = serde_json::from_str(&text).map_err(|error| unusable(&path, &error))?;
        Ok(found.alive().then_some(found))
    }
    /// Whether the very process is alive, and no zombie that nobody has waited for.
    pub fn alive(&self) -> bool {
        let status = status(self.pid).unwrap_or_default();
        let runs = status.first().is_some_and(|state| !["Z", "X"].contains(&state.as_str()));
        runs && (self.began.is_none() || self.began == began(self.pid))
    }
    /// Whether this system is part of the installation under `prefix` on the servers of `nats_url`.
    pub fn is_of(&self, nats_url: &str, prefix: &str) -> bool {
        let ours = servers(&self.nats_url);
        self.subject_prefix == prefix && servers(nats_url).iter().any(|server| ours.contains(server))
    }
    /// Writes the file atomically, readable only by its owner: it may hold credentials.
    pub fn write(&self) -> Result<(), Failure> {
        let path = self.data_dir.join(FILE);
        let half = self.data_dir.join(format!("{FILE}.{}", self.pid));
        let text = serde_json::to_string_pretty(self).expect("addresses are strings and numbers");
        let mut options = std::fs::OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let written = options.open(&half).and_then(|mut file| file.write_all((text + "\n").as_bytes()));
        written.and_then(|()| std::fs::rename(&half, &path)).map_err(|error| unusable(&path, &error))
    }
    /// Removes the file of a killed process.
    pub fn forget(data_dir: &Path) {
        let path = data_dir.join(FILE);
        if path.exists()
            && matches!(Self::find(data_dir), Ok(None))
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(%error, "removing `{FILE}`");
        }
    }
    /// Removes the file, if it still is this process's.
    pub fn remove(&self) {
        if let Ok(Some(found)) = Self::find(&self.data_dir)
            && found.pid == self.pid
            && let Err(error) = std::fs::remove_file(self.data_dir.join(FILE))
        {
            tracing::warn!(%error, "removing `{FILE}`");
        }
    }
}

/// The hosts and ports of a list of URLs, without schemes and credentials.
fn servers(urls: &str) -> Vec<String> {
    let server = |url: &str| {
        let rest = url.trim().split("://").last().unwrap_or_default();
        let host = rest.rsplit('@').next().unwrap_or(rest).trim_end_matches('/');
        let host = host.replacen("localhost", "127.0.0.1", 1);
        if host.rsplit(']').next().unwrap_or(&host).contains(':') { host } else { format!("{host}:4222") }
    };
    urls.split(',').map(server).collect()
}

/// The fields of `/proc/<pid>/stat` after the process's name, the state first.
fn status(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses, and may contain some itself.
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// The start time of a process: field 22 of its `stat`, the 20th after the name.
fn began(pid: u32) -> Option<u64> {
    status(pid)?.get(19)?.parse().ok()
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::new("data-dir-unusable", format!("using `{}`: {error}", path.display()))
        .next("mend the file's permissions, or remove it and start again with `orrery up`")
        .exit(exit::FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: after a crash nobody takes a stranger for the system, least of all `down`. Method: a file
    /// that names this process, once as it is, and once as one that began at another time.
    #[test]
    fn a_process_that_took_the_number_over_is_not_the_system() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let addresses = Addresses {
            nats: NatsConfig { url: Some("nats://127.0.0.1:1".to_owned()), ..NatsConfig::default() },
            server_version: "2.15.1".to_owned(),
        };
        let mut discovery = Discovery::new(&addresses, None, None, directory.path());
        discovery.write().expect("it can be written");
        assert_eq!(Discovery::find(directory.path()), Ok(Some(discovery.clone())));
        discovery.began = discovery.began.map(|ticks| ticks + 1);
        discovery.write().expect("it can be written");
        assert_eq!(Discovery::find(directory.path()), Ok(None));
        Discovery::forget(directory.path());
        assert!(!directory.path().join(FILE).exists());
    }

    #[test]
    fn servers_are_the_same_however_they_are_written() {
        for (one, other) in [
            ("nats://127.0.0.1:4222", "nats://localhost"),
            ("nats://user:word@a:4222,b:4223", "tls://b:4223/"),
            ("[::1]", "nats://[::1]:4222"),
        ] {
            let (one, other) = (super::servers(one), super::servers(other));
            assert!(one.iter().any(|server| other.contains(server)), "{one:?} and {other:?}");
        }
        assert_ne!(super::servers("nats://a:1"), super::servers("nats://a:2"));
    }
}
