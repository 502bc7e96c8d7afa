//! Queries, modelled after `partition.rs`: they reach whoever is subscribed, some wait there, and what
//! answers them leaves behind the commits that it shows.

use actors_core::Context;
use actors_runtime::inbox::Item;
use actors_runtime::journal::AddressedReply;
use bus_schemas::claims::WAIT_MS;
use bus_schemas::commands::task;
use bus_schemas::{Body, EntityAddress, Key, Kind, Reply};
use bytes::Bytes;

use super::clients::{LANES, address, key};
use super::workers::Next;
use super::{CallId, Happening, OwnerId, Phase, World};
use crate::coverage::Reached;
use crate::faults::Defect;
use crate::invariants::{Check, hold, views};

impl World {
    /// A query reaches an owner.
    pub(super) fn take_query(&mut self, id: OwnerId, call: CallId) -> Check {
        let incoming = self.callers.incoming(call, &self.subjects);
        let fresh = self.random.command_id(self.time);
        let item = Item::from_query(&self.subjects, incoming, fresh);
        if self.defect == Some(Defect::ViewsAtOnce)
            && let Some(payload) = self.seen_at_once(id, &item)
        {
            self.view_is_told(id, call, payload)?;
        }
        if let Some(owner) = self.owners.get_mut(&id) {
            owner.asked.push((call, None));
            owner.core.offer(item);
        }
        self.wake(id);
        Ok(())
    }

    /// A defect: what a live entity says at this moment, committed or not.
    fn seen_at_once(&self, id: OwnerId, item: &Item) -> Option<Bytes> {
        let owner = self.owners.get(&id)?;
        let entity = item.to.as_ref().ok()?;
        let (_, cached) = owner.core.entities().find(|(known, _)| *known == entity)?;
        let instance = cached.instance.as_ref().ok()?;
        let context = Context {
            entity,
            partitions: self.shape.partitions,
            revision: instance.revision(),
            now: self.clock(owner.host),
            by_timer: false,
            command: item.command.id,
            correlation: item.command.correlation,
            caller: None,
            trace: None,
        };
        let view = instance.view(&item.command.body, &context).ok().filter(|view| view.is_ready)?;
        let reply = Reply::Accepted {
            command_id: item.command.id,
            entity: entity.clone(),
            revision: instance.revision(),
            events: 0,
            result: view.value,
        };
        Some(serde_json::to_vec(&reply).expect("a reply has string keys").into())
    }

    /// An owner answers a command or a query: from here it must be true. One whose host died says nothing.
    pub(super) fn tell_answer(&mut self, id: OwnerId, told: AddressedReply) -> Check {
        let Some(owner) = self.owners.get_mut(&id) else { return Ok(()) };
        let call: Option<CallId> = told.to.as_str().parse().ok();
        match call.filter(|call| self.callers.is_query(*call)) {
            None => self.answer(told.to.as_str(), told.payload),
            Some(call) => {
                if let Some(place) = owner.asked.iter().position(|(asked, _)| *asked == call) {
                    owner.asked.remove(place);
                }
                self.view_is_told(id, call, told.payload)
            }
        }
    }

    fn view_is_told(&mut self, id: OwnerId, call: CallId, payload: Bytes) -> Check {
        let reply = views::read(&payload)?;
        if let Some(partition) = self.owners.get(&id).map(|owner| owner.partition) {
            self.audit.views_need_the_lease(id, partition, &reply)?;
            self.audit.views_are_committed(&reply, self.callers.body(call), self.shape.partitions)?;
        }
        if !self.fault(self.faults.answer_lost, Reached::AnswerLost) {
            let way = self.latency();
            self.soon(way, Happening::Answered(call, payload));
        }
        Ok(())
    }

    /// At a moment in which nothing else waits, every query that an owner has taken and not answered waits
    /// in the core, and none for longer than queries wait.
    pub(super) fn parked_queries_end(&mut self, id: OwnerId) -> Check {
        let time = self.time;
        let Some(owner) = self.owners.get_mut(&id).filter(|owner| owner.phase == Phase::Serving) else {
            return Ok(());
        };
        if !owner.core.is_idle() {
            return Ok(());
        }
        let (asked, parked) = (owner.asked.len(), owner.core.parked());
        hold(asked == parked, "parked_queries_end", || {
            format!("owner {id} has {asked} queries to answer, and {parked} wait")
        })?;
        for (_, since) in &mut owner.asked {
            let since = *since.get_or_insert(time);
            hold(time <= since + WAIT_MS, "parked_queries_end", || {
                format!("owner {id} lets a query wait for {} ms", time - since)
            })?;
        }
        if asked > 0 {
            self.coverage.note(Reached::QueryParked);
        }
        Ok(())
    }

    /// Somebody asks what something is, or waits for the end of a task.
    pub(super) fn look_at_something(&mut self) {
        let describe = Body { content_type: bus_schemas::ContentType::Json, bytes: DESCRIBE.into() };
        let entity = |kind: &'static str, key: Key| EntityAddress::new(Kind::from_static(kind), key);
        let lane = key(LANES[self.random.below(2) as usize]);
        match self.random.below(10) {
            0 => self.query(entity("lane", lane), describe, Next::Nothing),
            1 => {
                let partition =
                    bus_schemas::PartitionId(self.random.below(self.shape.partitions.into()) as u16);
                let queue = bus_schemas::commands::queue::key(&lane, partition, self.shape.partitions);
                self.query(entity("queue", queue), describe, Next::Nothing);
            }
            2 => self.query(entity("agent", key("omega")), describe, Next::Nothing),
            choice => {
                let Some(task) = self.some_task() else { return };
                let query = match choice {
                    3 => task::Query::Explain,
                    4 => task::Query::Describe,
                    _ => task::Query::Wait,
                };
                let to = address(&task::Command::Sweep, task);
                self.query(to, Body::json(&query), Next::Nothing);
            }
        }
    }
}

/// What every kind that answers queries can be asked.
const DESCRIBE: &str = r#"{"type":"describe"}"#;
