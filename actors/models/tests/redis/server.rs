//! A Redis of a test's own: a free port, a folder of its own, a password, gone with the test.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The password, which must be shown nowhere.
pub const PASSWORD: &str = "hunter2-hunter2";
/// How long it may take to start on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that cannot be waited for otherwise.
const LOOK: Duration = Duration::from_millis(10);

/// The server, killed when dropped.
pub struct Redis {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Redis {
    /// Starts it and waits until it listens.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let process = spawn(&folder, port);
        Self { folder, port, process }
    }

    /// Its URL, with the password.
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}/0", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills it without a word; what it held is gone.
    pub fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) {
        self.process = spawn(&self.folder, self.port);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &TempDir, port: u16) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", PASSWORD]);
    command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder.path());
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let process = spawned.expect("there is no `redis-server` here: run `make tools` as root");
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < PATIENCE, "redis-server does not listen on port {port}");
        std::thread::sleep(LOOK);
    }
    process
}
