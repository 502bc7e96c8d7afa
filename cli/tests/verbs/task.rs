//! `task`: what there is to do, how far it is, and what can be done to it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bus_schemas::commands::healer::{Command as Healer, QUARANTINE};
use serde_json::{Value, json};

use crate::bus::Client;
use crate::schema::check;
use crate::world::{World, eventually, orrery, program, repository};

/// The task, as soon as the read model shows what is wanted.
fn shown(world: &World, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || {
        let tree = world.orrery(&["tasks", "show", id, "--json"]).good().line();
        wanted(&tree).then_some(tree)
    })
}

fn plan(world: &World, steps: &str) -> String {
    let path = world.data_dir().join("plan.json");
    std::fs::write(&path, steps).expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}

/// A task from its submission to its end, through every verb.
#[test]
fn a_task_is_submitted_watched_listed_and_shown() {
    let world = World::start();
    let plan = plan(
        &world,
        r#"{"steps": [{"step": "z", "goal": "nothing", "skill": "noop"},
                      {"step": "b", "goal": "nothing", "skill": "noop", "after": ["z"]}]}"#,
    );
    let submit =
        ["tasks", "submit", "two\nsteps", "--id", "two", "--plan", &plan, "--as", "ada", "--wait", "--json"];
    let lines = world.orrery(&submit).good().lines();
    let (last, changes) = lines.split_last().expect("lines");
    check("task", last);
    changes.iter().for_each(|change| check("progress", change));
    assert!(changes.iter().any(|change| change["task"] == "two.b" && change["event"] == "completed"));
    let tree = shown(&world, "two", "the end", |tree| tree["task"]["state"] == "completed");
    check("task-show", &tree);
    let steps: Vec<&Value> =
        tree["children"].as_array().expect("a list").iter().map(|child| &child["task"]["id"]).collect();
    assert_eq!(steps, ["two.z", "two.b"].as_slice(), "in the order in which they began");
    assert!(tree["waits_for"].is_null() && tree["seconds"].as_f64().expect("a number") > 0.0, "{tree}");
    let page = world.orrery(&["tasks", "list", "--owner", "ada", "--json"]).good().line();
    check("task-list", &page);
    assert_eq!(page["tasks"].as_array().expect("a list").len(), 1, "children are not listed: {page}");
    let below = world.orrery(&["tasks", "list", "--parent", "two", "--json"]).good().line();
    assert_eq!(below["tasks"].as_array().expect("a list").len(), 2);
    let first = world.orrery(&["tasks", "list", "--all", "--limit", "2", "--json"]).good().line();
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let rest = world.orrery(&["tasks", "list", "--all", "--cursor", cursor, "--json"]).good().line();
    assert_eq!(rest["tasks"].as_array().expect("a list").len(), 1, "{first} then {rest}");
    assert!(rest["next_cursor"].is_null());
    let text = world.orrery(&["tasks", "list"]).good().stdout;
    assert!(text.starts_with("TASK ") && text.contains("two steps"), "a goal stays on its line: {text}");
    let text = world.orrery(&["tasks", "show", "two"]).good().stdout;
    assert!(text.contains("state     completed") && text.contains("\n  z "), "{text}");
    world.orrery(&["tasks", "watch", "two"]).good();
}

/// What a task waits for is said: an agent that there is not, a step, an answer.
#[test]
fn what_a_task_waits_for_is_said() {
    let world = World::start();
    let steps = r#"{"steps": [{"step": "ask", "goal": "what is it?", "skill": "oracle"}]}"#;
    let submit = ["tasks", "submit", "know", "--id", "k", "--plan", &plan(&world, steps)];
    world.orrery(&submit).good();
    let waits = |tree: &Value| tree["waits_for"].as_str().unwrap_or_default().to_owned();
    let tree = shown(&world, "k", "the child", |tree| waits(tree).contains("`k.ask`"));
    check("task-show", &tree);
    let for_nobody = |tree: &Value| waits(&tree["children"][0]).contains("no living agent offers");
    let tree = shown(&world, "k", "the queued child", for_nobody);
    assert!(waits(&tree["children"][0]).contains("no living agent offers"), "{tree}");
    let why = world.orrery(&["tasks", "why", "k", "--json"]).good().line();
    check("task-why", &why);
    let leaf = &why["children"][0];
    assert_eq!((&why["waits_for"], &leaf["waits_for"]), (&"children".into(), &"lane".into()), "{why}");
    assert_eq!(leaf["in_lane"]["blocks"][0]["what"], "no-agent", "{why}");
    world.orrery(&["halt", "lane.default", "--reason", "a leak"]).good();
    let text = eventually("the halt in the lane", || {
        let text = world.orrery(&["tasks", "why", "k"]).good().stdout;
        text.contains("held by halt/lane.default: a leak").then_some(text)
    });
    assert!(text.contains("k.ask (submitted)") && text.contains("moved by"), "{text}");
    world.orrery(&["resume", "lane.default"]).good();

    let client = Client::connect(&world);
    client.oracle();
    client.begin("k.ask");
    shown(&world, "k.ask", "the work", |tree| waits(tree).contains("worker `delphi`"));
    eventually("the agent with one running job of three", || {
        let shown = world.orrery(&["agents", "show", "oracle", "--json"]);
        let oracle = (shown.status == 0).then(|| shown.line())?;
        (oracle["running"] == 1 && oracle["capacity"] == 3).then_some(())
    });
    client.question("k.ask", "of whom?");
    shown(&world, "k.ask", "the question", |tree| waits(tree) == "of whom?");
    let text = world.orrery(&["tasks", "show", "k.ask"]).good().stdout;
    let question = world.number("k.ask", "question_id");
    let command = format!("tasks answer k.ask ANSWER --question {question}");
    assert!(text.contains("of whom?") && text.contains(&command), "{text}");
    let why = world.orrery(&["tasks", "why", "k"]).good().stdout;
    assert!(why.contains(&command), "{command} is not in {why}");
    eventually("the list of the tasks that ask", || {
        let asking = world.orrery(&["tasks", "list", "--state", "input-required", "--all", "--json"]).good();
        (asking.line()["tasks"][0]["id"] == "k.ask").then_some(())
    });
    // Nothing is answered that was not read: the question is shown, with the command that answers it.
    let asked = world.orrery(&["tasks", "answer", "k.ask", "of me"]).failed("bad-argument", 64);
    let command = format!("tasks answer k.ask 'of me' --question {question}");
    assert!(asked.stderr.contains("of whom?") && asked.stderr.contains(&command), "{asked:?}");
    let answer = ["tasks", "answer", "k.ask", "me", "--question", &question, "--json"];
    check("task", &world.orrery(&answer).good().line());
    shown(&world, "k.ask", "the answer", |tree| tree["task"]["question"].is_null());
    world.orrery(&answer).failed("no-question", 65);
    world.orrery(&["tasks", "answer", "k.ask", "me"]).failed("no-question", 65);
}

/// Goal: one that says nothing does not hide what the others wait for, and under a halt nothing is said to
/// move by itself. Method: a step in quarantine beside one that waits, and a halt of everything.
#[test]
fn what_the_others_wait_for_is_said_where_one_says_nothing() {
    let world = World::start();
    let steps = r#"{"steps": [{"step": "a", "goal": "what?", "skill": "oracle"},
                              {"step": "b", "goal": "what?", "skill": "oracle"}]}"#;
    world.orrery(&["tasks", "submit", "know", "--id", "q", "--plan", &plan(&world, steps)]).good();
    let client = Client::connect(&world);
    let quarantine = Healer::Quarantine {
        entity: "task/q.a".parse().expect("an address"),
        reason: "a test".into(),
        evidence: BTreeMap::new(),
    };
    client.ask(QUARANTINE, &quarantine).expect("it is not quarantined yet");
    let why = eventually("the quarantine", || {
        let why = world.orrery(&["tasks", "why", "q", "--json"]).good().line();
        why["silent"].is_array().then_some(why)
    });
    check("task-why", &why);
    assert_eq!(
        (&why["silent"][0]["entity"], &why["silent"][0]["code"]),
        (&"task/q.a".into(), &"entity-quarantined".into())
    );
    let leaf = &why["children"][0];
    assert_eq!(
        (&leaf["task"], &leaf["moves"]),
        (&"q.b".into(), &"a worker of an agent with this skill".into()),
        "{why}"
    );
    let text = world.orrery(&["tasks", "why", "q"]).good().stdout;
    assert!(text.contains("task/q.a does not answer: entity-quarantined"), "{text}");
    world.orrery(&["tasks", "why", "q.a"]).failed("entity-quarantined", 65);

    world.orrery(&["halt", "all", "--reason", "a leak"]).good();
    let why = world.orrery(&["tasks", "why", "q.b", "--json"]).good().line();
    check("task-why", &why);
    assert_eq!((&why["halted"]["scope"], &why["until"]), (&"all".into(), &Value::Null), "{why}");
    assert!(why["moves"].as_str().is_some_and(|moves| moves.contains("`orrery resume all`")), "{why}");
}

/// Ctrl-C ends the watching and not the task.
#[test]
fn watching_is_interrupted_and_the_task_goes_on() {
    let world = World::start();
    world.orrery(&["tasks", "submit", "waits for ever", "--id", "w", "--skill", "nobody-has-this"]).good();
    let mut watching = Command::new(program())
        .arg("--data-dir")
        .arg(world.data_dir())
        .args(["--json", "tasks", "watch", "w"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdout = BufReader::new(watching.stdout.take().expect("it was piped"));
    let mut first = String::new();
    stdout.read_line(&mut first).expect("a line");
    assert!(first.contains("submitted"), "{first}");
    let interrupt = Command::new("kill").args(["-INT", &watching.id().to_string()]).status();
    assert!(interrupt.expect("kill runs").success());
    let ended = watching.wait_with_output().expect("it was our child");
    assert_eq!(ended.status.code(), Some(130));
    let line: Value = serde_json::from_slice(&ended.stderr).expect("one line of JSON");
    check("error", &line);
    assert_eq!(line["error"]["code"], "interrupted");
    shown(&world, "w", "the task", |tree| tree["task"]["state"] == "submitted");
}

/// What an agent made comes out byte for byte, to a file or to stdout.
#[test]
fn an_artifact_is_written() {
    let world = World::start();
    let repo = repository(world.data_dir());
    let input = serde_json::json!({ "repo": repo }).to_string();
    world.orrery(&["tasks", "submit", "Report", "--id", "r", "--input", &input, "--wait"]).good();
    shown(&world, "r", "the end", |tree| tree["task"]["state"] == "completed");
    let path = world.data_dir().join("out.md");
    let file = path.to_str().expect("UTF-8");
    let written = world.orrery(&["tasks", "artifact", "r", "report.md", "--output", file, "--json"]).good();
    check("task-artifact", &written.line());
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(written.line()["bytes"], text.len());
    assert_eq!(world.orrery(&["tasks", "artifact", "r", "report.md"]).good().stdout, text);
    let other = world.orrery(&["tasks", "artifact", "r", "other"]).failed("artifact-not-found", 66);
    assert!(other.stderr.contains("report.md"), "what there is is said: {other:?}");
    let nowhere = ["tasks", "artifact", "r", "report.md", "--output", "/no/such/place/report.md"];
    world.orrery(&nowhere).failed("output-unwritable", 73);
}

/// What waits can be canceled, what failed can be tried again, and mistakes are said with a code.
#[test]
fn tasks_are_canceled_and_retried_and_mistakes_are_named() {
    let world = World::start();
    world.orrery(&["tasks", "submit", "waits for ever", "--id", "w", "--skill", "nobody-has-this"]).good();
    check("task", &world.orrery(&["tasks", "cancel", "w", "--reason", "bored", "--json"]).good().line());
    let shown = world.orrery(&["tasks", "show", "w", "--json"]).good().line();
    assert_eq!(shown["task"]["state"], "canceled", "what was acknowledged is shown");
    let canceled = world.orrery(&["tasks", "watch", "w"]).failed("task-canceled", 1);
    assert!(canceled.stderr.contains("bored"), "{canceled:?}");
    let lost = ["tasks", "submit", "Report", "--id", "lost", "--input", r#"{"repo": "/no/such/place"}"#];
    let failed = world.orrery(&[&lost[..], &["--wait"]].concat());
    assert_eq!(failed.status, 1, "{failed:?}");
    let end = world.number("lost", "end_id");
    let command = format!("tasks retry lost --end {end}");
    assert!(failed.stderr.contains(&command), "{command} is not in {failed:?}");
    let text = world.orrery(&["tasks", "show", "lost"]).good().stdout;
    assert!(text.contains(&command), "{command} is not in {text}");
    // No end is undone that was not read, and a repeat undoes no later one.
    let asked = world.orrery(&["tasks", "retry", "lost"]).failed("bad-argument", 64);
    assert!(asked.stderr.contains(&command) && asked.stderr.contains("/no/such/place"), "{asked:?}");
    let retry = ["tasks", "retry", "lost", "--end", &end, "--json"];
    check("task", &world.orrery(&retry).good().line());
    self::shown(&world, "lost", "the next end", |tree| {
        tree["task"]["end_id"].as_u64().is_some_and(|next| next.to_string() != end)
    });
    world.orrery(&retry).failed("retried-already", 65);
    world.orrery(&["tasks", "answer", "w", "42"]).failed("no-question", 65);
    for verb in ["cancel", "retry", "watch", "show", "why", "extend-budget"] {
        world.orrery(&["tasks", verb, "nobody"]).failed("task-not-found", 66);
        world.orrery(&["tasks", verb, "a b"]).failed("invalid-key", 64);
    }
    let unknown = world.orrery(&["tasks", "show", "nobody"]);
    assert!(unknown.stderr.contains("orrery tasks list"), "the next step is a command: {unknown:?}");
    world.orrery(&["tasks", "answer", "nobody", "x"]).failed("task-not-found", 66);
    world.orrery(&["tasks", "artifact", "w", "report.md"]).failed("artifact-not-found", 66);
    world.orrery(&["tasks", "submit", "x", "--plan", "/no/such/file"]).failed("invalid-plan", 66);
    let plan = plan(&world, r#"{"steps": 7}"#);
    world.orrery(&["tasks", "submit", "x", "--plan", &plan]).failed("invalid-plan", 65);
    world.orrery(&["tasks", "submit", "", "--id", "empty"]).failed("invalid-goal", 65);
    let wrong = [["--deadline", "tomorrow"], ["--priority", "10"], ["--attempts", "0"], ["--input", "{"]];
    for wrong in wrong {
        assert_eq!(world.orrery(&[&["tasks", "submit", "x"], &wrong[..]].concat()).status, 64, "{wrong:?}");
    }
    assert_eq!(world.orrery(&["tasks", "list", "--limit", "1000"]).status, 64);
    let unknown = world.orrery(&["tasks", "list", "--state", "asleep"]);
    assert!(unknown.status == 64 && unknown.stderr.contains("input-required"), "{unknown:?}");
    world.orrery(&["tasks", "list", "--cursor", "rubbish"]).failed("invalid-cursor", 64);
}

/// Where nothing runs, or no gateway is known, each verb says so, and what needs none works.
#[test]
fn without_a_system_or_a_gateway_it_is_said() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for verb in
        [&["tasks", "list"][..], &["tasks", "cancel", "x"], &["schedules"], &["agents"], &["dead-letters"]]
    {
        let ended = orrery(directory.path(), &[verb, &["--json"]].concat()).failed("not-running", 69);
        check("error", &serde_json::from_str(&ended.stderr).expect("one line of JSON"));
    }
    let world = World::start();
    let elsewhere = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = Command::new(program())
            .arg("--data-dir")
            .arg(Path::new("/nowhere"))
            .args(arguments)
            .env("ORRERY__NATS__URL", world.address("nats_url"))
            .env("ORRERY__NATS__USER", world.address("nats_user"))
            .env("ORRERY__NATS__PASSWORD_FILE", world.address("nats_password_file"))
            .envs(variables.iter().copied())
            .output()
            .expect("the binary runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, stderr) = elsewhere(&["tasks", "list"], &[]);
    assert!(status == Some(69) && stderr.contains("error[no-gateway]"), "{stderr}");
    let gateway = format!("{}/", world.address("http"));
    let (status, stderr) = elsewhere(&["tasks", "list"], &[("ORRERY_GATEWAY", &gateway)]);
    assert_eq!(status, Some(0), "{stderr}");
    let submit = ["tasks", "submit", "x", "--id", "x", "--skill", "noop", "--wait"];
    let (status, stderr) = elsewhere(&submit, &[("ORRERY_GATEWAY", &gateway)]);
    assert_eq!(status, Some(0), "{stderr}");
    let (status, stderr) = elsewhere(&["tasks", "list"], &[("ORRERY_GATEWAY", "http://127.0.0.1:1")]);
    assert!(status == Some(69) && stderr.contains("error[gateway-unreachable]"), "{stderr}");
}

/// Goal: a person lets a task go on from an earlier revision. Method: a fork of a task that has ended, and what cannot be
/// forked.
#[test]
fn a_task_is_forked_at_a_revision() {
    let world = World::start();
    world.orrery(&["tasks", "submit", "nothing", "--id", "one", "--skill", "noop", "--wait"]).good();
    eventually("its events to be out", || {
        let found = world.orrery(&["events", "--tree", "one", "--json"]).good().lines();
        (found.len() == 4).then_some(())
    });
    let forked = world.orrery(&["fork", "one", "--at", "3", "--as", "ann", "--json"]).good().line();
    check("task", &forked);
    assert_eq!((&forked["id"], &forked["owner"]), (&json!("one-at-3"), &json!("ann")));
    world.orrery(&["tasks", "watch", "one-at-3"]).good();
    let text = world.orrery(&["events", "--tree", "one-at-3", "--type", "forked"]).good().stdout;
    assert!(text.contains("forked from one at revision 3"), "{text}");
    world.orrery(&["fork", "one", "--at", "99"]).failed("revision-not-found", 66);
    world.orrery(&["fork", "nobody", "--at", "1"]).failed("task-not-found", 66);
}
