//! The repository report on real git repositories, as its reader sees it.
//!
//! Every test builds a small repository with the git program in a temporary folder and asks for one part of the
//! report, or for all of it.

mod strangers;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actors_report::manifests::{Ecosystem, Kind, Manifest};
use actors_report::{
    Error, History, Inputs, Meta, Review, Watch, check_repository, compose, docs, hotspots, inventory,
    manifests, parse_by, review,
};
use tempfile::TempDir;

const ADA: (&str, &str) = ("Ada", "ada@example.org");
const BOB: (&str, &str) = ("Bob | *b*", "bob@example.org");

/// When the reports are made: 2026-09-21.
const NOW: i64 = 1_790_000_000;

fn history(repo: &Path, watch: &Watch) -> Result<History, Error> {
    actors_report::history(repo, NOW, watch)
}

/// A repository in a folder whose name has spaces and letters beyond ASCII.
struct Repository {
    _home: TempDir,
    path: PathBuf,
}

impl Repository {
    fn new() -> Self {
        parse_by(env!("CARGO_BIN_EXE_parse-source-files").into());
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("my prøject 資料");
        fs::create_dir(&path).unwrap();
        let repository = Self { _home: home, path };
        repository.git(ADA, "2024-01-01T00:00:00Z", &["init", "-q", "-b", "main"]);
        repository
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn add(&self) {
        self.git(ADA, "2024-01-01T00:00:00Z", &["add", "-A"]);
    }

    fn commit(&self, author: (&str, &str), at: &str) -> &Self {
        self.add();
        self.git(author, at, &["commit", "-q", "--allow-empty", "-m", "a change"]);
        self
    }

    /// Runs git and returns what it prints.
    fn git(&self, author: (&str, &str), at: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.current_dir(&self.path).args(arguments);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), author.0);
            command.env(format!("GIT_{role}_EMAIL"), author.1);
            command.env(format!("GIT_{role}_DATE"), at);
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn inputs(&self, goal: &str) -> Inputs {
        let watch = Watch::silent();
        Inputs {
            inventory: inventory(&self.path, &watch).unwrap(),
            history: history(&self.path, &watch).unwrap(),
            manifests: manifests(&self.path, &watch).unwrap(),
            hotspots: hotspots(&self.path, &watch).unwrap(),
            docs: docs(&self.path, goal, &watch).unwrap(),
        }
    }

    fn review(&self, inputs: &Inputs) -> Review {
        review(&self.path, inputs, &Watch::silent()).unwrap()
    }
}

/// A project with a bit of everything, in three commits by two people.
fn project() -> Repository {
    let repository = Repository::new();
    let long = format!("fn long() {{\n{}}}\n", "    work();\n".repeat(80));
    repository
        .write(".gitignore", "target/\n*.log\n")
        .write("target/generated.rs", "// TODO never seen\n")
        .write("README.md", README)
        .write("LICENSE", "MIT License\n\nPermission is hereby granted.\n")
        .write("Cargo.toml", CARGO)
        .write("src/main.rs", format!("// TODO: say hello\nfn main() {{ let s = \"TODO no\"; }}\n{long}"))
        .write("src/größe der dinge.rs", "fn size() {}\n")
        .commit(ADA, "2024-01-03T10:00:00Z");
    repository
        .write("web/package.json", r#"{"name":"web","version":"2.0.0","dependencies":{"left-pad":"^1"}}"#)
        .write("web/app.ts", "/* FIXME types\n * HACK too */\nconst add = (a: number) => a + 1;\n")
        .write("web/<b> | x.css", "b {}\n")
        .write("logo.png", b"\x89PNG\r\n\0\0binary")
        .commit(BOB, "2024-01-10T10:00:00+09:00");
    repository
        .write("src/größe der dinge.rs", "fn size() {}\nfn more() {}\n")
        .commit(ADA, "2024-02-07T10:00:00Z");
    repository
}

const README: &str = "\
# Weather station

![badge](https://example.org/badge.svg)

Reads sensors and draws <script>alert(1)</script> charts.
It runs on a small computer | in the garden.

## Install

Run `cargo install weather`.

## Sensors

The barometer is read every minute over I2C.

## Testing

Run `cargo test`.
";

const CARGO: &str = "\
[package]
name = \"weather\"
version = \"1.2.3\"
[dependencies]
serde = { version = \"1\", features = [\"derive\"] }
shared.workspace = true
[dev-dependencies]
tempfile = \"3\"
[build-dependencies]
cc = \"*\"
[workspace.dependencies]
shared = \"0.7\"
alias = { package = \"named\", version = \"0.8\" }
";

fn meta(inputs: &Inputs) -> Meta {
    Meta {
        title: "Weather <report>".to_owned(),
        goal: "how is the barometer read?".to_owned(),
        repo: "weather".to_owned(),
        generated_at: "2024-03-01T00:00:00Z".to_owned(),
        commit: inputs.history.head.clone(),
    }
}

#[test]
fn inventory_counts_what_git_lists() {
    let found = inventory(&project().path, &Watch::silent()).unwrap();
    assert_eq!(found.total.files, 10);
    assert_eq!(found.binary.files, 1);
    let rust = found.languages.iter().find(|row| row.language == "Rust").unwrap();
    assert_eq!((rust.tally.files, rust.tally.lines.total, rust.tally.lines.comment), (2, 86, 1));
    assert!(found.largest.iter().all(|file| !file.path.contains("generated")));
    assert_eq!(found.largest[0].path, "src/main.rs");
}

#[test]
fn history_tells_who_changed_what_and_when() {
    let found = history(&project().path, &Watch::silent()).unwrap();
    assert_eq!((found.commits, found.contributors_total, found.truncated), (3, 2, false));
    assert_eq!(
        (found.first.as_deref(), found.last.as_deref()),
        (Some("2024-01-03T10:00:00Z"), Some("2024-02-07T10:00:00Z"))
    );
    let weeks: Vec<_> = found.weeks.iter().map(|week| (week.week.as_str(), week.commits)).collect();
    assert_eq!(weeks, [("2024-W01", 1), ("2024-W02", 1), ("2024-W06", 1)]);
    assert_eq!((found.contributors[0].name.as_str(), found.contributors[0].commits), ("Ada", 2));
    assert_eq!((found.churn[0].path.as_str(), found.churn[0].commits), ("src/größe der dinge.rs", 2));
    let folder = found.folders.iter().find(|folder| folder.path == "web").unwrap();
    assert_eq!((folder.bus_factor, folder.key_authors.as_slice()), (1, &[BOB.0.to_owned()][..]));
}

#[test]
fn history_follows_the_mailmap_and_ignores_the_repositorys_own_format() {
    let repository = Repository::new();
    repository
        .write("a", "1\n")
        .write(".mailmap", "Ada Lovelace <ada@example.org> <old@example.org>\n")
        .commit(ADA, "2024-01-03T10:00:00Z")
        .write("a", "2\n")
        .commit(("ada", "old@example.org"), "2024-01-04T10:00:00Z");
    for (key, value) in [("log.showSignature", "true"), ("log.showRoot", "false"), ("color.ui", "always")] {
        repository.git(ADA, "2024-01-04T10:00:00Z", &["config", key, value]);
    }
    let found = history(&repository.path, &Watch::silent()).unwrap();
    assert_eq!((found.contributors_total, found.contributors[0].name.as_str()), (1, "Ada Lovelace"));
    assert_eq!((found.added, found.deleted), (3, 1));
}

#[test]
fn a_bus_factor_of_two_needs_two_people() {
    let repository = Repository::new();
    for (index, author) in [ADA, BOB, ("Cy", "cy@example.org")].into_iter().enumerate() {
        repository.write(&format!("lib/{index}"), "line\n".repeat(10)).commit(author, "2024-01-03T10:00:00Z");
    }
    let found = history(&repository.path, &Watch::silent()).unwrap();
    assert_eq!((found.folders[0].path.as_str(), found.folders[0].bus_factor), ("lib", 2));
}

#[test]
fn manifests_of_every_ecosystem_are_read() {
    let repository = Repository::new();
    repository
        .write("Cargo.toml", CARGO)
        .write(
            "member/Cargo.toml",
            "[package]\nname = \"m\"\n[dependencies]\nshared = { workspace = true }\nalias.workspace = true\n",
        )
        .write("js/package.json", r#"{"name":"js","devDependencies":{"jest":"29"}}"#)
        .write("py/pyproject.toml", PYPROJECT)
        .write(
            "py/requirements-dev.txt",
            "# tools\nruff==0.4 # lint\n-r base.txt\nblack[d] >= 24 ; python_version > '3'\n",
        )
        .write(
            "go/go.mod",
            "module example.org/go\n\ngo 1.22\n\nrequire (\n\tx.org/a v1.0.0\n\tx.org/b v2 // indirect\n)\n",
        )
        .write("java/pom.xml", POM)
        .write(
            "rb/Gemfile",
            "source 'https://x'\ngem 'rails', '~> 7.1', '>= 7.1.2'\ngroup :test do\n  gem \"rspec\"\nend\n",
        )
        .write(
            "php/composer.json",
            r#"{"name":"a/b","require":{"php":">=8"},"require-dev":{"phpunit/phpunit":"^11"}}"#,
        )
        .add();
    let found = manifests(&repository.path, &Watch::silent()).unwrap();
    assert_eq!(found.findings, []);
    let ecosystems: BTreeSet<Ecosystem> = found.manifests.iter().map(|one| one.ecosystem).collect();
    assert_eq!(ecosystems.len(), 7);
    for (path, expected) in [
        (
            "Cargo.toml",
            "normal named 0.8, normal serde 1, normal shared 0.7, normal shared 0.7, dev tempfile 3, build cc *",
        ),
        ("member/Cargo.toml", "normal named 0.8, normal shared 0.7"),
        ("js/package.json", "dev jest 29"),
        ("py/pyproject.toml", "normal httpx >=0.27, dev pytest *, build hatchling *"),
        ("py/requirements-dev.txt", "dev black >= 24, dev ruff ==0.4"),
        ("go/go.mod", "normal x.org/a v1.0.0"),
        ("java/pom.xml", "normal org.x:core 3.1, dev org.x:junit 5"),
        ("rb/Gemfile", "normal rails ~> 7.1, >= 7.1.2, dev rspec *"),
        ("php/composer.json", "normal php >=8, dev phpunit/phpunit ^11"),
    ] {
        let manifest = found.manifests.iter().find(|one| one.path == path).unwrap();
        assert_eq!(dependencies(manifest), expected, "{path}");
    }
}

const PYPROJECT: &str = "\
[project]
name = \"py\"
dependencies = [\"httpx>=0.27\"]
[project.optional-dependencies]
test = [\"pytest\"]
[build-system]
requires = [\"hatchling\"]
";

const POM: &str = "\
<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><artifactId>app</artifactId><version>1</version>
<properties><core.version>3.1</core.version></properties>
<dependencies>
<dependency><groupId>org.x</groupId><artifactId>core</artifactId><version>${core.version}</version></dependency>
<dependency><groupId>org.x</groupId><artifactId>junit</artifactId><version>5</version><scope>test</scope></dependency>
</dependencies></project>
";

fn dependencies(manifest: &Manifest) -> String {
    let shown = manifest.dependencies.iter().map(|one| {
        let kind = match one.kind {
            Kind::Normal => "normal",
            Kind::Dev => "dev",
            Kind::Build => "build",
        };
        format!("{kind} {} {}", one.name, one.requirement)
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_malformed_manifest_is_a_finding_and_the_others_are_read() {
    let repository = Repository::new();
    repository
        .write("good/package.json", r#"{"name":"good"}"#)
        .write("bad/package.json", "{\n  \"name\": \"bad\",\n  oops\n}")
        .write("bad/Cargo.toml", "[package]\nname = = \"x\"\n")
        .write("bad/pom.xml", "<project><a></b></project>")
        .write("bad/requirements.txt", "requests\n???\n")
        .add();
    let found = manifests(&repository.path, &Watch::silent()).unwrap();
    let names: Vec<_> = found.manifests.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(names, ["bad/requirements.txt", "good/package.json"]);
    let findings: Vec<_> = found.findings.iter().map(|one| (one.path.as_str(), one.line)).collect();
    let expected = [
        ("bad/Cargo.toml", Some(2)),
        ("bad/package.json", Some(3)),
        ("bad/pom.xml", Some(1)),
        ("bad/requirements.txt", Some(2)),
    ];
    assert_eq!(findings, expected);
}

#[test]
fn notes_come_from_comments_only_and_long_functions_from_syntax() {
    let repository = project();
    repository.write("broken.py", "def f(:\n    # XXX here\n    pass\n").add();
    let found = hotspots(&repository.path, &Watch::silent()).unwrap();
    let notes: Vec<_> =
        found.notes.iter().map(|note| (note.file.as_str(), note.line, note.text.as_str())).collect();
    let expected = [
        ("broken.py", 2, "XXX here"),
        ("src/main.rs", 1, "TODO: say hello"),
        ("web/app.ts", 1, "FIXME types"),
        ("web/app.ts", 2, "HACK too"),
    ];
    assert_eq!(notes, expected);
    assert_eq!(found.long_functions_total, 1);
    let long = &found.long_functions[0];
    assert_eq!((long.name.as_str(), long.start_line, long.lines), ("long", 3, 82));
    assert_eq!(found.syntax_errors.paths, ["broken.py"]);
    let functions: Vec<_> =
        found.languages.iter().map(|row| (row.language.as_str(), row.functions)).collect();
    assert_eq!(functions, [("Python", 1), ("Rust", 4), ("TypeScript", 1)]);
}

#[test]
fn documentation_answers_with_exact_citations() {
    let found = docs(&project().path, "How is the barometer read?", &Watch::silent()).unwrap();
    let best = |id: &str| {
        let answer = found.answers.iter().find(|answer| answer.id == id).unwrap();
        answer.passages.first().map(|one| (one.file.as_str(), one.start_line, one.text.clone()))
    };
    let purpose = best("purpose").unwrap();
    assert_eq!((purpose.0, purpose.1), ("README.md", 5));
    assert!(purpose.2.starts_with("Reads sensors"));
    assert_eq!(best("install").unwrap().2, "Run `cargo install weather`.");
    assert_eq!(best("licence").unwrap().0, "LICENSE");
    assert_eq!(best("contributing"), None);
    let goal = &found.goal.as_ref().unwrap().passages[0];
    assert_eq!((goal.heading.as_str(), goal.start_line, goal.end_line), ("Sensors", 14, 14));
}

/// A newcomer is led to the README and not to the pages that happen to have the word in their name, and a question that
/// the documentation does not speak about gets no answer rather than a wrong one.
#[test]
fn documentation_is_quoted_from_where_newcomers_are_meant_to_read() {
    let repository = Repository::new();
    let readme = "# Tool\n\nKeeps bees.\n\n## Two commands\n\nWith Rust at hand:\n\n```sh\nmake run    # builds it\n\
                  make test   # every test\n```\n\n## Use it\n\n```sh\ntool bees\n```\n";
    let settings = "# The command line\n\nEverything.\n\nSettings come from defaults, then the file, then the \
                    environment.\n";
    repository.write("README.md", readme).write("docs/cli.md", settings);
    for code in
        ["installation-mismatch", "test-failed", "config-missing", "use-after-free", "http-port-in-use"]
    {
        let page = format!(
            "# {code}\n\nThe installation is used by a test.\n\n## What to do\n\nBuild and install it.\n"
        );
        repository.write(&format!("docs/errors/{code}.md"), page);
    }
    repository.commit(ADA, "2024-01-01T00:00:00Z");
    let found = docs(&repository.path, "Report on this repository", &Watch::silent()).unwrap();
    assert_eq!(found.goal, None, "nothing was asked that a passage could answer");
    let places = |id: &str| {
        let answer = found.answers.iter().find(|answer| answer.id == id).unwrap();
        answer.passages.iter().map(|one| format!("{}:{}", one.file, one.heading)).collect::<Vec<_>>()
    };
    assert_eq!(places("install"), ["README.md:Two commands"]);
    assert_eq!(places("usage")[0], "README.md:Use it");
    assert_eq!(places("configuration"), ["docs/cli.md:The command line"]);
    assert_eq!(places("testing"), ["README.md:Two commands"]);
    assert!(found.answers.iter().flat_map(|answer| &answer.passages).all(|one| !one.file.contains("errors")));

    let goal = |goal: &str| docs(&repository.path, goal, &Watch::silent()).unwrap().goal;
    assert_eq!(goal("What does this project do?").unwrap().passages[0].text, "Keeps bees.");
    assert_eq!(goal("How do I install it?").unwrap().passages[0].heading, "Two commands");
    assert_eq!(goal("What is the weather in Paris?"), None);
    let inputs = repository.inputs("Report on this repository");
    let text = compose(&inputs, &repository.review(&inputs), &meta(&inputs)).unwrap().markdown;
    assert!(!text.contains("to your goal"), "no section without an answer");
}

/// The last half year, week by week, with the quiet weeks; what was before is one number.
#[test]
fn the_markdown_shows_the_activity_by_week() {
    let repository = project();
    repository.commit(BOB, "2025-01-01T10:00:00Z").commit(BOB, "2025-01-02T10:00:00Z");
    let inputs = repository.inputs("");
    let text = compose(&inputs, &repository.review(&inputs), &meta(&inputs)).unwrap().markdown;
    let (_, weeks) = text.split_once("### Activity by week").unwrap();
    let rows: Vec<&str> = weeks.lines().filter(|line| line.starts_with("| 20")).collect();
    assert_eq!(rows.len(), 26);
    assert!(rows[25].starts_with("| 2024-12-30 | 2 | █") && rows[24] == "| 2024-12-23 | 0 |  |", "{rows:?}");
    assert!(weeks.contains("And 3 commits before them."), "{weeks}");
}

#[test]
fn every_way_a_repository_can_be_wrong_has_its_own_code_and_hint() {
    let repository = Repository::new();
    repository.write("folder/file", "x");
    let cases = [
        (repository.path.join("missing"), "path-missing"),
        (repository.path.join("folder/file"), "not-a-folder"),
        (repository.path.join("folder"), "below-the-top"),
        (repository.path.clone(), "repository-without-commits"),
    ];
    for (path, code) in cases {
        let error = check_repository(&path).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(!error.hint().is_empty());
    }
    repository.commit(ADA, "2024-01-03T10:00:00Z");
    check_repository(&repository.path).unwrap();
}

#[test]
fn a_damaged_repository_is_not_taken_for_an_empty_one() {
    let repository = project();
    fs::remove_dir_all(repository.path.join(".git/objects")).unwrap();
    fs::create_dir(repository.path.join(".git/objects")).unwrap();
    let error = history(&repository.path, &Watch::silent()).unwrap_err();
    assert_eq!(error.code(), "git-failed");
}

#[test]
fn a_folder_inside_another_repository_does_not_show_that_one() {
    let repository = project();
    let error = check_repository(&repository.path.join("src")).unwrap_err();
    assert_eq!(error.code(), "below-the-top");
    let top = repository.path.canonicalize().unwrap();
    assert!(error.to_string().ends_with(&format!("`{}`", top.display())), "{error}");
    let inside = check_repository(&repository.path.join(".git/refs")).unwrap_err();
    assert_eq!(inside.code(), "below-the-top", "{inside}");
    assert_eq!(
        inventory(&repository.path.join("src"), &Watch::silent()).unwrap_err().code(),
        "below-the-top"
    );
}

#[test]
fn a_repository_without_a_working_tree_is_called_bare() {
    let (repository, outside) = (project(), tempfile::tempdir().unwrap());
    let bare = outside.path().join("bare.git");
    let shown = bare.to_str().unwrap();
    repository.git(ADA, "2024-03-01T10:00:00Z", &["clone", "-q", "--bare", ".", shown]);
    let error = check_repository(&bare).unwrap_err();
    assert_eq!(error.code(), "bare-repository", "{error}");
    assert!(error.hint().contains("git clone"));
    // One that was made bare and has a folder of the usual name.
    repository.git(ADA, "2024-03-01T10:00:00Z", &["config", "core.bare", "true"]);
    assert_eq!(check_repository(&repository.path).unwrap_err().code(), "bare-repository");
    // A folder of that name alone makes no repository, neither there nor below it.
    let plain = outside.path().join("plain");
    fs::create_dir_all(plain.join(".git")).unwrap();
    fs::create_dir(plain.join("below")).unwrap();
    for path in [plain.join("below"), plain] {
        assert_eq!(check_repository(&path).unwrap_err().code(), "not-a-repository");
    }
}

/// A signed commit and a configuration that names the program to check signatures with: a plain `git log` runs it.
#[test]
fn a_repository_cannot_make_git_run_a_program() {
    let repository = project();
    let (at, outside) = ("2024-03-01T10:00:00Z", tempfile::tempdir().unwrap());
    let (program, marker) = (outside.path().join("program"), outside.path().join("ran"));
    fs::write(&program, format!("#!/bin/sh\ntouch '{}'\n", marker.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let who = "Ada <ada@example.org> 1709287200 +0000";
    let signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n";
    let tree = repository.git(ADA, at, &["write-tree"]);
    let signed = format!("tree {tree}\nauthor {who}\ncommitter {who}\n{signature}\nsigned\n");
    fs::write(outside.path().join("commit"), signed).unwrap();
    let file = outside.path().join("commit");
    let commit = repository.git(ADA, at, &["hash-object", "-t", "commit", "-w", file.to_str().unwrap()]);
    repository.git(ADA, at, &["update-ref", "HEAD", &commit]);
    for key in ["gpg.program", "core.pager", "diff.external", "core.fsmonitor"] {
        repository.git(ADA, at, &["config", key, program.to_str().unwrap()]);
    }
    repository.git(ADA, at, &["config", "log.showSignature", "true"]);
    assert_eq!(history(&repository.path, &Watch::silent()).unwrap().commits, 1);
    assert!(!marker.exists(), "the repository's program ran");
    repository.git(ADA, at, &["log"]);
    assert!(marker.exists(), "the trap does not work, so the test shows nothing");
}

#[test]
fn a_canceled_analysis_stops_and_says_so() {
    let repository = project();
    let inputs = repository.inputs("");
    let canceled = || Watch::new(|_, _, _| {}, || true);
    let path = &repository.path;
    let results = [
        inventory(path, &canceled()).map(drop),
        history(path, &canceled()).map(drop),
        manifests(path, &canceled()).map(drop),
        hotspots(path, &canceled()).map(drop),
        docs(path, "", &canceled()).map(drop),
        review(path, &inputs, &canceled()).map(drop),
    ];
    for result in results {
        assert!(matches!(result, Err(Error::Canceled)), "{result:?}");
    }
}

#[test]
fn a_history_is_canceled_in_the_middle_of_its_commits() {
    let repository = Repository::new();
    for day in 1..=5 {
        repository.commit(ADA, &format!("2024-01-0{day}T10:00:00Z"));
    }
    let asked = AtomicU64::new(0);
    let watch = Watch::new(|_, _, _| {}, move || asked.fetch_add(1, Ordering::Relaxed) > 0);
    assert!(matches!(history(&repository.path, &watch), Err(Error::Canceled)));
}

#[test]
fn symbolic_links_are_not_followed_out_of_the_repository() {
    let repository = Repository::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("README.md"), "# Secret\n\nsecret words\n").unwrap();
    std::os::unix::fs::symlink(outside.path(), repository.path.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("README.md"), repository.path.join("README.md")).unwrap();
    repository.commit(ADA, "2024-01-03T10:00:00Z");
    let inputs = repository.inputs("secret words");
    assert_eq!((inputs.inventory.total.files, inputs.inventory.skipped.symlinks), (0, 2));
    assert_eq!(inputs.docs.documents, 0);
}

#[test]
fn the_same_input_gives_the_same_artifacts_and_the_same_report() {
    let repository = project();
    let (first, second) = (repository.inputs("barometer"), repository.inputs("barometer"));
    assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&second).unwrap());
    let report = |inputs: &Inputs| compose(inputs, &repository.review(inputs), &meta(inputs)).unwrap();
    assert_eq!(report(&first), report(&second));
    let back: Inputs = serde_json::from_str(&serde_json::to_string(&first).unwrap()).unwrap();
    assert_eq!(back, first);
}

#[test]
fn the_review_passes_what_is_true() {
    let repository = project();
    let found = repository.review(&repository.inputs("barometer"));
    let failed: Vec<_> = found.checks.iter().filter(|check| !check.passed).collect();
    assert!(found.is_clean(), "{failed:#?}");
}

#[test]
fn the_review_catches_every_kind_of_tampering() {
    let repository = project();
    let honest = repository.inputs("barometer");
    type Tamper = fn(&mut Inputs);
    let cases: [(&str, Tamper); 15] = [
        ("inventory-sums", |inputs| inputs.inventory.languages[0].tally.lines.total += 1),
        ("inventory-repository", |inputs| inputs.inventory.total.files += 1),
        ("largest-files", |inputs| inputs.inventory.largest[0].bytes += 1),
        ("largest-files", |inputs| inputs.inventory.largest[0].path = "../outside".to_owned()),
        ("history-head", |inputs| inputs.history.head.replace_range(0..4, "zzzz")),
        ("history-commits", |inputs| inputs.history.commits += 1),
        ("history-sums", |inputs| inputs.history.contributors[0].added += 1),
        ("churn-files", |inputs| inputs.history.churn[0].path = "ghost.rs".to_owned()),
        ("bus-factors", |inputs| inputs.history.folders[0].bus_factor = 9),
        ("manifest-files", |inputs| inputs.manifests.manifests[0].path = "ghost/Cargo.toml".to_owned()),
        ("hotspot-sums", |inputs| inputs.hotspots.notes_total += 1),
        ("notes-quoted", |inputs| inputs.hotspots.notes[0].line += 1),
        ("long-functions", |inputs| inputs.hotspots.long_functions[0].lines += 1_000),
        ("passages-quoted", |inputs| inputs.docs.answers[0].passages[0].text.push_str(" and more")),
        ("passages-quoted", |inputs| inputs.docs.answers[0].passages[0].end_line = u64::MAX),
    ];
    for (check, tamper) in cases {
        let mut inputs = honest.clone();
        tamper(&mut inputs);
        let found = repository.review(&inputs);
        let failed: Vec<_> =
            found.checks.iter().filter(|check| !check.passed).map(|check| &check.name).collect();
        assert!(failed.iter().any(|name| *name == check), "{check} was not caught, only {failed:?}");
        let report = compose(&inputs, &found, &meta(&inputs)).unwrap();
        assert!(report.markdown.contains("FAILED") && report.html.contains(">failed<"), "{check}");
    }
}

#[test]
fn the_review_notices_that_the_repository_has_moved_on() {
    let repository = project();
    let inputs = repository.inputs("");
    repository.write("new.rs", "fn new() {}\n").commit(ADA, "2024-02-08T10:00:00Z");
    let found = repository.review(&inputs);
    assert!(!found.is_clean());
}

#[test]
fn the_page_stands_alone_and_nothing_from_the_repository_acts_in_it() {
    let repository = project();
    let inputs = repository.inputs("barometer");
    let report = compose(&inputs, &repository.review(&inputs), &meta(&inputs)).unwrap();
    let page = &report.html;
    for unwanted in ["<script", "<b>", "<link", "src=", "@import", "url(", "xmlns", "Weather <report>"] {
        assert!(!page.contains(unwanted), "the page contains {unwanted}");
    }
    assert_eq!(page.matches("<svg ").count(), 4);
    assert_eq!(page.matches("role=\"img\"").count(), 4);
    assert_eq!(page.matches("<title id=").count(), 4);
    assert_eq!(page.matches("<table>").count(), page.matches("<caption>").count());
    for wanted in
        ["Weather &lt;report&gt;", "größe der dinge.rs", "13 of 13", "prefers-color-scheme: dark", "W06"]
    {
        assert!(page.contains(wanted), "the page lacks {wanted}");
    }
}

#[test]
fn the_markdown_escapes_pipes_and_markup_in_its_tables() {
    let repository = project();
    let inputs = repository.inputs("barometer");
    let text = compose(&inputs, &repository.review(&inputs), &meta(&inputs)).unwrap().markdown;
    assert!(text.contains("| Bob \\| \\*b\\* | 1 |"), "{text}");
    for header in text.lines().filter(|line| line.starts_with("| Contributor")) {
        let columns = header.matches('|').count();
        let row = text.lines().find(|line| line.starts_with("| Bob")).unwrap();
        assert_eq!(row.replace("\\|", "").matches('|').count(), columns);
    }
    assert!(text.contains("| web/&lt;b&gt; \\| x.css | 5 B |"));
    assert!(text.contains("```text\nThe barometer is read every minute over I2C.\n```"), "{text}");
}

#[test]
fn a_repository_with_one_empty_commit_still_gets_a_report() {
    let repository = Repository::new();
    repository.commit(ADA, "2024-01-03T10:00:00Z");
    let inputs = repository.inputs("");
    let found = repository.review(&inputs);
    assert!(found.is_clean(), "{found:#?}");
    let report = compose(&inputs, &found, &meta(&inputs)).unwrap();
    assert!(report.html.contains("There is no documentation"));
}

#[test]
fn twenty_thousand_files_are_read_and_progress_is_told() {
    let repository = Repository::new();
    for folder in 0..200 {
        let path = repository.path.join(format!("folder {folder}"));
        fs::create_dir(&path).unwrap();
        for file in 0..100 {
            fs::write(path.join(format!("{file}.py")), "def f():\n    # TODO\n    pass\n").unwrap();
        }
    }
    repository.add();
    let told = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&told);
    let watch = Watch::new(move |done, _, _| seen.store(done, Ordering::Relaxed), || false);
    let found = inventory(&repository.path, &watch).unwrap();
    assert_eq!((found.total.files, found.total.lines.total), (20_000, 60_000));
    assert_eq!(told.load(Ordering::Relaxed), 20_000);
    let spots = hotspots(&repository.path, &watch).unwrap();
    assert_eq!((spots.notes_total, spots.notes.len()), (20_000, 200));
}

#[test]
fn schemas_exist_for_all_artifacts() {
    let schema = serde_json::to_value(schemars::schema_for!(Inputs)).unwrap();
    for name in ["Inventory", "History", "Manifests", "Hotspots", "Docs"] {
        assert!(schema["$defs"][name].is_object(), "{name}");
    }
}
