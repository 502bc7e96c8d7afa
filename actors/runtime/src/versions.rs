//! Schema versions of hosts: what a program reads, and which host is to run partitions while two
//! versions are there.
//!
//! A partition goes to the hosts with the newest program, and never to one that can not read its log.
//! While both are there, the older one leaves what it does not know undecided, and drains.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors_core::Registry;
use bus_client::leases::{Leases, Presence};
use bus_schemas::record::RECORD_VERSION;
use bus_schemas::{Kind, PartitionId};
use tokio::time::Instant;

use crate::stuck::Stuck;

/// How long a host with a newer program is there before it takes a partition beside older ones: each
/// of them looks once a second, and must know of it before it hears a command that only the newer one
/// understands.
const NOTICE: Duration = Duration::from_secs(3);

/// What a newer program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Newer {
    /// Events of a kind; `known` is 0 where the kind itself is not.
    Events { kind: Kind, found: u16, known: u16 },
    /// Commit records.
    Records { found: u16, known: u16 },
    /// The state that stands for the records which were cut off.
    Base { found: u16, known: u16 },
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events { kind, found, known: 0 } => {
                write!(
                    f,
                    "it holds `{kind}` events of schema version {found}; this program knows no such kind"
                )
            }
            Self::Events { kind, found, known } => {
                let knows = format!("this program knows versions up to {known}");
                write!(f, "it holds `{kind}` events of schema version {found}; {knows}")
            }
            Self::Records { found, known } => {
                write!(f, "it holds records of version {found}; this program knows versions up to {known}")
            }
            Self::Base { found, known } => {
                write!(f, "its base has version {found}; this program knows versions up to {known}")
            }
        }
    }
}

/// Whether the newest program that is there is another host's. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Newest(Arc<AtomicBool>);

impl Newest {
    /// Whether another host reads everything that this one reads, and more.
    pub fn is_another(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
    /// Says so, to all clones.
    pub fn set(&self, another: bool) {
        self.0.store(another, Ordering::Relaxed);
    }
}

/// One host among those of other versions.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    presence: Presence,
    leaves: Arc<Mutex<BTreeMap<PartitionId, String>>>,
    stuck: Stuck,
    newest: Newest,
    /// Since when the others can know of this host.
    there: Option<Instant>,
}

impl Standing {
    /// A host with this program of which nobody has heard.
    pub(crate) fn new(registry: &Registry) -> Self {
        let presence = Presence { record: RECORD_VERSION, reads: registry.schemas(), ..Presence::default() };
        Self {
            presence,
            stuck: Stuck::default(),
            leaves: Arc::default(),
            newest: Newest::default(),
            there: None,
        }
    }

    /// What the host says of itself now.
    pub(crate) fn presence(&self) -> Presence {
        Presence { leaves: self.left(), stuck: self.stuck.all(), ..self.presence.clone() }
    }

    /// Whether a newer program is there, for the partitions.
    pub(crate) fn newest(&self) -> Newest {
        self.newest.clone()
    }

    /// What does not go on, for the partitions to say.
    pub(crate) fn stuck(&self) -> Stuck {
        self.stuck.clone()
    }

    /// The others have been told.
    pub(crate) fn told(&mut self) {
        self.there.get_or_insert_with(Instant::now);
    }

    /// A partition is left to a newer program. That is for as long as this program runs: a log does
    /// not lose what it holds.
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

    /// How many partitions this host runs: none when a newer program is there, whose host is to run all
    /// of them.
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

    /// Whether the hosts with older programs know of this one, so that it may take partitions.
    pub(crate) fn is_known(&self, leases: &Leases) -> bool {
        let older = leases.presences.values().any(|other| other.is_outdated_by(&self.presence));
        !older || self.there.is_some_and(|there| there.elapsed() >= NOTICE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(standings: &[(&str, &Standing)]) -> Leases {
        let said = standings.iter().map(|(host, standing)| ((*host).to_owned(), standing.presence()));
        Leases { presences: said.collect(), ..Leases::default() }
    }

    fn reading(schema: u16) -> Standing {
        let mut standing = Standing::new(&Registry::default());
        standing.presence.reads.insert(Kind::from_static("probe"), schema);
        standing
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
