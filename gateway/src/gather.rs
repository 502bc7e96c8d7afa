//! Finds the entries of campaigns: only a read model knows which dead letters a filter means.
//!
//! A campaign says when all of its entries are known. Until then every gateway looks for them, from
//! the beginning whenever it starts anew: an entry that is added twice is one entry.

use std::time::Duration;

use bus_client::{Ask, Bus};
use bus_schemas::commands::campaign::Command;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Reply, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::projections::campaign::Campaign;
use crate::projections::dead_letter::DeadLetterState;
use crate::projections::{DeadLetterFilter, Order, Projections, chain};

/// Entries that are added at once: a campaign takes a thousand, and a page must fit into a command.
const PAGE: u32 = 500;
/// How long it is waited for a campaign before it is looked whether to stop.
const LOOK: Duration = Duration::from_secs(5);
/// The pause after a campaign that did not take its entries.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long a campaign may take to answer: longer than a takeover.
const PATIENCE: Duration = Duration::from_secs(30);
/// Who adds the entries.
const CALLER: &str = "gateway";

/// Why the entries of a campaign were not added.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("looking for the entries of a campaign")]
    Read(#[from] crate::projections::Error),
    #[error("adding entries to a campaign")]
    Ask(#[from] bus_client::AskError),
    #[error("the campaign refused its entries with `{0}`")]
    Refused(String),
}

/// Looks for the entries of campaigns until `stop`.
pub async fn run(bus: Bus, projections: Projections, stop: CancellationToken) {
    loop {
        let found = tokio::select! {
            () = stop.cancelled() => return,
            found = wanting(&projections) => found,
        };
        let gathered = async {
            for campaign in found? {
                gather(&bus, &projections, &campaign).await?;
            }
            Ok::<(), Error>(())
        };
        let gathered = tokio::select! {
            () = stop.cancelled() => return,
            gathered = gathered => gathered,
        };
        if let Err(error) = gathered {
            tracing::warn!(error = chain(&error), "gathering the entries of campaigns; trying again");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY_PAUSE) => {}
            }
        }
    }
}

/// The campaigns that want entries, once there are some and the read model has caught up: what was
/// given up before a campaign began must not be missed.
async fn wanting(projections: &Projections) -> Result<Vec<Campaign>, Error> {
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

/// Adds every entry of a campaign, the oldest first.
async fn gather(bus: &Bus, projections: &Projections, campaign: &Campaign) -> Result<(), Error> {
    let filter = &campaign.filter;
    // What is given up after the start is another campaign's: this one must end.
    let end = Timestamp(campaign.started_at.0 + 1);
    let filter = DeadLetterFilter {
        state: Some(DeadLetterState::Waiting),
        class: filter.class.as_ref().map(ToString::to_string),
        kind: filter.kind.as_ref().map(ToString::to_string),
        key: filter.key.as_ref().map(ToString::to_string),
        dependency: filter.dependency.as_ref().map(ToString::to_string),
        since: filter.since,
        before: Some(filter.before.map_or(end, |before| before.min(end))),
    };
    let mut after = None;
    let mut revision;
    loop {
        let page = projections.reader.dead_letters(filter.clone(), Order::OldestFirst, after, PAGE).await?;
        let entries = page.items.into_iter().map(|letter| letter.entry).collect();
        let add = Command::AddEntries { entries, last: page.next.is_none() };
        let to = EntityAddress::new(Command::KIND, campaign.id.clone());
        match bus.ask(&Ask::new(to, Body::json(&add)).caller(CALLER), PATIENCE).await? {
            Reply::Accepted { revision: reached, .. } => revision = reached,
            Reply::Refused { refusal, .. } => return Err(Error::Refused(refusal.code.to_string())),
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // The next look must see that this campaign wants no more.
    let id = campaign.id.clone();
    projections
        .until(PATIENCE, |reader| {
            let id = id.clone();
            async move { Ok(reader.campaign(&id).await?.filter(|campaign| campaign.revision >= revision)) }
        })
        .await?;
    Ok(())
}
