//! Files on their way into a workspace and out of it. One check serves both ways: no absolute path, no `..`, no link
//! that leaves, nothing but files and links.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, Header};

use crate::error::Error;
use crate::limits::{FILES_BYTES_MAX, FILES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX, REFUSED_NAMED_MAX};

/// A file or a link. Folders are made for what they hold; an empty one is not carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File {
        /// Its content.
        bytes: Bytes,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link, relative to its folder and inside the workspace.
    Link {
        /// Where it leads.
        target: String,
    },
}

impl Entry {
    /// A file that is not executed.
    pub fn file(bytes: impl Into<Bytes>) -> Self {
        Self::File { bytes: bytes.into(), executable: false }
    }

    /// The bytes of the content, and the pages that it takes in a workspace.
    fn size(&self) -> (u64, u64) {
        let bytes = match self {
            Self::File { bytes, .. } => bytes.len() as u64,
            Self::Link { .. } => 0,
        };
        (bytes, bytes.div_ceil(rustix::param::page_size() as u64))
    }
}

/// A checked tree of files, by path below the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    entries: BTreeMap<String, Entry>,
    /// The folders above the entries.
    folders: BTreeSet<String>,
    bytes: u64,
    pages: u64,
}

/// What was read out of a workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBack {
    /// What passed the check.
    #[serde(skip)]
    pub files: Files,
    /// What did not and was left out: the path and why. At most [`REFUSED_NAMED_MAX`].
    pub refused: Vec<(String, Cow<'static, str>)>,
    /// The number of entries that were left out.
    pub refused_count: usize,
}

impl Files {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entries in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The entry at a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes of the pages that all of it takes in a workspace.
    pub(crate) fn bytes_in_pages(&self) -> u64 {
        self.pages * rustix::param::page_size() as u64
    }

    /// Adds an entry, or says why it is refused.
    pub fn insert(&mut self, path: &str, entry: Entry) -> Result<(), Error> {
        self.add(path, entry, FILES_BYTES_MAX)
    }

    fn add(&mut self, path: &str, entry: Entry, bytes_max: u64) -> Result<(), Error> {
        let (bytes, pages) = entry.size();
        let link = match &entry {
            Entry::File { .. } => None,
            Entry::Link { target } => Some(target.as_str()),
        };
        check(path, link).and_then(|()| self.fits(path)).map_err(|why| unsafe_path(path, why))?;
        self.reserve(bytes, bytes_max)?;
        self.folders.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
        self.entries.insert(path.to_owned(), entry);
        self.bytes += bytes;
        self.pages += pages;
        Ok(())
    }

    /// Replaces the entry at a path, or says why the new one is refused; the old one stays then.
    pub fn replace(&mut self, path: &str, entry: Entry) -> Result<(), Error> {
        let Some(old) = self.entries.remove(path) else { return self.insert(path, entry) };
        let (bytes, pages) = old.size();
        (self.bytes, self.pages) = (self.bytes - bytes, self.pages - pages);
        let inserted = self.insert(path, entry);
        if inserted.is_err() {
            (self.bytes, self.pages) = (self.bytes + bytes, self.pages + pages);
            self.entries.insert(path.to_owned(), old);
        }
        inserted
    }

    /// Reads the archive that somebody else made. Any entry that is not safe refuses the whole.
    pub fn from_archive(archive: impl Read) -> Result<Self, Error> {
        let read = read(archive, "", FILES_BYTES_MAX).map_err(|error| match error {
            Error::EngineFailed { .. } => Error::invalid("the archive cannot be read"),
            other => other,
        })?;
        match read.refused.into_iter().next() {
            Some((path, why)) => Err(Error::WorkspaceUnsafe { path, why }),
            None => Ok(read.files),
        }
    }

    /// A tar archive in which a uid owns everything: the same bytes for the same files.
    pub fn to_archive(&self, uid: u32) -> io::Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        // In their order a folder comes before what is in it.
        for folder in &self.folders {
            let mut header = header(EntryType::Directory, 0o755, uid);
            archive.append_data(&mut header, format!("{folder}/"), io::empty())?;
        }
        for (path, entry) in &self.entries {
            match entry {
                Entry::File { bytes, executable } => {
                    let mode = if *executable { 0o755 } else { 0o644 };
                    let mut header = header(EntryType::Regular, mode, uid);
                    header.set_size(bytes.len() as u64);
                    archive.append_data(&mut header, path, bytes.as_ref())?;
                }
                Entry::Link { target } => {
                    archive.append_link(&mut header(EntryType::Symlink, 0o777, uid), path, target)?;
                }
            }
        }
        archive.into_inner()
    }

    /// Whether an entry may stand here beside the others. A path that leads through a link would not be where it says.
    fn fits(&self, path: &str) -> Result<(), &'static str> {
        if self.entries.contains_key(path) {
            return Err("the path is there twice");
        }
        if path.match_indices('/').any(|(at, _)| self.entries.contains_key(&path[..at])) {
            return Err("what is above it is not a folder");
        }
        if self.folders.contains(path) { Err("a folder is there") } else { Ok(()) }
    }

    fn reserve(&self, bytes: u64, bytes_max: u64) -> Result<(), Error> {
        // Folders are bounded too, but for those above the last file.
        if self.entries.len() + self.folders.len() >= FILES_MAX
            || self.bytes.saturating_add(bytes) > bytes_max
        {
            return Err(Error::WorkspaceTooLarge { bytes_max, files_max: FILES_MAX });
        }
        Ok(())
    }
}

/// Reads an archive whose entries lie below a folder. What is not safe is left out and named; more than the limit ends
/// the reading.
pub(crate) fn read(archive: impl Read, folder: &str, bytes_max: u64) -> Result<ReadBack, Error> {
    let broken = |source: io::Error| Error::failed("pass on an archive that can be read", &source);
    let mut archive = Archive::new(archive);
    let mut read = ReadBack::default();
    for (seen, entry) in archive.entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        // Folders are entries too; a tree of empty ones must end somewhere.
        if seen > FILES_MAX * 4 {
            return Err(Error::WorkspaceTooLarge { bytes_max, files_max: FILES_MAX });
        }
        let name = entry.path_bytes().into_owned();
        let Ok(name) = std::str::from_utf8(&name) else {
            read.refuse(&String::from_utf8_lossy(&name), "the name is not UTF-8".into());
            continue;
        };
        let below = name.strip_prefix(folder).unwrap_or(name).trim_start_matches("./");
        let path = if folder.is_empty() { below } else { below.strip_prefix('/').unwrap_or(below) };
        if entry.header().entry_type() == EntryType::Directory {
            continue;
        }
        let size = entry.size();
        read.files.reserve(size, bytes_max)?;
        let content = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let executable = entry.header().mode().map_err(broken)? & 0o100 != 0;
                let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).min(1 << 20));
                (&mut entry).take(size).read_to_end(&mut bytes).map_err(broken)?;
                Some(Entry::File { bytes: bytes.into(), executable })
            }
            EntryType::Symlink => linked(&entry).map(|target| Entry::Link { target }),
            // The archive's own paths: the file it names came before it.
            EntryType::Link => linked(&entry).and_then(|target| {
                let target =
                    target.strip_prefix(folder).unwrap_or(&target).trim_start_matches('/').to_owned();
                read.files.get(&target).cloned()
            }),
            _ => None,
        };
        match content.map(|entry| read.files.add(path, entry, bytes_max)) {
            None => read.refuse(path, "neither a file nor a link to one".into()),
            Some(Err(Error::WorkspaceUnsafe { why, .. })) => read.refuse(path, why),
            Some(done) => done?,
        }
    }
    Ok(read)
}

fn linked(entry: &tar::Entry<'_, impl Read>) -> Option<String> {
    String::from_utf8(entry.link_name_bytes()?.into_owned()).ok()
}

impl ReadBack {
    fn refuse(&mut self, path: &str, why: Cow<'static, str>) {
        self.refused_count += 1;
        if self.refused.len() < REFUSED_NAMED_MAX {
            self.refused.push((shown(path), why));
        }
    }
}

fn unsafe_path(path: &str, why: &'static str) -> Error {
    Error::WorkspaceUnsafe { path: shown(path), why: why.into() }
}

/// A path for people: short, and without characters that a terminal obeys.
fn shown(path: &str) -> String {
    path.chars().take(200).map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect()
}

fn check(path: &str, link: Option<&str>) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err("the path is empty or too long");
    }
    if path.starts_with('/') {
        return Err("the path is absolute");
    }
    if path.chars().any(char::is_control) {
        return Err("the path has control characters");
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.len() > PATH_DEPTH_MAX {
        return Err("the path is too deep");
    }
    if parts.iter().any(|part| matches!(*part, "" | "." | "..") || part.len() > 255) {
        return Err("a part of the path is empty, `.`, `..` or too long");
    }
    match link {
        Some(target) => check_target(target, parts.len() - 1),
        None => Ok(()),
    }
}

/// A target may climb at its beginning only, and no higher than the workspace. Behind a name, which may itself be a
/// link, `..` would climb from wherever that link leads.
fn check_target(target: &str, depth: usize) -> Result<(), &'static str> {
    if target.is_empty() || target.len() > PATH_BYTES_MAX || target.chars().any(char::is_control) {
        return Err("the link's target is empty, too long, or has control characters");
    }
    if target.starts_with('/') {
        return Err("the link's target is absolute");
    }
    let parts = target.split('/').filter(|part| !matches!(*part, "" | "."));
    let climbs = parts.clone().take_while(|part| *part == "..").count();
    if climbs > depth || parts.skip(climbs).any(|part| part == "..") {
        return Err("the link leads out of the workspace");
    }
    Ok(())
}

fn header(kind: EntryType, mode: u32, uid: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(u64::from(uid));
    header.set_gid(u64::from(uid));
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests;
