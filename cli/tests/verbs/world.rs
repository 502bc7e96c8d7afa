//! A system of a test's own, and the binary that talks to it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bus_client::NatsConfig;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take: generous, a test shall fail for its reason and not for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What an invocation gave.
#[derive(Debug)]
pub struct Ended {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The lines of `--json`.
    pub fn lines(&self) -> Vec<Value> {
        let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        self.stdout.lines().map(read).collect()
    }
    /// The only line of `--json`.
    pub fn line(&self) -> Value {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{self:?}");
        lines.remove(0)
    }
    /// Expects success.
    pub fn good(self) -> Self {
        assert_eq!(self.status, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
    /// Expects a failure with a code and an exit status, printed for people or as JSON.
    pub fn failed(self, code: &str, status: i32) -> Self {
        let named = self.stderr.contains(&format!("error[{code}]"))
            || self.stderr.contains(&format!("\"code\":\"{code}\""));
        assert!(named && self.status == status, "wanted `{code}` and {status}: {self:?}");
        self
    }
}

/// The binary.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_orrery")
}

/// Runs the binary to its end.
pub fn orrery(data_dir: &Path, arguments: &[&str]) -> Ended {
    let output = Command::new(program())
        .arg("--data-dir")
        .arg(data_dir)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    Ended {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A running system.
#[derive(Debug)]
pub struct World {
    directory: TempDir,
    child: Child,
    /// What `up --json` printed.
    pub banner: Value,
}

impl World {
    /// Starts `orrery up` and waits for its line.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary directory"))
    }
    /// Starts on a directory that exists.
    pub fn start_in(directory: TempDir) -> Self {
        Self::start_logging(directory, Stdio::inherit())
    }
    /// Starts with settings in a file.
    pub fn start_with(settings: &str) -> Self {
        Self::start_with_and(settings, &[])
    }
    /// Starts with settings in a file, and arguments.
    pub fn start_with_and(settings: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("orrery.toml");
        std::fs::write(&file, settings).expect("a file");
        let file = file.to_str().expect("a plain path").to_owned();
        Self::start_saying(directory, Stdio::inherit(), &[&["--config", &file], arguments].concat())
    }
    /// Starts again with the settings in a directory that was in use.
    pub fn start_again(directory: TempDir) -> Self {
        let file = directory.path().join("orrery.toml");
        let file = file.to_str().expect("a plain path").to_owned();
        Self::start_saying(directory, Stdio::inherit(), &["--config", &file])
    }
    /// Starts with programs of the test's own before those of the machine.
    pub fn start_with_programs(programs: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = std::env::var("PATH").expect("a PATH");
        Self::start_in_path(directory, Stdio::inherit(), &[], &format!("{}:{path}", programs.display()))
    }
    /// Starts on a directory that exists, with its log elsewhere.
    pub fn start_logging(directory: TempDir, log: Stdio) -> Self {
        Self::start_saying(directory, log, &[])
    }
    fn start_saying(directory: TempDir, log: Stdio, arguments: &[&str]) -> Self {
        Self::start_in_path(directory, log, arguments, &std::env::var("PATH").expect("a PATH"))
    }
    fn start_in_path(directory: TempDir, log: Stdio, arguments: &[&str], path: &str) -> Self {
        let mut child = Command::new(program())
            .env("PATH", path)
            .arg("--data-dir")
            .arg(directory.path())
            .args(["up", "--json", "--http", "127.0.0.1:0", "--nats-port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it was piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let banner = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        Self { directory, child, banner }
    }
    /// Where its files are.
    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }
    /// Runs the binary against it.
    pub fn orrery(&self, arguments: &[&str]) -> Ended {
        orrery(self.data_dir(), arguments)
    }
    /// A number of a task, such as its `question_id`, as soon as the read model shows it.
    pub fn number(&self, task: &str, field: &str) -> String {
        eventually(field, || {
            let tree = self.orrery(&["tasks", "show", task, "--json"]).good().line();
            tree["task"][field].as_u64().map(|number| number.to_string())
        })
    }
    /// One of its addresses.
    pub fn address(&self, field: &str) -> &str {
        self.banner[field].as_str().expect("an address")
    }
    /// How to connect to its NATS as it does itself.
    pub fn nats(&self) -> NatsConfig {
        NatsConfig {
            url: Some(self.address("nats_url").to_owned()),
            user: Some(self.address("nats_user").to_owned()),
            password_file: Some(self.address("nats_password_file").into()),
            ..NatsConfig::default()
        }
    }
    /// Kills it without a word and gives the directory back.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was our child");
        let unused = tempfile::tempdir().expect("a temporary directory");
        std::mem::replace(&mut self.directory, unused)
    }
    /// Stops it in good order and gives the directory back.
    pub fn stop(mut self) -> TempDir {
        self.orrery(&["down"]).good();
        self.child.wait().expect("it was our child");
        let unused = tempfile::tempdir().expect("a temporary directory");
        std::mem::replace(&mut self.directory, unused)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            orrery(self.data_dir(), &["down"]);
            let _ = self.child.wait();
        }
    }
}

/// Waits until `look` gives something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A small repository with code, a manifest, documentation and three commits.
pub fn repository(directory: &Path) -> PathBuf {
    let repo = directory.join("repo");
    std::fs::create_dir_all(repo.join("src")).expect("a directory");
    let git = |arguments: &[&str]| {
        let done = Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-C"])
            .arg(&repo)
            .args(arguments)
            .output()
            .expect("git runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "--quiet"]);
    let files = [
        ("README.md", "# A small thing\n\nIt counts words.\n"),
        ("Cargo.toml", "[package]\nname = \"small\"\nversion = \"0.1.0\"\n"),
        ("src/main.rs", "// TODO: count lines too\nfn main() {\n    println!(\"words\");\n}\n"),
    ];
    for (name, text) in files {
        std::fs::write(repo.join(name), text).expect("a file");
        git(&["add", "."]);
        git(&["commit", "--quiet", "-m", &format!("Add {name}")]);
    }
    repo
}
