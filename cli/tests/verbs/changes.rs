//! `changes`: a change of a repository as a person schedules, approves and follows it.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::engine;
use crate::monitor::asked;
use crate::schema::check;
use crate::world::{World, eventually, repository};

fn git(repo: &Path, arguments: &[&str]) -> String {
    let done = Command::new("git").arg("-C").arg(repo).args(arguments).output().expect("git runs");
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

/// Goal: a person tries a change, schedules it, reads the very diff, approves it and sees it merged; what is wrong is
/// said before anything is submitted. Method: a real repository and a real sandbox, through the verbs alone.
#[test]
fn a_change_is_tried_scheduled_approved_and_merged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let repo = repository(directory.path());
    std::fs::write(repo.join("lib.py"), "def one():\n    return 2\n").expect("a file");
    let test = "from lib import one\n\n\ndef test_one():\n    assert one() == 1\n";
    std::fs::write(repo.join("test_lib.py"), test).expect("a file");
    git(&repo, &["add", "."]);
    git(&repo, &["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "-qm", "A bug"]);
    let target = git(&repo, &["branch", "--show-current"]);
    let new = directory.path().join("new.py");
    std::fs::write(&new, "def one():\n    return 1\n").expect("a file");
    let mut settings = String::new();
    let _ = writeln!(settings, "[code_write]\nenabled = true\napprovers = [\"ann\"]");
    let _ = writeln!(settings, "[workspace]\nroots = [{:?}]", directory.path());
    let _ = writeln!(settings, "[sandbox]\nimages = {:?}\nsocket = {:?}", engine::images(), engine::socket());
    let world = World::start_with(&settings);
    assert!(world.orrery(&["changes"]).good().stdout.contains("no changes"));

    let repo_path = repo.to_str().expect("a plain path");
    let file = format!("lib.py={}", new.display());
    let schedule = |name: &str, more: &[&str]| {
        let first =
            ["change", "schedule", name, "--repo", repo_path, "--target", &target, "-m", "Return one"];
        world.orrery(&[&first[..], more].concat())
    };
    schedule("a.b", &["--file", &file]).failed("invalid-name", 65);
    schedule("bad", &["--file", "lib.py"]).failed("invalid-change", 64);
    schedule("bad", &["--file", "lib.py=/nowhere"]).failed("invalid-change", 64);
    assert_eq!(schedule("bad", &[]).status, 64, "it must change something");

    let tried = schedule("trial", &["--file", &file, "--dry-run", "--wait"]).good();
    assert!(tried.stdout.contains("tested") || tried.stderr.contains("completed"), "{}", tried.stdout);
    let shown = world.orrery(&["changes", "show", "trial", "--json"]).good().line();
    assert_eq!((&shown["state"], &shown["approval"]), (&json!("tested"), &json!(null)), "{shown}");

    check("change", &schedule("fix", &["--file", &file, "--as", "ada", "--json"]).good().line());
    schedule("fix", &["--file", &file, "--delete", "test_lib.py"]).failed("change-exists", 65);
    let waiting = eventually("the change to wait", || {
        let list = world.orrery(&["changes", "list", "--state", "waiting", "--json"]).good().line();
        (list["changes"].as_array().expect("a list").len() == 1).then_some(list)
    });
    check("changes", &waiting);
    let text = world.orrery(&["changes", "show", "fix"]).good().stdout;
    assert!(text.contains("orrery approvals show fix") && text.contains("scheduled by ada"), "{text}");
    let shown = world.orrery(&["approvals", "show", "fix", "--json"]).good().line();
    let id = shown["tools"][0]["id"].as_str().expect("an id").to_owned();
    world.orrery(&["approvals", "approve", "fix", "--id", &id, "--as", "bob"]).failed("not-an-approver", 64);
    world.orrery(&["approvals", "approve", "fix", "--id", &id, "--as", "ann"]).good();
    let merged = eventually("the merge", || {
        let change = world.orrery(&["changes", "show", "fix", "--json"]).good().line();
        (change["state"] == "merged").then_some(change)
    });
    assert_eq!(merged["merged"], json!(git(&repo, &["rev-parse", &target])));
    assert!(git(&repo, &["show", &format!("{target}:lib.py")]).contains("return 1"));

    world.orrery(&["changes", "cancel", "fix", "--reason", " "]).failed("reason-missing", 65);
    world.orrery(&["changes", "cancel", "fix", "--reason", "late"]).good();
    assert_eq!(world.orrery(&["changes", "show", "fix", "--json"]).good().line()["state"], "merged");
    world.orrery(&["changes", "show", "none"]).failed("change-not-found", 66);
    let metrics = asked(world.address("http"), "/metrics");
    for step in ["scheduled", "approved", "tests-passed", "merged", "tested"] {
        assert!(
            metrics.contains(&format!("orrery_changes_steps_total{{step=\"{step}\"}}")),
            "{step}: {metrics}"
        );
    }
}

/// Goal: an installation that writes nothing says so, to every verb. Method: the default settings.
#[test]
fn without_the_setting_no_change_is_scheduled() {
    let world = World::start();
    let asked = ["changes", "schedule", "fix", "--repo", "/srv/app", "--delete", "a.py", "-m", "Remove it"];
    world.orrery(&asked).failed("code-write-disabled", 64);
    assert!(world.orrery(&["changes"]).good().stdout.contains("no changes"));
}
