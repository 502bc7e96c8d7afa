//! Files by open handles. Each name of a path is opened relative to the handle of the folder before it, and no symbolic
//! link is followed, so that nobody who moves or swaps folders meanwhile can lead the way outside.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read as _, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::Path;

use bus_schemas::Hash;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use serde::Serialize;

use crate::path::{DEPTH_MAX, name_refused};
use crate::{Error, Stop, WorkspacePath};

/// The most bytes of one read, held in memory.
pub const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The most entries of a listing.
pub const ENTRIES_MAX: usize = 10_000;
/// The most entries of one folder: its names are held in memory and sorted.
const FOLDER_ENTRIES_MAX: usize = 100_000;

/// How a folder is opened. `NONBLOCK` so that nothing that takes the folder's place can make the opening wait.
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);
/// How a file is opened. `NONBLOCK` so that a pipe without a writer, or a device, does not make the opening wait.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// Device and number of a file: which one it is, whatever its name.
pub(crate) type Identity = (u64, u64);

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    pub(crate) handle: OwnedFd,
    /// A folder that must not be entered.
    closed: Option<Identity>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, which is never followed.
    Link,
    /// A pipe, a socket or a device, which is never opened.
    Other,
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The path below the workspace; bytes that are no UTF-8 are shown as `\xff`.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// The size of a file.
    pub bytes: u64,
    /// Why it cannot be read under this name, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
}

/// The entries of a folder, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Listing {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether there are more.
    pub truncated: bool,
}

/// The content of a file, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The bytes that were asked for.
    pub bytes: Vec<u8>,
    /// The size of the whole file.
    pub size: u64,
}

impl Read {
    /// The hash of the bytes.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.bytes)
    }
}

impl Folder {
    /// Opens a folder that the operator names: links on the way to it are the operator's.
    pub(crate) fn open(path: &Path, closed: Option<Identity>) -> Result<Self, Error> {
        let flags = FOLDER.difference(OFlags::NOFOLLOW);
        let shown = path.display().to_string();
        let handle =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| of_folder(&shown, errno))?;
        Ok(Self { handle, closed })
    }

    /// Opens a folder below this one.
    pub fn descend(&self, path: &WorkspacePath) -> Result<Self, Error> {
        let mut names = path.names();
        let mut folder = self.enter(names.next().unwrap_or_default(), path.as_str())?;
        for name in names {
            folder = folder.enter(name, path.as_str())?;
        }
        Ok(folder)
    }

    /// Opens the folder of a path, and gives the last name with it.
    pub(crate) fn parent<'a>(&self, path: &'a WorkspacePath) -> Result<(Self, &'a str), Error> {
        match path.split() {
            (None, name) => Ok((self.again()?, name)),
            (Some(folder), name) => Ok((self.descend(&folder)?, name)),
        }
    }

    pub(crate) fn again(&self) -> Result<Self, Error> {
        // Opened anew: a lock belongs to an opening, not to a folder.
        let handle = openat(&self.handle, ".", FOLDER, Mode::empty())
            .map_err(|errno| Error::io("open", ".", errno))?;
        Ok(Self { handle, closed: self.closed })
    }

    pub(crate) fn enter(&self, name: &str, path: &str) -> Result<Self, Error> {
        let handle =
            openat(&self.handle, name, FOLDER, Mode::empty()).map_err(|errno| of_folder(path, errno))?;
        if self.closed.is_some() {
            let found = fstat(&handle).map_err(|errno| Error::io("look at", path, errno))?;
            if self.closed == Some(identity(&found)) {
                return Err(Error::PathRefused {
                    path: path.to_owned(),
                    why: "the folder holds the data of this installation",
                });
            }
        }
        Ok(Self { handle, closed: self.closed })
    }

    /// Reads a file, from `from` on at most `bytes_max` bytes.
    pub fn read(&self, path: &WorkspacePath, from: u64, bytes_max: u64) -> Result<Read, Error> {
        let (folder, name) = self.parent(path)?;
        let (mut file, found) = folder.file(name, path.as_str())?;
        let failed = |source| Error::io("read", path.as_str(), source);
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(bytes_max.min(READ_BYTES_MAX)).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Read { bytes, size: size(&found) })
    }

    /// Reads a whole file, which must not be larger than `bytes_max`.
    pub fn read_whole(&self, path: &WorkspacePath, bytes_max: u64) -> Result<Read, Error> {
        let (folder, name) = self.parent(path)?;
        folder.whole(name, path.as_str(), bytes_max)
    }

    pub(crate) fn whole(&self, name: &str, path: &str, bytes_max: u64) -> Result<Read, Error> {
        let (file, _) = self.file(name, path)?;
        let mut bytes = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|source| Error::io("read", path, source))?;
        if bytes.len() as u64 > bytes_max {
            return Err(Error::TooLarge { what: format!("`{path}`"), limit: format!("{bytes_max} bytes") });
        }
        let size = bytes.len() as u64;
        Ok(Read { bytes, size })
    }

    /// Opens a plain file with one name. What it is, is asked before it is opened and again of the open handle.
    pub(crate) fn file(&self, name: &str, path: &str) -> Result<(File, Stat), Error> {
        let before = self.look(name, path)?;
        plain(&before, path)?;
        let handle = openat(&self.handle, name, FILE, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP => Error::NotAFile { path: path.to_owned(), what: "a symbolic link" },
            Errno::NOENT => Error::PathMissing { path: path.to_owned() },
            errno => Error::io("open", path, errno),
        })?;
        let found = fstat(&handle).map_err(|errno| Error::io("look at", path, errno))?;
        plain(&found, path)?;
        Ok((File::from(handle), found))
    }

    pub(crate) fn look(&self, name: &str, path: &str) -> Result<Stat, Error> {
        statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| match errno {
            Errno::NOENT => Error::PathMissing { path: path.to_owned() },
            errno => Error::io("look at", path, errno),
        })
    }

    /// The names in this folder, sorted.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<CString>, Error> {
        let failed = |errno: Errno| Error::io("list", path, errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name() == c"." || entry.file_name() == c".." {
                continue;
            }
            if names.len() == FOLDER_ENTRIES_MAX {
                let what = format!("the number of entries of `{path}`");
                return Err(Error::TooLarge { what, limit: FOLDER_ENTRIES_MAX.to_string() });
            }
            names.push(entry.file_name().to_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Lists the folder, and the folders in it down to `depth`, as at most `entries_max` entries. Protected names are
    /// left out.
    pub fn list(
        &self,
        at: Option<&WorkspacePath>,
        depth: usize,
        entries_max: usize,
        stop: Stop<'_>,
    ) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        let top = at.map_or_else(String::new, |path| format!("{path}/"));
        let folder = at.map_or_else(|| self.again(), |path| self.descend(path))?;
        let limit = entries_max.min(ENTRIES_MAX);
        folder.walk(&top, depth.min(DEPTH_MAX), &mut |_, found| {
            if stop() {
                return Err(Error::Canceled);
            }
            listing.truncated = listing.entries.len() == limit;
            if !listing.truncated {
                listing.entries.push(found.entry.clone());
            }
            Ok(!listing.truncated)
        })?;
        Ok(listing)
    }

    /// Visits what is below this folder in the order of names until `visit` says no. A folder that cannot be opened
    /// any more, as one that was swapped for a link, is not entered.
    pub(crate) fn walk(
        &self,
        top: &str,
        depth: usize,
        visit: &mut dyn FnMut(&Self, Visited<'_>) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        for name in self.names(top)? {
            let shown = shown(&name);
            let refused = name.to_str().map_or(Some("its name is not UTF-8"), name_refused);
            if refused.is_some_and(|why| why.contains("protected")) {
                continue;
            }
            let path = format!("{top}{shown}");
            // What is gone since the folder was read is no entry.
            let Ok(found) = statat(&self.handle, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let kind = match FileType::from_raw_mode(found.st_mode) {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Folder,
                FileType::Symlink => Kind::Link,
                _ => Kind::Other,
            };
            let bytes = if kind == Kind::File { size(&found) } else { 0 };
            let entry = Entry { path, kind, bytes, refused: refused.or_else(|| not_plain(&found, kind)) };
            if !visit(self, Visited { entry: &entry, name: &name })? {
                return Ok(false);
            }
            if let (Kind::Folder, None, Ok(name), true) = (kind, entry.refused, name.to_str(), depth > 1)
                && let Ok(folder) = self.enter(name, &entry.path)
                && !folder.walk(&format!("{}/", entry.path), depth - 1, visit)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// An entry that a walk has come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visited<'a> {
    pub(crate) entry: &'a Entry,
    pub(crate) name: &'a CStr,
}

pub(crate) fn identity(found: &Stat) -> Identity {
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    (found.st_dev as u64, found.st_ino as u64)
}

pub(crate) fn size(found: &Stat) -> u64 {
    u64::try_from(found.st_size).unwrap_or(0)
}

/// Refuses what is no plain file with one name: a second name may lie outside of the workspace. A file without a name
/// was replaced since it was opened, and has the former content as a whole.
fn plain(found: &Stat, path: &str) -> Result<(), Error> {
    let refused = |what| Err(Error::NotAFile { path: path.to_owned(), what });
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile if found.st_nlink <= 1 => Ok(()),
        FileType::RegularFile => refused("a file with more than one name (hard links)"),
        FileType::Directory => refused("a folder"),
        FileType::Symlink => refused("a symbolic link"),
        FileType::Fifo => refused("a pipe"),
        FileType::Socket => refused("a socket"),
        _ => refused("a device"),
    }
}

fn not_plain(found: &Stat, kind: Kind) -> Option<&'static str> {
    (kind == Kind::File && found.st_nlink > 1).then_some("a file with more than one name (hard links)")
}

fn of_folder(path: &str, errno: Errno) -> Error {
    match errno {
        Errno::NOENT => Error::PathMissing { path: path.to_owned() },
        Errno::NOTDIR | Errno::LOOP => Error::NotAFolder { path: path.to_owned() },
        errno => Error::io("open", path, errno),
    }
}

/// A name for people: bytes that are no UTF-8 as `\xff`, with backslashes doubled then.
fn shown(name: &CStr) -> String {
    if let Ok(name) = name.to_str() {
        return name.to_owned();
    }
    let shown = |chunk: std::str::Utf8Chunk<'_>| {
        let invalid: String = chunk.invalid().iter().map(|byte| format!(r"\x{byte:02x}")).collect();
        chunk.valid().replace('\\', r"\\") + &invalid
    };
    name.to_bytes().utf8_chunks().map(shown).collect()
}
