//! The only place that lists and opens the files of a repository: those that `git ls-files` names.
//!
//! A file is read from the working copy. One that is not there, as in a sparse checkout, is read from the
//! repository's objects, if they have it. Worktrees, clones and other files that git does not list are no
//! part of the repository, nor are the contents of submodules. This module never follows a symbolic link,
//! never leaves the folder it was given and never looks inside `.git`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;

use super::git::{self, Git, Objects};
use super::{Error, Watch, text};

/// Files of a repository above which it is refused rather than half reported. It is ten times the size that
/// the report is built for; beyond it the lists of paths alone take tens of megabytes.
const LISTED_FILES_MAX: u64 = 200_000;

/// Entries between two progress reports: often enough for a bar, rarely enough to cost nothing.
const PROGRESS_EVERY: u64 = 256;

/// The format of a line of git's list: mode, object, stage and path.
const LIST: &[&str] = &["ls-files", "-z", "--stage", "--no-recurse-submodules"];
/// The same for a working copy in which nothing was checked out yet.
const LIST_HEAD: &[&str] = &["ls-tree", "-z", "-r", "--full-tree", "HEAD"];

/// The modes of entries that are no plain files.
const EXECUTABLE: &str = "100755";
const SYMLINK: &str = "120000";
const SUBMODULE: &str = "160000";

/// One regular file of the repository.
#[derive(Debug)]
pub(super) struct Entry {
    /// The path from the top folder, with `/` as separator.
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) is_executable: bool,
    place: Place,
}

#[derive(Debug)]
enum Place {
    WorkingCopy(PathBuf),
    /// The object's id.
    Repository(String),
    /// The content would have to be fetched.
    Nowhere,
}

impl Entry {
    /// Whether the content is not here, as in a partial clone.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.place, Place::Nowhere)
    }
}

/// Entries that a listing leaves out, or cannot read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) symlinks: u64,
    pub(super) submodules: u64,
    /// Files that are listed although their contents are missing, as in a partial clone.
    pub(super) absent: u64,
}

/// The files of a repository, sorted by path.
pub(super) struct Tree<'a> {
    root: PathBuf,
    watch: &'a Watch,
    pub(super) entries: Vec<Entry>,
    pub(super) skipped: Skipped,
    /// Symbolic links and submodules.
    others: Vec<String>,
    contents: Option<Objects>,
}

impl<'a> Tree<'a> {
    /// Lists the files of the repository whose top folder is `repo`.
    pub(super) fn read(repo: &Path, watch: &'a Watch) -> Result<Self, Error> {
        let root = check_folder(repo)?;
        git::check_top(&root, repo, watch)?;
        let (entries, others, skipped) = (Vec::new(), Vec::new(), Skipped::default());
        let mut tree = Self { root, watch, entries, others, skipped, contents: None };
        tree.list(LIST)?;
        if tree.entries.is_empty() && tree.others.is_empty() {
            tree.list(LIST_HEAD)?;
        }
        tree.measure()?;
        Ok(tree)
    }

    fn list(&mut self, arguments: &[&'static str]) -> Result<(), Error> {
        let mut before = Vec::new();
        let mut over = false;
        Git::start(&self.root, arguments, Stdio::null())?.each_field(self.watch, |line| {
            let Some(tab) = line.iter().position(|byte| *byte == b'\t') else {
                return ControlFlow::Continue(());
            };
            let (head, path) = (String::from_utf8_lossy(&line[..tab]), &line[tab + 1..]);
            // A file with conflicts is listed once for each side.
            if path != before.as_slice() {
                before = path.to_vec();
                self.add(&head, path);
            }
            over =
                self.entries.len() as u64 > LISTED_FILES_MAX || self.others.len() as u64 > LISTED_FILES_MAX;
            if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if over { Err(Error::TooLarge { what: "files", limit: LISTED_FILES_MAX }) } else { Ok(()) }
    }

    fn add(&mut self, head: &str, path: &[u8]) {
        let name = shown_name(path);
        let mut words = head.split(' ');
        let mode = words.next();
        match mode {
            Some(SYMLINK) => self.skipped.symlinks += 1,
            Some(SUBMODULE) => self.skipped.submodules += 1,
            _ => {
                let (place, bytes) = match locate(&self.root, path) {
                    Some((path, bytes)) => (Place::WorkingCopy(path), bytes),
                    // The id is the only long word: the stage follows it, or the type precedes it.
                    None => {
                        let id = words.max_by_key(|word| word.len()).unwrap_or_default();
                        (Place::Repository(id.to_owned()), 0)
                    }
                };
                let is_executable = mode == Some(EXECUTABLE);
                return self.entries.push(Entry { name, bytes, is_executable, place });
            }
        }
        self.others.push(name);
    }

    /// Reads the sizes of files that are not in the working copy.
    fn measure(&mut self) -> Result<(), Error> {
        let mut sizes = None;
        for entry in &mut self.entries {
            let Place::Repository(id) = &entry.place else { continue };
            let sizes = match &mut sizes {
                Some(sizes) => sizes,
                None => sizes.insert(Objects::start(&self.root, false)?),
            };
            match sizes.size(id, self.watch)? {
                Some(size) => entry.bytes = size,
                None => {
                    entry.place = Place::Nowhere;
                    self.skipped.absent += 1;
                }
            }
        }
        Ok(())
    }

    /// Calls `visit` for every file.
    pub(super) fn each(
        &mut self,
        note: &str,
        mut visit: impl FnMut(&mut Self, Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let entries = std::mem::take(&mut self.entries);
        let all = entries.len() as u64;
        for (seen, entry) in entries.into_iter().enumerate() {
            self.watch.check()?;
            if (seen as u64).is_multiple_of(PROGRESS_EVERY) {
                self.watch.progress(seen as u64, Some(all), note);
            }
            visit(self, entry)?;
        }
        self.watch.progress(all, Some(all), note);
        Ok(())
    }

    /// The paths of everything that git lists, and of the folders at the top, which end in `/`.
    pub(super) fn names(&self) -> HashSet<String> {
        let names = || self.entries.iter().map(|entry| &entry.name).chain(&self.others);
        let folders = names().filter_map(|name| name.split_once('/')).map(|(folder, _)| format!("{folder}/"));
        folders.chain(names().cloned()).collect()
    }

    /// Opens a file, of which at least the first `bytes_max` bytes can be read; `None` when that fails.
    pub(super) fn open(&mut self, entry: &Entry, bytes_max: u64) -> Result<Option<Box<dyn BufRead>>, Error> {
        Ok(match &entry.place {
            Place::WorkingCopy(path) => {
                let file = File::open(path).ok();
                file.map(|file| Box::new(BufReader::with_capacity(64 * 1024, file)) as Box<dyn BufRead>)
            }
            Place::Repository(id) => {
                let contents = match &mut self.contents {
                    Some(contents) => contents,
                    None => self.contents.insert(Objects::start(&self.root, true)?),
                };
                let start = contents.start_of(id, bytes_max, self.watch)?;
                start.map(|start| Box::new(Cursor::new(start)) as Box<dyn BufRead>)
            }
            Place::Nowhere => None,
        })
    }

    /// Reads a whole file; `None` when it is larger than `bytes_max` or cannot be read.
    pub(super) fn bytes(&mut self, entry: &Entry, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        if entry.bytes > bytes_max {
            return Ok(None);
        }
        let Some(reader) = self.open(entry, bytes_max + 1)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = reader.take(bytes_max + 1).read_to_end(&mut bytes);
        Ok((read.is_ok() && bytes.len() as u64 <= bytes_max).then_some(bytes))
    }

    /// Reads a whole text file; `None` when it is larger than `bytes_max`, binary or cannot be read.
    pub(super) fn text(&mut self, entry: &Entry, bytes_max: u64) -> Result<Option<String>, Error> {
        Ok(self.bytes(entry, bytes_max)?.and_then(text::decode))
    }
}

/// The folder's real path, or the error that says why it cannot be used.
pub(super) fn check_folder(path: &Path) -> Result<PathBuf, Error> {
    let shown = || path.display().to_string();
    let real = fs::canonicalize(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::PathMissing { path: shown() },
        io::ErrorKind::NotADirectory => Error::NotAFolder { path: shown() },
        _ => Error::RepositoryUnreadable { path: shown(), source },
    })?;
    if !real.is_dir() {
        return Err(Error::NotAFolder { path: shown() });
    }
    fs::read_dir(&real).map_err(|source| Error::RepositoryUnreadable { path: shown(), source })?;
    Ok(real)
}

/// The regular file at a relative path and its size, if it is inside the root with no symbolic link on the
/// way.
fn locate(root: &Path, path: &[u8]) -> Option<(PathBuf, u64)> {
    let relative = Path::new(OsStr::from_bytes(path));
    if path.is_empty() || relative.components().any(|part| !matches!(part, Component::Normal(_))) {
        return None;
    }
    let path = root.join(relative);
    let real = fs::canonicalize(&path).ok()?;
    let metadata = real.symlink_metadata().ok()?;
    (real == path && metadata.is_file()).then_some((path, metadata.len()))
}

/// A path for a report. In a path that is not UTF-8 the invalid bytes are shown as `\xff`, and backslashes
/// are doubled, so that no two such paths look alike.
pub(super) fn shown_name(path: &[u8]) -> String {
    if let Ok(name) = std::str::from_utf8(path) {
        return name.to_owned();
    }
    let mut name = String::new();
    for chunk in path.utf8_chunks() {
        name.push_str(&chunk.valid().replace('\\', r"\\"));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(name, r"\x{byte:02x}");
        }
    }
    name
}

/// The longest start of `text` that is at most `bytes_max` long and does not cut a character.
pub(super) fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
