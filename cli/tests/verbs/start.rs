//! What a start that fails, and a process that is killed, leave behind: nothing that has to be looked
//! for. And what is wrong is said so that it can be mended.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::bus::Client;
use crate::schema::check;
use crate::world::{Ended, World, eventually, orrery, program};

/// The `nats-server` processes on a data directory.
fn servers(data_dir: &Path) -> Vec<u32> {
    let config = data_dir.canonicalize().expect("it is there").join("nats").join("nats.conf");
    let config = config.display().to_string();
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let ours = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&config)
    };
    processes.filter_map(number).filter(ours).collect()
}

/// Runs the binary with variables.
fn with(data_dir: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let output = Command::new(program())
        .envs(variables.iter().copied())
        .arg("--data-dir")
        .arg(data_dir)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    Ended {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Goal: a start that fails once its server is up takes the server with it. Method: other partitions
/// than the installation has, several times: what is left behind by chance is left behind in one of
/// them.
#[test]
fn a_start_that_fails_leaves_no_server() {
    let data_dir = World::start().stop();
    for round in 0..5 {
        for verb in [&["up", "--http", "127.0.0.1:0"][..], &["run", "Report on this repository"]] {
            let failed = with(data_dir.path(), &[("ORRERY__NATS__PARTITIONS", "4")], verb);
            failed.failed("installation-mismatch", 69);
            assert_eq!(servers(data_dir.path()), [0_u32; 0], "round {round} of {verb:?}");
        }
    }
    // The store is free: the system starts as ever.
    World::start_in(data_dir).stop();
}

/// Goal: Ctrl-C while it starts is obeyed, and leaves nothing either, whatever the server was started
/// for. Method: SIGINT as soon as there is a server process, which does not listen yet, and once it
/// listens.
#[test]
fn a_start_that_is_interrupted_leaves_no_server() {
    let directory = World::start().stop();
    let listens = || {
        let files = std::fs::read_dir(directory.path().join("nats")).expect("a directory").flatten();
        files.map(|file| file.path()).any(|path| path.extension().is_some_and(|name| name == "ports"))
    };
    let up: &[&str] = &["up", "--http", "127.0.0.1:0"];
    for (verb, status) in [(up, 0), (&["run", "Report on this repository"], 130), (&["verify", "--all"], 130)]
    {
        for listening in [false, true, false, true] {
            let mut child = Command::new(program())
                .arg("--data-dir")
                .arg(directory.path())
                .args(verb)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary runs");
            eventually("the server", || {
                let started = !servers(directory.path()).is_empty();
                (started && (!listening || listens())).then_some(())
            });
            signal("-INT", child.id());
            let ended = child.wait().expect("it was our child").code();
            assert_eq!(servers(directory.path()), [0_u32; 0], "{verb:?}, listening: {listening}");
            // So little is verified that it may be done before it hears.
            let done = verb[0] == "verify" && ended == Some(0);
            assert!(done || ended == Some(status), "{verb:?} ended with {ended:?}");
        }
    }
}

fn signal(which: &str, pid: u32) {
    let told = Command::new("kill").args([which, &pid.to_string()]).status().expect("kill runs");
    assert!(told.success());
}

/// Goal: `down` stops whatever there is, also after a crash. Method: `kill -9` of the system, and then
/// `down`, which finds the server; and once more, where there is nothing.
#[test]
fn down_stops_the_server_of_a_system_that_was_killed() {
    let world = World::start();
    let data_dir = world.kill();
    let orphans = servers(data_dir.path());
    assert_eq!(orphans.len(), 1, "the server outlives it");
    let down = orrery(data_dir.path(), &["down", "--json"]).good().line();
    check("down", &down);
    assert_eq!((&down["pid"], &down["left_behind"]), (&Value::Null, &json!(orphans[0])), "{down}");
    assert_eq!(servers(data_dir.path()), [0_u32; 0]);
    let again = orrery(data_dir.path(), &["down"]).good();
    assert!(again.stdout.contains("nothing ran here"), "{again:?}");
}

/// A port that is taken is named with what to do, for people and for programs.
#[test]
fn a_nats_port_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let directory = tempfile::tempdir().expect("a temporary directory");
    for verb in [&["up"][..], &["--json", "up"]] {
        let arguments = [verb, &["--http", "127.0.0.1:0", "--nats-port", &port]].concat();
        let failed = orrery(directory.path(), &arguments).failed("nats-port-in-use", 69);
        assert!(failed.stderr.contains(&format!("127.0.0.1:{port}")), "{failed:?}");
        assert!(failed.stderr.contains("--nats-port"), "it says what to do: {failed:?}");
    }
    assert_eq!(servers(directory.path()), [0_u32; 0]);
}

/// What was set as the server is named, with the reason why it is none.
#[test]
fn a_server_that_was_set_and_is_none_is_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (program, reason) in
        [("/nonexistent", "No such file"), ("/bin/false", "--version"), ("/", "not a file")]
    {
        for variable in ["ORRERY__NATS_SERVER", "ORRERY_NATS_SERVER"] {
            let failed = with(directory.path(), &[(variable, program)], &["up", "--http", "127.0.0.1:0"]);
            let failed = failed.failed("nats-server-missing", 69);
            assert!(
                failed.stderr.contains(&format!("`{program}`")) && failed.stderr.contains(reason),
                "{failed:?}"
            );
        }
    }
}

/// One fault has one exit code, wherever it is met.
#[test]
fn one_fault_has_one_exit_code() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    std::fs::File::create(&file).and_then(|mut file| file.write_all(b"x")).expect("a file");
    for place in [file.as_path(), Path::new("/proc/x")] {
        orrery(place, &["up", "--http", "127.0.0.1:0"]).failed("data-dir-unusable", 73);
    }
    let up = ["up", "--http", "127.0.0.1:0", "--profile", "replicated"];
    orrery(directory.path(), &up).failed("bad-setting", 64);
    with(directory.path(), &[("ORRERY__NATS__PROFILE", "replicated")], &["config", "check"])
        .failed("bad-setting", 64);
}

/// A webhook that can never be told anything is said at the start, and not tried for ever.
#[test]
fn a_webhook_without_certificates_is_a_bad_setting() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let nowhere = directory.path().join("no-certificates");
    let nowhere = nowhere.to_str().expect("UTF-8");
    let variables =
        |url| [("SSL_CERT_FILE", nowhere), ("SSL_CERT_DIR", nowhere), ("ORRERY__DEAD_LETTERS__WEBHOOK", url)];
    for verb in [&["config", "check"][..], &["up", "--http", "127.0.0.1:0"]] {
        let failed = with(directory.path(), &variables("https://example.org/x"), verb);
        let failed = failed.failed("bad-setting", 64);
        assert!(failed.stderr.contains("certificates"), "{failed:?}");
    }
    with(directory.path(), &variables("http://example.org/x"), &["config", "check"]).good();
}

/// Goal: whoever mends a file sees all of it at once, and what it is now. Method: a file with one
/// mistake of each sort through `config check` and `config show`.
#[test]
fn every_mistake_in_the_settings_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("orrery.toml");
    let text = "speed = 1\nhost_name = \"here\"\n[nats]\nurl = \"nats://ada:hunter2@h:4222\"\npartitions = 0\nsubject_prefix = \"a.b\"\nprofile = \"x\"\n";
    std::fs::write(&file, text).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let wrong = ["`speed`", "`nats.partitions`", "`nats.subject_prefix`", "`nats.profile`"];
    for verb in [&["config", "check"][..], &["config", "show"], &["up"], &["tasks", "list"], &["down"]] {
        let arguments = [&["--config", file], verb].concat();
        let failed = orrery(directory.path(), &arguments).failed("bad-setting", 64);
        for key in wrong {
            assert!(failed.stderr.contains(key), "{key} in {failed:?}");
        }
        assert_eq!(failed.stderr.matches("error[bad-setting]").count(), wrong.len(), "{failed:?}");
    }
    let shown = orrery(directory.path(), &["--config", file, "config", "show"]);
    for line in ["host_name = \"here\"", "# nats_server = ", "# monitor_url = ", "[nats]", "partitions = 8"] {
        assert!(shown.stdout.lines().any(|shown| shown == line), "{line} in {shown:?}");
    }
    assert!(shown.stdout.contains("***@h:4222") && !shown.stdout.contains("hunter2"), "{shown:?}");
    let shown = orrery(directory.path(), &["config", "show", "--json"]).good().line();
    assert_eq!(shown["nats"]["url"], Value::Null);
    let placeholder = [("ORRERY__NATS__URL", "nats://ada:changeme@127.0.0.1:1")];
    with(directory.path(), &placeholder, &["tasks", "list"]).failed("bad-setting", 64);
}

/// What is typed wrong is a failure like every other.
#[test]
fn wrong_arguments_have_a_code_and_a_next_step() {
    let none = Path::new("/nonexistent");
    for arguments in
        [&["tasks", "list", "--state", "bogus"][..], &["fly"], &["up", "--http", "nowhere"], &["tasks"], &[]]
    {
        let people = orrery(none, arguments).failed("bad-argument", 64);
        assert!(people.stderr.contains("\n next: "), "{people:?}");
        let programs = orrery(none, &[arguments, &["--json"]].concat());
        let error: Value = serde_json::from_str(programs.stderr.trim()).expect("one object");
        check("error", &error);
        assert_eq!((programs.status, &error["error"]["code"]), (64, &json!("bad-argument")), "{error}");
        assert!(error["error"]["next"].is_string(), "{error}");
    }
    let said = orrery(none, &["tasks", "list", "--state", "bogus"]).stderr;
    assert!(said.contains("'bogus'") && said.contains("completed"), "the values are told: {said}");
    assert!(orrery(none, &["--help"]).good().stdout.contains("Usage:"));
    assert!(orrery(none, &["--version"]).good().stdout.starts_with("orrery "));
}

/// Goal: a program that reads the log can read all of it, and a person finds the command that was
/// poison. Method: poison; every line is an object, one names the entity and its command, and the
/// process goes on without a crash report.
#[test]
fn a_decision_that_panics_is_one_line_of_the_log() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("up.log");
    let log = std::fs::File::create(&path).expect("a file");
    let world = World::start_logging(directory, log.into());
    Client::connect(&world).poison();
    let data_dir = world.stop();
    let text = std::fs::read_to_string(data_dir.path().join("up.log")).expect("the log");
    let read = |line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let lines: Vec<Value> = text.lines().map(read).collect();
    let told: Vec<&Value> = lines.iter().filter(|line| line.get("panic").is_some()).collect();
    assert_eq!(told.len(), 1, "{text}");
    assert_eq!((&told[0]["entity"], &told[0]["level"]), (&json!("probe/p"), &json!("ERROR")), "{text}");
    for field in ["command_id", "correlation_id", "location", "thread"] {
        assert!(told[0][field].as_str().is_some_and(|value| !value.is_empty()), "{field} of {}", told[0]);
    }
    assert!(!data_dir.path().join("crash").exists(), "it was foreseen");
}

/// Goal: mistakes in the file of the models are said before anything starts, all at once, and without a key; other verbs
/// do not need the file. Method: a file that is not there, and one with several mistakes.
#[test]
fn mistakes_in_the_file_of_the_models_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("models.toml");
    let models = [("ORRERY__MODELS", path.to_str().expect("UTF-8"))];
    let up = ["up", "--http", "127.0.0.1:0"];
    for verb in [&["config", "check"][..], &up] {
        let missing = with(directory.path(), &models, verb).failed("bad-setting", 64);
        assert!(
            missing.stderr.contains("setting `models`") && missing.stderr.contains("cannot be read"),
            "{missing:?}"
        );
    }
    let wrong =
        "[[provider]]\nname = \"a\"\nformat = \"compatible-chat\"\nmodel = \"\"\nkey_file = \"/no/key\"\n";
    std::fs::write(&path, wrong).expect("a file");
    for verb in [&["config", "check"][..], &up] {
        let ended = with(directory.path(), &models, verb).failed("bad-setting", 64);
        for part in ["`model` is empty", "`url` is missing", "/no/key"] {
            assert!(ended.stderr.contains(part), "{part} in {ended:?}");
        }
    }
    std::fs::write(&path, "[[provider]]\nkey = \"sk-hunter2\"\n").expect("a file");
    let ended = with(directory.path(), &models, &["config", "check"]).failed("bad-setting", 64);
    assert!(ended.stderr.contains("line 2") && !ended.stderr.contains("hunter2"), "{ended:?}");
    with(directory.path(), &models, &["tasks", "list"]).failed("not-running", 69);
    std::fs::write(&path, "").expect("a file");
    with(directory.path(), &models, &["config", "check"]).good();
}

/// Goal: a data directory of an older version is refused with what to do, and stays as it is. Method: a store whose streams
/// are in the account that everybody shared.
#[test]
fn a_store_of_an_older_format_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let streams = directory.path().join("nats/store/jetstream/$G/streams/ORRERY_LOG_0");
    std::fs::create_dir_all(&streams).expect("a directory");
    let refused = orrery(directory.path(), &["up", "--http", "127.0.0.1:0"]).failed("format-too-old", 69);
    assert!(refused.stderr.contains("new data directory"), "{refused:?}");
    assert!(streams.is_dir(), "it is still there");
}
