//! A decision: the closed set of effects that a turn can have.

use bus_schemas::record::{LeaseChange, Stop};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, EntityAddress, Key, Timestamp, jobs};
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;

use crate::entity::Origin;

/// The effects of a command. All of them are committed at once, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<E> {
    /// The events, in order.
    pub events: Vec<E>,
    /// Commands for other entities, each delivered once, in order per pair of partitions.
    pub sends: Vec<Send>,
    /// Changes of this entity's timers.
    pub timers: Vec<Timer>,
    /// Changes of this entity's leases, which workers must renew.
    pub leases: Vec<LeaseChange>,
    /// Jobs for agents, each with the claim that it answers.
    pub jobs: Vec<(CommandId, jobs::Job)>,
    /// Attempts that workers may stop.
    pub stops: Vec<Stop>,
    /// The result for the caller, returned with the revision.
    pub reply: Value,
}

/// A command for another entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    /// The receiver.
    pub to: EntityAddress,
    /// The command.
    pub body: Body,
    /// The request that it belongs to; `None` for the request of the decided command.
    pub origin: Option<Origin>,
    /// Whether the sender must learn the outcome. A dead letter is told with `settle-redrive`; for other
    /// senders a refused command becomes a dead letter.
    pub settles: bool,
}

impl Send {
    /// A command that belongs to the decided request, and whose outcome is not reported.
    pub fn new(to: EntityAddress, body: Body) -> Self {
        Self { to, body, origin: None, settles: false }
    }
}

/// A change of a timer. A timer belongs to an entity, has a name, and comes back as a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Timer {
    /// Delivers `body` to this entity at `at`; replaces a timer of the same name.
    Set { name: SmolStr, at: Timestamp, body: Body },
    /// Cancels the timer; a missing timer is no error.
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
    /// Accepts the command without an effect.
    pub fn none() -> Self {
        Self::default()
    }
    /// A decision with one event.
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
    /// Adds a command for another entity that becomes a dead letter if it is refused, because no sender would
    /// learn of the refusal.
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
    /// Adds a job in answer to a claim.
    #[must_use]
    pub fn job(mut self, claim: CommandId, job: jobs::Job) -> Self {
        self.jobs.push((claim, job));
        self
    }
    /// Begins a lease. Without a renewal within `first_ms` this entity is sent `unrenewed`; if renewals stop
    /// for `ms` later on, it is sent `silent`.
    #[must_use]
    pub fn begin_lease<C: WireCommand>(
        mut self,
        name: &str,
        first_ms: u64,
        unrenewed: &C,
        ms: u64,
        silent: &C,
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
    /// Tells a worker that it may stop an attempt.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stops.push(stop);
        self
    }
    /// Sets the result for the caller.
    #[must_use]
    pub fn reply<T: Serialize>(mut self, value: &T) -> Self {
        self.reply = serde_json::to_value(value).expect("replies have string keys");
        self
    }
}
