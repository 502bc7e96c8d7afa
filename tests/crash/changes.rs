//! A kill at every boundary of every effect of a change: the change is there, and once. The same for a guarded change,
//! which is there as it was approved, or not at all.

use std::path::Path;
use std::process::Command as Program;

use actors_worker::crash::EFFECT_POINTS;
use bus_client::Profile;
use bus_schemas::EntityAddress;
use bus_schemas::Revision;
use bus_schemas::commands::approval;
use bus_schemas::commands::change::{self, FileChange, Schedule};
use bus_schemas::commands::task::{Command, Plan, PlanStep, Query, Submit};
use bus_schemas::views::task::{Task, TaskState};
use futures::StreamExt;
use serde_json::{Value, json};
use system_tests::agents::small_repository;
use system_tests::{Server, accepted, command, eventually, query, view};

use crate::process::Process;

/// Systems side by side: they wait for lost workers most of the time.
const SIDE_BY_SIDE: usize = 10;
/// The effects of the plan, each of one step.
const EFFECTS: usize = 4;

fn git(repo: &Path, arguments: &[&str]) -> String {
    let done = Program::new("git").arg("-C").arg(repo).args(arguments).output().expect("git runs");
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

fn step(name: &str, skill: &str, after: &[&str], input: Value) -> PlanStep {
    PlanStep { input, ..system_tests::agents::step(name, skill, after) }
}

/// A tree, a file in it, its commit, and the merge into the branch that is checked out.
fn plan(repo: &Path) -> Plan {
    let content = json!({"worktree": "w", "path": "deep/new.py", "expected": null, "text": "x = 1\n"});
    let merge = json!({"repo": repo, "branch": "topic", "target": "main"});
    Plan {
        steps: vec![
            step(
                "tree",
                "git-worktree",
                &[],
                json!({"repo": repo, "name": "w", "branch": "topic", "writes": ["deep"]}),
            ),
            step("file", "write-file", &["tree"], content),
            step("commit", "git-commit", &["file"], json!({"worktree": "w", "message": "A file"})),
            step("merge", "git-merge", &["commit"], merge),
        ],
    }
}

async fn killed_at(place: &str) {
    let server = Server::start(Profile::Fast).await;
    let repo = server.directory().join("work/repo");
    std::fs::create_dir_all(&repo).expect("a folder");
    small_repository(&repo);
    let mut host = Process::begin(&server, "host", true, Some(place));
    let bus = server.bus().await;
    let submit = Submit { plan: Some(plan(&repo)), ..Submit::new("a change") };
    let working = async {
        accepted(&bus, &command("t", &Command::Submit(submit))).await;
        eventually(&format!("the end of the task after a kill at `{place}`"), || async {
            let task: Task = view(&bus, &query("t", &Query::Describe)).await?;
            task.state.is_final().then_some(task)
        })
        .await
    };
    let dying = async {
        assert!(host.aborted().await, "`{place}` was passed and killed the host: {}", host.log());
        host.restart().await;
    };
    let (task, ()) = tokio::join!(working, dying);
    assert_eq!(task.state, TaskState::Completed, "`{place}`: {task:?}; {}", host.log());
    // The counter is outside: the repository, by the program that people use.
    assert_eq!(git(&repo, &["show", "main:deep/new.py"]), "x = 1", "{place}");
    assert_eq!(
        git(&repo, &["log", "--format=%s", "main"]),
        "Merge topic into main\nA file\nBegin",
        "{place}"
    );
    assert_eq!(git(&repo, &["status", "--porcelain"]), "", "{place}: the tree shows the merge");
    let reflog = git(&repo, &["reflog", "show", "--format=%gs", "main"]);
    assert_eq!(reflog.matches("orrery").count(), 1, "{place}: {reflog}");
    let reflog = git(&repo, &["reflog", "show", "--format=%gs", "topic"]);
    assert_eq!(reflog.matches("orrery").count(), 2, "{place}: made, and moved once: {reflog}");
    let tree = server.directory().join("host/worktrees/w");
    assert_eq!(git(&tree, &["status", "--porcelain"]), "", "{place}: the tree knows its commit");
    let left: Vec<_> = std::fs::read_dir(tree.join("deep")).expect("a folder").collect();
    assert_eq!(left.len(), 1, "{place}: nothing is left on the way");
}

/// Goal: wherever the process dies, a change is done once. Method: a plan of four effects; a kill at each boundary of
/// each; then what git says.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_boundary_of_an_effect_leaves_one_change() {
    let places =
        EFFECT_POINTS.iter().flat_map(|point| (1..=EFFECTS).map(move |pass| format!("{point}:{pass}")));
    let mut runs = futures::stream::iter(places.map(|place| async move { killed_at(&place).await }))
        .buffer_unordered(SIDE_BY_SIDE);
    while runs.next().await.is_some() {}
}

/// The effects of a guarded change, in order.
const BRANCH: usize = 1;
const MERGE: usize = 2;
const DROP: usize = 3;
/// Guarded changes side by side: each runs a test in a container.
const GUARDED_AT_ONCE: usize = 4;
const TESTS: &str = "from lib import one\n\n\ndef test_one():\n    assert one() == 1\n";

async fn events(bus: &bus_client::Bus, address: &str) -> Vec<Value> {
    let entity: EntityAddress = address.parse().expect("an address");
    let history = bus.history(&entity, Revision(0), 0).await.unwrap_or_default();
    history.iter().map(|stored| serde_json::from_slice(&stored.event.body).expect("JSON")).collect()
}

/// A person who approves what is asked.
async fn approve(bus: &bus_client::Bus) {
    let asked =
        eventually("the request", || async { events(bus, "approval/c").await.into_iter().next() }).await;
    let calls = asked["tools"].as_array().expect("calls");
    let ids = calls.iter().map(|call| call["id"].as_str().expect("an id").into()).collect();
    accepted(bus, &command("c", &approval::Command::Approve { ids }).caller("ann")).await;
}

async fn guarded_killed_at(place: &str) {
    let server = Server::start(Profile::Fast).await;
    let repo = server.directory().join("work/repo");
    std::fs::create_dir_all(&repo).expect("a folder");
    small_repository(&repo);
    std::fs::write(server.directory().join("engine"), system_tests::sandboxes::engine::socket())
        .expect("a file");
    let mut host = Process::begin(&server, "host", true, Some(place));
    let bus = server.bus().await;
    let file = |path: &str, text: &str| FileChange { path: path.into(), text: Some(text.into()) };
    let change = Schedule {
        repo: repo.display().to_string(),
        target: "main".into(),
        files: vec![file("lib.py", "def one():\n    return 1\n"), file("test_lib.py", TESTS)],
        message: "One".into(),
        expect: Vec::new(),
        dry_run: false,
        full_base: false,
        ground: None,
    };
    let working = async {
        accepted(&bus, &command("c", &change::Command::Schedule(change)).caller("ada")).await;
        approve(&bus).await;
        eventually(&format!("the end of the change after a kill at `{place}`"), || async {
            events(&bus, "change/c").await.into_iter().find(|event| event["type"] == "merged")
        })
        .await;
        eventually("the end of its task", || async {
            let task: Task = view(&bus, &query("c", &Query::Describe)).await?;
            task.state.is_final().then_some(task)
        })
        .await
    };
    let dying = async {
        assert!(host.aborted().await, "`{place}` was passed and killed the host: {}", host.log());
        host.restart().await;
    };
    let (task, ()) = tokio::join!(working, dying);
    assert_eq!(task.state, TaskState::Completed, "`{place}`: {task:?}; {}", host.log());
    let names: Vec<_> = events(&bus, "change/c").await.iter().map(|event| event["type"].clone()).collect();
    let mut once = names.clone();
    once.dedup();
    assert_eq!(names, once, "{place}: every step is there once");
    assert_eq!(
        git(&repo, &["log", "--topo-order", "--format=%s", "main"]),
        "One\nOne\nBegin",
        "{place}: the commit and its merge"
    );
    assert_eq!(git(&repo, &["status", "--porcelain"]), "", "{place}: the tree shows the merge");
    assert_eq!(git(&repo, &["branch", "--format=%(refname:short)"]), "main", "{place}: its branch is gone");
    let trees = std::fs::read_dir(server.directory().join("host/worktrees")).expect("a folder");
    let left = trees.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert_eq!(left.filter(|name| !name.starts_with('.')).count(), 0, "{place}: its tree is gone");
}

/// Goal: wherever the process dies, an approved change is merged once, and nothing else is left. Method: a scheduled
/// change that a person approves; a kill at each boundary of the merge, and before and after its other effects; then
/// what git says.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_every_boundary_of_a_guarded_change_leaves_it_as_approved() {
    let at = |points: &[&str], pass: usize| {
        points.iter().map(|point| format!("{point}:{pass}")).collect::<Vec<_>>()
    };
    let around = ["before-call", "after-call"];
    let mut places = [at(&around, BRANCH), at(&EFFECT_POINTS, MERGE), at(&around, DROP)].concat();
    // The first one waits until the engine has the images.
    guarded_killed_at(&places.remove(0)).await;
    let mut runs =
        futures::stream::iter(places.into_iter().map(|place| async move { guarded_killed_at(&place).await }))
            .buffer_unordered(GUARDED_AT_ONCE);
    while runs.next().await.is_some() {}
}
