//! Who changed what and when, from one pass over `git log`.
//!
//! Merges count as commits and change no lines, renames are a removal and an addition, `.mailmap` is respected.
//! Times are the authors' and are shown in UTC.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::git::{self, Git};
use super::top::Top;
use super::{Error, Watch, files};

/// Ten times what the report is built for; the rest of a longer history is older and matters less.
pub const COMMITS_MAX: u64 = 100_000;

/// A reader looks at the first handful; more would only lengthen the report.
pub const CHURN_FILES: usize = 25;

/// Enough to name everybody in most projects; the count of all is kept beside it.
pub const CONTRIBUTORS_LISTED: usize = 100;

/// Folders with a bus factor, most changed first.
pub const FOLDERS_LISTED: usize = 50;

/// Bounds memory at some tens of megabytes when a history has touched an unusual number of paths.
const PATHS_TRACKED_MAX: usize = 200_000;

/// Bounds the table of who changed how much in which top-level folder.
const SHARES_TRACKED_MAX: usize = 200_000;

/// No file system holds a longer path, and no person has a longer name.
const PATH_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 256;

/// Between two progress reports.
const PROGRESS_EVERY: u64 = 200;

/// Starts a commit; no line of numbers and no path can, because both start with a digit or a dash.
const COMMIT_MARK: u8 = 0x1e;

const LOG: &[&str] = &[
    "log",
    "HEAD",
    "-z",
    "--numstat",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-diff-merges",
    "--diff-algorithm=myers",
    "-O/dev/null",
    "--encoding=UTF-8",
    "--format=tformat:%x1e%at%x1f%aE%x1f%aN",
];

/// A repository's past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The commit that was checked out, by its full hash.
    pub head: String,
    pub commits: u64,
    /// Whether the history is longer than what was read, by a shallow clone or by the limit.
    pub truncated: bool,
    /// RFC 3339 in UTC.
    pub first: String,
    pub last: String,
    pub added: u64,
    pub deleted: u64,
    /// Weeks with commits, oldest first.
    pub weeks: Vec<Week>,
    pub contributors_total: u64,
    /// Most commits first.
    pub contributors: Vec<Contributor>,
    /// Most often changed first.
    pub churn: Vec<ChurnFile>,
    /// Most changed first; only folders that still exist.
    pub folders: Vec<Folder>,
    /// Changes that were counted but not attributed to a path, because of the memory bound.
    pub changes_untracked: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Week {
    /// ISO 8601, such as `2024-W07`.
    pub week: String,
    pub commits: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contributor {
    pub name: String,
    pub email: String,
    pub commits: u64,
    pub added: u64,
    pub deleted: u64,
    pub first: String,
    pub last: String,
}

/// A file that is changed often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChurnFile {
    pub path: String,
    pub commits: u64,
    pub added: u64,
    pub deleted: u64,
    /// Whether the file still exists.
    pub present: bool,
}

/// A top-level folder and how few people know most of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Folder {
    /// `.` stands for the files at the top.
    pub path: String,
    pub lines_changed: u64,
    pub authors: u64,
    /// The smallest number of authors who together made more than half of the line changes.
    pub bus_factor: u64,
    /// Who they are, most lines changed first.
    pub key_authors: Vec<String>,
}

/// Checks that a report can be made of `path`; every way it cannot has its own error and hint.
pub fn check_repository(path: &Path) -> Result<(), Error> {
    git::head(path, &Watch::silent()).map(drop)
}

/// Reads the history that led to the commit that is checked out.
pub fn history(repo: &Path, watch: &Watch) -> Result<History, Error> {
    let head = git::head(repo, watch)?;
    let root = files::check_folder(repo)?;
    let total = git::line(&root, &["rev-list", "--count", "HEAD"], watch)?.parse().ok();
    let shallow = git::line(&root, &["rev-parse", "--is-shallow-repository"], watch)? == "true";
    let mut tally = Tally::default();
    let mut over = false;
    Git::start(&root, LOG)?.each_field(watch, |field| {
        if field.first() == Some(&COMMIT_MARK) {
            if tally.commits == COMMITS_MAX {
                over = true;
                return ControlFlow::Break(());
            }
            tally.begin_commit(&String::from_utf8_lossy(&field[1..]));
            if tally.commits.is_multiple_of(PROGRESS_EVERY) {
                watch.progress(tally.commits, total, "reading commits");
            }
        } else {
            tally.add_change(field);
        }
        ControlFlow::Continue(())
    })?;
    watch.progress(tally.commits, total, "reading commits");
    tally.finish(&root, head, shallow || over)
}

/// Running sums, with authors and paths as small numbers.
#[derive(Default)]
struct Tally {
    commits: u64,
    author: usize,
    authors: Vec<Author>,
    author_by_email: HashMap<String, usize>,
    weeks: BTreeMap<(i32, u32), u64>,
    paths: HashMap<String, Change>,
    shares: HashMap<(String, usize), u64>,
    changes_untracked: u64,
}

struct Author {
    name: String,
    email: String,
    change: Change,
    first: i64,
    last: i64,
}

#[derive(Clone, Copy, Default)]
struct Change {
    commits: u64,
    added: u64,
    deleted: u64,
}

impl Tally {
    fn begin_commit(&mut self, header: &str) {
        let mut parts = header.splitn(3, '\u{1f}');
        let seconds = parts.next().and_then(|at| at.parse().ok()).unwrap_or(0);
        let email = files::clip(parts.next().unwrap_or_default(), NAME_BYTES_MAX);
        let name = files::clip(parts.next().unwrap_or_default(), NAME_BYTES_MAX);
        self.commits += 1;
        let week = moment(seconds).iso_week();
        *self.weeks.entry((week.year(), week.week())).or_default() += 1;
        // People are told apart by mail address; one without is told apart by name.
        let key = if email.is_empty() { name.to_owned() } else { email.to_lowercase() };
        let index = *self.author_by_email.entry(key).or_insert_with(|| {
            let (name, email) = (name.to_owned(), email.to_owned());
            self.authors.push(Author {
                name,
                email,
                change: Change::default(),
                first: seconds,
                last: seconds,
            });
            self.authors.len() - 1
        });
        self.author = index;
        let author = &mut self.authors[index];
        author.change.commits += 1;
        author.first = author.first.min(seconds);
        author.last = author.last.max(seconds);
    }

    /// One `added TAB deleted TAB path`, where binary files have dashes for numbers.
    fn add_change(&mut self, field: &[u8]) {
        let field = String::from_utf8_lossy(field);
        let mut parts = field.trim_start_matches('\n').splitn(3, '\t');
        let (Some(added), Some(deleted), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        let (added, deleted) = (added.parse().unwrap_or(0), deleted.parse().unwrap_or(0));
        if let Some(author) = self.authors.get_mut(self.author) {
            author.change.added += added;
            author.change.deleted += deleted;
        }
        let full = self.paths.len() >= PATHS_TRACKED_MAX && !self.paths.contains_key(path);
        if full || path.len() > PATH_BYTES_MAX {
            self.changes_untracked += 1;
            return;
        }
        let change = self.paths.entry(path.to_owned()).or_default();
        change.commits += 1;
        change.added += added;
        change.deleted += deleted;
        let folder = path.split_once('/').map_or(".", |(folder, _)| folder);
        let share = (folder.to_owned(), self.author);
        if self.shares.len() < SHARES_TRACKED_MAX || self.shares.contains_key(&share) {
            *self.shares.entry(share).or_default() += added + deleted;
        }
    }

    fn finish(self, root: &Path, head: String, truncated: bool) -> Result<History, Error> {
        let folders = folders(root, &self.shares, &self.authors);
        let contributors_total = self.authors.len() as u64;
        let first = self.authors.iter().map(|author| author.first).min().unwrap_or(0);
        let last = self.authors.iter().map(|author| author.last).max().unwrap_or(0);
        let added = self.authors.iter().map(|author| author.change.added).sum();
        let deleted = self.authors.iter().map(|author| author.change.deleted).sum();
        let weeks = self.weeks.into_iter().map(|((year, week), commits)| {
            let week = format!("{year:04}-W{week:02}");
            Week { week, commits }
        });
        Ok(History {
            head,
            commits: self.commits,
            truncated,
            first: shown(first),
            last: shown(last),
            added,
            deleted,
            weeks: weeks.collect(),
            contributors_total,
            contributors: contributors(self.authors),
            churn: churn(root, self.paths),
            folders,
            changes_untracked: self.changes_untracked,
        })
    }
}

fn contributors(authors: Vec<Author>) -> Vec<Contributor> {
    let mut all: Vec<_> = authors
        .into_iter()
        .map(|author| Contributor {
            name: author.name,
            email: author.email,
            commits: author.change.commits,
            added: author.change.added,
            deleted: author.change.deleted,
            first: shown(author.first),
            last: shown(author.last),
        })
        .collect();
    all.sort_by(|a, b| {
        let lines = |one: &Contributor| one.added + one.deleted;
        (b.commits, lines(b), &a.email, &a.name).cmp(&(a.commits, lines(a), &b.email, &b.name))
    });
    all.truncate(CONTRIBUTORS_LISTED);
    all
}

fn churn(root: &Path, paths: HashMap<String, Change>) -> Vec<ChurnFile> {
    let mut top = Top::new(CHURN_FILES);
    for (path, change) in paths {
        top.push((change.commits, change.added + change.deleted, change.added), path);
    }
    let rows = top.into_sorted().into_iter().map(|((commits, lines, added), path)| {
        let present = files::locate(root, &path).is_some();
        ChurnFile { path, commits, added, deleted: lines - added, present }
    });
    rows.collect()
}

fn folders(root: &Path, shares: &HashMap<(String, usize), u64>, authors: &[Author]) -> Vec<Folder> {
    let mut by_folder: BTreeMap<&str, Vec<(u64, &Author)>> = BTreeMap::new();
    for ((folder, author), lines) in shares {
        if *lines > 0
            && let Some(author) = authors.get(*author)
        {
            by_folder.entry(folder).or_default().push((*lines, author));
        }
    }
    by_folder.retain(|folder, _| *folder == "." || root.join(folder).is_dir());
    let mut rows: Vec<_> = by_folder.into_iter().map(|(path, shares)| bus_factor(path, shares)).collect();
    rows.sort_by(|a, b| (b.lines_changed, &a.path).cmp(&(a.lines_changed, &b.path)));
    rows.truncate(FOLDERS_LISTED);
    rows
}

fn bus_factor(path: &str, mut shares: Vec<(u64, &Author)>) -> Folder {
    shares.sort_by(|(a_lines, a), (b_lines, b)| {
        (b_lines, &a.email, &a.name).cmp(&(a_lines, &b.email, &b.name))
    });
    let lines_changed: u64 = shares.iter().map(|(lines, _)| lines).sum();
    let mut sum = 0;
    let mut key_authors = Vec::new();
    for (lines, author) in &shares {
        sum += lines;
        key_authors.push(author.name.clone());
        if sum * 2 > lines_changed {
            break;
        }
    }
    Folder {
        path: path.to_owned(),
        lines_changed,
        authors: shares.len() as u64,
        bus_factor: key_authors.len() as u64,
        key_authors,
    }
}

/// A commit may claim any time; one that no calendar holds is shown as the epoch.
fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH)
}

fn shown(seconds: i64) -> String {
    moment(seconds).to_rfc3339_opts(SecondsFormat::Secs, true)
}
