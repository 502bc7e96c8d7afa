//! How one process finds another on the same data directory: `orrery.json`, there while the
//! system runs.

use std::path::{Path, PathBuf};

use actors_host::Addresses;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, exit};

/// The file's name in the data directory.
const FILE: &str = "orrery.json";

/// Where a running system is found. Printed by `up --json`, kept in the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Discovery {
    /// The process that runs it.
    pub pid: u32,
    /// `http://host:port` of the gateway; none where this process serves none.
    pub http: Option<String>,
    /// `nats://host:port`.
    pub nats_url: String,
    /// `http://host:port` of the NATS server's monitoring, where known.
    pub monitor_url: Option<String>,
    /// `durable`, `replicated` or `fast`.
    pub profile: String,
    /// When the server syncs writes: `always`, or the interval.
    pub fsync: String,
    /// The first token of every subject.
    pub subject_prefix: String,
    /// Partitions of the installation.
    pub partitions: u16,
    /// The NATS server's version.
    pub server_version: String,
    /// Where files lie.
    pub data_dir: PathBuf,
}

impl Discovery {
    /// What this process tells about itself.
    pub fn new(addresses: &Addresses, http: Option<String>, data_dir: &Path) -> Self {
        Self {
            pid: std::process::id(),
            http,
            nats_url: addresses.nats_url.clone(),
            monitor_url: addresses.monitor_url.clone(),
            profile: addresses.profile.to_string(),
            fsync: addresses.profile.fsync().to_owned(),
            subject_prefix: addresses.subject_prefix.clone(),
            partitions: addresses.partitions,
            server_version: addresses.server_version.clone(),
            data_dir: data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned()),
        }
    }
    /// The system that runs on a data directory; none when no live process says so.
    pub fn find(data_dir: &Path) -> Result<Option<Self>, Failure> {
        let path = data_dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&path, &error)),
        };
        let found: Self = serde_json::from_str(&text).map_err(|error| unusable(&path, &error))?;
        Ok(alive(found.pid).then_some(found))
    }
    /// Writes the file, whole or not at all.
    pub fn write(&self) -> Result<(), Failure> {
        let path = self.data_dir.join(FILE);
        let half = self.data_dir.join(format!("{FILE}.{}", self.pid));
        let text = serde_json::to_string_pretty(self).expect("addresses are strings and numbers");
        std::fs::write(&half, text + "\n")
            .and_then(|()| std::fs::rename(&half, &path))
            .map_err(|error| unusable(&path, &error))
    }
    /// Removes the file, if it is still this process's.
    pub fn remove(&self) {
        if let Ok(Some(found)) = Self::find(&self.data_dir)
            && found.pid == self.pid
            && let Err(error) = std::fs::remove_file(self.data_dir.join(FILE))
        {
            tracing::warn!(%error, "removing `{FILE}`");
        }
    }
}

/// Whether a process exists and is not a zombie that nobody has waited for.
pub fn alive(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => false,
    }
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::new("data-dir-unusable", format!("using `{}`: {error}", path.display()))
        .next("mend the file's permissions, or remove it and start again with `orrery up`")
        .exit(exit::FILE)
}
