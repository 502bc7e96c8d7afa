//! Writing a file: as a whole, at once, and only over what the writer has seen.
//!
//! ```text
//! look at the former content ─→ write a new file beside it ─→ exchange the two names at once
//!                                                          ─→ look at what was replaced ─→ remove it, or exchange back
//! ```
//!
//! Whatever happens in between, the name holds the whole former or the whole new content, and nothing that somebody
//! else wrote meanwhile is lost: it is what the exchange gives back.

use std::fs::File;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use bus_schemas::Hash;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RenameFlags, fchmod, flock, fsync, mkdirat, openat, renameat_with,
    unlinkat,
};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::{Error, WorkspacePath};

/// The most bytes of a file that is written, or replaced.
pub const WRITE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What the name of a file on its way begins with: protected, so that no agent reads or writes it.
const ON_ITS_WAY: &str = ".orrery-";
/// How long a write waits for others in the same folder, each of which takes milliseconds.
const LOCK_WITHIN: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// What was at a path before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Absent,
    /// A file with this content.
    Content(Hash),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// The path.
    pub path: String,
    /// The hash of the content.
    pub hash: Hash,
    /// The size.
    pub bytes: u64,
}

impl Folder {
    /// What is at a path.
    pub fn existing(&self, path: &WorkspacePath) -> Result<Existing, Error> {
        match self.read_whole(path, WRITE_BYTES_MAX) {
            Ok(read) => Ok(Existing::Content(read.hash())),
            Err(Error::PathMissing { .. }) => Ok(Existing::Absent),
            Err(other) => Err(other),
        }
    }

    /// Writes a file if there is what is `expected`, and makes the folders above it. `key` names the file on its way:
    /// a repeat uses the same name, so that an interrupted write leaves no litter.
    pub fn write(
        &self,
        path: &WorkspacePath,
        content: &[u8],
        expected: Existing,
        key: &str,
    ) -> Result<Written, Error> {
        if content.len() as u64 > WRITE_BYTES_MAX {
            return Err(Error::TooLarge {
                what: format!("the content for `{path}`"),
                limit: format!("{WRITE_BYTES_MAX} bytes"),
            });
        }
        let check = || match self.existing(path)? {
            found if found == expected => Ok(()),
            found => Err(changed(path, expected, found)),
        };
        // No folder is made for a write that is refused.
        check()?;
        let (folder, name) = self.make_parent(path)?;
        folder.lock(path)?;
        check()?;
        let new = on_its_way(key);
        folder.put_aside(&new, name, path, content, expected)?;
        folder.place(&new, name, path, content, expected)?;
        fsync(&folder.handle).map_err(|errno| Error::io("write", path.as_str(), errno))?;
        Ok(Written { path: path.as_str().to_owned(), hash: Hash::of(content), bytes: content.len() as u64 })
    }

    /// Waits until no other agent writes in this folder; the lock ends with the handle.
    fn lock(&self, path: &WorkspacePath) -> Result<(), Error> {
        let ends = Instant::now() + LOCK_WITHIN;
        loop {
            match flock(&self.handle, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < ends => thread::sleep(LOCK_PAUSE),
                Err(errno) => return Err(Error::io("lock the folder of", path.as_str(), errno)),
            }
        }
    }

    /// Opens the folder of a path; folders that are not there are made.
    fn make_parent<'a>(&self, path: &'a WorkspacePath) -> Result<(Self, &'a str), Error> {
        let (above, name) = path.split();
        let mut folder = self.again()?;
        for step in above.iter().flat_map(WorkspacePath::names) {
            match mkdirat(&folder.handle, step, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::io("make the folder of", path.as_str(), errno)),
            }
            folder = folder.enter(step, path.as_str())?;
        }
        Ok((folder, name))
    }

    /// Writes the new content under the name `new`, with the rights of the file that it replaces.
    fn put_aside(
        &self,
        new: &str,
        name: &str,
        path: &WorkspacePath,
        content: &[u8],
        expected: Existing,
    ) -> Result<(), Error> {
        let failed = |errno: Errno| Error::io("write", path.as_str(), errno);
        match unlinkat(&self.handle, new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = openat(&self.handle, new, flags, Mode::from_raw_mode(0o666)).map_err(failed)?;
        if expected != Existing::Absent {
            let rights = self.look(name, path.as_str())?.st_mode & 0o777;
            fchmod(&handle, Mode::from_raw_mode(rights)).map_err(failed)?;
        }
        let mut file = File::from(handle);
        let written = file.write_all(content).and_then(|()| file.sync_all());
        written.map_err(|source| Error::io("write", path.as_str(), source))
    }

    /// Gives the new content its name, unless somebody has changed what was there.
    fn place(
        &self,
        new: &str,
        name: &str,
        path: &WorkspacePath,
        content: &[u8],
        expected: Existing,
    ) -> Result<(), Error> {
        let rename = |flags| renameat_with(&self.handle, new, &self.handle, name, flags);
        let failed = |errno: Errno| Error::io("write", path.as_str(), errno);
        let Existing::Content(hash) = expected else {
            return rename(RenameFlags::NOREPLACE).map_err(|errno| match errno {
                Errno::EXIST => self.discard(new, changed_meanwhile(path, expected)),
                errno => self.discard(new, failed(errno)),
            });
        };
        rename(RenameFlags::EXCHANGE).map_err(|errno| match errno {
            Errno::NOENT => self.discard(new, changed_meanwhile(path, expected)),
            errno => self.discard(new, failed(errno)),
        })?;
        match self.whole(new, path.as_str(), WRITE_BYTES_MAX) {
            Ok(read) if read.hash() == hash => unlinkat(&self.handle, new, AtFlags::empty()).map_err(failed),
            _ => {
                // Where this fails, what somebody else wrote stays under the other name.
                rename(RenameFlags::EXCHANGE).map_err(failed)?;
                let error = changed_meanwhile(path, expected);
                let is_ours =
                    self.whole(new, path.as_str(), WRITE_BYTES_MAX).is_ok_and(|read| read.bytes == content);
                Err(if is_ours { self.discard(new, error) } else { error })
            }
        }
    }

    /// Removes the new content of a write that is refused.
    fn discard(&self, new: &str, error: Error) -> Error {
        self.remove(new);
        error
    }

    fn remove(&self, new: &str) {
        // What cannot be removed is removed by the repeat of the write.
        let _ = unlinkat(&self.handle, new, AtFlags::empty());
    }

    /// Finds out what became of an interrupted write, and ends it: what it left on the way is removed. `None`: somebody
    /// has changed the file since, and nobody can tell.
    pub fn settle(
        &self,
        path: &WorkspacePath,
        content: Hash,
        expected: Existing,
        key: &str,
    ) -> Result<Option<bool>, Error> {
        let (folder, name) = match self.parent(path) {
            Ok(found) => found,
            // The folder would have been made first.
            Err(Error::PathMissing { .. }) => return Ok((expected == Existing::Absent).then_some(false)),
            Err(other) => return Err(other),
        };
        let new = on_its_way(key);
        let left = match folder.whole(&new, path.as_str(), WRITE_BYTES_MAX) {
            Ok(read) => Existing::Content(read.hash()),
            Err(Error::PathMissing { .. }) => Existing::Absent,
            Err(other) => return Err(other),
        };
        let found = self.existing(path)?;
        let is_done = found == Existing::Content(content);
        if is_done && left != Existing::Absent && left != expected && left != found {
            // Interrupted between the two exchanges: what somebody else wrote gets its name back.
            renameat_with(&folder.handle, new.as_str(), &folder.handle, name, RenameFlags::EXCHANGE)
                .map_err(|errno| Error::io("write", path.as_str(), errno))?;
            folder.remove(&new);
            return Ok(Some(false));
        }
        if left != Existing::Absent {
            folder.remove(&new);
        }
        match found {
            _ if is_done => Ok(Some(true)),
            _ if found == expected => Ok(Some(false)),
            _ => Ok(None),
        }
    }
}

fn on_its_way(key: &str) -> String {
    format!("{ON_ITS_WAY}{}", &Hash::of(key.as_bytes()).to_hex()[..16])
}

fn said(existing: Existing) -> String {
    match existing {
        Existing::Absent => "absent".to_owned(),
        Existing::Content(hash) => format!("a file with the content {}", hash.to_hex()),
    }
}

fn changed(path: &WorkspacePath, wanted: Existing, found: Existing) -> Error {
    Error::Changed { path: path.as_str().to_owned(), wanted: said(wanted), found: said(found) }
}

fn changed_meanwhile(path: &WorkspacePath, wanted: Existing) -> Error {
    let found = "somebody changed it meanwhile".to_owned();
    Error::Changed { path: path.as_str().to_owned(), wanted: said(wanted), found }
}
