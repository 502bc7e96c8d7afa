//! An engine of the tests' own.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the engine until its input ends, which the kernel brings about however the tests end.
const KEEP: &str = r#"
trap : INT TERM
dockerd --iptables=false --ip6tables=false --bridge=none --data-root "$1/data" --exec-root "$1/exec" \
    --pidfile "$1/pid" -H "unix://$1/socket" >"$1/log" 2>&1 &
engine=$!
read -r _
kill "$engine"
wait "$engine"
rm -rf "$1"
"#;

struct Engine {
    folder: PathBuf,
    _alive: ChildStdin,
}

/// The engine's socket. All tests of a process share the engine.
pub fn socket() -> String {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(start);
    format!("unix://{}", engine.folder.join("socket").display())
}

fn start() -> Engine {
    let found = Command::new("dockerd").arg("--version").output();
    assert!(
        found.is_ok_and(|done| done.status.success()),
        "there is no `dockerd` here: run `make tools` as root"
    );
    let folder = tempfile::Builder::new().prefix("orrery-engine-").tempdir().expect("a folder").keep();
    let mut keeper = Command::new("sh");
    keeper
        .args(["-c", KEEP, "sh"])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let alive = keeper.spawn().expect("a shell").stdin.take().expect("piped");
    let begun = Instant::now();
    while UnixStream::connect(folder.join("socket")).is_err() {
        if begun.elapsed() > PATIENCE {
            let mut log = String::new();
            let _ = std::fs::File::open(folder.join("log")).map(|mut file| file.read_to_string(&mut log));
            panic!("dockerd did not start; the tests of the sandbox must be root on Linux. Its log:\n{log}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Engine { folder, _alive: alive }
}

/// Where `make tools` puts the images.
pub fn images() -> PathBuf {
    let mut folders =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join(".tools/sandbox"));
    folders.find(|folder| folder.is_dir()).expect("`make tools` builds the images")
}
