//! Every dependency is declared once, at the root, and used by whoever names it.

use std::collections::BTreeSet;

use toml::Value;

use crate::files::{self, File, Findings};
use crate::graph::{Crate, crates, root_manifest};

/// Dependencies that no source names, with the reason why they stay.
const UNNAMED: &[(&str, &str, &str)] = &[];

/// What is declared at the root and used by nobody, with the reason why it stays.
const UNUSED_AT_ROOT: &[(&str, &str)] = &[];

/// Whether a Rust text names a crate: as the first part of a path, in a `use`, or in quotes as the
/// attributes of serde do.
fn names(text: &str, dependency: &str) -> bool {
    let word = dependency.replace('-', "_");
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.into_iter().any(|line| {
        line.match_indices(&word).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + word.len()..]);
            let first = before.ends_with(" ::") || !before.ends_with("::");
            let used = before.ends_with("use ") && after.starts_with([';', ' ']);
            let quoted = before.ends_with("= \"") && after.starts_with(['"', ':']);
            files::is_word_at(line, at, &word) && first && (after.starts_with("::") || used || quoted)
        })
    })
}

/// The Rust files of a crate, without those of a crate in a folder below it.
fn sources<'a>(of: &Crate, all: &'a [Crate]) -> Vec<&'static File> {
    let inside = |file: &File, folder: &str| file.path.starts_with(&format!("{folder}/"));
    let nested: Vec<&'a Crate> =
        all.iter().filter(|other| other.folder.starts_with(&format!("{}/", of.folder))).collect();
    let own = |file: &&File| inside(file, &of.folder) && !nested.iter().any(|n| inside(file, &n.folder));
    files::with("rs").filter(own).collect()
}

#[test]
fn a_dependency_is_named_by_the_sources_of_its_crate() {
    let all = crates();
    let mut findings = Findings::default();
    for each in &all {
        let sources = sources(each, &all);
        for dependency in each.dependencies(true).into_keys() {
            let used = sources.iter().any(|file| names(&file.text, dependency));
            let excepted = UNNAMED.iter().any(|(of, name, _)| *of == each.name && *name == dependency);
            let (path, line) = (each.manifest_path(), each.line_of(dependency));
            if !used && !excepted {
                let wrong = format!("no source of `{}` names `{dependency}`", each.name);
                findings.add(&path, line, wrong, "take it out, or add it to `UNNAMED` with the reason");
            } else if used && excepted {
                let wrong = format!("`{dependency}` is named after all");
                findings.add(&path, line, wrong, "take it out of `UNNAMED` in tests/tidy/dependencies.rs");
            }
        }
    }
    for (of, name, _) in UNNAMED {
        if !all.iter().any(|each| each.name == *of && each.dependencies(true).contains_key(name)) {
            let wrong = format!("`{of}` does not depend on `{name}`");
            findings.add("tests/tidy/dependencies.rs", 0, wrong, "take it out of `UNNAMED`");
        }
    }
    findings.assert_none();

    for used in ["use strum::Display;", "    strum::x()", "#[serde(with = \"strum\")]", "use strum;"] {
        assert!(names(used, "strum"), "{used}");
    }
    for unused in ["use crate::strum::x;", "let strum = 1;", "// strum::x", "my_strum::x()", "strums::x()"] {
        assert!(!names(unused, "strum"), "{unused}");
    }
}

/// Whether a manifest takes a dependency from the root.
fn is_inherited(value: &Value) -> bool {
    let table = value.as_table();
    let own = |key| table.is_some_and(|table| table.contains_key(key));
    table.and_then(|table| table.get("workspace")).and_then(Value::as_bool) == Some(true) && !own("version")
}

#[test]
fn a_dependency_is_declared_at_the_root() {
    let mut findings = Findings::default();
    for each in crates() {
        for (name, value) in each.dependencies(true) {
            if !is_inherited(value) {
                let wrong = format!("`{name}` is declared here");
                let fix = format!("write `{name}.workspace = true` and declare it in the root's Cargo.toml");
                findings.add(&each.manifest_path(), each.line_of(name), wrong, fix);
            }
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if !each.manifest["package"].get(key).is_some_and(is_inherited) {
                let fix = format!("write `{key}.workspace = true`");
                findings.add(&each.manifest_path(), 0, format!("a `{key}` of its own"), fix);
            }
        }
        if !each.manifest.get("lints").is_some_and(is_inherited) {
            let fix = "write `[lints]` and `workspace = true`";
            findings.add(&each.manifest_path(), 0, "the lints of the workspace are off", fix);
        }
    }
    findings.assert_none();
    assert!(!is_inherited(&Value::String("1".into())));
}

#[test]
fn what_is_declared_at_the_root_is_used() {
    let root = root_manifest();
    let declared = root["workspace"]["dependencies"].as_table().expect("the root declares dependencies");
    let all = crates();
    let used: BTreeSet<&str> = all.iter().flat_map(|each| each.dependencies(true).into_keys()).collect();
    // The binary and the system tests stand at the top: nobody depends on them, nobody declares them.
    let mut findings = Findings::default();
    for name in declared.keys() {
        let excepted = UNUSED_AT_ROOT.iter().any(|(excepted, _)| excepted == name);
        if !used.contains(name.as_str()) && !excepted {
            findings.add(
                "Cargo.toml",
                0,
                format!("no crate uses `{name}`"),
                "take it out of the root's Cargo.toml",
            );
        } else if used.contains(name.as_str()) && excepted {
            findings.add("Cargo.toml", 0, format!("`{name}` is used"), "take it out of `UNUSED_AT_ROOT`");
        }
    }
    findings.assert_none();
}
