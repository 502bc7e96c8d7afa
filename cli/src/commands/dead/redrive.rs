//! `orrery dead redrive`: some by name, or all that a filter means at a rate.

use bus_schemas::Key;
use bus_schemas::commands::campaign;
use bus_schemas::commands::deadletter::Command;

use super::filter::Filter;
use super::{Letter, Told, by, campaigns, find, say_what_there_is, tell};
use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::gateway::LOOK;
use crate::output::Output;
use crate::session::Session;

/// What to redrive.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The entries; none for all that the filter means
    entries: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Everything that waits
    #[arg(long)]
    all: bool,
    /// With a filter: entries a second, 1 to 1000
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// With a filter: names the campaign; a fresh name when none is given
    #[arg(long)]
    name: Option<String>,
    /// Wait until it is known what came of them
    #[arg(long)]
    watch: bool,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

/// Redrives them.
pub(super) async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let (named, filtered) = (!arguments.entries.is_empty(), !arguments.filter.is_empty());
    if u8::from(named) + u8::from(filtered) + u8::from(arguments.all) != 1 {
        return Err(Failure::new("bad-option", "name entries, or say which ones by a filter, or `--all`")
            .next("`orrery dead redrive --help` lists the filters")
            .exit(exit::USAGE));
    }
    let watched = async {
        match named {
            true => by_name(session, &arguments, output).await,
            false => by_filter(session, &arguments, output).await,
        }
    };
    tokio::select! {
        done = watched => done,
        () = interrupted() => {
            let next = "`orrery dead campaigns` and `orrery dead list --state redriving` show how far it is";
            Err(Failure::new("interrupted", "the redrive goes on").next(next).exit(exit::INTERRUPTED))
        }
    }
}

async fn by_name(session: &Session, arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let mut failed = 0;
    for entry in &arguments.entries {
        let redrive = Command::Redrive { by: by(), reason: arguments.reason.clone(), campaign: None };
        if !arguments.watch {
            tell(session, entry, &redrive, output).await?;
            continue;
        }
        let key = Key::parse(entry)?;
        let (revision, _) = session.ask(&key, &redrive).await?;
        let letter = settled(session, &key, revision.0).await?;
        failed += u32::from(letter.state == "waiting");
        output.show(&Told {
            entry: entry.clone(),
            failure: letter.current_failure(),
            revision: letter.revision,
            state: Some(letter.state),
        });
    }
    if !arguments.watch {
        output.say("what comes of it is not waited for: `--watch` does, `orrery dead show` tells it");
    }
    not_redriven(failed.into())
}

/// The letter, once it is known what came of its redrive.
async fn settled(session: &Session, entry: &Key, revision: u64) -> Result<Letter, Failure> {
    loop {
        let letter = find(session, entry).await?.letter;
        if letter.revision >= revision && letter.state != "redriving" {
            return Ok(letter);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn by_filter(session: &Session, arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let name = arguments.name.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let key = Key::parse(&name)?;
    let start = campaign::Command::Start {
        filter: arguments.filter.of_campaign()?,
        rate: arguments.rate,
        by: by(),
        reason: arguments.reason.clone(),
    };
    // Only a gateway knows which entries are meant: without one it would wait for nobody knows how long.
    crate::gateway::address(session)?;
    if arguments.filter.means_nothing(session).await? {
        say_what_there_is(session, output).await?;
    }
    if !arguments.watch {
        campaigns::tell(session, &name, &start, output).await?;
        output.say("what comes of it is not waited for: `--watch` does, `orrery dead campaigns` shows it");
        return Ok(());
    }
    let (revision, _) = session.ask(&key, &start).await?;
    let ended = campaigns::follow(session, &key, revision.0, output).await?;
    not_redriven(ended.returned + ended.skipped)
}

fn not_redriven(count: u64) -> Result<(), Failure> {
    if count == 0 {
        return Ok(());
    }
    Err(Failure::new("not-redriven", format!("{count} dead letters were not redriven"))
        .next("`orrery dead show` says why; edit the payload, mend the cause, or drop them"))
}
