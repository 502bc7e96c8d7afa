//! What people are told when something cannot be done, or does not begin: the code, the reason, and a next step that can be
//! typed as it stands.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{World, program, repository};

/// A goal is planned or refused; a report that nobody asked for is no answer.
#[test]
fn a_goal_that_nobody_here_can_do_is_refused() {
    let world = World::start();
    let repo = repository(world.data_dir());
    let repo = repo.to_str().expect("UTF-8");
    for goal in ["make me a sandwich", "fix the TODOs", "What is the weather in Paris?"] {
        let refused = world.orrery(&["run", goal, "--repo", repo]).failed("goal-not-plannable", 1);
        assert!(refused.stderr.contains("next: ask for a report"), "{refused:?}");
    }
    for goal in ["", "  "] {
        let refused = world.orrery(&["run", goal, "--repo", repo]).failed("invalid-goal", 64);
        assert!(refused.stderr.contains("say what you want"), "{refused:?}");
    }
    let asked = world.orrery(&["run", "Does it count words?", "--repo", repo]).good();
    assert!(asked.stdout.contains("report.md"), "the README speaks about it: {asked:?}");
}

/// What cannot exist is an error and no empty list, and moments are shown as people read them.
#[test]
fn events_that_can_not_exist_are_refused() {
    let world = World::start();
    world.orrery(&["tasks", "submit", "g", "--id", "one", "--skill", "noop", "--wait"]).good();
    for (arguments, code, status) in [
        (&["--kind", "nope"][..], "unknown-kind", 64),
        (&["--tree", "nope"], "task-not-found", 66),
        (&["--kind", "agent", "--key", "nope"], "entity-not-found", 66),
        (&["--from", "9.1.1"], "invalid-cursor", 64),
        (&["--type", "finished"], "unknown-event-type", 64),
        (&["--kind", "agent", "--type", "completed"], "unknown-event-type", 64),
    ] {
        let refused = world.orrery(&[&["events"], arguments].concat()).failed(code, status);
        assert!(refused.stderr.contains("next:"), "{refused:?}");
    }
    let mine = world.orrery(&["--json", "events", "--tree", "one"]).good().lines();
    let cursor = mine[0]["cursor"].as_str().expect("a cursor");
    let home: u16 = cursor.split('.').next().and_then(|text| text.parse().ok()).expect("a partition");
    let elsewhere = format!("{}.1.0", (home + 1) % 8);
    world.orrery(&["events", "--tree", "one", "--from", &elsewhere]).failed("invalid-cursor", 64);
    let rest = world.orrery(&["events", "--tree", "one", "--from", cursor]).good();
    assert_eq!(rest.stdout.lines().count(), mine.len() - 1);
    let all = world.orrery(&["events"]).good().stdout;
    let number = |word: &str| word.len() == 13 && word.bytes().all(|byte| byte.is_ascii_digit());
    assert!(!all.split(|c: char| !c.is_ascii_alphanumeric()).any(number), "milliseconds since 1970: {all}");
}

/// A refusal always says what to do, in the words that were typed.
#[test]
fn refusals_have_a_next_step() {
    let world = World::start();
    let refused =
        world.orrery(&["schedules", "create", "x", "g", "--every", "0s"]).failed("invalid-recurrence", 64);
    assert!(refused.stderr.contains("--every 1s") && !refused.stderr.contains("every_ms"), "{refused:?}");
    for (arguments, code) in [
        (&["schedules", "create", "a.b", "g", "--every", "1m"][..], "invalid-name"),
        (&["schedules", "create", "x", "g", "--at", "2020-01-01T00:00:00Z"], "invalid-recurrence"),
        (&["tasks", "submit", "g", "--skill", ""], "invalid-skill"),
    ] {
        let refused = world.orrery(arguments);
        assert!(
            refused.stderr.contains(&format!("[{code}]")) && refused.stderr.contains("next:"),
            "{refused:?}"
        );
    }
}

/// The commands in a next step reach the system that was asked, also where its folder has a space, and nobody waits to be told
/// that a task does not exist.
#[test]
fn a_next_step_can_be_typed_as_it_stands() {
    let directory = tempfile::Builder::new().prefix("or rery").tempdir().expect("a temporary directory");
    let world = World::start_in(directory);
    let started = Instant::now();
    let missing = world.orrery(&["tasks", "show", "nope"]).failed("task-not-found", 66);
    assert!(started.elapsed() < Duration::from_millis(1_800), "{:?}", started.elapsed());
    let wanted = format!("tasks list --data-dir '{}'`", world.data_dir().display());
    assert!(missing.stderr.contains(&wanted), "{wanted} in {missing:?}");
    let command = missing.stderr.split('`').find(|part| part.contains(" tasks list ")).expect("a command");
    let typed = Command::new("sh").args(["-c", command]).output().expect("a shell");
    assert!(typed.status.success(), "{command}: {typed:?}");
}

/// A task that nobody can do says so to whoever watches, and a task that was canceled without a reason has no dangling colon.
#[test]
fn a_task_without_an_agent_says_what_it_waits_for() {
    let world = World::start();
    world.orrery(&["tasks", "submit", "g", "--id", "lonely", "--skill", "juggling"]).good();
    let mut watch = Command::new(program())
        .arg("--data-dir")
        .arg(world.data_dir())
        .args(["--json", "tasks", "watch", "lonely"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let lines = BufReader::new(watch.stdout.take().expect("it was piped")).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.expect("UTF-8")).expect("JSON"));
    let told = lines.find(|line| line["event"] == "waits").expect("the watch goes on until the end");
    crate::schema::check("progress", &told);
    let detail = "attempt 1 waits in lane `default` for an agent with the skill `juggling`: no living agent offers the skill `juggling`";
    assert_eq!((told["task"].as_str(), told["detail"].as_str()), (Some("lonely"), Some(detail)));
    world.orrery(&["tasks", "cancel", "lonely"]).good();
    let ends: Vec<Value> = lines.collect();
    assert!(ends.iter().all(|line| !line["detail"].as_str().unwrap_or("").ends_with(": ")), "{ends:?}");
    let ended = watch.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && said.contains("task lonely was canceled\""), "{said}");
}
