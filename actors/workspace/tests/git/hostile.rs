//! A repository whose configuration names a program for everything that git can run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use actors_workspace::{Declared, WorkspacePath, WriteSet};

use crate::{Stage, by, git, go_on};

/// Every setting by which git runs a program in what agents do, and more.
const SETTINGS: [&str; 26] = [
    "core.fsmonitor",
    "core.pager",
    "core.editor",
    "core.sshCommand",
    "core.askPass",
    "core.gitProxy",
    "core.alternateRefsCommand",
    "diff.external",
    "diff.evil.command",
    "diff.evil.textconv",
    "filter.evil.clean",
    "filter.evil.smudge",
    "filter.evil.process",
    "merge.evil.driver",
    "gpg.program",
    "credential.helper",
    "sequence.editor",
    "interactive.diffFilter",
    "pager.log",
    "pager.status",
    "uploadpack.packObjectsHook",
    "hook.evil.command",
    "trailer.evil.command",
    "gc.recentObjectsHook",
    "alias.status",
    "alias.log",
];
/// Every hook that could run.
const HOOKS: [&str; 12] = [
    "pre-commit",
    "commit-msg",
    "prepare-commit-msg",
    "post-commit",
    "post-checkout",
    "post-merge",
    "pre-merge-commit",
    "reference-transaction",
    "post-index-change",
    "pre-auto-gc",
    "post-rewrite",
    "update",
];

/// Makes a repository run a program wherever git lets it, and says where the program leaves a trace.
fn made_hostile(stage: &Stage) -> PathBuf {
    let (ran, program) = (stage.repo().join("../ran"), stage.repo().join("../evil"));
    fs::write(&program, format!("#!/bin/sh\necho \"$0 $@\" >> {}\ncat\n", ran.display())).expect("a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("rights");
    stage.git(&["branch", "other", "main~1"]);
    let attributes = "* filter=evil diff=evil merge=evil\n";
    stage.file(".gitattributes", attributes);
    fs::create_dir_all(stage.repo().join(".git/info")).expect("a folder");
    fs::write(stage.repo().join(".git/info/attributes"), attributes).expect("a file");
    stage.commit("attributes");
    for hook in HOOKS {
        fs::create_dir_all(stage.repo().join(".git/hooks")).expect("a folder");
        fs::copy(&program, stage.repo().join(".git/hooks").join(hook)).expect("a hook");
    }
    let evil = program.display().to_string();
    for setting in SETTINGS {
        stage.git(&["config", setting, &evil]);
    }
    for (setting, value) in [
        ("core.hooksPath", stage.repo().join(".git/hooks").display().to_string()),
        ("hook.evil.event", "reference-transaction".to_owned()),
        ("filter.evil.required", "true".to_owned()),
        ("log.showSignature", "true".to_owned()),
        ("commit.gpgSign", "true".to_owned()),
    ] {
        stage.git(&["config", setting, &value]);
    }
    ran
}

/// Goal: nothing that a repository names runs. Method: all of it writes to one file; all that agents do is done.
#[test]
fn nothing_that_a_repository_names_runs() {
    let stage = Stage::plain();
    let ran = made_hostile(&stage);
    // It does run when a person calls git: the test would see it.
    let _ = std::process::Command::new("git")
        .current_dir(stage.repo())
        .args(["diff", "HEAD~1"])
        .output()
        .expect("git runs");
    assert!(ran.exists(), "the settings do nothing");
    fs::remove_file(&ran).expect("a file");

    stage.file("a.txt", "changed\n");
    let repository = stage.open();
    let head = repository.commit_id("HEAD", &go_on).expect("a commit");
    repository.status(&go_on).expect("a status");
    repository.log(&head, None, 10, &go_on).expect("a log");
    let path = WorkspacePath::parse("a.txt").expect("a path");
    repository.blame(&head, &path, 1, 10, &go_on).expect("a blame");
    repository.diff(&head, None, None, &go_on).expect("a diff");
    let first = repository.commit_id("main~2", &go_on).expect("a commit");
    repository.diff(&first, Some(&head), None, &go_on).expect("a diff");
    let declared = Declared {
        repo: stage.repo(),
        branch: "task".into(),
        base: head.clone(),
        writes: WriteSet::default(),
    };
    let (trees, roots) = (stage.trees(), stage.roots());
    let tree = trees.make(&repository, "t", &declared, &go_on).expect("a tree");
    fs::write(tree.path.join("a.txt"), "of the task\n").expect("a file");
    let (commit, parent, _) = trees
        .write_commit(&repository, &tree, "A change", &by(), &go_on)
        .expect("a commit")
        .expect("a change");
    repository.move_branch("task", &commit, Some(&parent), "test", &go_on).expect("it moves");
    trees.advance(&tree, &commit, &go_on).expect("it knows");
    let merge = repository.merge_check("task", "other", &go_on).expect("a merge");
    let merged = repository.write_merge(&merge, "Merge", &by(), &go_on).expect("a commit");
    repository.move_branch("other", &merged, Some(&merge.target), "test", &go_on).expect("it moves");
    assert!(trees.remove("t", &roots, false, &go_on).expect("it is removed"));
    assert!(!ran.exists(), "{}", fs::read_to_string(&ran).unwrap_or_default());
    // What was written is what everybody sees.
    let plain = [
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "core.pager=cat",
        "show",
        "--no-ext-diff",
        "--no-textconv",
        "other:a.txt",
    ];
    assert_eq!(git(&stage.repo(), &plain), "of the task");
}
