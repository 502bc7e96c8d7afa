//! Compiles the table of error codes, `docs/errors/errors.toml`, into the crate.
//!
//! It writes `errors.rs`: an array of entries, sorted by code. An invalid table fails the build.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// A row of the table. It is written as the crate's `Entry`, with the code.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    status: Option<u16>,
    summary: String,
    why: String,
    next: String,
}

fn main() -> std::io::Result<()> {
    // Asked now and not when this program was compiled: a copy of the sources may have compiled it.
    let manifest = std::env::var("CARGO_MANIFEST_DIR").expect("cargo tells where the manifest is");
    let table = PathBuf::from(manifest).join("../../docs/errors/errors.toml").canonicalize()?;
    println!("cargo:rerun-if-changed={}", table.display());
    let text = std::fs::read_to_string(&table)?;
    let rows: BTreeMap<String, Row> =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", table.display()));
    let entries = rows.iter().map(|(code, row)| {
        let Row { status, summary, why, next } = row;
        assert!(status.is_none_or(|status| (400..600).contains(&status)), "`{code}`: not the status of an error");
        for text in [summary, why, next] {
            assert!(!text.is_empty() && text.trim() == text, "`{code}`: a text is empty, or has blanks around it");
        }
        assert!(!summary.contains('\n'), "`{code}`: its summary is more than one sentence");
        format!(
            "Entry {{ code: {code:?}, status: {status:?}, summary: {summary:?}, why: {why:?}, next: {next:?} }},\n"
        )
    });
    let source = format!("&[\n{}]\n", entries.collect::<String>());
    let target = std::env::var("OUT_DIR").expect("cargo tells where built files go");
    std::fs::write(PathBuf::from(target).join("errors.rs"), source)
}
