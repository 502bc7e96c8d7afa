//! Ways past the keeper, and around its end: what it is asked beside its calls, who may ask, who is killed.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use actors_sandbox::{Entry, Files, Keeper, Reason, Sandbox};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::stage::{self, command, ran};

/// How soon orphans are gone after the start of the next keeper.
const SOON: std::time::Duration = std::time::Duration::from_secs(5);

fn kill(process: u32) {
    let process = rustix::process::Pid::from_raw(process.try_into().unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
}

async fn left(installation: &str) -> usize {
    stage::containers(installation).await.len() + stage::volumes(installation).await.len()
}

/// The keeper is killed while a program runs: the run fails, the next keeper removes the orphan, and only that.
#[tokio::test]
async fn a_killed_keeper_is_started_again_and_reaps_what_it_left() {
    let sandbox = stage::sandbox("orphan").await;
    let neighbour = stage::connect(stage::config("neighbour", 0)).await;
    let long = || command(&["sh", "-c", "echo up; exec sleep 600"]);
    let mut others = neighbour.run(long()).unwrap();
    others.next().await.expect("it started");
    let before = stage::containers("neighbour").await;
    let mut running = sandbox.run(long()).unwrap();
    running.next().await.expect("it started");
    let orphans = stage::containers("orphan").await;
    assert_eq!(orphans.len(), 1);

    let (killed, begun) = (stage::keeper("orphan"), Instant::now());
    kill(killed);
    let error = running.finish().await.expect_err("the run is lost");
    assert_eq!((error.code(), error.may_pass()), ("keeper-lost", true), "{error}");
    while left("orphan").await > 0 {
        assert!(begun.elapsed() < SOON, "an orphan is left after {:?}", begun.elapsed());
    }
    println!("an orphan was reaped {} ms after the kill of its keeper", begun.elapsed().as_millis());

    let ran = ran(&sandbox, command(&["echo", "again"])).await;
    assert_eq!((ran.finished.reason, ran.stdout.as_str()), (Reason::Exited(0), "again\n"));
    assert_ne!(stage::keeper("orphan"), killed);
    assert_eq!(stage::containers("neighbour").await, before);
    others.cancel();
    assert_eq!(others.finish().await.unwrap().reason, Reason::Canceled);
    sandbox.close().await;
    neighbour.close().await;
}

/// The process with the agents is killed: its keeper notices, removes every container, and ends.
#[tokio::test]
async fn a_killed_caller_takes_its_containers_with_it() {
    let _turn = stage::turn().await;
    let mut caller = Command::new(stage::PROGRAM);
    caller.args(["run", &stage::socket(), "caller", "python"]).arg(stage::images());
    caller.args(["sh", "-c", "echo up; exec sleep 600"]).stdout(Stdio::piped());
    let mut caller = caller.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(caller.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    let keeper = PathBuf::from(format!("/proc/{}", stage::keeper("caller")));
    caller.kill().unwrap();
    caller.wait().unwrap();
    let begun = Instant::now();
    while left("caller").await > 0 || keeper.exists() {
        assert!(begun.elapsed() < SOON, "something is left after {:?}", begun.elapsed());
    }
}

/// The variables of a keeper, and who may open its socket: nobody but the user that started it.
#[tokio::test]
async fn a_keeper_hears_its_user_only_and_knows_no_secret() {
    let sandbox = stage::sandbox("narrow").await;
    let keeper = stage::keeper("narrow");
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{keeper}/{name}")).unwrap();
    let variables = read("environ");
    let names: Vec<&str> = variables.split_terminator('\0').filter_map(|one| one.split('=').next()).collect();
    assert_eq!(names, ["PATH"]);
    let socket = std::fs::read_link(format!("/proc/{keeper}/fd/0")).unwrap();
    let number = socket.to_str().unwrap().trim_start_matches("socket:[").trim_end_matches(']').to_owned();
    let sockets = read("net/unix");
    let line =
        sockets.lines().find(|line| line.split_whitespace().nth(6) == Some(&number)).expect("its socket");
    let path = Path::new(line.split_whitespace().nth(7).expect("a path"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(path), mode(path.parent().unwrap())), (0o600, 0o700));
    let folder = path.parent().unwrap().to_path_buf();
    sandbox.close().await;
    assert!(!folder.exists(), "the socket goes with its owner");
}

/// A keeper that somebody else runs, as systemd would: its standard input is a socket that listens.
fn serve(path: &Path, installation: &str) -> Child {
    let socket = OwnedFd::from(UnixListener::bind(path).unwrap());
    let config = serde_json::to_string(&stage::config(installation, 0)).unwrap();
    let mut keeper = Command::new(stage::PROGRAM);
    keeper.args(["sandbox-keeper", &config]).stdin(Stdio::from(socket)).spawn().unwrap()
}

async fn say(stream: &mut UnixStream, head: &[u8], body: &[u8]) {
    stream.write_u32(head.len().try_into().unwrap()).await.unwrap();
    stream.write_u32(body.len().try_into().unwrap()).await.unwrap();
    stream.write_all(head).await.unwrap();
    stream.write_all(body).await.unwrap();
}

async fn hear(stream: &mut UnixStream) -> Value {
    let (head, body) = (stream.read_u32().await.unwrap(), stream.read_u32().await.unwrap());
    let mut bytes = vec![0; (head + body) as usize];
    stream.read_exact(&mut bytes).await.unwrap();
    serde_json::from_slice(&bytes[..head as usize]).unwrap()
}

/// What is said to the keeper in place of a call, and its answer.
async fn asked(path: &Path, head: &[u8]) -> Value {
    let mut stream = UnixStream::connect(path).await.unwrap();
    say(&mut stream, head, b"").await;
    hear(&mut stream).await
}

#[tokio::test]
async fn the_keeper_refuses_what_is_none_of_its_calls() {
    let _turn = stage::turn().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut keeper = serve(&path, "refuses");
    let sandbox = Sandbox::connect(Keeper::At(path.clone())).await.unwrap();
    let time = json!({"secs": 5, "nanos": 0});
    let run = json!({"kind": "Python", "command": ["true"], "variables": [], "wall_clock": time,
        "memory": stage::MEMORY, "workspace": stage::WORKSPACE, "read_back": null});
    let with = |name: &str, value: Value| {
        let mut run = run.clone();
        run[name] = value;
        serde_json::to_vec(&json!({ "run": run })).unwrap()
    };
    for call in [
        br#"{"exec": {"container": "x"}}"#.to_vec(),
        br#"{"pull": "alpine"}"#.to_vec(),
        b"GET /containers/json HTTP/1.1".to_vec(),
        with("privileged", json!(true)),
        with("image", json!("alpine")),
        with("binds", json!(["/:/host"])),
    ] {
        let answer = asked(&path, &call).await;
        let why = answer["failed"]["InvalidRun"]["why"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(why.contains("does not know the call"), "{why}");
    }
    // A message that announces too much is not read.
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_u32(u32::MAX).await.unwrap();
    stream.write_u32(0).await.unwrap();
    assert!(hear(&mut stream).await["failed"]["InvalidRun"].is_object());
    // What is a call is checked when its files have come.
    let mut links = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    links.append_link(&mut header, "x", "/etc/passwd").unwrap();
    let links = links.into_inner().unwrap();
    for (call, files, refusal) in [
        (with("memory", json!(u64::MAX)), &b""[..], "InvalidRun"),
        (with("wall_clock", json!({"secs": 100_000, "nanos": 0})), b"", "InvalidRun"),
        (with("command", json!([])), b"", "InvalidRun"),
        (with("kind", json!("Python")), &links, "WorkspaceUnsafe"),
        (with("kind", json!("Python")), b"no archive", "InvalidRun"),
        (with("kind", json!("Node")), b"", "ImageMissing"),
    ] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        say(&mut stream, &call, b"").await;
        assert_eq!(hear(&mut stream).await, "go");
        say(&mut stream, b"null", files).await;
        let answer = hear(&mut stream).await;
        assert!(answer["failed"][refusal].is_object(), "{refusal}: {answer}");
    }
    // It goes on.
    let mut files = Files::new();
    files.insert("x", Entry::file("kept")).unwrap();
    let ran = ran(&sandbox, command(&["cat", "x"]).files(files)).await;
    assert_eq!((ran.finished.reason, ran.stdout.as_str()), (Reason::Exited(0), "kept"));
    sandbox.close().await;
    // The last caller is gone.
    let ended = tokio::task::spawn_blocking(move || keeper.wait().unwrap());
    let ended = tokio::time::timeout(stage::PATIENCE, ended).await.expect("the keeper ends").unwrap();
    assert!(ended.success());
    let error = Sandbox::connect(Keeper::At(path)).await.expect_err("nobody listens");
    assert_eq!(error.code(), "keeper-missing");
}
