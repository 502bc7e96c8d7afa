//! Entities of the product with one thing wrong with each: they forget what they were to do, or do not
//! remember what has happened.

use std::marker::PhantomData;
use std::sync::Arc;

use actors_core::decision::Timer;
use actors_core::{Context, Decision, Entity, Refusal, Registry};
use actors_logic::breaker::Breaker;
use actors_logic::broker::Broker;
use actors_logic::campaign::Campaign;
use actors_logic::deadletter::DeadLetter;
use actors_logic::halt::Halt;
use actors_logic::task::Task;
use bus_schemas::events;
use bus_schemas::halts::Halts;
use bus_schemas::{EntityAddress, Timestamp};

/// What is wrong with an entity.
pub trait Fault: Send + Sync + 'static {
    /// The entity.
    type Of: Entity;

    /// What becomes of a decision.
    fn decided(_: &mut Decision<<Self::Of as Entity>::Event>) {}
    /// Whether an event changes what is remembered.
    fn is_folded(_: &<Self::Of as Entity>::Event) -> bool {
        true
    }
}

/// An entity with a fault.
struct Faulty<F>(PhantomData<F>);

impl<F: Fault> Entity for Faulty<F> {
    type State = <F::Of as Entity>::State;
    type Command = <F::Of as Entity>::Command;
    type Event = <F::Of as Entity>::Event;
    const KEEPS_ORIGIN: bool = <F::Of as Entity>::KEEPS_ORIGIN;
    const RESTS_UNDER_HALT: bool = <F::Of as Entity>::RESTS_UNDER_HALT;

    fn admit(
        state: &Self::State,
        command: &Self::Command,
        halts: &Halts,
        context: (&EntityAddress, Timestamp),
    ) -> Result<(), Refusal> {
        F::Of::admit(state, command, halts, context)
    }
    fn decide(
        state: &Self::State,
        command: Self::Command,
        context: &Context<'_>,
    ) -> Result<Decision<Self::Event>, Refusal> {
        let mut decision = F::Of::decide(state, command, context)?;
        F::decided(&mut decision);
        Ok(decision)
    }
    fn fold(state: &mut Self::State, event: &Self::Event) {
        if F::is_folded(event) {
            F::Of::fold(state, event);
        }
    }
}

/// The registry of the product with one faulty kind.
pub fn with<F: Fault>() -> Arc<Registry> {
    crate::registry();
    Arc::new(actors_logic::registry().with::<Faulty<F>>())
}

fn forgets_timer<E>(decision: &mut Decision<E>, forgotten: &str) {
    decision.timers.retain(|timer| !matches!(timer, Timer::Set { name, .. } if name == forgotten));
}

fn forgets_sends<E>(decision: &mut Decision<E>, command: &str) {
    let begin = format!("{{\"type\":\"{command}\"");
    decision.sends.retain(|send| !send.body.bytes.starts_with(begin.as_bytes()));
}

/// A task that gives its worker no lease.
pub struct NoLease;
impl Fault for NoLease {
    type Of = Task;
    fn decided(decision: &mut Decision<events::task::Event>) {
        forgets_timer(decision, "lease");
    }
}

/// A task that never ends a pause.
pub struct EndlessPause;
impl Fault for EndlessPause {
    type Of = Task;
    fn decided(decision: &mut Decision<events::task::Event>) {
        forgets_timer(decision, "backoff");
    }
}

/// A retried tree that forgets that its time is bounded.
pub struct TimelessRetry;
impl Fault for TimelessRetry {
    type Of = Task;
    fn decided(decision: &mut Decision<events::task::Event>) {
        if decision.events.iter().any(|event| matches!(event, events::task::Event::Retried { .. })) {
            forgets_timer(decision, "wall-clock");
        }
    }
}

/// A step that does not tell the task above it how it ended.
pub struct SilentStep;
impl Fault for SilentStep {
    type Of = Task;
    fn decided(decision: &mut Decision<events::task::Event>) {
        forgets_sends(decision, "settle-child");
    }
}

/// A task that forgets what calls may use.
pub struct LavishTask;
impl Fault for LavishTask {
    type Of = Task;
    fn is_folded(event: &events::task::Event) -> bool {
        !matches!(event, events::task::Event::Reserved { .. })
    }
}

/// A lane that gives an attempt away and tells nobody.
pub struct SilentLane;
impl Fault for SilentLane {
    type Of = Broker;
    fn decided(decision: &mut Decision<events::broker::Event>) {
        forgets_sends(decision, "assign");
    }
}

/// A lane that forgets whom it gave jobs.
pub struct ForgetfulLane;
impl Fault for ForgetfulLane {
    type Of = Broker;
    fn is_folded(event: &events::broker::Event) -> bool {
        !matches!(event, events::broker::Event::Assigned { .. })
    }
}

/// A lane that holds nothing back.
pub struct OpenLane;
impl Fault for OpenLane {
    type Of = Broker;
    fn is_folded(event: &events::broker::Event) -> bool {
        !matches!(event, events::broker::Event::Held { .. })
    }
}

/// A halt that is lifted, and tells no lane.
pub struct SilentHalt;
impl Fault for SilentHalt {
    type Of = Halt;
    fn decided(decision: &mut Decision<events::halt::Event>) {
        forgets_sends(decision, "ease");
    }
}

/// A breaker that forgets to whom it gave leave.
pub struct GenerousBreaker;
impl Fault for GenerousBreaker {
    type Of = Breaker;
    fn is_folded(event: &events::breaker::Event) -> bool {
        !matches!(event, events::breaker::Event::ProbeGranted { .. })
    }
}

/// A dead letter that does not tell its campaign what came of it.
pub struct SilentLetter;
impl Fault for SilentLetter {
    type Of = DeadLetter;
    fn decided(decision: &mut Decision<events::deadletter::Event>) {
        forgets_sends(decision, "settle-entry");
    }
}

/// A campaign that forgets what it sent.
pub struct ForgetfulCampaign;
impl Fault for ForgetfulCampaign {
    type Of = Campaign;
    fn is_folded(event: &events::campaign::Event) -> bool {
        !matches!(event, events::campaign::Event::EntriesSent { .. })
    }
}
