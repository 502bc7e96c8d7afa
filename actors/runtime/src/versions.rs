//! Schema versions of hosts: what a program can read, and which host runs partitions during an upgrade.
//!
//! A partition goes to hosts with the newest program, and never to one that cannot read its log. While both
//! versions run, the older one leaves commands that it does not know undecided, and drains. While both are
//! there, the older one leaves what it does not know undecided, and drains.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_client::leases::{Leases, Presence};
use bus_schemas::record::RECORD_VERSION;
use bus_schemas::{Kind, PartitionId};
use tokio::time::Instant;

use crate::stuck::Stuck;

/// How long a host with a newer program waits before it takes partitions from older ones. Each of them looks
/// once a second, and must know of it before a command arrives that only the newer one understands.
const NOTICE: Duration = Duration::from_secs(3);

/// What a newer program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Newer {
    /// Events of a kind; `known` is 0 if the kind itself is unknown.
    Events { kind: Kind, found: u16, known: u16 },
    /// Commit records.
    Records { found: u16, known: u16 },
    /// The base that stands for the records that were cut off.
    Base { found: u16, known: u16 },
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events { kind, found, known: 0 } => {
                write!(
                    f,
                    "the log holds `{kind}` events of schema version {found}; this program knows no such kind"
                )
            }
            Self::Events { kind, found, known } => {
                let knows = format!("this program knows versions up to {known}");
                write!(f, "the log holds `{kind}` events of schema version {found}; {knows}")
            }
            Self::Records { found, known } => {
                write!(
                    f,
                    "the log holds records of version {found}; this program knows versions up to {known}"
                )
            }
            Self::Base { found, known } => {
                write!(f, "its base has version {found}; this program knows versions up to {known}")
            }
        }
    }
}

/// Whether another host has the newest program. Cheap to clone; all clones share the value.
#[derive(Debug, Clone, Default)]
pub struct Newest(Arc<AtomicBool>);

impl Newest {
    /// Whether another host can read all that this one can, and more.
    pub fn is_another(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
    /// Sets the value for all clones.
    pub fn set(&self, another: bool) {
        self.0.store(another, Ordering::Relaxed);
    }
}

/// What this host announces, and how its version compares with the others.
#[derive(Debug, Clone)]
pub(crate) struct HostPresence {
    presence: Presence,
    leaves: Arc<Mutex<BTreeMap<PartitionId, String>>>,
    stuck: Stuck,
    newest: Newest,
    /// Since when the other hosts can know of this one.
    there: Option<Instant>,
}

impl HostPresence {
    /// A host with this program that has not been announced yet.
    pub(crate) fn new(reads: BTreeMap<Kind, u16>) -> Self {
        let presence = Presence { record: RECORD_VERSION, reads, ..Presence::default() };
        Self {
            presence,
            stuck: Stuck::default(),
            leaves: Arc::default(),
            newest: Newest::default(),
            there: None,
        }
    }

    /// The current announcement of the host.
    pub(crate) fn presence(&self) -> Presence {
        Presence { leaves: self.left(), stuck: self.stuck.all(), ..self.presence.clone() }
    }

    /// Whether a newer program runs, for the partitions.
    pub(crate) fn newest(&self) -> Newest {
        self.newest.clone()
    }

    /// The stuck stages, which the partitions fill in.
    pub(crate) fn stuck(&self) -> Stuck {
        self.stuck.clone()
    }

    /// Notes that the host was announced.
    pub(crate) fn told(&mut self) {
        self.there.get_or_insert_with(Instant::now);
    }

    /// Leaves a partition to a newer program, for as long as this program runs: the log keeps what it cannot
    /// read.
    pub(crate) fn leave(&self, partition: PartitionId, reason: String) {
        if let Ok(mut leaves) = self.leaves.lock() {
            leaves.insert(partition, reason);
        }
    }

    /// Whether a partition is left to a newer program.
    pub(crate) fn has_left(&self, partition: PartitionId) -> bool {
        self.leaves.lock().is_ok_and(|leaves| leaves.contains_key(&partition))
    }

    fn left(&self) -> BTreeMap<PartitionId, String> {
        self.leaves.lock().map(|leaves| leaves.clone()).unwrap_or_default()
    }

    /// How many partitions this host should run: 0 if a host with a newer program can run them all.
    pub(crate) fn share(&self, leases: &Leases, host: &str, partitions: u16) -> usize {
        let share = leases.share(host, &self.presence, partitions);
        let another = share.is_none();
        if another != self.newest.is_another() {
            let what = if another { "is there: partitions are left to it" } else { "is gone" };
            tracing::info!("a host with a newer program {what}");
        }
        self.newest.set(another);
        share.unwrap_or_default()
    }

    /// Whether hosts with older programs know of this one, so that it may take partitions.
    pub(crate) fn is_known(&self, leases: &Leases) -> bool {
        let older = leases.presences.values().any(|other| other.is_outdated_by(&self.presence));
        !older || self.there.is_some_and(|there| there.elapsed() >= NOTICE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(hosts: &[(&str, &HostPresence)]) -> Leases {
        let said = hosts.iter().map(|(name, host)| ((*name).to_owned(), host.presence()));
        Leases { presences: said.collect(), ..Leases::default() }
    }

    fn reading(schema: u16) -> HostPresence {
        HostPresence::new([(Kind::from_static("probe"), schema)].into())
    }

    #[test]
    fn the_newest_share_and_the_others_have_nothing() {
        let (old, new, other) = (reading(1), reading(2), reading(2));
        let leases = leases(&[("a", &old), ("b", &new), ("c", &other)]);
        assert_eq!((old.share(&leases, "a", 8), new.share(&leases, "b", 8)), (0, 4));
        assert!(old.newest().is_another() && !new.newest().is_another());
    }

    #[test]
    fn an_older_host_shares_again_when_the_newer_one_is_gone() {
        let (old, new) = (reading(1), reading(2));
        assert_eq!(old.share(&leases(&[("a", &old), ("b", &new)]), "a", 8), 0);
        assert_eq!(old.share(&leases(&[("a", &old)]), "a", 8), 8);
        assert!(!old.newest().is_another());
    }

    #[tokio::test(start_paused = true)]
    async fn beside_older_hosts_a_newer_one_waits_until_they_know_of_it() {
        let (old, mut new) = (reading(1), reading(2));
        let both = leases(&[("a", &old), ("b", &new)]);
        assert!(old.is_known(&both), "nobody is older");
        assert!(!new.is_known(&both), "it has told nobody");
        new.told();
        assert!(!new.is_known(&both));
        tokio::time::advance(NOTICE).await;
        assert!(new.is_known(&both));
        assert!(reading(2).is_known(&leases(&[("b", &new)])), "it is alone");
    }
}
