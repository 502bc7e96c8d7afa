//! Decides the commands of a healer.

use std::collections::BTreeMap;

use actors_core::{Context, Decision, EntityAddress, Refusal, Timestamp};
use bus_schemas::commands::healer::{Act, Command, QUARANTINE};
use bus_schemas::events::healer::Event;
use bus_schemas::text::{one_line, prose};
use bus_schemas::wire::WireCommand;
use smol_str::SmolStr;

use super::state::State;

/// The longest text in bytes: a paragraph.
const TEXT_BYTES_MAX: usize = 4_096;
/// The most items of evidence.
const EVIDENCE_MAX: usize = 32;
/// The most quarantined entities: every host keeps them in memory, and so many are no accident of single
/// entities.
const QUARANTINED_MAX: usize = 1_000;

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let at = context.now;
    match command {
        Command::Note(act) => {
            let Act { subject, reason, evidence, at, .. } = &act;
            check_words(&[subject, reason], evidence)?;
            if *at > Timestamp::MAX {
                let message = format!("the time is later than {}", Timestamp::MAX.to_rfc3339());
                return Err(Refusal::new("invalid-note", message).hint("say when it was, in milliseconds"));
            }
            // Hosts pass on texts of others; a refusal would lose them, so they are cut.
            let Act { action, at, subject, reason, evidence } = act;
            let (subject, reason, evidence) = (one_line(&subject), prose(&reason), shown(evidence));
            Ok(Decision::event(Event::Acted(Act { action, at, subject, reason, evidence })))
        }
        Command::Quarantine { entity, reason, evidence } => {
            check_place(context)?;
            check_words(&[&reason], &evidence)?;
            check_entity(&entity)?;
            if is_quarantined(state, &entity) {
                return Ok(Decision::none());
            }
            if state.quarantined.len() >= QUARANTINED_MAX {
                let message = format!("{QUARANTINED_MAX} entities are quarantined");
                return Err(Refusal::new("too-many-quarantined", message)
                    .hint("so many are no accident: look for what they have in common"));
            }
            let (reason, by, evidence) = (prose(&reason), context.by(), shown(evidence));
            Ok(Decision::event(Event::Quarantined { entity, reason, by, evidence, at }))
        }
        Command::Release { entity, reason } => {
            check_place(context)?;
            check_words(&[&reason], &BTreeMap::new())?;
            if !is_quarantined(state, &entity) {
                let message = format!("`{entity}` is not quarantined");
                return Err(Refusal::new("not-quarantined", message)
                    .hint("`orrery heal log` shows what was quarantined and released"));
            }
            let (reason, by) = (prose(&reason), context.by());
            Ok(Decision::event(Event::Released { entity, reason, by, at }))
        }
    }
}

fn shown(evidence: BTreeMap<SmolStr, String>) -> BTreeMap<SmolStr, String> {
    evidence.into_iter().map(|(name, value)| (one_line(&name).into(), prose(&value))).collect()
}

fn is_quarantined(state: &State, entity: &EntityAddress) -> bool {
    state.quarantined.contains(entity.to_string().as_str())
}

/// Only one healer keeps the quarantine: hosts follow one subject.
fn check_place(context: &Context<'_>) -> Result<(), Refusal> {
    if context.entity.key.as_str() == QUARANTINE {
        return Ok(());
    }
    let message = format!("`{}` does not know which entities are quarantined", context.entity);
    Err(Refusal::new("wrong-healer", message).hint(format!("tell `healer/{QUARANTINE}`")))
}

fn check_entity(entity: &EntityAddress) -> Result<(), Refusal> {
    if entity.kind != Command::KIND {
        return Ok(());
    }
    Err(Refusal::new("invalid-entity", "a healer cannot be quarantined: nobody could release it")
        .hint("look at its dead letters, and mend the program"))
}

fn check_words(texts: &[&String], evidence: &BTreeMap<SmolStr, String>) -> Result<(), Refusal> {
    let sizes = evidence.iter().map(|(name, value)| name.len() + value.len());
    let short = texts.iter().map(|text| text.len()).chain(sizes).all(|size| size <= TEXT_BYTES_MAX);
    if short && evidence.len() <= EVIDENCE_MAX {
        return Ok(());
    }
    let message =
        format!("each text has at most {TEXT_BYTES_MAX} bytes, and there are at most {EVIDENCE_MAX} figures");
    Err(Refusal::new("invalid-note", message).hint("say it in a sentence"))
}
