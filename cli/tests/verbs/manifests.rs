//! `agents load` and `unload`: agents that manifests declare.

use std::path::Path;

use serde_json::{Value, json};

use crate::schema::check;
use crate::world::{World, eventually};

/// The manifest of the documentation with one text in place of another.
fn manifest(directory: &Path, from: &str, to: &str) -> String {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/release-notes.toml");
    let text = std::fs::read_to_string(example).expect("the example");
    assert!(text.contains(from), "`{from}`");
    let file = directory.join("manifest.toml");
    std::fs::write(&file, text.replacen(from, to, 1)).expect("a file");
    file.display().to_string()
}

/// Goal: a person loads, upgrades and removes an agent while the system runs, sees where each agent comes from and why
/// one is ill, and learns of every manifest that cannot be loaded why, and what to do. Method: the manifest of the
/// documentation, and one change for each refusal, on a system without a model.
#[test]
fn an_agent_is_loaded_checked_shown_and_unloaded() {
    let world = World::start();
    let directory = tempfile::tempdir().expect("a folder");
    let good = || manifest(directory.path(), "name", "name");
    let found = |name: &str| {
        let list = world.orrery(&["agents", "list", "--json"]).good().line();
        check("agents", &list);
        list["agents"].as_array().expect("a list").iter().find(|one| one["name"] == name).cloned()
    };
    eventually("the shipped agents", || {
        found("research").and(found("git")).filter(|one| one["capacity"] != 0)
    });

    let checked = world.orrery(&["agents", "load", &good(), "--check", "--json"]).good().line();
    check("agent-checked", &checked);
    assert_eq!((&checked["number"], &checked["former"]), (&json!(1), &Value::Null));
    assert_eq!(found("release-notes"), None, "a check loads nothing");
    let mebibyte = format!("prompt = \"{}\"\nrest = \"\"\"", "x".repeat(1024 * 1024));
    for (from, to, code, status) in [
        ("\"read\"", "\"shell\"", "invalid-manifest", 65),
        ("input.readers", "input.secret", "invalid-manifest", 65),
        ("version = \"1.0.0\"", "version = \"one\"", "invalid-manifest", 65),
        ("maxLength = 200", "maxLength = \"long\"", "invalid-manifest", 65),
        ("turns = 12", "turns = 0", "invalid-manifest", 65),
        ("turns = 12", "turn = 12", "invalid-manifest", 65),
        ("prompt = \"\"\"", &mebibyte, "invalid-manifest", 65),
        (">=0.1.0\"\nskill", ">=1000\"\nskill", "manifest-incompatible", 65),
        ("research = ", "absent = ", "dependency-missing", 65),
        ("research = \">=0.1.0", "research = \">=9", "dependency-missing", 65),
        ("name = \"release-notes", "name = \"git", "agent-name-taken", 65),
        ("skill = \"release-notes", "skill = \"history", "skill-taken", 65),
    ] {
        let file = manifest(directory.path(), from, to);
        for more in [&["--check"][..], &[]] {
            let refused = world.orrery(&[&["agents", "load", &file], more].concat()).failed(code, status);
            assert!(refused.stderr.contains("next:"), "{refused:?}");
        }
    }
    world.orrery(&["agents", "load", "/no/such/file"]).failed("path-missing", 66);
    assert_eq!(found("release-notes"), None, "what is refused is not loaded");

    let loaded = world.orrery(&["agents", "load", &good(), "--as", "ann", "--json"]).good().line();
    check("agent", &loaded);
    assert_eq!((&loaded["source"], &loaded["declared"]["number"]), (&json!("manifest"), &json!(1)));
    eventually("why it is ill", || {
        let text = world.orrery(&["agents", "show", "release-notes"]).good().stdout;
        (text.contains("unhealthy") && text.contains("no model") && text.contains("loaded by ann"))
            .then_some(())
    });
    let lower = manifest(directory.path(), "version = \"1.0.0\"", "version = \"0.9.0\"");
    world.orrery(&["agents", "load", &lower]).failed("manifest-version-not-above", 65);
    let higher = manifest(directory.path(), "version = \"1.0.0\"", "version = \"1.1.0\"");
    let text = world.orrery(&["agents", "load", &higher]).good().stdout;
    assert!(text.contains("release-notes 1.1.0 is loaded"), "{text}");
    let list = world.orrery(&["agents"]).good().stdout;
    assert!(list.contains("VERSION") && list.contains("shipped") && list.contains("manifest"), "{list}");

    world.orrery(&["agents", "unload", "git"]).failed("manifest-not-found", 66);
    let gone =
        world.orrery(&["agents", "unload", "release-notes", "--reason", "a plan", "--json"]).good().line();
    check("agent", &gone);
    assert_eq!(gone["declared"]["loaded"], false);
    world.orrery(&["agents", "unload", "release-notes"]).good();
}
