//! A repository whose tests fail is repaired: the model is played, the tests run in real containers.

use std::sync::Arc;

use actors_agents::Tools;
use actors_models::Models;
use bus_client::{Bus, Profile};
use bus_schemas::commands::task::{Command, Submit};
use serde_json::{Value, json};
use system_tests::models::scripted::Scripted;
use system_tests::models::{models, says};
use system_tests::replays::replayed;
use system_tests::sandboxes::sandboxes;
use system_tests::{Server, accepted, command};

use crate::tester::{ended, repository, results};

const LIB: &str = "def add(a, b):
    return a - b


def double(a):
    return 2 * a
";
const TESTS: &str = "from lib import add, double


def test_add():
    assert add(1, 2) == 3


def test_double():
    assert double(2) == 4
";

fn edits(path: &str, old: &str, new: &str) -> Value {
    json!({"edits": [{"path": path, "old": old, "new": new}]})
}

/// Goal: a bug is mended by a model that is wrong at first, and nothing but a right program ends green: no edit of a test,
/// none outside of the repository, none of a text that is not there, none that breaks what passed. Method: one of each,
/// then the right one; the repository stays as it was, and git applies the patch.
#[tokio::test(flavor = "multi_thread")]
async fn a_bug_is_repaired_and_no_short_way_is_taken() {
    let server = Server::start(Profile::Fast).await;
    let answers = [
        edits("test_lib.py", "assert add(1, 2) == 3", "assert True"),
        edits("../outside.py", "x", "y"),
        edits("lib.py", "return a * b", "return a + b"),
        edits("lib.py", "    return a - b\n\n\ndef double(a):\n    return 2 * a", "    return a + b"),
        edits("lib.py", "a - b", "a + b"),
    ];
    let model = Scripted::start(answers.iter().map(says).collect()).await;
    let (models, sandboxes) = (models(&server, &[&model]), sandboxes("flow-repair"));
    let tools = actors_agents::Tools { models, sandboxes, ..actors_agents::Tools::default() };
    let host = server.host_of("a", &tools).await;
    let bus = server.bus().await;
    let repo = repository(&[("lib.py", LIB), ("test_lib.py", TESTS)]);
    let mut submit = Submit::new("make the tests of this repository pass");
    submit.skill = "repair".into();
    submit.input = json!({"repo": repo.path(), "rounds": 6, "expect": ["test_lib::test_add"]});
    accepted(&bus, &command("r", &Command::Submit(submit))).await;
    let task = ended(&bus, "r").await;
    assert_eq!(
        (&task.result["verdict"], &task.result["rounds"]),
        (&json!("repaired"), &json!(5)),
        "{task:?}"
    );
    let report = results(&bus, &task).await;
    let refused: Vec<&str> = report["rounds"]
        .as_array()
        .expect("rounds")
        .iter()
        .filter_map(|round| round["refused"].as_str())
        .collect();
    for (reason, part) in refused.iter().zip(["cannot be edited", "is refused", "0 times", "rolled back"]) {
        assert!(reason.contains(part), "{part} in {refused:?}");
    }
    assert_eq!(refused[4], "", "the last edits count");
    assert_eq!(
        std::fs::read_to_string(repo.path().join("lib.py")).expect("a file"),
        LIB,
        "the repository is as it was"
    );
    let patch = task.artifacts.iter().find(|artifact| artifact.name == "repair.patch").expect("a patch");
    let patch = bus.get_blob(patch.hash).await.expect("a blob");
    std::fs::write(repo.path().join("repair.patch"), &patch).expect("a file");
    let git =
        std::process::Command::new("git").current_dir(repo.path()).args(["apply", "repair.patch"]).status();
    assert!(git.expect("git runs").success(), "{}", String::from_utf8_lossy(&patch));
    let mended = std::fs::read_to_string(repo.path().join("lib.py")).expect("a file");
    assert_eq!(mended, LIB.replace("a - b", "a + b"));
    // The model was told what became of its edits, and shown the failing test.
    let asked = model.asked();
    let told = asked[1].body["messages"][1]["content"].as_str().expect("text");
    assert!(told.contains("cannot be edited") && told.contains("test_lib::test_add"), "{told}");
    looked_at_again(&bus, &model).await;
    host.stop().await;
}

/// Goal: the whole repair can be looked at again without a model and a sandbox; and with another model one sees what it
/// would have decided. Method: both, on the task that was just done.
async fn looked_at_again(bus: &Bus, former: &Scripted) {
    let asked = former.asked().len();
    let (sum, compares) = replayed(bus, "r", &Tools::default(), false).await;
    assert_eq!((sum.attempts, sum.differ), (1, 0), "{compares:?}");
    // The files, a test run at first and after each edit that could be made, and an answer in each round.
    assert!(sum.effects >= 9, "{compares:?}");
    let models = Models::default().anew(None).expect("no name was asked for");
    let without = Tools { models: Arc::new(models), ..Tools::default() };
    let (sum, compares) = replayed(bus, "r", &without, true).await;
    assert_eq!(sum.differ, 1, "{compares:?}");
    assert_eq!(
        compares[0].decision.as_ref().expect("a decision")["failed"]["code"],
        "no-model",
        "the first question is asked anew: {compares:?}"
    );
    assert_eq!(compares[0].drift[0].effect, "repair/1", "{compares:?}");
    assert_eq!(former.asked().len(), asked, "the model was not asked again");
}

/// Goal: a repair that a person asks for in words ends in bounded rounds with an honest report. Method: a model that is
/// always wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_fails_says_so_and_leaves_no_patch() {
    let server = Server::start(Profile::Fast).await;
    let model = Scripted::start(vec![says(&edits("lib.py", "a - b", "a * b"))]).await;
    let (models, sandboxes) = (models(&server, &[&model]), sandboxes("flow-unrepaired"));
    let tools = actors_agents::Tools { models, sandboxes, ..actors_agents::Tools::default() };
    let host = server.host_of("a", &tools).await;
    let bus = server.bus().await;
    let repo = repository(&[("lib.py", LIB), ("test_lib.py", TESTS)]);
    let mut submit = Submit::new("make the tests of this repository pass");
    submit.input = json!({"repo": repo.path(), "rounds": 2});
    accepted(&bus, &command("r", &Command::Submit(submit))).await;
    let task = ended(&bus, "r").await;
    assert_eq!(
        (&task.result["verdict"], &task.result["rounds"]),
        (&json!("not-repaired"), &json!(2)),
        "{task:?}"
    );
    assert!(task.artifacts.iter().all(|artifact| artifact.name != "repair.patch"), "{:?}", task.artifacts);
    assert_eq!(model.asked().len(), 2);
    let mut lost = Submit::new("fix the tests");
    lost.input = json!({"repo": "/nothing-here"});
    accepted(&bus, &command("lost", &Command::Submit(lost))).await;
    let failure = ended(&bus, "lost").await.failure.expect("a failure");
    assert!(failure.code == "child-failed" && failure.message.contains("/nothing-here"), "{failure:?}");
    host.stop().await;
}
