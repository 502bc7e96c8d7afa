//! A real nats-server for one test: a free port, storage in a temporary folder, gone with the test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bus_client::{Bus, NatsConfig, Profile};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

/// Longer than anything takes on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that cannot be waited for otherwise.
const LOOK: Duration = Duration::from_millis(10);

/// The server, killed when dropped.
pub struct Server {
    process: Child,
    url: String,
    _home: TempDir,
}

impl Server {
    /// Starts it and waits until it serves.
    pub async fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let path = program();
        let process = Command::new(&path)
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream"])
            .arg("--store_dir")
            .arg(home.path().join("store"))
            .arg("--ports_file_dir")
            .arg(home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("starting `{}`: {error}", path.display()));
        let ports = home.path().join(format!("nats-server_{}.ports", process.id()));
        let mut server = Self { process, url: String::new(), _home: home };
        server.url = eventually("the server's ports file", async || first_url(&ports)).await;
        server
    }

    /// A connection to an installation with one partition.
    pub async fn connect(&self) -> Bus {
        let config = NatsConfig {
            url: Some(self.url.clone()),
            // The tests are about who says what, and not about power cuts.
            profile: Profile::Fast,
            partitions: 1.try_into().expect("one is not zero"),
            ..NatsConfig::default()
        };
        eventually("the server", async || Bus::connect(&config).await.ok()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The test is over: what cannot be killed now is gone already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Looks until there is something to see.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(LOOK).await;
    }
}

fn first_url(ports: &Path) -> Option<String> {
    let ports: Value = serde_json::from_slice(&fs::read(ports).ok()?).ok()?;
    Some(ports["nats"][0].as_str()?.to_owned())
}

/// The program: `ORRERY_NATS_SERVER`, or what the project's script obtains.
fn program() -> PathBuf {
    if let Some(path) = env::var_os("ORRERY_NATS_SERVER") {
        return path.into();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/nats-server.sh");
    let output = Command::new(&script)
        .output()
        .unwrap_or_else(|error| panic!("set ORRERY_NATS_SERVER; running `{}`: {error}", script.display()));
    assert!(output.status.success(), "`{}`: {}", script.display(), String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("a path in UTF-8");
    text.lines().last().expect("the script prints the path").trim().into()
}
