//! The filter arguments that listing, redriving and exporting dead letters share.

use bus_schemas::Timestamp;
use gateway_api::dead_letters::{DeadLetterState, ListDeadLetters};
use gateway_api::routes;

use crate::client::Client;
use crate::commands::tasks::submit::time;
use crate::failure::Failure;

/// Conditions that all must hold.
#[derive(Debug, Default, Clone, clap::Args)]
pub(in crate::commands) struct Filter {
    /// Of this class: `poison`, `malformed-command`, `unknown-kind`, `refused`, `job-failed` …
    #[arg(long)]
    class: Option<String>,
    /// Meant for an entity of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Meant for an entity whose key begins with this
    #[arg(long)]
    key: Option<String>,
    /// Failed because of this dependency: the key of a breaker
    #[arg(long)]
    dependency: Option<String>,
    /// Recorded at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Recorded before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<Timestamp>,
}

impl Filter {
    /// The filter as a query of a list.
    pub(in crate::commands) fn query(&self) -> ListDeadLetters {
        let Self { class, kind, key, dependency, since, before } = self.clone();
        let (since, before) = (since.map(|time| time.0), before.map(|time| time.0));
        ListDeadLetters { class, kind, key, dependency, since, before, ..ListDeadLetters::default() }
    }
    /// Whether no condition is given.
    pub(in crate::commands) fn is_empty(&self) -> bool {
        let Self { class, kind, key, dependency, since, before } = self;
        let texts = [class, kind, key, dependency].into_iter().all(Option::is_none);
        texts && since.is_none() && before.is_none()
    }
    /// Whether no waiting dead letter matches.
    pub(in crate::commands) async fn means_nothing(&self, client: &Client) -> Result<bool, Failure> {
        let state = Some(DeadLetterState::Waiting);
        let query = ListDeadLetters { state, limit: Some(1), ..self.query() };
        Ok(client.list(routes::ListDeadLetters, &query).await?.dead_letters.is_empty())
    }
}
