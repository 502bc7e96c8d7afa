//! `prompts`: what the agents of a process can use, without a running system; and a replay with another version.

use std::path::Path;

use actors_models::scripted::{Scripted, chat};
use serde_json::{Value, json};

use crate::schema::check;
use crate::world::{World, orrery};

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

/// The file of a scripted model.
fn models(directory: &Path, model: &Scripted) -> std::path::PathBuf {
    let path = directory.join("models.toml");
    let url = &model.url;
    let provider = format!(
        "[[provider]]\nname = \"scripted\"\nformat = \"compatible-chat\"\nurl = \"{url}\"\nmodel = \"scripted\"\n"
    );
    std::fs::write(&path, provider).expect("a file");
    path
}

/// Goal: whoever changes a prompt sees what it would have changed: the question, asked anew with that version, and the
/// decision; the task keeps what it was, and a replay right after its end sees the end. Method: a scripted model that
/// thinks otherwise the second time; a version that is not there.
#[test]
fn a_task_runs_again_with_another_version_of_a_prompt() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let says = |met: bool| chat(&json!({"1": {"met": met, "reason": "so it is"}}).to_string(), "stop");
    let model = runtime.block_on(Scripted::start(vec![says(true), says(false)]));
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(directory.path().join("prompts")).expect("a folder");
    let template = "Be strict.{% for rule in rules %} Rule: {{ rule }}{% endfor %}";
    std::fs::write(directory.path().join("prompts/judge.v2.j2"), template).expect("a file");
    let (models, prompts) = (models(directory.path(), &model), directory.path().join("prompts"));
    let world = World::start_with(&format!("models = {models:?}\nprompts = {prompts:?}\n"));
    let input = json!({"rules": ["it adds"], "text": "diff --git a/x b/x"}).to_string();
    let submit =
        ["tasks", "submit", "judge it", "--id", "j", "--skill", "judge", "--input", &input, "--wait"];
    world.orrery(&submit).good();
    let config = world.data_dir().join("orrery.toml").display().to_string();
    let replay = |more: &[&str]| {
        let lines = world.orrery(
            &[&["--config", &config, "replay", "j", "--effects", "recorded", "--json"], more].concat(),
        );
        let lines = lines.good().lines();
        lines.iter().for_each(|line| {
            check(if line.get("verdict").is_some() { "replayed-attempt" } else { "replayed" }, line);
        });
        lines
    };
    assert_eq!(replay(&[])[0]["verdict"], "same");
    assert_eq!(model.asked().len(), 1, "a replay asks nobody");

    let changed = &replay(&["--with", "prompt=judge/2"])[0];
    assert_eq!(changed["verdict"], "differs", "{changed}");
    let drift = changed["drift"].as_array().expect("a list");
    assert!(drift.iter().any(|one| one["effect"] == "judge"), "{changed}");
    let asked = model.asked();
    let said =
        |number: usize| asked[number].body["messages"][0]["content"].as_str().expect("text").to_owned();
    assert_eq!((asked.len(), said(1).as_str()), (2, "Be strict. Rule: it adds"));
    assert_ne!(said(0), said(1));
    let decided = |name: &str| changed[name]["done"]["result"].clone();
    assert_ne!(decided("recorded_decision"), decided("decision"), "{changed}");
    assert_ne!(decided("decision"), Value::Null, "{changed}");

    let absent = &replay(&["--with", "prompt=judge/9"])[0];
    assert_eq!(absent["decision"]["failed"]["code"], "prompt-missing", "{absent}");
    assert_eq!(model.asked().len(), 2);
    let task = world.orrery(&["tasks", "show", "j", "--json"]).good().line();
    assert_eq!(task["task"]["result"], decided("recorded_decision"), "the task is what it was: {task}");
}
