//! Collects the entries of redrives: only a read model knows which dead letters match a filter.
//!
//! A redrive says when all of its entries are known. Until then every gateway collects them, from the
//! beginning after each start: an entry that is added twice is one entry.

use std::time::Duration;

use bus_client::{Ask, Bus};
use bus_schemas::commands::redrive::Command;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, Caller, EntityAddress, Reply, Timestamp, chain};
use gateway_api::dead_letters::{DeadLetterFilter, DeadLetterState};
use gateway_api::redrives::Redrive;
use tokio_util::sync::CancellationToken;

use crate::projections::{Order, Projections};

/// Entries added at once: a redrive accepts a thousand, and a page must fit into a command.
const PAGE: u32 = 500;
/// How long to wait for a redrive before checking whether to stop.
const LOOK: Duration = Duration::from_secs(5);
/// The pause after a redrive refused its entries.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Timeout of a redrive's reply: longer than a takeover.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the entries of a redrive were not added.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("looking for the entries of a redrive")]
    Read(#[from] crate::projections::Error),
    #[error("adding entries to a redrive")]
    Ask(#[from] bus_client::AskError),
    #[error("the redrive refused its entries with `{0}`")]
    Refused(String),
}

/// Collects the entries of redrives until `stop`.
pub async fn run(bus: Bus, projections: Projections, stop: CancellationToken) {
    loop {
        let found = tokio::select! {
            () = stop.cancelled() => return,
            found = wanting(&projections) => found,
        };
        let gathered = async {
            for redrive in found? {
                gather(&bus, &projections, &redrive).await?;
            }
            Ok::<(), Error>(())
        };
        let gathered = tokio::select! {
            () = stop.cancelled() => return,
            gathered = gathered => gathered,
        };
        if let Err(error) = gathered {
            tracing::warn!(error = chain(&error), "gathering the entries of redrives; trying again");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY_PAUSE) => {}
            }
        }
    }
}

/// The redrives that need entries, once there are some and the read model has caught up: a dead letter from
/// before a redrive's start must not be missed.
async fn wanting(projections: &Projections) -> Result<Vec<Redrive>, Error> {
    loop {
        let found = projections.until(LOOK, |reader| async move {
            let found = reader.gathering().await?;
            let current = projections.progress();
            Ok((!found.is_empty() && current.connected && current.lag() == 0).then_some(found))
        });
        if let Some(found) = found.await? {
            return Ok(found);
        }
    }
}

/// Adds every entry of a redrive, oldest first.
async fn gather(bus: &Bus, projections: &Projections, redrive: &Redrive) -> Result<(), Error> {
    let filter = &redrive.filter;
    // Later dead letters do not belong to this redrive: it must end.
    let end = Timestamp(redrive.started_at.0 + 1);
    let filter = DeadLetterFilter {
        state: Some(DeadLetterState::Waiting),
        class: filter.class.as_ref().map(ToString::to_string),
        kind: filter.kind.as_ref().map(ToString::to_string),
        key: filter.key.as_ref().map(ToString::to_string),
        dependency: filter.dependency.as_ref().map(ToString::to_string),
        since: filter.since.map(|since| since.0),
        before: Some(filter.before.map_or(end, |before| before.min(end)).0),
    };
    let mut after = None;
    let mut revision;
    loop {
        let page = projections.reader.dead_letters(filter.clone(), Order::OldestFirst, after, PAGE).await?;
        let entries = page.items.into_iter().map(|letter| letter.entry).collect();
        let add = Command::AddEntries { entries, last: page.next.is_none() };
        let to = EntityAddress::new(Command::KIND, redrive.id.clone());
        match bus.ask(&Ask::new(to, Body::json(&add)).caller(Caller::SYSTEM.as_str()), PATIENCE).await? {
            Reply::Accepted { revision: reached, .. } => revision = reached,
            Reply::Refused { refusal, .. } => return Err(Error::Refused(refusal.code.to_string())),
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // The next round must see that this redrive needs no more entries.
    let id = redrive.id.clone();
    projections
        .until(PATIENCE, |reader| {
            let id = id.clone();
            async move { Ok(reader.redrive(&id).await?.filter(|redrive| redrive.revision >= revision)) }
        })
        .await?;
    Ok(())
}
