//! The files of a repository with their contents, for whoever works on a copy of them.

use std::path::Path;

use super::files::Tree;
use super::{Error, Watch};

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path from the top folder, with `/` as separator.
    pub name: String,
    pub bytes: Vec<u8>,
    pub is_executable: bool,
}

/// The regular files that git lists, as they are in the working copy, together at most `bytes_max` bytes. Symbolic
/// links and submodules are left out, and so are files whose contents are missing.
pub fn sources(repo: &Path, bytes_max: u64, watch: &Watch) -> Result<Vec<Source>, Error> {
    let mut tree = Tree::read(repo, watch)?;
    let (mut sources, mut left) = (Vec::new(), bytes_max);
    tree.each("files", |tree, entry| {
        if entry.is_absent() {
            return Ok(());
        }
        // What is too large is told from what is gone by its size.
        let Some(bytes) = tree.bytes(&entry, left)? else {
            let is_too_large = entry.bytes > left;
            return if is_too_large {
                Err(Error::TooLarge { what: "bytes of files", limit: bytes_max })
            } else {
                Ok(())
            };
        };
        left -= bytes.len() as u64;
        sources.push(Source { name: entry.name, bytes, is_executable: entry.is_executable });
        Ok(())
    })?;
    Ok(sources)
}
