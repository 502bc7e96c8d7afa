//! `sandbox`, `bench sandbox` and `manifest verify`, on an engine of the tests.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use crate::engine;
use crate::schema::check;
use crate::world::{World, orrery, program};

/// Settings with the images of `make tools` and the engine of the tests.
fn settings() -> String {
    format!("[sandbox]\nimages = {:?}\nsocket = {:?}\n", engine::images(), engine::socket())
}

/// Goal: a person sees the images with their limits, and runs a program in one; how it ended is the exit code.
/// Method: a program that succeeds, one that fails, one that takes too long, and an image that is not there.
#[test]
fn a_program_runs_in_the_sandbox_by_hand() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let config = folder.path().join("orrery.toml");
    std::fs::write(&config, settings()).expect("a file");
    let config = config.to_str().expect("a plain path");
    let sandbox =
        |arguments: &[&str]| orrery(folder.path(), &[&["--config", config, "sandbox"], arguments].concat());
    let shown = sandbox(&["images", "--json"]).good().line();
    check("sandbox-images", &shown);
    assert_eq!((&shown["agents"], &shown["step_seconds"]), (&3.into(), &300.into()), "{shown}");
    assert_eq!(shown["images"][0]["image"], "python");

    let ran = sandbox(&["run", "python", "--", "python3", "-c", "print(6 * 7)"]).good();
    assert_eq!(ran.stdout, "42\n");
    let ran = sandbox(&["run", "python", "--json", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    let ran = ran.failed("program-failed", 1);
    let (last, pieces) =
        ran.lines().split_last().map(|(last, pieces)| (last.clone(), pieces.to_vec())).expect("lines");
    check("sandbox-ran", &last);
    pieces.iter().for_each(|piece| check("sandbox-output", piece));
    assert_eq!(last["ended"], "exit 3", "{last}");
    assert!(pieces.iter().any(|piece| piece["source"] == "stderr" && piece["text"] == "err\n"), "{pieces:?}");
    let slow = sandbox(&["run", "python", "--seconds", "1", "--", "sleep", "60"]).failed("program-failed", 1);
    assert!(slow.stderr.contains("step-timeout"), "{slow:?}");
    sandbox(&["run", "python", "--seconds", "901", "--", "true"]).failed("invalid-run", 64);
    sandbox(&["run", "perl", "--", "true"]).failed("bad-argument", 64);

    let nothing = format!("[sandbox]\nimages = {:?}\nsocket = {:?}\n", folder.path(), engine::socket());
    std::fs::write(config, nothing).expect("a file");
    sandbox(&["images"]).failed("image-missing", 66);
    sandbox(&["run", "python", "--", "true"]).failed("image-missing", 66);
    std::fs::write(config, "[sandbox]\nimages = \"/\"\nsocket = \"/nothing\"\n").expect("a file");
    let doctor = orrery(folder.path(), &["--config", config, "doctor", "--json"]).lines();
    let found = doctor.iter().find(|check| check["check"] == "sandbox").expect("a check");
    assert_eq!(found["verdict"], "fail", "{found}");
}

/// Goal: another user can hold the engine's socket: who uses the sandbox then needs neither the engine nor the images.
/// Method: a keeper at a socket that is its standard input, as systemd starts it; a program, the doctor, the end of the
/// keeper when nobody uses it, and one that was started by hand.
#[test]
fn a_keeper_of_somebody_else_runs_programs() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| folder.path().join(name);
    let listener = UnixListener::bind(at("socket")).expect("a socket");
    std::fs::write(at("keeper.toml"), settings()).expect("a file");
    let user = format!("[sandbox]\nkeeper = {:?}\nsocket = \"/nothing\"\n", at("socket"));
    std::fs::write(at("user.toml"), user).expect("a file");
    let mut serving = Command::new(program());
    serving.arg("--config").arg(at("keeper.toml")).arg("--data-dir").arg(at("keeper"));
    let child = serving.args(["sandbox", "serve"]).stdin(OwnedFd::from(listener)).spawn();
    // It holds the socket too, and a socket that somebody holds takes connections.
    drop(serving);
    let mut child = child.expect("the binary runs");
    let config = at("user.toml").display().to_string();
    let user = |arguments: &[&str]| orrery(&at("user"), &[&["--config", &config], arguments].concat());

    // A caller that says nothing for now: without any the keeper ends.
    let held = || UnixStream::connect(at("socket")).expect("it listens");
    let first = held();
    let ran = user(&["sandbox", "run", "python", "--", "python3", "-c", "print(6 * 7)"]).good();
    assert_eq!(ran.stdout, "42\n");
    let second = held();
    drop(first);
    let doctor = user(&["doctor", "--json"]).lines();
    drop(second);
    let found = doctor.iter().find(|check| check["check"] == "sandbox").expect("a check");
    assert!(found["verdict"] == "ok" && found["detail"].to_string().contains("python and node"), "{found}");
    assert!(child.wait().expect("it ends").success(), "and it ends by itself");
    user(&["sandbox", "run", "python", "--", "true"]).failed("keeper-missing", 69);
    let by_hand =
        orrery(&at("keeper"), &["--config", &at("keeper.toml").display().to_string(), "sandbox", "serve"]);
    let by_hand = by_hand.failed("keeper-missing", 69);
    assert!(by_hand.stderr.contains("standard input"), "{by_hand:?}");
}

/// Goal: the speed of the sandbox is measured beside what is promised. Method: few runs; a busy machine may miss a
/// promise, which the exit code then says.
#[test]
fn the_sandbox_is_measured_beside_its_promises() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let config = folder.path().join("orrery.toml");
    std::fs::write(&config, settings()).expect("a file");
    let config = config.to_str().expect("a plain path");
    let bench = ["--config", config, "bench", "sandbox", "--samples", "3", "--json"];
    let ended = orrery(folder.path(), &bench);
    let report = ended.line();
    check("bench-sandbox", &report);
    let cases: Vec<_> =
        report["figures"].as_array().expect("figures").iter().map(|one| &one["case"]).collect();
    assert_eq!(cases, ["cold", "warm", "dead"], "{report}");
    assert_eq!(ended.status, i32::from(report["kept"] == false), "{ended:?}");
}

fn git(folder: &Path, arguments: &[&str]) {
    let done = Command::new("git").current_dir(folder).args(arguments).status().expect("git runs");
    assert!(done.success());
}

/// Goal: whoever has the manifest of a run can check it, at the task and in a folder, and each difference is named.
/// Method: a run that needs no model; then a file of the repository, an artifact, and the manifest itself are changed.
#[test]
fn a_manifest_is_verified_at_its_task_and_in_a_folder() {
    let world = World::start_with(&settings());
    let config = world.data_dir().join("orrery.toml");
    let config = config.to_str().expect("a plain path");
    let repo = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(repo.path().join("test_a.py"), "def test_a():\n    assert True\n").expect("a file");
    git(repo.path(), &["init", "-q"]);
    git(repo.path(), &["add", "."]);
    let input = serde_json::json!({"repo": repo.path()}).to_string();
    let submit = ["tasks", "submit", "mend it", "--skill", "repair", "--wait", "--json", "--input", &input];
    let done = world.orrery(&submit).good();
    let id = done.lines().last().expect("a task")["id"].as_str().expect("an id").to_owned();
    let repo_text = repo.path().to_str().expect("a plain path");
    let at_task = ["--config", config, "manifest", "verify", &id, "--repo", repo_text, "--json"];
    let verified = world.orrery(&at_task).good().line();
    check("manifest-verified", &verified);
    assert_eq!(
        (&verified["artifacts"], &verified["images"], &verified["inputs"]),
        (&1.into(), &2.into(), &1.into())
    );
    assert_eq!(verified["unchecked"], serde_json::json!([]));

    std::fs::write(repo.path().join("test_a.py"), "").expect("a file");
    let lines = world.orrery(&at_task).failed("manifest-differs", 1).lines();
    check("manifest-finding", &lines[0]);
    assert_eq!((&lines[0]["finding"], &lines[0]["place"]), (&"input-differs".into(), &"test_a.py".into()));

    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    for name in ["manifest.json", "repair.json"] {
        world.orrery(&["tasks", "artifact", &id, name, "--output", &path(name)]).good();
    }
    let in_folder = ["manifest", "verify", &path("manifest.json"), "--json"];
    let verified = orrery(folder.path(), &in_folder).good().line();
    assert_eq!(verified["unchecked"].as_array().map(Vec::len), Some(2), "{verified}");
    std::fs::write(path("repair.json"), "{}").expect("a file");
    let lines = orrery(folder.path(), &in_folder).failed("manifest-differs", 1).lines();
    assert_eq!(lines[0]["finding"], "artifact-differs");
    std::fs::remove_file(path("repair.json")).expect("a file");
    let lines = orrery(folder.path(), &in_folder).failed("manifest-differs", 1).lines();
    assert_eq!(lines[0]["finding"], "artifact-missing");
    std::fs::write(path("manifest.json"), "{}").expect("a file");
    orrery(folder.path(), &in_folder).failed("manifest-invalid", 65);
    world.orrery(&["manifest", "verify", "no-such-task"]).failed("task-not-found", 66);
}
