//! The tests of a repository, run in real containers by the agent `test`.

use std::path::Path;
use std::process::Command as Program;
use std::time::{Duration, Instant};

use bus_client::{Bus, Profile};
use bus_schemas::commands::halt::Command as Halt;
use bus_schemas::commands::task::{Command, Query, Submit};
use bus_schemas::views::task::Task;
use serde_json::{Value, json};
use system_tests::sandboxes::system;
use system_tests::{Server, accepted, command, eventually, query, view};

/// A repository with these files.
pub fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    for arguments in [&["init", "-q"][..], &["add", "."]] {
        let done = Program::new("git").current_dir(folder.path()).args(arguments).status().expect("git runs");
        assert!(done.success());
    }
    folder
}

async fn submit(bus: &Bus, key: &str, repo: &Path, expect: &[&str]) {
    let mut submit = Submit::new("run the tests");
    submit.skill = "test".into();
    submit.input = json!({"repo": repo, "expect": expect});
    accepted(bus, &command(key, &Command::Submit(submit))).await;
}

pub async fn ended(bus: &Bus, key: &str) -> Task {
    eventually(&format!("the task `{key}`"), || async {
        let task: Task = view(bus, &query(key, &Query::Describe)).await?;
        task.state.is_final().then_some(task)
    })
    .await
}

/// What the artifact says.
pub async fn results(bus: &Bus, task: &Task) -> Value {
    let artifact = task.artifacts.first().unwrap_or_else(|| panic!("no results: {:?}", task.failure));
    serde_json::from_slice(&bus.get_blob(artifact.hash).await.expect("a blob")).expect("JSON")
}

const PYTHON: &str = "import socket, pytest
from lib import add
def test_adds(): assert add(1, 2) == 3
def test_fails(): assert add(1, 2) == 4
@pytest.mark.skip(reason='not here')
def test_skips(): pass
def test_has_no_network():
    with pytest.raises(OSError):
        socket.create_connection(('192.0.2.1', 80), timeout=1)
";

/// Goal: a person sees for each test of a project what became of it, and nothing that did not run counts as passed.
/// Method: a project with tests for pytest and for Node; one fails, one is skipped, one that is asked for is not there.
#[tokio::test(flavor = "multi_thread")]
async fn each_test_of_a_repository_has_its_outcome() {
    let server = Server::start(Profile::Fast).await;
    let host = system(&server, "flow-outcomes").await;
    let bus = server.bus().await;
    let repo = repository(&[
        ("lib.py", "def add(a, b): return a + b\n"),
        ("tests/test_lib.py", PYTHON),
        ("web/add.test.mjs", "import test from 'node:test';\ntest('adds up', () => {});\n"),
    ]);
    submit(&bus, "t", repo.path(), &["tests.test_lib::test_adds", "tests.test_lib::test_gone"]).await;
    let task = ended(&bus, "t").await;
    let found = results(&bus, &task).await;
    assert_eq!(found["verdict"], "failed", "{found}");
    assert_eq!(found["counts"], json!({"passed": 3, "failed": 1, "skipped": 1}), "{found}");
    assert_eq!(found["absent"], json!(["tests.test_lib::test_gone"]));
    let cases = found["runners"][0]["cases"].as_array().expect("cases");
    let failed = cases.iter().find(|case| case["outcome"] == "failed").expect("a failure");
    assert_eq!(failed["name"], "tests.test_lib::test_fails");
    assert!(failed["message"].as_str().is_some_and(|message| message.contains("assert 3 == 4")), "{failed}");
    assert_eq!(found["runners"][1]["cases"][0]["name"], "adds up", "{found}");

    let without = repository(&[("lib.py", "def add(a, b): return a + b\n")]);
    submit(&bus, "none", without.path(), &[]).await;
    assert_eq!(ended(&bus, "none").await.result["verdict"], "absent");
    let broken = repository(&[("test_a.py", "import nothing_like_this\n")]);
    submit(&bus, "broken", broken.path(), &[]).await;
    assert_eq!(ended(&bus, "broken").await.result["verdict"], "failed", "a collection that fails is no pass");
    host.stop().await;
}

/// Whether a process of the machine has this command line.
fn runs(command: &[u8]) -> bool {
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok()).any(|line| line == command)
}

/// Goal: a halt ends a program in a container. Method: a test that sleeps in a process of its own; the process is looked
/// for on the machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_halt_ends_a_program_in_its_container() {
    let server = Server::start(Profile::Fast).await;
    let host = system(&server, "flow-halt").await;
    let bus = server.bus().await;
    let sleeps = "import subprocess\ndef test_sleeps(): subprocess.run(['sleep', '601.25'])\n";
    let repo = repository(&[("test_sleeps.py", sleeps)]);
    submit(&bus, "t", repo.path(), &[]).await;
    eventually("the program", || async { runs(b"sleep\x00601.25\x00").then_some(()) }).await;
    let halted = Instant::now();
    accepted(&bus, &command("all", &Halt::Halt { reason: "a leak".into(), grace_ms: 5_000 })).await;
    eventually("its end", || async { (!runs(b"sleep\x00601.25\x00")).then_some(()) }).await;
    let after = halted.elapsed();
    assert!(after < Duration::from_secs(2), "the program ends {after:?} after the halt");
    host.stop().await;
}

/// Goal: nothing runs outside a sandbox. Method: the same work in a process that has none.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_sandbox_nothing_runs() {
    let server = Server::start(Profile::Fast).await;
    let host = server.host("a", true).await;
    let bus = server.bus().await;
    let repo = repository(&[("test_a.py", "open('/tmp/orrery-was-here', 'w')\n")]);
    submit(&bus, "t", repo.path(), &[]).await;
    let failure = ended(&bus, "t").await.failure.expect("a failure");
    assert_eq!(failure.code, "no-sandbox");
    assert!(failure.hint.is_some_and(|hint| hint.contains("sandbox.images")));
    assert!(!Path::new("/tmp/orrery-was-here").exists());
    host.stop().await;
}
