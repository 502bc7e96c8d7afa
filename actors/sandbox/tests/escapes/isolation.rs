//! Ways to reach the host, the network, the kernel, other containers, or more rights.

use actors_sandbox::Reason;

use crate::stage::{self, command, python, ran, tried};

/// Calls of the C library and of the kernel, by which a program tries; `attempt` prints what succeeded.
const CALLS: &str = r#"
import ctypes, os, platform, stat
libc = ctypes.CDLL(None, use_errno=True)
def call(what, result):
    if result != -1: print("reached:", what, result)
def number(x86, arm):
    return x86 if platform.machine() == "x86_64" else arm
def attempt(what, act):
    try: print("reached:", what, act())
    except OSError: pass
"#;

async fn nothing_reached(installation: &str, code: &str) {
    let lines = tried(installation, &format!("{CALLS}\n{code}\nprint('done')")).await;
    assert_eq!(lines, ["done"]);
}

#[tokio::test]
async fn no_network_is_there() {
    let code = r#"
import socket
if [name for _, name in socket.if_nameindex()] != ["lo"]: print("reached:", socket.if_nameindex())
def connect(address):
    with socket.create_connection(address, timeout=3) as c: return c
for address in [("192.0.2.1", 80), ("1.1.1.1", 53), ("example.com", 80)]:
    attempt(address, lambda: connect(address))
def raw(): return socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
def packet(): return socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
attempt("raw", raw); attempt("packet", packet)
for path in ["/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock"]:
    if os.path.exists(path): print("reached:", path)
"#;
    nothing_reached("no-network", code).await;
}

#[tokio::test]
async fn nothing_can_be_mounted() {
    let code = r#"
call("tmpfs", libc.mount(b"tmpfs", b"/workspace", b"tmpfs", 0, None))
call("proc", libc.mount(b"proc", b"/tmp", b"proc", 0, None))
call("bind", libc.mount(b"/", b"/workspace", None, 4096, None))
call("remount", libc.mount(None, b"/", None, 32 | 4096, None))
call("umount", libc.umount2(b"/proc/kcore", 2))
call("chroot", libc.chroot(b"/workspace"))
call("pivot_root", libc.syscall(number(155, 41), b"/workspace", b"/workspace"))
call("fsopen", libc.syscall(430, b"tmpfs", 0))
call("open_tree", libc.syscall(428, -100, b"/", 1))
"#;
    nothing_reached("no-mounts", code).await;
}

#[tokio::test]
async fn no_namespace_can_be_made_or_entered() {
    let code = r#"
for name, flag in dict(user=0x10000000, mount=0x20000, pid=0x20000000, net=0x40000000, uts=0x4000000,
                       ipc=0x8000000, cgroup=0x2000000).items():
    call("unshare " + name, libc.unshare(flag))
for name in os.listdir("/proc/1/ns"):
    def enter():
        call("setns " + name, libc.setns(os.open("/proc/1/ns/" + name, os.O_RDONLY), 0))
        raise OSError
    attempt(name, enter)
call("clone", libc.syscall(number(56, 220), 0x10000000 | 17, 0, 0, 0, 0))
"#;
    nothing_reached("no-namespaces", code).await;
}

#[tokio::test]
async fn the_kernels_files_cannot_be_written() {
    let code = r#"
tried = 0
for top in ["/proc/sys", "/sys", "/proc/1", "/proc/irq", "/proc/bus", "/proc/fs"]:
    for folder, _, names in os.walk(top):
        if folder.startswith("/proc/1/task"): continue
        for name in names:
            path = os.path.join(folder, name)
            # Settings of the init itself, which has the rights of the program.
            if top == "/proc/1" and os.stat("/proc/1").st_uid == os.getuid(): continue
            tried += 1
            attempt(path, lambda: os.open(path, os.O_WRONLY | os.O_NONBLOCK))
assert tried > 500, tried
attempt("sysrq", lambda: os.open("/proc/sysrq-trigger", os.O_WRONLY))
attempt("cgroup", lambda: os.mkdir("/sys/fs/cgroup/memory/x"))
for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list"]:
    def read():
        with open(path, "rb") as f:
            content = f.read(1)
            if not content: raise OSError
            return content
    attempt(path, read)
if os.listdir("/sys/firmware"): print("reached: firmware")
"#;
    nothing_reached("no-kernel-files", code).await;
}

#[tokio::test]
async fn only_bounded_places_can_be_written() {
    let code = r#"
def write(folder):
    path = os.path.join(folder, "x")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY)); os.unlink(path)
    return folder
bounded = ["/dev/mqueue", "/dev/shm", "/tmp", "/workspace"]
for folder, below, _ in os.walk("/"):
    if folder == "/proc": below.clear(); continue
    if folder in bounded: write(folder)
    else: attempt(folder, lambda: write(folder))
for line in open("/proc/self/mountinfo"):
    parts = line.split(" - ")
    place, options, kind = parts[0].split()[4], parts[0].split()[5], parts[1].split()[0]
    known = place in bounded + ["/", "/dev", "/dev/pts", "/proc", "/sys"] or kind in ["tmpfs", "cgroup", "cgroup2", "proc", "sysfs"]
    if not known and "ro" not in options.split(","): print("reached:", line)
"#;
    nothing_reached("no-writes", code).await;
}

#[tokio::test]
async fn no_program_gets_the_rights_of_another_user() {
    let code = r#"
import shutil, subprocess
for folder, below, names in os.walk("/"):
    if folder == "/proc": below.clear(); continue
    for name in names:
        mode = os.lstat(os.path.join(folder, name)).st_mode
        if mode & (stat.S_ISUID | stat.S_ISGID): print("reached: bits of", folder, name)
shutil.copy("/usr/bin/id", "/workspace/id")
os.chmod("/workspace/id", 0o6755)
said = subprocess.run(["/workspace/id", "-u"], capture_output=True, text=True).stdout.strip()
if said != str(os.getuid()): print("reached:", said)
for act in [lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.chown("/workspace/id", 0, 0)]:
    attempt("root", act)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
status = {key: value.strip() for key, value in status.items()}
for key in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]:
    if int(status[key], 16): print("reached:", key, status[key])
if (status["NoNewPrivs"], status["Seccomp"]) != ("1", "2"): print("reached:", status)
if os.getuid() < 65532 or os.getgid() != os.getuid() or set(os.getgroups()) - {os.getgid()}: print("reached: ids")
"#;
    nothing_reached("no-rights", code).await;
}

#[tokio::test]
async fn nothing_is_executed_from_tmp() {
    let code = r#"
import mmap, shutil, subprocess
for folder in ["/tmp", "/dev/shm"]:
    path = folder + "/true"
    shutil.copy("/usr/bin/true", path); os.chmod(path, 0o755)
    attempt("exec " + path, lambda: subprocess.run([path]))
    def map():
        with open(path, "rb") as f: return mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE)
    attempt("map " + path, map)
    attempt("device", lambda: os.mknod(folder + "/zero", stat.S_IFCHR | 0o666, os.makedev(1, 5)))
"#;
    nothing_reached("no-tmp", code).await;
}

#[tokio::test]
async fn no_device_of_the_host_is_there() {
    let code = r#"
known = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero console".split()
extra = set(os.listdir("/dev")) - set(known)
if extra: print("reached:", extra)
attempt("disk", lambda: os.mknod("/workspace/sda", stat.S_IFBLK | 0o666, os.makedev(8, 0)))
attempt("mem", lambda: os.mknod("/workspace/mem", stat.S_IFCHR | 0o666, os.makedev(1, 1)))
"#;
    nothing_reached("no-devices", code).await;
}

#[tokio::test]
async fn calls_that_reach_the_kernel_are_refused() {
    let code = r#"
for name, x86, arm in [("keyctl", 250, 219), ("add_key", 248, 217), ("bpf", 321, 280), ("perf_event_open", 298, 241),
        ("kexec_load", 246, 104), ("init_module", 175, 105), ("finit_module", 313, 273), ("reboot", 169, 142),
        ("swapon", 167, 224), ("open_by_handle_at", 304, 265), ("settimeofday", 164, 170), ("sethostname", 170, 161),
        ("acct", 163, 89), ("quotactl", 179, 60), ("userfaultfd", 323, 282), ("syslog", 103, 116)]:
    call(name, libc.syscall(number(x86, arm), 0, 0, 0, 0, 0))
"#;
    nothing_reached("no-calls", code).await;
}

/// Two containers of one sandbox run at once; the second looks for the first.
#[tokio::test]
async fn programs_of_other_containers_are_not_there() {
    let sandbox = stage::sandbox("no-others").await;
    let mut first = sandbox.run(command(&["sh", "-c", "echo up; exec sleep 4711"])).unwrap();
    first.next().await.expect("it started");
    let code = r#"
import os
for pid in range(1, 40000):
    try:
        line = open(f"/proc/{pid}/cmdline").read()
        if "47" + "11" in line: print("reached:", pid, line)
    except OSError: pass
pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
print("processes", len(pids), "uid", os.getuid())
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for pid in range(2, 5000):
    if pid in pids: continue
    if libc.ptrace(16, pid, 0, 0) != -1 and pid not in map(int, filter(str.isdigit, os.listdir("/proc"))): print("traced", pid)
"#;
    let ran = ran(&sandbox, python(code)).await;
    assert_eq!(ran.finished.reason, Reason::Exited(0), "{}", ran.stderr);
    // The init, its sleep, and the program; the uid is not that of the first container.
    assert_eq!(ran.stdout, "processes 3 uid 65533\n");
    first.cancel();
    first.finish().await.unwrap();
    sandbox.close().await;
}

/// A program sees the variables of its run and constants, and nothing of the process that started it.
#[tokio::test]
async fn no_variable_of_the_host_is_there() {
    let sandbox = stage::sandbox("no-variables").await;
    let code = "import os\nprint(sorted(name for name in os.environ if name != 'LC_CTYPE'))";
    let ran = ran(&sandbox, python(code).variable("GIVEN", "a b'$(id)")).await;
    assert_eq!(
        ran.stdout.trim(),
        "['GIVEN', 'HOME', 'HOSTNAME', 'LANG', 'MYPY_CACHE_DIR', 'PATH', 'PYTHONDONTWRITEBYTECODE', 'PYTHONPATH', \
         'RUFF_CACHE_DIR', 'TMPDIR']"
    );
    sandbox.close().await;
}
