//! Events that the healer follows: breakers, lost workers, poison, quarantine.

use actors_runtime::supervision::Failed;
use bus_client::{Bus, EventQuery, StoredEvent};
use bus_schemas::commands::healer::{Action, QUARANTINE};
use bus_schemas::commands::{agent, breaker, dead_letter, healer};
use bus_schemas::envelope::code;
use bus_schemas::events;
use bus_schemas::wire::{WireCommand, WireEvent};
use bus_schemas::{EntityAddress, Key, Kind, Revision, chain, upcast};
use futures::StreamExt;

use super::notes::Notes;
use super::poison::{POISON_MAX, Poisoned, WITHIN};
use super::{Healer, metric};
use crate::quarantine::Quarantine;

/// The healer entity that records who is quarantined.
fn register() -> EntityAddress {
    EntityAddress::new(healer::Command::KIND, Key::parse(QUARANTINE).expect("a constant"))
}

/// Reads the quarantined entities, before any partition is served: they stay in quarantine.
pub(crate) async fn load_quarantine(bus: &Bus, quarantine: &Quarantine) -> Result<(), bus_client::Error> {
    for stored in bus.history(&register(), Revision(0), 0).await? {
        take_quarantine(&stored, quarantine);
    }
    Ok(())
}

/// Follows new events, without end.
pub(super) async fn run(healer: &Healer, notes: &Notes) -> Result<(), Failed> {
    let failed = |error: bus_client::Error| {
        let Failed { reason, outside } = Failed::by(&error);
        Failed { reason: format!("following events: {reason}"), outside }
    };
    let bus = &healer.bus;
    let kinds =
        [breaker::Command::KIND, agent::Command::KIND, dead_letter::Command::KIND, healer::Command::KIND];
    let subjects = kinds.iter().map(|kind| bus.subjects().events(Some(kind))).collect();
    let from = bus.events_state().await.map_err(failed)?.last_sequence + 1;
    let mut events = bus.events(EventQuery { subjects, from }).await.map_err(failed)?;
    // A healer that failed may have missed some events; reading them twice changes nothing.
    load_quarantine(bus, &healer.quarantine).await.map_err(failed)?;
    let mut poisoned = Poisoned::default();
    while let Some(stored) = events.next().await {
        match stored {
            Ok(stored) => take(healer, notes, &mut poisoned, &stored).await,
            // An unreadable event is reported by the doctor; the others must be followed.
            Err(error @ bus_client::Error::Event { .. }) => {
                tracing::warn!(error = chain(&error), "an event cannot be read");
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Err("following events: the stream ended".to_owned().into())
}

async fn take(healer: &Healer, notes: &Notes, poisoned: &mut Poisoned, stored: &StoredEvent) {
    let kind = &stored.entity.kind;
    if *kind == breaker::Command::KIND {
        note_breaker(stored);
    } else if *kind == agent::Command::KIND {
        note_lost_worker(healer, notes, stored).await;
    } else if *kind == dead_letter::Command::KIND {
        count_poison(notes, poisoned, stored);
    } else if stored.entity == register() {
        take_quarantine(stored, &healer.quarantine);
    }
}

/// An event of a version that this program knows; others are ignored.
fn read<E: WireEvent>(stored: &StoredEvent) -> Option<E> {
    let event = &stored.event;
    let read = upcast::read(&event.event_type, event.schema, &event.body);
    read.inspect_err(|error| tracing::warn!(entity = %stored.entity, %error, "an event cannot be read")).ok()
}

/// A breaker's state is measured by the observer, which also knows its past.
fn note_breaker(stored: &StoredEvent) {
    if let Some(events::breaker::Event::Opened { cause, .. }) = read(stored) {
        let labels = [("dependency", stored.entity.key.to_string()), ("cause", cause.to_string())];
        metrics::counter!(metric::BREAKER_TRIPS, &labels).increment(1);
    }
}

/// Every host receives the event; the one that runs the agent's partition records it.
async fn note_lost_worker(healer: &Healer, notes: &Notes, stored: &StoredEvent) {
    let Some(events::agent::Event::WorkerLost { worker, .. }) = read(stored) else { return };
    let partition = stored.entity.partition(healer.bus.topology().partitions);
    let leases = healer.bus.leases().await;
    let ours = leases.is_ok_and(|leases| {
        leases.holders.get(&partition).is_some_and(|holder| holder == healer.host.as_str())
    });
    if ours {
        let reason =
            format!("worker `{worker}` was silent for too long; its jobs go to others as their leases end");
        let evidence = [("worker", worker.to_string()), ("event", stored.cursor.to_string())];
        notes.act(Action::Replace, &stored.entity.to_string(), reason, evidence);
    }
}

fn count_poison(notes: &Notes, poisoned: &mut Poisoned, stored: &StoredEvent) {
    let Some(events::dead_letter::Event::Recorded { entry }) = read(stored) else { return };
    // A poisoned healer entity cannot be quarantined: nobody could release anything.
    if entry.class != code::POISON || entry.kind == healer::Command::KIND.as_str() {
        return;
    }
    let (Ok(kind), Ok(key)) = (Kind::parse(&entry.kind), Key::parse(&entry.key)) else { return };
    let entity = EntityAddress::new(kind, key);
    if !poisoned.count(&entity, entry.at) {
        return;
    }
    let minutes = WITHIN.as_secs() / 60;
    let reason =
        format!("{POISON_MAX} commands were poison within {minutes} minutes, the last: {}", entry.reason);
    let evidence = [("commands", POISON_MAX.to_string()), ("dead_letter", stored.entity.key.to_string())];
    notes.quarantine(entity, reason, evidence);
}

fn take_quarantine(stored: &StoredEvent, quarantine: &Quarantine) {
    match read::<events::healer::Event>(stored) {
        Some(events::healer::Event::Quarantined { entity, .. }) => quarantine.add(entity),
        Some(events::healer::Event::Released { entity, .. }) => quarantine.remove(&entity),
        Some(events::healer::Event::Acted(_)) | None => {}
    }
    metrics::gauge!(metric::QUARANTINED).set(quarantine.len() as f64);
}
