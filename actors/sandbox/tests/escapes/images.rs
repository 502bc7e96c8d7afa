//! What the images can run, and that an image is what its manifest says.

use std::fs;

use actors_sandbox::{Config, Entry, Error, Files, Image, Kind, Reason, Run, Sandbox, image};

use crate::stage::{self, command, ran};

fn files(all: &[(&str, &'static str)]) -> Files {
    let mut files = Files::new();
    for (path, text) in all {
        files.insert(path, Entry::file(*text)).unwrap();
    }
    files
}

#[tokio::test]
async fn the_python_image_tests_and_checks_programs() {
    let sandbox = stage::sandbox("python-image").await;
    let project = || {
        files(&[
            ("add.py", "import os\n\n\ndef add(a: int, b: int) -> int:\n    return str(a + b)\n"),
            (
                "test_add.py",
                "from add import add\n\ndef test_add():\n    assert add(1, 2) == 3\n\ndef test_other():\n    pass\n",
            ),
            ("danger.py", "import subprocess\nsubprocess.call('ls', shell=True)\n"),
        ])
    };
    let shell = "for c in 'pytest -n 2 --junitxml=report.xml' 'ruff check add.py' 'mypy add.py' 'bandit -q danger.py'; do $c; echo \"ended $?\"; done";
    let run = command(&["sh", "-c", shell]).files(project()).memory(512 * stage::MIB).read_back(stage::MIB);
    let ran = ran(&sandbox, run).await;
    for expected in ["1 failed, 1 passed", "F401", "[return-value]", "B602", "ended 1\n"] {
        assert!(ran.stdout.contains(expected), "no `{expected}` in\n{}\n{}", ran.stdout, ran.stderr);
    }
    assert_eq!(ran.stdout.matches("ended 1\n").count(), 4, "{}", ran.stdout);
    let read = ran.finished.workspace.unwrap().unwrap();
    assert!(read.files.get("report.xml").is_some(), "{:?}", read.files);
    sandbox.close().await;
}

#[tokio::test]
async fn the_node_image_tests_and_checks_programs() {
    let images = vec![(stage::image(Kind::Node), 0)];
    let config = Config { images, ..stage::config("node-image", 0) };
    let sandbox = stage::with(config).await;
    let project = files(&[
        ("eslint.config.mjs", "import js from '@eslint/js';\nexport default [js.configs.recommended];\n"),
        ("a.js", "y();\n"),
        ("a.ts", "const a: number = 'x';\n"),
        (
            "a.test.mjs",
            "import test from 'node:test';\ntest('one', () => {});\ntest('two', () => { throw new Error('no'); });\n",
        ),
    ]);
    let shell = "for c in 'node --test --test-reporter=junit' 'eslint a.js' 'tsc --noEmit a.ts'; do $c; echo \"ended $?\"; done";
    let run = Run::new(Kind::Node, ["sh", "-c", shell]).memory(1024 * stage::MIB).files(project);
    let ran = ran(&sandbox, run).await;
    assert_eq!(ran.finished.reason, Reason::Exited(0), "{}", ran.stderr);
    for expected in ["<testcase name=\"one\"", "<!-- fail 1 -->", "no-undef", "TS2322"] {
        assert!(ran.stdout.contains(expected), "no `{expected}` in\n{}\n{}", ran.stdout, ran.stderr);
    }
    assert_eq!(ran.stdout.matches("ended 0\n").count(), 0, "{}", ran.stdout);
    sandbox.close().await;
}

/// No file of an image has the bits by which a program gets the rights of its owner, and every file has its hash.
#[test]
fn manifests_list_every_file_without_raised_rights() {
    for kind in [Kind::Python, Kind::Node] {
        stage::image(kind);
        let text = fs::read_to_string(stage::images().join(format!("{}.manifest", kind.name()))).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(' ').collect()).collect();
        assert!(lines.len() > 1_000, "{} lines", lines.len());
        for line in &lines {
            let mode = u32::from_str_radix(line[1], 8).unwrap();
            assert!(["file", "folder", "link", "same"].contains(&line[0]) && mode & 0o6000 == 0, "{line:?}");
            assert!(line[0] != "file" || line[2].len() == 64, "{line:?}");
        }
    }
}

/// An image of others loses what raises rights, and devices; the rest is in the manifest.
#[test]
fn an_adopted_image_loses_what_raises_rights() {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, mode) in [
        ("usr/bin/su", tar::EntryType::Regular, 0o4755),
        ("dev/sda", tar::EntryType::Block, 0o666),
        ("var/cache/x", tar::EntryType::Regular, 0o644),
        ("tmp/", tar::EntryType::Directory, 0o1777),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(0);
        archive.append_data(&mut header, name, std::io::empty()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let image = image::adopt(Kind::Python, folder.path(), archive.into_inner().unwrap().as_slice()).unwrap();
    assert_eq!(Image::open(folder.path(), Kind::Python).unwrap(), image);
    let text = fs::read_to_string(folder.path().join("python.manifest")).unwrap();
    let nothing = blake3::hash(b"").to_hex();
    assert_eq!(text, format!("orrery sandbox image 1\nfile 0755 {nothing} usr/bin/su\nfolder 1777 - tmp/\n"));
}

/// An archive that was changed is not given to the engine.
#[tokio::test]
async fn a_changed_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("python.tar"), b"another archive").unwrap();
    let error = Image::open(folder.path(), Kind::Python).expect_err("without a manifest there is none");
    assert_eq!(error.code(), "image-missing");
    fs::write(folder.path().join("python.manifest"), b"orrery sandbox image 1\n").unwrap();
    let images = vec![(Image::open(folder.path(), Kind::Python).unwrap(), 0)];
    let config = Config { images, ..stage::config("changed-image", 0) };
    let error = Sandbox::connect(config).await.expect_err("the archive is another");
    assert!(matches!(error, Error::ImageDamaged { .. }), "{error:?}");

    let sandbox = stage::sandbox("no-image").await;
    let running = sandbox.run(Run::new(Kind::Node, ["node"])).unwrap();
    let error = running.finish().await.expect_err("no image of that kind");
    assert_eq!(error.code(), "image-missing");
    sandbox.close().await;
}
