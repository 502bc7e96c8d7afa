//! Who changed what and when, from one pass over `git log`.
//!
//! Merges count as commits and change no lines, renames are a removal and an addition, `.mailmap` is respected.
//! Times are the authors' and are shown in UTC. A time before 1990, or in the future, comes from a wrong
//! clock: such commits are counted, but belong to no date. A partial clone lacks contents: a commit whose
//! lines cannot be counted counts without them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Stdio;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{self, Tree};
use super::git::{self, Git, Objects};
use super::top::Top;
use super::{Error, Watch};

/// Commits that are read: ten times what the report is built for. The rest of a longer history is older and
/// matters less.
pub const COMMITS_MAX: u64 = 100_000;

/// Entries of a list: a reader looks at the first handful.
pub const CHURN_FILES: usize = 25;

/// Contributors that are listed: all of them in most projects. Their number is kept as well.
pub const CONTRIBUTORS_LISTED: usize = 100;

/// Folders with a bus factor, most changed first.
pub const FOLDERS_LISTED: usize = 50;

/// Paths that are tracked, which bounds memory at some tens of megabytes.
const PATHS_TRACKED_MAX: usize = 200_000;

/// Entries of the table of changes by author and top-level folder.
const SHARES_TRACKED_MAX: usize = 200_000;

/// Bytes of a path or a name: no file system has longer paths, and no person a longer name.
const PATH_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 256;

/// Commits between two progress reports.
const PROGRESS_EVERY: u64 = 200;

/// 1990-01-01T00:00:00Z: dates before it come from clocks at zero.
const FIRST_SECOND: i64 = 631_152_000;

/// The mark at the start of a commit. Nothing else that git prints starts with it: paths of changed files
/// have numbers or a line of their own before them.
const COMMIT_MARK: u8 = 0x1e;
/// The separator of the parts of a commit.
const SEPARATOR: u8 = 0x1f;

/// The options that all ways to read the history share.
const LOG: &[&str] = &[
    "log",
    "-z",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-diff-merges",
    "--ignore-submodules=none",
    "--diff-algorithm=myers",
    "-O/dev/null",
    "--encoding=UTF-8",
    "--format=tformat:%x1e%H%x1f%at%x1f%aE%x1f%aN",
];
/// With the changed lines, which needs the contents of all files.
const WITH_LINES: &[&str] = &["--numstat", "HEAD"];
/// As [`WITH_LINES`], of commits that are named on the standard input.
const WITH_LINES_OF: &[&str] = &["--numstat", "--no-walk=unsorted", "--stdin"];
/// With the changed paths, which needs only the folders.
const WITH_NAMES: &[&str] = &["--raw", "--no-abbrev", "HEAD"];
/// Only the commits.
const BARE: &[&str] = &["--no-patch", "HEAD"];

/// The history of a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The full hash of the commit that was checked out.
    pub head: String,
    pub commits: u64,
    /// Whether the history is longer than what was read, because of a shallow clone or of the limit.
    pub truncated: bool,
    /// The first date, in RFC 3339 and UTC; `None` when no commit has a credible date.
    pub first: Option<String>,
    pub last: Option<String>,
    /// Commits dated before 1990, or after the report was made. They belong to no week.
    #[serde(default)]
    pub misdated: u64,
    /// Commits whose changed lines are not counted, because the clone is partial.
    #[serde(default)]
    pub without_lines: u64,
    pub added: u64,
    pub deleted: u64,
    /// Weeks with commits, oldest first.
    pub weeks: Vec<Week>,
    pub contributors_total: u64,
    /// The contributors with the most commits first.
    pub contributors: Vec<Contributor>,
    /// The files changed most often first.
    pub churn: Vec<ChurnFile>,
    /// The folders changed most first; only those that still have files.
    pub folders: Vec<Folder>,
    /// Changes that were counted without a path, because of the memory bound.
    pub changes_untracked: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Week {
    /// The week in ISO 8601, such as `2024-W07`.
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
    /// The contributor's first date, in RFC 3339 and UTC.
    pub first: Option<String>,
    pub last: Option<String>,
}

/// A file that is changed often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChurnFile {
    pub path: String,
    pub commits: u64,
    pub added: u64,
    pub deleted: u64,
    /// Whether git still lists the file.
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
    /// Those authors, most lines changed first.
    pub key_authors: Vec<String>,
}

/// Checks that a report can be made of `path`; each reason against it has its own error and hint.
pub fn check_repository(path: &Path) -> Result<(), Error> {
    git::head(path, &Watch::silent()).map(drop)
}

/// Reads the history that led to the commit that is checked out. Dates after `now`, in seconds since 1970 as
/// in git, are treated as wrong.
pub fn history(repo: &Path, now: i64, watch: &Watch) -> Result<History, Error> {
    let head = git::head(repo, watch)?;
    let names = Tree::read(repo, watch)?.names();
    let root = files::check_folder(repo)?;
    let total = git::line(&root, &["rev-list", "--count", "HEAD"], watch)?.parse().ok();
    let shallow = git::line(&root, &["rev-parse", "--is-shallow-repository"], watch)? == "true";
    let log = Log { root: &root, now, total, watch };
    let tally = match log.whole() {
        Err(Error::GitFailed { .. }) if git::is_partial(&root, watch)? => match log.partial() {
            // Folders are missing too.
            Err(Error::GitFailed { .. }) => log.bare()?,
            read => read?,
        },
        read => read?,
    };
    watch.progress(tally.commits, total, "reading commits");
    Ok(tally.finish(&names, head, shallow))
}

/// The repository, and the way to read its history.
struct Log<'a> {
    root: &'a Path,
    now: i64,
    total: Option<u64>,
    watch: &'a Watch,
}

impl Log<'_> {
    fn tally(&self) -> Tally {
        Tally { now: self.now, ..Tally::default() }
    }

    fn whole(&self) -> Result<Tally, Error> {
        let mut tally = self.tally();
        self.read(WITH_LINES, Stdio::null(), |field| match commit(field) {
            Some(header) => self.begin(&mut tally, header),
            None => {
                let Some((added, deleted, path)) = numbers(field) else { return ControlFlow::Continue(()) };
                tally.touch(&path);
                tally.add_lines(&path, added, deleted);
                ControlFlow::Continue(())
            }
        })?;
        Ok(tally)
    }

    /// Counts the paths that every commit changes, and the lines of commits whose contents are all here.
    fn partial(&self) -> Result<Tally, Error> {
        let mut names = Names::new(self)?;
        let mut failed = None;
        self.read(WITH_NAMES, Stdio::null(), |field| {
            names.field(field).unwrap_or_else(|error| {
                failed = Some(error);
                ControlFlow::Break(())
            })
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let (mut tally, whole) = names.finish()?;
        // Without a list git would read everything.
        let Some(whole) = whole else { return Ok(tally) };
        self.read(WITH_LINES_OF, Stdio::from(whole), |field| {
            match (commit(field), numbers(field)) {
                (Some(header), _) => tally.return_to(header),
                (None, Some((added, deleted, path))) => tally.add_lines(&path, added, deleted),
                (None, None) => {}
            }
            ControlFlow::Continue(())
        })?;
        Ok(tally)
    }

    fn bare(&self) -> Result<Tally, Error> {
        let mut tally = self.tally();
        self.read(BARE, Stdio::null(), |field| match commit(field) {
            Some(header) => self.begin(&mut tally, header),
            None => ControlFlow::Continue(()),
        })?;
        tally.without_lines = tally.commits;
        Ok(tally)
    }

    fn read(
        &self,
        how: &[&'static str],
        input: Stdio,
        visit: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        Git::start(self.root, &[LOG, how].concat(), input)?.each_field(self.watch, visit)
    }

    fn begin(&self, tally: &mut Tally, header: &[u8]) -> ControlFlow<()> {
        if tally.commits == COMMITS_MAX {
            tally.over = true;
            return ControlFlow::Break(());
        }
        tally.begin_commit(header);
        if tally.commits.is_multiple_of(PROGRESS_EVERY) {
            self.watch.progress(tally.commits, self.total, "reading commits");
        }
        ControlFlow::Continue(())
    }
}

/// Reads what a partial clone has without the contents of files, one field after the other.
struct Names<'a> {
    log: &'a Log<'a>,
    tally: Tally,
    objects: Objects,
    /// The commits whose contents are all here.
    whole: BufWriter<File>,
    whole_count: u64,
    /// The commit being read, and whether its contents are all here.
    current: Option<(String, bool)>,
    /// Whether the next field is the path of a change.
    is_path: bool,
}

impl<'a> Names<'a> {
    fn new(log: &'a Log<'a>) -> Result<Self, Error> {
        Ok(Self {
            log,
            tally: log.tally(),
            objects: Objects::start(log.root, false)?,
            whole: BufWriter::new(tempfile::tempfile().map_err(unlisted)?),
            whole_count: 0,
            current: None,
            is_path: false,
        })
    }

    fn field(&mut self, field: &[u8]) -> Result<ControlFlow<()>, Error> {
        if std::mem::take(&mut self.is_path) {
            self.tally.touch(&files::shown_name(field));
        } else if let Some(header) = commit(field) {
            self.settle()?;
            let flow = self.log.begin(&mut self.tally, header);
            let id = header.split(|byte| *byte == SEPARATOR).next().unwrap_or_default();
            self.current = flow.is_continue().then(|| (String::from_utf8_lossy(id).into_owned(), true));
            return Ok(flow);
        } else if let Some(change) = field.trim_ascii_start().strip_prefix(b":") {
            self.is_path = true;
            if let Some((_, is_whole @ true)) = &mut self.current {
                *is_whole = is_here(change, &mut self.objects, self.log.watch)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Ends the commit being read.
    fn settle(&mut self) -> Result<(), Error> {
        match self.current.take() {
            Some((id, true)) => {
                self.whole_count += 1;
                writeln!(self.whole, "{id}").map_err(unlisted)?;
            }
            Some((_, false)) => self.tally.without_lines += 1,
            None => {}
        }
        Ok(())
    }

    /// The counts, and the list of commits whose lines can be counted, unless it is empty.
    fn finish(mut self) -> Result<(Tally, Option<File>), Error> {
        self.settle()?;
        let mut whole = self.whole.into_inner().map_err(|error| unlisted(error.into_error()))?;
        whole.rewind().map_err(unlisted)?;
        Ok((self.tally, (self.whole_count > 0).then_some(whole)))
    }
}

/// The error for a list for git that could not be written.
fn unlisted(source: io::Error) -> Error {
    Error::GitMissing { source }
}

/// The text behind the mark of a commit.
fn commit(field: &[u8]) -> Option<&[u8]> {
    field.strip_prefix(&[COMMIT_MARK])
}

/// One `added TAB deleted TAB path`, where binary files have dashes for numbers.
fn numbers(field: &[u8]) -> Option<(u64, u64, String)> {
    let mut parts = field.trim_ascii_start().splitn(3, |byte| *byte == b'\t');
    let mut number = || Some(String::from_utf8_lossy(parts.next()?).parse().unwrap_or(0));
    let (added, deleted) = (number()?, number()?);
    Some((added, deleted, files::shown_name(parts.next()?)))
}

/// Whether both sides of a change, `mode mode object object status`, can be read.
fn is_here(change: &[u8], objects: &mut Objects, watch: &Watch) -> Result<bool, Error> {
    let change = String::from_utf8_lossy(change);
    let words: Vec<&str> = change.split(' ').collect();
    let [old_mode, new_mode, old, new, _] = words.as_slice() else { return Ok(false) };
    for (mode, object) in [(old_mode, old), (new_mode, new)] {
        // A side that does not exist is all zeros, and a submodule's commit is nobody's content.
        let is_content = *mode != "000000" && *mode != "160000";
        if is_content && objects.size(object, watch)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Running sums, with numbers instead of authors and paths.
#[derive(Default)]
struct Tally {
    now: i64,
    commits: u64,
    misdated: u64,
    without_lines: u64,
    /// Whether there are more commits than are read.
    over: bool,
    author: usize,
    authors: Vec<Author>,
    author_by_key: HashMap<String, usize>,
    weeks: BTreeMap<(i32, u32), u64>,
    paths: HashMap<String, Change>,
    shares: HashMap<(String, usize), u64>,
    changes_untracked: u64,
}

struct Author {
    name: String,
    email: String,
    change: Change,
    dates: Dates,
}

/// The first and the last of some times.
#[derive(Clone, Copy, Default)]
struct Dates(Option<(DateTime<Utc>, DateTime<Utc>)>);

#[derive(Clone, Copy, Default)]
struct Change {
    commits: u64,
    added: u64,
    deleted: u64,
}

/// The author and the time of a commit.
struct Header<'a> {
    seconds: Option<i64>,
    email: &'a str,
    name: &'a str,
}

impl<'a> Header<'a> {
    fn new(text: &'a str) -> Self {
        let mut parts = text.splitn(4, '\u{1f}').skip(1);
        let seconds = parts.next().and_then(|at| at.parse().ok());
        let mut text = || files::clip(parts.next().unwrap_or_default(), NAME_BYTES_MAX);
        Self { seconds, email: text(), name: text() }
    }

    /// People are identified by mail address; without one, by name.
    fn key(&self) -> String {
        if self.email.is_empty() { self.name.to_owned() } else { self.email.to_lowercase() }
    }
}

impl Tally {
    fn begin_commit(&mut self, header: &[u8]) {
        let text = String::from_utf8_lossy(header);
        let header = Header::new(&text);
        self.commits += 1;
        let index = *self.author_by_key.entry(header.key()).or_insert_with(|| {
            let (name, email) = (header.name.to_owned(), header.email.to_owned());
            self.authors.push(Author { name, email, change: Change::default(), dates: Dates::default() });
            self.authors.len() - 1
        });
        self.author = index;
        let author = &mut self.authors[index];
        author.change.commits += 1;
        let credible = header.seconds.filter(|seconds| (FIRST_SECOND..=self.now).contains(seconds));
        match credible.and_then(|seconds| DateTime::from_timestamp(seconds, 0)) {
            Some(at) => {
                author.dates.add(at, at);
                let week = at.iso_week();
                *self.weeks.entry((week.year(), week.week())).or_default() += 1;
            }
            None => self.misdated += 1,
        }
    }

    /// Makes the author of a commit that was begun before the one whose lines are added.
    fn return_to(&mut self, header: &[u8]) {
        let text = String::from_utf8_lossy(header);
        self.author = self.author_by_key.get(&Header::new(&text).key()).copied().unwrap_or(usize::MAX);
    }

    fn touch(&mut self, path: &str) {
        let full = self.paths.len() >= PATHS_TRACKED_MAX && !self.paths.contains_key(path);
        if full || path.len() > PATH_BYTES_MAX {
            self.changes_untracked += 1;
            return;
        }
        self.paths.entry(path.to_owned()).or_default().commits += 1;
    }

    fn add_lines(&mut self, path: &str, added: u64, deleted: u64) {
        if let Some(author) = self.authors.get_mut(self.author) {
            author.change.added += added;
            author.change.deleted += deleted;
        }
        let Some(change) = self.paths.get_mut(path) else { return };
        change.added += added;
        change.deleted += deleted;
        let folder = path.split_once('/').map_or(".", |(folder, _)| folder);
        let share = (folder.to_owned(), self.author);
        if self.shares.len() < SHARES_TRACKED_MAX || self.shares.contains_key(&share) {
            *self.shares.entry(share).or_default() += added + deleted;
        }
    }

    fn finish(self, names: &HashSet<String>, head: String, shallow: bool) -> History {
        let folders = folders(names, &self.shares, &self.authors);
        let contributors_total = self.authors.len() as u64;
        let mut dates = Dates::default();
        self.authors
            .iter()
            .filter_map(|author| author.dates.0)
            .for_each(|(first, last)| dates.add(first, last));
        let added = self.authors.iter().map(|author| author.change.added).sum();
        let deleted = self.authors.iter().map(|author| author.change.deleted).sum();
        let weeks = self.weeks.into_iter().map(|((year, week), commits)| {
            let week = format!("{year:04}-W{week:02}");
            Week { week, commits }
        });
        let (first, last) = dates.shown();
        History {
            head,
            commits: self.commits,
            truncated: shallow || self.over,
            first,
            last,
            misdated: self.misdated,
            without_lines: self.without_lines,
            added,
            deleted,
            weeks: weeks.collect(),
            contributors_total,
            contributors: contributors(self.authors),
            churn: churn(names, self.paths),
            folders,
            changes_untracked: self.changes_untracked,
        }
    }
}

impl Dates {
    fn add(&mut self, first: DateTime<Utc>, last: DateTime<Utc>) {
        let (earliest, latest) = self.0.unwrap_or((first, last));
        self.0 = Some((earliest.min(first), latest.max(last)));
    }

    fn shown(self) -> (Option<String>, Option<String>) {
        let shown = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        self.0.map(|(first, last)| (shown(first), shown(last))).unzip()
    }
}

fn contributors(authors: Vec<Author>) -> Vec<Contributor> {
    let mut all: Vec<_> = authors
        .into_iter()
        .map(|author| {
            let (first, last) = author.dates.shown();
            Contributor {
                name: author.name,
                email: author.email,
                commits: author.change.commits,
                added: author.change.added,
                deleted: author.change.deleted,
                first,
                last,
            }
        })
        .collect();
    all.sort_by(|a, b| {
        let lines = |one: &Contributor| one.added + one.deleted;
        (b.commits, lines(b), &a.email, &a.name).cmp(&(a.commits, lines(a), &b.email, &b.name))
    });
    all.truncate(CONTRIBUTORS_LISTED);
    all
}

fn churn(names: &HashSet<String>, paths: HashMap<String, Change>) -> Vec<ChurnFile> {
    let mut top = Top::new(CHURN_FILES);
    for (path, change) in paths {
        top.push((change.commits, change.added + change.deleted, change.added), path);
    }
    let rows = top.into_sorted().into_iter().map(|((commits, lines, added), path)| {
        let present = names.contains(&path);
        ChurnFile { path, commits, added, deleted: lines - added, present }
    });
    rows.collect()
}

fn folders(
    names: &HashSet<String>,
    shares: &HashMap<(String, usize), u64>,
    authors: &[Author],
) -> Vec<Folder> {
    let mut by_folder: BTreeMap<&str, Vec<(u64, &Author)>> = BTreeMap::new();
    for ((folder, author), lines) in shares {
        if *lines > 0
            && let Some(author) = authors.get(*author)
        {
            by_folder.entry(folder).or_default().push((*lines, author));
        }
    }
    by_folder.retain(|folder, _| *folder == "." || names.contains(&format!("{folder}/")));
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
