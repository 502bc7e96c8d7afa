//! Leases: which host tries to run which partition. The fence is the log's expected sequence, not the lease.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::kv;
use async_nats::{HeaderMap, Request};
use bus_schemas::{Kind, PartitionId, Timestamp};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::bus::Bus;
use crate::clock::now;
use crate::error::Error;

/// A lease that this host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The partition.
    pub partition: PartitionId,
    /// The bucket revision of the last renewal.
    pub revision: u64,
}

/// A host's announcement while it is alive. Without one, nothing is known of its program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The highest version of commit records that its program reads.
    #[serde(default)]
    pub record: u16,
    /// For each kind of entity: the highest schema version that its program reads.
    #[serde(default)]
    pub reads: BTreeMap<Kind, u16>,
    /// Partitions whose logs its program cannot read, each with the reason. It leaves them to others.
    #[serde(default)]
    pub leaves: BTreeMap<PartitionId, String>,
    /// Its partitions with a stage that makes no progress, each with the reason.
    #[serde(default)]
    pub stuck: BTreeMap<PartitionId, String>,
    /// Its wall clock at the announcement.
    #[serde(default)]
    pub at: Timestamp,
}

impl Presence {
    /// Whether `other` reads everything that this host reads, and more.
    pub fn is_outdated_by(&self, other: &Self) -> bool {
        let read_by = |(kind, schema): (&Kind, &u16)| other.reads.get(kind).is_some_and(|has| has >= schema);
        let all = self.record <= other.record && self.reads.iter().all(read_by);
        all && (self.record, &self.reads) != (other.record, &other.reads)
    }
}

/// The result of probing a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// The host answered at the prober's server.
    Here,
    /// The server knows of no connection of that host.
    Nobody,
    /// The host answered at another server: a network split may be between the two.
    Elsewhere,
    /// The host did not answer in time, and its connection is open.
    Silent,
}

/// How long a host may take to answer a probe. A frozen host does not answer, and keeps its leases.
const LOOK_TIMEOUT: Duration = Duration::from_millis(100);

/// The hosts that are alive, and the holders of partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    /// Hosts with a recent renewal, in order.
    pub hosts: Vec<String>,
    /// The announcement of each host.
    pub presences: BTreeMap<String, Presence>,
    /// The bucket revision of each host's last renewal: it rises every second while the host is alive.
    pub renewals: BTreeMap<String, u64>,
    /// The offset of each host's clock from the server's at that renewal, in milliseconds.
    pub offsets: BTreeMap<String, i64>,
    /// The holder of each partition.
    pub holders: BTreeMap<PartitionId, String>,
    /// The bucket revision of each partition's last renewal.
    pub renewed: BTreeMap<PartitionId, u64>,
    /// Leases of hosts that are known to be gone before their leases have expired.
    pub orphans: BTreeMap<PartitionId, Lease>,
}

impl Leases {
    /// Removes a host that is gone: its partitions may be taken over from their current leases.
    pub fn without(mut self, host: &str) -> Self {
        self.hosts.retain(|name| name != host);
        self.presences.remove(host);
        for (partition, _) in self.holders.extract_if(.., |_, holder| holder == host) {
            let revision = self.renewed.get(&partition).copied().unwrap_or_default();
            self.orphans.insert(partition, Lease { partition, revision });
        }
        self
    }

    /// The partitions with a stage that makes no progress, as their hosts announce.
    pub fn stuck(&self) -> BTreeMap<PartitionId, String> {
        let held = |host: &str, partition| self.holders.get(&partition).is_some_and(|holder| holder == host);
        let said = |(host, presence): (&String, &Presence)| {
            let stuck = presence.stuck.iter().filter(|(partition, _)| held(host, **partition));
            stuck.map(|(partition, why)| (*partition, why.clone())).collect::<Vec<_>>()
        };
        self.presences.iter().flat_map(said).collect()
    }

    /// How many partitions a host should run: an equal share among the hosts with the newest program; a
    /// remainder goes to the first hosts by name. `None` beside a newer program. `own` is the host's own
    /// announcement, which others may not have yet.
    pub fn share(&self, host: &str, own: &Presence, partitions: u16) -> Option<usize> {
        let others = || self.presences.iter().filter(|(name, _)| *name != host);
        if others().any(|(_, other)| own.is_outdated_by(other)) {
            return None;
        }
        let said = || others().map(|(_, said)| said).chain([own]);
        let current = others().filter(|(_, other)| !said().any(|one| other.is_outdated_by(one)));
        let (mut hosts, mut before) = (1, 0);
        for (name, _) in current {
            hosts += 1;
            before += usize::from(name.as_str() < host);
        }
        let partitions = usize::from(partitions);
        Some(partitions / hosts + usize::from(before < partitions % hosts))
    }
}

/// The header of a bucket entry that was deleted or purged.
const KV_OPERATION: &str = "KV-Operation";

/// The header of a direct answer with the time at which the server stored the message.
const TIME_STAMP: &str = "Nats-Time-Stamp";

fn stored_at(headers: &HeaderMap) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(headers.get(TIME_STAMP)?.as_str())
}

/// The offset of a host's clock from the server's; `None` if the host did not announce its clock.
fn offset(said: Timestamp, stored: Timestamp) -> Option<i64> {
    let told = (said > Timestamp::default()).then_some(said)?;
    Some(told.0.cast_signed().saturating_sub(stored.0.cast_signed()))
}

fn host_key(host: &str) -> String {
    format!("host.{host}")
}
fn partition_key(partition: PartitionId) -> String {
    format!("partition.{partition}")
}

impl Bus {
    async fn lease_store(&self) -> Result<kv::Store, Error> {
        self.jetstream()
            .get_key_value(self.topology().leases())
            .await
            .map_err(|error| Error::call("opening the leases", error))
    }
    /// Announces that a host is alive, for one lease time.
    pub async fn renew_host(&self, host: &str, presence: &Presence) -> Result<(), Error> {
        let store = self.lease_store().await?;
        let presence = Presence { at: now(), ..presence.clone() };
        let said = serde_json::to_vec(&presence).expect("names and numbers");
        let put = store.put(host_key(host), said.into()).await;
        put.map(drop).map_err(|error| Error::call(format!("renewing host `{host}`"), error))
    }
    /// Removes a host from the list.
    pub async fn release_host(&self, host: &str) -> Result<(), Error> {
        let store = self.lease_store().await?;
        let deleted = store.purge(host_key(host)).await;
        deleted.map_err(|error| Error::call(format!("releasing host `{host}`"), error))
    }
    /// Removes a host that was found to be gone from the list.
    pub async fn forget_host(&self, host: &str, leases: &Leases) -> Result<(), Error> {
        let Some(revision) = leases.renewals.get(host) else { return Ok(()) };
        let store = self.lease_store().await?;
        // A host that is alive announces itself again within a second.
        match store.purge_expect_revision(host_key(host), Some(*revision)).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == kv::PurgeErrorKind::WrongLastRevision => Ok(()),
            Err(error) => Err(Error::call(format!("forgetting host `{host}`"), error)),
        }
    }
    /// Answers probes for this host until its connection ends.
    pub async fn say_here(&self, host: &str) -> Result<(), Error> {
        let mut asked = self.listen(self.subjects().here(host)).await?;
        while let Some(message) = asked.next().await {
            if let Some(reply_to) = message.reply {
                self.answer(reply_to.into(), self.server_id().into()).await;
            }
        }
        Ok(())
    }
    /// Probes a host.
    pub async fn look_for_host(&self, host: &str) -> Looked {
        let request = Request::new().timeout(Some(LOOK_TIMEOUT));
        match self.client().send_request(self.subjects().here(host), request).await {
            Ok(message) if message.payload == self.server_id().as_bytes() => Looked::Here,
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Looked::Nobody,
            Ok(_) => Looked::Elsewhere,
            Err(_) => Looked::Silent,
        }
    }
    /// Takes a lease if it is free, or held by a former process of this host.
    pub async fn acquire(&self, partition: PartitionId, host: &str) -> Result<Option<Lease>, Error> {
        let store = self.lease_store().await?;
        match store.create(partition_key(partition), host.to_owned().into()).await {
            Ok(revision) => Ok(Some(Lease { partition, revision })),
            Err(error) if error.kind() == kv::CreateErrorKind::AlreadyExists => {
                let entry = store.entry(partition_key(partition)).await;
                let entry =
                    entry.map_err(|error| Error::call(format!("acquiring partition {partition}"), error))?;
                match entry {
                    Some(entry) if entry.value == host.as_bytes() => {
                        self.renew(Lease { partition, revision: entry.revision }, host).await
                    }
                    _ => Ok(None),
                }
            }
            Err(error) => Err(Error::call(format!("acquiring partition {partition}"), error)),
        }
    }
    /// Renews a lease; `None` if another host holds it.
    pub async fn renew(&self, lease: Lease, host: &str) -> Result<Option<Lease>, Error> {
        let store = self.lease_store().await?;
        let key = partition_key(lease.partition);
        match store.update(key, host.to_owned().into(), lease.revision).await {
            Ok(revision) => Ok(Some(Lease { revision, ..lease })),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(Error::call(format!("renewing partition {}", lease.partition), error)),
        }
    }
    /// Releases a lease, if this host still holds it.
    pub async fn release(&self, lease: Lease) -> Result<(), Error> {
        let store = self.lease_store().await?;
        let deleted = store.purge_expect_revision(partition_key(lease.partition), Some(lease.revision)).await;
        deleted.map_err(|error| Error::call(format!("releasing partition {}", lease.partition), error))
    }
    /// The hosts that are alive, and the holders of partitions.
    pub async fn leases(&self) -> Result<Leases, Error> {
        let bucket = self.topology().leases();
        let (stream, keys) = (format!("KV_{bucket}"), format!("$KV.{bucket}."));
        let subjects = self.subjects_of(&stream, &format!("{keys}>")).await?;
        let mut leases = Leases::default();
        for said in self.last_on(&stream, &subjects).await? {
            // A released lease leaves a deletion marker.
            if said.headers.get(KV_OPERATION).is_some() {
                continue;
            }
            let Some(key) = said.subject.strip_prefix(&keys) else { continue };
            if let Some(host) = key.strip_prefix("host.") {
                leases.hosts.push(host.to_owned());
                let presence: Presence = serde_json::from_slice(&said.payload).unwrap_or_default();
                let offset = stored_at(&said.headers).and_then(|stored| offset(presence.at, stored));
                leases.offsets.extend(offset.map(|offset| (host.to_owned(), offset)));
                leases.presences.insert(host.to_owned(), presence);
                leases.renewals.insert(host.to_owned(), said.sequence);
            } else if let Some(number) = key.strip_prefix("partition.").and_then(|text| text.parse().ok()) {
                let holder = String::from_utf8_lossy(&said.payload).into_owned();
                leases.holders.insert(PartitionId(number), holder);
                leases.renewed.insert(PartitionId(number), said.sequence);
            }
        }
        leases.hosts.sort();
        Ok(leases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(record: u16, kinds: &[(&'static str, u16)]) -> Presence {
        let reads = kinds.iter().map(|(kind, schema)| (Kind::from_static(kind), *schema)).collect();
        Presence { record, reads, ..Presence::default() }
    }

    #[test]
    fn a_host_is_outdated_by_one_that_reads_all_of_it_and_more() {
        let old = reads(1, &[("probe", 1), ("task", 3)]);
        for (newer, what) in [
            (reads(1, &[("probe", 2), ("task", 3)]), "a later version"),
            (reads(1, &[("probe", 1), ("task", 3), ("memory", 1)]), "another kind"),
            (reads(2, &[("probe", 1), ("task", 3)]), "later records"),
        ] {
            assert!(old.is_outdated_by(&newer), "{what}");
            assert!(!newer.is_outdated_by(&old), "{what}");
        }
        assert!(!old.is_outdated_by(&old.clone()), "the same");
        let mixed = reads(1, &[("probe", 2), ("task", 2)]);
        assert!(!old.is_outdated_by(&mixed), "neither reads all of the other");
        assert!(!old.is_outdated_by(&reads(2, &[("probe", 2)])), "a kind is missing");
        assert!(Presence::default().is_outdated_by(&old), "one that says nothing");
        let left = BTreeMap::from([(PartitionId(3), "later".to_owned())]);
        let leaves = Presence { leaves: left, ..old.clone() };
        assert!(!old.is_outdated_by(&leaves) && !leaves.is_outdated_by(&old), "what it leaves says nothing");
    }

    #[test]
    fn a_host_that_says_its_time_is_held_against_the_servers() {
        let mut headers = HeaderMap::new();
        assert_eq!(stored_at(&headers), None);
        headers.insert(TIME_STAMP, "1970-01-01T01:00:00.250999Z");
        let stored = stored_at(&headers).expect("it is a time");
        assert_eq!(offset(Timestamp(3_600_250), stored), Some(0));
        assert_eq!(offset(Timestamp(7_200_250), stored), Some(3_600_000));
        assert_eq!(offset(Timestamp(250), stored), Some(-3_600_000));
        assert_eq!(offset(Timestamp::default(), stored), None, "an older program does not say");
    }

    fn leases(hosts: &[&str]) -> Leases {
        let presences = hosts.iter().map(|host| ((*host).to_owned(), Presence::default())).collect();
        Leases { presences, ..Leases::default() }
    }

    #[test]
    fn shares_differ_by_one_at_most_and_make_the_whole() {
        for (count, wanted) in [(1, vec![8]), (3, vec![3, 3, 2]), (5, vec![2, 2, 2, 1, 1])] {
            let hosts = &["a", "b", "c", "d", "e"][..count];
            let all = leases(hosts);
            let shares: Vec<usize> =
                hosts.iter().filter_map(|host| all.share(host, &Presence::default(), 8)).collect();
            assert_eq!(shares, wanted);
        }
    }

    #[test]
    fn a_host_above_the_number_of_partitions_has_none() {
        let all = leases(&["a", "b", "c"]);
        assert_eq!(all.share("c", &Presence::default(), 2), Some(0));
        assert_eq!(all.share("new", &Presence::default(), 2), Some(0), "it is not heard yet");
    }

    #[test]
    fn older_programs_have_nothing_and_do_not_count() {
        let newer = Presence { record: 1, ..Presence::default() };
        let mut all = leases(&["a", "b"]);
        assert_eq!(all.share("c", &newer, 8), Some(8));
        all.presences.insert("c".to_owned(), newer);
        assert_eq!(all.share("a", &Presence::default(), 8), None);
    }
}
