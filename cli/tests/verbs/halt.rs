//! `halt`, `halts`, `resume`: everything stands still, says why, and goes on.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::schema::check;
use crate::world::{World, eventually};

/// Goal: whoever is woken sees what stands still, why and since when; new work is told; and work goes on
/// when it is resumed. Method: a halt of everything and of a lane, on a system that works.
#[test]
fn everything_stands_still_until_it_is_resumed() {
    let world = World::start();
    assert_eq!(world.orrery(&["halts"]).good().stdout.trim_end(), "nothing is halted");
    world.orrery(&["tasks", "submit", "g", "--id", "before", "--skill", "noop", "--wait"]).good();
    let told = world.orrery(&["halt", "all", "--reason", "a leak", "--json"]).good().line();
    check("halt-changed", &told);
    assert_eq!((&told["halted"], &told["known"]), (&true.into(), &true.into()), "{told}");
    let list = world.orrery(&["halts", "--json"]).good().line();
    check("halts", &list);
    let halt = &list["halts"][0];
    assert_eq!(
        (&halt["scope"], &halt["reason"], &halt["grace_ms"]),
        (&"all".into(), &"a leak".into(), &5_000.into())
    );
    assert!(
        halt["since"].as_u64().is_some_and(|since| since > 0)
            && !halt["by"].as_str().unwrap_or("").is_empty()
    );
    let text = world.orrery(&["halts"]).good().stdout;
    assert!(text.starts_with("SCOPE") && text.contains("a leak"), "{text}");
    let refused = world.orrery(&["tasks", "submit", "g", "--skill", "noop"]).failed("halted", 65);
    assert!(refused.stderr.contains("a leak"), "{refused:?}");
    let lane = world.orrery(&["lanes", "show", "default"]).good().stdout;
    assert!(lane.contains("held by halt/all: a leak"), "{lane}");

    world.orrery(&["resume", "all", "--revision", "0"]).failed("changed-since", 65);
    let told = world.orrery(&["resume", "all", "--rate", "100/min", "--json"]).good().line();
    check("halt-changed", &told);
    assert_eq!(
        (&told["ended"]["reason"], &told["ended"]["since"]),
        (&"a leak".into(), &halt["since"]),
        "{told}"
    );
    assert_eq!((&told["halted"], &told["per_minute"]), (&false.into(), &100.into()), "{told}");
    assert_eq!(world.orrery(&["halts"]).good().stdout.trim_end(), "nothing is halted");
    // New work is refused by the host until its own watch has heard of the end.
    eventually("work that is taken again", || {
        let ended = world.orrery(&["tasks", "submit", "g", "--id", "after", "--skill", "noop", "--wait"]);
        (ended.status == 0).then_some(())
    });
}

/// Goal: a halt that would do nothing is said so. Method: no reason, no scope, misspelled names, and
/// resumes of what is not halted.
#[test]
fn a_halt_says_why_and_what() {
    let world = World::start();
    assert_eq!(world.orrery(&["halt", "all"]).status, 64, "a halt needs a reason");
    world.orrery(&["halt", "all", "--reason", "  "]).failed("reason-missing", 65);
    world.orrery(&["halt", "all", "--reason", "x", "--grace", "2h"]).failed("invalid-grace", 65);
    let ended = world.orrery(&["halt", "everything", "--reason", "x"]).failed("unknown-scope", 64);
    assert!(ended.stderr.contains("next: say `all`"), "{ended:?}");
    world.orrery(&["resume", "all"]).failed("not-halted", 65);
    let misspelled = world.orrery(&["halt", "lane.defualt", "--reason", "x"]).good().stdout;
    assert!(misspelled.contains("is the name right?"), "{misspelled}");
    let ended = world.orrery(&["resume", "lane.defualt"]).good().stdout;
    assert!(
        ended.contains("stopped by ") && ended.contains(": x"),
        "who resumes it sees what it was: {ended}"
    );
    // What ended may still come back gradually; a name that nobody knows does not limit anything.
    let again = world.orrery(&["resume", "lane.defualt"]).good().stdout;
    assert!(again.contains("all at once"), "{again}");
    let lane = world.orrery(&["lanes", "show", "defualt", "--json"]).good().line();
    assert_eq!(lane["blocks"].as_array().map(Vec::len), Some(0), "{lane}");
    world.orrery(&["halt", "agent.noop", "--reason", "x"]).good();
    world.orrery(&["resume", "agent.noop", "--rate", "9"]).failed("invalid-rate", 65);
    for wrong in ["0", "9/s", "many"] {
        assert_eq!(world.orrery(&["resume", "agent.noop", "--rate", wrong]).status, 64, "{wrong}");
    }
    world.orrery(&["resume", "agent.noop", "--reason", "it was not the agent"]).good();
}

/// Goal: a halt ends the programs that work has started. Method: a `git` that hangs and ignores what asks
/// it to end, in the middle of a history; after the grace its process is gone.
#[test]
fn the_child_processes_of_halted_work_are_killed() {
    let tools = tempfile::tempdir().expect("a temporary directory");
    let (git, begun) = (tools.path().join("git"), tools.path().join("begun"));
    let script = format!("#!/bin/sh\ntrap '' TERM INT HUP\necho $$ >> {}\nexec sleep 600\n", begun.display());
    std::fs::write(&git, script).expect("a file");
    std::fs::set_permissions(&git, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let world = World::start_with_programs(tools.path());
    let repo = tempfile::tempdir().expect("a temporary directory");
    let made = Command::new("git").args(["init", "--quiet"]).arg(repo.path()).status().expect("git");
    assert!(made.success());
    let input = serde_json::json!({ "repo": repo.path() }).to_string();
    world.orrery(&["tasks", "submit", "g", "--id", "h", "--skill", "history", "--input", &input]).good();
    let child = eventually("the program to run", || {
        let text = std::fs::read_to_string(&begun).ok()?;
        text.lines().next().map(|pid| Path::new("/proc").join(pid))
    });
    assert!(child.exists(), "it runs");
    world.orrery(&["halt", "all", "--grace", "100ms", "--reason", "a leak"]).good();
    eventually("the program to be gone", || (!child.exists()).then_some(()));
    world.orrery(&["tasks", "cancel", "h"]).good();
}
