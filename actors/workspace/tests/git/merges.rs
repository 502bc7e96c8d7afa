//! Merges, and branches that move under them.

use std::fs;

use actors_workspace::Error;

use crate::{Stage, by, code, go_on};

/// A branch `topic` from the first commit that changes a file.
fn topic(stage: &Stage, file: &str, text: &str) {
    stage.git(&["checkout", "-q", "-b", "topic", "main~1"]);
    stage.file(file, text);
    stage.commit("topic");
    stage.git(&["checkout", "-q", "main"]);
}

#[test]
fn a_merge_moves_a_target_that_is_where_it_was() {
    let stage = Stage::plain();
    topic(&stage, "b.txt", "b\n");
    stage.git(&["branch", "target"]);
    let before = stage.git(&["rev-parse", "main"]);
    let repository = stage.open();
    let merge = repository.merge_check("topic", "target", &go_on).expect("a merge");
    assert_eq!((merge.changed.clone(), merge.is_merged), (vec!["b.txt".to_owned()], false));
    let commit = repository.write_merge(&merge, "Merge topic", &by(), &go_on).expect("a commit");
    assert_eq!(stage.git(&["rev-parse", "target"]), before, "nothing has moved yet");
    repository.move_branch("target", &commit, Some(&merge.target), "test", &go_on).expect("it moves");
    assert_eq!(stage.git(&["show", "target:b.txt"]), "b");
    assert_eq!(
        stage.git(&["log", "-1", "--format=%s %P", "target"]),
        format!("Merge topic {} {}", merge.target, merge.source)
    );
    let error = repository
        .move_branch("target", &before, Some(&merge.target), "test", &go_on)
        .expect_err("it has moved");
    assert!(matches!(&error, Error::RefMoved { found, .. } if *found == commit), "{error}");
    assert!(repository.contains(&commit, &merge.source, &go_on).expect("an answer"));
    assert!(!repository.contains(&merge.source, &commit, &go_on).expect("an answer"));
    assert!(repository.merge_check("topic", "target", &go_on).expect("a merge").is_merged);
    assert_eq!(code(repository.move_branch("target", &before, None, "test", &go_on)), "ref-moved");
    assert_eq!(code(repository.merge_check("gone", "target", &go_on)), "ref-missing");
    stage.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    assert_eq!(
        code(repository.move_branch("alias", &commit, Some(&before), "test", &go_on)),
        "invalid-input"
    );
    assert_eq!(stage.git(&["rev-parse", "main"]), before);
}

#[test]
fn a_conflict_names_the_files() {
    let stage = Stage::plain();
    topic(&stage, "a.txt", "one\nzwei\n");
    let error = stage.open().merge_check("topic", "main", &go_on).expect_err("a conflict");
    assert!(matches!(&error, Error::MergeConflict { paths, .. } if paths == "a.txt"), "{error}");
    stage.git(&["checkout", "-q", "--orphan", "strange"]);
    stage.commit("strange");
    stage.git(&["checkout", "-q", "main"]);
    assert_eq!(code(stage.open().merge_check("strange", "main", &go_on)), "invalid-input");
}

#[test]
fn a_tree_with_changes_is_left_alone_and_one_without_follows() {
    let stage = Stage::plain();
    topic(&stage, "b.txt", "b\n");
    let repository = stage.open();
    let main = || repository.branch("main", &go_on).expect("a branch").expect("it is there");
    stage.file("a.txt", "of the user\n");
    assert_eq!(code(repository.check_tree(&main(), &go_on)), "tree-dirty");
    stage.git(&["add", "-A"]);
    assert_eq!(code(repository.check_tree(&main(), &go_on)), "tree-dirty");
    stage.git(&["reset", "-q", "--hard"]);
    stage.file("untracked", "of the user\n");
    assert!(repository.check_tree(&main(), &go_on).expect("it may move"));
    let merge = repository.merge_check("topic", "main", &go_on).expect("a merge");
    let commit = repository.write_merge(&merge, "Merge", &by(), &go_on).expect("a commit");
    repository.move_branch("main", &commit, Some(&merge.target), "test", &go_on).expect("it moves");
    assert!(repository.follow(&merge.target, &commit, &go_on).expect("it follows"));
    assert_eq!(stage.git(&["status", "--porcelain"]), "?? untracked");
    assert_eq!(fs::read_to_string(stage.repo().join("b.txt")).expect("a file"), "b\n");
    // Somebody was faster: the file stays as it is.
    stage.file("b.txt", "of the user\n");
    assert!(!repository.follow(&commit, &merge.target, &go_on).expect("it does not follow"));
    assert_eq!(fs::read_to_string(stage.repo().join("b.txt")).expect("a file"), "of the user\n");
    stage.git(&["worktree", "add", "-q", "-b", "elsewhere", "linked"]);
    let elsewhere = repository.branch("elsewhere", &go_on).expect("a branch").expect("it is there");
    assert_eq!(code(repository.check_tree(&elsewhere, &go_on)), "branch-checked-out");
}

/// Goal: of several who merge at once each merge is there in the end. Method: threads that try again when the target
/// has moved.
#[test]
fn merges_at_once_come_one_after_the_other() {
    let stage = Stage::plain();
    for number in 0..6 {
        stage.git(&["checkout", "-q", "-b", &format!("t{number}"), "main"]);
        stage.file(&format!("f{number}"), "x");
        stage.commit("topic");
    }
    stage.git(&["checkout", "-q", "main"]);
    stage.git(&["branch", "target"]);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let stage = &stage;
            scope.spawn(move || {
                let (repository, branch) = (stage.open(), format!("t{number}"));
                for _ in 0..1_000 {
                    let merge = repository.merge_check(&branch, "target", &go_on).expect("a merge");
                    let commit = repository.write_merge(&merge, "Merge", &by(), &go_on).expect("a commit");
                    match repository.move_branch("target", &commit, Some(&merge.target), "test", &go_on) {
                        Ok(()) => return,
                        // Two that write at once also meet at git's own lock.
                        Err(error) => assert!(["ref-moved", "git-failed"].contains(&error.code()), "{error}"),
                    }
                }
                panic!("`{branch}` is never merged");
            });
        }
    });
    assert_eq!(stage.git(&["log", "--merges", "--format=%s", "target"]).lines().count(), 6);
    assert_eq!(
        stage.git(&["ls-tree", "--name-only", "target"]).lines().filter(|name| name.starts_with('f')).count(),
        6
    );
}
