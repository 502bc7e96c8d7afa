//! `orrery archive`: moves the events of task trees that ended long ago out of the event stream into files,
//! which `events`, `replay` and `verify` still read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use actors_host::Config;
use actors_runtime::recent::RECENT_IDS_MAX;
use bus_client::now;
use bus_schemas::Timestamp;
use orrery_storage::archive::{self, Archive, Archived, Kept, Request};

use crate::bar::Bar;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::session::Session;

/// Default age of a task tree that is archived.
const OLDER_THAN_DEFAULT: &str = "30d";

/// What to move, and where.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only task trees in which nothing has happened for this long: `30d`, `12h`, `90m`, `10s`
    #[arg(long, value_name = "AGE", default_value = OLDER_THAN_DEFAULT, value_parser = age)]
    older_than: Duration,
    /// Also cut the logs: remove commit records of that age that no takeover needs
    #[arg(long)]
    logs: bool,
    /// The directory of the archive files; verbs that read them need the same option. Default: `archive` in
    /// the data directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Show for Archived {
    fn text(&self) -> String {
        let Self { trees, tasks, events, removed, left, file, .. } = self;
        let left = if *left == 0 { String::new() } else { format!("; {left} tasks stay") };
        let moved = match file {
            Some(file) => format!(
                "{trees} task trees ({tasks} tasks): {events} events written to `{}`, {removed} taken out of the stream{left}",
                file.display()
            ),
            None => format!("nothing to write, {removed} events taken out of the stream{left}"),
        };
        moved + &logs(self)
    }
}

fn logs(archived: &Archived) -> String {
    let Archived { records, records_removed, kept, logs, .. } = archived;
    if !logs {
        return String::new();
    }
    let cut = match (records, records_removed, kept.is_empty()) {
        (0, 0, true) => "\nno log has records of that age to cut".to_owned(),
        (0, 0, false) => "\nno log was cut".to_owned(),
        _ => format!("\n{records} commit records written, {records_removed} cut off the logs"),
    };
    kept.iter().fold(cut, |text, kept| text + "\n" + &stays(kept))
}

fn stays(Kept { partition, records, why }: &Kept) -> String {
    let why = match why.as_str() {
        "recent-commands" => format!("its last {RECENT_IDS_MAX} commands begin before or among them"),
        "snapshot" => {
            "the partition's snapshot is not behind them; one is taken every 4,096 records, and when the host stops"
                .to_owned()
        }
        "events" => "their events are not all out; `orrery doctor` says what keeps them".to_owned(),
        _ => "their dead letters are not all out, or a later record does not say so yet".to_owned(),
    };
    format!("partition {partition} keeps {records} records of that age: {why}")
}

/// Where archive files are read from.
#[derive(Debug, Default, clap::Args)]
pub struct Location {
    /// The directory that `orrery archive` wrote to. Default: `archive` in the data directory
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
}

impl Location {
    /// Opens the archive; an empty one where nothing was archived.
    pub fn open(&self, config: &Config) -> Result<Archive, Failure> {
        self.open_or(&directory(config))
    }

    /// Opens the archive, in the given default directory where none was named.
    pub fn open_or(&self, usual: &Path) -> Result<Archive, Failure> {
        match &self.archive {
            Some(named) if !named.is_dir() => {
                Err(Failure::new("archive-damaged", format!("`{}` is no directory", named.display()))
                    .next("name the directory that was given as `--dir` to `orrery archive`")
                    .exit(exit::NOT_FOUND))
            }
            named => Ok(Archive::open(named.as_deref().unwrap_or(usual))?),
        }
    }
}

fn age(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("an age is a number with `s`, `m`, `h` or `d`, such as `30d`".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "the time is too long ago".to_owned())
}

/// The default archive directory of an installation.
pub fn directory(config: &Config) -> PathBuf {
    config.data_dir.join("archive")
}

/// Archives what is old enough, and says what stays and why.
pub async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { older_than, logs, dir } = arguments;
    let older = u64::try_from(older_than.as_millis()).unwrap_or(u64::MAX);
    let before = Timestamp(now().0.saturating_sub(older));
    let request = Request { directory: dir.unwrap_or_else(|| directory(&session.config)), before, logs };
    let archived = archive::run(&session.bus, &request, &Bar::new(output)).await?;
    for (entity, reason) in &archived.stay {
        output.say(&format!("`{entity}` stays: {reason}"));
    }
    output.show(&archived);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn ages_have_units() {
        assert_eq!(super::age("30d").map(|age| age.as_secs()), Ok(2_592_000));
        assert_eq!(super::age("0s").map(|age| age.as_secs()), Ok(0));
        for text in ["", "30", "d", "x h", "99999999999999999999d", "30 days"] {
            assert!(super::age(text).is_err(), "{text}");
        }
    }
}
