//! The dependencies of a repository, read from its manifests and never from the network.
//!
//! An unreadable manifest is one finding among others and never fails the whole.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{self, Tree};
use super::manifest_formats as formats;
use super::{Error, Watch};

/// Manifests that are read: a monorepo has hundreds; more are vendored copies.
pub const MANIFESTS_MAX: usize = 2_000;

/// Bytes of a manifest: one written by people has a few kilobytes; a larger one is generated and would hold
/// up the rest.
pub const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// Dependencies listed per manifest: nobody reads a longer list.
pub const DEPENDENCIES_MAX: usize = 2_000;

/// Dependencies listed over all manifests; those of further manifests are only counted.
pub const DEPENDENCIES_KEPT_MAX: usize = 100_000;

/// Findings kept over all manifests; the first of them show the fault.
pub const FINDINGS_MAX: usize = 1_000;

/// Bytes of a name, a requirement or a problem: longer ones are written to fill memory, and are cut here.
const TEXT_BYTES_MAX: usize = 512;

/// The manifests of a repository, sorted by path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifests {
    pub manifests: Vec<Manifest>,
    /// Manifests, or parts of them, that could not be read.
    pub findings: Vec<Finding>,
    /// Dependencies in all manifests, counted per manifest.
    pub dependencies_total: u64,
    /// Whether there are more manifests than [`MANIFESTS_MAX`] or findings than [`FINDINGS_MAX`].
    pub truncated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    pub path: String,
    pub ecosystem: Ecosystem,
    pub name: Option<String>,
    pub version: Option<String>,
    /// Sorted by kind and name.
    pub dependencies: Vec<Dependency>,
    /// Dependencies beyond [`DEPENDENCIES_MAX`], or beyond [`DEPENDENCIES_KEPT_MAX`] in all.
    pub omitted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Dependency {
    pub kind: Kind,
    pub name: String,
    /// As written; `*` when the manifest states none, `path …` or `git …` for a source that is not a registry.
    pub requirement: String,
    /// Whether the requirement comes from a manifest further up, such as a Cargo workspace or a Maven parent.
    pub inherited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Normal,
    Dev,
    Build,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ecosystem {
    Cargo,
    Npm,
    Python,
    Go,
    Maven,
    Rubygems,
    Composer,
}

impl Ecosystem {
    /// The name people use.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cargo => "Cargo",
            Self::Npm => "npm",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::Maven => "Maven",
            Self::Rubygems => "RubyGems",
            Self::Composer => "Composer",
        }
    }
}

/// A problem with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    pub path: String,
    /// The line, when the parser knows it.
    pub line: Option<u64>,
    pub problem: String,
}

/// The content of one manifest, before workspaces are resolved.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) omitted: u64,
    pub(super) offers: Offers,
    pub(super) version_inherited: bool,
    /// Lines that were skipped and why.
    pub(super) problems: Vec<Problem>,
}

/// What members of a Cargo workspace may inherit.
#[derive(Debug, Default)]
pub(super) struct Offers {
    pub(super) version: Option<String>,
    /// Dependencies by the names that members use.
    pub(super) dependencies: BTreeMap<String, Dependency>,
}

/// Why a manifest, or one line of it, could not be read.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) line: Option<u64>,
    pub(super) text: String,
}

impl Dependency {
    pub(super) fn new(kind: Kind, name: impl Into<String>, requirement: impl Into<String>) -> Self {
        let [name, requirement] = [name.into(), requirement.into()].map(|text| bounded(&text));
        let requirement = if requirement.is_empty() { "*".to_owned() } else { requirement };
        Self { kind, name, requirement, inherited: false }
    }
}

/// Reads every dependency manifest below `repo`.
pub fn manifests(repo: &Path, watch: &Watch) -> Result<Manifests, Error> {
    let mut read = Vec::new();
    let mut findings = Vec::new();
    let mut truncated = false;
    let mut room = DEPENDENCIES_KEPT_MAX;
    let mut tree = Tree::read(repo, watch)?;
    tree.each("reading manifests", |tree, entry| {
        let Some((ecosystem, parse)) = formats::format_of(&entry.name) else { return Ok(()) };
        if read.len() == MANIFESTS_MAX {
            truncated = true;
            return Ok(());
        }
        let reading = match tree.text(&entry, MANIFEST_BYTES_MAX)? {
            Some(text) => parse(&entry.name, &text),
            None if entry.is_absent() => {
                Err(Problem { line: None, text: "the content is not here: the clone is partial".to_owned() })
            }
            None => Err(Problem {
                line: None,
                text: format!("larger than {MANIFEST_BYTES_MAX} bytes, not text, or unreadable"),
            }),
        };
        match reading {
            Ok(mut reading) => {
                let problems = std::mem::take(&mut reading.problems);
                findings.extend(problems.into_iter().map(|problem| problem.at(&entry.name)));
                reading.bound(&mut room);
                read.push((entry.name, ecosystem, reading));
            }
            Err(problem) => findings.push(problem.at(&entry.name)),
        }
        truncated |= findings.len() > FINDINGS_MAX;
        findings.truncate(FINDINGS_MAX);
        Ok(())
    })?;
    inherit(&mut read);
    let mut manifests: Vec<_> =
        read.into_iter().map(|(path, ecosystem, one)| finish(path, ecosystem, one)).collect();
    manifests.sort_by(|a, b| a.path.cmp(&b.path));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    let count = |manifest: &Manifest| manifest.dependencies.len() as u64 + manifest.omitted;
    Ok(Manifests { dependencies_total: manifests.iter().map(count).sum(), manifests, findings, truncated })
}

impl Reading {
    /// Keeps as many dependencies as one manifest may have and as there is room for.
    fn bound(&mut self, room: &mut usize) {
        self.dependencies.sort();
        self.dependencies.dedup();
        let kept = self.dependencies.len().min(DEPENDENCIES_MAX).min(*room);
        self.omitted = (self.dependencies.len() - kept) as u64;
        self.dependencies.truncate(kept);
        self.dependencies.shrink_to_fit();
        *room -= kept;
    }
}

impl Problem {
    fn at(self, path: &str) -> Finding {
        Finding { path: path.to_owned(), line: self.line, problem: bounded(&self.text) }
    }
}

fn bounded(text: &str) -> String {
    files::clip(text, TEXT_BYTES_MAX).to_owned()
}

/// Fills in what members inherit from the nearest Cargo workspace above them.
fn inherit(read: &mut [(String, Ecosystem, Reading)]) {
    let offers: BTreeMap<String, Offers> = read
        .iter_mut()
        .map(|(path, _, reading)| (folder_of(path).to_owned(), std::mem::take(&mut reading.offers)))
        .filter(|(_, offers)| offers.version.is_some() || !offers.dependencies.is_empty())
        .collect();
    for (path, _, reading) in read.iter_mut() {
        let Some(offer) = folders_up(path).find_map(|folder| offers.get(folder)) else { continue };
        if reading.version_inherited {
            reading.version.clone_from(&offer.version);
        }
        for dependency in reading.dependencies.iter_mut().filter(|dependency| dependency.inherited) {
            if let Some(offered) = offer.dependencies.get(&dependency.name) {
                dependency.name.clone_from(&offered.name);
                dependency.requirement.clone_from(&offered.requirement);
            }
        }
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn folders_up(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(folder_of(path)), |folder| (!folder.is_empty()).then(|| folder_of(folder)))
}

fn finish(path: String, ecosystem: Ecosystem, reading: Reading) -> Manifest {
    let Reading { name, version, mut dependencies, omitted, .. } = reading;
    let [name, version] = [name, version].map(|text| text.as_deref().map(bounded));
    // Inherited requirements have only now been filled in.
    dependencies.sort();
    Manifest { path, ecosystem, name, version, dependencies, omitted }
}
