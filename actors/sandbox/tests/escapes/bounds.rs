//! Ways to use more than the bounds: processes, memory, space, output, time.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use actors_sandbox::{Chunk, Entry, Files, Kind, Reason, limits, measure};

use crate::stage::{self, MEMORY, MIB, WORKSPACE, command, python, ran};

const BOMB: &str = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass";

/// Two containers fork without end; a third still starts processes and ends.
#[tokio::test]
async fn two_fork_bombs_stay_in_their_containers() {
    let sandbox = stage::alone(stage::config("bombs", 0)).await;
    let bombs: Vec<_> = (0..2).map(|_| sandbox.run(python(BOMB)).unwrap()).collect();
    let code = "import subprocess\nfor _ in range(20): subprocess.run(['true'], check=True)\n\
                many = [subprocess.Popen(['sleep', '9']) for _ in range(50)]\nprint('free')\n[p.kill() for p in many]";
    for _ in 0..2 {
        let ran = ran(&sandbox, python(code)).await;
        assert_eq!(
            (ran.finished.reason, ran.stdout.as_str()),
            (Reason::Exited(0), "free\n"),
            "{}",
            ran.stderr
        );
    }
    for bomb in bombs {
        let canceled = Instant::now();
        bomb.cancel();
        assert_eq!(bomb.finish().await.unwrap().reason, Reason::Canceled);
        println!("a bomb was dead after {} ms", canceled.elapsed().as_millis());
        // A bomb dies whole; the time is that of hundreds of processes on a busy machine.
        assert!(canceled.elapsed() < Duration::from_secs(5), "{:?}", canceled.elapsed());
    }
    sandbox.close().await;
}

#[tokio::test]
async fn processes_are_bounded() {
    let sandbox = stage::sandbox("processes").await;
    let code = "import os, time\nn = 0\ntry:\n    while n < 100000:\n        if os.fork() == 0: time.sleep(60)\n        n += 1\n\
                except OSError as e: print(n, e.errno)";
    let ran = ran(&sandbox, python(code)).await;
    // The init, its sleep and the program count too.
    let most = limits::PIDS_MAX - 3;
    assert_eq!(ran.stdout.trim(), format!("{most} 11"), "{}", ran.stderr);
    sandbox.close().await;
}

#[tokio::test]
async fn memory_is_bounded_and_has_no_swap() {
    let sandbox = stage::sandbox("memory").await;
    let code = "x = []\nwhile True: x.append(bytearray(1 << 20)); print(len(x), flush=True)";
    let ran = ran(&sandbox, python(code)).await;
    assert_eq!(ran.finished.reason, Reason::OutOfMemory);
    let reached: u64 = ran.stdout.lines().last().expect("some fits").parse().unwrap();
    assert!((MEMORY / MIB / 2..=MEMORY / MIB).contains(&reached), "{reached} MiB");
    sandbox.close().await;
}

/// The pages of the workspace, of `/tmp` and of `/dev/shm` count as memory too.
#[tokio::test]
async fn files_in_memory_are_memory() {
    let sandbox = stage::sandbox("file-memory").await;
    let code = "f = open('/workspace/x', 'wb')\nfor _ in range(200): f.write(bytes(1 << 20)); f.flush()";
    let run = python(code).memory(64 * MIB).workspace(200 * MIB);
    assert_eq!(ran(&sandbox, run).await.finished.reason, Reason::OutOfMemory);
    sandbox.close().await;
}

#[tokio::test]
async fn the_workspace_is_bounded_to_the_byte() {
    let sandbox = stage::sandbox("quota").await;
    let code = "import os, sys\nf = os.open('/workspace/x', os.O_CREAT | os.O_WRONLY)\nn = 0\n\
                try:\n    while True: n += os.write(f, bytes(4096))\nexcept OSError as e: print(n, e.strerror)\n\
                print(os.stat('/workspace/x').st_size)\nsys.exit(3)";
    let ran = ran(&sandbox, python(code)).await;
    assert_eq!(ran.stdout, format!("{WORKSPACE} No space left on device\n{WORKSPACE}\n"));
    assert_eq!(ran.finished.reason, Reason::WorkspaceFull);
    sandbox.close().await;
}

#[tokio::test]
async fn files_without_content_are_bounded() {
    let sandbox = stage::sandbox("inodes").await;
    let code = "import os\nn = 0\ntry:\n    while n < 1000000: os.mkdir(f'/workspace/{n}'); n += 1\n\
                except OSError as e: print(n, e.strerror)";
    let ran = ran(&sandbox, python(code)).await;
    let most = limits::WORKSPACE_INODES_MAX - 1;
    assert_eq!(ran.stdout.trim(), format!("{most} No space left on device"), "{}", ran.stderr);
    sandbox.close().await;
}

#[tokio::test]
async fn a_single_file_is_bounded() {
    let sandbox = stage::sandbox("fsize").await;
    let code = format!(
        "import os, resource\nopen('/workspace/x', 'w').close()\nos.truncate('/workspace/x', {0})\nprint('holes')\n\
         try: os.truncate('/workspace/x', {0} + 1)\nexcept OSError as e: print(e.strerror)\n\
         print(resource.getrlimit(resource.RLIMIT_CORE))\n\
         try: resource.setrlimit(resource.RLIMIT_FSIZE, ({0} * 2, {0} * 2))\nexcept ValueError as e: print('kept')",
        limits::FILE_BYTES_MAX
    );
    let ran = ran(&sandbox, python(&code)).await;
    assert_eq!(ran.stdout, "holes\nFile too large\n(0, 0)\nkept\n", "{}", ran.stderr);
    sandbox.close().await;
}

#[tokio::test]
async fn places_beside_the_workspace_and_open_files_are_bounded() {
    let sandbox = stage::sandbox("places").await;
    let code = "import os\nfor place in ['/tmp', '/dev/shm']:\n    f = os.open(place + '/x', os.O_CREAT | os.O_WRONLY); n = 0\n\
                \x20   try:\n        while True: n += os.write(f, bytes(65536))\n    except OSError as e: print(n, e.strerror)\n\
                \x20   os.close(f); os.unlink(place + '/x')\n\
                n = 3\ntry:\n    while True: os.dup(0); n += 1\nexcept OSError: print(n)";
    let ran = ran(&sandbox, python(code)).await;
    let full = |bytes: u64| format!("{bytes} No space left on device\n");
    let expected =
        format!("{}{}{}\n", full(limits::TMP_BYTES), full(limits::SHM_BYTES), limits::OPEN_FILES_MAX);
    assert_eq!(ran.stdout, expected, "{}", ran.stderr);
    sandbox.close().await;
}

/// The memory of the keeper and that of its caller are looked at.
#[tokio::test]
async fn a_flood_of_output_needs_bounded_memory() {
    let _turn = stage::turn().await;
    let flood = "import os\nfor _ in range(1 << 14): os.write(1, bytes(1 << 16))";
    let mut owner = Command::new(stage::PROGRAM);
    owner.args(["run", &stage::socket(), "flood", "python"]).arg(stage::images());
    owner.args(["python3", "-c", flood]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut owner = owner.spawn().unwrap();
    let (mut output, mut said, mut peak, mut passed) =
        (owner.stdout.take().unwrap(), String::new(), 0, 0_u64);
    let mut processes = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let bytes = output.read(&mut buffer).unwrap();
        if processes.is_empty() {
            processes = vec![owner.id(), stage::keeper("flood")];
        }
        for process in &processes {
            let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or(0));
        }
        passed += bytes as u64;
        if bytes == 0 {
            break;
        }
    }
    owner.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(owner.wait().unwrap().success(), "{said}");
    assert_eq!(said.trim(), format!("Exited(0), {} bytes, truncated: true", 1_u64 << 30));
    assert_eq!(passed, limits::OUTPUT_BYTES_MAX);
    assert!((1..64 * 1024).contains(&peak), "{peak} KiB");
    println!("1 GiB of output: {peak} KiB of memory at the peak");
}

#[tokio::test]
async fn output_is_cut_with_a_mark() {
    let sandbox = stage::sandbox("cut").await;
    let code = "import sys\nsys.stdout.buffer.write(b'x' * (9 << 20))\nsys.stderr.write('later')";
    let mut running = sandbox.run(python(code)).unwrap();
    let mut chunks: Vec<Chunk> = Vec::new();
    while let Some(chunk) = running.next().await {
        assert!(chunk.bytes.len() <= limits::CHUNK_BYTES_MAX);
        chunks.push(chunk);
    }
    let finished = running.finish().await.unwrap();
    let (last, before) = chunks.split_last().unwrap();
    assert!(last.truncated && before.iter().all(|chunk| !chunk.truncated));
    assert_eq!(chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum::<u64>(), limits::OUTPUT_BYTES_MAX);
    assert_eq!((finished.truncated, finished.output_bytes), (true, (9 << 20) + 5));
    sandbox.close().await;
}

/// Nobody reads the output, so the program waits with it, until its time is over.
#[tokio::test]
async fn a_program_waits_for_those_who_read_its_output() {
    let sandbox = stage::sandbox("waits").await;
    let code = "import os\nfor n in range(64): os.write(1, bytes(1 << 20))";
    let mut running = sandbox.run(python(code).wall_clock(Duration::from_secs(2))).unwrap();
    let ended = tokio::time::timeout(stage::PATIENCE, async {
        // The container comes, and goes when the time is over; until then nothing is taken.
        while stage::containers("waits").await.is_empty() {}
        while !stage::containers("waits").await.is_empty() {}
        let first = running.next().await.map(|chunk| chunk.number);
        (first, running.finish().await.unwrap())
    });
    let (first, finished) = ended.await.expect("the run ends");
    assert_eq!((finished.reason, first), (Reason::TimedOut, Some(0)));
    assert!(finished.output_bytes < 2 * MIB, "{} bytes", finished.output_bytes);
    sandbox.close().await;
}

#[tokio::test]
async fn the_wall_clock_is_bounded() {
    let sandbox = stage::alone(stage::config("clock", 0)).await;
    for code in ["import time\ntime.sleep(600)", "while True: pass"] {
        let run = python(&format!("import signal\nsignal.signal(15, signal.SIG_IGN)\n{code}"));
        let ran = ran(&sandbox, run.wall_clock(Duration::from_secs(1))).await;
        assert_eq!(ran.finished.reason, Reason::TimedOut);
        let late = ran.finished.elapsed.saturating_sub(Duration::from_secs(1));
        assert!(late < Duration::from_millis(500), "{late:?}");
    }
    sandbox.close().await;
}

/// A program that ignores every signal that can be ignored is dead half a second after the cancellation.
#[tokio::test]
async fn a_canceled_program_is_dead_at_once() {
    let sandbox = stage::alone(stage::config("cancel", 0)).await;
    let code = "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n\
                print('up', flush=True)\nwhile True: pass";
    for _ in 0..3 {
        let mut running = sandbox.run(python(code)).unwrap();
        running.next().await.expect("it started");
        let canceled = Instant::now();
        running.cancel();
        assert_eq!(running.finish().await.unwrap().reason, Reason::Canceled);
        assert!(canceled.elapsed() < Duration::from_millis(500), "{:?}", canceled.elapsed());
    }
    sandbox.close().await;
    assert!(stage::containers("cancel").await.is_empty());
}

/// The figures that the sandbox promises.
#[tokio::test]
async fn the_first_output_and_the_end_come_soon() {
    let sandbox = stage::alone(stage::config("figures", 1)).await;
    let figures = measure::measure(&sandbox, Kind::Python, 7).await.unwrap();
    println!("{figures:?}");
    assert!(figures.cold.p50 <= Duration::from_millis(500), "{figures:?}");
    assert!(figures.warm.p50 <= Duration::from_millis(150), "{figures:?}");
    assert!(figures.kill.p50 <= Duration::from_millis(500), "{figures:?}");
    sandbox.close().await;
}

/// What a run may ask for is bounded before anything starts.
#[tokio::test]
async fn a_run_beyond_its_limits_is_refused() {
    let sandbox = stage::sandbox("limits").await;
    let long = "x".repeat(limits::ARGUMENT_BYTES_MAX);
    let many = vec!["x"; limits::ARGUMENTS_MAX + 1];
    let run = || command(&["true"]);
    let mut small = Files::new();
    for name in ["a", "b", "c"] {
        small.insert(name, Entry::file("x")).unwrap();
    }
    let runs = [
        // Three pages do not fit into two.
        run().files(small).workspace(2 * rustix::param::page_size() as u64),
        command(&[]),
        command(&[""]),
        command(&[&long]),
        command(&many),
        command(&["a\0b"]),
        run().memory(limits::MEMORY_BYTES_MAX + 1),
        run().memory(0),
        run().workspace(limits::WORKSPACE_BYTES_MAX + 1),
        run().workspace(0),
        run().wall_clock(Duration::ZERO),
        run().wall_clock(limits::WALL_CLOCK_MAX + Duration::from_secs(1)),
        run().wall_clock(Duration::MAX),
        run().read_back(u64::MAX),
        run().variable("A=B", "x"),
        run().variable("1A", "x"),
        run().variable("", "x"),
        run().variable("A", "x\0"),
        run().variable("A", &long),
    ];
    for (index, run) in runs.into_iter().enumerate() {
        let error = sandbox.run(run).map(|_| ()).expect_err(&index.to_string());
        assert_eq!(error.code(), "invalid-run", "{index}");
    }
    sandbox.close().await;
}
