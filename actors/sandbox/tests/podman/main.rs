//! The same limits on podman: the ways out that matter most, tried against an engine of another maker. `docs/limits.md`
//! says what podman does otherwise.

#[path = "../escapes/engine.rs"]
mod engine;
#[path = "../escapes/stage.rs"]
#[allow(dead_code, reason = "the tests with Docker use all of it")]
mod stage;

use std::time::{Duration, Instant};

use actors_sandbox::{Entry, Files, Reason, limits};

use crate::stage::{MEMORY, MIB, WORKSPACE, command, python, ran, tried};

#[tokio::test]
async fn no_network_is_there_and_nothing_of_the_image_can_be_written() {
    let code = r#"
import os, socket
if [name for _, name in socket.if_nameindex()] != ["lo"]: print("reached:", socket.if_nameindex())
def attempt(name, act):
    try: act(); print("reached:", name)
    except OSError: pass
for address in [("192.0.2.1", 80), ("1.1.1.1", 53), ("example.com", 80)]:
    attempt(address, lambda: socket.create_connection(address, timeout=3))
for path in ["/x", "/etc/x", "/usr/bin/x", "/run/x", "/proc/sys/kernel/hostname", "/sys/fs/cgroup/x"]:
    attempt(path, lambda: os.open(path, os.O_CREAT | os.O_WRONLY))
attempt("a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("root", lambda: os.setuid(0))
held = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapPrm", "CapEff", "CapBnd"))]
held += [line.split()[1] for line in open("/proc/self/status") if line.startswith(("NoNewPrivs", "Seccomp:"))]
print(held)
"#;
    let nothing = "0".repeat(16);
    assert_eq!(
        tried("podman-places", code).await,
        [format!("['{nothing}', '{nothing}', '{nothing}', '1', '2']")]
    );
}

#[tokio::test]
async fn memory_processes_and_the_workspace_are_bounded() {
    let sandbox = stage::sandbox("podman-bounds").await;
    let code = "x = []\nwhile True: x.append(bytearray(1 << 20)); print(len(x), flush=True)";
    let memory = ran(&sandbox, python(code)).await;
    assert_eq!(memory.finished.reason, Reason::OutOfMemory);
    let reached: u64 = memory.stdout.lines().last().expect("some fits").parse().unwrap();
    assert!(reached <= MEMORY / MIB, "{reached} MiB");

    let code = "import os, time\nn = 0\ntry:\n    while n < 100000:\n        if os.fork() == 0: time.sleep(60)\n        n += 1\n\
                except OSError as e: print(n, e.errno)";
    let processes = ran(&sandbox, python(code)).await;
    let most = limits::PIDS_MAX - 3;
    assert_eq!(processes.stdout.trim(), format!("{most} 11"), "{}", processes.stderr);

    let code = "import os, resource, sys\nf = os.open('/workspace/x', os.O_CREAT | os.O_WRONLY)\nn = 0\n\
                try:\n    while True: n += os.write(f, bytes(4096))\nexcept OSError as e: print(n, e.strerror)\n\
                print(resource.getrlimit(resource.RLIMIT_NOFILE))\nsys.exit(3)";
    let workspace = ran(&sandbox, python(code)).await;
    let files = limits::OPEN_FILES_MAX;
    assert_eq!(workspace.stdout, format!("{WORKSPACE} No space left on device\n({files}, {files})\n"));
    assert_eq!(workspace.finished.reason, Reason::WorkspaceFull);
    sandbox.close().await;
}

#[tokio::test]
async fn files_go_in_and_come_out_and_a_canceled_program_is_dead() {
    let sandbox = stage::sandbox("podman-kill").await;
    let mut files = Files::new();
    files.insert("a/b.txt", Entry::file("kept")).unwrap();
    let copy = command(&["cp", "a/b.txt", "c.txt"]).files(files).read_back(MIB);
    let read = ran(&sandbox, copy).await.finished.workspace.unwrap().unwrap();
    assert_eq!(read.files.get("c.txt"), Some(&Entry::file("kept")));

    let code = "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n\
                print('up', flush=True)\nwhile True: pass";
    let mut running = sandbox.run(python(code)).unwrap();
    running.next().await.expect("it started");
    let canceled = Instant::now();
    running.cancel();
    assert_eq!(running.finish().await.unwrap().reason, Reason::Canceled);
    // Podman looks for the end of a container from time to time.
    assert!(canceled.elapsed() < Duration::from_secs(2), "{:?}", canceled.elapsed());
    sandbox.close().await;
    assert!(
        stage::containers("podman-kill").await.is_empty() && stage::volumes("podman-kill").await.is_empty()
    );
}
