//! A repair whose host, workers and server are killed in the middle.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use actors_models::scripted::{Act, Scripted, chat};
use serde_json::{Value, json};

use crate::engine;
use crate::world::{World, eventually};

/// A repository with a bug that its test shows.
fn broken(directory: &Path) -> PathBuf {
    let repo = crate::world::repository(directory);
    std::fs::write(repo.join("lib.py"), "def add(a, b):\n    return a - b\n").expect("a file");
    let test = "from lib import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n";
    std::fs::write(repo.join("test_lib.py"), test).expect("a file");
    let added = Command::new("git").arg("-C").arg(&repo).args(["add", "."]).status().expect("git runs");
    assert!(added.success());
    repo
}

/// An answer that replaces the wrong sign.
fn sign(new: &str) -> Vec<Act> {
    let edits = json!({"edits": [{"path": "lib.py", "old": "a - b", "new": format!("a {new} b")}]});
    chat(&edits.to_string(), "stop")
}

/// Goal: a repair that loses everything that runs, twice, comes to its end, and asks for nothing again that was recorded.
/// Method: the first kill is while the second question is asked, the other one while the answer is tried; then the work
/// is replayed.
#[test]
fn a_repair_that_is_killed_goes_on_where_it_was() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (tell, told) = mpsc::channel();
    let script = move |number: usize, _: &_| {
        tell.send(number).expect("the test listens");
        match number {
            0 => sign("*"),
            1 => vec![Act::Wait],
            _ => sign("+"),
        }
    };
    let model = runtime.block_on(Scripted::answering(script)).expect("a port");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let models = directory.path().join("models.toml");
    let provider = format!(
        "[[provider]]\nname = \"scripted\"\nformat = \"compatible-chat\"\nurl = \"{}\"\nmodel = \"scripted\"\n",
        model.url
    );
    std::fs::write(&models, provider).expect("a file");
    let mut settings = String::new();
    let _ = writeln!(settings, "models = {models:?}\n[sandbox]\nimages = {:?}", engine::images());
    let _ = writeln!(settings, "socket = {:?}", engine::socket());
    let repo = broken(directory.path());
    let world = World::start_with(&settings);
    let input = json!({"repo": repo, "rounds": 3}).to_string();
    let goal = "make the tests pass";
    world.orrery(&["tasks", "submit", goal, "--id", "mended", "--skill", "repair", "--input", &input]).good();

    let asked = |number| eventually("a question", || (told.try_recv().ok()? == number).then_some(()));
    asked(0);
    asked(1);
    let world = World::start_again(world.kill());
    asked(2);
    let world = World::start_again(world.kill());
    let task = eventually("the end of the repair", || {
        let tree = world.orrery(&["tasks", "show", "mended", "--json"]).good().line();
        (tree["task"]["state"] == "completed").then(|| tree["task"].clone())
    });
    assert_eq!(
        (&task["result"]["verdict"], &task["result"]["rounds"]),
        (&json!("repaired"), &json!(2)),
        "{task}"
    );
    let further = told.try_iter().count();
    assert!(further <= 1, "only the question whose answer was not recorded is asked again: {further}");
    let lines = world.orrery(&["replay", "mended", "--effects", "recorded", "--json"]).good().lines();
    let verdicts: Vec<Value> = lines.iter().filter_map(|line| line.get("verdict")).cloned().collect();
    assert_eq!(verdicts, ["interrupted", "interrupted", "same"], "the attempts that were lost are told of");
}
