//! Status, history, blame and differences.

use std::fs;

use actors_workspace::{Access, Repository, WorkspacePath};

use crate::{Stage, code, git, go_on};

fn path(text: &str) -> WorkspacePath {
    WorkspacePath::parse(text).expect("a path")
}

#[test]
fn what_git_knows_is_read() {
    for arguments in [&[][..], &["--object-format=sha256"]] {
        let stage = Stage::with(arguments);
        let repository = stage.open();
        let head = repository.commit_id("HEAD", &go_on).expect("a commit");
        assert_eq!(head, stage.git(&["rev-parse", "HEAD"]));
        let log = repository.log(&head, None, 10, &go_on).expect("a log");
        let said: Vec<_> = log
            .iter()
            .map(|commit| (commit.subject.as_str(), commit.author.as_str(), commit.parents.len()))
            .collect();
        assert_eq!(said, [("second", "Ada", 1), ("first", "Ada", 0)]);
        assert_eq!(repository.log(&head, Some(&path("src")), 10, &go_on).expect("a log").len(), 1);
        assert_eq!(repository.log(&head, None, 1, &go_on).expect("a log").len(), 1);
        let blamed = repository.blame(&head, &path("a.txt"), 1, 100, &go_on).expect("a blame");
        let lines: Vec<_> =
            blamed.iter().map(|line| (line.line, line.text.as_str(), line.commit == head)).collect();
        assert_eq!(lines, [(1, "one", false), (2, "2", true)]);
        assert_eq!(code(repository.blame(&head, &path("a.txt"), 7, 1, &go_on)), "invalid-input");
        assert_eq!(code(repository.blame(&head, &path("b.txt"), 1, 1, &go_on)), "path-missing");
        let diff = repository.diff(&log[1].id, Some(&head), None, &go_on).expect("a diff");
        assert_eq!((diff.files.len(), diff.files[0].added, diff.files[0].removed), (1, Some(1), Some(1)));
        assert!(String::from_utf8_lossy(&diff.patch).contains("-two\n+2\n"), "{diff:?}");

        assert!(repository.status(&go_on).expect("a status").entries.is_empty());
        stage.file("a.txt", "one\n3\n");
        stage.file("b.txt", "new");
        stage.git(&["rm", "-q", "src/lib.py"]);
        let status = repository.status(&go_on).expect("a status");
        assert_eq!((status.branch.as_deref(), status.commit.as_deref()), (Some("main"), Some(head.as_str())));
        let said: Vec<_> =
            status.entries.iter().map(|entry| (entry.state.as_str(), entry.path.as_str())).collect();
        assert_eq!(said, [(" M", "a.txt"), ("D ", "src/lib.py"), ("??", "b.txt")]);
        let diff = repository.diff(&head, None, Some(&path("a.txt")), &go_on).expect("a diff");
        assert!(String::from_utf8_lossy(&diff.patch).contains("-2\n+3\n"), "{diff:?}");
    }
}

#[test]
fn reading_changes_nothing() {
    let stage = Stage::plain();
    // A file with another time makes git refresh its index, unless it is told not to.
    stage.file("a.txt", "one\n2\n");
    let before = stage.snapshot();
    let repository = stage.open();
    repository.status(&go_on).expect("a status");
    let head = repository.commit_id("main", &go_on).expect("a commit");
    repository.diff(&head, None, None, &go_on).expect("a diff");
    repository.branches(&go_on).expect("branches");
    assert_eq!(stage.snapshot(), before);
}

#[test]
fn names_are_no_options_and_no_way_out() {
    let stage = Stage::plain();
    let repository = stage.open();
    for bad in ["", "-x", "--output=/tmp/x", "a b", "a\0b", "HEAD:a.txt", "$(x)", &"a".repeat(300)] {
        assert_eq!(code(repository.commit_id(bad, &go_on)), "invalid-input", "{bad:?}");
    }
    for bad in ["gone", "refs/heads/gone", "main~99", "0000000000000000000000000000000000000000"] {
        assert_eq!(code(repository.commit_id(bad, &go_on)), "ref-missing", "{bad:?}");
    }
    for bad in ["-x", "a..b", "a/.b", "a.lock", "@", "HEAD", "a~b", "", "a//b", "a b"] {
        assert_eq!(code(repository.branch(bad, &go_on)), "invalid-input", "{bad:?}");
    }
}

#[test]
fn shallow_clones_worktrees_and_empty_repositories_are_read() {
    let stage = Stage::plain();
    let clone = stage.repo().join("clone");
    git(
        &stage.repo(),
        &["clone", "-q", "--depth", "1", &format!("file://{}", stage.repo().display()), "clone"],
    );
    let shallow = Repository::open(&clone, &stage.roots(), Access::Read, &go_on).expect("a repository");
    let head = shallow.commit_id("HEAD", &go_on).expect("a commit");
    assert_eq!(shallow.log(&head, None, 10, &go_on).expect("a log").len(), 1);
    stage.git(&["worktree", "add", "-q", "-b", "other", "linked"]);
    let linked = Repository::open(&stage.repo().join("linked"), &stage.roots(), Access::Read, &go_on)
        .expect("a repository");
    assert_eq!(linked.status(&go_on).expect("a status").branch.as_deref(), Some("other"));
    fs::create_dir(stage.repo().join("empty")).expect("a folder");
    git(&stage.repo().join("empty"), &["init", "-q", "-b", "main"]);
    let empty = Repository::open(&stage.repo().join("empty"), &stage.roots(), Access::Read, &go_on)
        .expect("a repository");
    assert_eq!(empty.status(&go_on).expect("a status").commit, None);
    assert_eq!(code(empty.commit_id("HEAD", &go_on)), "ref-missing");
    let roots = stage.roots();
    assert_eq!(
        code(Repository::open(&stage.repo().join("src"), &roots, Access::Read, &go_on)),
        "not-a-repository"
    );
    // A `.git` that leads out of the allowed folders is not followed.
    let outside = tempfile::tempdir().expect("a folder");
    git(outside.path(), &["init", "-q"]);
    fs::create_dir(stage.repo().join("lured")).expect("a folder");
    fs::write(stage.repo().join("lured/.git"), format!("gitdir: {}/.git\n", outside.path().display()))
        .expect("a file");
    assert_eq!(
        code(Repository::open(&stage.repo().join("lured"), &roots, Access::Read, &go_on)),
        "workspace-not-allowed"
    );
}
