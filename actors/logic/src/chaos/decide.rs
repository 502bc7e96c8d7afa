//! Decides the commands of an experiment.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::chaos::{DELAY_MS_MAX, EVERY_MS_MIN, FILL_PER_SECOND_MAX, FOR_MS_MAX, TRIP_REASON};
use bus_schemas::commands::breaker;
use bus_schemas::commands::chaos::{Command, Description, EndCause, Ended, Experiment};
use bus_schemas::events::chaos::Event;
use bus_schemas::text::is_prose;

use super::state::{State, fold};

/// The timer that ends the experiment.
const END: &str = "end";
/// The longest reason in bytes: a sentence or two.
const TEXT_BYTES_MAX: usize = 512;

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    match command {
        Command::Start { experiment, for_ms, reason } => {
            if reason.trim().is_empty() {
                return Err(Refusal::new("reason-missing", "an experiment needs a reason")
                    .hint("state the reason: a person who sees the experiment's effects will ask for it"));
            }
            check_words(&reason)?;
            check_range("an experiment's time in milliseconds", for_ms, 1, FOR_MS_MAX)?;
            check(&experiment)?;
            start(
                state,
                Event::Started {
                    experiment,
                    reason,
                    by: context.by(),
                    at: context.now,
                    until: context.now.plus_ms(for_ms),
                },
                context,
            )
        }
        Command::Stop { reason } => {
            check_words(&reason)?;
            let begun = begun(state, context)?;
            if begun.ended.is_some() {
                return Err(Refusal::new("experiment-over", format!("`{}` is over", context.entity.key))
                    .hint("`orrery chaos list` shows those that go on"));
            }
            let ended = Ended { cause: EndCause::Stopped, reason, by: context.by(), at: context.now };
            Ok(end(state, begun, ended, context).cancel_timer(END))
        }
        Command::Fill => Ok(Decision::none()),
        Command::End => Ok(match state.begun.as_ref().filter(|begun| begun.ended.is_none()) {
            None => Decision::none(),
            Some(begun) => {
                let (reason, by) = (String::new(), String::new());
                end(state, begun, Ended { cause: EndCause::TimeOver, reason, by, at: context.now }, context)
            }
        }),
    }
}

pub(super) fn begun<'a>(state: &'a State, context: &Context<'_>) -> Result<&'a Description, Refusal> {
    state.begun.as_ref().ok_or_else(|| {
        Refusal::new("experiment-not-found", format!("there is no experiment `{}`", context.entity.key))
            .hint("`orrery chaos list` shows those that go on")
    })
}

/// The reason for the breaker's trip, which names this experiment.
fn tripped(context: &Context<'_>) -> String {
    format!("{TRIP_REASON}{}", context.entity.key)
}

fn folded(state: &State, event: &Event) -> Option<Description> {
    let mut after = state.clone();
    fold(&mut after, event);
    after.begun
}

fn start(state: &State, started: Event, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    if state.begun.is_some() {
        let message = format!("there is an experiment `{}` already", context.entity.key);
        return Err(Refusal::new("experiment-exists", message).hint("give it another name"));
    }
    let Some(begun) = folded(state, &started) else { return Ok(Decision::none()) };
    let decision = Decision::event(started).set_timer(END, begun.until, &Command::End).reply(&begun);
    Ok(match begun.experiment {
        Experiment::TripBreaker { dependency } => {
            decision.send(dependency, &breaker::Command::Trip { reason: tripped(context) })
        }
        _ => decision,
    })
}

fn end(state: &State, begun: &Description, ended: Ended, context: &Context<'_>) -> Decision<Event> {
    let reason = match ended.cause {
        EndCause::TimeOver => "the experiment's time was over".to_owned(),
        EndCause::Stopped => "the experiment was stopped".to_owned(),
    };
    let ended = Event::Ended(ended);
    let after = folded(state, &ended);
    let decision = Decision::event(ended).reply(&after);
    match &begun.experiment {
        Experiment::TripBreaker { dependency } => {
            let tripped = tripped(context);
            decision.send(dependency.clone(), &breaker::Command::Untrip { tripped, reason })
        }
        _ => decision,
    }
}

fn check(experiment: &Experiment) -> Result<(), Refusal> {
    match experiment {
        Experiment::KillWorker { every_ms: Some(every), .. } => {
            check_range("the time between two kills in milliseconds", *every, EVERY_MS_MIN, FOR_MS_MAX)
        }
        Experiment::DropAcks { percent, .. } => {
            check_range("the share of dropped answers in percent", u64::from(*percent), 1, 100)
        }
        Experiment::Delay { by_ms, .. } => check_range("a delay in milliseconds", *by_ms, 1, DELAY_MS_MAX),
        Experiment::FillInbox { per_second: Some(rate), .. } => {
            check_range("commands a second", u64::from(*rate), 1, u64::from(FILL_PER_SECOND_MAX))
        }
        Experiment::KillWorker { every_ms: None, .. }
        | Experiment::TripBreaker { .. }
        | Experiment::FillInbox { per_second: None, .. }
        | Experiment::PauseHost { .. } => Ok(()),
    }
}

fn check_range(what: &str, value: u64, min: u64, max: u64) -> Result<(), Refusal> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let message = format!("{what} is {min} to {max}, not {value}");
    Err(Refusal::new("invalid-experiment", message).hint("`orrery chaos --help` says what each takes"))
}

fn check_words(reason: &str) -> Result<(), Refusal> {
    if reason.len() <= TEXT_BYTES_MAX && is_prose(reason) {
        return Ok(());
    }
    let message = format!("a reason has at most {TEXT_BYTES_MAX} bytes of visible text");
    Err(Refusal::new("invalid-reason", message).hint("say it in a sentence"))
}
