//! The streams and buckets of an installation, as one table.

use crate::ids::PartitionId;
use crate::subjects::Subjects;

/// Partitions of a new installation: eight logs flush in parallel without making groups small
/// (`docs/benchmarks.md`). The number is fixed once the installation exists.
pub const PARTITIONS_DEFAULT: u16 = 8;
/// The most partitions: every host reads one position per peer.
pub const PARTITIONS_MAX: u16 = 64;
/// How long streamed output is kept, in seconds.
pub const OUTPUT_TTL_SECONDS: u64 = 24 * 3_600;
/// How long JetStream remembers message ids, in milliseconds: the server's minimum. JetStream drops a message
/// whose id was used, whatever its content; partitions remember ids for longer, and tell the caller what is
/// wrong.
pub const DUPLICATE_WINDOW_MS: u64 = 100;

/// An object store of the installation, by who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store {
    /// The blob store, which workers and clients read too: artifacts, results, and large bodies of events and jobs.
    Blobs,
    /// The store that only hosts read: partition snapshots, and large bodies of commands, mail, dead letters and
    /// entity snapshots. They hold the tokens of jobs.
    Private,
}

impl Store {
    /// All object stores.
    pub const ALL: [Self; 2] = [Self::Blobs, Self::Private];
}

/// The names of one installation's streams and buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The subjects.
    pub subjects: Subjects,
    /// The number of partitions.
    pub partitions: u16,
}

impl Topology {
    /// A stream or bucket name, one to one with the prefix, which has neither capitals nor `_`.
    fn name(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.subjects.prefix().to_uppercase().replace('-', "_"))
    }
    fn bucket(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.subjects.prefix())
    }
    /// All partitions.
    pub fn all_partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.partitions).map(PartitionId)
    }
    /// The stream of a partition's commit records: the source of truth.
    pub fn log(&self, partition: PartitionId) -> String {
        self.name(&format!("LOG_{partition}"))
    }
    /// The stream of all events, derived from the logs.
    pub fn events(&self) -> String {
        self.name("EVENTS")
    }
    /// The stream of a partition's durable commands.
    pub fn inbox(&self, partition: PartitionId) -> String {
        self.name(&format!("INBOX_{partition}"))
    }
    /// The streams of all durable commands.
    pub fn inboxes(&self) -> impl Iterator<Item = String> + use<'_> {
        self.all_partitions().map(|partition| self.inbox(partition))
    }
    /// The stream of output chunks.
    pub fn output(&self) -> String {
        self.name("OUTPUT")
    }
    /// The stream of dead letters.
    pub fn dead(&self) -> String {
        self.name("DEAD")
    }
    /// The bucket of leases.
    pub fn leases(&self) -> String {
        self.bucket("leases")
    }
    /// The bucket of the installation's fixed settings: partition count, format.
    pub fn settings(&self) -> String {
        self.bucket("settings")
    }
    /// The bucket of snapshots.
    pub fn snapshots(&self) -> String {
        self.bucket("snapshots")
    }
    /// The bucket of what can be made again and is kept for a while, such as answers of models.
    pub fn cache(&self) -> String {
        self.bucket("cache")
    }
    /// An object store.
    pub fn objects(&self, store: Store) -> String {
        match store {
            Store::Blobs => self.bucket("blobs"),
            Store::Private => self.bucket("private"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_prefixes_have_streams_of_the_same_names() {
        let events = |prefix: &str| {
            let subjects = Subjects::new(prefix).ok()?;
            Some(Topology { subjects, partitions: 8 }.events())
        };
        assert_eq!(events("a-b"), Some("A_B_EVENTS".to_owned()));
        assert_eq!(events("orrery"), Some("ORRERY_EVENTS".to_owned()));
        for other in ["a_b", "A-B", "Orrery", "ORRERY"] {
            assert_eq!(events(other), None, "{other}");
        }
    }
}
