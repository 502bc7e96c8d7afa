//! Leases: who tries to run which partition. The log's expected sequence is the fence, not the lease.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::Request;
use async_nats::client::RequestErrorKind;
use async_nats::jetstream::kv;
use bus_schemas::{Kind, PartitionId};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::bus::Bus;
use crate::error::Error;

/// A lease that we hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The partition.
    pub partition: PartitionId,
    /// The bucket's revision of our last renewal.
    pub revision: u64,
}

/// What a host says of itself while it is alive. A host that says nothing knows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The version of commit records up to which its program reads.
    #[serde(default)]
    pub record: u16,
    /// For each kind of entity: the schema version up to which its program reads.
    #[serde(default)]
    pub reads: BTreeMap<Kind, u16>,
    /// The partitions whose logs its program can not read, and why. It leaves them to others.
    #[serde(default)]
    pub leaves: BTreeMap<PartitionId, String>,
    /// The partitions that it has and in which something does not go on, and why.
    #[serde(default)]
    pub stuck: BTreeMap<PartitionId, String>,
}

impl Presence {
    /// Whether `other` reads everything that this host reads, and more.
    pub fn is_outdated_by(&self, other: &Self) -> bool {
        let read_by = |(kind, schema): (&Kind, &u16)| other.reads.get(kind).is_some_and(|has| has >= schema);
        let all = self.record <= other.record && self.reads.iter().all(read_by);
        all && (self.record, &self.reads) != (other.record, &other.reads)
    }
}

/// What somebody hears who looks for a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// It is here, at the server of whoever asks.
    Here,
    /// The server knows of no connection of that host.
    Nobody,
    /// It is here, at another server: between the two may stand what parts them.
    Elsewhere,
    /// It did not answer in time, and its connection stands.
    Silent,
}

/// How long a host may take to say that it is here. One that is frozen says nothing, and keeps its leases.
const LOOK_TIMEOUT: Duration = Duration::from_millis(100);

/// Who is alive, and who holds what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    /// Hosts that renewed lately, in order.
    pub hosts: Vec<String>,
    /// What each of them says of itself.
    pub presences: BTreeMap<String, Presence>,
    /// The bucket's revision of each one's last renewal: of a host that lives it goes up every second.
    pub renewals: BTreeMap<String, u64>,
    /// Holders.
    pub holders: BTreeMap<PartitionId, String>,
    /// The bucket's revision of each partition's last renewal.
    pub renewed: BTreeMap<PartitionId, u64>,
    /// Partitions of hosts that are known to be gone before their leases have run out.
    pub orphans: BTreeMap<PartitionId, Lease>,
}

impl Leases {
    /// Takes a host for gone: its partitions may be taken from the leases that they have now.
    pub fn without(mut self, host: &str) -> Self {
        self.hosts.retain(|name| name != host);
        self.presences.remove(host);
        for (partition, _) in self.holders.extract_if(.., |_, holder| holder == host) {
            let revision = self.renewed.get(&partition).copied().unwrap_or_default();
            self.orphans.insert(partition, Lease { partition, revision });
        }
        self
    }

    /// The partitions in which something does not go on, as the hosts that have them say.
    pub fn stuck(&self) -> BTreeMap<PartitionId, String> {
        let held = |host: &str, partition| self.holders.get(&partition).is_some_and(|holder| holder == host);
        let said = |(host, presence): (&String, &Presence)| {
            let stuck = presence.stuck.iter().filter(|(partition, _)| held(host, **partition));
            stuck.map(|(partition, why)| (*partition, why.clone())).collect::<Vec<_>>()
        };
        self.presences.iter().flat_map(said).collect()
    }

    /// How many of the partitions a host runs: as many as any other with the newest program, and where
    /// that leaves some, the first hosts by name one more. None beside a newer program. `own` is what
    /// the host says of itself, which may not be heard yet.
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

/// The header that says what was done to an entry of a bucket, where that was not to write it.
const KV_OPERATION: &str = "KV-Operation";

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
    /// Says that a host is alive, for one lease time.
    pub async fn renew_host(&self, host: &str, presence: &Presence) -> Result<(), Error> {
        let store = self.lease_store().await?;
        let said = serde_json::to_vec(presence).expect("names and numbers");
        let put = store.put(host_key(host), said.into()).await;
        put.map(drop).map_err(|error| Error::call(format!("renewing host `{host}`"), error))
    }
    /// Takes a host off the list.
    pub async fn release_host(&self, host: &str) -> Result<(), Error> {
        let store = self.lease_store().await?;
        let deleted = store.purge(host_key(host)).await;
        deleted.map_err(|error| Error::call(format!("releasing host `{host}`"), error))
    }
    /// Takes a host off the list of which somebody else has found that it is gone.
    pub async fn forget_host(&self, host: &str, leases: &Leases) -> Result<(), Error> {
        let Some(revision) = leases.renewals.get(host) else { return Ok(()) };
        let store = self.lease_store().await?;
        // A host that lives says so again within a second.
        match store.purge_expect_revision(host_key(host), Some(*revision)).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == kv::PurgeErrorKind::WrongLastRevision => Ok(()),
            Err(error) => Err(Error::call(format!("forgetting host `{host}`"), error)),
        }
    }
    /// Answers whoever asks whether this host is here, until its connection ends.
    pub async fn say_here(&self, host: &str) -> Result<(), Error> {
        let subject = self.subjects().here(host);
        let doing = format!("subscribing to `{subject}`");
        let asked = self.client().subscribe(subject).await;
        let mut asked = asked.map_err(|error| Error::call(doing, error))?;
        while let Some(message) = asked.next().await {
            if let Some(reply_to) = message.reply {
                self.answer(reply_to, self.server_id().into()).await;
            }
        }
        Ok(())
    }
    /// Asks whether a host is here.
    pub async fn look_for_host(&self, host: &str) -> Looked {
        let request = Request::new().timeout(Some(LOOK_TIMEOUT));
        match self.client().send_request(self.subjects().here(host), request).await {
            Ok(message) if message.payload == self.server_id().as_bytes() => Looked::Here,
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Looked::Nobody,
            Ok(_) => Looked::Elsewhere,
            Err(_) => Looked::Silent,
        }
    }
    /// Takes a lease if nobody holds it, or if the former process of this very host does.
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
    /// Renews a lease; none when somebody else has it.
    pub async fn renew(&self, lease: Lease, host: &str) -> Result<Option<Lease>, Error> {
        let store = self.lease_store().await?;
        let key = partition_key(lease.partition);
        match store.update(key, host.to_owned().into(), lease.revision).await {
            Ok(revision) => Ok(Some(Lease { revision, ..lease })),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(Error::call(format!("renewing partition {}", lease.partition), error)),
        }
    }
    /// Gives a lease back, if it is still ours.
    pub async fn release(&self, lease: Lease) -> Result<(), Error> {
        let store = self.lease_store().await?;
        let deleted = store.purge_expect_revision(partition_key(lease.partition), Some(lease.revision)).await;
        deleted.map_err(|error| Error::call(format!("releasing partition {}", lease.partition), error))
    }
    /// Who is alive, and who holds what.
    pub async fn leases(&self) -> Result<Leases, Error> {
        let bucket = self.topology().leases();
        let (stream, keys) = (format!("KV_{bucket}"), format!("$KV.{bucket}."));
        let subjects = self.subjects_of(&stream, &format!("{keys}>")).await?;
        let mut leases = Leases::default();
        for said in self.last_on(&stream, &subjects).await? {
            // What is released stays as a mark of it.
            if said.headers.get(KV_OPERATION).is_some() {
                continue;
            }
            let Some(key) = said.subject.strip_prefix(&keys) else { continue };
            if let Some(host) = key.strip_prefix("host.") {
                leases.hosts.push(host.to_owned());
                let presence = serde_json::from_slice(&said.payload).unwrap_or_default();
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
