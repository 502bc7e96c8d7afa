//! An engine of the tests' own: Docker, or podman for the tests of that name.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Says where the engine listens, and keeps it until the input ends, which the kernel brings about however the tests end.
const KEEP: &str = r#"echo "$ORRERY__SANDBOX__SOCKET"; read -r _"#;

struct Engine {
    socket: String,
    /// Its input ends with this process.
    _keeper: Child,
}

/// The engine's socket. All tests of a process share the engine.
pub fn socket() -> String {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(start).socket.clone()
}

fn start() -> Engine {
    let script = above("scripts/with-engine.sh").expect("the repository has it");
    let mut keeper = Command::new(script)
        .args(["sh", "-c", KEEP])
        .env("ENGINE", if env!("CARGO_CRATE_NAME") == "podman" { "podman" } else { "docker" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the script can be run");
    let said = keeper.stdout.take().expect("piped");
    let socket = BufReader::new(said).lines().next().and_then(Result::ok);
    let socket =
        socket.expect("dockerd starts: `make tools` installs it, and the script says why it does not start");
    Engine { socket, _keeper: keeper }
}

/// Where `make tools` puts the images.
pub fn images() -> PathBuf {
    above(".tools/sandbox").expect("`make tools` builds the images")
}

/// A path from the root of the repository, which is above every crate.
fn above(path: &str) -> Option<PathBuf> {
    let mut paths = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join(path));
    paths.find(|path| path.exists())
}
