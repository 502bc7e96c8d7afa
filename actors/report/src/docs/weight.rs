//! The weight of a document by its place: a README at the top is written for newcomers, the hundredth page of
//! a reference is not.

use std::collections::BTreeMap;

/// The weights of the README at the top and of the other documents beside it.
const TOP_README: f32 = 2.0;
const TOP: f32 = 1.3;

/// The factor for every folder below the top; beyond eight folders it no longer matters.
const PER_FOLDER: f32 = 0.8;
const FOLDERS_MAX: usize = 8;

/// The factor for pages that are looked up rather than read, or that other projects wrote.
const REFERENCE: f32 = 0.2;
/// The factor for a record of the past: it names everything once.
const PAST: f32 = 0.15;
/// Documents in a folder above which it is a collection, in which no page answers for the whole.
const CROWD: usize = 20;
const CROWDED: f32 = 0.5;

/// Folders with pages that are looked up rather than read, or that other projects wrote.
const REFERENCES: &str = "\
    adr adrs api archive archived blog changelog changelogs changes codes decisions deps error-codes errors \
    external fixtures i18n issue_template locales news node_modules posts reference references releases rfc \
    rfcs test testdata tests third-party third_party thirdparty translations vendor vendored";

/// Names of records of the past.
const RECORDS: &[&str] = &["changelog", "changes", "history", "news", "release"];

/// The weight of every file. `files` may repeat a name for each of its sections, one after the other.
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
    let mut weight = match depth {
        0 if is_readme(file) => TOP_README,
        0 => TOP,
        depth => PER_FOLDER.powi(depth as i32),
    };
    let mut folders = folder(file).split('/').map(str::to_ascii_lowercase);
    if folders.any(|one| REFERENCES.split(' ').any(|reference| reference == one)) {
        weight *= REFERENCE;
    }
    if depth > 0 && neighbours > CROWD {
        weight *= CROWDED;
    }
    if RECORDS.iter().any(|record| name.starts_with(record)) {
        weight *= PAST;
    }
    weight
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The last part of a path in lower case.
pub(super) fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_lowercase()
}

/// Whether a file is a README.
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
        let weights = super::of(files.into_iter());
        assert!(weights[0] == weights[1] && weights[1] > weights[2] && weights[2] > weights[3]);
        assert!(weights[3] > 3.0 * weights[4] && weights[3] > 10.0 * weights[5], "{weights:?}");
    }
}
