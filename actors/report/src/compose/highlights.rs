//! Highlights: the few sentences that a reader with one minute should see, each with a pointer to the
//! details.

use chrono::DateTime;
use serde::Serialize;

use super::Meta;
use super::words::{count, day, number, percent};
use crate::hotspots::{LONG_FUNCTION_LINES, Marker};
use crate::manifests::Kind;
use crate::{Docs, History, Hotspots, Inputs, Inventory, Manifests, Review};

/// Names listed in one sentence before it stops being one.
const NAMES_MAX: usize = 5;

/// Days without a commit after which a project is called quiet; half a year outlasts holidays and release
/// breaks.
const QUIET_DAYS: i64 = 180;

/// Percent of all commits that change a file, from which on changes collide there.
const COLLISION_PERCENT: u64 = 20;

/// Commits below which there is no pattern worth a sentence.
const PATTERN_COMMITS_MIN: u64 = 20;

/// Whether a sentence is good news, worth knowing, or worth acting on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Weight {
    Act,
    Know,
    Good,
}

impl Weight {
    /// A word beside the colour, for readers who do not see it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Act => "Act",
            Self::Know => "Know",
            Self::Good => "Good",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Highlight {
    pub(super) weight: Weight,
    pub(super) label: &'static str,
    pub(super) text: String,
}

/// The sentences, most urgent first.
pub(super) fn highlights(inputs: &Inputs, review: &Review, meta: &Meta) -> Vec<Highlight> {
    let mut found = Vec::new();
    let mut add =
        |weight: Weight, text: String| found.push(Highlight { weight, label: weight.label(), text });
    checks(review, &mut add);
    people(&inputs.history, &mut add);
    activity(&inputs.history, meta, &mut add);
    absent(&inputs.inventory, &mut add);
    code(&inputs.hotspots, &mut add);
    dependencies(&inputs.manifests, &mut add);
    documentation(&inputs.docs, &mut add);
    found.sort_by_key(|one| one.weight);
    found
}

fn checks(review: &Review, add: &mut impl FnMut(Weight, String)) {
    if review.is_clean() {
        let text = format!(
            "All {} of this report against the repository passed.",
            count(review.passed, "check", "checks")
        );
        return add(Weight::Good, text);
    }
    let failed = review.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str());
    add(
        Weight::Act,
        format!(
            "{} of this report failed: {}. Do not rely on those parts; see “Review”.",
            count(review.failed, "check", "checks"),
            names(failed)
        ),
    );
}

fn people(history: &History, add: &mut impl FnMut(Weight, String)) {
    if history.contributors_total == 1 {
        return add(Weight::Know, "One person made every commit.".to_owned());
    }
    let alone: Vec<_> = history.folders.iter().filter(|folder| folder.bus_factor == 1).collect();
    if alone.is_empty() && !history.folders.is_empty() {
        return add(Weight::Good, "No top-level folder depends on a single person.".to_owned());
    }
    let folders = alone.iter().map(|folder| {
        let person = folder.key_authors.first().map_or("", String::as_str);
        format!("{} ({person})", if folder.path == "." { "files at the top" } else { &folder.path })
    });
    if !alone.is_empty() {
        let of = number(history.folders.len() as u64);
        let text = format!(
            "In {} of {of} top-level folders one person made more than half of all line changes: {}.",
            number(alone.len() as u64),
            names(folders)
        );
        add(Weight::Know, text);
    }
}

fn activity(history: &History, meta: &Meta, add: &mut impl FnMut(Weight, String)) {
    let parse = |time: &str| DateTime::parse_from_rfc3339(time).ok();
    if let (Some(now), Some(last)) = (parse(&meta.generated_at), history.last.as_deref().and_then(parse)) {
        let days = (now - last).num_days();
        if days >= QUIET_DAYS {
            let text = format!(
                "The last commit is {} old, from {}.",
                count(days as u64, "day", "days"),
                day(history.last.as_deref())
            );
            add(Weight::Know, text);
        }
    }
    if history.truncated {
        let text = format!(
            "The history is incomplete: {} could be read, from a shallow clone or up to the limit.",
            count(history.commits, "commit", "commits")
        );
        add(Weight::Know, text);
    }
    if history.without_lines > 0 {
        let text = format!(
            "The clone is partial: the changed lines of {} are not counted.",
            count(history.without_lines, "commit", "commits")
        );
        add(Weight::Know, text);
    }
    if history.misdated > 0 {
        let text = format!(
            "{} before 1990 or in the future, and in no week of the activity.",
            count(history.misdated, "commit is dated", "commits are dated")
        );
        add(Weight::Know, text);
    }
    if let Some(file) = history.churn.iter().find(|file| file.present)
        && history.commits >= PATTERN_COMMITS_MIN
        && file.commits * 100 >= history.commits * COLLISION_PERCENT
    {
        let share = percent(file.commits, history.commits);
        add(Weight::Know, format!("{} is part of {share} of all commits.", file.path));
    }
}

fn absent(inventory: &Inventory, add: &mut impl FnMut(Weight, String)) {
    if inventory.skipped.absent > 0 {
        let text = format!(
            "The clone is partial: the contents of {} are not here.",
            count(inventory.skipped.absent, "file", "files")
        );
        add(Weight::Know, text);
    }
}

fn code(hotspots: &Hotspots, add: &mut impl FnMut(Weight, String)) {
    if let Some(longest) = hotspots.long_functions.first() {
        let text = format!(
            "{} longer than {LONG_FUNCTION_LINES} lines; the longest is {} with {} ({}:{}).",
            count(hotspots.long_functions_total, "function is", "functions are"),
            longest.name,
            count(longest.lines, "line", "lines"),
            longest.file,
            longest.start_line
        );
        add(Weight::Know, text);
    } else if hotspots.languages.iter().any(|row| row.functions > 0) {
        add(Weight::Good, format!("No function is longer than {LONG_FUNCTION_LINES} lines."));
    }
    if let Some(note) =
        hotspots.notes.iter().find(|note| note.marker == Marker::Fixme).or(hotspots.notes.first())
    {
        let text = format!(
            "{} in comments, such as “{}” ({}:{}).",
            count(hotspots.notes_total, "note is left", "notes are left"),
            note.text,
            note.file,
            note.line
        );
        add(Weight::Know, text);
    }
    if hotspots.unparsed.total > 0 {
        let paths = hotspots.unparsed.paths.iter().map(String::as_str);
        let files = count(hotspots.unparsed.total, "source file", "source files");
        let text = format!("{files} ended the parser: {}.", names_of(paths, hotspots.unparsed.total));
        add(Weight::Know, text);
    }
    if hotspots.syntax_errors.total > 0 {
        let paths = hotspots.syntax_errors.paths.iter().map(String::as_str);
        let files = count(hotspots.syntax_errors.total, "source file", "source files");
        add(
            Weight::Know,
            format!(
                "{files} could not be parsed in full: {}.",
                names_of(paths, hotspots.syntax_errors.total)
            ),
        );
    }
}

fn dependencies(manifests: &Manifests, add: &mut impl FnMut(Weight, String)) {
    if let Some(first) = manifests.findings.first() {
        let paths = manifests.findings.iter().map(|finding| finding.path.as_str());
        let mut paths: Vec<_> = paths.collect();
        paths.dedup();
        let manifests = count(paths.len() as u64, "dependency manifest", "dependency manifests");
        let text =
            format!("{manifests} could not be read in full: {} (first: {}).", names(paths), first.problem);
        add(Weight::Act, text);
    }
    let all = manifests.manifests.iter().flat_map(|one| &one.dependencies);
    let open = all.filter(|one| one.kind == Kind::Normal && one.requirement == "*" && !one.inherited);
    let mut open: Vec<_> = open.map(|one| one.name.as_str()).collect();
    open.sort_unstable();
    open.dedup();
    if !open.is_empty() {
        let dependencies = count(open.len() as u64, "dependency accepts", "dependencies accept");
        add(Weight::Know, format!("{dependencies} any version: {}.", names(open)));
    }
}

fn documentation(docs: &Docs, add: &mut impl FnMut(Weight, String)) {
    let silent: Vec<_> =
        docs.answers.iter().filter(|one| one.passages.is_empty()).map(|one| one.id.as_str()).collect();
    // Where the contents of documents are not here, nothing is known of them.
    if docs.documents == 0 && docs.skipped > 0 {
        let skipped = count(docs.skipped, "document", "documents");
        add(Weight::Know, format!("{skipped} could not be read, and there are no others."));
    } else if docs.documents == 0 {
        add(Weight::Act, "There is no documentation: no README, Markdown or reStructuredText.".to_owned());
    } else if silent.is_empty() {
        add(Weight::Good, "The documentation has a passage on every standard question.".to_owned());
    } else {
        add(Weight::Know, format!("The documentation has no section on: {}.", names(silent)));
    }
}

/// A list for a sentence: the first few names and how many more.
fn names<S: AsRef<str>>(all: impl IntoIterator<Item = S>) -> String {
    let all: Vec<S> = all.into_iter().collect();
    let total = all.len() as u64;
    names_of(all, total)
}

/// As [`names`], when only the first of `total` names are available.
fn names_of<S: AsRef<str>>(first: impl IntoIterator<Item = S>, total: u64) -> String {
    let shown: Vec<S> = first.into_iter().take(NAMES_MAX).collect();
    let list = shown.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    let more = total.saturating_sub(shown.len() as u64);
    if more == 0 { list } else { format!("{list} and {} more", number(more)) }
}
