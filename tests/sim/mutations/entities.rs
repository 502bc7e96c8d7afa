//! Entities of the product with one thing wrong with each: they forget what they were to do, or do not
//! remember what has happened.

use std::marker::PhantomData;
use std::sync::Arc;

use actors_core::decision::Timer;
use actors_core::{Context, Decision, Entity, Opening, Refusal, Registry, Taking, View};
use actors_logic::breaker::Breaker;
use actors_logic::dead_letter::DeadLetter;
use actors_logic::halt::Halt;
use actors_logic::lane::Lane;
use actors_logic::queue::Queue;
use actors_logic::redrive::Redrive;
use actors_logic::task::Task;
use bus_schemas::commands::{lane, queue, task};
use bus_schemas::events;
use bus_schemas::{Body, EntityAddress, Hash, PartitionId};
use smol_str::SmolStr;

/// What is wrong with an entity.
pub trait Fault: Send + Sync + 'static {
    /// The entity.
    type Of: Entity;

    /// What becomes of a command before it is decided.
    fn told(_: &mut <Self::Of as Entity>::Command) {}
    /// What becomes of a decision.
    fn decided(_: &mut Decision<<Self::Of as Entity>::Event>) {}
    /// Whether an event changes what is remembered.
    fn is_folded(_: &<Self::Of as Entity>::Event) -> bool {
        true
    }
    /// What is remembered in its place.
    fn folded(_: &<Self::Of as Entity>::Event) -> Option<Vec<<Self::Of as Entity>::Event>> {
        None
    }
    /// What becomes of the command with which a claim takes work.
    fn taken(_: &mut <Self::Of as Entity>::Command) {}
}

/// An entity with a fault.
struct Faulty<F>(PhantomData<F>);

impl<F: Fault> Entity for Faulty<F> {
    type State = <F::Of as Entity>::State;
    type Command = <F::Of as Entity>::Command;
    type Event = <F::Of as Entity>::Event;
    type Query = <F::Of as Entity>::Query;
    const KEEPS_ORIGIN: bool = <F::Of as Entity>::KEEPS_ORIGIN;

    fn view(state: &Self::State, query: Self::Query, context: &Context<'_>) -> Result<View, Refusal> {
        F::Of::view(state, query, context)
    }
    fn openings(state: &Self::State, entity: &EntityAddress) -> Vec<Opening> {
        F::Of::openings(state, entity)
    }
    fn take(taking: &Taking<'_>) -> Option<Self::Command> {
        let mut command = F::Of::take(taking)?;
        F::taken(&mut command);
        Some(command)
    }
    fn decide(
        state: &Self::State,
        mut command: Self::Command,
        context: &Context<'_>,
    ) -> Result<Decision<Self::Event>, Refusal> {
        F::told(&mut command);
        let mut decision = F::Of::decide(state, command, context)?;
        F::decided(&mut decision);
        Ok(decision)
    }
    fn fold(state: &mut Self::State, event: &Self::Event) {
        match F::folded(event) {
            Some(others) => others.iter().for_each(|other| F::Of::fold(state, other)),
            None if F::is_folded(event) => F::Of::fold(state, event),
            None => {}
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
        decision.leases.clear();
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

/// A task that does not tell its queue that it waits.
pub struct SilentTask;
impl Fault for SilentTask {
    type Of = Task;
    fn decided(decision: &mut Decision<events::task::Event>) {
        forgets_sends(decision, "enqueue");
    }
}

/// A task that believes whoever reports.
pub struct CredulousTask;
impl Fault for CredulousTask {
    type Of = Task;
    fn told(command: &mut task::Command) {
        if let task::Command::CompleteJob { token, .. } = command {
            *token = SmolStr::default();
        }
    }
    fn folded(event: &events::task::Event) -> Option<Vec<events::task::Event>> {
        let mut event = event.clone();
        let events::task::Event::JobIssued { token, .. } = &mut event else { return None };
        *token = Hash::of_token("");
        Some(vec![event])
    }
}

/// A task that takes an issue that nobody began for one that its lane took back.
pub struct PatientTask;
impl Fault for PatientTask {
    type Of = Task;
    fn folded(event: &events::task::Event) -> Option<Vec<events::task::Event>> {
        let mut event = event.clone();
        let events::task::Event::AttemptWithdrawn { by, .. } = &mut event else { return None };
        *by = events::task::WithdrawnBy::Holder;
        Some(vec![event])
    }
}

/// A task that forgets which steps were done.
pub struct ForgetfulTask;
impl Fault for ForgetfulTask {
    type Of = Task;
    fn is_folded(event: &events::task::Event) -> bool {
        !matches!(event, events::task::Event::StepRecorded { .. })
    }
}

/// A queue that fills more places than a claim has.
pub struct GenerousQueue;
impl Fault for GenerousQueue {
    type Of = Queue;
    fn taken(command: &mut queue::Command) {
        if let queue::Command::Take(take) = command {
            take.places += 1;
        }
    }
}

/// A queue that does not tell its lane what runs.
pub struct SilentQueue;
impl Fault for SilentQueue {
    type Of = Queue;
    fn decided(decision: &mut Decision<events::queue::Event>) {
        for send in &mut decision.sends {
            if let Ok(lane::Command::Report { partition, number, waiting, more, .. }) = send.body.read() {
                let running = Vec::new();
                send.body = Body::json(&lane::Command::Report { partition, number, waiting, running, more });
            }
        }
    }
}

/// A lane that gives leave before it knows what runs.
pub struct HastyLane;
impl Fault for HastyLane {
    type Of = Lane;
    fn folded(event: &events::lane::Event) -> Option<Vec<events::lane::Event>> {
        let events::lane::Event::Enqueued(_) = event else { return None };
        let all = (0..8).map(|partition| events::lane::Event::Reported { partition: PartitionId(partition) });
        Some(all.chain([event.clone()]).collect())
    }
}

/// A lane that forgets whom it gave jobs.
pub struct ForgetfulLane;
impl Fault for ForgetfulLane {
    type Of = Lane;
    fn is_folded(event: &events::lane::Event) -> bool {
        !matches!(event, events::lane::Event::Assigned { .. })
    }
}

/// A lane that holds nothing back.
pub struct OpenLane;
impl Fault for OpenLane {
    type Of = Lane;
    fn is_folded(event: &events::lane::Event) -> bool {
        !matches!(event, events::lane::Event::Held { .. })
    }
}

/// A halt that ends, and tells no lane.
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

/// A dead letter that does not tell its redrive what came of it.
pub struct SilentLetter;
impl Fault for SilentLetter {
    type Of = DeadLetter;
    fn decided(decision: &mut Decision<events::dead_letter::Event>) {
        forgets_sends(decision, "settle-entry");
    }
}

/// A redrive that forgets what it sent.
pub struct ForgetfulRedrive;
impl Fault for ForgetfulRedrive {
    type Of = Redrive;
    fn is_folded(event: &events::redrive::Event) -> bool {
        !matches!(event, events::redrive::Event::EntriesSent { .. })
    }
}
