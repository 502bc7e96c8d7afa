//! Experiments as readers of `chaos` events know them, and their limits.

use std::collections::BTreeMap;
use std::fmt;

use crate::commands::chaos::{Delayed, Description, Experiment};
use crate::events::chaos::Event;
use crate::ids::{EntityAddress, Key, PartitionId};
use crate::wire::{EventFold, WireCommand};

/// The longest experiment, in milliseconds: a longer one would be an outage.
pub const FOR_MS_MAX: u64 = 600_000;
/// The longest delay, in milliseconds: more amounts to a dropped reply.
pub const DELAY_MS_MAX: u64 = 10_000;
/// The shortest time between two kills of one worker, in milliseconds: a supervisor tolerates one per second.
pub const EVERY_MS_MIN: u64 = 1_000;
/// The most commands per second in one queue: part of a partition's measured rate, and little work for a
/// disk.
pub const FILL_PER_SECOND_MAX: u32 = 5_000;
/// The start of the reason of a breaker that an experiment tripped; the experiment's name follows.
pub const TRIP_REASON: &str = "experiment ";
/// Names that are tried to find an entity in a given partition: sixty-four partitions need some hundreds.
const FILL_NAMES_MAX: u32 = 100_000;

/// All known experiments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Experiments {
    /// The experiments by name.
    pub all: BTreeMap<Key, Description>,
}

impl EventFold for Experiments {
    type Event = Event;
    fn apply(&mut self, key: &Key, event: &Event) {
        match event {
            Event::Started { experiment, reason, by, at, until } => {
                let (experiment, reason, by) = (experiment.clone(), reason.clone(), by.clone());
                let begun = Description { experiment, reason, by, since: *at, until: *until, ended: None };
                self.all.insert(key.clone(), begun);
            }
            Event::Ended(ended) => {
                if let Some(known) = self.all.get_mut(key) {
                    known.ended = Some(ended.clone());
                }
            }
        }
    }
}

impl Experiment {
    /// The host that the experiment is limited to, if there is one.
    pub fn host(&self) -> Option<&Key> {
        match self {
            Self::KillWorker { host, .. } | Self::DropAcks { host, .. } | Self::Delay { host, .. } => {
                host.as_ref()
            }
            Self::PauseHost { host } => Some(host),
            Self::TripBreaker { .. } | Self::FillInbox { .. } => None,
        }
    }
    /// The disturbance in one word.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::KillWorker { .. } => "kill-worker",
            Self::TripBreaker { .. } => "trip-breaker",
            Self::DropAcks { .. } => "drop-acks",
            Self::Delay { .. } => "delay",
            Self::FillInbox { .. } => "fill-inbox",
            Self::PauseHost { .. } => "pause-host",
        }
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillWorker { agent, every_ms: None, .. } => write!(f, "kills the workers of {agent} once")?,
            Self::KillWorker { agent, every_ms: Some(every), .. } => {
                write!(f, "kills the workers of {agent} every {every} ms")?;
            }
            Self::TripBreaker { dependency } => write!(f, "keeps the breaker {dependency} open")?,
            Self::DropAcks { percent, .. } => write!(f, "drops {percent} % of the answers")?,
            Self::Delay { by_ms, of: Delayed::Answers, .. } => write!(f, "delays answers by {by_ms} ms")?,
            Self::Delay { by_ms, of: Delayed::Inbox, .. } => write!(f, "delays commands by {by_ms} ms")?,
            Self::FillInbox { partition, per_second } => {
                match per_second {
                    Some(rate) => write!(f, "puts {rate} commands a second into ")?,
                    None => f.write_str("fills ")?,
                }
                match partition {
                    Some(partition) => write!(f, "the queue of partition {partition}")?,
                    None => f.write_str("every queue")?,
                }
            }
            Self::PauseHost { host } => return write!(f, "pauses the host {host}"),
        }
        match self.host() {
            Some(host) => write!(f, " on {host}"),
            None => Ok(()),
        }
    }
}

/// An entity of this kind in a partition, for commands that only take a place in its queue; `None` if no name
/// was found.
pub fn filler(partition: PartitionId, partitions: u16) -> Option<EntityAddress> {
    let named = |number: u32| {
        let key = Key::parse(&format!("fill-{number}")).ok()?;
        Some(EntityAddress::new(crate::commands::chaos::Command::KIND, key))
    };
    let mut names = (0..FILL_NAMES_MAX).filter_map(named);
    names.find(|entity| entity.partition(partitions) == partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_an_entity_that_fills_it() {
        for partition in (0..64).map(PartitionId) {
            let entity = filler(partition, 64).unwrap();
            assert_eq!(entity.partition(64), partition);
        }
    }

    #[test]
    fn an_experiment_says_what_it_does_and_where() {
        let host = Some(Key::parse("a").unwrap());
        let said = [
            Experiment::DropAcks { percent: 30, host: host.clone() }.to_string(),
            Experiment::Delay { by_ms: 5, of: Delayed::Inbox, host: None }.to_string(),
            Experiment::FillInbox { partition: Some(PartitionId(3)), per_second: None }.to_string(),
            Experiment::PauseHost { host: Key::parse("a").unwrap() }.to_string(),
        ];
        assert_eq!(
            said,
            [
                "drops 30 % of the answers on a",
                "delays commands by 5 ms",
                "fills the queue of partition 3",
                "pauses the host a"
            ]
        );
    }
}
