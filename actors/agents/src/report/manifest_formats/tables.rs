//! Manifests that are TOML or JSON tables: Cargo, npm, Composer and Python's `pyproject.toml`.

use serde_json::Value;

use super::lines::python_requirement;
use crate::report::manifests::{Dependency, Kind, Problem, Reading};

/// Extras with these names hold what developers need and users do not.
const DEVELOPMENT_GROUPS: &[&str] =
    &["dev", "test", "tests", "testing", "lint", "docs", "doc", "develop", "typing"];

pub(super) fn cargo(_path: &str, text: &str) -> Result<Reading, Problem> {
    let root = toml(text)?;
    let mut reading = Reading { name: string(&root, "/package/name"), ..Reading::default() };
    reading.version = string(&root, "/package/version");
    reading.version_inherited = root.pointer("/package/version/workspace") == Some(&Value::Bool(true));
    cargo_tables(&root, &mut reading);
    for (_, target) in pairs(root.get("target")) {
        cargo_tables(target, &mut reading);
    }
    for (name, value) in pairs(root.pointer("/workspace/dependencies")) {
        let requirement = cargo_requirement(value);
        reading.offers.insert(Some(name.clone()), requirement.clone());
        reading.dependencies.push(Dependency::new(Kind::Normal, name, requirement));
    }
    if let Some(version) = string(&root, "/workspace/package/version") {
        reading.offers.insert(None, version);
    }
    Ok(reading)
}

fn cargo_tables(table: &Value, reading: &mut Reading) {
    let kinds = [
        ("dependencies", Kind::Normal),
        ("dev-dependencies", Kind::Dev),
        ("build-dependencies", Kind::Build),
    ];
    for (key, kind) in kinds {
        for (name, value) in pairs(table.get(key)) {
            let inherited = value.get("workspace") == Some(&Value::Bool(true));
            let dependency = Dependency::new(kind, name, cargo_requirement(value));
            reading.dependencies.push(Dependency { inherited, ..dependency });
        }
    }
}

fn cargo_requirement(value: &Value) -> String {
    let field = |key: &str| value.get(key).and_then(Value::as_str);
    match value {
        Value::String(requirement) => requirement.clone(),
        _ => match (field("version"), field("git"), field("path")) {
            (Some(version), _, _) => version.to_owned(),
            (None, Some(git), _) => format!("git {git}"),
            (None, None, Some(path)) => format!("path {path}"),
            (None, None, None) => String::new(),
        },
    }
}

pub(super) fn npm(_path: &str, text: &str) -> Result<Reading, Problem> {
    let root = json(text)?;
    let mut reading = named(&root);
    let kinds = [
        ("dependencies", Kind::Normal),
        ("peerDependencies", Kind::Normal),
        ("optionalDependencies", Kind::Normal),
        ("devDependencies", Kind::Dev),
    ];
    string_tables(&root, &kinds, &mut reading);
    Ok(reading)
}

pub(super) fn composer(_path: &str, text: &str) -> Result<Reading, Problem> {
    let root = json(text)?;
    let mut reading = named(&root);
    string_tables(&root, &[("require", Kind::Normal), ("require-dev", Kind::Dev)], &mut reading);
    Ok(reading)
}

fn named(root: &Value) -> Reading {
    Reading { name: string(root, "/name"), version: string(root, "/version"), ..Reading::default() }
}

fn string_tables(root: &Value, kinds: &[(&str, Kind)], reading: &mut Reading) {
    for (key, kind) in kinds {
        for (name, requirement) in pairs(root.get(*key)) {
            let requirement = requirement.as_str().unwrap_or_default();
            reading.dependencies.push(Dependency::new(*kind, name, requirement));
        }
    }
}

pub(super) fn pyproject(_path: &str, text: &str) -> Result<Reading, Problem> {
    let root = toml(text)?;
    let first = |keys: [&str; 2]| keys.iter().find_map(|key| string(&root, key));
    let mut reading = Reading {
        name: first(["/project/name", "/tool/poetry/name"]),
        version: first(["/project/version", "/tool/poetry/version"]),
        ..Reading::default()
    };
    let mut list = |value: Option<&Value>, kind: Kind| {
        for line in value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            match python_requirement(line, kind) {
                Some(dependency) => reading.dependencies.push(dependency),
                None => reading.problems.push(Problem {
                    line: None,
                    text: format!("not a requirement: `{}`", line.escape_debug()),
                }),
            }
        }
    };
    list(root.pointer("/project/dependencies"), Kind::Normal);
    list(root.pointer("/build-system/requires"), Kind::Build);
    for (group, value) in pairs(root.pointer("/project/optional-dependencies")) {
        list(Some(value), group_kind(group));
    }
    for (_, value) in pairs(root.get("dependency-groups")) {
        list(Some(value), Kind::Dev);
    }
    poetry(&root, &mut reading);
    Ok(reading)
}

fn group_kind(group: &str) -> Kind {
    if DEVELOPMENT_GROUPS.contains(&group) { Kind::Dev } else { Kind::Normal }
}

fn poetry(root: &Value, reading: &mut Reading) {
    let mut add = |table: Option<&Value>, kind: Kind| {
        for (name, value) in pairs(table).filter(|(name, _)| *name != "python") {
            reading.dependencies.push(Dependency::new(kind, name, cargo_requirement(value)));
        }
    };
    add(root.pointer("/tool/poetry/dependencies"), Kind::Normal);
    add(root.pointer("/tool/poetry/dev-dependencies"), Kind::Dev);
    for (_, group) in pairs(root.pointer("/tool/poetry/group")) {
        add(group.get("dependencies"), Kind::Dev);
    }
}

fn toml(text: &str) -> Result<Value, Problem> {
    toml::from_str(text).map_err(|error: toml::de::Error| Problem {
        line: error.span().map(|span| line_at(text, span.start)),
        text: error.message().to_owned(),
    })
}

fn json(text: &str) -> Result<Value, Problem> {
    serde_json::from_str(text)
        .map_err(|error| Problem { line: Some(error.line() as u64), text: error.to_string() })
        .and_then(|value: Value| {
            let text = "the top of the file is not an object".to_owned();
            if value.is_object() { Ok(value) } else { Err(Problem { line: Some(1), text }) }
        })
}

/// The line, from one, in which the byte at `offset` lies.
pub(super) fn line_at(text: &str, offset: usize) -> u64 {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1
}

fn string(root: &Value, pointer: &str) -> Option<String> {
    root.pointer(pointer)?.as_str().map(str::to_owned)
}

fn pairs(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}
