//! `orrery redrives`: redriving many dead letters at a rate, and showing, pausing, resuming and canceling
//! that.

use bus_schemas::Revision;
use gateway_api::dead_letters::{DeadLetterFilter, Reason};
use gateway_api::redrives::{NewRedrive, Redrive, RedrivePage, RedriveState, ResumeRedrive};
use gateway_api::routes;

use super::dead_letters::filter::Filter;
use super::dead_letters::{not_redriven, say_what_there_is};
use crate::client::{Client, LOOK, id};
use crate::commands::tasks::one_line;
use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::paging::{self, Page};

/// The action on redrives; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List redrives, newest first
    List(Page),
    /// Show a redrive's progress
    Show {
        /// The redrive's name
        redrive: String,
    },
    /// Redrive every waiting dead letter that matches a filter, at a rate
    Start(Box<Start>),
    /// Pause a redrive: it sends nothing until resumed
    Pause {
        /// The redrive's name
        redrive: String,
        /// The reason
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Resume a paused redrive
    Resume {
        /// The redrive's name
        redrive: String,
        /// The new rate: entries per second, 1 to 1000
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rate: Option<u32>,
    },
    /// Cancel a redrive; entries that were not sent stay waiting
    Cancel {
        /// The redrive's name
        redrive: String,
        /// The reason
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// Which dead letters to redrive, and how fast.
#[derive(Debug, clap::Args)]
struct Start {
    #[command(flatten)]
    filter: Filter,
    /// Redrive everything that waits
    #[arg(long)]
    all: bool,
    /// Entries per second, 1 to 1000
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// The redrive's name [default: a new name]
    #[arg(long)]
    name: Option<String>,
    /// Wait for the results
    #[arg(long)]
    watch: bool,
    /// The reason
    #[arg(long, default_value = "")]
    reason: String,
}

/// Whether the redrive is over: every entry that was sent has a result.
fn is_over(redrive: &Redrive) -> bool {
    let settled = redrive.redriven + redrive.returned + redrive.skipped >= redrive.sent;
    redrive.state == RedriveState::Completed || (redrive.state == RedriveState::Canceled && settled)
}

fn progress(redrive: &Redrive) -> String {
    let Redrive { sent, entries, redriven, returned, skipped, .. } = redrive;
    let more = if redrive.gathered { "" } else { " and more" };
    format!("{sent} of {entries}{more} sent: {redriven} redriven, {returned} returned, {skipped} skipped")
}

/// The redrive's state as a word.
fn word(redrive: &Redrive) -> &'static str {
    redrive.state.into()
}

impl Show for RedrivePage {
    fn text(&self) -> String {
        if self.redrives.is_empty() {
            return "no redrives".to_owned();
        }
        let row = |redrive: &Redrive| {
            let rate = format!("{}/s", redrive.rate);
            let at = redrive.started_at.to_rfc3339();
            vec![redrive.id.to_string(), word(redrive).to_owned(), rate, at, progress(redrive)]
        };
        let rows: Vec<Vec<String>> = self.redrives.iter().map(row).collect();
        let table = table(&["REDRIVE", "STATE", "RATE", "STARTED", "PROGRESS"], &rows);
        paging::shown(table, self.next_cursor.as_ref())
    }
}

impl Show for Redrive {
    fn text(&self) -> String {
        let filter = serde_json::to_value(&self.filter).unwrap_or_default();
        let filter = match filter.as_object().filter(|filter| !filter.is_empty()) {
            None => "everything that waits".to_owned(),
            Some(filter) => {
                filter.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
            }
        };
        let mut lines = vec![
            format!("redrive {} is {}", self.id, word(self)),
            format!("  means     {filter}"),
            format!("  progress  {}", progress(self)),
            format!("  rate      {} a second", self.rate),
            format!("  started   {} by {}", self.started_at.to_rfc3339(), one_line(&self.by)),
        ];
        if !self.reason.is_empty() {
            lines.push(format!("  because   {}", one_line(&self.reason)));
        }
        lines.extend(self.ended_at.iter().map(|at| format!("  ended     {}", at.to_rfc3339())));
        lines.extend(self.last_failure.iter().map(|why| format!("  failure   {}", one_line(why))));
        lines.join("\n")
    }
}

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let redrive = match arguments.verb.unwrap_or(Verb::List(Page::default())) {
        Verb::List(page) => {
            output.show(&client.list(routes::ListRedrives, &page.into()).await?);
            return Ok(());
        }
        Verb::Start(start) => {
            return tokio::select! {
                done = self::start(client, *start, output) => done,
                () = interrupted() => Err(Failure::new("interrupted", "the redrive goes on")
                    .next("`orrery redrives` shows how far it is")
                    .exit(exit::INTERRUPTED)),
            };
        }
        Verb::Show { redrive } => client.get(routes::ShowRedrive, &[id(&redrive)?.as_str()]).await?,
        Verb::Pause { redrive, reason } => {
            client.send(routes::PauseRedrive, &[id(&redrive)?.as_str()], &Some(Reason { reason })).await?
        }
        Verb::Resume { redrive, rate } => {
            let body = Some(ResumeRedrive { rate });
            client.send(routes::ResumeRedrive, &[id(&redrive)?.as_str()], &body).await?
        }
        Verb::Cancel { redrive, reason } => {
            client.send(routes::CancelRedrive, &[id(&redrive)?.as_str()], &Some(Reason { reason })).await?
        }
    };
    output.show(&redrive);
    Ok(())
}

async fn start(client: &Client, start: Start, output: Output) -> Result<(), Failure> {
    let Start { filter, all, rate, name, watch, reason } = start;
    if all != filter.is_empty() {
        return Err(Failure::new("bad-option", "say which dead letters are meant by a filter, or `--all`")
            .next("`orrery redrives start --help` lists the filters")
            .exit(exit::USAGE));
    }
    let name = name.as_deref().map(id).transpose()?;
    if filter.means_nothing(client).await? {
        say_what_there_is(client, output).await?;
    }
    let DeadLetterFilter { class, kind, key, dependency, since, before, .. } = filter.of(None);
    let dependency = dependency.as_deref().map(id).transpose()?;
    let rate = Some(rate);
    let body = NewRedrive { name, all, class, kind, key, dependency, since, before, rate, reason };
    let started = client.send(routes::StartRedrive, &[], &body).await?;
    if !watch {
        output.show(&started);
        output.say("not waiting for the results: use `--watch`, or see `orrery redrives show`");
        return Ok(());
    }
    let ended = follow(client, started, output).await?;
    not_redriven(ended.returned + ended.skipped)
}

/// Shows each change of a redrive until none of its entries is under way.
async fn follow(client: &Client, mut redrive: Redrive, output: Output) -> Result<Redrive, Failure> {
    let mut shown: Option<Revision> = None;
    loop {
        let is_over = is_over(&redrive);
        if shown != Some(redrive.revision) {
            match output.json() || is_over {
                true => output.show(&redrive),
                false => output.say(&format!("{}: {}", word(&redrive), progress(&redrive))),
            }
            shown = Some(redrive.revision);
        }
        if is_over {
            return Ok(redrive);
        }
        tokio::time::sleep(LOOK).await;
        redrive = client.get(routes::ShowRedrive, &[redrive.id.as_str()]).await?;
    }
}
