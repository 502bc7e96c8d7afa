//! Building an image of files on trial, on a base image that an operator gave.
//!
//! The engine's builder has none of the sandbox's limits, and fetches by itself. So what it is asked to build runs
//! nothing, fetches nothing and unpacks nothing: an instruction that would is a reason not to build. The image is
//! removed at once.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::files::{Entry, Files};
use crate::limits::WORKSPACE_BYTES_MAX;

/// The file that says how.
const DOCKERFILE: &str = "Dockerfile";
/// Instructions that describe the image, and run, fetch and unpack nothing.
const HARMLESS: [&str; 14] = [
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
/// Instructions, each of which may be a layer.
const INSTRUCTIONS_MAX: usize = 100;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trial {
    /// The image was built, and removed.
    Built,
    /// The engine could not build it, for this reason.
    Failed(String),
    /// It was not tried, for this reason.
    Untried(String),
}

/// Why files are not built; none if they may be.
pub(crate) fn refusal(files: &Files, base: &str) -> Option<String> {
    let Some(Entry::File { bytes, .. }) = files.get(DOCKERFILE) else {
        return Some(format!("the project has no `{DOCKERFILE}`"));
    };
    let Ok(text) = std::str::from_utf8(bytes) else { return Some(format!("`{DOCKERFILE}` is no text")) };
    check(text, base, files.bytes()).err()
}

fn check(text: &str, base: &str, bytes: u64) -> Result<(), String> {
    let (mut stages, mut copies, mut stage_count) = (BTreeSet::new(), 0, 0);
    let instructions = instructions(text)?;
    if instructions.len() > INSTRUCTIONS_MAX {
        return Err(format!("`{DOCKERFILE}` has more than {INSTRUCTIONS_MAX} instructions"));
    }
    for (number, words) in &instructions {
        let name = words[0].to_uppercase();
        if !HARMLESS.contains(&name.as_str()) {
            return Err(format!("line {number}: `{name}` would run, fetch or unpack outside of the sandbox"));
        }
        if name == "FROM" {
            let from = words.get(1).map(String::as_str).unwrap_or_default();
            if from != base && from != "scratch" && !stages.contains(&from.to_lowercase()) {
                return Err(format!("line {number}: `{from}` is not the base image that is given, `{base}`"));
            }
            if let [_, _, r#as, stage] = &words[..]
                && r#as.eq_ignore_ascii_case("as")
            {
                stages.insert(stage.to_lowercase());
            }
            stage_count += 1;
        }
        copies += u64::from(name == "COPY");
        let mut sources = words.iter().filter_map(|word| word.strip_prefix("--from="));
        let is_stage = |from: &str| {
            stages.contains(&from.to_lowercase()) || from.parse().is_ok_and(|at: usize| at < stage_count)
        };
        if let Some(from) = sources.find(|from| !is_stage(from)) {
            return Err(format!("line {number}: `{from}` is no stage of this file"));
        }
    }
    match copies.saturating_mul(bytes) {
        ..=WORKSPACE_BYTES_MAX => Ok(()),
        _ => Err(format!("the copies could take more than {WORKSPACE_BYTES_MAX} bytes")),
    }
}

/// The instructions, each with the number of its line, as words.
fn instructions(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let is_comment = line.starts_with('#');
        // Another sign would continue lines.
        if is_comment && line.trim_start_matches('#').trim_start().to_lowercase().starts_with("escape") {
            return Err(format!("line {}: the sign that continues a line is changed", index + 1));
        }
        if is_comment || line.is_empty() {
            continue;
        }
        let (begun, former) = open.take().unwrap_or((index + 1, String::new()));
        match line.strip_suffix('\\') {
            Some(part) => open = Some((begun, format!("{former}{part} "))),
            None => found.push((begun, words(&format!("{former}{line}")))),
        }
    }
    found.extend(open.map(|(begun, rest)| (begun, words(&rest))));
    found.retain(|(_, words)| !words.is_empty());
    Ok(found)
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_fetches_or_unpacks_is_not_built() {
        for (text, wanted) in [
            ("FROM base:1\nCOPY . /app\nCMD [\"python3\", \"app.py\"]\n", None),
            (
                "# a comment\n\nfrom base:1 AS one\ncopy a b\nFROM scratch\nCOPY --from=one /b /b\nCOPY --from=0 /b /c",
                None,
            ),
            ("FROM base:1\nENV A=1 \\\n  # between\n  B=2\n", None),
            ("FROM base:1\nRUN make", Some("`RUN`")),
            ("FROM base:1\nru\\\nn make", Some("would run")),
            ("FROM base:1\nADD https://example.com/x /x", Some("`ADD`")),
            ("FROM base:1\nADD x.tar /x", Some("`ADD`")),
            ("FROM base:1\nONBUILD RUN make", Some("`ONBUILD`")),
            ("FROM python:3.12\nCOPY . /", Some("not the base image")),
            ("FROM $BASE", Some("not the base image")),
            ("FROM --platform=linux/amd64 base:1", Some("not the base image")),
            ("FROM base:1\nCOPY --from=alpine:3 / /", Some("no stage")),
            ("FROM base:1\nCOPY --from=7 / /", Some("no stage")),
            ("# escape=`\nFROM base:1\nCOPY a `\nRUN b", Some("continues a line")),
        ] {
            let found = check(text, "base:1", 1);
            match wanted {
                None => assert_eq!(found, Ok(()), "{text}"),
                Some(part) => {
                    assert!(found.clone().is_err_and(|why| why.contains(part)), "{text}: {found:?}")
                }
            }
        }
        let many = "COPY . /\n".repeat(INSTRUCTIONS_MAX);
        assert!(check(&format!("FROM base:1\n{many}"), "base:1", 1).is_err(), "too many instructions");
        assert!(
            check("FROM base:1\nCOPY . /\nCOPY . /x", "base:1", WORKSPACE_BYTES_MAX).is_err(),
            "too large"
        );
        assert!(refusal(&Files::new(), "base:1").is_some_and(|why| why.contains("has no")));
    }
}
