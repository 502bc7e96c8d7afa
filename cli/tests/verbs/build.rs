//! A goal in plain words, typed on the command line, and everything killed in the middle of it.

use std::fmt::Write;
use std::sync::mpsc;

use actors_models::scripted::{Act, Asked, Scripted, chat};
use serde_json::{Value, json};

use crate::engine;
use crate::world::{World, eventually};

const APP: &str = "def handle(request):
    return 200, {\"words\": len(request[\"query\"].get(\"text\", \"\").split())}
";

/// The answer to a question, by the name of its schema.
fn answer(what: &str) -> Vec<Act> {
    let endpoint = json!({
        "method": "GET", "path": "/api/count?text=one+two", "summary": "Counts words.", "body": "",
        "status": 200, "fields": ["words"],
    });
    let said = match what {
        "specification" => {
            json!({"name": "counter", "summary": "Counts words.", "endpoints": [endpoint], "pages": []})
        }
        _ => json!({"files": [{"path": "backend/app.py", "text": APP}]}),
    };
    chat(&said.to_string(), "stop")
}

/// Goal: one line that a person types becomes a project, though host, workers and server are lost meanwhile; nothing that
/// was recorded is asked again, the manifest agrees, and the work can be looked at again. Method: the kill is while the
/// backend is asked for.
#[test]
fn a_goal_that_is_typed_becomes_a_project_through_a_kill() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (tell, told) = mpsc::channel();
    let script = move |number: usize, asked: &Asked| {
        let name = &asked.body["response_format"]["json_schema"]["name"];
        let what = name.as_str().unwrap_or_default().to_owned();
        tell.send(what.clone()).expect("the test listens");
        if number == 1 { vec![Act::Wait] } else { answer(&what) }
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
    let world = World::start_with(&settings);
    world.orrery(&["tasks", "submit", "A small web service that counts words", "--id", "words"]).good();
    let asked = |wanted| eventually("a question", || (told.try_recv().ok()? == wanted).then_some(()));
    asked("specification");
    asked("backend");
    let world = World::start_again(world.kill());
    let watched = world.orrery(&["tasks", "watch", "words"]).good();
    let task = world.orrery(&["tasks", "show", "words", "--json"]).good().line()["task"].clone();
    assert_eq!(task["result"]["verdict"], "built", "{task}\n{watched:?}");
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["backend"], "what was recorded is not asked again");

    let project = directory.path().join("project.tar");
    let output = project.to_str().expect("UTF-8");
    world.orrery(&["tasks", "artifact", "words", "project.tar", "--output", output]).good();
    let listed = std::process::Command::new("tar").args(["tf", output]).output().expect("tar runs");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("backend/app.py"), "{listed:?}");
    let verified = world.orrery(&["manifest", "verify", "words"]).good();
    assert!(verified.stdout.contains("everything agrees"), "{verified:?}");
    for task in ["words.specify", "words.backend", "words.assemble"] {
        let lines = world.orrery(&["replay", task, "--effects", "recorded", "--json"]).good().lines();
        let verdicts: Vec<Value> = lines.iter().filter_map(|line| line.get("verdict")).cloned().collect();
        assert_eq!(verdicts.last().expect("an attempt"), "same", "{task}: {verdicts:?}");
    }
}
