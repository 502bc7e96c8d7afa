//! The filter arguments that listing, redriving and exporting dead letters share.

use bus_schemas::Timestamp;
use gateway_api::dead_letters::{DeadLetterFilter, DeadLetterState, ListDeadLetters};
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
    /// The filter as the gateway takes it, for dead letters in a state.
    pub(in crate::commands) fn of(&self, state: Option<DeadLetterState>) -> DeadLetterFilter {
        let Self { class, kind, key, dependency, since, before } = self.clone();
        let (since, before) = (since.map(|time| time.0), before.map(|time| time.0));
        DeadLetterFilter { state, class, kind, key, dependency, since, before }
    }
    /// Whether no condition is given.
    pub(in crate::commands) fn is_empty(&self) -> bool {
        let Self { class, kind, key, dependency, since, before } = self;
        let texts = [class, kind, key, dependency].into_iter().all(Option::is_none);
        texts && since.is_none() && before.is_none()
    }
    /// Whether no waiting dead letter matches.
    pub(in crate::commands) async fn means_nothing(&self, client: &Client) -> Result<bool, Failure> {
        let waiting = ListDeadLetters::of(self.of(Some(DeadLetterState::Waiting)));
        let query = ListDeadLetters { limit: Some(1), ..waiting };
        Ok(client.list(routes::ListDeadLetters, &query).await?.dead_letters.is_empty())
    }
}
