//! Hosts and workers that follow the events of halts and breakers, each at a distance of its own:
//! modelled after `bus_client::folded` and the worker's breakers. What they know they know from the
//! event stream, in its order, and a new process reads it from the beginning.

use std::collections::BTreeMap;

use actors_host::gates;
use actors_host::quarantine::Quarantine;
use actors_runtime::Gates;
use bus_client::Folded;
use bus_schemas::commands::breaker::Phase;
use bus_schemas::events::{breaker, halt};
use bus_schemas::halts::{Halts, Subject};
use bus_schemas::jobs::Job;
use bus_schemas::record::Event;
use bus_schemas::wire::{EventFold, WireEvent};
use bus_schemas::{EntityAddress, Key, Timestamp};
use tokio::sync::watch;

use super::{Happening, HostId, WorkerId, World};
use crate::coverage::Reached;
use crate::faults::Defect;
use crate::store::Store;

/// Who follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follower {
    /// A host.
    Host(HostId),
    /// A worker.
    Worker(WorkerId),
}

/// The halts as the loops of one host see them.
#[derive(Debug)]
pub struct HostView {
    /// How many of the followed events it has heard.
    heard: usize,
    halts: watch::Sender<Halts>,
    /// When it heard of the halt of everything that stands: what its clock showed at the most until then.
    pub all_since: Option<Timestamp>,
}

/// What one worker knows.
#[derive(Debug, Default)]
pub struct WorkerView {
    /// How many of the followed events it has heard.
    pub heard: usize,
    pub halts: Halts,
    breakers: BTreeMap<Key, Phase>,
}

impl Default for HostView {
    fn default() -> Self {
        Self { heard: 0, halts: watch::channel(Halts::default()).0, all_since: None }
    }
}

impl HostView {
    /// The gates of the host's loops.
    pub fn gates(&self) -> Gates {
        gates::all(&Folded::from(self.halts.subscribe()), &Quarantine::default(), None, false)
    }
}

impl WorkerView {
    /// Whether a halt covers a job.
    pub fn halts_job(&self, job: &Job) -> bool {
        self.halts.covering(subject(job)).is_some()
    }
    /// How a breaker stands; closed where nothing was heard.
    pub fn phase(&self, dependency: &Key) -> Phase {
        self.breakers.get(dependency).copied().unwrap_or_default()
    }
    fn take(&mut self, entity: &EntityAddress, event: &Event) {
        if let Some(event) = read::<halt::Event>(entity, event) {
            self.halts.apply(&entity.key, &event);
        }
        let phase = match read::<breaker::Event>(entity, event) {
            Some(breaker::Event::Opened { .. }) => Phase::Open,
            Some(breaker::Event::HalfOpened { .. }) => Phase::HalfOpen,
            Some(breaker::Event::Closed { .. }) => Phase::Closed,
            _ => return,
        };
        self.breakers.insert(entity.key.clone(), phase);
    }
}

/// A job as a halt sees it.
fn subject(job: &Job) -> Subject<'_> {
    Subject { lane: &job.lane, agent: Some(&job.agent), task: &job.task.key }
}

fn read<T: WireEvent>(entity: &EntityAddress, event: &Event) -> Option<T> {
    if entity.kind != T::KIND {
        return None;
    }
    Some(serde_json::from_slice(&event.body).expect("an entity wrote it"))
}

/// Whether a job is covered by a halt that stands after so many followed events.
pub fn is_halted_after(store: &Store, heard: usize, job: &Job) -> bool {
    let mut halts = Halts::default();
    for (entity, event) in &store.followed[..heard] {
        if let Some(event) = read::<halt::Event>(entity, event) {
            halts.apply(&entity.key, &event);
        }
    }
    halts.covering(subject(job)).is_some()
}

impl World {
    /// Events of halts or breakers are in the stream: everybody hears of them, some later.
    pub(super) fn tell_followers(&mut self) {
        let hosts = (0..self.hosts.len()).map(Follower::Host);
        let followers: Vec<_> = hosts.chain((0..self.workers.len()).map(Follower::Worker)).collect();
        for follower in followers {
            let late = self.fault(self.faults.halt_late, Reached::FollowedLate);
            let way = if late { self.random.between(20, 4_000) } else { self.latency() };
            self.soon(way, Happening::Hears(follower));
        }
    }

    /// Somebody reads what is new in the stream.
    pub(super) fn hears(&mut self, follower: Follower) {
        match follower {
            Follower::Host(host) => self.host_hears(host),
            Follower::Worker(worker) => self.worker_hears_events(worker),
        }
    }

    fn host_hears(&mut self, id: HostId) {
        let now = self.clock_high(id);
        let host = &mut self.hosts[id];
        if !host.alive {
            return;
        }
        if host.frozen_until > self.time {
            let until = host.frozen_until;
            return self.at(until, Happening::Hears(Follower::Host(id)));
        }
        for (entity, event) in &self.store.followed[host.view.heard..] {
            if let Some(event) = read::<halt::Event>(entity, event)
                && self.defect != Some(Defect::HostsIgnoreHalts)
            {
                host.view.halts.send_modify(|halts| halts.apply(&entity.key, &event));
            }
        }
        let newly = host.view.heard..self.store.followed.len();
        host.view.heard = newly.end;
        for (entity, event) in &self.store.followed[newly] {
            match read::<halt::Event>(entity, event) {
                Some(halt::Event::Halted { .. }) if entity.key.as_str() == "all" => {
                    host.view.all_since.get_or_insert(now);
                }
                Some(halt::Event::Resumed { .. }) if entity.key.as_str() == "all" => {
                    host.view.all_since = None;
                }
                _ => {}
            }
        }
    }

    fn worker_hears_events(&mut self, id: WorkerId) {
        let worker = &mut self.workers[id];
        if !worker.is_alive() {
            return;
        }
        for (entity, event) in &self.store.followed[worker.view.heard..] {
            if self.defect != Some(Defect::WorkersIgnoreHalts) || entity.kind.as_str() != "halt" {
                worker.view.take(entity, event);
            }
        }
        worker.view.heard = self.store.followed.len();
        self.stop_halted_work(id);
    }
}
