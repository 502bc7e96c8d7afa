//! What a decision holds: the closed set of things that a turn can cause.

use bus_schemas::record::{LeaseChange, Stop};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, EntityAddress, Key, Timestamp, jobs};
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;

use crate::entity::Origin;

/// Everything that a command leads to. All of it is committed at once, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<E> {
    /// What happened, in order.
    pub events: Vec<E>,
    /// Commands for other entities; delivered once, in order per pair of partitions.
    pub sends: Vec<Send>,
    /// Timers of this entity.
    pub timers: Vec<Timer>,
    /// Changes of what workers hold and must renew.
    pub leases: Vec<LeaseChange>,
    /// Work for agents, with the claims that it answers.
    pub jobs: Vec<(CommandId, jobs::Job)>,
    /// Attempts that their workers need not go on with.
    pub stops: Vec<Stop>,
    /// What the caller is told beside the revision.
    pub reply: Value,
}

/// A command for another entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    /// The receiver.
    pub to: EntityAddress,
    /// The command.
    pub body: Body,
    /// The request that it belongs to; none for that of the command that is decided.
    pub origin: Option<Origin>,
    /// Whether it must be known what came of it. A dead letter is told by `settle-redrive`; what any
    /// other sender must not lose becomes a dead letter when it is refused.
    pub settles: bool,
}

impl Send {
    /// A command that belongs to the request that is decided, and of which nothing more is heard.
    pub fn new(to: EntityAddress, body: Body) -> Self {
        Self { to, body, origin: None, settles: false }
    }
}

/// A change of a timer. Timers belong to an entity and have names; they come back as commands.
#[derive(Debug, Clone, PartialEq)]
pub enum Timer {
    /// Delivers `body` to this entity at `at`; replaces a timer of the same name.
    Set { name: SmolStr, at: Timestamp, body: Body },
    /// Forgets the timer; none of that name is no error.
    Cancel { name: SmolStr },
}

impl<E> Default for Decision<E> {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            sends: Vec::new(),
            timers: Vec::new(),
            leases: Vec::new(),
            jobs: Vec::new(),
            stops: Vec::new(),
            reply: Value::Null,
        }
    }
}

impl<E> Decision<E> {
    /// Nothing happens, and the command is accepted.
    pub fn none() -> Self {
        Self::default()
    }
    /// One event.
    pub fn event(event: E) -> Self {
        Self { events: vec![event], ..Self::default() }
    }
    /// Adds an event.
    #[must_use]
    pub fn and(mut self, event: E) -> Self {
        self.events.push(event);
        self
    }
    /// Adds a command for another entity.
    #[must_use]
    pub fn send<C: WireCommand>(mut self, key: Key, command: &C) -> Self {
        self.sends.push(Send::new(EntityAddress::new(C::KIND, key), Body::json(command)));
        self
    }
    /// Adds a command for another entity that becomes a dead letter when it is refused: nobody else
    /// would hear of it.
    #[must_use]
    pub fn send_settled<C: WireCommand>(mut self, key: Key, command: &C) -> Self {
        let send = Send::new(EntityAddress::new(C::KIND, key), Body::json(command));
        self.sends.push(Send { settles: true, ..send });
        self
    }
    /// Sets a timer that sends `command` to this entity.
    #[must_use]
    pub fn set_timer<C: WireCommand>(mut self, name: &str, at: Timestamp, command: &C) -> Self {
        self.timers.push(Timer::Set { name: SmolStr::new(name), at, body: Body::json(command) });
        self
    }
    /// Cancels a timer.
    #[must_use]
    pub fn cancel_timer(mut self, name: &str) -> Self {
        self.timers.push(Timer::Cancel { name: SmolStr::new(name) });
        self
    }
    /// Adds work for an agent, in answer to a claim.
    #[must_use]
    pub fn job(mut self, claim: CommandId, job: jobs::Job) -> Self {
        self.jobs.push((claim, job));
        self
    }
    /// Begins a lease: without a renewal within `first_ms` this entity is sent `unrenewed`, and without one
    /// for `ms` later on `silent`.
    #[must_use]
    pub fn begin_lease<C: WireCommand>(
        mut self,
        name: &str,
        (first_ms, unrenewed): (u64, &C),
        (ms, silent): (u64, &C),
    ) -> Self {
        let (unrenewed, silent) = (Body::json(unrenewed), Body::json(silent));
        self.leases.push(LeaseChange::Begin { name: SmolStr::new(name), first_ms, ms, unrenewed, silent });
        self
    }
    /// Ends a lease.
    #[must_use]
    pub fn end_lease(mut self, name: &str) -> Self {
        self.leases.push(LeaseChange::End { name: SmolStr::new(name) });
        self
    }
    /// Tells a worker that it need not go on.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stops.push(stop);
        self
    }
    /// Sets what the caller is told.
    #[must_use]
    pub fn reply<T: Serialize>(mut self, value: &T) -> Self {
        self.reply = serde_json::to_value(value).expect("replies have string keys");
        self
    }
}
