//! Decides the commands of a lane.

use actors_core::{Context, Decision, Key, Refusal, Revision, Timestamp};
use bus_schemas::PartitionId;
use bus_schemas::commands::lane::{Command, LANE_BYTES_MAX, Limits, Running};
use bus_schemas::commands::queue::{Entry, Rules};
use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::commands::{halt, queue};
use bus_schemas::events::lane::Event;
use bus_schemas::settings::{self, Lanes, Retry};
use bus_schemas::text::{NAME_BYTES_MAX, is_name};
use smol_str::SmolStr;

use super::state::{Offer, State, fold};
use super::{bounds, offer, pause, policies, recall};
use crate::order::AGEING_MS_MIN;
use crate::rules;
use crate::schedule::recurrence;
use crate::text::words;

/// The timer for the end of a time limit.
const WAKE: &str = "wake";
/// The timer to check whether a gradual release is over.
const END_EASING: &str = "end-easing";
/// The most weights: a lane's rules are in its state and in each event that changes them.
const WEIGHTS_MAX: usize = 1_000;
/// The most assignments in one decision: the rest follows in the next one.
const ASSIGNED_MAX: u32 = 256;
/// The most windows: each is computed at each assignment.
const WINDOWS_MAX: usize = 16;
/// The longest window, in milliseconds: for more, pause the lane.
const WINDOW_MS_MAX: u64 = 7 * 86_400_000;

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if context.entity.key.as_str().len() > LANE_BYTES_MAX {
        let message = format!("a lane's name has at most {LANE_BYTES_MAX} bytes");
        return Err(Refusal::new("invalid-lane", message));
    }
    let asks = asks_for_rules(state, &command, context);
    let decision = decide_known(state, command, context)?;
    if !asks {
        return Ok(decision);
    }
    let decision = rules::watch::<settings::Limits, Event>(decision, context);
    let decision = rules::watch::<Retry, Event>(decision, context);
    Ok(rules::watch::<Lanes, Event>(decision, context))
}

/// Whether the lane asks for its rules: with its first event, and whenever it may have missed them.
fn asks_for_rules(state: &State, command: &Command, context: &Context<'_>) -> bool {
    let is_new = context.revision == Revision(0);
    state.version().is_none()
        && match command {
            Command::OfferAgent { .. } | Command::Wake | Command::Join { .. } => true,
            Command::Pause { .. } | Command::Hold { .. } => is_new,
            _ => false,
        }
}

fn decide_known(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let at = context.now;
    let events = match command {
        Command::Join { partition } => return Ok(join(state, partition, context)),
        Command::Report { partition, number, waiting, running, more } => {
            let said = Said { partition, number, is_last: !more };
            return Ok(report(state, said, waiting, running, context));
        }
        // From a queue that does not know yet that the lane is open.
        Command::Enqueue(_) | Command::Release { .. } if !state.governs() => None,
        Command::Enqueue(entry) if waits_already(state, &entry.task, entry.attempt) => {
            // A repeat by a task that is swept: assign what can be assigned.
            return Ok(doubt_halts(fill(state, Vec::new(), context), state, &context.entity.key));
        }
        Command::Enqueue(entry) => enqueue(state, entry),
        Command::Release { task, attempt, outcome } => {
            let waits = state.waiting(&task).is_some_and(|entry| entry.attempt == attempt);
            let runs = state.running(&task).is_some_and(|job| job.attempt == attempt);
            (waits || runs).then_some(vec![Event::Released { task, attempt, outcome }])
        }
        Command::OfferAgent { agent, skills, capacity, dependencies } => {
            let (skills, dependencies) = (skills.into_iter().collect(), dependencies.into_iter().collect());
            let offer = Offer { skills, capacity, dependencies, running: 0 };
            return Ok(offer::offer(state, agent, offer, context));
        }
        Command::ApplySettings(config) if policies::are_policies(&config) => {
            policies::apply_settings(state, &config)?.map(|event| vec![event])
        }
        Command::ApplySettings(config) => {
            pause::apply_settings(state, &config, context)?.map(|event| vec![event])
        }
        Command::Pause { reason } => pause::pause(state, reason, context)?.map(|event| vec![event]),
        Command::Resume { reason, per_minute, revision } => {
            let resumed = pause::resume(state, words(reason), per_minute, revision, context)?;
            return Ok(fill(state, vec![resumed], context).reply(&state.pauses().standing));
        }
        Command::SetCap { concurrent } => {
            (state.limits().concurrent != concurrent).then_some(vec![Event::CapSet { concurrent }])
        }
        Command::SetLimits { limits, reason } => {
            check(&limits, context)?;
            let (reason, by) = (words(reason), context.by());
            (*state.limits() != limits).then_some(vec![Event::LimitsSet { limits, reason, by }])
        }
        Command::Hold { cause, scope, reason, interrupt, grace_ms } => {
            let grace = interrupt.then_some(grace_ms);
            let hold = recall::Hold { cause, scope, reason: words(reason), grace };
            let held = recall::hold(state, hold, context);
            return Ok(fill_behind(held, state, context));
        }
        Command::Recall { cause, after } => {
            return Ok(recall::recall(state, &cause, after.as_ref(), context));
        }
        Command::Vacate { agent, after } => {
            return Ok(recall::vacate(Decision::none(), state, &agent, Some(&after), context));
        }
        Command::Ease { cause, per_minute } => {
            // An unknown hold needs no end.
            let is_known = state.throttles().contains_key(&cause);
            is_known.then_some(vec![Event::Eased { cause, per_minute, at }])
        }
        Command::Probe { cause, permits } => probe(state, cause, permits).map(|event| vec![event]),
        Command::Wake => Some(Vec::new()),
    };
    Ok(events.map_or_else(Decision::none, |events| fill(state, events, context)))
}

/// Lets some jobs begin as probes; `None` if the hold has ended.
fn probe(state: &State, cause: SmolStr, permits: u32) -> Option<Event> {
    let throttle =
        state.throttles().get(&cause).filter(|throttle| throttle.holds() && throttle.allows(0) != permits);
    throttle.map(|_| Event::ProbesAllowed { cause, permits })
}

/// The agent that runs this attempt.
fn runs_already(state: &State, task: &Key, attempt: u32) -> Option<Key> {
    state.running(task).filter(|job| job.attempt == attempt).map(|job| job.agent.clone())
}

fn waits_already(state: &State, task: &Key, attempt: u32) -> bool {
    state.waiting(task).is_some_and(|entry| entry.attempt == attempt)
}

/// Asks each halt whose hold the lane keeps whether it is still active: the message of its end may be lost.
fn doubt_halts(decision: Decision<Event>, state: &State, lane: &Key) -> Decision<Event> {
    let holding = state.throttles().iter().filter(|(_, throttle)| throttle.holds());
    let halts = holding.filter_map(|(cause, _)| Key::parse(cause.strip_prefix("halt/")?).ok());
    halts.fold(decision, |decision, halt| decision.send(halt, &halt::Command::Confirm { lane: lane.clone() }))
}

/// A queue joins. It gets the rules once the lane knows its settings.
fn join(state: &State, partition: PartitionId, context: &Context<'_>) -> Decision<Event> {
    let decision = match state.partitions().contains(&partition) {
        true => Decision::none(),
        false => Decision::event(Event::Joined { partition }),
    };
    match state.version() {
        Some(_) => tell(decision, &state.rules(), partition, context),
        None => decision,
    }
}

/// One part of a queue's report.
struct Said {
    partition: PartitionId,
    number: u64,
    is_last: bool,
}

/// Takes a queue's report of waiting and running attempts, after the lane has begun to govern.
fn report(
    state: &State,
    said: Said,
    waiting: Vec<Entry>,
    running: Vec<Running>,
    context: &Context<'_>,
) -> Decision<Event> {
    if !state.governs() || said.number != state.number() {
        return Decision::none();
    }
    let is_new = |job: &Running| runs_already(state, &job.task, job.attempt).is_none();
    let adopted = running.into_iter().filter(is_new).map(Event::Adopted);
    let mut events: Vec<Event> = adopted.collect();
    events.extend(waiting.into_iter().filter_map(|entry| enqueue(state, entry)).flatten());
    if said.is_last && state.unreported().contains(&said.partition) {
        events.push(Event::Reported { partition: said.partition });
    }
    let mut after = state.clone();
    events.iter().for_each(|event| fold(&mut after, event));
    let decision = fill(state, events, context);
    // Attempts that a hold takes back at once could not be taken back before they were known.
    let is_whole = after.unreported().is_empty() && !state.unreported().is_empty();
    if is_whole { recall::due(decision, &after, context) } else { decision }
}

/// Tells a queue the rules.
fn tell(
    decision: Decision<Event>,
    rules: &Rules,
    partition: PartitionId,
    context: &Context<'_>,
) -> Decision<Event> {
    let to = queue::key(&context.entity.key, partition, context.partitions);
    decision.send(to, &queue::Command::Rules(rules.clone()))
}

/// The key of the queue in which a task waits.
pub(super) fn queue_of(task: &Key, context: &Context<'_>) -> Key {
    let partition = PartitionId::of(task.root(), context.partitions);
    queue::key(&context.entity.key, partition, context.partitions)
}

/// Gives an attempt leave to begin.
fn grant(
    decision: Decision<Event>,
    task: Key,
    attempt: u32,
    agent: Key,
    context: &Context<'_>,
) -> Decision<Event> {
    let to = queue_of(&task, context);
    decision.send(to, &queue::Command::Grant { task, attempt, agent })
}

/// An attempt waits. `None` if this attempt or a later one is known: its leave is on its way, or was taken
/// back, and the queue reports that next.
fn enqueue(state: &State, entry: Entry) -> Option<Vec<Event>> {
    let (task, attempt) = (&entry.task, entry.attempt);
    let waits = state.waiting(task).map(|entry| entry.attempt);
    let runs = state.running(task).map(|job| job.attempt);
    if waits.into_iter().chain(runs).any(|known| known >= attempt) {
        return None;
    }
    let stale =
        runs.map(|attempt| Event::Released { task: task.clone(), attempt, outcome: Default::default() });
    Some(stale.into_iter().chain([Event::Enqueued(entry.clone())]).collect())
}

/// The events, followed by as many assignments as the limits allow.
pub(super) fn fill(state: &State, events: Vec<Event>, context: &Context<'_>) -> Decision<Event> {
    let decision = events.into_iter().fold(Decision::none(), Decision::and);
    fill_behind(decision, state, context)
}

/// Like [`fill`], after an existing decision.
fn fill_behind(mut decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    let at = context.now;
    let mut after = state.clone();
    for event in &decision.events {
        fold(&mut after, event);
    }
    decision = end_releases(decision, &mut after, at);
    decision = govern(decision, state, &mut after, context);
    let mut assignments = 0;
    while after.governs()
        && after.unreported().is_empty()
        && let Some((task, agent)) = after.pick()
    {
        if assignments == ASSIGNED_MAX {
            decision = decision.send(context.entity.key.clone(), &Command::Wake);
            break;
        }
        assignments += 1;
        let bounds = bounds::of(&after, at);
        if !bounds.is_empty() {
            // Other limits end with a release; these end with time.
            if let Some(until) = bounds.iter().filter_map(|bound| bound.until).max() {
                decision = decision.set_timer(WAKE, until, &Command::Wake);
            }
            break;
        }
        let Some(attempt) = after.waiting(&task).map(|entry| entry.attempt) else { break };
        let assigned = Event::Assigned { task: task.clone(), attempt, agent: agent.clone(), at };
        fold(&mut after, &assigned);
        decision = grant(decision.and(assigned), task, attempt, agent, context);
        decision = end_releases(decision, &mut after, at);
    }
    match after.looks_at(at) {
        Some(looks_at) => decision.set_timer(END_EASING, looks_at, &Command::Wake),
        None => decision,
    }
}

/// Begins or ends the governing as the limits require, and tells all queues of changed rules.
fn govern(
    mut decision: Decision<Event>,
    before: &State,
    after: &mut State,
    context: &Context<'_>,
) -> Decision<Event> {
    let at = context.now;
    let turns = match (after.governs(), after.must_govern()) {
        (true, false) => Some(Event::GoverningEnded { at }),
        (false, true) => Some(Event::GoverningBegun { at }),
        _ => None,
    };
    if let Some(event) = turns {
        fold(after, &event);
        decision = decision.and(event);
    }
    let is_about_rules = |event: &Event| {
        use Event::{Configured, GoverningBegun, GoverningEnded, LimitsSet, PoliciesSet};
        matches!(
            event,
            Configured { .. }
                | LimitsSet { .. }
                | PoliciesSet { .. }
                | GoverningBegun { .. }
                | GoverningEnded { .. }
        )
    };
    if after.version().is_none() || !decision.events.iter().any(is_about_rules) {
        return decision;
    }
    let rules = after.rules();
    if before.version().is_some() && before.rules() == rules {
        return decision;
    }
    let partitions = after.partitions().iter();
    partitions.fold(decision, |decision, partition| tell(decision, &rules, *partition, context))
}

/// Removes gradual releases that no longer limit anything.
fn end_releases(mut decision: Decision<Event>, after: &mut State, at: Timestamp) -> Decision<Event> {
    for cause in after.over(at) {
        let ended = Event::EasingEnded { cause, at };
        fold(after, &ended);
        decision = decision.and(ended);
    }
    decision
}

/// Refuses invalid rules.
fn check(limits: &Limits, context: &Context<'_>) -> Result<(), Refusal> {
    let refuse =
        |message: String| Err(Refusal::new("invalid-limits", message).hint("see `orrery lanes set --help`"));
    if limits.ageing_ms.is_some_and(|span| span < AGEING_MS_MIN) {
        return refuse(format!("`ageing_ms` must be at least {AGEING_MS_MIN}"));
    }
    if limits.weights.len() > WEIGHTS_MAX {
        return refuse(format!("`weights` names at most {WEIGHTS_MAX} owners"));
    }
    if let Some(owner) = limits.weights.keys().find(|owner| !is_name(owner)) {
        return refuse(format!(
            "{owner:?} names no owner: a name has 1 to {NAME_BYTES_MAX} bytes of visible text"
        ));
    }
    if let Some((owner, _)) = limits.weights.iter().find(|(_, weight)| !(1..=1_000).contains(*weight)) {
        return refuse(format!("the weight of `{owner}` must be 1 to 1000"));
    }
    if limits.windows.len() > WINDOWS_MAX {
        return refuse(format!("`windows` has at most {WINDOWS_MAX} entries"));
    }
    for window in &limits.windows {
        if !(1..=WINDOW_MS_MAX).contains(&window.duration_ms) {
            return refuse(format!("a window lasts 1 to {WINDOW_MS_MAX} milliseconds"));
        }
        let recurrence = Recurrence::Cron { expression: window.cron.clone() };
        if let Err(refusal) = recurrence::check(&recurrence, context.now) {
            return refuse(refusal.message);
        }
    }
    Ok(())
}
