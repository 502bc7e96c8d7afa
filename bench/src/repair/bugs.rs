//! The seeded bugs, and the packages that they are seeded in.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use crate::error::Error;

/// The bugs.
const BUGS: &str = include_str!("bugs.toml");
/// The packages with their hashes, as pip reads them.
const PACKAGES: &str = include_str!("packages.txt");
/// The package that comes with this program, for `make demo`; no part of the set.
pub(super) const DEMO: &str = "demo";
const DEMO_FILES: [(&str, &str); 2] = [
    ("temperature.py", include_str!("demo/temperature.py")),
    ("test_temperature.py", include_str!("demo/test_temperature.py")),
];
/// The most bytes of a package, unpacked: the largest has five million.
const UNPACKED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A bug.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bug {
    /// The package's name and a number: set when the file is read.
    #[serde(skip)]
    pub name: String,
    /// The package.
    #[serde(skip)]
    pub package: String,
    /// The file of the package.
    pub file: String,
    /// The right text, which stands once in the file.
    pub old: String,
    /// The bug, which stands once in the file that has it.
    pub new: String,
    /// The tests that fail with the bug and pass without.
    pub fails: BTreeSet<String>,
    /// What the scripted answers try before they are merely wrong.
    #[serde(default)]
    pub also: Option<Also>,
}

/// An answer that must not be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Also {
    /// Empties the file of the test that fails.
    TestEdited,
    /// Names a file outside of the workspace.
    Outside,
    /// Is right, and was cut by its bound of tokens.
    Truncated,
    /// Expects a text that is not in the file.
    TextDiffers,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    name: String,
    /// Tests that are in no copy.
    #[serde(default)]
    without: Vec<String>,
    bug: Vec<Bug>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    package: Vec<Package>,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Whether it may be executed.
    pub is_executable: bool,
}

/// The files of a package, by path.
pub(super) type Files = BTreeMap<String, File>;

fn set() -> Vec<Package> {
    toml::from_str::<Set>(BUGS).expect("a test reads the same file").package
}

/// The bugs with these names or of these packages, in order; all of the set where there are none.
pub(super) fn chosen(only: &[String]) -> Result<Vec<Bug>, Error> {
    let mut all = Vec::new();
    for package in set() {
        for (number, bug) in (1..).zip(package.bug) {
            all.push(Bug {
                name: format!("{}-{number}", package.name),
                package: package.name.clone(),
                ..bug
            });
        }
    }
    let is = |bug: &Bug, wanted: &String| bug.name == *wanted || bug.package == *wanted;
    if only.iter().any(|wanted| !all.iter().any(|bug| is(bug, wanted))) {
        let reason = "names of bugs or packages; `orrery bench repair --list` has them";
        return Err(Error::Option { option: "only", reason });
    }
    all.retain(|bug| match only.is_empty() {
        true => bug.package != DEMO,
        false => only.iter().any(|wanted| is(bug, wanted)),
    });
    Ok(all)
}

/// The files of a package, without the tests that are left out. Its archive is read from `folder` and must have the
/// hash of the list.
pub(super) fn files(package: &str, folder: &Path) -> Result<Files, Error> {
    if package == DEMO {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), is_executable: false };
        return Ok(DEMO_FILES.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect());
    }
    let (version, hash) = pinned(package).expect("a test finds every package in the list");
    let path = folder.join(format!("{}-{version}.tar.gz", package.replace('-', "_")));
    let wrong = |reason: String| Error::Package { path: path.clone(), reason };
    let archive = std::fs::read(&path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let found: String = digest(&SHA256, &archive).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != hash {
        return Err(wrong(format!("has the hash {found}, not {hash}")));
    }
    let mut files = unpacked(&archive).map_err(|error| wrong(format!("cannot be unpacked: {error}")))?;
    for path in set().into_iter().filter(|one| one.name == package).flat_map(|one| one.without) {
        files.remove(&path);
    }
    Ok(files)
}

/// The version and the hash of a package in the list.
fn pinned(package: &str) -> Option<(&'static str, &'static str)> {
    let mut lines = PACKAGES.lines();
    let line = lines.find_map(|line| line.strip_prefix(package)?.strip_prefix("=="))?;
    let version = line.split(' ').next()?;
    Some((version, lines.next()?.trim().strip_prefix("--hash=sha256:")?))
}

/// The files of an archive, below its one folder.
fn unpacked(archive: &[u8]) -> std::io::Result<Files> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive).take(UNPACKED_BYTES_MAX));
    let mut files = Files::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // The hash is pinned; a path that climbs would still be none to write to.
        let Some((_, path)) =
            path.split_once('/').filter(|(_, path)| !path.split('/').any(|part| part == ".."))
        else {
            continue;
        };
        let is_executable = entry.header().mode()? & 0o100 != 0;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        files.insert(path.to_owned(), File { bytes, is_executable });
    }
    Ok(files)
}

impl Bug {
    /// The file with the bug.
    pub fn seeded(&self, files: &Files) -> Result<File, Error> {
        let wrong = |reason: &str| Error::answer("seeding a bug", format!("{}: {reason}", self.name));
        let file = files.get(&self.file).ok_or_else(|| wrong("its file is not in the package"))?;
        let text = std::str::from_utf8(&file.bytes).map_err(|_| wrong("its file is no text"))?;
        if text.matches(&self.old).count() != 1 {
            return Err(wrong("the right text must stand once in the file"));
        }
        let text = text.replacen(&self.old, &self.new, 1);
        if text.matches(&self.new).count() != 1 {
            return Err(wrong("the bug must stand once in the file"));
        }
        Ok(File { bytes: text.into_bytes(), ..*file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_of_pinned_packages_and_has_every_answer_that_must_be_refused() {
        let bugs = chosen(&[]).unwrap();
        let packages: BTreeSet<&str> = bugs.iter().map(|bug| bug.package.as_str()).collect();
        assert!(bugs.len() >= 26 && packages.len() == 13, "{} bugs in {packages:?}", bugs.len());
        assert!(bugs.iter().all(|bug| !bug.fails.is_empty() && pinned(&bug.package).is_some()));
        for also in [Also::TestEdited, Also::Outside, Also::Truncated, Also::TextDiffers] {
            assert!(bugs.iter().any(|bug| bug.also == Some(also)), "{also:?}");
        }
        assert_eq!(pinned("idna").unwrap().1.len(), 64);
    }

    #[test]
    fn bugs_are_chosen_by_their_names_or_packages() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            chosen(&only).map(|bugs| bugs.into_iter().map(|bug| bug.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["toolz", "idna-2"]).unwrap(), ["idna-2", "toolz-1", "toolz-2"]);
        assert_eq!(names(&["demo"]).unwrap(), ["demo-1"]);
        assert!(names(&["toolz-9"]).is_err());
    }

    #[test]
    fn a_package_with_another_hash_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(files("toolz", folder.path()).unwrap_err().to_string().contains("cannot be read"));
        let (version, _) = pinned("toolz").unwrap();
        std::fs::write(folder.path().join(format!("toolz-{version}.tar.gz")), b"other").unwrap();
        assert!(files("toolz", folder.path()).unwrap_err().to_string().contains("has the hash"));
    }
}
