//! `orrery breakers`: which dependencies may be called and why not; opening and closing breakers by hand.

use bus_schemas::commands::breaker::{Description, Phase};
use bus_schemas::{Key, Timestamp};
use gateway_api::breakers::{Breaker, BreakerChanged, BreakerPage, ChangeBreaker};
use gateway_api::routes;

use crate::client::{Client, id};
use crate::commands::tasks::one_line;
use crate::failure::Failure;
use crate::output::{Output, Show, silent_lines, table};
use crate::paging::{self, Page};

/// Characters of a reason shown in a row.
const REASON_CHARS_MAX: usize = 80;

/// The action; without a verb breakers are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List breakers by name, those of a page that are not closed first
    List(Page),
    /// Show one breaker with its window, its lanes and its policy
    Show {
        /// The dependency, such as `tool.git`
        dependency: String,
    },
    /// Open a breaker until it is reset: the dependency is not called, and work that needs it waits
    Trip {
        /// The dependency, such as `model.openai`, or `agent.NAME`
        dependency: String,
        /// The reason, for whoever is on call. Repeating the command replaces it
        #[arg(long)]
        reason: String,
    },
    /// Close a breaker: calls are allowed again
    Reset {
        /// The dependency
        dependency: String,
        /// The reason
        #[arg(long)]
        reason: String,
    },
}

impl Show for BreakerPage {
    fn text(&self) -> String {
        if self.breakers.is_empty() && self.silent.is_empty() {
            return "no breakers: nothing was called yet".to_owned();
        }
        let row = |breaker: &Breaker| {
            let Description { phase, since, calls, failed, reason, .. } = &breaker.now;
            let counted =
                if *phase == Phase::Closed { format!("{failed} of {calls}") } else { String::new() };
            vec![
                breaker.dependency.to_string(),
                phase.to_string(),
                since.map(Timestamp::to_rfc3339).unwrap_or_default(),
                counted,
                one_line(reason).chars().take(REASON_CHARS_MAX).collect(),
            ]
        };
        let rows: Vec<Vec<String>> = self.breakers.iter().map(row).collect();
        let table = table(&["DEPENDENCY", "STATE", "SINCE", "FAILED", "REASON"], &rows);
        let text = [table].into_iter().chain(silent_lines(&self.silent)).collect::<Vec<_>>().join("\n");
        paging::shown(text, self.next_cursor.as_ref())
    }
}

impl Show for Breaker {
    fn text(&self) -> String {
        let now = &self.now;
        let mut lines = vec![format!("breaker {}: {}", self.dependency, now.phase)];
        let mut line = |name: &str, text: String| lines.push(format!("  {name:<9} {text}"));
        if let Some(since) = now.since {
            line("since", since.to_rfc3339());
        }
        match (now.phase, now.until) {
            (Phase::Open, Some(until)) => {
                line("until", format!("{}, then a few calls are tried", until.to_rfc3339()));
            }
            (Phase::Open, None) => line("until", "the breaker is reset".to_owned()),
            (Phase::Closed | Phase::HalfOpen, _) => {}
        }
        if !now.reason.is_empty() {
            line("reason", one_line(&now.reason));
        }
        line("opened", format!("{} times in succession", now.times));
        let window = now.policy.window_ms / 1_000;
        line("calls", format!("{} within {window} s: {} failed, {} slow", now.calls, now.failed, now.slow));
        if !now.last_error.is_empty() {
            line("error", one_line(&now.last_error));
        }
        let lanes: Vec<&str> = now.lanes.iter().map(Key::as_str).collect();
        line("lanes", if lanes.is_empty() { "none".to_owned() } else { lanes.join(", ") });
        let policy = &now.policy;
        let opens = format!(
            "opens at {} % of {} calls, or {} in a row",
            policy.failure_percent, policy.calls_min, policy.consecutive_failures
        );
        line("policy", opens);
        if let Some(version) = now.version {
            let rules = if version == 0 { "the defaults".to_owned() } else { format!("version {version}") };
            line("rules", format!("{rules} of the settings `breakers`"));
        }
        lines.join("\n")
    }
}

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb.unwrap_or(Verb::List(Page::default())) {
        Verb::List(page) => output.show(&client.list(routes::ListBreakers, &page.into()).await?),
        Verb::Show { dependency } => {
            output.show(&client.get(routes::ShowBreaker, &[id(&dependency)?.as_str()]).await?);
        }
        Verb::Trip { dependency, reason } => {
            let key = id(&dependency)?;
            let told = client.send(routes::TripBreaker, &[key.as_str()], &ChangeBreaker { reason }).await?;
            changed(&told, output);
        }
        Verb::Reset { dependency, reason } => {
            let key = id(&dependency)?;
            let told = client.send(routes::ResetBreaker, &[key.as_str()], &ChangeBreaker { reason }).await?;
            changed(&told, output);
        }
    }
    Ok(())
}

fn changed(told: &BreakerChanged, output: Output) {
    let BreakerChanged { breaker: Breaker { dependency, now }, known } = told;
    let mut line = format!("breaker {dependency} is {} at revision {}", now.phase, now.revision);
    if !known {
        line.push_str("; the dependency is not known so far: is the name right?");
    }
    output.changed(told, &line);
}
