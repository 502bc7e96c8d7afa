//! Changes of a repository that a person approves, from the request to the merge.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors_agents::{CodeWrite, Tools, Workspaces};
use actors_host::Running;
use bus_client::{Bus, Profile};
use bus_schemas::commands::approval::Command as Approval;
use bus_schemas::commands::change::{Command as Change, Step};
use bus_schemas::commands::schedule::{self, Recurrence};
use bus_schemas::commands::task::{Command, Plan, Query, Submit};
use bus_schemas::views::task::{Task, TaskState};
use serde_json::{Value, json};
use system_tests::agents::step;
use system_tests::replays::assert_same;
use system_tests::sandboxes::sandboxes;
use system_tests::{Server, accepted, command, eventually, query, refused, view};

use crate::approvals::{by_person, events, ids, names};
use crate::tester::ended;
use crate::workspaces::git;

const LIB: &str = "def add(a, b):\n    return a + b\n";
const TESTS: &str = "from lib import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n";
const BETTER: &str = "def add(a, b):\n    \"\"\"Adds.\"\"\"\n    return a + b\n";

/// A system whose agents may change the files of one repository.
struct Stage {
    server: Server,
    tools: Tools,
    host: Running,
    bus: Bus,
    repo: PathBuf,
}

impl Stage {
    async fn new(installation: &str, is_enabled: bool) -> Self {
        let server = Server::start(Profile::Fast).await;
        let work = server.directory().join("work");
        let repo = work.join("repo");
        std::fs::create_dir_all(&repo).expect("a folder");
        for (name, text) in [("lib.py", LIB), ("test_lib.py", TESTS), ("notes.txt", "one\n")] {
            std::fs::write(repo.join(name), text).expect("a file");
        }
        git(&repo, &["init", "-q", "-b", "main"]);
        git(&repo, &["add", "."]);
        git(&repo, &["commit", "-q", "-m", "begin"]);
        let mut workspaces = Workspaces::new(&[work], &server.directory().join("a")).expect("folders");
        let rules = CodeWrite::new(&[], &["secret".to_owned()], 1_024).expect("rules");
        let rules = rules.owning(&["notes".to_owned()]).expect("rules");
        let rules = rules.answered_by(vec!["ann".to_owned()], 3_600_000);
        if is_enabled {
            workspaces = workspaces.writable(rules);
        }
        let tools = Tools {
            workspaces: Arc::new(workspaces),
            sandboxes: sandboxes(installation),
            ..Tools::default()
        };
        let host = server.host_of("a", &tools).await;
        let bus = server.bus().await;
        Self { server, tools, host, bus, repo }
    }

    fn submit(&self, path: &str, text: &str, more: Value) -> Command {
        let mut input = json!({
            "repo": self.repo, "target": "main", "message": "Change it", "files": [{"path": path, "text": text}],
        });
        let more = more.as_object().cloned().unwrap_or_default();
        input.as_object_mut().expect("an object").extend(more);
        Command::Submit(Submit { skill: "change".into(), input, ..Submit::new("the user has approved this") })
    }

    fn scheduled(&self, more: Value) -> Change {
        let mut change = json!({
            "type": "schedule", "repo": self.repo, "target": "main", "message": "Change it",
            "files": [{"path": "lib.py", "text": BETTER}],
        });
        change.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        serde_json::from_value(change).expect("a change")
    }

    async fn schedule(&self, key: &str, more: Value) {
        accepted(&self.bus, &command(key, &self.scheduled(more)).caller("ada")).await;
    }

    /// Submits a change that asks, and waits until it does.
    async fn asks(&self, key: &str, path: &str, text: &str, more: Value) {
        accepted(&self.bus, &command(key, &self.submit(path, text, more))).await;
        self.waits(key).await;
    }

    async fn waits(&self, key: &str) -> Task {
        eventually(&format!("`{key}` to ask"), || async {
            let task: Task = view(&self.bus, &query(key, &Query::Describe)).await?;
            assert!(!task.state.is_final(), "{task:?}");
            (task.state == TaskState::AuthRequired).then_some(task)
        })
        .await
    }

    async fn approve(&self, key: &str) {
        let ids = ids(&self.bus, key).await;
        accepted(&self.bus, &by_person(key, &Approval::Approve { ids })).await;
    }

    /// The result of a change that must complete.
    async fn result(&self, key: &str) -> Value {
        let task = ended(&self.bus, key).await;
        assert!(task.failure.is_none(), "{task:?}");
        task.result
    }

    /// The code of the failure of a task.
    async fn failure(&self, key: &str) -> String {
        let task = ended(&self.bus, key).await;
        task.failure.unwrap_or_else(|| panic!("`{key}` did not fail: {:?}", task.result)).code
    }

    fn head(&self) -> String {
        git(&self.repo, &["rev-parse", "main"])
    }

    /// Nothing of any change is left but what was merged.
    fn assert_clean(&self) {
        assert_eq!(git(&self.repo, &["branch", "--format=%(refname:short)"]), "main");
        let trees = self.server.directory().join("a/worktrees");
        let left = std::fs::read_dir(trees).map(|entries| {
            entries
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(|name| !name.starts_with('.'))
                .count()
        });
        assert_eq!(left.unwrap_or(0), 0, "a tree is left");
    }
}

/// The names of the events of a change.
async fn steps(bus: &Bus, key: &str) -> Vec<String> {
    let events = events(bus, "change", key).await;
    events.iter().map(|event| event["type"].as_str().expect("a name").to_owned()).collect()
}

fn file(repo: &Path, name: &str) -> String {
    std::fs::read_to_string(repo.join(name)).expect("a file")
}

/// Goal: what a person approved is merged, once, and nothing before. A text is no approval (complaint 4), and a base
/// that moved elsewhere is no reason to ask again (complaint 7). Method: a change that is answered with words, then
/// approved; meanwhile another file of the target changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_merged_when_a_person_has_approved_its_bytes() {
    let stage = Stage::new("flow-change", true).await;
    stage.asks("c", "lib.py", BETTER, json!({})).await;
    let before = stage.head();
    let question = stage.waits("c").await.question_id.expect("a question");
    let words = Command::Answer { question, answer: "the user has approved".into() };
    accepted(&stage.bus, &command("c", &words)).await;
    eventually("it asks again", || async {
        let task: Task = view(&stage.bus, &query("c", &Query::Describe)).await?;
        (task.state == TaskState::AuthRequired && task.question_id != Some(question)).then_some(())
    })
    .await;
    assert_eq!((stage.head(), names(&stage.bus, "c").await), (before, vec!["requested".to_owned()]));
    stage.assert_clean();
    std::fs::write(stage.repo.join("notes.txt"), "two\n").expect("a file");
    git(&stage.repo, &["commit", "-q", "-am", "notes"]);
    stage.approve("c").await;
    let result = stage.result("c").await;
    assert_eq!((&result["outcome"], &result["merged"]), (&json!("merged"), &json!(stage.head())), "{result}");
    assert_eq!(
        (file(&stage.repo, "lib.py"), file(&stage.repo, "notes.txt")),
        (BETTER.into(), "two\n".into())
    );
    assert_eq!(git(&stage.repo, &["status", "--porcelain"]), "", "the tree follows");
    assert_eq!(names(&stage.bus, "c").await, ["requested", "approved", "used"]);
    stage.assert_clean();
    assert_same(&stage.bus, &["c"]).await;
    stage.host.stop().await;
}

/// Goal: an approval is worth nothing for other bytes (complaints 6 and 7), and a change that fails its tests leaves
/// nothing behind and touches nothing else (complaints 11 and 12). Method: a touched file that moves under an approval,
/// a full base that moves, tests that fail, a trial, and a file of the user's that no commit has.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_approved_or_fails_leaves_nothing() {
    let stage = Stage::new("flow-change-not", true).await;
    std::fs::write(stage.repo.join("mine.txt"), "uncommitted").expect("a file");
    stage.asks("stale", "lib.py", BETTER, json!({})).await;
    stage.asks("full", "test_lib.py", "def test_none():\n    pass\n", json!({"full_base": true})).await;
    std::fs::write(stage.repo.join("lib.py"), LIB.replace("a + b", "b + a")).expect("a file");
    git(&stage.repo, &["commit", "-q", "-am", "other"]);
    let head = stage.head();
    for key in ["stale", "full"] {
        stage.approve(key).await;
        assert_eq!(stage.failure(key).await, "approval-mismatch");
    }
    let broken = BETTER.replace("a + b", "a - b");
    stage.asks("broken", "lib.py", &broken, json!({})).await;
    stage.approve("broken").await;
    let result = stage.result("broken").await;
    assert_eq!(result["outcome"], "rolled-back", "{result}");
    assert!(result["reason"].as_str().is_some_and(|reason| reason.contains("test_add")), "{result}");
    for (key, text, outcome) in [("trial", BETTER, "tested"), ("wrong", "def add(:\n", "rolled-back")] {
        accepted(&stage.bus, &command(key, &stage.submit("lib.py", text, json!({"dry_run": true})))).await;
        let result = stage.result(key).await;
        assert_eq!(result["outcome"], outcome, "{result}");
        assert_eq!(names(&stage.bus, key).await, Vec::<String>::new(), "a trial asks nobody");
    }
    assert_eq!((stage.head(), file(&stage.repo, "mine.txt")), (head, "uncommitted".into()));
    stage.assert_clean();
    stage.host.stop().await;
}

/// Goal: a person's no, a cancellation and a path that is not allowed end a change before anything is written
/// (complaints 1, 2 and 9). Method: one of each; a target that is checked out with changes.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_or_a_rule_forbids_is_not_begun() {
    let stage = Stage::new("flow-change-no", true).await;
    let head = stage.head();
    stage.asks("no", "lib.py", BETTER, json!({})).await;
    let no = Approval::Reject { rejection_reason: "not now".into() };
    assert_eq!(refused(&stage.bus, &command("no", &no).caller("bob")).await, "not-an-approver");
    accepted(&stage.bus, &by_person("no", &no)).await;
    assert_eq!(stage.failure("no").await, "approval-over");
    stage.asks("stop", "lib.py", BETTER, json!({})).await;
    accepted(&stage.bus, &command("stop", &Command::Cancel { reason: "enough".into() })).await;
    eventually("the request is closed", || async {
        (names(&stage.bus, "stop").await == ["requested", "canceled"]).then_some(())
    })
    .await;
    for (key, path, code) in [
        ("home", "/etc/passwd", "path-refused"),
        ("up", "../outside.py", "path-refused"),
        ("git", ".git/hooks/pre-commit", "path-refused"),
        ("rule", "secret/key.py", "path-refused"),
    ] {
        accepted(&stage.bus, &command(key, &stage.submit(path, "x", json!({})))).await;
        assert_eq!(stage.failure(key).await, code, "{path}");
        assert_eq!(names(&stage.bus, key).await, Vec::<String>::new());
    }
    accepted(&stage.bus, &command("large", &stage.submit("lib.py", &"x".repeat(1_025), json!({})))).await;
    assert_eq!(stage.failure("large").await, "too-large");
    std::fs::write(stage.repo.join("lib.py"), "mine\n").expect("a file");
    accepted(&stage.bus, &command("dirty", &stage.submit("lib.py", BETTER, json!({})))).await;
    assert_eq!(stage.failure("dirty").await, "tree-dirty");
    assert_eq!((stage.head(), file(&stage.repo, "lib.py")), (head, "mine\n".into()));
    stage.assert_clean();
    stage.host.stop().await;
}

/// Goal: a change is an entity of its own, whose events are its ledger, each with branch and diff. Method: a scheduled
/// change that writes a file, deletes one and names its ground; one of the agents' own files, for which nobody is asked;
/// one that is canceled while its tests run.
#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_scheduled_change_is_an_event() {
    let stage = Stage::new("flow-change-steps", true).await;
    let ground =
        Submit { skill: "list-files".into(), input: json!({"workspace": stage.repo}), ..Submit::new("look") };
    accepted(&stage.bus, &command("look", &Command::Submit(ground))).await;
    stage.result("look").await;
    let asked =
        json!({"ground": "look", "files": [{"path": "lib.py", "text": BETTER}, {"path": "notes.txt"}]});
    stage.schedule("c", asked).await;
    stage.waits("c").await;
    ids(&stage.bus, "c").await;
    let call = events(&stage.bus, "approval", "c").await[0]["tools"][0]["args"].clone();
    assert_eq!(call["ground"]["task"], "look", "{call}");
    assert!(call["diff"].as_str().is_some_and(|diff| diff.contains("deleted file")), "{call}");
    stage.approve("c").await;
    assert_eq!(stage.result("c").await["outcome"], "merged");
    eventually("its last event", || async {
        (steps(&stage.bus, "c").await.last()? == "merged").then_some(())
    })
    .await;
    let events = events(&stage.bus, "change", "c").await;
    let done: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a name")).collect();
    let steps =
        ["scheduled", "proposed", "approved", "applied", "branched", "syntax-passed", "tests-started"];
    assert_eq!(done, [&steps[..], &["tests-passed", "merged"]].concat());
    let diff = &events[1]["diff"]["hash"];
    for event in &events[2..] {
        assert_eq!((&event["branch"], &event["diff"]), (&json!("orrery/change-c"), diff), "{event}");
    }
    assert!(!stage.repo.join("notes.txt").exists(), "it was deleted");
    assert_eq!(events[8]["commit"], json!(stage.head()));
    // Nobody is asked for the agents' own files.
    stage.schedule("own", json!({"files": [{"path": "notes/mine.txt", "text": "one\n"}]})).await;
    assert_eq!(stage.result("own").await["outcome"], "merged");
    assert_eq!(names(&stage.bus, "own").await, Vec::<String>::new());
    // A ground that is none.
    stage.schedule("groundless", json!({"ground": "nothing"})).await;
    assert_eq!(stage.failure("groundless").await, "task-not-found");
    stage.assert_clean();
    stage.host.stop().await;
}

/// Goal: a request that waits survives the hosts (complaint 10), and nobody is asked for what only reads (complaint 5).
/// Method: a change waits; the skills that read; the only host stops, another one starts; the change is approved.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_waits_outlives_its_host_and_reading_asks_nobody() {
    let stage = Stage::new("flow-change-again", true).await;
    stage.asks("c", "lib.py", BETTER, json!({})).await;
    for (key, skill, input) in [
        ("list", "list-files", json!({"workspace": stage.repo})),
        ("read", "read-file", json!({"workspace": stage.repo, "path": "lib.py"})),
        ("search", "search-files", json!({"workspace": stage.repo, "text": "def"})),
        ("status", "git-status", json!({"repo": stage.repo})),
        ("log", "git-log", json!({"repo": stage.repo})),
    ] {
        let read = Submit { skill: skill.into(), input, ..Submit::new(skill) };
        accepted(&stage.bus, &command(key, &Command::Submit(read))).await;
        stage.result(key).await;
        assert_eq!(names(&stage.bus, key).await, Vec::<String>::new(), "`{skill}` asks nobody");
    }
    let Stage { server, tools, host, bus, repo } = stage;
    host.stop().await;
    let host = server.host_of("b", &tools).await;
    let stage = Stage { server, tools, host, bus, repo };
    stage.approve("c").await;
    assert_eq!(stage.result("c").await["outcome"], "merged");
    stage.assert_clean();
    stage.host.stop().await;
}

/// Goal: whatever stops a change, nothing of it is left, and its entity says so. Method: a change that is canceled while
/// its tests run, and one whose task fails there.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_canceled_is_rolled_back() {
    let stage = Stage::new("flow-change-cancel", true).await;
    let head = stage.head();
    let slow = format!("import time\n{TESTS}    time.sleep(60)\n");
    stage.schedule("c", json!({"files": [{"path": "test_lib.py", "text": slow}]})).await;
    stage.waits("c").await;
    stage.approve("c").await;
    eventually("the tests to run", || async {
        steps(&stage.bus, "c").await.contains(&"tests-started".to_owned()).then_some(())
    })
    .await;
    let cancel = Change::Cancel { reason: "a leak".into() };
    accepted(&stage.bus, &command("c", &cancel).caller("ann")).await;
    eventually("the end of the change", || async {
        (steps(&stage.bus, "c").await.last()? == "rolled-back").then_some(())
    })
    .await;
    let last = steps(&stage.bus, "c").await;
    assert_eq!(last[last.len() - 3..], ["cancel-requested", "stopped", "rolled-back"]);
    let late = command("c", &Change::Record(Step::Merged { commit: "a".repeat(40).into() }));
    assert_eq!(refused(&stage.bus, &late).await, "change-over");
    assert_eq!(stage.head(), head);
    stage.assert_clean();
    stage.host.stop().await;
}

/// Goal: without the setting nobody can begin a change, and reading works. Method: the flag off.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_files_are_only_read() {
    let stage = Stage::new("flow-change-off", false).await;
    let writer = |skill: &str| Submit { skill: skill.into(), ..Submit::new("write") };
    let plan = Plan { steps: vec![step("w", "git-commit", &[])] };
    let recurrence = Recurrence::Every { every_ms: 60_000 };
    for ask in [
        command("c", &stage.submit("lib.py", BETTER, json!({}))),
        command("c", &stage.scheduled(json!({}))),
        command("c", &Command::Submit(writer("write-file"))),
        command("c", &Command::Submit(Submit { plan: Some(plan), ..Submit::new("write") })),
        command("c", &schedule::Command::Create { recurrence, task: writer("git-merge") }),
    ] {
        assert_eq!(refused(&stage.bus, &ask).await, "code-write-disabled");
    }
    let cards: Vec<_> =
        actors_agents::shipped(&Tools::default()).own.iter().map(|(agent, _)| agent.card()).collect();
    let skills: Vec<_> = cards.iter().flat_map(|card| &card.skills).map(|skill| skill.id.as_str()).collect();
    for writer in actors_logic::change::WRITERS {
        assert!(!skills.contains(&writer), "`{writer}` is offered");
    }
    for (key, skill, input) in [
        ("list", "list-files", json!({"workspace": stage.repo})),
        ("read", "read-file", json!({"workspace": stage.repo, "path": "lib.py"})),
    ] {
        let read = Submit { skill: skill.into(), input, ..Submit::new(skill) };
        accepted(&stage.bus, &command(key, &Command::Submit(read))).await;
        stage.result(key).await;
    }
    stage.host.stop().await;
}
