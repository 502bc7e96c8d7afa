//! The agents `filesystem` and `git` at work, on real repositories.

use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;

use actors_agents::{CodeWrite, Tools, Workspaces};
use actors_host::Running;
use bus_client::{Bus, Profile};
use bus_schemas::Hash;
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::views::task::Task;
use serde_json::{Value, json};
use system_tests::agents::small_repository;
use system_tests::replays::assert_same;
use system_tests::{Server, accepted, command};

use crate::tester::{ended, results};

pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    let done =
        Program::new("git").arg("-C").arg(folder).args(identity).args(arguments).output().expect("git runs");
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}

/// A system whose agents may write below one folder, with a repository in it.
struct Stage {
    server: Server,
    host: Running,
    bus: Bus,
    repo: PathBuf,
}

impl Stage {
    async fn new(may_write: bool) -> Self {
        let server = Server::start(Profile::Fast).await;
        let work = server.directory().join("work");
        let repo = work.join("repo");
        std::fs::create_dir_all(&repo).expect("a folder");
        small_repository(&repo);
        let roots = if may_write { vec![work] } else { Vec::new() };
        let workspaces = Workspaces::new(&roots, &server.directory().join("a")).expect("folders");
        let workspaces = workspaces.writable(CodeWrite::new(&[], &[], 1 << 20).expect("rules"));
        let tools = Tools { workspaces: Arc::new(workspaces), ..Tools::default() };
        let host = server.host_of("a", &tools).await;
        let bus = server.bus().await;
        Self { server, host, bus, repo }
    }

    async fn submit(&self, key: &str, skill: &str, input: Value) {
        let submit = Submit { skill: skill.into(), input, ..Submit::new(skill) };
        accepted(&self.bus, &command(key, &Command::Submit(submit))).await;
    }

    async fn run(&self, key: &str, skill: &str, input: Value) -> Task {
        self.submit(key, skill, input).await;
        ended(&self.bus, key).await
    }

    /// The result of a task that must complete.
    async fn done(&self, key: &str, skill: &str, input: Value) -> Value {
        let task = self.run(key, skill, input).await;
        assert!(task.failure.is_none(), "{task:?}");
        task.result
    }

    /// The code with which a task must fail.
    async fn refused(&self, key: &str, skill: &str, input: Value) -> String {
        let task = self.run(key, skill, input).await;
        task.failure.unwrap_or_else(|| panic!("`{key}` is not refused: {:?}", task.result)).code
    }
}

/// Goal: agents list, read, search and write files, and a repeat or a race is refused. Method: each skill on one tree.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_listed_read_searched_and_written() {
    let stage = Stage::new(true).await;
    let repo = &stage.repo;
    let listed = stage.run("list", "list-files", json!({"workspace": repo, "depth": 9})).await;
    assert_eq!(listed.result, json!({"entries": 2, "truncated": false}), "{listed:?}");
    assert_eq!(results(&stage.bus, &listed).await["entries"][0]["path"], "README.md");
    let read = stage.run("read", "read-file", json!({"workspace": repo, "path": "main.py"})).await;
    let content = std::fs::read(repo.join("main.py")).expect("a file");
    assert_eq!(read.result["hash"], json!(Hash::of(&content)), "{read:?}");
    assert_eq!(stage.bus.get_blob(read.artifacts[0].hash).await.expect("a blob"), content);
    let found = stage
        .run("search", "search-files", json!({"workspace": repo, "text": "todo", "ignore_case": true}))
        .await;
    let found = results(&stage.bus, &found).await;
    assert_eq!((&found["matches"][0]["path"], &found["matches"][0]["line"]), (&json!("main.py"), &json!(1)));

    let write = |expected: &Value, text: &str| json!({"workspace": repo, "path": "main.py", "expected": expected, "text": text});
    let written = stage.done("write", "write-file", write(&read.result["hash"], "print('new')\n")).await;
    assert_eq!(written["bytes"], 13);
    assert_eq!(std::fs::read_to_string(repo.join("main.py")).expect("a file"), "print('new')\n");
    assert_eq!(
        stage.refused("again", "write-file", write(&read.result["hash"], "other")).await,
        "content-changed"
    );
    for (key, path, code) in [
        ("up", "../x", "path-refused"),
        ("absolute", "/etc/passwd", "path-refused"),
        ("git", ".git/config", "path-refused"),
        ("capital", ".GIT/hooks/pre-commit", "path-refused"),
    ] {
        let input = json!({"workspace": repo, "path": path, "expected": null, "text": "x"});
        assert_eq!(stage.refused(key, "write-file", input).await, code);
    }
    let outside = json!({"workspace": stage.server.directory(), "path": "x", "expected": null, "text": "x"});
    assert_eq!(stage.refused("outside", "write-file", outside).await, "workspace-not-allowed");
    // What they did can be looked at again by a process that may read and write nothing.
    std::fs::remove_dir_all(repo).expect("it is there");
    let tasks = ["list", "read", "search", "write", "again", "up", "outside"];
    assert_same(&stage.bus, &tasks).await;
    stage.host.stop().await;
}

/// Goal: an input that does not fit is refused before the agent sees it, and the message names the place.
#[tokio::test(flavor = "multi_thread")]
async fn an_input_is_held_against_its_schema() {
    let stage = Stage::new(false).await;
    for (key, skill, input, place) in [
        ("a", "list-files", json!({"workspace": "/x", "depth": 0}), "input/depth"),
        ("b", "read-file", json!({"workspace": "/x"}), "\"path\" is a required property"),
        (
            "c",
            "write-file",
            json!({"workspace": "/x", "path": "a", "text": "x"}),
            "\"expected\" is a required property",
        ),
        ("d", "git-log", json!({"repo": "/x", "cuont": 1}), "cuont"),
        ("e", "git-commit", json!({"message": ""}), "input/message"),
        ("f", "inventory", json!(null), "null"),
    ] {
        let failure = stage.run(key, skill, input).await.failure.expect("it is refused");
        assert_eq!(failure.code, "invalid-input", "{key}: {failure:?}");
        assert!(failure.message.contains(place), "{key}: {failure:?}");
    }
    // Without a setting a working copy may be read, and nothing is written.
    stage.done("list", "list-files", json!({"workspace": stage.repo})).await;
    stage.done("status", "git-status", json!({"repo": stage.repo})).await;
    let write = json!({"workspace": stage.repo, "path": "x", "expected": null, "text": "x"});
    assert_eq!(stage.refused("write", "write-file", write).await, "workspace-not-allowed");
    let branch = json!({"repo": stage.repo, "name": "x"});
    assert_eq!(stage.refused("branch", "git-branch", branch).await, "workspace-not-allowed");
    assert_same(&stage.bus, &["a", "b", "c", "d", "e", "f", "list", "status", "write", "branch"]).await;
    stage.host.stop().await;
}

/// Goal: several agents work on one repository: each in a tree of its own with the paths that it declares, and all of it
/// is merged while nobody's files are touched. Method: trees, files, commits; merges at once.
#[tokio::test(flavor = "multi_thread")]
async fn several_agents_change_one_repository() {
    let stage = Stage::new(true).await;
    let repo = &stage.repo;
    git(repo, &["branch", "target"]);
    std::fs::write(repo.join("main.py"), "of the user\n").expect("a file");
    for name in ["a", "b", "c"] {
        let tree = json!({"repo": repo, "name": name, "writes": [format!("{name}/")]});
        let made = stage.done(&format!("{name}-tree"), "git-worktree", tree).await;
        assert_eq!(made["branch"], format!("orrery/{name}"));
        let file =
            json!({"worktree": name, "path": format!("{name}/new.py"), "expected": null, "text": "x = 1\n"});
        stage.done(&format!("{name}-file"), "write-file", file).await;
        let commit = json!({"worktree": name, "message": format!("Add {name}")});
        let committed = stage.done(&format!("{name}-commit"), "git-commit", commit).await;
        assert_eq!(committed["paths"], json!([format!("{name}/new.py")]));
    }
    let overlap = json!({"repo": repo, "name": "d", "writes": ["a/new.py"]});
    assert_eq!(stage.refused("overlap", "git-worktree", overlap).await, "write-set-overlap");
    let stray = json!({"worktree": "a", "path": "main.py", "expected": Hash::of(b"# TODO: more\nprint('hello')\n"), "text": "y"});
    stage.done("stray", "write-file", stray).await;
    assert_eq!(
        stage.refused("stray-commit", "git-commit", json!({"worktree": "a", "message": "x"})).await,
        "outside-write-set"
    );

    let merge = |name: &str, target: &str| json!({"repo": repo, "branch": format!("orrery/{name}"), "target": target});
    assert_eq!(stage.refused("dirty", "git-merge", merge("a", "main")).await, "tree-dirty");
    let checked = stage.done("check", "git-merge-check", merge("a", "target")).await;
    assert_eq!((&checked["merged"], &checked["changed"]), (&json!(false), &json!(1)));
    for name in ["a", "b", "c"] {
        stage.submit(&format!("{name}-merge"), "git-merge", merge(name, "target")).await;
    }
    for name in ["a", "b", "c"] {
        let merged = ended(&stage.bus, &format!("{name}-merge")).await;
        assert_eq!(merged.result["tree"], "none", "{merged:?}");
        assert_eq!(git(repo, &["show", &format!("target:{name}/new.py")]), "x = 1");
    }
    assert_eq!(git(repo, &["log", "--merges", "--format=%s", "target"]).lines().count(), 3);
    assert!(git(repo, &["log", "-1", "--format=%b", "orrery/b"]).contains("Orrery-Task: b-commit"));
    assert_eq!(std::fs::read_to_string(repo.join("main.py")).expect("a file"), "of the user\n");
    assert_eq!(git(repo, &["status", "--porcelain"]), " M main.py");

    assert_eq!(stage.refused("keep", "git-worktree-remove", json!({"name": "a"})).await, "tree-dirty");
    stage.done("drop", "git-worktree-remove", json!({"name": "a", "discard": true})).await;
    stage.done("again", "git-worktree", json!({"repo": repo, "name": "d", "writes": ["a/new.py"]})).await;
    let tasks = [
        "a-tree",
        "a-file",
        "a-commit",
        "overlap",
        "stray-commit",
        "dirty",
        "check",
        "b-merge",
        "keep",
        "drop",
    ];
    assert_same(&stage.bus, &tasks).await;
    stage.host.stop().await;
}
