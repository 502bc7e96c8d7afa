//! The one check of a path inside a workspace.

use std::fmt;

use bus_schemas::text::is_line;

use crate::Error;

/// The longest path in bytes, and the longest name in it: those of Linux.
const PATH_BYTES_MAX: usize = 4_096;
const NAME_BYTES_MAX: usize = 255;
/// The most names in a path: a walk holds one open handle for each.
pub(crate) const DEPTH_MAX: usize = 64;

/// A relative path of visible names below a folder: never absolute, never `..`, nothing that belongs to git or to
/// Orrery. The names are compared byte by byte: two spellings of one letter are two names, as on Linux.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspacePath(String);

impl WorkspacePath {
    /// Checks a path, or says why it is refused.
    pub fn parse(path: &str) -> Result<Self, Error> {
        match refused(path) {
            None => Ok(Self(path.to_owned())),
            Some(why) => Err(Error::PathRefused { path: bus_schemas::text::one_line(path), why }),
        }
    }

    /// The path as text, with `/` between names.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names, from the top.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The path of the folder, if it is not the top, and the last name.
    pub fn split(&self) -> (Option<Self>, &str) {
        match self.0.rsplit_once('/') {
            Some((folder, name)) => (Some(Self(folder.to_owned())), name),
            None => (None, &self.0),
        }
    }

    /// A name below this path.
    pub fn child(&self, name: &str) -> Result<Self, Error> {
        Self::parse(&format!("{}/{name}", self.0))
    }

    /// Whether this is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.strip_prefix(other.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a path is refused; `None` if it is not.
fn refused(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("an empty path");
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("more than 4096 bytes");
    }
    if path.starts_with('/') {
        return Some("an absolute path");
    }
    if path.split('/').count() > DEPTH_MAX {
        return Some("more than 64 names");
    }
    path.split('/').find_map(name_refused)
}

/// Why a name is refused; `None` if it is not.
pub(crate) fn name_refused(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("an empty name");
    }
    if name == "." || name == ".." {
        return Some("`.` or `..`");
    }
    if name.len() > NAME_BYTES_MAX {
        return Some("a name of more than 255 bytes");
    }
    // A name that hides something is shown to people as another one; one with a backslash is a path elsewhere.
    if !is_line(name) || name.contains('\\') {
        return Some("a name with hidden characters or a backslash");
    }
    is_protected(name).then_some("a protected name: `.git`, or what begins with `.orrery`")
}

/// Whether a name belongs to git or to Orrery on any file system: some ignore case, some ignore dots and blanks at the
/// end, and some know `.git` by a short name too.
fn is_protected(name: &str) -> bool {
    // Characters that show nothing are no part of a name on some file systems.
    let is_seen = |letter: &char| !matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let name: String = name.to_lowercase().chars().filter(is_seen).collect();
    // What follows a colon is a stream of the same file on Windows.
    let name = name.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name == ".git" || name == "git~1" || name.starts_with(".orrery")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_plain_path_below_the_folder_is_taken() {
        for good in [
            "a",
            "a/b.rs",
            ".github/x",
            "ä/ö",
            "a b",
            "…",
            "a\u{200d}b",
            "a..b",
            ".gitignore",
            "git",
            "e\u{301}",
        ] {
            assert_eq!(WorkspacePath::parse(good).expect(good).as_str(), good);
        }
        for bad in [
            "",
            "/",
            "/a",
            "a//b",
            "a/",
            ".",
            "..",
            "a/../b",
            "./a",
            "a\0b",
            "a\nb",
            "a\u{202e}b",
            "a\\b",
            ".git",
            "a/.GIT/config",
            ".Git ",
            ".git.",
            ".git..",
            "GIT~1",
            ".git::$INDEX_ALLOCATION",
            ".g\u{200c}it",
            ".git\u{200d}",
            "\u{feff}.git",
            ".orrery",
            ".ORRERY/x",
            ".orrery-new",
            " ",
        ] {
            let error = WorkspacePath::parse(bad).expect_err(bad);
            assert_eq!(error.code(), "path-refused", "{bad:?}");
        }
        assert!(WorkspacePath::parse(&"a".repeat(256)).is_err());
        assert!(WorkspacePath::parse(&vec!["a"; DEPTH_MAX + 1].join("/")).is_err());
        assert!(WorkspacePath::parse(&vec!["a"; DEPTH_MAX].join("/")).is_ok());
    }

    #[test]
    fn within_means_whole_names() {
        let path = |text| WorkspacePath::parse(text).expect("a path");
        assert!(path("a/b").is_within(&path("a")) && path("a").is_within(&path("a")));
        assert!(!path("ab").is_within(&path("a")) && !path("a").is_within(&path("a/b")));
    }

    proptest! {
        /// Whatever is taken stays below the folder that it is joined to, and names nothing protected.
        #[test]
        fn what_is_taken_stays_inside(path in r"(\.|\.\.|/|\\|[gG][iI][tT]|\.git|\.orrery|a|ä|\u{200d}|\x00|~1|:| |\.){0,12}") {
            if let Ok(taken) = WorkspacePath::parse(&path) {
                let joined = std::path::Path::new("/srv/folder").join(taken.as_str());
                let plain = joined.components().all(|part| !matches!(part, std::path::Component::ParentDir));
                prop_assert!(plain && joined.starts_with("/srv/folder") && joined != std::path::Path::new("/srv/folder"));
                for name in taken.names() {
                    let low = name.to_lowercase();
                    prop_assert!(!low.trim_end_matches(['.', ' ']).eq(".git") && !low.starts_with(".orrery"));
                    prop_assert!(!name.contains(['\0', '/', '\\']) && name != "..");
                }
            }
        }

        /// The check takes or refuses any text, and never panics.
        #[test]
        fn any_text_has_an_answer(path in ".{0,200}") {
            let _ = WorkspacePath::parse(&path);
        }
    }
}
