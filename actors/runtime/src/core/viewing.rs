//! Queries: answered from memory, after the commit of the state they saw, and only while the lease is valid.

use actors_core::{Context, GateRequest, TurnError, View};
use bus_schemas::envelope::code;
use bus_schemas::views::command::COMMAND;
use bus_schemas::{CommandId, EntityAddress, Refusal, Reply};
use bytes::Bytes;

use super::{Core, Moment};
use crate::inbox::{BUSY_RETRY_MS, Item, refusal_reply};
use crate::journal::AddressedReply;
use crate::park::{PARKED_MAX, come_again};

impl Core {
    /// Answers a query, or parks it.
    pub(super) fn answer_query(&mut self, item: Item, moment: Moment) {
        let id = item.command.id;
        let entity = match &item.to {
            Ok(entity) => entity.clone(),
            Err(unreadable) => {
                let refusal = unreadable.refusal.clone();
                return self.tell(item, refusal_reply(id, refusal));
            }
        };
        if entity.kind == COMMAND {
            return self.tell_status(item, CommandId::from_text(entity.key.as_str()));
        }
        match self.view(&entity, &item, moment) {
            Err(refusal) => self.tell(item, refusal_reply(id, refusal)),
            // A parked query stays parked until its condition holds.
            Ok((_, view))
                if !view.is_ready && item.waits_until.is_some_and(|until| until <= moment.steady) =>
            {
                self.dismiss(item);
            }
            Ok((_, view)) if !view.is_ready => {
                if let Err(item) = self.parked.keep(entity, item, moment.steady) {
                    let refusal = Refusal::new(code::BUSY, format!("{PARKED_MAX} queries wait here"));
                    let refusal = Refusal { retry_after_ms: Some(BUSY_RETRY_MS), ..refusal };
                    self.tell(*item, refusal_reply(id, refusal));
                }
            }
            Ok((reply, view)) => {
                for lease in view.renews {
                    self.renewals.renew(&entity, lease, moment.steady);
                    if let Some(worker) = &item.command.caller {
                        self.settings.places.hear_renewal(worker, moment.steady);
                    }
                }
                self.tell(item, reply);
            }
        }
    }

    fn view(
        &mut self,
        entity: &EntityAddress,
        item: &Item,
        Moment { now, .. }: Moment,
    ) -> Result<(Bytes, View), Refusal> {
        let command = &item.command;
        if !self.is_ours(entity) {
            let home = entity.partition(self.settings.partitions);
            let refusal =
                Refusal::new(code::WRONG_PARTITION, format!("`{entity}` lives in partition {home}"));
            return Err(refusal.hint("compute the partition from the key's first token, or ask on `query`"));
        }
        let Some(cached) = self.cache.get(entity) else {
            let message = format!("no entity of kind `{}` exists here", entity.kind);
            return Err(Refusal::new(code::UNKNOWN_KIND, message));
        };
        let request = GateRequest {
            entity,
            source: None,
            caller: command.caller.as_ref(),
            body: &command.body,
            now,
            memory: cached.memory(),
        };
        self.settings.gates.admit(&request)?;
        let instance = cached.instance.as_ref().map_err(|stopped| {
            Refusal::new(code::ENTITY_STOPPED, format!("`{entity}` stopped: {}", stopped.reason))
                .hint("run a version that knows the event, or `orrery verify` when the history is broken")
        })?;
        let context = Context {
            entity,
            partitions: self.settings.partitions,
            revision: instance.revision(),
            now,
            by_timer: false,
            command: command.id,
            correlation: command.correlation,
            caller: command.caller.as_ref(),
            trace: command.trace,
        };
        let view = instance.view(&command.body, &context).map_err(|error| match error {
            TurnError::Refused(refusal) => refusal,
            TurnError::Malformed(reason) => {
                Refusal::new(code::MALFORMED, reason).hint("see the query's JSON schema")
            }
            TurnError::TooLarge(bytes) => {
                Refusal::new(code::TOO_LARGE, format!("the answer has {bytes} bytes"))
            }
            TurnError::Poison(reason) | TurnError::Broken(reason) => {
                Refusal::new(code::POISON, format!("answering the query panicked: {reason}"))
            }
        })?;
        let reply = Reply::Accepted {
            command_id: command.id,
            entity: entity.clone(),
            revision: instance.revision(),
            events: 0,
            result: view.value.clone(),
        };
        Ok((serde_json::to_vec(&reply).expect("a reply has string keys").into(), view))
    }

    /// Sends an answer after the commit of every turn that the query may have seen.
    fn tell(&mut self, item: Item, payload: Bytes) {
        let Some(to) = item.reply_to else { return };
        let told = AddressedReply { to, payload, query: Some(item.command.id) };
        let open = self.group.number;
        let group = match (&self.in_flight, self.group.turns.is_empty()) {
            (_, false) => open,
            (Some(in_flight), true) => in_flight.group,
            (None, true) => self.committed,
        };
        self.tell_behind(group, told);
    }

    /// Asks the parked queries of an entity again after its turn.
    pub(super) fn ask_again(&mut self, entity: &EntityAddress) {
        if self.parked.waits_for(entity) {
            let waiting = self.parked.take(entity);
            self.queue.push_first(waiting);
        }
    }

    /// Tells the queries that were parked for too long to come again.
    pub(super) fn tell_to_come_again(&mut self, steady: u64) {
        for item in self.parked.expired(steady) {
            self.dismiss(item);
        }
    }

    /// Tells all parked queries to come again, because the partition drains.
    pub fn dismiss_parked(&mut self) {
        for item in self.parked.expired(u64::MAX) {
            self.dismiss(item);
        }
    }

    fn dismiss(&mut self, item: Item) {
        let (id, refusal) = come_again(item.command.id);
        self.tell(item, refusal_reply(id, refusal));
    }

    /// The number of parked queries.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// The replies to send now. Answers to queries are sent only while the lease is valid.
    pub fn take_answers(&mut self, steady: u64) -> Vec<AddressedReply> {
        let mut answers = std::mem::take(&mut self.answers);
        if !self.settings.tenure.holds(steady) {
            for told in &mut answers {
                if let Some(id) = told.query {
                    told.payload = not_owner(id);
                }
            }
        }
        answers
    }
}

/// The refusal of a host whose lease is over.
fn not_owner(id: CommandId) -> Bytes {
    let refusal = Refusal::new(code::NOT_OWNER, "this host may no longer own the partition");
    let refusal = Refusal { retry_after_ms: Some(BUSY_RETRY_MS), ..refusal };
    refusal_reply(id, refusal.hint("ask again: another host has it, or this one renews its lease"))
}
