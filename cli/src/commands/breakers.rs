//! `orrery breakers`: what may be called, what may not, and why; opening and closing by hand.

use bus_schemas::commands::breaker::{Command, Description, Phase, Query};
use bus_schemas::views::silent::Silent;
use bus_schemas::{EntityAddress, Key, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::asked::{self, Asked};
use crate::commands::task::one_line;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::session::Session;
use crate::who::Who;

/// Characters of a reason that a row shows.
const REASON_CHARS_MAX: usize = 80;

/// What to do; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List breakers: those that are not closed first
    List,
    /// Show one with its window, its lanes and its policy
    Show {
        /// The dependency, such as `tool.git`
        dependency: String,
    },
    /// Open one until it is reset: nothing is called, and work that needs it waits
    Trip {
        /// The dependency, such as `model.openai`, or `agent.NAME`
        dependency: String,
        /// Why; whoever is woken by it will ask. Another reason replaces the one before
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// Close one: everything may be called again
    Reset {
        /// The dependency
        dependency: String,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
}

/// All breakers of which something was heard.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Breakers {
    /// Those that are not closed first, then by name.
    pub breakers: Vec<Breaker>,
    /// Those that did not answer.
    pub silent: Vec<Silent>,
}

/// A breaker as it is now.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Breaker {
    /// What it is about: its key.
    pub dependency: Key,
    /// How it stands.
    #[serde(flatten)]
    pub now: Description,
}

/// What came of a command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Told {
    /// The breaker.
    pub dependency: String,
    /// Its revision after the command.
    pub revision: u64,
    /// How it stands.
    pub phase: Phase,
    /// Whether anything was heard of it before: a misspelled name stops nothing.
    pub known: bool,
}

impl Show for Told {
    fn text(&self) -> String {
        let mut text = format!("breaker {} is {} at revision {}", self.dependency, self.phase, self.revision);
        if !self.known {
            text.push_str("; nothing was heard of it so far: is the name right?");
        }
        text
    }
}

impl Show for Breakers {
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
        [table].into_iter().chain(asked::lines(&self.silent)).collect::<Vec<_>>().join("\n")
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
            (Phase::Open, None) => line("until", "it is reset".to_owned()),
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

/// Does it.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let (key, command, known) = match arguments.verb.unwrap_or(Verb::List) {
        Verb::List => {
            output.show(&all(session).await?);
            return Ok(());
        }
        Verb::Show { dependency } => {
            let dependency = Key::parse(&dependency)?;
            let breaker = one(session, dependency.clone()).await?;
            if breaker.now.revision == 0 {
                return Err(not_found(&dependency));
            }
            output.show(&breaker);
            return Ok(());
        }
        Verb::Trip { dependency, reason, who } => {
            let key = Key::parse(&dependency)?;
            // It may be tripped before it is called the first time.
            let known = one(session, key.clone()).await?.now.revision > 0;
            (key, Command::Trip { reason, by: who.name() }, known)
        }
        Verb::Reset { dependency, reason, who } => {
            let key = Key::parse(&dependency)?;
            // A misspelled name must not be answered as if something had been closed.
            if one(session, key.clone()).await?.now.revision == 0 {
                return Err(not_found(&key));
            }
            (key, Command::Reset { reason, by: who.name() }, true)
        }
    };
    let (revision, _) = session.ask(&key, &command).await?;
    let phase = one(session, key.clone()).await?.now.phase;
    output.show(&Told { dependency: key.to_string(), revision: revision.0, phase, known });
    Ok(())
}

/// All breakers of which something was heard.
pub async fn all(session: &Session) -> Result<Breakers, Failure> {
    session.expect_host().await?;
    let known = asked::heard_of::<Command>(session).await?;
    let Asked { answers, silent } = asked::all(session, known, &Query::Describe).await?;
    let breaker = |(entity, now): (EntityAddress, Description)| Breaker { dependency: entity.key, now };
    let mut breakers: Vec<Breaker> = answers.into_iter().map(breaker).collect();
    breakers.sort_by_key(|breaker| (breaker.now.phase == Phase::Closed, breaker.dependency.clone()));
    Ok(Breakers { breakers, silent })
}

async fn one(session: &Session, dependency: Key) -> Result<Breaker, Failure> {
    let now = session.query(&dependency, &Query::Describe).await?;
    Ok(Breaker { dependency, now })
}

fn not_found(dependency: &Key) -> Failure {
    Failure::new("breaker-not-found", format!("nothing was heard of a dependency `{dependency}`"))
        .next("`orrery breakers` shows what there is")
        .exit(exit::NOT_FOUND)
}
