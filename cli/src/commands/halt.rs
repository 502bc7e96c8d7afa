//! `orrery halt`, `halts` and `resume`: halting, what is halted and why, and resuming.

use actors_host::Config;
use bus_schemas::commands::halt::{Command, Standstill};
use bus_schemas::halts::Scope;
use bus_schemas::settings;
use bus_schemas::{Key, Revision};
use gateway_api::halts::{Halt, HaltChanged, HaltPage, NewHalt, ResumeHalt};
use gateway_api::routes;
use schemars::JsonSchema;
use serde::Serialize;

use crate::client::Client;
use crate::commands::tasks::one_line;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::paging::{self, Page};
use crate::session::Session;

/// Characters of a reason shown in a row.
const REASON_CHARS_MAX: usize = 80;

/// What to halt, and why.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The scope: `all`, `lane.NAME`, `agent.NAME`, or `task.ID` for a task and its descendants
    scope: String,
    /// The reason, for whoever is on call
    #[arg(long)]
    reason: String,
    /// Grace period for running work before it is killed, at most 60s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    grace: settings::Duration,
}

/// The page of the list.
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    page: Page,
}

/// What to resume, and how fast.
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// The halted scope: `all`, `lane.NAME`, `agent.NAME` or `task.ID`
    scope: String,
    /// Jobs that may begin in the first minute, in each lane; for `all` and lanes. Each minute that uses its
    /// number up doubles it; a failure brings the first number back. Without it, one job begins at first, and
    /// one more for each that is done. Repeat the command while work still resumes gradually to change its
    /// rate; without a rate, all work resumes at once
    #[arg(long, value_name = "N/min", value_parser = rate)]
    rate: Option<u32>,
    /// The revision of the halt that is meant, as `orrery halts` shows it: one that was made or ended after it
    /// stays. Without it, whatever halt there is, which is shown
    #[arg(long)]
    revision: Option<u64>,
    /// The reason
    #[arg(long, default_value = "resumed")]
    reason: String,
}

/// The result of a command that went over the bus, past the gateway.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Sent {
    /// The scope of the halt.
    pub scope: Key,
    /// Whether the scope is halted now.
    pub halted: bool,
    /// The halt's revision after the command.
    pub revision: Revision,
    /// Jobs that may begin in the first minute; `null` when no rate was given.
    pub per_minute: Option<u32>,
    /// The halt that ended now; `null` if none did.
    pub ended: Option<Standstill>,
}

impl Show for HaltPage {
    fn text(&self) -> String {
        if self.halts.is_empty() {
            return "nothing is halted".to_owned();
        }
        let row = |halt: &Halt| {
            vec![
                halt.scope.to_string(),
                halt.since.to_rfc3339(),
                halt.by.clone(),
                halt.revision.to_string(),
                one_line(&halt.reason).chars().take(REASON_CHARS_MAX).collect(),
            ]
        };
        let rows: Vec<Vec<String>> = self.halts.iter().map(row).collect();
        paging::shown(
            table(&["SCOPE", "SINCE", "BY", "REVISION", "REASON"], &rows),
            self.next_cursor.as_ref(),
        )
    }
}

impl Show for Sent {
    fn text(&self) -> String {
        line(&self.scope, self.halted, self.per_minute, self.ended.as_ref())
    }
}

fn changed(told: &HaltChanged, output: Output) {
    let HaltChanged { halt: Halt { scope, halted, per_minute, .. }, known, ended, .. } = told;
    let mut text = line(scope, *halted, *per_minute, ended.as_ref());
    if !known {
        text.push_str("; it is not known so far: is the name right?");
    }
    output.changed(told, &text);
}

fn line(scope: &Key, halted: bool, per_minute: Option<u32>, ended: Option<&Standstill>) -> String {
    match halted {
        true => format!("{scope} is halted"),
        false => format!("{scope} {}", goes_on(per_minute, ended)),
    }
}

/// How work goes on, and the halt or the pause that ended.
pub(super) fn goes_on(per_minute: Option<u32>, ended: Option<&Standstill>) -> String {
    let how = match per_minute {
        None if ended.is_none() => "goes on, all at once".to_owned(),
        None => "goes on, one job at first".to_owned(),
        Some(rate) => format!("goes on, with {rate} jobs in the first minute"),
    };
    let ended = ended.map(|Standstill { reason, by, since }| {
        format!("; stopped by {} since {}: {}", one_line(by), since.to_rfc3339(), one_line(reason))
    });
    how + &ended.unwrap_or_default()
}

/// Reads a rate: `10/min`, or `10`.
pub(super) fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/minute").or_else(|| text.strip_suffix("/min")).unwrap_or(text);
    match number.parse() {
        Ok(rate) if rate > 0 => Ok(rate),
        _ => Err("a rate is a whole number of jobs in a minute, such as `10/min`".to_owned()),
    }
}

fn scope_of(text: &str) -> Result<Key, Failure> {
    let key = Key::parse(text).ok().filter(|key| Scope::parse(key).is_some());
    key.ok_or_else(|| {
        Failure::new("unknown-scope", format!("`{text}` is nothing that can be halted"))
            .next("say `all`, `lane.NAME`, `agent.NAME` or `task.ID`")
            .exit(exit::USAGE)
    })
}

/// Halts the scope. Without a gateway the command goes over the bus: an emergency does not wait for a
/// gateway.
pub async fn halt(config: &Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { scope, reason, grace } = arguments;
    let scope = scope_of(&scope)?;
    let body = NewHalt { scope: scope.clone(), reason: reason.clone(), grace_ms: Some(grace.as_ms()) };
    let told = match Client::connect(config) {
        Ok(client) => client.send(routes::Halt, &[], &body).await,
        Err(failure) => Err(failure),
    };
    match told {
        Ok(told) => changed(&told, output),
        Err(failure) if failure.exit == exit::UNAVAILABLE => {
            let command = Command::Halt { reason, grace_ms: grace.as_ms() };
            let (revision, _) = direct(config, &scope, &command).await?;
            output.show(&Sent { scope, halted: true, revision, per_minute: None, ended: None });
        }
        Err(failure) => return Err(failure),
    }
    Ok(())
}

/// Resumes the scope. Without a gateway the command goes over the bus.
pub async fn resume(config: &Config, arguments: Resume, output: Output) -> Result<(), Failure> {
    let Resume { scope, rate, revision, reason } = arguments;
    let scope = scope_of(&scope)?;
    let body = Some(ResumeHalt { reason: Some(reason.clone()), per_minute: rate, revision });
    let told = match Client::connect(config) {
        Ok(client) => client.send(routes::ResumeHalt, &[scope.as_str()], &body).await,
        Err(failure) => Err(failure),
    };
    match told {
        Ok(told) => changed(&told, output),
        Err(failure) if failure.exit == exit::UNAVAILABLE => {
            let revision = revision.map(Revision);
            let resume = Command::Resume { reason, per_minute: rate, revision };
            let (revision, ended) = direct(config, &scope, &resume).await?;
            output.show(&Sent { scope, halted: false, revision, per_minute: rate, ended });
        }
        Err(failure) => return Err(failure),
    }
    Ok(())
}

/// Lists the halts.
pub async fn list(client: &Client, arguments: List, output: Output) -> Result<(), Failure> {
    output.show(&client.list(routes::ListHalts, &arguments.page.into()).await?);
    Ok(())
}

/// Sends a halt's entity a command over the bus, without a check whether the scope is known.
async fn direct(
    config: &Config,
    scope: &Key,
    command: &Command,
) -> Result<(Revision, Option<Standstill>), Failure> {
    let session = Session::connect(config).await?;
    let (revision, reply) = session.ask(scope, command).await?;
    Ok((revision, serde_json::from_value(reply).ok()))
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn a_rate_is_a_number_of_jobs_in_a_minute() {
        assert_eq!((rate("10/min"), rate("7"), rate("1/minute")), (Ok(10), Ok(7), Ok(1)));
        for wrong in ["0", "-1", "10/s", "many", "", "/min"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
