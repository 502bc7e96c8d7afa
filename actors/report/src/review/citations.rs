//! Checks of citations: every cited line is looked up and must contain the quotation.

use std::collections::BTreeMap;

use super::{Check, Draft, Files};
use crate::docs::DOCUMENT_BYTES_MAX;
use crate::hotspots::{LONG_FUNCTION_LINES, SOURCE_BYTES_MAX};
use crate::{Docs, Error, Hotspots, Watch};

/// Lines of a file and, for a quotation, the text that they must hold.
struct Citation<'a> {
    start_line: u64,
    end_line: u64,
    text: Option<&'a str>,
}

pub(super) fn notes(hotspots: &Hotspots, files: &mut Files<'_>, watch: &Watch) -> Result<Check, Error> {
    let mut draft = Draft::new("notes-quoted");
    let cited = hotspots.notes.iter().map(|note| {
        let text = Some(note.text.as_str());
        (note.file.as_str(), Citation { start_line: note.line, end_line: note.line, text })
    });
    look_up(cited, files, watch, &mut draft)?;
    for note in &hotspots.notes {
        let holds = note.text.starts_with(note.marker.word());
        draft.expect(holds, || format!("`{}` line {} does not hold its marker", note.file, note.line));
    }
    Ok(draft.finish("notes in comments against the lines they cite"))
}

pub(super) fn long_functions(
    hotspots: &Hotspots,
    files: &mut Files<'_>,
    watch: &Watch,
) -> Result<Check, Error> {
    let mut draft = Draft::new("long-functions");
    let cited = hotspots.long_functions.iter().map(|one| {
        let end_line = one.start_line.saturating_add(one.lines).saturating_sub(1);
        (one.file.as_str(), Citation { start_line: one.start_line, end_line, text: None })
    });
    look_up(cited, files, watch, &mut draft)?;
    for one in &hotspots.long_functions {
        draft.expect(one.lines > LONG_FUNCTION_LINES, || {
            format!("`{}` has only {} lines", one.name, one.lines)
        });
    }
    Ok(draft.finish("long functions against the length of their files"))
}

pub(super) fn passages(docs: &Docs, files: &mut Files<'_>, watch: &Watch) -> Result<Check, Error> {
    let mut draft = Draft::new("passages-quoted");
    let passages = docs.answers.iter().chain(&docs.goal).flat_map(|answer| &answer.passages);
    let cited = passages.map(|one| {
        let citation =
            Citation { start_line: one.start_line, end_line: one.end_line, text: Some(one.text.as_str()) };
        (one.file.as_str(), citation)
    });
    look_up(cited, files, watch, &mut draft)?;
    Ok(draft.finish("quoted passages against the lines they cite"))
}

/// Reads every cited file once and compares what is cited from it.
fn look_up<'a>(
    cited: impl Iterator<Item = (&'a str, Citation<'a>)>,
    files: &mut Files<'_>,
    watch: &Watch,
    draft: &mut Draft,
) -> Result<(), Error> {
    let mut by_file: BTreeMap<&str, Vec<Citation<'_>>> = BTreeMap::new();
    for (file, citation) in cited {
        by_file.entry(file).or_default().push(citation);
    }
    for (file, citations) in by_file {
        watch.check()?;
        let Some(text) = files.text(file, DOCUMENT_BYTES_MAX.max(SOURCE_BYTES_MAX))? else {
            draft.expect(false, || format!("`{file}` is not in the repository or cannot be read"));
            continue;
        };
        let lines: Vec<&str> = text.lines().collect();
        for citation in citations {
            let problem = citation.problem(&lines);
            draft.expect(problem.is_none(), || format!("`{file}` {}", problem.unwrap_or_default()));
        }
    }
    Ok(())
}

impl Citation<'_> {
    fn problem(&self, lines: &[&str]) -> Option<String> {
        let (start, end) = (self.start_line, self.end_line);
        let range =
            usize::try_from(start).ok().and_then(|start| start.checked_sub(1)).zip(usize::try_from(end).ok());
        let Some(cited) = range.and_then(|(from, to)| lines.get(from..to)).filter(|cited| !cited.is_empty())
        else {
            return Some(format!("has no lines {start} to {end}, it has {}", lines.len()));
        };
        match self.text {
            Some(text) if text.is_empty() || !cited.join("\n").contains(text) => {
                Some(format!("lines {start} to {end} do not say what is quoted from them"))
            }
            _ => None,
        }
    }
}
