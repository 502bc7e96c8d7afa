//! The only place that lists and opens the files of a repository.
//!
//! It never follows a symbolic link, never leaves the folder it was given and never looks inside `.git`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use ignore::WalkBuilder;

use super::{Error, Watch};

/// A repository with more files than this is refused rather than half reported.
/// It is ten times the size the report is built for; beyond it the lists of paths alone take tens of megabytes.
const WALKED_FILES_MAX: u64 = 200_000;

/// Git itself looks for a NUL in the first 8,000 bytes to call a file binary.
const BINARY_PROBE_BYTES: usize = 8_000;

/// How many entries pass between two progress reports: often enough for a bar, rarely enough to cost nothing.
pub(super) const PROGRESS_EVERY: u64 = 256;

/// One regular file below the repository's top folder.
#[derive(Debug)]
pub(super) struct Entry {
    /// The path from the top folder, with `/` between its parts.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// What a walk could not hand out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) unreadable: u64,
    pub(super) symlinks: u64,
    /// Files whose name is not UTF-8: no citation could name them.
    pub(super) unnameable: u64,
}

/// Calls `visit` for every file that `.gitignore` does not exclude, sorted by name within each folder.
pub(super) fn walk(
    root: &Path,
    watch: &Watch,
    note: &str,
    mut visit: impl FnMut(Entry) -> Result<(), Error>,
) -> Result<Skipped, Error> {
    let root = check_folder(root)?;
    let mut skipped = Skipped::default();
    let mut seen = 0_u64;
    for item in walker(&root) {
        watch.check()?;
        let Ok(item) = item else {
            skipped.unreadable += 1;
            continue;
        };
        let Some(kind) = item.file_type() else { continue };
        if kind.is_symlink() {
            skipped.symlinks += 1;
        }
        if !kind.is_file() {
            continue;
        }
        let Some(name) = relative_name(&root, item.path()) else {
            skipped.unnameable += 1;
            continue;
        };
        let Ok(metadata) = item.metadata() else {
            skipped.unreadable += 1;
            continue;
        };
        seen += 1;
        if seen > WALKED_FILES_MAX {
            return Err(Error::TooLarge { what: "files", limit: WALKED_FILES_MAX });
        }
        if seen.is_multiple_of(PROGRESS_EVERY) {
            watch.progress(seen, None, note);
        }
        visit(Entry { name, path: item.into_path(), bytes: metadata.len() })?;
    }
    watch.progress(seen, Some(seen), note);
    Ok(skipped)
}

/// The folder's real path, or the error that says what is wrong with it.
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

/// The regular file that a relative name stands for, if it lies inside the root with no link on the way.
pub(super) fn locate(root: &Path, name: &str) -> Option<PathBuf> {
    let relative = Path::new(name);
    if name.is_empty() || relative.components().any(|part| !matches!(part, Component::Normal(_))) {
        return None;
    }
    let root = fs::canonicalize(root).ok()?;
    let path = root.join(relative);
    let real = fs::canonicalize(&path).ok()?;
    (real == path && real.is_file()).then_some(path)
}

/// Reads a whole text file, replacing what is not UTF-8; `None` when it is larger than `bytes_max` or unreadable.
pub(super) fn read_text(path: &Path, bytes_max: u64) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(bytes_max + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > bytes_max {
        return None;
    }
    Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Whether this start of a file is one of a binary file.
pub(super) fn is_binary(start: &[u8]) -> bool {
    start[..start.len().min(BINARY_PROBE_BYTES)].contains(&0)
}

/// The longest start of `text` that is at most `bytes_max` long and does not cut a character.
pub(super) fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

fn walker(root: &Path) -> ignore::Walk {
    WalkBuilder::new(root)
        .hidden(false)
        .ignore(false)
        .git_ignore(true)
        .git_exclude(true)
        // The user's own excludes and the folders above would make the answer depend on the machine.
        .git_global(false)
        .parents(false)
        .require_git(false)
        .follow_links(false)
        .sort_by_file_name(|a, b| a.cmp(b))
        .filter_entry(|entry| entry.file_name() != ".git")
        .build()
}

fn relative_name(root: &Path, path: &Path) -> Option<String> {
    let mut name = String::new();
    for part in path.strip_prefix(root).ok()?.components() {
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(part.as_os_str().to_str()?);
    }
    Some(name)
}
