//! `prompts`: what the agents of a process can use, without a running system.

use serde_json::json;

use crate::schema::check;
use crate::world::orrery;

/// An operator sees the shipped prompts and those of the folder, with their hashes and templates.
#[test]
fn prompts_are_listed_and_shown() {
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| nowhere.path().join(name);
    std::fs::create_dir(at("prompts")).expect("a folder");
    std::fs::write(at("prompts/judge.v100.j2"), "Be strict about {{ rules }}.\n").expect("a file");
    let settings = format!("prompts = {}\n", json!(at("prompts")));
    std::fs::write(at("orrery.toml"), settings).expect("a file");
    let config = at("orrery.toml").display().to_string();
    let run = |arguments: &[&str]| orrery(nowhere.path(), &[&["--config", &config], arguments].concat());
    let list = run(&["prompts", "list", "--json"]).good().line();
    check("prompts", &list);
    let prompts = list["prompts"].as_array().expect("a list");
    let named: Vec<_> = prompts.iter().map(|one| (one["name"].as_str(), one["source"].as_str())).collect();
    assert!(named.contains(&(Some("judge"), Some("shipped"))), "{list}");
    let own = prompts.iter().find(|one| one["version"] == 100).expect("the operator's");
    let shown = run(&["prompts", "show", "judge", "--json"]).good().line();
    check("prompt", &shown);
    assert_eq!(
        (&shown["template"], &shown["text"]),
        (&own["template"], &json!("Be strict about {{ rules }}.\n"))
    );
    let text = run(&["prompts", "show", "judge", "--version", "1"]).good().stdout;
    assert!(text.contains("rules") && !text.contains("strict about"), "{text}");
    run(&["prompts", "show", "judge", "--version", "7"]).failed("prompt-missing", 66);
    std::fs::write(at("prompts/judge.v1.j2"), "Be lax.").expect("a file");
    let refused = run(&["prompts", "list"]).failed("bad-setting", 64);
    assert!(refused.stderr.contains("prompt-changed"), "{refused:?}");
}
