//! Which dead letters are meant: the arguments that listing, redriving and exporting share.

use bus_schemas::commands::campaign;
use bus_schemas::{Key, Timestamp};

use super::page;
use crate::commands::task::submit::time;
use crate::failure::Failure;
use crate::session::Session;

/// What must hold for all of them.
#[derive(Debug, Default, Clone, clap::Args)]
pub(super) struct Filter {
    /// Of this class: `poison`, `malformed-command`, `unknown-kind`, `refused`, `job-failed` …
    #[arg(long)]
    class: Option<String>,
    /// Meant for this kind
    #[arg(long)]
    kind: Option<String>,
    /// Meant for a key that begins so
    #[arg(long)]
    key: Option<String>,
    /// Failed by this dependency: the key of a breaker
    #[arg(long)]
    dependency: Option<String>,
    /// Given up at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Given up before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<Timestamp>,
}

impl Filter {
    /// The parts of a query.
    pub(super) fn parts(&self) -> Vec<(&'static str, Option<String>)> {
        let number = |time: Option<Timestamp>| time.map(|time| time.0.to_string());
        vec![
            ("class", self.class.clone()),
            ("kind", self.kind.clone()),
            ("key", self.key.clone()),
            ("dependency", self.dependency.clone()),
            ("since", number(self.since)),
            ("before", number(self.before)),
        ]
    }
    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.parts().iter().all(|(_, value)| value.is_none())
    }
    /// Whether nothing waits for which all of it holds.
    pub(super) async fn means_nothing(&self, session: &Session) -> Result<bool, Failure> {
        let mut parts = self.parts();
        parts.extend([("state", Some("waiting".to_owned())), ("limit", Some("1".to_owned()))]);
        Ok(page(session, &parts).await?.dead_letters.is_empty())
    }
    /// The filter of a campaign.
    pub(super) fn of_campaign(&self) -> Result<campaign::Filter, Failure> {
        Ok(campaign::Filter {
            class: self.class.as_deref().map(Into::into),
            kind: self.kind.as_deref().map(Into::into),
            key: self.key.as_deref().map(Into::into),
            dependency: self.dependency.as_deref().map(Key::parse).transpose()?,
            since: self.since,
            before: self.before,
        })
    }
}
