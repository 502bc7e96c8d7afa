//! A NATS that is not the embedded one: who is there is found, and who is not there is named.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use actors_host::embedded::{self, Embedded, Ports};
use bus_client::NatsConfig;
use bus_schemas::topology::PARTITIONS_DEFAULT;

use crate::world::{Ended, eventually, orrery, program};

/// A small file system of a test's own, in memory; gone with this.
struct Disk(PathBuf);

impl Disk {
    fn mount(place: &Path) -> Self {
        std::fs::create_dir(place).expect("a directory");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(place).status();
        let mounted = done.is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a small file system and needs root");
        Self(place.to_owned())
    }
    /// Takes all the room that is left, as another program on the same disk does.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("another-program")).expect("a file");
        let some = vec![1; 64 * 1024];
        while file.write_all(&some).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that fails has another message for people.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A server alone, and settings that name it.
struct Nats {
    /// The server's own disk, if it has one: it goes before the directory that it lies in.
    disk: Option<Disk>,
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    server: Option<tokio::process::Child>,
}

impl Nats {
    fn start() -> Self {
        Self::start_on(|_| None)
    }
    /// Starts a server whose files may lie on a disk of their own.
    fn start_on(disk: impl FnOnce(&Path) -> Option<Disk>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let disk = disk(&directory.path().join("server"));
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let (server, nats) = runtime.block_on(async {
            let place = directory.path().join("server");
            let embedded =
                Embedded::new(None, &place, &NatsConfig::default()).expect("run `make tools` first");
            let (server, listening) = embedded.start(Ports::default()).await.expect("the server starts");
            (server, embedded.access(&listening))
        });
        let NatsConfig { url, monitor_url, user, password_file, .. } = nats;
        let password_file = password_file.map(|path| path.display().to_string());
        let settings =
            [("url", url), ("monitor_url", monitor_url), ("user", user), ("password_file", password_file)];
        let lines = settings.map(|(name, value)| format!("{name} = {:?}\n", value.expect("it is known")));
        let settings = format!("[nats]\n{}", lines.concat());
        std::fs::write(directory.path().join("orrery.toml"), settings).expect("a file");
        Self { disk, directory, runtime, server: Some(server) }
    }
    fn data_dir(&self) -> &Path {
        self.directory.path()
    }
    fn orrery(&self, arguments: &[&str]) -> Ended {
        let settings = self.data_dir().join("orrery.toml");
        let settings = settings.to_str().expect("UTF-8");
        orrery(self.data_dir(), &[&["--config", settings], arguments].concat())
    }
    /// Starts a system on it, and waits until it answers.
    fn up(&self) -> Child {
        self.up_at("127.0.0.1:0")
    }
    /// The same, with its gateway at an address.
    fn up_at(&self, http: &str) -> Child {
        let child = Command::new(program())
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--config")
            .arg(self.data_dir().join("orrery.toml"))
            .args(["up", "--http", http])
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary runs");
        eventually("the system", || self.data_dir().join("orrery.json").exists().then_some(()));
        child
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(embedded::stop(server));
        }
    }
}

/// Where nobody is, that is said at once, and not after half a minute.
#[test]
fn who_is_not_there_is_named_at_once() {
    let nats = Nats::start();
    let began = std::time::Instant::now();
    nats.orrery(&["run", "Report on this repository", "--repo", "/"]).failed("no-gateway", 69);
    nats.orrery(&["tasks", "submit", "a goal", "--skill", "noop", "--json"]).failed("no-gateway", 69);
    for verb in [&["verify", "--all"][..], &["events"], &["replay", "--redecide", "--all"]] {
        nats.orrery(verb).failed("no-installation", 69);
    }
    assert!(began.elapsed().as_secs() < 25, "it took {:?}", began.elapsed());
}

/// The gateway of a system on a NATS of its own is found by its data directory, also when the
/// settings name the NATS; that of another installation is not.
#[test]
fn the_gateway_on_the_data_directory_is_found() {
    let nats = Nats::start();
    let mut child = nats.up();
    for verb in [&["tasks", "list", "--json"][..], &["agents", "--json"], &["dead-letters", "list", "--json"]]
    {
        nats.orrery(verb).good();
    }
    let lines = nats.orrery(&["doctor", "--json"]).good().lines();
    let gateway = lines.iter().find(|line| line["check"] == "gateway").expect("a check");
    assert_eq!(gateway["verdict"], "ok", "{gateway}");
    let other = nats.data_dir().join("other.toml");
    let settings = std::fs::read_to_string(nats.data_dir().join("orrery.toml")).expect("a file");
    std::fs::write(&other, settings + "subject_prefix = \"other\"\n").expect("a file");
    let other = other.to_str().expect("UTF-8");
    orrery(nats.data_dir(), &["--config", other, "tasks", "list"]).failed("no-gateway", 69);
    nats.orrery(&["down"]).good();
    assert!(child.wait().expect("it was our child").success());
    nats.orrery(&["tasks", "list"]).failed("no-gateway", 69);
}

/// Whoever follows a task is told when the system goes away, and when it is back. Method: a task that waits, a
/// system that is killed and started again at the same address.
#[test]
fn who_follows_a_task_is_told_that_the_system_is_away() {
    let nats = Nats::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let http = free.local_addr().expect("it is bound").to_string();
    drop(free);
    let mut up = nats.up_at(&http);
    nats.orrery(&["tasks", "submit", "g", "--id", "lonely", "--skill", "juggling"]).good();
    let settings = nats.data_dir().join("orrery.toml");
    let mut watch = Command::new(program())
        .arg("--data-dir")
        .arg(nats.data_dir())
        .arg("--config")
        .arg(&settings)
        .args(["--json", "tasks", "watch", "lonely"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let lines = BufReader::new(watch.stdout.take().expect("it was piped")).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.any(|line| line.contains("queued")));
    up.kill().expect("it runs");
    up.wait().expect("it was our child");
    let told = lines.find(|line| line.contains("does not answer")).expect("a line");
    assert!(told.contains("\"event\":\"waits\"") && told.contains("\"task\":\"lonely\""), "{told}");
    std::fs::remove_file(nats.data_dir().join("orrery.json")).ok();
    let mut up = nats.up_at(&http);
    assert!(lines.any(|line| line.contains("answers again")));
    watch.kill().expect("it runs");
    watch.wait().expect("it was our child");
    nats.orrery(&["down"]).good();
    assert!(up.wait().expect("it was our child").success());
}

/// A machine whose system uses a NATS elsewhere needs no program for one of its own, and the doctor knows.
#[test]
fn no_program_is_missed_where_another_nats_is_used() {
    let nats = Nats::start();
    let mut child = nats.up();
    let file = nats.data_dir().join("none.toml");
    std::fs::write(&file, "nats_server = \"/no/such/program\"\n").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let lines = orrery(nats.data_dir(), &["--config", file, "doctor", "--json"]).good().lines();
    assert!(!lines.iter().any(|line| line["check"] == "nats-server"), "{lines:?}");
    nats.orrery(&["down"]).good();
    assert!(child.wait().expect("it was our child").success());
}

/// Goal: the doctor sees that the disk of a NATS elsewhere is full, although this machine's own has room. Method:
/// a server on a small file system that another program fills.
#[test]
fn the_doctor_sees_the_full_disk_of_another_nats() {
    let nats = Nats::start_on(|place| Some(Disk::mount(place)));
    let mut child = nats.up();
    nats.orrery(&["doctor"]).good();
    nats.disk.as_ref().expect("it was mounted").fill();
    let progress = eventually("the doctor to see it", || {
        let lines = nats.orrery(&["doctor", "--json"]).lines();
        lines.into_iter().find(|line| line["check"] == "progress")
    });
    let (detail, fix) = (progress["detail"].to_string(), progress["fix"].to_string());
    assert!(progress["verdict"] == "fail" && detail.contains("has not renewed its leases"), "{progress}");
    assert!(fix.contains("make room"), "{progress}");
    child.kill().expect("it runs");
    child.wait().expect("it was our child");
}

/// Credentials are used by everything that runs on the data directory, and shown by nothing. Method: a
/// server with a user, a system with the password in its URL, and what each verb prints.
#[test]
fn credentials_are_used_and_never_shown() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr();
    let port = port.expect("an address").port();
    let store = directory.path().join("store");
    let server_file = directory.path().join("own.conf");
    let users = "authorization { users: [{ user: me, password: \"hunter@2\" }] }";
    let text = format!(
        "port: {port}\nmax_payload: 8MB\n{}jetstream {{ store_dir: {store:?} }}\n{users}\n",
        embedded::mappings(PARTITIONS_DEFAULT)
    );
    std::fs::write(&server_file, text).expect("a file");
    let server = embedded::find(None).expect("run `make tools` first");
    let mut server =
        Command::new(server).arg("-c").arg(&server_file).stderr(Stdio::null()).spawn().expect("it starts");
    let settings = directory.path().join("orrery.toml");
    let url = format!("nats://me:hunter%402@127.0.0.1:{port}");
    std::fs::write(&settings, format!("[nats]\nurl = \"{url}\"\nprofile = \"fast\"\n")).expect("a file");
    let settings = settings.to_str().expect("UTF-8");
    let data_dir = directory.path().join("data");
    // The server may not listen yet: the system waits for it.
    let said = ["stdout", "stderr"].map(|name| directory.path().join(name));
    let file = |path: &Path| std::fs::File::create(path).expect("a file");
    let mut up = Command::new(program())
        .arg("--data-dir")
        .arg(&data_dir)
        .args(["--config", settings, "-vv", "--json", "up", "--http", "127.0.0.1:0"])
        .stdout(file(&said[0]))
        .stderr(file(&said[1]))
        .spawn()
        .expect("the binary runs");
    eventually("the system", || data_dir.join("orrery.json").exists().then_some(()));
    let mut shown = String::new();
    // Without settings: what the running system says is enough.
    for verb in
        [&["doctor", "--json"][..], &["tasks", "submit", "nothing", "--skill", "noop", "--wait", "-vv"]]
    {
        let ended = orrery(&data_dir, verb).good();
        shown += &format!("{}{}", ended.stdout, ended.stderr);
    }
    shown += &orrery(&data_dir, &["--config", settings, "config", "show"]).good().stdout;
    orrery(&data_dir, &["down"]).good();
    assert!(up.wait().expect("it was our child").success());
    said.iter().for_each(|path| shown += &std::fs::read_to_string(path).expect("a file"));
    server.kill().expect("it runs");
    server.wait().expect("it was our child");
    assert!(shown.contains(&port.to_string()), "{shown}");
    assert!(
        !shown.contains("hunter"),
        "{}",
        shown.lines().find(|line| line.contains("hunter")).unwrap_or_default()
    );
}
