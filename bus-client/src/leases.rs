//! Leases: who tries to run which partition. The log's expected sequence is the fence, not the lease.

use std::collections::BTreeMap;

use async_nats::jetstream::kv;
use bus_schemas::PartitionId;
use futures::TryStreamExt;

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

/// Who is alive, and who holds what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    /// Hosts that renewed lately, in order.
    pub hosts: Vec<String>,
    /// Holders.
    pub holders: BTreeMap<PartitionId, String>,
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
    /// Says that a host is alive, for one lease time.
    pub async fn renew_host(&self, host: &str) -> Result<(), Error> {
        let store = self.lease_store().await?;
        let put = store.put(host_key(host), "alive".into()).await;
        put.map(drop).map_err(|error| Error::call(format!("renewing host `{host}`"), error))
    }
    /// Takes a host off the list.
    pub async fn release_host(&self, host: &str) -> Result<(), Error> {
        let store = self.lease_store().await?;
        let deleted = store.purge(host_key(host)).await;
        deleted.map_err(|error| Error::call(format!("releasing host `{host}`"), error))
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
        let store = self.lease_store().await?;
        let failed = |error: String| Error::call("listing the leases", error);
        let mut keys = store.keys().await.map_err(|error| failed(error.to_string()))?;
        let mut leases = Leases::default();
        while let Some(key) = keys.try_next().await.map_err(|error| failed(error.to_string()))? {
            if let Some(host) = key.strip_prefix("host.") {
                leases.hosts.push(host.to_owned());
            } else if let Some(number) = key.strip_prefix("partition.").and_then(|text| text.parse().ok())
                && let Some(holder) = store.get(&key).await.map_err(|error| failed(error.to_string()))?
            {
                leases.holders.insert(PartitionId(number), String::from_utf8_lossy(&holder).into_owned());
            }
        }
        leases.hosts.sort();
        Ok(leases)
    }
}
