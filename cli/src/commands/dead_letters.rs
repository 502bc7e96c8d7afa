//! `orrery dead-letters`: commands, tasks and webhook posts that failed for good, and redriving them.

mod edit;
mod export;
pub(super) mod filter;
mod letter;

use std::collections::BTreeSet;

use bus_schemas::Key;
use gateway_api::dead_letters::{DeadLetter, DeadLetterPage, DeadLetterState, ListDeadLetters, Reason};
use gateway_api::routes;

use crate::client::{Client, LOOK, id};
use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::output::Output;
use crate::paging::Page;

use filter::Filter;
pub use letter::Decoded;

/// Dead letters that are read to suggest other filters when a filter matches nothing.
const NEWEST: u32 = 200;

/// The action on dead letters; without a verb the waiting ones are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List dead letters, newest first
    List(Box<List>),
    /// Show a dead letter with its reasons and its payload
    Show {
        /// The dead letter's entry
        entry: String,
        /// Write only the payload to stdout, byte for byte: the edited one, if there is one
        #[arg(long)]
        payload: bool,
        /// With `--payload`: the original payload
        #[arg(long, requires = "payload")]
        original: bool,
    },
    /// Edit what a redrive sends; the original is kept
    Edit(edit::Arguments),
    /// Redrive the given entries; `orrery redrives start` redrives all that match a filter
    Redrive {
        /// The dead letters' entries
        #[arg(required = true)]
        entries: Vec<String>,
        /// Wait for the result of each redrive
        #[arg(long)]
        watch: bool,
        /// The reason
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Drop entries: they are kept, and never redriven
    Drop {
        /// The dead letters' entries
        #[arg(required = true)]
        entries: Vec<String>,
        /// The reason
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Write dead letters with their payloads as JSON lines
    Export(Box<export::Arguments>),
}

/// The filter and the page of a list.
#[derive(Debug, Default, clap::Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// In this state
    #[arg(long, value_parser = state_parser())]
    state: Option<DeadLetterState>,
    #[command(flatten)]
    page: Page,
}

/// The states by their serialized names, so that help and completions list them.
fn state_parser() -> impl clap::builder::TypedValueParser<Value = DeadLetterState> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    let states = [
        DeadLetterState::Waiting,
        DeadLetterState::Redriving,
        DeadLetterState::Redriven,
        DeadLetterState::Dropped,
    ];
    PossibleValuesParser::new(states.map(<&str>::from)).try_map(|text| text.parse::<DeadLetterState>())
}

fn changed(letter: &DeadLetter, output: Output) {
    let DeadLetter { entry, state, revision, .. } = letter;
    let state: &str = state.into();
    let failure = letter::current_failure(letter).map(|failure| format!(": {failure}")).unwrap_or_default();
    output.changed(letter, &format!("dead letter {entry} is {state}, at revision {revision}{failure}"));
}

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb.unwrap_or(Verb::List(Box::default())) {
        Verb::List(arguments) => list(client, *arguments, output).await,
        Verb::Show { entry, payload, original } => show(client, &entry, payload, original, output).await,
        Verb::Edit(arguments) => {
            changed(&edit::run(client, arguments).await?, output);
            Ok(())
        }
        Verb::Redrive { entries, watch, reason } => tokio::select! {
            done = redrive(client, entries, watch, &reason, output) => done,
            () = interrupted() => Err(Failure::new("interrupted", "the redrive goes on")
                .next("`orrery dead-letters list --state redriving` shows how far it is")
                .exit(exit::INTERRUPTED)),
        },
        Verb::Drop { entries, reason } => {
            for entry in entries {
                let body = Some(Reason { reason: reason.clone() });
                let dropped = client.send(routes::DropDeadLetter, &[id(&entry)?.as_str()], &body).await?;
                changed(&dropped, output);
            }
            Ok(())
        }
        Verb::Export(arguments) => export::run(client, *arguments, output).await,
    }
}

async fn list(client: &Client, arguments: List, output: Output) -> Result<(), Failure> {
    let List { filter, state, page: Page { limit, cursor } } = arguments;
    let (filtered, first) = (!filter.is_empty() || state.is_some(), cursor.is_none());
    let query = ListDeadLetters { limit, cursor, ..ListDeadLetters::of(filter.of(state)) };
    let page = client.list(routes::ListDeadLetters, &query).await?;
    output.show(&page);
    // An empty list for a misspelled class would look like good news.
    if page.dead_letters.is_empty() && filtered && first {
        say_what_there_is(client, output).await?;
    }
    Ok(())
}

/// Suggests other filters where a filter matches nothing.
pub(super) async fn say_what_there_is(client: &Client, output: Output) -> Result<(), Failure> {
    let query = ListDeadLetters { limit: Some(NEWEST), ..ListDeadLetters::default() };
    let newest: DeadLetterPage = client.list(routes::ListDeadLetters, &query).await?;
    let newest = newest.dead_letters;
    let one = |letter: &DeadLetter| format!("{} {}", <&str>::from(letter.state), letter.class);
    let known: BTreeSet<String> = newest.iter().map(one).collect();
    if !known.is_empty() {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        output.say(&format!("nothing matches; among the newest {} there are: {known}", newest.len()));
    }
    Ok(())
}

async fn show(
    client: &Client,
    entry: &str,
    payload: bool,
    original: bool,
    output: Output,
) -> Result<(), Failure> {
    let found = find(client, &id(entry)?).await?;
    if !payload {
        output.show(&found);
        return Ok(());
    }
    let bytes = if original { found.original_bytes() } else { found.bytes() };
    output.bytes(&bytes.ok_or_else(|| gone(entry))?);
    Ok(())
}

/// Reads a dead letter with its payload.
async fn find(client: &Client, entry: &Key) -> Result<Decoded, Failure> {
    client.get(routes::ShowDeadLetter, &[entry.as_str()]).await.map(Decoded::of)
}

fn gone(entry: &str) -> Failure {
    Failure::new("payload-gone", format!("no payload is kept of dead letter `{entry}`"))
        .next("`orrery dead-letters show` without `--payload` tells what is known")
        .exit(exit::NOT_FOUND)
}

async fn redrive(
    client: &Client,
    entries: Vec<String>,
    watch: bool,
    reason: &str,
    output: Output,
) -> Result<(), Failure> {
    let mut failed = 0;
    for entry in &entries {
        let (entry, body) = (id(entry)?, Some(Reason { reason: reason.to_owned() }));
        let mut letter = client.send(routes::RedriveDeadLetter, &[entry.as_str()], &body).await?;
        while watch && letter.state == DeadLetterState::Redriving {
            tokio::time::sleep(LOOK).await;
            letter = find(client, &entry).await?.whole.letter;
        }
        failed += u64::from(watch && letter.state == DeadLetterState::Waiting);
        changed(&letter, output);
    }
    if !watch {
        output.say("not waiting for the result: use `--watch`, or see `orrery dead-letters show`");
    }
    not_redriven(failed)
}

/// Fails when a redrive failed.
pub(super) fn not_redriven(count: u64) -> Result<(), Failure> {
    if count == 0 {
        return Ok(());
    }
    Err(Failure::new("not-redriven", format!("{count} dead letters were not redriven"))
        .next("`orrery dead-letters show` says why; edit the payload, mend the cause, or drop them"))
}
