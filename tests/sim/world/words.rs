//! What hosts and workers tell each other beside claims, modelled after `bus_client::claims`: of which
//! workers they have heard, which jobs are no longer wanted, and that a partition has a new owner. Whatever
//! is lost of it is said again, or noticed by a renewal.

use actors_runtime::journal::Committed;
use bus_schemas::{Body, EntityAddress, Key, Kind};
use smol_str::SmolStr;

use super::claims::lose;
use super::clients::{address, key};
use super::workers::{AGENTS, Next};
use super::{Happening, HostId, World};
use crate::coverage::Reached;

/// How often hosts say of which workers they have heard.
const TELL_HEARD_MS: u64 = 5_000;
/// A worker of which no host has heard for so long is lost.
const LOST_MS: u64 = 30_000;

impl World {
    /// Workers that were registered before a host began are expected to be heard of.
    pub(super) fn expect_registered(&mut self, host: HostId) {
        let steady = self.steady(host);
        for agent in AGENTS.map(key) {
            let state = self.audit.state_of(&EntityAddress::new(Kind::from_static("agent"), agent.clone()));
            let workers = state.as_ref().and_then(|state| state["workers"].as_object());
            for worker in workers.into_iter().flat_map(|workers| workers.keys()) {
                self.hosts[host].pool.hear(&agent, worker, steady);
            }
        }
    }

    /// A host tells the others of which workers it has heard, and agents which of theirs are lost.
    pub(super) fn tells_heard(&mut self, host: HostId) {
        self.soon(TELL_HEARD_MS, Happening::TellsHeard(host));
        if !self.hosts[host].alive {
            return;
        }
        let now = self.steady(host);
        let mut heard = self.hosts[host].pool.heard();
        heard.sort();
        let (mut told, mut lost) = (Vec::new(), Vec::new());
        for (agent, worker, at) in heard {
            match now.saturating_sub(at) {
                ago if ago < LOST_MS => told.push((agent, worker, ago)),
                _ => lost.push((agent, worker)),
            }
        }
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            if !self.fault(self.faults.word_lost, Reached::WordLost) {
                let way = self.latency();
                self.soon(way, Happening::HearsOf { host: other, heard: told.clone() });
            }
        }
        for (agent, worker) in lost {
            self.coverage.note(Reached::WorkerLost);
            let lose = lose(&worker);
            let to = address(&lose, agent.clone());
            self.ask(to, Body::json(&lose), Next::Lost { host, agent, worker });
        }
    }

    pub(super) fn hears_of(&mut self, host: HostId, heard: &[(Key, SmolStr, u64)]) {
        let now = self.steady(host);
        for (agent, worker, ago) in heard {
            let (known, at) = (self.hosts[host].pool.heard(), now.saturating_sub(*ago));
            if known.iter().any(|(a, w, since)| a == agent && w == worker && *since < at) {
                self.hosts[host].pool.hear(agent, worker, at);
            }
        }
    }

    /// Workers hear that some of their jobs are no longer wanted.
    pub(super) fn tell_stops(&mut self, committed: &Committed) {
        for stop in committed.record.turns.iter().flat_map(|turn| &turn.stops) {
            for worker in 0..self.workers.len() {
                let known = &self.workers[worker];
                let meant = known.agent == stop.agent && known.name == stop.worker;
                if meant && !self.fault(self.faults.word_lost, Reached::WordLost) {
                    let way = self.latency();
                    self.soon(way, Happening::Nudged { worker, job: Some(stop.job.clone()) });
                }
            }
        }
    }

    /// All workers hear that a partition has a new owner.
    pub(super) fn tell_taken_over(&mut self) {
        for worker in 0..self.workers.len() {
            if !self.fault(self.faults.word_lost, Reached::WordLost) {
                let way = self.latency();
                self.soon(way, Happening::Nudged { worker, job: None });
            }
        }
    }
}
