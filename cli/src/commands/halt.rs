//! `orrery halt`, `halts` and `resume`: what must stand still, what does and why, and how it goes on.

use bus_schemas::commands::halt::Command;
use bus_schemas::halts::{Scope, Standing};
use bus_schemas::settings;
use bus_schemas::{EntityAddress, Key, Kind, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use crate::commands::task::one_line;
use crate::failure::{Failure, exit};
use crate::gateway::{LOOK, VISIBLE_PATIENCE};
use crate::output::{Output, Show, table};
use crate::session::Session;
use crate::who::Who;

/// Characters of a reason that a row shows.
const REASON_CHARS_MAX: usize = 80;

/// What to stop, and why.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// `all`, `lane.NAME`, `agent.NAME`, or `task.ID` for a task and everything below it
    scope: String,
    /// Why; whoever is woken by it will ask
    #[arg(long)]
    reason: String,
    /// How long running work has to end by itself before it is killed, at most 60s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    grace: settings::Duration,
    #[command(flatten)]
    who: Who,
}

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub struct List {}

/// What goes on, and how fast.
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// What was halted: `all`, `lane.NAME`, `agent.NAME` or `task.ID`
    scope: String,
    /// Jobs that may begin in the first minute, in each lane: twice as many in each minute after it, and
    /// so many again after a failure; for `all` and lanes. Without it, one job at first, and one more
    /// for each that is done. Said again while work comes back so: this rate from now on, or, without
    /// one, everything at once
    #[arg(long, value_name = "N/min", value_parser = rate)]
    rate: Option<u32>,
    /// Why
    #[arg(long, default_value = "resumed")]
    reason: String,
    #[command(flatten)]
    who: Who,
}

/// Everything that stands still.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Halts {
    /// That of everything first, then by scope.
    pub halts: Vec<Halt>,
}

/// Something that stands still.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Halt {
    /// What: `all`, `lane.…`, `agent.…` or `task.…`.
    pub scope: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// How long running work had to end by itself, in milliseconds.
    pub grace_ms: u64,
}

/// What came of a command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Told {
    /// What.
    pub scope: String,
    /// Whether it stands still now.
    pub halted: bool,
    /// The halt's revision after the command.
    pub revision: u64,
    /// Whether anything was heard of the lane, the agent or the task: a misspelled name halts nothing.
    pub known: bool,
    /// Jobs that may begin in the first minute; none where no rate was given.
    pub per_minute: Option<u32>,
    /// Whether it was lifted before: what still came back gradually goes on at once, or at this rate.
    pub again: bool,
}

impl Show for Halts {
    fn text(&self) -> String {
        if self.halts.is_empty() {
            return "nothing is halted".to_owned();
        }
        let row = |halt: &Halt| {
            vec![
                halt.scope.clone(),
                halt.since.to_rfc3339(),
                halt.by.clone(),
                one_line(&halt.reason).chars().take(REASON_CHARS_MAX).collect(),
            ]
        };
        let rows: Vec<Vec<String>> = self.halts.iter().map(row).collect();
        table(&["SCOPE", "SINCE", "BY", "REASON"], &rows)
    }
}

impl Show for Told {
    fn text(&self) -> String {
        let Self { scope, halted, known, per_minute, again, .. } = self;
        let mut text = match (halted, per_minute) {
            (true, _) => format!("{scope} is halted"),
            (false, None) if *again => format!("{scope} goes on, all at once"),
            (false, None) => format!("{scope} goes on, one job at first"),
            (false, Some(rate)) => format!("{scope} goes on, with {rate} jobs in the first minute"),
        };
        if !known {
            text.push_str("; nothing was heard of it so far: is the name right?");
        }
        text
    }
}

/// Reads `10/min`, or `10`.
pub(super) fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/minute").or_else(|| text.strip_suffix("/min")).unwrap_or(text);
    match number.parse() {
        Ok(rate) if rate > 0 => Ok(rate),
        _ => Err("a rate is a whole number of jobs in a minute, such as `10/min`".to_owned()),
    }
}

fn scope_of(text: &str) -> Result<Scope, Failure> {
    Key::parse(text).ok().and_then(|key| Scope::parse(&key)).ok_or_else(|| {
        Failure::new("unknown-scope", format!("`{text}` is nothing that can be halted"))
            .next("say `all`, `lane.NAME`, `agent.NAME` or `task.ID`")
            .exit(exit::USAGE)
    })
}

/// Stops.
pub async fn halt(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { scope, reason, grace, who } = arguments;
    let command = Command::Halt { reason, by: who.name(), grace_ms: grace.as_ms() };
    output.show(&tell(session, &scope_of(&scope)?, &scope, &command, None).await?);
    Ok(())
}

/// Goes on.
pub async fn resume(session: &Session, arguments: Resume, output: Output) -> Result<(), Failure> {
    let Resume { scope, rate, reason, who } = arguments;
    let command = Command::Lift { reason, by: who.name(), per_minute: rate };
    output.show(&tell(session, &scope_of(&scope)?, &scope, &command, rate).await?);
    Ok(())
}

/// Prints what stands still. Read from the events alone, so that it needs no host.
pub async fn list(session: &Session, output: Output) -> Result<(), Failure> {
    let (halts, _) = session.bus.halts().await?;
    let shown = |(scope, standing): (&Scope, &Standing)| {
        let Standing { reason, by, since, grace_ms } = standing.clone();
        Halt { scope: scope.to_string(), reason, by, since, grace_ms }
    };
    let halts = halts.read(|halts| halts.iter().map(shown).collect());
    output.show(&Halts { halts });
    Ok(())
}

async fn tell(
    session: &Session,
    scope: &Scope,
    named: &str,
    command: &Command,
    per_minute: Option<u32>,
) -> Result<Told, Failure> {
    let halted = matches!(command, Command::Halt { .. });
    // Looked up beforehand: the halt itself makes a lane known.
    let known = is_known(session, scope).await?;
    let stands =
        session.bus.halts().await.map_or(true, |(halts, _)| halts.read(|halts| halts.of(scope).is_some()));
    let again = !halted && !stands;
    let (revision, _) = session.ask(&Key::parse(named)?, command).await?;
    until_shown(session, scope, halted).await;
    Ok(Told { scope: named.to_owned(), halted, revision: revision.0, known, per_minute, again })
}

/// Waits until the events tell it: `halts` reads them.
async fn until_shown(session: &Session, scope: &Scope, halted: bool) {
    let deadline = Instant::now() + VISIBLE_PATIENCE;
    while Instant::now() < deadline {
        match session.bus.halts().await {
            Ok((halts, _)) if halts.read(|halts| halts.of(scope).is_some()) != halted => {}
            // It was done either way.
            Ok(_) | Err(_) => return,
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether anything ever happened to what the scope names.
async fn is_known(session: &Session, scope: &Scope) -> Result<bool, Failure> {
    let (kind, key) = match scope {
        Scope::All => return Ok(true),
        Scope::Lane(lane) => ("broker", lane),
        Scope::Agent(agent) => ("agent", agent),
        Scope::Task(task) => ("task", task),
    };
    let entity = EntityAddress::new(Kind::from_static(kind), key.clone());
    Ok(!session.bus.latest_events(&session.bus.subjects().event(&entity)).await?.is_empty())
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
