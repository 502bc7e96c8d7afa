//! The report as Markdown, for reviews, issues and terminals.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::TimeDelta;

use super::Report;
use super::charts::monday;
use super::words::{self, bytes, count, day, lines, number, one_line, percent};
use crate::History;
use crate::docs::Answer;

/// Rows of a table; the artifacts and the page have the rest.
const ROWS_MAX: usize = 20;

/// Weeks in the chart of activity: half a year. The page draws all weeks.
const WEEKS_MAX: i64 = 26;

/// The length of the longest bar, in characters.
const BAR_CHARS_MAX: f64 = 20.0;

/// Renders the report.
pub(super) fn markdown(report: &Report<'_>) -> String {
    let mut text = String::new();
    head(report, &mut text);
    documentation(report, &mut text);
    inventory(report, &mut text);
    history(report, &mut text);
    hotspots(report, &mut text);
    manifests(report, &mut text);
    review(report, &mut text);
    text
}

fn head(report: &Report<'_>, text: &mut String) {
    let (meta, inventory, history) = (report.meta, &report.inputs.inventory, &report.inputs.history);
    line(text, format_args!("# {}\n", inline(&meta.title)));
    if !meta.goal.trim().is_empty() {
        line(text, format_args!("> {}\n", inline(meta.goal.trim())));
    }
    line(
        text,
        format_args!(
            "Repository {} at commit {}, read on {}.",
            inline(&meta.repo),
            inline(&meta.commit),
            inline(&meta.generated_at)
        ),
    );
    line(
        text,
        format_args!(
            "{}, {}, {} by {} between {} and {}.\n",
            count(inventory.total.files, "file", "files"),
            count(inventory.total.lines.total, "line", "lines"),
            count(history.commits, "commit", "commits"),
            count(history.contributors_total, "contributor", "contributors"),
            day(history.first.as_deref()),
            day(history.last.as_deref())
        ),
    );
    line(text, format_args!("## What stands out\n"));
    for one in &report.highlights {
        line(text, format_args!("- **{}:** {}", one.label, inline(&one.text)));
    }
    text.push('\n');
}

fn documentation(report: &Report<'_>, text: &mut String) {
    let docs = &report.inputs.docs;
    if let Some(goal) = &docs.goal {
        line(text, format_args!("## What the documentation says to your goal\n"));
        answer(goal, text);
    }
    line(text, format_args!("## What the documentation says\n"));
    line(
        text,
        format_args!(
            "Quoted from {} with {}.\n",
            count(docs.documents, "document", "documents"),
            count(docs.sections, "section", "sections")
        ),
    );
    for one in &docs.answers {
        line(text, format_args!("### {}\n", inline(&one.question)));
        answer(one, text);
    }
}

fn answer(answer: &Answer, text: &mut String) {
    if answer.passages.is_empty() {
        line(text, format_args!("The documentation does not seem to say.\n"));
    }
    for one in &answer.passages {
        // A fence longer than any in the passage: the quotation is shown, not rendered.
        let longest = one.text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        let heading =
            if one.heading.is_empty() { String::new() } else { format!(", “{}”", inline(&one.heading)) };
        line(text, format_args!("{}:{}–{}{heading}\n", inline(&one.file), one.start_line, one.end_line));
        line(text, format_args!("{fence}text\n{}\n{fence}\n", lines(&one.text)));
    }
}

fn inventory(report: &Report<'_>, text: &mut String) {
    let inventory = &report.inputs.inventory;
    line(text, format_args!("## What is in it\n"));
    let languages = inventory.languages.iter().take(ROWS_MAX).map(|row| {
        let counted = row.tally.lines;
        let share = percent(counted.total, inventory.total.lines.total);
        let numbers =
            [row.tally.files, counted.total, counted.code, counted.comment, counted.blank].map(number);
        let mut cells = vec![inline(&row.language)];
        cells.extend(numbers);
        cells.push(share);
        cells
    });
    let titles = ["Language", "Files", "Lines", "Code", "Comments", "Blank", "Share"];
    table(text, &titles, 1, languages, inventory.languages.len());
    line(
        text,
        format_args!(
            "Beside them {} ({}) and {} whose lines were not counted.\n",
            count(inventory.binary.files, "binary file", "binary files"),
            bytes(inventory.binary.bytes),
            count(inventory.uncounted.files, "file", "files")
        ),
    );
    line(text, format_args!("### Largest files\n"));
    let largest =
        inventory.largest.iter().take(ROWS_MAX).map(|file| vec![inline(&file.path), bytes(file.bytes)]);
    table(text, &["File", "Size"], 1, largest, inventory.largest.len());
}

fn history(report: &Report<'_>, text: &mut String) {
    let history = &report.inputs.history;
    line(text, format_args!("## Who works on it\n"));
    let people = history.contributors.iter().take(ROWS_MAX).map(|one| {
        let mut cells = vec![inline(&one.name)];
        cells.extend([one.commits, one.added, one.deleted].map(number));
        cells.extend([&one.first, &one.last].map(|time| day(time.as_deref()).to_owned()));
        cells
    });
    let titles = ["Contributor", "Commits", "Added", "Deleted", "First", "Last"];
    table(text, &titles, 1, people, history.contributors_total as usize);
    activity(history, text);
    line(text, format_args!("### How few people know most of a folder\n"));
    let folders = history.folders.iter().take(ROWS_MAX).map(|one| {
        let numbers = [one.bus_factor, one.authors, one.lines_changed].map(number);
        let [factor, authors, changed] = numbers;
        vec![inline(&one.path), factor, authors, changed, inline(&one.key_authors.join(", "))]
    });
    let titles = ["Folder", "Bus factor", "Authors", "Lines changed", "Key authors"];
    table(text, &titles, 1, folders, history.folders.len());
    line(text, format_args!("### Files changed most often\n"));
    let churn = history.churn.iter().take(ROWS_MAX).map(|file| {
        let name = if file.present { inline(&file.path) } else { format!("{} (gone)", inline(&file.path)) };
        let mut cells = vec![name];
        cells.extend([file.commits, file.added, file.deleted].map(number));
        cells
    });
    table(text, &["File", "Commits", "Added", "Deleted"], 1, churn, history.churn.len());
}

/// The weeks up to the last one with a commit, oldest first, including those without commits.
fn activity(history: &History, text: &mut String) {
    line(text, format_args!("### Activity by week\n"));
    let commits: BTreeMap<_, _> =
        history.weeks.iter().filter_map(|week| Some((monday(&week.week)?, week.commits))).collect();
    let (Some((first, _)), Some((last, _))) = (commits.first_key_value(), commits.last_key_value()) else {
        return line(text, format_args!("None.\n"));
    };
    let weeks = ((*last - *first).num_weeks() + 1).min(WEEKS_MAX);
    let most = commits.values().rev().take(WEEKS_MAX as usize).copied().max().unwrap_or(0).max(1);
    line(text, format_args!("| Week of | Commits | |\n| --- | ---: | --- |"));
    for back in (0..weeks).rev() {
        let day = *last - TimeDelta::weeks(back);
        let count = commits.get(&day).copied().unwrap_or(0);
        let bar = "█".repeat((count as f64 / most as f64 * BAR_CHARS_MAX).ceil() as usize);
        line(text, format_args!("| {day} | {} | {bar} |", number(count)));
    }
    let shown = *last - TimeDelta::weeks(weeks - 1);
    let before: u64 = commits.range(..shown).map(|(_, commits)| commits).sum();
    match before {
        0 => text.push('\n'),
        before => {
            line(text, format_args!("\nAnd {} before them.\n", words::count(before, "commit", "commits")));
        }
    }
}

fn hotspots(report: &Report<'_>, text: &mut String) {
    let hotspots = &report.inputs.hotspots;
    line(text, format_args!("## Where the code asks for attention\n"));
    let languages = hotspots.languages.iter().map(|row| {
        let mut cells = vec![inline(&row.language)];
        cells.extend([row.files, row.functions, row.notes].map(number));
        cells
    });
    table(text, &["Language", "Files parsed", "Functions", "Notes"], 1, languages, hotspots.languages.len());
    if hotspots.unparsed.total > 0 {
        line(text, format_args!("### Files that could not be parsed\n"));
        let files = hotspots.unparsed.paths.iter().map(|path| vec![inline(path)]);
        table(text, &["File"], 1, files, hotspots.unparsed.total as usize);
    }
    line(text, format_args!("### Long functions\n"));
    let long = hotspots.long_functions.iter().take(ROWS_MAX).map(|one| {
        vec![inline(&one.name), format!("{}:{}", inline(&one.file), one.start_line), number(one.lines)]
    });
    table(text, &["Function", "Where", "Lines"], 2, long, hotspots.long_functions_total as usize);
    line(text, format_args!("### Notes in comments\n"));
    let notes = hotspots
        .notes
        .iter()
        .take(ROWS_MAX)
        .map(|note| vec![inline(&note.text), format!("{}:{}", inline(&note.file), note.line)]);
    table(text, &["Note", "Where"], 2, notes, hotspots.notes_total as usize);
}

fn manifests(report: &Report<'_>, text: &mut String) {
    let manifests = &report.inputs.manifests;
    line(text, format_args!("## What it depends on\n"));
    let rows = manifests.manifests.iter().take(ROWS_MAX).map(|one| {
        let package = [&one.name, &one.version].map(|part| part.as_deref().unwrap_or_default()).join(" ");
        let dependencies = number(one.dependencies.len() as u64 + one.omitted);
        vec![inline(&one.path), one.ecosystem.label().to_owned(), inline(package.trim()), dependencies]
    });
    let titles = ["Manifest", "Ecosystem", "Package", "Dependencies"];
    table(text, &titles, 3, rows, manifests.manifests.len());
    if !manifests.findings.is_empty() {
        line(text, format_args!("### Manifests that could not be read in full\n"));
        for one in manifests.findings.iter().take(ROWS_MAX) {
            let at = one.line.map(|line| format!(":{line}")).unwrap_or_default();
            line(text, format_args!("- {}{at}: {}", inline(&one.path), inline(&one.problem)));
        }
        text.push('\n');
    }
}

fn review(report: &Report<'_>, text: &mut String) {
    line(text, format_args!("## Review\n"));
    let rows = report.review.checks.iter().map(|check| {
        let mut detail = inline(&check.detail);
        for one in &check.evidence {
            let _ = write!(detail, "; {}", inline(one));
        }
        vec![inline(&check.name), if check.passed { "passed" } else { "FAILED" }.to_owned(), detail]
    });
    table(text, &["Check", "Result", "Detail"], 3, rows, report.review.checks.len());
}

/// A table whose columns from `numbers_from` on are aligned right; says how many more rows there are.
fn table(
    text: &mut String,
    titles: &[&str],
    numbers_from: usize,
    rows: impl Iterator<Item = Vec<String>>,
    rows_all: usize,
) {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return line(text, format_args!("None.\n"));
    }
    line(text, format_args!("| {} |", titles.join(" | ")));
    let rules: Vec<_> =
        (0..titles.len()).map(|column| if column < numbers_from { "---" } else { "---:" }).collect();
    line(text, format_args!("| {} |", rules.join(" | ")));
    for row in &rows {
        line(text, format_args!("| {} |", row.join(" | ")));
    }
    text.push('\n');
    if rows_all > rows.len() {
        line(text, format_args!("And {} more.\n", number((rows_all - rows.len()) as u64)));
    }
}

/// Text from the repository inside a line or a cell, with all Markdown syntax escaped.
fn inline(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}
