//! Given, when, then: tests of an entity without a runtime.
//!
//! ```text
//! given::<Task>(&address, [submitted()]).when(cancel()).then([canceled()]);
//! ```

use bus_schemas::topology::PARTITIONS_DEFAULT;
use bus_schemas::{CommandId, EntityAddress, Refusal, Revision, Timestamp};
use smol_str::SmolStr;

use crate::decision::Decision;
use crate::entity::{Context, Entity, Opening, View};

/// An entity with a past.
pub struct Given<T: Entity> {
    entity: EntityAddress,
    state: T::State,
    revision: Revision,
    now: Timestamp,
    caller: Option<SmolStr>,
}

/// What came of a command.
pub struct Outcome<T: Entity> {
    /// The entity, with what happened folded in.
    pub given: Given<T>,
    /// The decision, or the refusal.
    pub result: Result<Decision<T::Event>, Refusal>,
}

/// An entity to which these events have happened.
pub fn given<T: Entity>(entity: &EntityAddress, events: impl IntoIterator<Item = T::Event>) -> Given<T> {
    let mut given = Given {
        entity: entity.clone(),
        state: T::State::default(),
        revision: Revision(0),
        now: Timestamp(1_000_000),
        caller: None,
    };
    for event in events {
        T::fold(&mut given.state, &event);
        given.revision = given.revision.next();
    }
    given
}

impl<T: Entity> Given<T> {
    /// Lets time pass to `now`.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }
    /// What comes from now on is from somebody with a name: a worker, a person.
    #[must_use]
    pub fn told_by(mut self, caller: &str) -> Self {
        self.caller = Some(caller.into());
        self
    }
    /// The state.
    pub fn state(&self) -> &T::State {
        &self.state
    }
    /// Asks a query.
    pub fn ask(&self, query: T::Query) -> Result<View, Refusal> {
        T::view(&self.state, query, &self.context())
    }
    /// The work that it has for workers who claim.
    pub fn openings(&self) -> Vec<Opening> {
        T::openings(&self.state, &self.entity)
    }
    fn context(&self) -> Context<'_> {
        let id = CommandId::from_text("a scenario").derive("step", self.revision.0 as u32);
        Context {
            entity: &self.entity,
            partitions: PARTITIONS_DEFAULT,
            revision: self.revision,
            now: self.now,
            command: id,
            correlation: id,
            caller: self.caller.as_ref(),
            trace: None,
        }
    }
    /// Decides a command and folds what happened.
    pub fn when(mut self, command: T::Command) -> Outcome<T> {
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
    /// Asserts what happened, and goes on.
    pub fn then(self, events: impl IntoIterator<Item = T::Event>) -> Given<T> {
        let decision = self.result.expect("the command was refused");
        assert_eq!(decision.events, events.into_iter().collect::<Vec<_>>());
        self.given
    }
    /// Asserts that it was refused with this code, and goes on.
    pub fn then_refused(self, code: &str) -> Given<T> {
        match self.result {
            Err(refusal) => assert_eq!(refusal.code, code, "{}", refusal.message),
            Ok(decision) => panic!("expected the refusal `{code}`, got {:?}", decision.events),
        }
        self.given
    }
    /// The decision.
    pub fn decision(&self) -> &Decision<T::Event> {
        self.result.as_ref().expect("the command was refused")
    }
}
