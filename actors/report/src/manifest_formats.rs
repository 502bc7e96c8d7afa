//! The formats of dependency manifests: which files are manifests, and how each is read.
//!
//! Every reader is a pure function of the text. None evaluates code: a Gemfile is read line by line.

mod lines;
mod python;
mod tables;
mod xml;

use super::languages;
use super::manifests::{Ecosystem, Problem, Reading};

/// A reader of one format: the path tells a development list from another, the text is the manifest.
pub(super) type Parse = fn(path: &str, text: &str) -> Result<Reading, Problem>;

/// The reader for the file at `path`, if it is a manifest.
pub(super) fn format_of(path: &str) -> Option<(Ecosystem, Parse)> {
    let name = path.rsplit('/').next()?;
    Some(match name {
        "Cargo.toml" => (Ecosystem::Cargo, tables::cargo),
        "package.json" => (Ecosystem::Npm, tables::npm),
        "composer.json" => (Ecosystem::Composer, tables::composer),
        "pyproject.toml" => (Ecosystem::Python, tables::pyproject),
        "go.mod" => (Ecosystem::Go, lines::go_mod),
        "Gemfile" => (Ecosystem::Rubygems, lines::gemfile),
        "pom.xml" => (Ecosystem::Maven, xml::pom),
        _ if name.starts_with("requirements") && languages::extension(name) == "txt" => {
            (Ecosystem::Python, lines::requirements)
        }
        _ => return None,
    })
}
