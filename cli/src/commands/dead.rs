//! `orrery dead`: what could not be done, why, and doing it after all.

mod campaigns;
mod edit;
mod export;
mod filter;
mod letter;
mod redrive;

use std::collections::BTreeSet;

use bus_schemas::Key;
use bus_schemas::commands::deadletter::Command;
use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::{Failure, exit};
use crate::gateway::{query, read, until_shown, view};
use crate::output::{Output, Show};
use crate::session::Session;
use crate::who::by;

pub use campaigns::{Campaign, Campaigns};
use filter::Filter;
pub use letter::{Letter, Page, Whole};

/// Rows of a page when nothing else is asked for.
const ROWS: u32 = 50;
/// Dead letters that are looked at to say what a filter could have meant.
const NEWEST: u32 = 200;

/// What to do with dead letters; without a verb those that wait are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List dead letters, newest first
    List(Box<List>),
    /// Show one with its reasons and its payload
    Show {
        /// The entry
        entry: String,
        /// Write the payload alone to stdout, byte for byte: the edited one, where there is one
        #[arg(long)]
        payload: bool,
        /// With `--payload`: the original
        #[arg(long, requires = "payload")]
        original: bool,
    },
    /// Send something else when it is redriven; the original stays
    Edit(edit::Arguments),
    /// Try again: some by name, or all that a filter means at a rate
    Redrive(Box<redrive::Arguments>),
    /// Give some up: they are kept, and nothing more is done
    Drop {
        /// The entries
        #[arg(required = true)]
        entries: Vec<String>,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Write dead letters with their payloads as JSON lines
    Export(Box<export::Arguments>),
    /// List redrives of many, or show one
    Campaigns {
        /// The campaign
        campaign: Option<String>,
        /// Rows at most, 1 to 200
        #[arg(long, default_value_t = ROWS, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        /// `next_cursor` of the page before
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Let a redrive of many send nothing until resumed
    Pause {
        /// The campaign
        campaign: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a redrive of many go on
    Resume {
        /// The campaign
        campaign: String,
        /// Entries a second from now on, 1 to 1000
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rate: Option<u32>,
    },
    /// End a redrive of many; what was not sent stays where it is
    Cancel {
        /// The campaign
        campaign: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// Which dead letters.
#[derive(Debug, Default, clap::Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// `waiting`, `redriving`, `redriven` or `dropped`
    #[arg(long)]
    state: Option<String>,
    /// Rows at most, 1 to 200
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: Option<u32>,
    /// `next_cursor` of the page before
    #[arg(long)]
    cursor: Option<String>,
}

/// What came of a command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Told {
    /// The entry.
    pub entry: String,
    /// `waiting`, `redriving`, `redriven` or `dropped`; none where no gateway is there to say.
    pub state: Option<String>,
    /// Why the latest redrive failed, where it did.
    pub failure: Option<String>,
    /// Its revision after the command.
    pub revision: u64,
}

impl Show for Told {
    fn text(&self) -> String {
        let state = self.state.as_deref().map(|state| format!(" is {state},")).unwrap_or_default();
        let failure = self.failure.as_deref().map(|failure| format!(": {failure}")).unwrap_or_default();
        format!("dead letter {}{state} at revision {}{failure}", self.entry, self.revision)
    }
}

/// Does it.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb.unwrap_or(Verb::List(Box::default())) {
        Verb::List(arguments) => list(session, *arguments, output).await,
        Verb::Show { entry, payload, original } => show(session, &entry, payload, original, output).await,
        Verb::Edit(arguments) => edit::run(session, arguments, output).await,
        Verb::Redrive(arguments) => redrive::run(session, *arguments, output).await,
        Verb::Drop { entries, reason } => {
            for entry in entries {
                tell(session, &entry, &Command::Drop { by: by(), reason: reason.clone() }, output).await?;
            }
            Ok(())
        }
        Verb::Export(arguments) => export::run(session, *arguments, output).await,
        Verb::Campaigns { campaign: None, limit, cursor } => {
            let query = query(&[("limit", Some(limit.to_string())), ("cursor", cursor)]);
            output.show(&read::<Campaigns>(view(session, &format!("/v1/redrives?{query}")).await?)?);
            Ok(())
        }
        Verb::Campaigns { campaign: Some(campaign), .. } => {
            output.show(&campaigns::find(session, &Key::parse(&campaign)?).await?);
            Ok(())
        }
        Verb::Pause { campaign, reason } => {
            let command = campaigns::Command::Pause { by: by(), reason };
            campaigns::tell(session, &campaign, &command, output).await
        }
        Verb::Resume { campaign, rate } => {
            let command = campaigns::Command::Resume { rate, by: by() };
            campaigns::tell(session, &campaign, &command, output).await
        }
        Verb::Cancel { campaign, reason } => {
            let command = campaigns::Command::Cancel { by: by(), reason };
            campaigns::tell(session, &campaign, &command, output).await
        }
    }
}

async fn list(session: &Session, arguments: List, output: Output) -> Result<(), Failure> {
    let List { filter, state, limit, cursor } = arguments;
    let limit = limit.unwrap_or(ROWS).to_string();
    let (filtered, first) = (!filter.is_empty() || state.is_some(), cursor.is_none());
    let mut parts = filter.parts();
    parts.extend([("state", state), ("limit", Some(limit)), ("cursor", cursor)]);
    let page = page(session, &parts).await?;
    output.show(&page);
    // A misspelled class must not look like good news.
    if page.dead_letters.is_empty() && filtered && first {
        say_what_there_is(session, output).await?;
    }
    Ok(())
}

/// What a filter could have meant that means nothing.
async fn say_what_there_is(session: &Session, output: Output) -> Result<(), Failure> {
    let newest = page(session, &[("limit", Some(NEWEST.to_string()))]).await?.dead_letters;
    let known: BTreeSet<String> =
        newest.iter().map(|letter| format!("{} {}", letter.state, letter.class)).collect();
    if !known.is_empty() {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        output.say(&format!("nothing matches; among the newest {} there are: {known}", newest.len()));
    }
    Ok(())
}

async fn page(session: &Session, parts: &[(&str, Option<String>)]) -> Result<Page, Failure> {
    read(view(session, &format!("/v1/dead-letters?{}", query(parts))).await?)
}

async fn show(
    session: &Session,
    entry: &str,
    payload: bool,
    original: bool,
    output: Output,
) -> Result<(), Failure> {
    let whole = find(session, &Key::parse(entry)?).await?;
    if !payload {
        output.show(&whole);
        return Ok(());
    }
    let bytes = if original { whole.original_bytes() } else { whole.bytes() };
    output.bytes(&bytes.ok_or_else(|| gone(entry))?);
    Ok(())
}

/// A dead letter with its payload.
async fn find(session: &Session, entry: &Key) -> Result<Whole, Failure> {
    let mut whole: Whole = read(view(session, &format!("/v1/dead-letters/{entry}")).await?)?;
    whole.decode();
    Ok(whole)
}

fn gone(entry: &str) -> Failure {
    Failure::new("payload-gone", format!("no payload is kept of dead letter `{entry}`"))
        .next("`orrery dead show` without `--payload` tells what is known")
        .exit(exit::NOT_FOUND)
}

/// Tells a dead letter something, waits until that is shown, and says how it is then.
async fn tell(session: &Session, entry: &str, command: &Command, output: Output) -> Result<(), Failure> {
    let key = Key::parse(entry)?;
    let (revision, _) = session.ask(&key, command).await?;
    until_shown(session, async || Ok(find(session, &key).await?.letter.revision >= revision.0)).await;
    // What was told is done; that nobody can show it is no failure.
    let shown = find(session, &key).await.ok().map(|whole| whole.letter);
    output.show(&Told {
        entry: entry.to_owned(),
        failure: shown.as_ref().and_then(Letter::current_failure),
        revision: shown.as_ref().map_or(revision.0, |letter| letter.revision.max(revision.0)),
        state: shown.map(|letter| letter.state),
    });
    Ok(())
}
