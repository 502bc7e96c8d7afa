//! Which crate may depend on which. A new edge is a change of the architecture and is reviewed as one.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::files::{self, Findings};

/// Every edge between crates of the workspace; those of tests included.
const EDGES: [(&str, &[&str]); 23] = [
    ("bus-schemas", &[]),
    ("bus-client", &["bus-schemas"]),
    ("actors-core", &["bus-schemas"]),
    ("actors-logic", &["actors-core", "bus-schemas"]),
    ("actors-runtime", &["actors-core", "bus-client", "bus-schemas"]),
    ("actors-worker", &["bus-client", "bus-schemas"]),
    ("http-client", &["bus-schemas"]),
    ("actors-defence", &[]),
    ("actors-models", &["actors-defence", "actors-worker", "bus-schemas", "http-client"]),
    ("actors-web", &["bus-schemas", "http-client"]),
    ("actors-workspace", &["bus-schemas"]),
    ("actors-report", &["actors-workspace"]),
    ("actors-planner", &[]),
    (
        "actors-agents",
        &[
            "actors-models",
            "actors-planner",
            "actors-report",
            "actors-sandbox",
            "actors-web",
            "actors-worker",
            "actors-workspace",
            "bus-client",
            "bus-schemas",
        ],
    ),
    (
        "actors-host",
        &["actors-logic", "actors-runtime", "actors-worker", "bus-client", "bus-schemas", "http-client"],
    ),
    ("actors-sandbox", &[]),
    ("gateway-api", &["bus-schemas"]),
    ("gateway", &["bus-client", "bus-schemas", "gateway-api"]),
    (
        "orrery-storage",
        &["actors-core", "actors-logic", "actors-runtime", "actors-worker", "bus-client", "bus-schemas"],
    ),
    ("bare-loop", &[]),
    (
        "orrery-bench",
        &[
            "actors-agents",
            "actors-core",
            "actors-host",
            "actors-logic",
            "actors-models",
            "actors-runtime",
            "actors-sandbox",
            "actors-worker",
            "bare-loop",
            "bus-client",
            "bus-schemas",
        ],
    ),
    (
        "orrery",
        &[
            "actors-agents",
            "actors-host",
            "actors-logic",
            "actors-models",
            "actors-report",
            "actors-runtime",
            "actors-sandbox",
            "actors-web",
            "bus-client",
            "bus-schemas",
            "gateway",
            "gateway-api",
            "orrery-bench",
            "orrery-storage",
        ],
    ),
    (
        "system-tests",
        &[
            "actors-agents",
            "actors-core",
            "actors-host",
            "actors-logic",
            "actors-models",
            "actors-report",
            "actors-runtime",
            "actors-sandbox",
            "actors-web",
            "actors-worker",
            "bus-client",
            "bus-schemas",
            "gateway",
            "orrery-storage",
        ],
    ),
];

/// Who may name NATS. `deny.toml` says the same to `cargo deny`.
pub const KNOW_NATS: [&str; 4] = ["bare-loop", "bus-client", "orrery-bench", "system-tests"];

/// What a pure crate may use of others: data, its encoding, its hash, the
/// calendar, versions, templates, and the properties of characters.
const PURE_MAY_USE: [&str; 20] = [
    "base64",
    "blake3",
    "bytes",
    "chrono",
    "croner",
    "minijinja",
    "regex-syntax",
    "rmp-serde",
    "rpds",
    "schemars",
    "semver",
    "serde",
    "serde_bytes",
    "serde_json",
    "serde_path_to_error",
    "sha2",
    "smol_str",
    "strum",
    "thiserror",
    "uuid",
];

/// The pure crates: what they do depends on their arguments alone.
pub const PURE: [&str; 4] = ["bus-schemas", "actors-core", "actors-logic", "actors-planner"];

/// What must not come into a pure crate through another one.
const NEVER_BELOW_PURE: [&str; 10] =
    ["async-nats", "axum", "hyper", "mio", "ractor", "reqwest", "rusqlite", "socket2", "tempfile", "tokio"];

/// A crate of the workspace.
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its folder from the root.
    pub folder: String,
    /// Its manifest.
    pub manifest: Table,
}

impl Crate {
    /// The path of its manifest from the root.
    pub fn manifest_path(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
    /// Its dependencies with what the manifest says of each: of the program, and of its tests.
    pub fn dependencies(&self, tests_too: bool) -> BTreeMap<&str, &Value> {
        let sections = ["dependencies", "build-dependencies", "dev-dependencies"];
        let sections = sections.into_iter().filter(|section| tests_too || *section != "dev-dependencies");
        sections
            .filter_map(|section| self.manifest.get(section)?.as_table())
            .flat_map(|table| table.iter().map(|(name, value)| (name.as_str(), value)))
            .collect()
    }
    /// The line of the manifest that names a dependency.
    pub fn line_of(&self, dependency: &str) -> usize {
        let names =
            |line: &str| line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
        files::at(&self.manifest_path()).lines().find(|(_, line)| names(line)).map_or(0, |(number, _)| number)
    }
}

/// The root's manifest.
pub fn root_manifest() -> Table {
    files::at("Cargo.toml").text.parse().expect("cargo reads it, so it is TOML")
}

/// Every crate that has a manifest, whether the workspace names it or not.
pub fn crates() -> Vec<Crate> {
    let manifests = files::all().iter().filter_map(|file| {
        let folder = file.path.strip_suffix("/Cargo.toml")?;
        let manifest: Table = file.text.parse().expect("cargo reads it, so it is TOML");
        let name = manifest["package"]["name"].as_str().expect("a package has a name").to_owned();
        Some(Crate { name, folder: folder.to_owned(), manifest })
    });
    manifests.collect()
}

/// What is wrong with the edges of one crate.
fn edges(name: &str, found: &BTreeSet<&str>) -> Vec<(String, String, String)> {
    let Some((_, allowed)) = EDGES.iter().find(|(from, _)| *from == name) else {
        let wrong = format!("`{name}` is a new crate");
        return vec![(name.to_owned(), wrong, "draw its edges in `EDGES` and in the code map".into())];
    };
    let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
    let new = found.difference(&allowed).map(|to| {
        let wrong = format!("`{name}` must not depend on `{to}`");
        let fix =
            "move the code to where the edge exists, or change `EDGES` and docs/architecture.md together";
        ((*to).to_owned(), wrong, fix.to_owned())
    });
    let gone = allowed.difference(found).map(|to| {
        let wrong = format!("`{name}` does not depend on `{to}` any more");
        ((*to).to_owned(), wrong, "take the edge out of `EDGES` in tests/tidy/graph.rs".to_owned())
    });
    new.chain(gone).collect()
}

#[test]
fn crates_depend_on_each_other_as_the_architecture_says() {
    let crates = crates();
    let ours: BTreeSet<&str> = crates.iter().map(|each| each.name.as_str()).collect();
    let mut findings = Findings::default();
    for each in &crates {
        let all = each.dependencies(true);
        let found = all.keys().copied().filter(|name| ours.contains(name)).collect();
        for (to, wrong, fix) in edges(&each.name, &found) {
            findings.add(&each.manifest_path(), each.line_of(&to), wrong, fix);
        }
    }
    for (name, _) in EDGES.iter().filter(|(name, _)| !ours.contains(name)) {
        findings.add(
            "tests/tidy/graph.rs",
            0,
            format!("there is no crate `{name}`"),
            "take it out of `EDGES`",
        );
    }
    findings.assert_none();

    assert_eq!(edges("actors-logic", &["actors-core", "actors-runtime", "bus-schemas"].into()).len(), 1);
    assert_eq!(edges("actors-logic", &["bus-schemas"].into()).len(), 1);
}

#[test]
fn the_workspace_names_every_crate() {
    let root = root_manifest();
    let members = root["workspace"]["members"].as_array().expect("a workspace has members");
    let members: BTreeSet<&str> = members.iter().filter_map(Value::as_str).collect();
    let crates = crates();
    let folders: BTreeSet<&str> = crates.iter().map(|each| each.folder.as_str()).collect();
    assert_eq!(members, folders, "every folder with a manifest is a member, and every member is there");
}

#[test]
fn only_the_bus_client_and_tests_know_nats() {
    let mut findings = Findings::default();
    for each in crates() {
        let knows = each.dependencies(true).contains_key("async-nats");
        if knows && !KNOW_NATS.contains(&each.name.as_str()) {
            let fix = "go through `bus-client`; add there what is missing";
            let line = each.line_of("async-nats");
            findings.add(&each.manifest_path(), line, format!("`{}` names async-nats", each.name), fix);
        }
    }
    findings.assert_none();
}

#[test]
fn pure_crates_use_data_and_nothing_else() {
    let mut findings = Findings::default();
    for each in crates().iter().filter(|each| PURE.contains(&each.name.as_str())) {
        for name in each.dependencies(false).into_keys() {
            if !PURE_MAY_USE.contains(&name) && name != "bus-schemas" && name != "actors-core" {
                let wrong = format!("`{}` is pure and depends on `{name}`", each.name);
                let fix =
                    "pass what it gives as an argument, or add it to `PURE_MAY_USE` if it is data alone";
                findings.add(&each.manifest_path(), each.line_of(name), wrong, fix);
            }
        }
    }
    let chrono = root_manifest()["workspace"]["dependencies"]["chrono"].clone();
    let features = chrono.get("features").and_then(Value::as_array).cloned().unwrap_or_default();
    for clock in ["clock", "now"] {
        if features.iter().any(|feature| feature.as_str() == Some(clock)) {
            findings.add(
                "Cargo.toml",
                0,
                format!("chrono has `{clock}`"),
                "read the clock with std, at the edge",
            );
        }
    }
    if chrono.get("default-features").and_then(Value::as_bool) != Some(false) {
        findings.add("Cargo.toml", 0, "chrono has its default features, a clock among them", "turn them off");
    }
    findings.assert_none();
}

/// Who depends on whom in Cargo.lock, by name; versions of one crate are taken together.
fn locked() -> BTreeMap<String, BTreeSet<String>> {
    let lock: Table = files::at("Cargo.lock").text.parse().expect("cargo wrote it");
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().expect("a lock lists packages") {
        let name = package["name"].as_str().expect("a package has a name").to_owned();
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        let names = dependencies.into_iter().flatten().filter_map(Value::as_str);
        let names = names.filter_map(|text| text.split(' ').next()).map(str::to_owned);
        below.entry(name).or_default().extend(names);
    }
    below
}

/// A way from a crate to a forbidden one, if there is one.
fn way_down(from: &str, below: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = way.last().expect("a way has a beginning");
        if NEVER_BELOW_PURE.contains(&last.as_str()) {
            return Some(way);
        }
        for next in below.get(last).into_iter().flatten().filter(|next| seen.insert((*next).clone())) {
            ways.push(way.iter().chain([next]).cloned().collect());
        }
    }
    None
}

#[test]
fn nothing_that_does_io_lies_below_a_pure_crate() {
    let below = locked();
    let mut findings = Findings::default();
    // Their own tests may use more, and Cargo.lock does not tell tests apart: begin one step below.
    for each in crates().iter().filter(|each| PURE.contains(&each.name.as_str())) {
        for name in each.dependencies(false).into_keys().filter(|name| !PURE.contains(name)) {
            if let Some(way) = way_down(name, &below) {
                let wrong = format!("`{}` is pure and stands on {}", each.name, way.join(" → "));
                let fix = "turn the feature off that brings it in, or use another crate";
                findings.add(&each.manifest_path(), each.line_of(name), wrong, fix);
            }
        }
    }
    findings.assert_none();
    assert!(
        way_down("bus-client", &below).is_some(),
        "the bus client stands on tokio: the search finds nothing"
    );
}
