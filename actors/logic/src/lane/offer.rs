//! The offers of agents to a lane: their skills and capacity.

use std::collections::BTreeSet;

use actors_core::{Context, Decision, Key};
use bus_schemas::commands::{breaker, halt};
use bus_schemas::events::lane::Event;
use bus_schemas::halts;

use super::decide::fill;
use super::recall;
use super::state::{Offer, State};

/// An agent's new offer. Attempts with leave for it that it can no longer take wait again.
pub(super) fn offer(state: &State, agent: Key, offer: Offer, context: &Context<'_>) -> Decision<Event> {
    let watches = watches(state, &offer.dependencies, &context.entity.key);
    let known = state.offer(&agent);
    let is_known = match known {
        Some(known) => *known == Offer { running: known.running, ..offer.clone() },
        None => offer.capacity == 0,
    };
    if is_known {
        return Decision::none();
    }
    let can_less = known.is_some_and(|known| offer.capacity == 0 || !known.skills.is_subset(&offer.skills));
    let Offer { skills, capacity, dependencies, .. } = offer;
    let (skills, dependencies) = (skills.into_iter().collect(), dependencies.into_iter().collect());
    let event = Event::AgentOffered { agent: agent.clone(), skills, capacity, dependencies };
    let mut decision = fill(state, vec![event], context);
    if can_less {
        decision = recall::vacate(decision, state, &agent, None, context);
    }
    decision.sends.splice(0..0, watches.sends);
    decision
}

/// Watches the halt of everything, and the breakers of the agents' dependencies.
fn watches(state: &State, dependencies: &BTreeSet<Key>, lane: &Key) -> Decision<Event> {
    let mut decision = Decision::none();
    // An agent whose work the lane adopted is known, and has offered nothing yet.
    if state.offers().all(|(_, offer)| offer.capacity == 0) {
        let all = halts::Scope::All.key().expect("`all` is a key");
        decision = decision.send(all, &halt::Command::Watch { lane: lane.clone() });
    }
    let known: BTreeSet<_> = state.offers().flat_map(|(_, offer)| &offer.dependencies).collect();
    for dependency in dependencies.iter().filter(|dependency| !known.contains(dependency)) {
        decision = decision.send(dependency.clone(), &breaker::Command::Watch { lane: lane.clone() });
    }
    decision
}
