//! Where agents may write: the rules of the settings `code_write`, which every skill that writes asks.

use actors_worker::canonical;
use actors_workspace::{Error, WorkspacePath, WriteSet};
use bus_schemas::Hash;
use serde_json::json;

/// The version of the rules that are written here; raised with them.
const RULES: u32 = 2;

/// Which files of repositories may be changed, and who approves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeWrite {
    allowed: WriteSet,
    /// `None` forbids nothing beside what no path may name.
    forbidden: Option<WriteSet>,
    file_bytes_max: u64,
    /// The agents' own files, for which nobody is asked; `None` has none.
    own: Option<WriteSet>,
    pub(crate) approvers: Vec<String>,
    pub(crate) answer_within_ms: u64,
}

impl CodeWrite {
    /// Allows changes, to the files and folders in `allowed` (all if it is empty) that are not in `forbidden`.
    pub fn new(allowed: &[String], forbidden: &[String], file_bytes_max: u64) -> Result<Self, Error> {
        let forbidden = if forbidden.is_empty() { None } else { Some(WriteSet::parse(forbidden)?) };
        let (allowed, approvers) = (WriteSet::parse(allowed)?, Vec::new());
        Ok(Self { allowed, forbidden, file_bytes_max, own: None, approvers, answer_within_ms: 86_400_000 })
    }

    /// Lets agents change these files and folders without asking anybody: their own ones.
    pub fn owning(self, own: &[String]) -> Result<Self, Error> {
        let own = if own.is_empty() { None } else { Some(WriteSet::parse(own)?) };
        Ok(Self { own, ..self })
    }

    /// Lets only these callers approve, within a time.
    #[must_use]
    pub fn answered_by(self, approvers: Vec<String>, within_ms: u64) -> Self {
        Self { approvers, answer_within_ms: within_ms, ..self }
    }

    pub(crate) fn policy_version(&self) -> String {
        let Self { allowed, forbidden, own, file_bytes_max, .. } = self;
        let rules = canonical(&json!([RULES, allowed, forbidden, own, file_bytes_max]));
        Hash::of(rules.as_bytes()).to_hex()[..32].to_owned()
    }

    /// Whether all files are the agents' own.
    pub(crate) fn owns<'a>(&self, mut paths: impl Iterator<Item = &'a WorkspacePath>) -> bool {
        self.own.as_ref().is_some_and(|own| paths.all(|path| own.has(path)))
    }

    /// Checks a path, and the size of the file that is left there.
    pub(crate) fn check(&self, path: &WorkspacePath, bytes: usize) -> Result<(), Error> {
        self.check_path(path)?;
        if bytes as u64 > self.file_bytes_max {
            let limit = format!("{} bytes, the setting `code_write.file_bytes_max`", self.file_bytes_max);
            return Err(Error::TooLarge { what: format!("the content for `{path}`"), limit });
        }
        Ok(())
    }

    /// Checks a path.
    pub(crate) fn check_path(&self, path: &WorkspacePath) -> Result<(), Error> {
        let is_forbidden = self.forbidden.as_ref().is_some_and(|forbidden| forbidden.has(path));
        if is_forbidden || !self.allowed.has(path) {
            return Err(Error::PathRefused {
                path: path.to_string(),
                why: "the settings `code_write` forbid it",
            });
        }
        Ok(())
    }
}
