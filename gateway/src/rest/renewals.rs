//! Whether the hosts still renew their leases, as this gateway sees it.
//!
//! A server whose disk is full still answers who holds which lease, takes no renewals, and lets no lease
//! expire: only missing renewals show it. The gateway therefore reads them all the time, and not only when
//! somebody asks: the first question is answered right, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_client::Bus;
use bus_client::leases::Leases;
use bus_client::streams::LEASE_TTL;
use tokio::time::Instant;

/// A host renews once a second, and its lease would have expired twice by then.
const PATIENCE: Duration = LEASE_TTL.saturating_mul(2);

/// The interval of reading the renewals: twice within the patience, and rare enough to cost nothing.
const LOOK: Duration = LEASE_TTL;

/// The last renewals seen, with the time of each. Cheap to clone; all clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Renewals(Arc<Mutex<BTreeMap<String, (u64, Instant)>>>);

impl Renewals {
    /// Reads the renewals without end.
    pub async fn follow(self, bus: Bus) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            match bus.leases().await {
                Ok(leases) => drop(self.silent(&leases)),
                // `/ready` reads the leases as well, and reports the error to whoever asks.
                Err(error) => tracing::debug!(%error, "reading the renewals of hosts"),
            }
        }
    }

    /// Updates the renewals from the leases. Returns the partitions of hosts that do not renew, with the
    /// reason.
    pub fn silent(&self, leases: &Leases) -> BTreeMap<u16, String> {
        let now = Instant::now();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|host, _| leases.renewals.contains_key(host));
        for (host, renewal) in &leases.renewals {
            let last = seen.entry(host.clone()).or_insert((*renewal, now));
            if last.0 != *renewal {
                *last = (*renewal, now);
            }
        }
        let silent = |host: &String| {
            let quiet = now.duration_since(seen.get(host)?.1);
            let why = || format!("host `{host}` has not renewed its leases for {} s", quiet.as_secs());
            (quiet > PATIENCE).then(why)
        };
        let held = leases.holders.iter();
        held.filter_map(|(partition, holder)| Some((partition.0, silent(holder)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use bus_schemas::PartitionId;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_stops_renewing_is_named() {
        let (renewals, host) = (Renewals::default(), "h1".to_owned());
        let holders = [(PartitionId(2), host.clone())].into();
        let mut leases = Leases { holders, renewals: [(host.clone(), 7)].into(), ..Leases::default() };
        for renewal in 7..20 {
            leases.renewals.insert(host.clone(), renewal);
            assert!(renewals.silent(&leases).is_empty());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        tokio::time::advance(PATIENCE).await;
        let named = renewals.silent(&leases);
        assert_eq!(named[&2], "host `h1` has not renewed its leases for 9 s");
    }
}
