//! `up`, `down`, `run`, `config`, `completions`: the life of a system.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::schema::check;
use crate::world::{World, eventually, orrery, program, repository};

/// The first thing anybody does: one command makes a report, and the commands that it prints work
/// although nothing runs any more.
#[test]
fn run_makes_a_report_and_what_it_prints_can_be_typed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let repo = repository(directory.path());
    let data_dir = directory.path().join("data");
    let repo = repo.to_str().expect("UTF-8");
    let done = orrery(&data_dir, &["--json", "run", "Report on this repository", "--repo", repo]).good();
    let outcome = done.line();
    check("run", &outcome);
    assert_eq!(outcome["state"], "completed");
    let names: Vec<_> =
        outcome["artifacts"].as_array().expect("a list").iter().map(|file| &file["name"]).collect();
    assert_eq!(names, ["report.md", "report.html"].as_slice(), "{outcome}");
    for file in outcome["artifacts"].as_array().expect("a list") {
        let text =
            std::fs::read_to_string(file["path"].as_str().expect("a path")).expect("the file is there");
        assert!(text.contains("Cargo.toml"), "the manifest is reported on");
    }
    for command in outcome["next"].as_array().expect("a list") {
        let words: Vec<&str> = command.as_str().expect("text").split(' ').skip(3).collect();
        let shown = orrery(&data_dir, &words).good();
        assert!(!shown.stdout.is_empty(), "{command}");
    }
}

/// A goal for a system that runs goes there, and a second system on the same data is refused.
#[test]
fn one_system_on_one_data_directory() {
    let world = World::start();
    check("up", &world.banner);
    let repo = repository(world.data_dir());
    let repo = repo.to_str().expect("UTF-8");
    for field in ["http", "nats_url", "monitor_url", "profile", "fsync"] {
        assert!(!world.address(field).is_empty());
    }
    let told = world.orrery(&["run", "Report on this repository", "--repo", repo, "--watch"]).good();
    assert!(told.stdout.contains("job-issued") && told.stdout.contains("report.md"), "{}", told.stdout);
    world.orrery(&["up", "--http", "127.0.0.1:0"]).failed("already-running", 69);
    let data_dir = world.stop();
    let down = orrery(data_dir.path(), &["down"]).good();
    assert!(down.stdout.contains("nothing ran"), "{down:?}");
    orrery(data_dir.path(), &["agents"]).failed("not-running", 69);
}

/// Goal: a reader that leaves ends a verb, and with it the server that the verb has started. Method: the events of a
/// stopped system, of which nobody reads a line.
#[test]
fn a_verb_whose_output_nobody_reads_leaves_no_server_behind() {
    let world = World::start();
    world.orrery(&["tasks", "submit", "nothing", "--id", "one", "--skill", "noop", "--wait"]).good();
    let data_dir = world.stop();
    for verb in [&["events"][..], &["verify", "--all"], &["completions", "bash"]] {
        let mut child = Command::new(program())
            .arg("--data-dir")
            .arg(data_dir.path())
            .args(verb)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{verb:?}");
        let pid = std::fs::read_to_string(data_dir.path().join("nats/nats.pid")).unwrap_or_default();
        let ended = || !Path::new("/proc").join(pid.trim()).join("exe").exists() || pid.is_empty();
        eventually("the end of the server", || ended().then_some(()));
    }
}

/// Goal: nobody else on the machine reads what tasks are about, nor the password of the server. Method: the modes of
/// everything in the data directory of a system that has done some work.
#[test]
fn files_are_their_owners_alone() {
    fn open_to_others(directory: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.permissions().mode() & 0o077 != 0 {
                found.push(format!("{} {:o}", entry.path().display(), metadata.permissions().mode()));
            }
            if metadata.is_dir() {
                open_to_others(&entry.path(), found);
            }
        }
    }
    let world = World::start();
    world.orrery(&["tasks", "submit", "x", "--id", "x", "--skill", "noop", "--wait"]).good();
    let mut found = Vec::new();
    open_to_others(world.data_dir(), &mut found);
    assert_eq!(found, Vec::<String>::new());
    assert!(world.data_dir().join("nats/password").is_file());
}

/// Two systems live beside each other when they have data directories of their own.
#[test]
fn systems_live_beside_each_other() {
    let (one, other) = (World::start(), World::start());
    assert_ne!(one.address("http"), other.address("http"));
    assert_ne!(one.address("nats_url"), other.address("nats_url"));
}

/// What cannot be done says why, and what to do.
#[test]
fn bad_goals_and_repositories_are_named() {
    let world = World::start();
    let here = world.data_dir().to_str().expect("UTF-8").to_owned();
    world.orrery(&["run", "Report", "--repo", "/no/such/place"]).failed("repository-unreadable", 66);
    let empty = world.data_dir().join("empty");
    std::fs::create_dir(&empty).expect("a directory");
    let git = std::process::Command::new("git").arg("init").arg("--quiet").arg(&empty).status();
    assert!(git.expect("git runs").success());
    let failed = world.orrery(&["run", "Report", "--repo", empty.to_str().expect("UTF-8")]);
    assert_eq!(failed.status, 1, "{failed:?}");
    assert!(failed.stderr.contains("no commits") && failed.stderr.contains("next:"), "{failed:?}");
    let failed = world.orrery(&["run", "…", "--repo", &here]);
    assert!(failed.status == 1 && failed.stderr.contains("error["), "{failed:?}");
}

/// Arguments and settings are checked before anything happens.
#[test]
fn arguments_and_settings() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let none: &std::path::Path = directory.path();
    assert_eq!(orrery(none, &["up", "--http", "nowhere"]).status, 64);
    assert_eq!(orrery(none, &["fly"]).status, 64);
    let file = none.join("bad.toml");
    std::fs::write(&file, "nats_port = \"many\"\n").expect("a file");
    let file = file.to_str().expect("UTF-8");
    orrery(none, &["--config", file, "config", "check"]).failed("bad-setting", 64);
    let shown = orrery(none, &["--json", "config", "show"]).good().line();
    assert_eq!(shown["nats"]["profile"], "durable");
    let script = orrery(none, &["completions", "bash"]).good();
    assert!(script.stdout.contains("_orrery"), "{}", script.stdout);
}
