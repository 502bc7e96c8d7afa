//! Ways to outlive the end: of the program, of the run.

use std::time::{Duration, Instant};

use actors_sandbox::{Kind, Reason, Run, Sandbox};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::stage::{self, command, python, ran};

/// The program ends at once; what it left behind is dead when the run is over.
#[tokio::test]
async fn a_daemon_does_not_outlive_its_parent() {
    let sandbox = stage::sandbox("daemon").await;
    let code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        print('daemon', flush=True)\n        time.sleep(600)\n    os._exit(0)";
    let begun = Instant::now();
    let ran = ran(&sandbox, python(code)).await;
    assert_eq!(ran.finished.reason, Reason::Exited(0));
    // The engine gives output that is still open two seconds.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let running: Vec<_> = engine_running("daemon").await;
    assert_eq!(running, Vec::<String>::new());
    sandbox.close().await;
}

async fn engine_running(installation: &str) -> Vec<String> {
    let mut running = Vec::new();
    for id in stage::containers(installation).await {
        let found = stage::engine().inspect_container(&id, None).await;
        let state = found.ok().and_then(|found| found.state);
        if state.is_some_and(|state| state.running == Some(true)) {
            running.push(id);
        }
    }
    running
}

/// A caller that goes away takes its program with it.
#[tokio::test]
async fn a_dropped_run_is_canceled() {
    let sandbox = stage::sandbox("dropped").await;
    let mut running = sandbox.run(command(&["sh", "-c", "echo up; exec sleep 600"])).unwrap();
    running.next().await.expect("it started");
    drop(running);
    let left = async || stage::containers("dropped").await.len() + stage::volumes("dropped").await.len();
    let gone = async { while left().await > 0 {} };
    tokio::time::timeout(stage::PATIENCE, gone).await.expect("the container and its volume go");
    sandbox.close().await;
}

/// Containers that wait are used once: the next run finds nothing of the one before.
#[tokio::test]
async fn a_warm_container_serves_one_run() {
    let sandbox = stage::with(stage::config("single-use", 2)).await;
    let waiting = stage::containers("single-use").await;
    assert_eq!(waiting.len(), 2);
    let code = "import os, socket\nprint(sorted(os.listdir('/tmp') + os.listdir('/dev/shm') + os.listdir('.')))\n\
                for place in ['/tmp', '/dev/shm', '.']: open(place + '/left', 'w').close()";
    for _ in 0..6 {
        let run = Run::new(Kind::Python, ["python3", "-c", code]);
        let ran = ran(&sandbox, run).await;
        assert_eq!(ran.stdout, "[]\n", "{}", ran.stderr);
    }
    sandbox.warmed().await.unwrap();
    let gone = async {
        loop {
            let now = stage::containers("single-use").await;
            if now.len() == 2 && !now.iter().any(|id| waiting.contains(id)) {
                break;
            }
        }
    };
    tokio::time::timeout(stage::PATIENCE, gone).await.expect("two others wait");
    sandbox.close().await;
    assert!(
        stage::containers("single-use").await.is_empty() && stage::volumes("single-use").await.is_empty()
    );
}

/// More runs than places wait for each other, and a container that ended while it waited is replaced.
#[tokio::test]
async fn runs_wait_for_a_place_and_dead_containers_are_replaced() {
    let sandbox = stage::with(stage::config("places-wait", 1)).await;
    for id in stage::containers("places-wait").await {
        stage::engine().kill_container(&id, None).await.unwrap();
    }
    let runs: Vec<_> =
        (0..8).map(|n| ran(&sandbox, Run::new(Kind::Python, ["echo".into(), n.to_string()]))).collect();
    for (n, ran) in futures::future::join_all(runs).await.into_iter().enumerate() {
        assert_eq!((ran.finished.reason, ran.stdout), (Reason::Exited(0), format!("{n}\n")));
    }
    sandbox.close().await;
    assert!(stage::containers("places-wait").await.is_empty());
}

/// Without an engine, with something else at the socket, or over the network nothing runs, and the error says what to do.
#[tokio::test]
async fn without_an_engine_nothing_runs() {
    for socket in ["/nowhere/docker.sock", "unix:///nowhere/docker.sock", "tcp://127.0.0.1:2375"] {
        let config = actors_sandbox::Config { socket: Some(socket.into()), ..stage::config("nobody", 0) };
        let error = Sandbox::connect(config).await.expect_err(socket);
        assert_eq!(error.code(), "engine-missing", "{socket}");
        assert!(error.hint().contains("nothing runs outside a sandbox"));
    }
}

/// An engine that only says what it is.
async fn said_by(about: &str) -> Result<Sandbox, actors_sandbox::Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let about = about.to_owned();
    let answers = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            let bytes = stream.read(&mut asked).await.unwrap();
            let is_version = String::from_utf8_lossy(&asked[..bytes]).contains("/version");
            let body = if is_version { r#"{"ApiVersion":"1.41"}"# } else { &about };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let socket = Some(path.display().to_string());
    let done = Sandbox::connect(actors_sandbox::Config { socket, ..stage::config("unfit", 0) }).await;
    answers.abort();
    done
}

#[tokio::test]
async fn an_engine_that_cannot_enforce_the_limits_is_refused() {
    let seccomp = |profile: &str| format!(r#""SecurityOptions":["name=seccomp,profile={profile}"]"#);
    let limits = r#""MemoryLimit":true,"SwapLimit":true,"PidsLimit":true,"CpuCfsQuota":true"#;
    let (default, unconfined) = (seccomp("default"), seccomp("unconfined"));
    let fewer = limits.replace(r#""SwapLimit":true,"#, "");
    for (about, missing) in [
        (format!("{{{limits}}}"), "seccomp"),
        (format!("{{{limits},{unconfined}}}"), "seccomp"),
        (format!("{{{fewer},{default}}}"), "swap limits"),
        (
            "{}".to_owned(),
            "memory limits, swap limits, limits of processes, limits of processor time, seccomp",
        ),
    ] {
        let error = said_by(&about).await.expect_err(&about);
        assert_eq!(error.code(), "engine-unfit");
        assert_eq!(error.to_string(), format!("the container engine cannot enforce: {missing}"));
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_exit_code() {
    let sandbox = stage::sandbox("absent").await;
    let ran = ran(&sandbox, command(&["/no/such/program"])).await;
    assert!(matches!(ran.finished.reason, Reason::Exited(126 | 127)), "{:?}", ran.finished.reason);
    sandbox.close().await;
}
