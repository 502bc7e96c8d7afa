//! Redrives of many dead letters: shown, followed, paused, resumed, canceled.

use bus_schemas::commands::campaign::Filter;
use bus_schemas::{Key, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use bus_schemas::commands::campaign::Command;

use crate::commands::task::one_line;
use crate::failure::Failure;
use crate::gateway::{LOOK, read, until_shown, view};
use crate::output::{Output, Show, table};
use crate::session::Session;

/// A page of campaigns.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Campaigns {
    /// Newest first.
    pub redrives: Vec<Campaign>,
    /// What `--cursor` takes for the next page; none at the end.
    pub next_cursor: Option<String>,
}

/// A redrive of many dead letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Campaign {
    /// Its name.
    pub id: Key,
    /// `gathering`, `running`, `paused`, `completed` or `canceled`.
    pub state: String,
    /// Which dead letters.
    pub filter: Filter,
    /// Entries a second.
    pub rate: u32,
    /// How many entries it has.
    pub entries: u64,
    /// Whether all of its entries are known.
    pub gathered: bool,
    /// How many were sent.
    pub sent: u64,
    /// How many were done.
    pub redriven: u64,
    /// How many failed again, and wait.
    pub returned: u64,
    /// How many were not tried.
    pub skipped: u64,
    /// Why the latest one was not done.
    pub last_failure: Option<String>,
    /// Who started it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it was started: milliseconds since 1970.
    pub started_at: Timestamp,
    /// When it ended: milliseconds since 1970.
    pub ended_at: Option<Timestamp>,
    /// How many events it has.
    pub revision: u64,
}

impl Campaign {
    fn is_over(&self) -> bool {
        let settled = self.redriven + self.returned + self.skipped >= self.sent;
        self.state == "completed" || (self.state == "canceled" && settled)
    }
    fn progress(&self) -> String {
        let Self { sent, entries, redriven, returned, skipped, .. } = self;
        let more = if self.gathered { "" } else { " and more" };
        format!("{sent} of {entries}{more} sent: {redriven} redriven, {returned} returned, {skipped} skipped")
    }
}

impl Show for Campaigns {
    fn text(&self) -> String {
        if self.redrives.is_empty() {
            return "no campaigns".to_owned();
        }
        let row = |campaign: &Campaign| {
            let rate = format!("{}/s", campaign.rate);
            let at = campaign.started_at.to_rfc3339();
            vec![campaign.id.to_string(), campaign.state.clone(), rate, at, campaign.progress()]
        };
        let rows: Vec<Vec<String>> = self.redrives.iter().map(row).collect();
        let mut text = table(&["CAMPAIGN", "STATE", "RATE", "STARTED", "PROGRESS"], &rows);
        if let Some(cursor) = &self.next_cursor {
            text.push_str(&format!("\nmore: --cursor {cursor}"));
        }
        text
    }
}

impl Show for Campaign {
    fn text(&self) -> String {
        let filter = serde_json::to_value(&self.filter).unwrap_or_default();
        let filter = match filter.as_object().filter(|filter| !filter.is_empty()) {
            None => "everything that waits".to_owned(),
            Some(filter) => {
                filter.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
            }
        };
        let mut lines = vec![
            format!("campaign {} is {}", self.id, self.state),
            format!("  means     {filter}"),
            format!("  progress  {}", self.progress()),
            format!("  rate      {} a second", self.rate),
            format!("  started   {} by {}", self.started_at.to_rfc3339(), one_line(&self.by)),
        ];
        if !self.reason.is_empty() {
            lines.push(format!("  because   {}", one_line(&self.reason)));
        }
        lines.extend(self.ended_at.iter().map(|at| format!("  ended     {}", at.to_rfc3339())));
        lines.extend(self.last_failure.iter().map(|why| format!("  failure   {}", one_line(why))));
        lines.join("\n")
    }
}

/// A campaign.
pub(super) async fn find(session: &Session, campaign: &Key) -> Result<Campaign, Failure> {
    read(view(session, &format!("/v1/redrives/{campaign}")).await?)
}

/// Tells a campaign something, and shows it as of then.
pub(super) async fn tell(
    session: &Session,
    campaign: &str,
    command: &Command,
    output: Output,
) -> Result<(), Failure> {
    let key = Key::parse(campaign)?;
    let (revision, _) = session.ask(&key, command).await?;
    until_shown(session, async || {
        match find(session, &key).await {
            Ok(found) => Ok(found.revision >= revision.0),
            // It was started a moment ago.
            Err(failure) if failure.code == "campaign-not-found" => Ok(false),
            Err(failure) => Err(failure),
        }
    })
    .await;
    output.show(&find(session, &key).await?);
    Ok(())
}

/// Shows each change of a campaign until nothing of it is under way.
pub(super) async fn follow(
    session: &Session,
    campaign: &Key,
    revision: u64,
    output: Output,
) -> Result<Campaign, Failure> {
    let mut shown: Option<Campaign> = None;
    loop {
        let found = match find(session, campaign).await {
            Ok(found) => found,
            Err(failure) if failure.code == "campaign-not-found" && shown.is_none() => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let is_over = found.revision >= revision && found.is_over();
        if shown.as_ref() != Some(&found) {
            match output.json() || is_over {
                true => output.show(&found),
                false => output.say(&format!("{}: {}", found.state, found.progress())),
            }
            shown = Some(found.clone());
        }
        if is_over {
            return Ok(found);
        }
        tokio::time::sleep(LOOK).await;
    }
}
