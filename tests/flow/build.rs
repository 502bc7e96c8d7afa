//! A goal becomes a checked project: the model is played, everything that runs is run in real containers.

use std::time::Duration;

use actors_agents::Tools;
use actors_agents::manifest::{MANIFEST, Manifest};
use actors_models::Library;
use actors_models::scripted::{Act, Asked, Scripted};
use bus_client::{Bus, Profile};
use bus_schemas::commands::task::{Command, Query, Submit};
use bus_schemas::views::task::Task;
use serde_json::{Value, json};
use system_tests::models::{models, says};
use system_tests::replays::assert_same;
use system_tests::sandboxes::{base, provided, sandboxes};
use system_tests::{Server, accepted, command, query, view};
use tokio::time::{Instant, sleep};

/// How long a whole build may take: tests and tools in a dozen containers, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(200);

const GOAL: &str = "A small web service that keeps notes";
const APP: &str = "NOTES: list[dict] = []


def handle(request):
    if request[\"path\"] != \"/api/notes\":
        return 404, {\"error\": \"not found\"}
    if request[\"method\"] == \"GET\":
        return 200, NOTES
    body = request[\"body\"]
    if not isinstance(body, dict) or not isinstance(body.get(\"text\"), str):
        return 400, {\"error\": \"a note has a text\"}
    NOTES.append({\"id\": len(NOTES) + 1, \"text\": body[\"text\"]})
    return 201, NOTES[-1]
";
const TEST: &str = "import app


def test_a_note_has_a_text():
    request = {\"method\": \"POST\", \"path\": \"/api/notes\", \"query\": {}, \"body\": {}}
    assert app.handle(request)[0] == 400
";
const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Notes</title><script type=\"module\" src=\"main.js\"></script></head>
<body><ul id=\"notes\"></ul></body>
</html>
";
const MAIN: &str = "import { line } from './line.js';

const notes = await (await fetch('/api/notes')).json();
for (const note of notes) {
  const item = document.createElement('li');
  item.textContent = line(note);
  document.querySelector('#notes').append(item);
}
";
const LINE: &str = "export const line = (note) => `${note.id}: ${note.text}`;\n";
const LINE_TEST: &str = "import test from 'node:test';
import assert from 'node:assert/strict';
import { line } from './line.js';

test('a line has the number of its note', () => {
  assert.equal(line({ id: 1, text: 'milk' }), '1: milk');
});
";

fn specification() -> Value {
    json!({
        "name": "notes", "summary": "Keeps notes.",
        "endpoints": [
            {"method": "POST", "path": "/api/notes", "summary": "Adds a note.", "body": "{\"text\": \"milk\"}",
             "status": 201, "fields": ["id", "text"]},
            {"method": "GET", "path": "/api/notes", "summary": "All notes.", "body": "", "status": 200, "fields": []},
        ],
        "pages": [{"path": "index.html", "title": "Notes", "summary": "All notes."}],
    })
}

fn files(all: &[(&str, &str)]) -> Value {
    json!({"files": all.iter().map(|(path, text)| json!({"path": path, "text": text})).collect::<Vec<_>>()})
}

fn backend(app: &str) -> Value {
    files(&[("backend/app.py", app), ("backend/test_app.py", TEST)])
}

fn frontend() -> Value {
    files(&[
        ("frontend/index.html", PAGE),
        ("frontend/main.js", MAIN),
        ("frontend/line.js", LINE),
        ("frontend/line.test.js", LINE_TEST),
    ])
}

/// What is asked for, by the name of the schema, and how often it was asked for before.
struct Wanted<'a> {
    what: &'a str,
    before: usize,
    told: &'a str,
}

/// A model that answers each question by what it asks for.
async fn playing(answer: impl Fn(&Wanted<'_>) -> Value + Send + Sync + 'static) -> Scripted {
    let asked = std::sync::Mutex::new(std::collections::BTreeMap::<String, usize>::new());
    let script = move |_: usize, question: &Asked| -> Vec<Act> {
        let what =
            question.body["response_format"]["json_schema"]["name"].as_str().unwrap_or_default().to_owned();
        let told = question.body["messages"][1]["content"].as_str().unwrap_or_default();
        let before = {
            let mut asked = asked.lock().expect("no panic");
            let count = asked.entry(what.clone()).or_default();
            *count += 1;
            *count - 1
        };
        says(&answer(&Wanted { what: &what, before, told }))
    };
    Scripted::answering(script).await.expect("a port")
}

async fn submit(bus: &Bus, key: &str, skill: &str, input: Value) {
    let mut submit = Submit::new(GOAL);
    (submit.skill, submit.input) = (skill.into(), input);
    accepted(bus, &command(key, &Command::Submit(submit))).await;
}

async fn ended(bus: &Bus, key: &str) -> Task {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(task) = view::<Task>(bus, &query(key, &Query::Describe)).await
            && task.state.is_final()
        {
            return task;
        }
        assert!(Instant::now() < deadline, "`{key}` does not end");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn artifact(bus: &Bus, task: &Task, name: &str) -> Option<Vec<u8>> {
    let found = task.artifacts.iter().find(|artifact| artifact.name == name)?;
    Some(bus.get_blob(found.hash).await.expect("a blob").to_vec())
}

async fn report(bus: &Bus, task: &Task) -> Value {
    let bytes = artifact(bus, task, "build.json").await;
    serde_json::from_slice(&bytes.unwrap_or_else(|| panic!("no report: {task:?}"))).expect("JSON")
}

/// The reasons of a report's list, up to their colon.
fn reasons(list: &Value) -> Vec<&str> {
    let all = list.as_array().expect("a list").iter();
    all.map(|one| one["refused"].as_str().expect("a reason").split(':').next().unwrap_or_default()).collect()
}

/// Goal: a goal in plain words becomes a project whose tests pass, with its image built, whose manifest agrees, and
/// which can be looked at again. Method: a backend that is wrong at first, and a first repair that edits the contract.
#[tokio::test(flavor = "multi_thread")]
async fn a_goal_becomes_a_project_whose_tests_pass() {
    let server = Server::start(Profile::Fast).await;
    let model = playing(|wanted| match (wanted.what, wanted.before) {
        ("specification", _) => specification(),
        ("backend", _) => backend(&APP.replace("return 201", "return 200")),
        ("frontend", _) => frontend(),
        (_, 0) => json!({"edits": [{"path": "backend/contract.json", "old": "201", "new": "200"}]}),
        _ => json!({"edits": [{"path": "backend/app.py", "old": "return 200, NOTES[-1]", "new": "return 201, NOTES[-1]"}]}),
    })
    .await;
    let home = tempfile::tempdir().expect("a folder");
    let advisories = server.directory().join("advisories.json");
    std::fs::write(&advisories, "").expect("a file");
    let workspaces = actors_agents::Workspaces::new(&[home.path().to_owned()], server.directory());
    let tools = Tools {
        models: models(&server, &[&model]),
        sandboxes: provided("flow-build", advisories),
        workspaces: std::sync::Arc::new(workspaces.expect("a folder")),
        ..Tools::default()
    };
    let host = server.host_of("a", &tools).await;
    let bus = server.bus().await;
    let folder = home.path().join("notes");
    submit(&bus, "b", "plan", json!({"folder": folder, "base_image": base()})).await;
    let task = ended(&bus, "b").await;
    assert_eq!((&task.result["verdict"], &task.result["rounds"]), (&json!("built"), &json!(2)), "{task:?}");
    let report = report(&bus, &task).await;
    assert_eq!(reasons(&report["rounds"]), ["test-edited", ""], "{report}");
    assert_eq!(report["failing_before"], json!(["backend.test_contract::test_endpoint[1]"]), "{report}");
    let passed = task.result["passed"].as_array().expect("checks");
    for check in [
        "tests",
        "syntax/ast",
        "syntax/espree",
        "secrets/patterns",
        "types/mypy",
        "lint/ruff",
        "image/engine",
    ] {
        assert!(passed.iter().any(|name| name == check), "{check} in {}", task.result);
    }
    assert!(task.result["absent"]["dependencies"].is_string(), "{}", task.result);

    let archive = artifact(&bus, &task, "project.tar").await.expect("a project");
    let project = actors_sandbox::Files::from_archive(&archive[..]).expect("an archive");
    for (path, entry) in project.iter() {
        let actors_sandbox::Entry::File { bytes, .. } = entry else { panic!("a link") };
        assert_eq!(&std::fs::read(folder.join(path)).expect("a file"), bytes, "{path}");
    }
    assert!(project.get("compose.yaml").is_some() && project.get("backend/app.py").is_some());
    let manifest = artifact(&bus, &task, MANIFEST).await.expect("a manifest");
    let manifest = Manifest::read(&manifest).expect("a manifest");
    let prompts: Vec<&str> = manifest.prompts.iter().map(|prompt| prompt.name.as_str()).collect();
    assert_eq!(prompts, ["specify", "generate-backend", "generate-frontend", "repair", "repair"]);
    assert_eq!(manifest.differences(&Library::load(&actors_agents::prompts(), None).expect("prompts")), []);
    assert_same(&bus, &["b", "b.specify", "b.backend", "b.frontend", "b.assemble"]).await;
    host.stop().await;
}

/// A token in the form of GitHub's, put together here so that no scanner finds it in this file.
fn token() -> String {
    ["ghp_", "q7Z3kP9sT1vX5bN8mR2cL6wJ4hG0fDq7Z3kP"].concat()
}

/// Goal: what a specialist must not leave is refused, and the model is told why; a model that does not mend it ends the
/// build with the reason. Method: one answer of each sort for one part, and the same wrong answer always for the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_part_must_not_have_is_refused_and_told() {
    let server = Server::start(Profile::Fast).await;
    let model = playing(|wanted| match (wanted.what, wanted.before) {
        ("specification", 0) => json!({"name": "No Name", "summary": "s", "endpoints": [], "pages": []}),
        ("specification", _) => specification(),
        ("backend", 0) => files(&[("backend/app.py", APP), ("compose.yaml", "services: {}")]),
        ("backend", 1) => backend(&format!("TOKEN = \"{}\"\n{APP}", token())),
        ("backend", _) => backend(&format!("import requests\n\n{APP}")),
        _ => frontend(),
    })
    .await;
    let (models, sandboxes) = (models(&server, &[&model]), sandboxes("flow-refused"));
    let host = server.host_of("a", &Tools { models, sandboxes, ..Tools::default() }).await;
    let bus = server.bus().await;
    submit(&bus, "b", "build", Value::Null).await;
    let task = ended(&bus, "b").await;
    let failure = task.failure.expect("a failure");
    assert_eq!(failure.code, "child-failed", "{failure:?}");
    assert!(failure.message.contains("dependency-not-in-image: backend/app.py:1"), "{failure:?}");
    assert!(failure.message.contains("requests") && failure.hint.is_some(), "{failure:?}");
    assert_eq!(ended(&bus, "b.backend").await.failure.expect("a failure").code, "generation-refused");
    assert!(task.artifacts.iter().all(|artifact| artifact.name != "project.tar"));
    let asked = model.asked();
    let told = |code: &str| asked.iter().any(|asked| asked.body["messages"][1].to_string().contains(code));
    for code in ["invalid-output: `name`", "path-refused: `compose.yaml`", "secret-found"] {
        assert!(told(code), "{code}");
    }
    assert!(!told(&token()), "a secret is not shown again");
    host.stop().await;
}

/// Goal: a build without a model says which setting is missing, and one whose rounds are over says so and leaves no
/// project. Method: both; the second with an edit that mends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_comes_to_nothing_says_why() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", true).await;
    let bus = server.bus().await;
    submit(&bus, "none", "plan", Value::Null).await;
    let failure = ended(&bus, "none").await.failure.expect("a failure");
    assert!(
        failure.message.contains("needs a model")
            && failure.hint.is_some_and(|hint| hint.contains("`models`"))
    );
    submit(&bus, "folder", "build", json!({"folder": "/etc/notes"})).await;
    assert_eq!(ended(&bus, "folder").await.failure.expect("a failure").code, "workspace-not-allowed");
    host.stop().await;

    let model = playing(|wanted| match wanted.what {
        "specification" => specification(),
        "backend" => backend(&APP.replace("return 201", "return 200")),
        "frontend" => frontend(),
        _ if wanted.told.contains("former_edits") => {
            json!({"edits": [{"path": "backend/nothing.py", "old": "a", "new": "b"}]})
        }
        _ => json!({"edits": [{"path": "backend/app.py", "old": "return 404", "new": "return 405"}]}),
    })
    .await;
    let (models, sandboxes) = (models(&server, &[&model]), sandboxes("flow-unbuilt"));
    let host = server.host_of("b", &Tools { models, sandboxes, ..Tools::default() }).await;
    submit(&bus, "over", "build", json!({"rounds": 2})).await;
    let task = ended(&bus, "over").await;
    assert_eq!(
        (&task.result["verdict"], &task.result["rounds"]),
        (&json!("not-built"), &json!(2)),
        "{task:?}"
    );
    let report = report(&bus, &task).await;
    assert_eq!(reasons(&report["rounds"]), ["no-better", "no-such-file"], "{report}");
    assert!(
        report["tests"]["analysis"]["failing"][0]["message"]
            .as_str()
            .is_some_and(|said| said.contains("200 == 201"))
    );
    assert!(task.result["absent"]["lint"].is_string(), "what did not run is absent: {}", task.result);
    assert!(task.artifacts.iter().all(|artifact| artifact.name != "project.tar"), "{:?}", task.artifacts);
    host.stop().await;
}
