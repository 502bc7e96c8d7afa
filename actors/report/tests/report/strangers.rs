//! What strangers put into repositories, by mistake or on purpose: a report is made of it all the same, it says what
//! is so, and what it cannot say it names.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{Duration, Instant};

use actors_report::{Composed, Error, Inputs, Watch, compose, docs, hotspots, inventory, manifests};

use super::{ADA, BOB, Repository, history, meta, project};

const AT: &str = "2024-03-01T10:00:00Z";

/// 600 lines, each a space deeper: the grammar of Python keeps the depths in a buffer and aborts when that is full.
fn too_deep() -> String {
    let nested = (0..600).map(|depth| format!("{}if 1:\n", " ".repeat(depth)));
    nested.collect::<String>() + &" ".repeat(600) + "x = f\"{y}\"\n"
}

/// All artifacts, found sound by the review, and the report of them.
fn reported(repository: &Repository) -> (Inputs, Composed) {
    let inputs = repository.inputs("barometer");
    let review = repository.review(&inputs);
    let failed: Vec<_> = review.checks.iter().filter(|check| !check.passed).collect();
    assert!(review.is_clean(), "{failed:#?}");
    let report = compose(&inputs, &review, &meta(&inputs)).unwrap();
    (inputs, report)
}

/// The paths that git lists as regular files.
fn listed(repository: &Repository) -> u64 {
    let lines = repository.git(ADA, AT, &["ls-files", "--stage"]);
    lines.lines().filter(|line| line.starts_with("100")).count() as u64
}

#[test]
fn a_file_that_ends_the_parser_is_named_and_the_others_are_parsed() {
    let repository = project();
    repository
        .write("a/deep.py", too_deep())
        .write("a/good.py", "# TODO good\n")
        .write("b/deep.py", too_deep())
        .write("c/good.py", "# TODO good\n")
        .commit(ADA, AT);
    let (inputs, report) = reported(&repository);
    assert_eq!(inputs.hotspots.unparsed.paths, ["a/deep.py", "b/deep.py"]);
    let notes: Vec<_> = inputs.hotspots.notes.iter().map(|note| note.file.as_str()).collect();
    assert!(notes.contains(&"a/good.py") && notes.contains(&"c/good.py"), "{notes:?}");
    assert!(
        report.markdown.contains("### Files that could not be parsed\n\n| File |"),
        "{}",
        report.markdown
    );
    assert!(report.markdown.contains("| a/deep.py |") && report.html.contains("deep.py</code>"));
}

/// Functions within functions: each once looked for its parent from the top of the file.
#[test]
fn deep_files_are_parsed_in_time_that_grows_with_them() {
    let repository = Repository::new();
    let arrows = "a=>".repeat(100_000);
    repository
        .write("arrows.js", format!("const x = {arrows}1;\n"))
        .write("arrows.ts", format!("const x = {arrows}1;\n"))
        .write("arrows.tsx", format!("const x = {arrows}1;\n"))
        .write("objects.js", format!("const x = {}1{};\n", "({a: () => ".repeat(20_000), "})".repeat(20_000)))
        .write("functions.rs", format!("{}{}\n", "fn f() { ".repeat(20_000), "}".repeat(20_000)))
        .commit(ADA, AT);
    let found = hotspots(&repository.path, &Watch::silent()).unwrap();
    assert_eq!(found.unparsed.paths, [""; 0]);
    let functions: Vec<_> = found.languages.iter().map(|row| row.functions).collect();
    assert_eq!(functions, [20_001, 20_000, 1, 1]);
}

#[test]
fn a_report_stops_while_a_file_is_parsed() {
    let repository = Repository::new();
    // The grammar takes several seconds for it.
    repository.write("slow.rs", "a<b,".repeat(256 * 1024)).commit(ADA, AT);
    let started = Instant::now();
    let watch = Watch::new(|_, _, _| {}, move || started.elapsed() > Duration::from_millis(500));
    assert!(matches!(hotspots(&repository.path, &watch), Err(Error::Canceled)));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// What the grammars cannot hold in 256 MiB ends them in different ways.
#[test]
fn a_file_that_takes_too_much_memory_is_named() {
    let repository = Repository::new();
    let files = [("a.go", "["), ("b.js", "("), ("c.py", "f\"{"), ("d.ts", "a<")];
    for (name, piece) in files {
        repository.write(name, piece.repeat(1024 * 1024 / piece.len()));
    }
    repository.write("e.py", "# TODO e\n").commit(ADA, AT);
    let (inputs, _) = reported(&repository);
    assert_eq!(inputs.hotspots.unparsed.paths, files.map(|(name, _)| name));
    assert_eq!(inputs.hotspots.notes_total, 1);
}

#[test]
fn the_files_are_those_that_git_lists() {
    let repository = project();
    // Ignored and all the same a part of it.
    repository.write("kept.log", "one\n").write("target/kept.rs", "// TODO kept\n");
    repository.git(ADA, AT, &["add", "--force", "kept.log", "target/kept.rs"]);
    repository.commit(ADA, AT);
    // Neither ignored nor a part of it.
    let inner = repository.path.join("inner clone");
    repository.git(ADA, AT, &["clone", "--quiet", ".", inner.to_str().unwrap()]);
    repository.git(ADA, AT, &["worktree", "add", "--quiet", "tree"]);
    repository.git(
        ADA,
        AT,
        &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "./inner clone", "sub"],
    );
    fs::remove_dir_all(&inner).unwrap();
    repository.git(ADA, AT, &["commit", "--quiet", "--message", "a submodule"]);
    repository.write("untracked.rs", "// TODO nobody's\n");
    let (inputs, _) = reported(&repository);
    let found = &inputs.inventory;
    assert_eq!((found.total.files, found.skipped.submodules), (listed(&repository), 1));
    assert_eq!(found.total.files, 13);
    let notes: Vec<_> = inputs.hotspots.notes.iter().map(|note| note.file.as_str()).collect();
    assert_eq!(notes, ["src/main.rs", "target/kept.rs", "web/app.ts", "web/app.ts"]);
    assert!(inputs.history.churn.iter().all(|file| file.present), "{:#?}", inputs.history.churn);

    // A worktree is a repository too, with the same files and a history of its own.
    let of_tree = inventory(&repository.path.join("tree"), &Watch::silent()).unwrap();
    assert_eq!(of_tree.total.files, 12);
}

#[test]
fn a_file_that_is_listed_is_there_wherever_it_lies() {
    let repository = project();
    repository.write("sparse/notes.py", "# TODO sparse\n").write("sparse/README.md", "# Sparse\n\nA part.\n");
    fs::write(repository.path.join(OsStr::from_bytes(b"caf\xe9 \\.py")), "# TODO named\n").unwrap();
    repository.commit(ADA, AT);
    let whole = repository.inputs("barometer");
    repository.git(ADA, AT, &["sparse-checkout", "set", "src", "web"]);
    assert!(!repository.path.join("sparse").exists(), "nothing was made sparse, so the test shows nothing");
    fs::remove_file(repository.path.join("README.md")).unwrap();
    let (inputs, _) = reported(&repository);
    assert_eq!(inputs, whole);
    assert_eq!((inputs.inventory.total.files, inputs.inventory.skipped.absent), (listed(&repository), 0));
    let notes: Vec<_> = inputs.hotspots.notes.iter().map(|note| note.file.as_str()).collect();
    assert_eq!(notes[..2], [r"caf\xe9 \\.py", "sparse/notes.py"]);
    assert!(inputs.history.churn.iter().all(|file| file.present), "{:#?}", inputs.history.churn);
    assert!(inputs.history.folders.iter().any(|folder| folder.path == "sparse"));

    // Nothing was checked out yet.
    let home = tempfile::tempdir().unwrap();
    let bare = home.path().join("clone");
    let from = repository.path.to_str().unwrap();
    repository.git(ADA, AT, &["clone", "--quiet", "--no-checkout", from, bare.to_str().unwrap()]);
    let found = inventory(&bare, &Watch::silent()).unwrap();
    assert_eq!(found.total, inputs.inventory.total);
}

#[test]
fn a_conflict_is_one_file() {
    let repository = project();
    repository.git(ADA, AT, &["checkout", "--quiet", "-b", "other"]);
    repository.write("README.md", "# Other\n").commit(BOB, AT);
    repository.git(ADA, AT, &["checkout", "--quiet", "main"]);
    repository.write("README.md", "# This\n").commit(ADA, AT);
    let merge = Command::new("git")
        .current_dir(&repository.path)
        .args(["-c", "user.name=a", "-c", "user.email=b", "merge", "other"])
        .output()
        .unwrap();
    assert!(!merge.status.success());
    assert_eq!(listed(&repository), 12);
    let (inputs, _) = reported(&repository);
    assert_eq!(inputs.inventory.total.files, 10);
}

/// Clones `from` in part, as `git clone` with `arguments` does.
fn partial(from: &Repository, arguments: &[&str]) -> Repository {
    let clone = Repository::new();
    fs::remove_dir_all(&clone.path).unwrap();
    from.git(ADA, AT, &["config", "uploadpack.allowFilter", "true"]);
    let address = format!("file://{}", from.path.display());
    let all = [&["clone", "--quiet"], arguments, &[&address, clone.path.to_str().unwrap()]].concat();
    from.git(ADA, AT, &all);
    clone
}

#[test]
fn a_partial_clone_has_the_history_that_is_there_and_says_what_is_not() {
    let repository = project();
    repository.write("new.rs", "fn new() {}\n").commit(BOB, AT);
    let whole = repository.inputs("").history;
    assert_eq!((whole.commits, whole.without_lines), (4, 0));

    // Of `src/größe der dinge.rs` only the last version is there: two of four commits have changed it.
    let clone = partial(&repository, &["--filter=blob:none"]);
    let (inputs, report) = reported(&clone);
    let found = &inputs.history;
    assert_eq!((found.commits, found.without_lines, &found.weeks), (4, 2, &whole.weeks));
    let churn = |history: &actors_report::History| {
        history
            .churn
            .iter()
            .map(|file| (file.path.clone(), file.commits))
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(churn(found), churn(&whole));
    let bob = found.contributors.iter().find(|one| one.name == BOB.0).unwrap();
    assert_eq!(whole.contributors.iter().find(|one| one.name == BOB.0), Some(bob));
    assert_eq!((found.added, found.deleted), (bob.added, bob.deleted));
    assert!(
        report.markdown.contains("The clone is partial: the changed lines of 2 commits are not counted.")
    );

    // Neither folders nor files.
    let clone = partial(&repository, &["--filter=tree:0"]);
    let found = history(&clone.path, &Watch::silent()).unwrap();
    assert_eq!((found.commits, found.without_lines, found.contributors_total), (4, 4, 2));

    // What is listed and not here is counted, and said to be missing.
    let clone = partial(&repository, &["--filter=blob:none", "--sparse"]);
    let (inputs, report) = reported(&clone);
    assert_eq!((inputs.inventory.total.files, inputs.inventory.skipped.absent), (listed(&clone), 5));
    assert!(report.markdown.contains("The clone is partial: the contents of 5 files are not here."));

    // Nothing is claimed about what files hold that are not here.
    let clone = partial(&repository, &["--filter=blob:none", "--no-checkout"]);
    let (inputs, report) = reported(&clone);
    let problems: Vec<&str> = inputs.manifests.findings.iter().map(|one| one.problem.as_str()).collect();
    assert_eq!(problems, ["the content is not here: the clone is partial"; 2]);
    assert!(!report.markdown.contains("There is no documentation"), "{}", report.markdown);
}

/// The text with a byte-order mark, in every encoding that has one.
fn marked(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let text = format!("\u{feff}{text}");
    let units: Vec<u16> = text.encode_utf16().collect();
    let points: Vec<u32> = text.chars().map(u32::from).collect();
    vec![
        ("utf-8", text.clone().into_bytes()),
        ("utf-16le", units.iter().flat_map(|unit| unit.to_le_bytes()).collect()),
        ("utf-16be", units.iter().flat_map(|unit| unit.to_be_bytes()).collect()),
        ("utf-32le", points.iter().flat_map(|point| point.to_le_bytes()).collect()),
        ("utf-32be", points.iter().flat_map(|point| point.to_be_bytes()).collect()),
    ]
}

#[test]
fn a_byte_order_mark_hides_nothing() {
    const FILES: [(&str, &str); 7] = [
        ("README.md", "# Bees\n\nKeeps bees.\n\n## Install\n\nRun `make`.\n"),
        ("tool", "#!/usr/bin/env python3\n# TODO tool\n"),
        ("first.rs", "// TODO first\nfn main() {}\n"),
        ("requirements.txt", "requests==2.0\n"),
        ("package.json", "{\"name\": \"bees\", \"dependencies\": {\"hive\": \"1\"}}\n"),
        ("Cargo.toml", "[package]\nname = \"bees\"\n"),
        ("pom.xml", "<project><artifactId>bees</artifactId></project>\n"),
    ];
    let read = |repository: &Repository| {
        repository.commit(ADA, AT);
        let (mut inputs, _) = reported(repository);
        // The marks themselves are bytes of the files.
        let inventory = &mut inputs.inventory;
        inventory.total.bytes = 0;
        inventory.languages.iter_mut().for_each(|row| row.tally.bytes = 0);
        inventory.languages.sort_by(|a, b| a.language.cmp(&b.language));
        let read = (inventory.total, inventory.languages.clone(), inventory.binary);
        inputs.docs.bytes = 0;
        (read, inputs.docs, inputs.manifests, inputs.hotspots)
    };
    let plain = Repository::new();
    for (name, text) in FILES {
        plain.write(name, text);
    }
    let expected = read(&plain);
    assert_eq!(expected.1.answers[0].passages[0].heading, "Bees");
    assert_eq!((expected.2.dependencies_total, expected.3.notes_total), (2, 2));
    for encoding in 0..5 {
        let repository = Repository::new();
        let mut which = "";
        for (name, text) in FILES {
            let (encoding, bytes) = marked(text).swap_remove(encoding);
            repository.write(name, bytes);
            which = encoding;
        }
        assert_eq!(read(&repository), expected, "{which}");
    }
}

#[test]
fn a_commit_with_an_impossible_date_is_counted_and_set_apart() {
    let repository = Repository::new();
    repository.write("a", "1\n").commit(ADA, "2024-01-03T10:00:00Z");
    // 2150, a second after now, 1970, and the second before 1990.
    for at in [5_680_281_600_i64, 1_790_000_001, 0, 631_151_999] {
        repository.write("a", at.to_string()).commit(BOB, &format!("@{at} +0000"));
    }
    // Now, and the first second of 1990.
    for at in [1_790_000_000_i64, 631_152_000] {
        repository.write("a", at.to_string()).commit(ADA, &format!("@{at} +0000"));
    }
    let (inputs, report) = reported(&repository);
    let found = &inputs.history;
    assert_eq!((found.commits, found.misdated), (7, 4));
    assert_eq!(
        (found.first.as_deref(), found.last.as_deref()),
        (Some("1990-01-01T00:00:00Z"), Some("2026-09-21T14:13:20Z"))
    );
    let weeks: Vec<_> = found.weeks.iter().map(|week| week.week.as_str()).collect();
    assert_eq!(weeks, ["1990-W01", "2024-W01", "2026-W39"]);
    let bob = found.contributors.iter().find(|one| one.name == BOB.0).unwrap();
    assert_eq!((bob.commits, &bob.first, &bob.last), (4, &None, &None));
    assert!(
        report.markdown.contains("4 commits are dated before 1990 or in the future"),
        "{}",
        report.markdown
    );
    for text in [&report.markdown, &report.html] {
        assert!(!text.contains("2149") && !text.contains("2150") && !text.contains("1970"));
    }

    let repository = Repository::new();
    repository.write("a", "1\n").commit(ADA, "@0 +0000");
    let (inputs, report) = reported(&repository);
    assert_eq!((inputs.history.misdated, inputs.history.first, inputs.history.weeks.len()), (1, None, 0));
    assert!(report.html.contains("No commit has a credible date"));
}

#[test]
fn what_is_counted_in_a_language_is_parsed_in_it() {
    let repository = Repository::new();
    let note = "# TODO x\n";
    for name in ["MAIN.PY", "a.Pyi", "a.pyw", "SConstruct"] {
        repository.write(name, note);
    }
    for name in ["a.RS", "a.Go", "a.JS", "a.CJS", "a.Jsx", "a.Ts", "a.MTS", "a.TSX"] {
        repository.write(name, "// TODO x\n");
    }
    repository.write("bin/tool", format!("#!/usr/bin/env -S python3.12 -u\n{note}"));
    repository.write("REQUIREMENTS.TXT", "no\n").write("requirements.TXT", "requests\n");
    repository.write("DOC.MD", "# Doc\n\nText.\n").commit(ADA, AT);
    let (inputs, _) = reported(&repository);
    let counted: Vec<_> =
        inputs.inventory.languages.iter().map(|row| (row.language.clone(), row.tally.files)).collect();
    let mut parsed: Vec<_> =
        inputs.hotspots.languages.iter().map(|row| (row.language.clone(), row.files)).collect();
    let mut counted: Vec<_> = counted
        .into_iter()
        .filter(|(language, _)| language != "Plain text" && language != "Markdown")
        .collect();
    counted.sort();
    parsed.sort();
    assert_eq!(counted, parsed);
    assert_eq!(inputs.hotspots.notes_total, 13);
    assert_eq!((inputs.docs.documents, inputs.manifests.manifests.len()), (1, 1));
}

/// Deep nesting and long lines in what is read without a grammar: Markdown and manifests.
#[test]
fn other_files_are_read_in_time_that_grows_with_them() {
    let repository = Repository::new();
    let many = |text: &str| text.repeat(500 * 1024 / text.len());
    for (number, piece) in
        ["[", "> ", "- ", "*a_ ", "![](<", "`", "a\n===\n", "<!--", "# a\n", "| a ", "]["].iter().enumerate()
    {
        repository.write(&format!("{number}.md"), many(piece));
    }
    repository
        .write("package.json", many("["))
        .write("a/Cargo.toml", format!("a = {}", many("[")))
        .write("a/pom.xml", many("<a>"))
        .write("a/requirements.txt", many("a\\\n"))
        .write("b/requirements.txt", many("#"))
        .write("a/Gemfile", format!("{}{}", many("x do\n"), many("gem 'a'\n")))
        .write("a/go.mod", many("require a (\n"))
        .commit(ADA, AT);
    let started = Instant::now();
    docs(&repository.path, "a", &Watch::silent()).unwrap();
    let found = manifests(&repository.path, &Watch::silent()).unwrap();
    let texts = found.manifests.iter().flat_map(|one| &one.dependencies).map(|one| &one.name);
    assert!(texts.chain(found.findings.iter().map(|one| &one.problem)).all(|text| text.len() <= 512));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
