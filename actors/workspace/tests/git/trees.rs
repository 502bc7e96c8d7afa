//! Trees of tasks: made, committed from, removed.

use std::fs;

use actors_workspace::{Access, Declared, Error, WorkspacePath, WriteSet};

use crate::{Stage, by, code, git, go_on};

fn declared(stage: &Stage, branch: &str, writes: &[&str]) -> Declared {
    let writes: Vec<String> = writes.iter().map(ToString::to_string).collect();
    let base = stage.git(&["rev-parse", "HEAD"]);
    Declared {
        repo: stage.repo(),
        branch: branch.into(),
        base,
        writes: WriteSet::parse(&writes).expect("paths"),
    }
}

#[test]
fn a_task_commits_from_a_tree_of_its_own() {
    for arguments in [&[][..], &["--object-format=sha256"]] {
        let stage = Stage::with(arguments);
        stage.file("dirty.txt", "of the user\n");
        let before = stage.snapshot();
        let (repository, trees, roots) = (stage.open(), stage.trees(), stage.roots());
        let wanted = declared(&stage, "orrery/t", &["src"]);
        let tree = trees.make(&repository, "t", &wanted, &go_on).expect("a tree");
        assert_eq!(trees.make(&repository, "t", &wanted, &go_on).expect("the same"), tree);
        assert_eq!(fs::read_to_string(tree.path.join("a.txt")).expect("a file"), "one\n2\n");
        assert_eq!(git(&tree.path, &["status", "--porcelain"]), "", "it is a working copy");
        assert!(
            trees.write_commit(&repository, &tree, "Nothing", &by(), &go_on).expect("no commit").is_none()
        );
        // It is a workspace for the other agents too.
        let folder = roots.open(&tree.path, Access::Write).expect("a workspace");
        let path = WorkspacePath::parse("src/new.py").expect("a path");
        folder.write(&path, b"y = 2\n", actors_workspace::Existing::Absent, "k").expect("a file");
        let write = || trees.write_commit(&repository, &tree, "A file\n\nOrrery-Task: t", &by(), &go_on);
        let (commit, parent, changed) = write().expect("a commit").expect("a change");
        assert_eq!(changed, ["src/new.py"]);
        assert_eq!(write().expect("a commit").expect("a change").0, commit, "the same commit again");
        repository.move_branch("orrery/t", &commit, Some(&parent), "test", &go_on).expect("it moves");
        trees.advance(&tree, &commit, &go_on).expect("it knows");
        assert_eq!(git(&tree.path, &["status", "--porcelain"]), "");
        assert_eq!(stage.git(&["log", "--format=%s %an", "-1", "orrery/t"]), "A file Orrery");
        assert!(write().expect("no commit").is_none());
        fs::write(tree.path.join("left"), "x").expect("a file");
        assert_eq!(code(trees.remove("t", &roots, false, &go_on)), "tree-dirty");
        assert!(trees.remove("t", &roots, true, &go_on).expect("it is removed"));
        assert!(!trees.remove("t", &roots, true, &go_on).expect("it is gone"));
        stage.git(&["branch", "-q", "-D", "orrery/t"]);
        let _ = fs::remove_dir(stage.repo().join(".git/refs/heads/orrery"));
        assert_eq!(stage.snapshot(), before, "the user's tree and git folder are as they were");
    }
}

#[test]
fn what_is_not_declared_is_not_committed() {
    let stage = Stage::plain();
    let (repository, trees) = (stage.open(), stage.trees());
    let tree = trees.make(&repository, "t", &declared(&stage, "t", &["src/"]), &go_on).expect("a tree");
    fs::write(tree.path.join("a.txt"), "x").expect("a file");
    let commit = || trees.write_commit(&repository, &tree, "A file", &by(), &go_on);
    assert_eq!(code(commit()), "outside-write-set");
    git(&tree.path, &["checkout", "-q", "a.txt"]);
    fs::remove_file(tree.path.join("src/lib.py")).expect("a file");
    assert!(commit().is_ok(), "a removal is a change");
    for message in ["", " \n", "a\0b", &"x".repeat(20_000)] {
        assert_eq!(code(trees.write_commit(&repository, &tree, message, &by(), &go_on)), "invalid-input");
    }
    fs::create_dir(tree.path.join("src/inner")).expect("a folder");
    git(&tree.path.join("src/inner"), &["init", "-q"]);
    git(&tree.path.join("src/inner"), &["commit", "-q", "--allow-empty", "-m", "x"]);
    assert_eq!(code(commit()), "invalid-input", "a repository in a tree");
}

#[test]
fn two_open_trees_never_declare_one_path() {
    let stage = Stage::plain();
    let (repository, trees, roots) = (stage.open(), stage.trees(), stage.roots());
    let make =
        |name: &str, writes: &[&str]| trees.make(&repository, name, &declared(&stage, name, writes), &go_on);
    make("a", &["src", "pages/a.md"]).expect("a tree");
    make("b", &["pages/b.md", "srcs"]).expect("a tree");
    for (writes, path) in
        [(&["src/lib.py"][..], "src/lib.py"), (&["pages"], "pages/a.md"), (&[], "pages/a.md")]
    {
        let error = make("c", writes).expect_err("they overlap");
        assert!(
            matches!(&error, Error::WriteSetOverlap { path: found, other } if found == path && other == "a"),
            "{error}"
        );
    }
    let error = make("a", &["other"]).expect_err("it is taken");
    assert_eq!(error.code(), "worktree-taken");
    trees.remove("a", &roots, false, &go_on).expect("it is removed");
    make("c", &["src/lib.py"]).expect("the path is free");
    for bad in ["", "..", ".x", "a/b", "a b", &"a".repeat(65), "x.json"] {
        assert_eq!(code(make(bad, &["z"])), "invalid-input", "{bad}");
    }
    assert_eq!(code(trees.get("gone")), "worktree-missing");
    assert!(
        WriteSet::parse(&["../x".to_owned()]).is_err() && WriteSet::parse(&[".git/x".to_owned()]).is_err()
    );
}

#[test]
fn of_those_who_declare_at_once_one_gets_the_path() {
    let stage = Stage::plain();
    let (repository, trees) = (stage.open(), stage.trees());
    let made = std::thread::scope(|scope| {
        let make = |number: usize| {
            let wanted = declared(&stage, &format!("t{number}"), &["src"]);
            trees.make(&repository, &format!("t{number}"), &wanted, &go_on).is_ok()
        };
        let makers: Vec<_> = (0..8).map(|number| scope.spawn(move || make(number))).collect();
        makers
            .into_iter()
            .filter(|_| true)
            .map(|maker| maker.join().expect("no panic"))
            .filter(|made| *made)
            .count()
    });
    assert_eq!(made, 1);
}

#[test]
fn a_branch_that_moved_is_not_committed_over() {
    let stage = Stage::plain();
    let (repository, trees) = (stage.open(), stage.trees());
    let tree = trees.make(&repository, "t", &declared(&stage, "t", &[]), &go_on).expect("a tree");
    fs::write(tree.path.join("a.txt"), "x").expect("a file");
    stage.git(&["branch", "-f", "t", "main~1"]);
    assert_eq!(code(trees.write_commit(&repository, &tree, "A file", &by(), &go_on)), "ref-moved");
}
