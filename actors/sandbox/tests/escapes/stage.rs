//! The shortest way to run something on the engine of the tests.

use std::ops::Deref;
use std::time::Duration;

use actors_sandbox::{Config, Finished, Image, Kind, Run, Running, Sandbox, Source};
use tokio::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use crate::engine::{images, socket};

/// How long anything may take on a loaded machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const MIB: u64 = 1 << 20;
/// Memory of a test's run: small, since many run at once.
pub const MEMORY: u64 = 256 * MIB;
/// Workspace of a test's run.
pub const WORKSPACE: u64 = 16 * MIB;
pub fn image(kind: Kind) -> Image {
    Image::open(&images(), kind).unwrap_or_else(|error| panic!("{error}: {}", error.hint()))
}

/// The name that the engine has for the Python image.
pub fn base() -> String {
    format!("orrery-sandbox/python:{}", &image(Kind::Python).hash[..32])
}

pub fn config(installation: &str, warm: u16) -> Config {
    let image =
        Image::open(&images(), Kind::Python).unwrap_or_else(|error| panic!("{error}: {}", error.hint()));
    let installation = installation.to_owned();
    let (socket, images) = (Some(socket()), vec![(image, warm)]);
    Config { socket, installation, capacity: 3, images, base_image: Some(base()) }
}

/// Tests that measure time run alone; all others run beside each other.
static TURNS: RwLock<()> = RwLock::const_new(());

#[allow(dead_code, reason = "the guards are held, not used")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// A sandbox while its test has its turn. One for each test: a second would wait behind who wants to be alone.
pub struct Stage {
    sandbox: Sandbox,
    _turn: Turn,
}

impl Deref for Stage {
    type Target = Sandbox;
    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Stage {
    pub async fn close(self) {
        self.sandbox.close().await;
    }
}

/// A sandbox of one test, with the test's name as its installation.
pub async fn sandbox(installation: &str) -> Stage {
    with(config(installation, 0)).await
}

pub async fn with(config: Config) -> Stage {
    let _turn = Turn::Shared(TURNS.read().await);
    Stage { sandbox: connect(config).await, _turn }
}

/// The same while nothing else runs.
pub async fn alone(config: Config) -> Stage {
    let _turn = Turn::Alone(TURNS.write().await);
    Stage { sandbox: connect(config).await, _turn }
}

/// Holds the turn of a test that runs no sandbox in its own process.
pub async fn turn() -> RwLockReadGuard<'static, ()> {
    TURNS.read().await
}

/// The program of the keeper, and of an owner that a test can kill.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox");

/// One after the other: the first gives the engine the image.
pub async fn connect(config: Config) -> Sandbox {
    actors_sandbox::keep_by(PROGRAM.into());
    static LOADING: Mutex<()> = Mutex::const_new(());
    let _one_at_a_time = LOADING.lock().await;
    Sandbox::connect(config).await.unwrap_or_else(|error| panic!("{error:?}: {}", error.hint()))
}

/// The process of an installation's keeper.
pub fn keeper(installation: &str) -> u32 {
    let named = format!("\"installation\":\"{installation}\"");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = processes.filter_map(|each| each.file_name().to_str()?.parse().ok());
    let is_it = |number: &u32| {
        let line = std::fs::read_to_string(format!("/proc/{number}/cmdline")).unwrap_or_default();
        line.contains("sandbox-keeper") && line.contains(&named)
    };
    numbers.find(is_it).expect("the keeper runs")
}

/// A run of a program in Python.
pub fn python(code: &str) -> Run {
    Run::new(Kind::Python, ["python3", "-c", code]).memory(MEMORY).workspace(WORKSPACE)
}

/// A run of a command.
pub fn command(command: &[&str]) -> Run {
    Run::new(Kind::Python, command.iter().copied()).memory(MEMORY).workspace(WORKSPACE)
}

/// A run that is over.
pub struct Ran {
    pub finished: Finished,
    pub stdout: String,
    pub stderr: String,
}

pub async fn ran(sandbox: &Sandbox, run: Run) -> Ran {
    let running = sandbox.run(run).expect("a valid run");
    tokio::time::timeout(PATIENCE, follow(running)).await.expect("a run ends")
}

async fn follow(mut running: Running) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut expected = 0;
    while let Some(chunk) = running.next().await {
        assert_eq!(chunk.number, expected, "chunks are numbered without a gap");
        expected += 1;
        match chunk.source {
            Source::Stdout => stdout.extend_from_slice(&chunk.bytes),
            Source::Stderr => stderr.extend_from_slice(&chunk.bytes),
        }
    }
    let finished = running.finish().await.unwrap_or_else(|error| panic!("{error:?}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { finished, stdout: text(stdout), stderr: text(stderr) }
}

/// Runs a program that tries something and prints what it reached, and returns its lines.
pub async fn tried(installation: &str, code: &str) -> Vec<String> {
    let sandbox = sandbox(installation).await;
    let ran = ran(&sandbox, python(code)).await;
    assert_eq!(ran.finished.reason, actors_sandbox::Reason::Exited(0), "{}{}", ran.stdout, ran.stderr);
    sandbox.close().await;
    ran.stdout.lines().map(str::to_owned).collect()
}

/// Asks the engine itself, past the sandbox.
pub fn engine() -> bollard::Docker {
    let socket = socket();
    // The version of Debian's engine, which every later one still speaks.
    let version = bollard::ClientVersion { major_version: 1, minor_version: 41 };
    bollard::Docker::connect_with_unix(&socket, 60, &version).expect("the engine runs")
}

/// The ids of an installation's containers.
pub async fn containers(installation: &str) -> Vec<String> {
    let label = vec![format!("orrery.installation={installation}")];
    let filters = std::collections::HashMap::from([("label".to_owned(), label)]);
    let options =
        bollard::query_parameters::ListContainersOptionsBuilder::default().all(true).filters(&filters);
    let found = engine().list_containers(Some(options.build())).await.expect("a list");
    found.into_iter().filter_map(|each| each.id).collect()
}

/// The names of an installation's volumes.
pub async fn volumes(installation: &str) -> Vec<String> {
    let label = vec![format!("orrery.installation={installation}")];
    let filters = std::collections::HashMap::from([("label".to_owned(), label)]);
    let options = bollard::query_parameters::ListVolumesOptionsBuilder::default().filters(&filters);
    let found = engine().list_volumes(Some(options.build())).await.expect("a list");
    found.volumes.unwrap_or_default().into_iter().map(|each| each.name).collect()
}
