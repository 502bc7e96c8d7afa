//! Given, when, then: tests of an entity without a runtime.
//!
//! ```text
//! given::<Task>(&address, [submitted()]).when(cancel()).then([canceled()]);
//! ```

use actors_core::{Context, Decision, Entity, Opening, View};
use bus_schemas::topology::PARTITIONS_DEFAULT;
use bus_schemas::{CommandId, EntityAddress, Refusal, Revision, Timestamp};
use smol_str::SmolStr;

/// An entity with past events.
pub(crate) struct Given<T: Entity> {
    entity: EntityAddress,
    state: T::State,
    revision: Revision,
    now: Timestamp,
    by_timer: bool,
    caller: Option<SmolStr>,
}

/// The outcome of a command.
pub(crate) struct Outcome<T: Entity> {
    /// The entity, with the new events folded in.
    pub(crate) given: Given<T>,
    /// The decision, or the refusal.
    pub(crate) result: Result<Decision<T::Event>, Refusal>,
}

/// An entity with these events.
pub(crate) fn given<T: Entity>(
    entity: &EntityAddress,
    events: impl IntoIterator<Item = T::Event>,
) -> Given<T> {
    let mut given = Given {
        entity: entity.clone(),
        state: T::State::default(),
        revision: Revision(0),
        now: Timestamp(1_000_000),
        by_timer: false,
        caller: None,
    };
    for event in events {
        T::fold(&mut given.state, &event);
        given.revision = given.revision.next();
    }
    given
}

impl<T: Entity> Given<T> {
    /// Sets the time to `now`.
    #[must_use]
    pub(crate) fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }
    /// The following commands are timers of the entity itself.
    #[must_use]
    pub(crate) fn by_timer(mut self) -> Self {
        self.by_timer = true;
        self
    }
    /// Sets the sender of the following commands: a worker, a person.
    #[must_use]
    pub(crate) fn called_by(mut self, caller: &str) -> Self {
        self.caller = Some(caller.into());
        self
    }
    /// The state.
    pub(crate) fn state(&self) -> &T::State {
        &self.state
    }
    /// Asks a query.
    pub(crate) fn ask(&self, query: T::Query) -> Result<View, Refusal> {
        T::view(&self.state, query, &self.context())
    }
    /// The open work for workers that claim.
    pub(crate) fn openings(&self) -> Vec<Opening> {
        T::openings(&self.state, &self.entity)
    }
    fn context(&self) -> Context<'_> {
        let id = CommandId::from_text("a scenario").derive("step", self.revision.0 as u32);
        Context {
            entity: &self.entity,
            partitions: PARTITIONS_DEFAULT,
            revision: self.revision,
            now: self.now,
            by_timer: self.by_timer,
            command: id,
            correlation: id,
            caller: self.caller.as_ref(),
            trace: None,
        }
    }
    /// Decides a command and folds its events.
    pub(crate) fn when(mut self, command: T::Command) -> Outcome<T> {
        let result = T::decide(&self.state, command, &self.context());
        for event in result.iter().flat_map(|decision| &decision.events) {
            T::fold(&mut self.state, event);
            self.revision = self.revision.next();
        }
        Outcome { given: self, result }
    }
}

impl<T: Entity> Outcome<T>
where
    T::Event: PartialEq + std::fmt::Debug,
{
    /// Asserts the events, and returns the entity.
    pub(crate) fn then(self, events: impl IntoIterator<Item = T::Event>) -> Given<T> {
        let decision = self.result.expect("the command was refused");
        assert_eq!(decision.events, events.into_iter().collect::<Vec<_>>());
        self.given
    }
    /// Asserts a refusal with this code, and returns the entity.
    pub(crate) fn then_refused(self, code: &str) -> Given<T> {
        match self.result {
            Err(refusal) => assert_eq!(refusal.code, code, "{}", refusal.message),
            Ok(decision) => panic!("expected the refusal `{code}`, got {:?}", decision.events),
        }
        self.given
    }
    /// The decision.
    pub(crate) fn decision(&self) -> &Decision<T::Event> {
        self.result.as_ref().expect("the command was refused")
    }
}
