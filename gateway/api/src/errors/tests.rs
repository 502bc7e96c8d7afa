//! Every code is found, and `docs/errors/README.md` is generated from the table.

use super::{ALL, Entry, find};
use crate::problem::status;

/// Set to write the file instead of comparing it.
const UPDATE: &str = "ORRERY_UPDATE_GENERATED";

const INTRODUCTION: &str = "# Error codes

Every code that a person may meet: what happened, why, and what to do.
`orrery explain CODE` prints an entry without a network, and a gateway serves it at `/errors/CODE`.
The HTTP status is `none` where a code never leaves by HTTP; agents may fail with codes of their own.
This page is generated from [`errors.toml`](errors.toml).
";

/// An entry as a section of the document. Links in the table are relative to the root of the repository.
fn section(entry: &Entry) -> String {
    let page = entry.page().replacen("# ", "## ", 1);
    let page =
        page.replace("\n## Why\n\n", "\n**Why:** ").replace("\n## What to do\n\n", "\n**What to do:** ");
    page.replace("](", "](../../").replace("](../../docs/", "](../")
}

#[test]
fn the_checked_in_document_is_the_generated_one() {
    let sections: Vec<String> = ALL.iter().map(section).collect();
    let document = [INTRODUCTION, &sections.join("\n")].join("\n");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors/README.md");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, &document).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == document,
        "docs/errors/README.md is stale: `{UPDATE}=1 cargo test -p gateway-api errors`"
    );
}

#[test]
fn every_entry_is_found_by_its_code() {
    assert!(ALL.len() > 90);
    for entry in ALL {
        assert_eq!(find(entry.code), Some(entry));
        assert!(entry.page().starts_with(&format!("# {}\n", entry.code)), "{entry:?}");
        assert!(entry.status.is_none_or(|listed| listed == status(entry.code)), "{entry:?}");
    }
    assert_eq!(find("no-such-code"), None);
}

#[test]
fn codes_of_agents_have_a_status_by_rule() {
    let cases = [("dish-not-found", 404), ("invalid-dish", 422), ("dish-burnt", 409), ("", 409)];
    for (code, expected) in cases {
        assert_eq!((find(code), status(code)), (None, expected), "{code}");
    }
}
