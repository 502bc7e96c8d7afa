//! Manifests that are TOML or JSON tables: Cargo, npm, Composer and Python's `pyproject.toml`.

use serde_json::Value;

use super::python::python_requirement;
use crate::manifests::{Dependency, Kind, Problem, Reading};

/// Extras with these names hold what developers need and users do not.
const DEVELOPMENT_GROUPS: &[&str] =
    &["dev", "test", "tests", "testing", "lint", "docs", "doc", "develop", "typing"];

pub(super) fn cargo(_path: &str, text: &str) -> Result<Reading, Problem> {
    let root = toml(text)?;
    // The older name of the table.
    let package = root.get("package").or_else(|| root.get("project")).unwrap_or(&Value::Null);
    let mut reading = Reading { name: string(package, "/name"), ..Reading::default() };
    reading.version = string(package, "/version");
    reading.version_inherited = package.pointer("/version/workspace") == Some(&Value::Bool(true));
    cargo_tables(&root, &mut reading);
    for (_, target) in pairs(root.get("target")) {
        cargo_tables(target, &mut reading);
    }
    for (name, value) in pairs(root.pointer("/workspace/dependencies")) {
        let dependency = Dependency::new(Kind::Normal, cargo_name(name, value), cargo_requirement(value));
        reading.offers.dependencies.insert(name.clone(), dependency.clone());
        reading.dependencies.push(dependency);
    }
    reading.offers.version = string(&root, "/workspace/package/version");
    Ok(reading)
}

fn cargo_tables(table: &Value, reading: &mut Reading) {
    let kinds = [
        ("dependencies", Kind::Normal),
        ("dev-dependencies", Kind::Dev),
        ("dev_dependencies", Kind::Dev),
        ("build-dependencies", Kind::Build),
        ("build_dependencies", Kind::Build),
    ];
    for (key, kind) in kinds {
        for (name, value) in pairs(table.get(key)) {
            let inherited = value.get("workspace") == Some(&Value::Bool(true));
            let dependency = Dependency::new(kind, cargo_name(name, value), cargo_requirement(value));
            reading.dependencies.push(Dependency { inherited, ..dependency });
        }
    }
}

/// The sort of a dependency, whatever the manifest calls it.
fn cargo_name(alias: &str, value: &Value) -> String {
    value.get("package").and_then(Value::as_str).unwrap_or(alias).to_owned()
}

/// A requirement of Cargo, or one of Poetry, which may be a list of alternatives.
fn cargo_requirement(value: &Value) -> String {
    let field = |key: &str| value.get(key).and_then(Value::as_str);
    match value {
        Value::String(requirement) => requirement.clone(),
        Value::Array(alternatives) => {
            // None is listed within another: neither tool reads that.
            let tables = alternatives.iter().filter(|one| !one.is_array());
            tables.map(cargo_requirement).collect::<Vec<_>>().join(" || ")
        }
        _ => match (field("version"), field("git"), field("path"), field("url")) {
            (Some(version), ..) => version.to_owned(),
            (None, Some(git), ..) => format!("git {git}"),
            (None, None, Some(path), _) => format!("path {path}"),
            (None, None, None, url) => url.unwrap_or_default().to_owned(),
        },
    }
}

pub(super) fn npm(_path: &str, text: &str) -> Result<Reading, Problem> {
    let mut root = json(text)?;
    // An optional dependency counts as optional, whatever else it is.
    let optional = root.get("optionalDependencies").cloned().unwrap_or_default();
    if let Some(required) = root.get_mut("dependencies").and_then(Value::as_object_mut) {
        required.retain(|name, _| optional.get(name).is_none());
    }
    let mut reading = named(&root);
    let kinds = [
        ("dependencies", Kind::Normal),
        ("peerDependencies", Kind::Normal),
        ("optionalDependencies", Kind::Normal),
        ("devDependencies", Kind::Dev),
    ];
    string_tables(&root, &kinds, &mut reading);
    reading.dependencies.iter_mut().for_each(npm_alias);
    Ok(reading)
}

/// `npm:name@range` installs `name` under the name that the manifest uses, as `workspace:name@range` does. A name with
/// a scope has an `@` at its start.
fn npm_alias(dependency: &mut Dependency) {
    let target = ["npm:", "workspace:"].iter().find_map(|kind| dependency.requirement.strip_prefix(kind));
    let named = target.and_then(|target| {
        let at = target.char_indices().skip(1).find(|(_, c)| *c == '@')?.0;
        Some((target[..at].to_owned(), target[at + 1..].to_owned()))
    });
    let whole = dependency.requirement.strip_prefix("npm:").map(|name| (name.to_owned(), String::new()));
    if let Some((name, range)) = named.or(whole) {
        *dependency = Dependency::new(dependency.kind, name, range);
    }
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
        // These tools too ignore entries whose version is no text.
        let named =
            pairs(root.get(*key)).filter_map(|(name, requirement)| Some((name, requirement.as_str()?)));
        reading
            .dependencies
            .extend(named.map(|(name, requirement)| Dependency::new(*kind, name, requirement)));
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
    let groups = [root.get("dependency-groups"), root.pointer("/tool/pdm/dev-dependencies")];
    for (_, value) in groups.into_iter().flat_map(pairs) {
        list(Some(value), Kind::Dev);
    }
    list(root.pointer("/tool/uv/dev-dependencies"), Kind::Dev);
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

#[cfg(test)]
mod tests {
    use super::{cargo, npm, pyproject};
    use crate::manifests::{Kind, Problem, Reading};

    fn read(reading: Result<Reading, Problem>) -> String {
        let mut all = reading.unwrap().dependencies;
        all.sort();
        let shown = all.into_iter().map(|one| {
            format!("{}{} {}", if one.kind == Kind::Dev { "dev " } else { "" }, one.name, one.requirement)
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_crate_goes_by_its_own_name() {
        let text = "[dependencies]\nalias = { package = \"serde\", version = \"1\" }\n[dev_dependencies]\n\
                    b = { git = \"https://h/b\", package = \"c\" }\n[target.'cfg(unix)'.dependencies.d]\n\
                    package = \"libc\"\nversion = \"0.2\"\n";
        assert_eq!(read(cargo("Cargo.toml", text)), "libc 0.2, serde 1, dev c git https://h/b");
    }

    #[test]
    fn a_package_goes_by_its_own_name() {
        let text = r#"{"dependencies": {"a": "npm:lodash@^4", "b": "npm:@s/p@1 || 2", "c": "npm:@s/q", "d": "^1",
            "e": 7, "f": "^1"}, "optionalDependencies": {"f": "^2"}, "devDependencies": {"g": "workspace:h@*"}}"#;
        let expected = "@s/p 1 || 2, @s/q *, d ^1, f ^2, lodash ^4, dev h *";
        assert_eq!(read(npm("package.json", text)), expected);
    }

    #[test]
    fn alternatives_of_poetry_are_one_dependency() {
        let text = "[tool.poetry.dependencies]\npython = \"^3\"\na = [{ version = \"1\" }, { version = \"2\" }]\n\
                    b = { url = \"https://h/b.zip\" }\n[tool.uv]\ndev-dependencies = [\"c>1\"]\n";
        assert_eq!(read(pyproject("pyproject.toml", text)), "a 1 || 2, b https://h/b.zip, dev c >1");
    }
}
