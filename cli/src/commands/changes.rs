//! `orrery changes`: changes of repositories, from the request to the merge.

use std::path::{Path, PathBuf};

use bus_schemas::commands::change::FileChange;
use gateway_api::changes::{CancelChange, Change, ChangePage, ChangeState, ListChanges, NewChange};
use gateway_api::routes;

use crate::client::{Client, id};
use crate::commands::tasks::{one_line, watch};
use crate::failure::{Failure, exit};
use crate::output::{Output, Show, table};
use crate::paging::{self, Page};

/// The most bytes of a file that is read: the entity takes no more in a whole change.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The action on changes; without a verb they are listed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List changes, newest first
    List(List),
    /// Show a change: its steps so far, its branch and what it waits for
    Show {
        /// The change's name
        name: String,
    },
    /// Schedule a change; a person approves its diff before anything is written
    Schedule(Schedule),
    /// Cancel a change: what was written is removed again, what was merged stays
    Cancel {
        /// The change's name
        name: String,
        /// The reason
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Default, clap::Args)]
struct List {
    /// Only changes in this state
    #[arg(long)]
    state: Option<ChangeState>,
    #[command(flatten)]
    page: Page,
}

/// A change to schedule.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["files", "delete"]))]
struct Schedule {
    /// The change's name, such as `fix-1`
    name: String,
    /// The repository's top folder, on the machine of the agents
    #[arg(long)]
    repo: PathBuf,
    /// The branch that is to have the change
    #[arg(long, default_value = "main")]
    target: String,
    /// A file of the repository and the file here with its whole new content; repeat it for more
    #[arg(long = "file", value_name = "PATH=FILE")]
    files: Vec<String>,
    /// A file of the repository to delete; repeat it for more
    #[arg(long, value_name = "PATH")]
    delete: Vec<String>,
    /// The message of the commit
    #[arg(long, short)]
    message: String,
    /// A test that must run and pass, by name; repeat it for more
    #[arg(long, value_name = "TEST")]
    expect: Vec<String>,
    /// Stop after the tests: nobody is asked, and nothing is merged
    #[arg(long)]
    dry_run: bool,
    /// Ask for approval of the very commit of the target, not of the touched files only
    #[arg(long)]
    full_base: bool,
    /// The completed task whose result is the ground of the change
    #[arg(long, value_name = "TASK")]
    ground: Option<String>,
    /// Watch the change to its end
    #[arg(long)]
    wait: bool,
}

impl Show for ChangePage {
    fn text(&self) -> String {
        if self.changes.is_empty() {
            return "no changes".to_owned();
        }
        let rows: Vec<Vec<String>> = self.changes.iter().map(row).collect();
        let table = table(&["CHANGE", "STATE", "TARGET", "FILES", "BY", "MESSAGE"], &rows);
        paging::shown(table, self.next_cursor.as_ref())
    }
}

fn row(change: &Change) -> Vec<String> {
    vec![
        change.id.to_string(),
        state(change).to_owned(),
        one_line(&change.target),
        change.paths.len().to_string(),
        one_line(&change.scheduled_by),
        one_line(&change.message).chars().take(60).collect(),
    ]
}

fn state(change: &Change) -> &'static str {
    change.state.into()
}

impl Show for Change {
    fn text(&self) -> String {
        let trial = if self.dry_run { " (a trial)" } else { "" };
        let mut lines = vec![
            format!("change {}: {}{trial}", self.id, state(self)),
            format!("  repository {}, branch {}", one_line(&self.repo), one_line(&self.target)),
            format!("  scheduled by {}, at {}", one_line(&self.scheduled_by), self.scheduled_at.to_rfc3339()),
            format!("  message: {}", one_line(&self.message)),
        ];
        lines.extend(self.paths.iter().map(|path| format!("  file {}", one_line(path))));
        lines.extend(self.ground.iter().map(|task| format!("  ground: task {task}")));
        lines.extend(self.base.iter().map(|base| format!("  base {}", one_line(base))));
        lines.extend(self.branch.iter().map(|branch| format!("  own branch {}", one_line(branch))));
        lines.extend(self.commit.iter().map(|commit| format!("  commit {}", one_line(commit))));
        lines.extend(self.merged.iter().map(|commit| format!("  merged as {}", one_line(commit))));
        lines.extend(self.reason.iter().map(|reason| format!("  reason: {}", one_line(reason))));
        lines.extend(self.rollback.iter().map(|task| format!("  removed by task {task}")));
        if let (ChangeState::Waiting, Some(approval)) = (self.state, &self.approval) {
            lines.push(format!("to read the diff and decide: orrery approvals show {approval}"));
        }
        lines.join("\n")
    }
}

/// Runs the verb.
pub async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    match arguments.verb.unwrap_or(Verb::List(List::default())) {
        Verb::List(List { state, page }) => {
            let query = ListChanges { state, limit: page.limit, cursor: page.cursor };
            output.show(&client.list(routes::ListChanges, &query).await?);
        }
        Verb::Show { name } => {
            output.show(&client.get(routes::ShowChange, &[id(&name)?.as_str()]).await?);
        }
        Verb::Schedule(asked) => schedule(client, asked, output).await?,
        Verb::Cancel { name, reason } => {
            let body = CancelChange { reason };
            let change = client.send(routes::CancelChange, &[id(&name)?.as_str()], &body).await?;
            output.changed(&change, &format!("change {} is {}", change.id, state(&change)));
        }
    }
    Ok(())
}

async fn schedule(client: &Client, asked: Schedule, output: Output) -> Result<(), Failure> {
    let Schedule { name, repo, target, files, delete, message, expect, dry_run, full_base, ground, wait } =
        asked;
    let name = id(&name)?;
    let repo = std::path::absolute(&repo).unwrap_or(repo).display().to_string();
    let written = files.iter().map(|pair| written(pair)).collect::<Result<Vec<_>, _>>()?;
    let ground = ground.as_deref().map(id).transpose()?;
    let deleted = delete.into_iter().map(|path| FileChange { path, text: None });
    let files = written.into_iter().chain(deleted).collect();
    let body = NewChange { repo, target, files, message, expect, dry_run, full_base, ground };
    let change = client.send(routes::ScheduleChange, &[name.as_str()], &body).await?;
    if wait {
        output.say(&format!("change {name} is scheduled"));
        return watch::to_its_end(client, &name, output).await;
    }
    let next = if dry_run { "orrery changes show" } else { "orrery approvals show" };
    output.changed(&change, &format!("change {name} is {}; `{next} {name}` shows more", state(&change)));
    Ok(())
}

/// A file with its new content, from `PATH=FILE`.
fn written(pair: &str) -> Result<FileChange, Failure> {
    let usage = |why: String| {
        Failure::new("invalid-change", why)
            .next("give `--file PATH=FILE`: a path in the repository, and a file here")
            .exit(exit::USAGE)
    };
    let (path, file) = pair.split_once('=').ok_or_else(|| usage(format!("`{pair}` has no `=`")))?;
    let text = read(Path::new(file)).map_err(|why| usage(format!("`{file}` cannot be read: {why}")))?;
    Ok(FileChange { path: path.to_owned(), text: Some(text) })
}

fn read(file: &Path) -> Result<String, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes are too many"));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}
