//! How much a document's place speaks for it: a README at the top is written for newcomers, the hundredth page of a
//! reference is not.

use std::collections::BTreeMap;

/// The README at the top, and the other documents beside it.
const TOP_README: f32 = 2.0;
const TOP: f32 = 1.3;

/// What a document loses for every folder it lies below the top; beyond eight it makes no difference.
const PER_FOLDER: f32 = 0.8;
const FOLDERS_MAX: usize = 8;

/// What pages lose that are looked up rather than read, or that somebody else wrote.
const REFERENCE: f32 = 0.2;
/// What a record of the past loses: it names everything once.
const PAST: f32 = 0.15;
/// A folder with more documents is a collection, in which no page answers for the whole.
const CROWD: usize = 20;
const CROWDED: f32 = 0.5;

/// Folders of pages that are looked up rather than read, or that somebody else wrote.
const REFERENCES: &[&str] = &[
    "adr",
    "adrs",
    "api",
    "archive",
    "archived",
    "blog",
    "changelog",
    "changelogs",
    "changes",
    "codes",
    "decisions",
    "deps",
    "error-codes",
    "errors",
    "external",
    "fixtures",
    "i18n",
    "issue_template",
    "locales",
    "news",
    "node_modules",
    "posts",
    "reference",
    "references",
    "releases",
    "rfc",
    "rfcs",
    "test",
    "testdata",
    "tests",
    "third-party",
    "third_party",
    "thirdparty",
    "translations",
    "vendor",
    "vendored",
];

/// Names of records of the past.
const RECORDS: &[&str] = &["changelog", "changes", "history", "news", "release"];

/// A factor for every file, in order. `files` may repeat a name for each of its sections, one after the other.
pub(super) fn of<'a>(files: impl Iterator<Item = &'a str> + Clone) -> Vec<f32> {
    let mut crowds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut before = None;
    for file in files.clone().filter(|file| before.replace(*file) != Some(*file)) {
        *crowds.entry(folder(file)).or_default() += 1;
    }
    files.map(|file| one(file, crowds.get(folder(file)).copied().unwrap_or(0))).collect()
}

fn one(file: &str, neighbours: usize) -> f32 {
    let name = file_name(file);
    let depth = file.matches('/').count().min(FOLDERS_MAX);
    let mut standing = match depth {
        0 if is_readme(file) => TOP_README,
        0 => TOP,
        depth => PER_FOLDER.powi(depth as i32),
    };
    let mut folders = folder(file).split('/').map(str::to_ascii_lowercase);
    if folders.any(|one| REFERENCES.contains(&one.as_str())) {
        standing *= REFERENCE;
    }
    if depth > 0 && neighbours > CROWD {
        standing *= CROWDED;
    }
    if RECORDS.iter().any(|record| name.starts_with(record)) {
        standing *= PAST;
    }
    standing
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The last part of a path in lower case.
pub(super) fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_lowercase()
}

/// Whether a file is called README.
pub(super) fn is_readme(path: &str) -> bool {
    file_name(path).starts_with("readme")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_stands_above_pages_that_are_looked_up() {
        let errors: Vec<String> = (0..50).map(|number| format!("docs/errors/e{number}.md")).collect();
        let mut files = vec!["README.md", "README.md", "INSTALL.md", "docs/use.md", "CHANGELOG.md"];
        files.extend(errors.iter().map(String::as_str));
        let standing = super::of(files.into_iter());
        assert!(standing[0] == standing[1] && standing[1] > standing[2] && standing[2] > standing[3]);
        assert!(standing[3] > 3.0 * standing[4] && standing[3] > 10.0 * standing[5], "{standing:?}");
    }
}
