//! The test pipeline: what tools say about a repository, and what a repair must not bring along. The model is played,
//! the tools run in real containers.

use std::path::Path;

use actors_agents::prompts;
use actors_models::Library;
use bus_client::{Bus, Profile};
use bus_schemas::Key;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::views::task::Task;
use futures::StreamExt;
use serde_json::{Value, json};
use system_tests::models::scripted::Scripted;
use system_tests::models::{models, says};
use system_tests::sandboxes::{base, provided, sandboxes, system};
use system_tests::{Server, accepted, command, eventually};

use crate::tester::{ended, repository, results};

async fn submit(bus: &Bus, key: &str, skill: &str, input: Value) {
    let mut submit = Submit::new("check it");
    submit.skill = skill.into();
    submit.input = input;
    accepted(bus, &command(key, &Command::Submit(submit))).await;
}

async fn checked(bus: &Bus, key: &str, repo: &Path) -> (Task, Value) {
    submit(bus, key, "check", json!({"repo": repo})).await;
    let task = ended(bus, key).await;
    let found = results(bus, &task).await;
    (task, found)
}

fn check<'a>(found: &'a Value, name: &str, tool: &str) -> &'a Value {
    let checks = found["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["check"] == name && check["tool"] == tool);
    check.unwrap_or_else(|| panic!("no {name} by {tool} in {found}"))
}

fn image(found: &Value) -> &Value {
    check(found, "image", "engine")
}

/// The places of a check's findings, with their rules.
fn places(check: &Value) -> Vec<(&str, u64, &str)> {
    let findings = check["findings"].as_array().expect("findings").iter();
    findings
        .map(|one| {
            let (file, line, rule) = (&one["file"], &one["line"], &one["rule"]);
            (file.as_str().expect("a file"), line.as_u64().expect("a line"), rule.as_str().expect("a rule"))
        })
        .collect()
}

/// A token in the form of GitHub's, put together here so that no scanner finds it in this file.
fn token() -> String {
    ["ghp_", "q7Z3kP9sT1vX5bN8mR2cL6wJ4hG0fDq7Z3kP"].concat()
}

const LIB: &str = "import os
import subprocess


def add(a: int, b: int) -> int:
    return str(a + b)


def run(command):
    return subprocess.call(command, shell=True)
";
const TESTS: &str = "from lib import add


def test_add():
    assert add(1, 2) == 3


def test_name():
    assert add.__name__ == 'add'
";

/// Goal: a person sees for each check what became of it, with places; what could not run is absent with its reason, and
/// no check passes that found something. Method: a repository in two languages with one fault for each check.
#[tokio::test(flavor = "multi_thread")]
async fn each_check_of_a_repository_passes_fails_or_is_absent() {
    let server = Server::start(Profile::Fast).await;
    let host = system(&server, "flow-checks").await;
    let bus = server.bus().await;
    let repo = repository(&[
        ("lib.py", LIB),
        ("config.py", &format!("import requests\n\nTOKEN = \"{}\"\n", token())),
        ("broken.py", "def broken(:\n"),
        ("test_lib.py", TESTS),
        ("web/add.mjs", "export function add(a, b) {\n  const unused = 1;\n  return eval(a) + b;\n}\n"),
        ("web/add.test.mjs", "import test from 'node:test';\ntest('adds up', () => {});\n"),
        ("types.ts", "const x: number = 'a';\n"),
        (
            "tsconfig.json",
            "{\"compilerOptions\": {\"strict\": true, \"types\": []}, \"include\": [\"types.ts\"]}",
        ),
    ]);
    let (task, found) = checked(&bus, "c", repo.path()).await;
    assert_eq!(found["verdict"], "failed", "{found}");
    for (name, tool, place) in [
        ("syntax", "ast", ("broken.py", 1, "syntax-error")),
        ("patterns", "ast", ("lib.py", 10, "dangerous-call")),
        ("patterns", "espree", ("web/add.mjs", 3, "dangerous-call")),
        ("imports", "ast", ("config.py", 1, "dependency-not-in-image")),
        ("secrets", "patterns", ("config.py", 3, "secret-found")),
        ("lint", "ruff", ("lib.py", 1, "F401")),
        ("lint", "eslint", ("web/add.mjs", 2, "no-unused-vars")),
        ("types", "tsc", ("types.ts", 1, "TS2322")),
        ("security", "bandit", ("lib.py", 10, "B602")),
    ] {
        let check = check(&found, name, tool);
        assert_eq!(check["outcome"], "failed", "{check}");
        assert!(places(check).contains(&place), "{place:?} in {check}");
    }
    assert_eq!(check(&found, "syntax", "espree")["outcome"], "passed");
    let missing = check(&found, "dependencies", "");
    assert_eq!(
        (&missing["outcome"], missing["reason"].as_str().map(str::is_empty)),
        (&json!("absent"), Some(false))
    );
    assert!(!found.to_string().contains(&token()), "the report never has the secret");
    let failing = &found["tests"]["analysis"]["failing"][0];
    assert_eq!(failing["test"], "test_lib::test_add");
    assert_eq!(failing["locations"], json!([{"file": "test_lib.py", "line": 5}]), "{failing}");
    assert_eq!(found["tests"]["limits"]["step_seconds"], 300);
    assert!(task.result["absent"]["dependencies"].is_string(), "{}", task.result);

    let clean = repository(&[
        ("lib.py", "def add(a: int, b: int) -> int:\n    return a + b\n"),
        ("test_lib.py", "from lib import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"),
    ]);
    let (_, found) = checked(&bus, "clean", clean.path()).await;
    assert_eq!(found["verdict"], "passed", "{found}");
    assert_eq!(check(&found, "types", "mypy")["outcome"], "passed", "{found}");
    let bare = repository(&[("lib.py", "A = 1\n")]);
    let (_, found) = checked(&bus, "bare", bare.path()).await;
    assert_eq!(found["verdict"], "absent", "without tests nothing has passed: {found}");
    host.stop().await;
}

/// Goal: known faults of dependencies are found without a network, and what was not audited is said. Method: pip-audit
/// with a file of advisories in the place of its service: two that hit and two near misses.
#[tokio::test(flavor = "multi_thread")]
async fn dependencies_are_audited_by_a_file_of_advisories() {
    let server = Server::start(Profile::Fast).await;
    let advisory = |id: &str, name: &str, fixed: &str| {
        let events = json!([{"introduced": "0"}, {"fixed": fixed}]);
        let package = json!({"ecosystem": "PyPI", "name": name});
        json!({"id": id, "summary": "a fault", "affected": [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]})
    };
    let advisories = [
        advisory("PYSEC-1", "requests", "2.20.0"),
        advisory("PYSEC-2", "jinja2", "3.1.6"),
        advisory("PYSEC-3", "zope.interface", "9"),
        advisory("PYSEC-4", "request", "9"),
    ];
    let file = server.directory().join("advisories.json");
    let lines: Vec<String> = advisories.iter().map(Value::to_string).collect();
    std::fs::write(&file, lines.join("\n")).expect("a file");
    let tools = actors_agents::Tools { sandboxes: provided("flow-audit", file), ..Default::default() };
    let host = server.host_of("a", &tools).await;
    let bus = server.bus().await;
    let requirements = "requests==2.19.0\nJinja2==3.1.6  # new enough\nzope_interface == 5.0\nflask>=2\n";
    let repo = repository(&[("requirements.txt", requirements)]);
    let (_, found) = checked(&bus, "c", repo.path()).await;
    let check = check(&found, "dependencies", "pip-audit");
    let hits = [
        ("requirements.txt", 1, "PYSEC-1"),
        ("requirements.txt", 3, "PYSEC-3"),
        ("requirements.txt", 4, "not-pinned"),
    ];
    assert_eq!((places(check), &check["outcome"]), (hits.to_vec(), &json!("failed")), "{check}");
    assert_eq!(image(&found)["outcome"], "absent", "without a file that says how: {found}");
    for (number, (rest, outcome)) in
        [("COPY . /app", "passed"), ("COPY nothing /app", "failed"), ("RUN make", "absent")]
            .into_iter()
            .enumerate()
    {
        let repo = repository(&[("Dockerfile", &format!("FROM {}\n{rest}\n", base()))]);
        let (_, found) = checked(&bus, &format!("image-{number}"), repo.path()).await;
        assert_eq!(image(&found)["outcome"], outcome, "{rest}: {}", image(&found));
    }
    host.stop().await;
}

/// Goal: a repository cannot stand in for a part of the tools that judge it, and what it lacks is named. Method: modules
/// with the names of the tools' own, a test of a package that the image does not have, and one that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_does_not_decide_what_is_said_about_it() {
    let server = Server::start(Profile::Fast).await;
    let host = system(&server, "flow-hostile").await;
    let bus = server.bus().await;
    let liar = "print('[\"end\", \"\", 0, \"\", \"\", \"1\"]')\nimport os\nos._exit(0)\n";
    let repo = repository(&[
        ("json.py", liar),
        ("ast.py", liar),
        ("bandit/__init__.py", liar),
        ("mypy/__init__.py", liar),
        ("run.py", "import subprocess\n\nsubprocess.run('ls', shell=True)\n"),
    ]);
    let (_, found) = checked(&bus, "liar", repo.path()).await;
    assert!(places(check(&found, "patterns", "ast")).contains(&("run.py", 3, "dangerous-call")), "{found}");
    assert!(places(check(&found, "security", "bandit")).contains(&("run.py", 3, "B602")), "{found}");

    let lacks = repository(&[("test_a.py", "import requests\n\n\ndef test_a():\n    assert requests\n")]);
    submit(&bus, "lacks", "test", json!({"repo": lacks.path()})).await;
    let found = results(&bus, &ended(&bus, "lacks").await).await;
    assert_eq!(found["analysis"]["missing_dependencies"], json!(["requests"]), "{found}");

    let hangs = repository(&[("test_a.py", "import time\n\n\ndef test_a():\n    time.sleep(600)\n")]);
    submit(&bus, "hangs", "test", json!({"repo": hangs.path(), "step_seconds": 3})).await;
    let task = ended(&bus, "hangs").await;
    assert_eq!(task.result["runners"]["pytest"], "step-timeout", "{task:?}");
    assert_eq!(task.result["verdict"], "failed");
    submit(&bus, "long", "test", json!({"repo": hangs.path(), "step_seconds": 301})).await;
    assert_eq!(ended(&bus, "long").await.failure.expect("a failure").code, "invalid-input");
    host.stop().await;
}

/// Goal: no more agents at once use the sandbox than the limit says. Method: three jobs whose tests sleep, and one of
/// another agent: it says that it waits, and runs when one of them is canceled.
#[tokio::test(flavor = "multi_thread")]
async fn three_agents_at_once_use_the_sandbox() {
    let server = Server::start(Profile::Fast).await;
    let host = system(&server, "flow-places").await;
    let bus = server.bus().await;
    let sleeps = |seconds: &str| {
        format!("import subprocess\n\n\ndef test_a():\n    subprocess.run(['sleep', '{seconds}'])\n")
    };
    let marks = ["602.25", "602.50", "602.75"];
    let repos = marks.map(|mark| repository(&[("test_a.py", &sleeps(mark))]));
    for (number, repo) in repos.iter().enumerate() {
        submit(&bus, &format!("t{number}"), "test", json!({"repo": repo.path()})).await;
    }
    eventually("three programs", || async { marks.iter().all(|mark| sleeping(mark)).then_some(()) }).await;
    let last = repository(&[("test_b.py", &sleeps("602.99"))]);
    submit(&bus, "last", "repair", json!({"repo": last.path()})).await;
    let mut said = bus.output(&Key::parse("last").expect("a key")).await.expect("output");
    let (_, chunk) = said.next().await.expect("a chunk").expect("a chunk");
    assert!(chunk.text.contains("waits: 3 agents"), "{chunk:?}");
    assert!(!sleeping("602.99"));
    accepted(&bus, &command("t0", &Command::Cancel { reason: "enough".into() })).await;
    eventually("the fourth", || async { sleeping("602.99").then_some(()) }).await;
    host.stop().await;
}

/// Whether a program of the machine sleeps for so long.
fn sleeping(seconds: &str) -> bool {
    let line = format!("sleep\0{seconds}\0");
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|found| found == line.as_bytes())
}

const WRONG: &str = "import hashlib
import subprocess


def add(a, b):
    return a - b


def run(command):
    return subprocess.call(command)


def digest(data):
    return hashlib.sha256(data)
";

fn edit(old: &str, new: &str) -> Value {
    json!({"edits": [{"path": "lib.py", "old": old, "new": new}]})
}

/// Goal: edits that make the tests pass do not count when they bring along what nobody asked for, and the model is told
/// why. Method: one of each kind, all with a right sum, then one with advice only; the manifest of the run agrees with
/// the repository until that changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_brings_nothing_along() {
    let server = Server::start(Profile::Fast).await;
    let secret = token();
    let sum = |more: &str| edit("    return a - b", &format!("    {more}\n    return a + b"));
    let answers = [
        edit("a - b", "a + + + ("),
        sum(&format!("token = \"{secret}\"")),
        edit("import hashlib\n", "import hashlib\nimport requests\n"),
        sum("eval(str(a))"),
        json!({"edits": [
            {"path": "lib.py", "old": "a - b", "new": "a + b"},
            {"path": "lib.py", "old": "sha256", "new": "md5"},
        ]}),
        sum("unused = 1"),
    ];
    let model = Scripted::start(answers.iter().map(says).collect()).await;
    let tools = actors_agents::Tools {
        models: models(&server, &[&model]),
        sandboxes: sandboxes("flow-guard"),
        ..Default::default()
    };
    let host = server.host_of("a", &tools).await;
    let bus = server.bus().await;
    let tests = "from lib import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n";
    let key = format!("KEY = '{secret}'\n");
    let repo = repository(&[("lib.py", WRONG), ("keys.py", &key), ("test_lib.py", tests)]);
    submit(&bus, "r", "repair", json!({"repo": repo.path(), "rounds": 8})).await;
    let task = ended(&bus, "r").await;
    let report = results(&bus, &task).await;
    let refused: Vec<&str> = report["rounds"]
        .as_array()
        .expect("rounds")
        .iter()
        .filter_map(|round| round["refused"].as_str())
        .collect();
    let codes = [
        "syntax-error",
        "secret-found",
        "dependency-not-in-image",
        "dangerous-construct",
        "security-finding",
        "",
    ];
    for (reason, code) in refused.iter().zip(codes) {
        assert!(reason.split(':').next() == Some(code), "{code} in {refused:?}");
    }
    assert_eq!((refused.len(), &task.result["verdict"]), (codes.len(), &json!("repaired")), "{report}");
    assert!(refused[1].contains("lib.py:6") && refused[2].contains("requests"), "{refused:?}");
    let new = report["new_findings"].as_array().expect("findings");
    assert!(new.iter().any(|one| one["rule"] == "F841" && one["file"] == "lib.py"), "{report}");
    assert!(!report.to_string().contains(&secret), "neither the report");
    for asked in model.asked() {
        let told = asked.body.to_string();
        assert!(!told.contains(&secret), "nor what the model is told has a secret");
    }
    let told = model.asked()[1].body.to_string();
    assert!(told.contains("syntax-error") && told.contains("withheld"), "{told}");
    manifest(&bus, &task, repo.path()).await;
    host.stop().await;
}

async fn manifest(bus: &Bus, task: &Task, repo: &Path) {
    use actors_agents::manifest::{MANIFEST, Manifest, files_of};
    let artifact = task.artifacts.iter().find(|artifact| artifact.name == MANIFEST).expect("a manifest");
    let manifest = Manifest::read(&bus.get_blob(artifact.hash).await.expect("a blob")).expect("a manifest");
    assert_eq!((manifest.task.as_str(), manifest.prompts.len(), manifest.models.len()), ("r", 6, 6));
    let outputs: Vec<&str> = manifest.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(outputs, ["repair.json", "repair.patch"]);
    for output in &manifest.outputs {
        assert!(task.artifacts.iter().any(|one| one.name == output.name && one.hash == output.hash));
    }
    assert_eq!(manifest.images.len(), 2);
    let library = Library::load(&prompts(), None).expect("prompts");
    assert_eq!(manifest.differences(&library), []);
    assert_eq!(manifest.differences_of(&files_of(repo).expect("files")), []);
    std::fs::write(repo.join("lib.py"), "").expect("a file");
    assert_eq!(manifest.differences_of(&files_of(repo).expect("files")).len(), 1);
}
