//! What the engine says about a container: exactly the options of the constants, and none beside them. What is asked of
//! the engine: exactly the allow-list.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use actors_sandbox::{Entry, Files, Trial, limits};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::stage::{self, MEMORY, MIB, WORKSPACE, command, ran};

/// Options that may only have these values; all others must be absent, empty or zero.
fn expected() -> Value {
    json!({
        "NetworkMode": "none",
        "ReadonlyRootfs": true,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "IpcMode": "private",
        "CgroupnsMode": "host",
        "ShmSize": limits::SHM_BYTES,
        "PidsLimit": limits::PIDS_MAX,
        "Memory": MEMORY,
        "MemorySwap": MEMORY,
        "NanoCpus": limits::NANO_CPUS,
        "CpuShares": limits::CPU_SHARES,
        "Ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "cpu", "Soft": 900, "Hard": 900},
            {"Name": "fsize", "Soft": limits::FILE_BYTES_MAX, "Hard": limits::FILE_BYTES_MAX},
            {"Name": "nofile", "Soft": 1024, "Hard": 1024},
            {"Name": "nproc", "Soft": 16384, "Hard": 16384},
        ],
        "Tmpfs": {
            "/run": "ro,noexec,nosuid,nodev,size=4096",
            "/tmp": format!("rw,noexec,nosuid,nodev,size={},mode=1777", limits::TMP_BYTES),
            "/var/tmp": "ro,noexec,nosuid,nodev,size=4096",
        },
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
        "Runtime": "runc",
        "ConsoleSize": [0, 0],
    })
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) => false,
    }
}

async fn get(path: &str) -> Value {
    let socket = stage::socket();
    let mut stream = UnixStream::connect(socket.trim_start_matches("unix://")).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON")
}

#[tokio::test]
async fn no_option_of_a_container_is_beyond_the_constants() {
    let sandbox = stage::sandbox("options").await;
    let mut running = sandbox.run(command(&["sh", "-c", "echo up; exec sleep 600"])).unwrap();
    running.next().await.expect("it started");
    let id = stage::containers("options").await.pop().unwrap();
    let found = get(&format!("/v1.41/containers/{id}/json")).await;
    let options = found["HostConfig"].as_object().expect("options");
    let expected = expected();
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&options[name], value, "{name}");
    }
    // The engine masks files of the kernel by itself; the workspace is looked at below.
    let looked_at = ["MaskedPaths", "ReadonlyPaths", "Mounts"];
    for (name, value) in options {
        let known = expected.get(name).is_some() || looked_at.contains(&name.as_str());
        assert!(known || is_nothing(value), "{name} is {value}");
    }
    for name in ["MaskedPaths", "ReadonlyPaths"] {
        assert!(options[name].as_array().unwrap().len() >= 5, "{name} is {}", options[name]);
    }
    assert_eq!(found["AppArmorProfile"].as_str().unwrap_or_default().replace("docker-default", ""), "");
    let config = &found["Config"];
    assert_eq!((&config["User"], &config["NetworkDisabled"]), (&json!("65532:65532"), &json!(true)));
    assert_eq!(config["Labels"]["orrery.installation"], "options");

    running.cancel();
    running.finish().await.unwrap();
    sandbox.close().await;
}

#[tokio::test]
async fn no_path_of_the_host_is_mounted() {
    let sandbox = stage::sandbox("mounts").await;
    let mut running = sandbox.run(command(&["sh", "-c", "echo up; exec sleep 600"])).unwrap();
    running.next().await.expect("it started");
    let id = stage::containers("mounts").await.pop().unwrap();
    let found = get(&format!("/v1.41/containers/{id}/json")).await;
    let mounts = found["Mounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 1, "{mounts:?}");
    assert_eq!((&mounts[0]["Type"], &mounts[0]["Destination"]), (&json!("volume"), &json!("/workspace")));
    assert!(is_nothing(&found["HostConfig"]["Binds"]) && is_nothing(&found["HostConfig"]["Devices"]));
    let name = mounts[0]["Name"].as_str().unwrap();
    let volume = get(&format!("/v1.41/volumes/{name}")).await;
    let inodes = limits::WORKSPACE_INODES_MAX;
    let pages = WORKSPACE / rustix::param::page_size() as u64;
    let options = format!("nr_blocks={pages},nr_inodes={inodes},uid=65532,gid=65532,mode=0700,nosuid,nodev");
    assert_eq!(volume["Options"], json!({"type": "tmpfs", "device": "tmpfs", "o": options}));
    assert_eq!(volume["Driver"], "local");
    // What the engine itself mounts: its own files, read-only.
    let listed = ran(&sandbox, command(&["cat", "/proc/self/mounts"])).await.stdout;
    for line in listed.lines().filter(|line| line.starts_with("/dev/")) {
        let parts: Vec<&str> = line.split(' ').collect();
        assert!(["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"].contains(&parts[1]), "{line}");
        assert!(parts[3].starts_with("ro"), "{line}");
    }
    running.cancel();
    running.finish().await.unwrap();
    sandbox.close().await;
}

/// The calls that a sandbox makes, with ids and names as `*`.
const ALLOWED: [&str; 22] = [
    "DELETE /containers/*",
    "DELETE /images/*",
    "DELETE /volumes/*",
    "GET /containers/*/archive",
    "GET /containers/*/json",
    "GET /containers/json",
    "GET /exec/*/json",
    "GET /images/json",
    "GET /info",
    "GET /version",
    "GET /volumes",
    "POST /build",
    "POST /containers/*/exec",
    "POST /containers/*/kill",
    "POST /containers/*/pause",
    "POST /containers/*/start",
    "POST /containers/*/wait",
    "POST /containers/create",
    "POST /exec/*/start",
    "POST /images/create",
    "POST /volumes/create",
    "PUT /containers/*/archive",
];

/// A request line as in the list.
fn called(line: &str) -> String {
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && !part.starts_with("v1.")).collect();
    let known =
        ["containers", "volumes", "exec", "images", "info", "version", "json", "create", "start", "kill"];
    let verbs = ["pause", "wait", "archive"];
    let parts = parts.iter().enumerate().map(|(at, part)| {
        let is_word = known.contains(part) || verbs.contains(part) || (at == 0);
        if is_word { *part } else { "*" }
    });
    format!("{method} /{}", parts.collect::<Vec<_>>().join("/"))
}

/// Passes everything on to the engine, and notes the first line of each request. The sandbox's client uses a connection
/// for one request.
fn listening(path: &std::path::Path, seen: Arc<Mutex<BTreeSet<String>>>) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut inner, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let socket = stage::socket();
                let mut engine = UnixStream::connect(socket.trim_start_matches("unix://")).await.unwrap();
                let mut begin = vec![0; 4096];
                let bytes = inner.read(&mut begin).await.unwrap_or(0);
                let line = String::from_utf8_lossy(&begin[..bytes]);
                seen.lock().unwrap().insert(called(line.lines().next().unwrap_or_default()));
                engine.write_all(&begin[..bytes]).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inner, &mut engine).await;
            });
        }
    });
}

/// A whole life of a sandbox behind a proxy: whatever callers ask, the engine hears these calls and no others.
#[tokio::test]
async fn the_engine_hears_allowed_calls_only() {
    let folder = tempfile::tempdir().unwrap();
    let (path, seen) = (folder.path().join("socket"), Arc::default());
    listening(&path, Arc::clone(&seen));
    let socket = Some(path.display().to_string());
    let config = actors_sandbox::Config { socket, ..stage::config("calls", 1) };
    let sandbox = stage::with(config).await;
    let mut files = Files::new();
    files.insert("x", Entry::file("x")).unwrap();
    ran(&sandbox, command(&["sh", "-c", "exit 3"]).files(files).read_back(MIB)).await;
    let mut image = Files::new();
    image.insert("Dockerfile", Entry::file("FROM scratch\nCOPY Dockerfile /\n")).unwrap();
    assert_eq!(sandbox.build(&image).await.unwrap(), Trial::Built);
    image.replace("Dockerfile", Entry::file("FROM scratch\nCOPY nothing /\n")).unwrap();
    assert!(matches!(sandbox.build(&image).await.unwrap(), Trial::Failed(_)));
    image.replace("Dockerfile", Entry::file("FROM scratch\nRUN true\n")).unwrap();
    assert!(matches!(sandbox.build(&image).await.unwrap(), Trial::Untried(_)));
    sandbox.close().await;
    let seen = seen.lock().unwrap();
    let others: Vec<&String> = seen.iter().filter(|call| !ALLOWED.contains(&call.as_str())).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(seen.len() > 12, "{seen:?}");
}
