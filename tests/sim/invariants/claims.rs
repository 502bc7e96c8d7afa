//! What becomes of the places that workers claim.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::record::{Source, Turn};
use bus_schemas::{CommandId, PartitionId};

use super::{Audit, Check, hold};
use crate::coverage::{Coverage, Reached};

/// The invariant.
const NAME: &str = "no_place_used_twice";

/// The claims of all workers.
#[derive(Debug, Default)]
pub struct Claims {
    /// For how many places each was made.
    places: BTreeMap<CommandId, u32>,
    /// Those that were sent more than once.
    repeated: BTreeSet<CommandId>,
    /// How many jobs of each partition answer each.
    jobs: BTreeMap<CommandId, BTreeMap<PartitionId, u32>>,
}

impl Audit {
    /// A worker claims for so many places.
    pub fn claim_is_made(&mut self, claim: CommandId, places: u32) {
        self.claims.places.insert(claim, places);
    }
    /// A worker sends a claim again.
    pub fn claim_is_repeated(&mut self, claim: CommandId) {
        self.claims.repeated.insert(claim);
    }

    /// A claim is answered by one partition, once, and with at most as many jobs as it has places; one of
    /// which nothing came is used again. One that was sent again may wait at two hosts, and be answered by
    /// another partition as well: its worker takes what it hears first, and nobody begins the rest.
    pub(super) fn no_place_used_twice(
        &mut self,
        partition: PartitionId,
        turn: &Turn,
        coverage: &mut Coverage,
    ) -> Check {
        if turn.source == Source::Claim {
            let claim = turn.command.id;
            let places = self.claims.places_of(claim);
            let begun = turn.events.iter().filter(|event| event.event_type == "assigned").count();
            hold(begun <= places as usize, NAME, || {
                format!("claim {claim} has {places} places, and is used for {begun} attempts")
            })?;
            let known = self.claims.jobs.get(&claim).and_then(|jobs| jobs.get(&partition));
            hold(known.is_none(), NAME, || {
                format!("partition {partition} uses claim {claim}, which it has answered")
            })?;
        }
        for job in &turn.jobs {
            let places = self.claims.places_of(job.claim);
            let jobs = self.claims.jobs.entry(job.claim).or_default();
            let count = jobs.entry(partition).or_default();
            *count += 1;
            hold(*count <= places, NAME, || {
                format!("claim {} has {places} places, and {count} jobs answer it", job.claim)
            })?;
            if jobs.len() > 1 {
                coverage.note(Reached::ClaimBySeveral);
            }
            hold(jobs.len() == 1 || self.claims.repeated.contains(&job.claim), NAME, || {
                format!("claim {} was sent once, and jobs of {jobs:?} answer it", job.claim)
            })?;
        }
        Ok(())
    }
}

impl Claims {
    fn places_of(&self, claim: CommandId) -> u32 {
        self.places.get(&claim).copied().unwrap_or_default()
    }
}
