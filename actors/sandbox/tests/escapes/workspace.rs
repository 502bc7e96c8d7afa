//! Ways through the files that go in and come out.

use actors_sandbox::{Entry, Error, Files, Reason};

use crate::stage::{self, MIB, python, ran};

#[tokio::test]
async fn files_go_in_and_come_out() {
    let sandbox = stage::sandbox("round").await;
    let mut files = Files::new();
    let script = Entry::File { bytes: "#!/bin/sh\necho run > made/by-script\n".into(), executable: true };
    files.insert("made/kept.txt", Entry::file("kept")).unwrap();
    files.insert("a/b/run.sh", script).unwrap();
    files.insert("a/link", Entry::Link { target: "../made/kept.txt".into() }).unwrap();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    files.insert(&long, Entry::file("long")).unwrap();
    let code = "import os, subprocess\nsubprocess.run(['/workspace/a/b/run.sh'], check=True)\n\
                print(open('a/link').read(), os.stat('a').st_uid == os.getuid())\n\
                os.link('made/kept.txt', 'made/same.txt')\nos.unlink('a/b/run.sh')";
    let ran = ran(&sandbox, python(code).files(files).read_back(MIB)).await;
    assert_eq!(
        (ran.finished.reason, ran.stdout.as_str()),
        (Reason::Exited(0), "kept True\n"),
        "{}",
        ran.stderr
    );
    let read = ran.finished.workspace.unwrap().unwrap();
    assert_eq!(read.refused, []);
    let paths: Vec<&str> = read.files.iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["a/link", long.as_str(), "made/by-script", "made/kept.txt", "made/same.txt"]);
    assert_eq!(read.files.get("made/same.txt"), Some(&Entry::file("kept")));
    assert_eq!(read.files.get("a/link"), Some(&Entry::Link { target: "../made/kept.txt".into() }));
    sandbox.close().await;
}

/// Links that lead out are left out and named; the content of what they lead to does not come along.
#[tokio::test]
async fn links_do_not_bring_out_what_is_outside() {
    let sandbox = stage::sandbox("links").await;
    let code = r#"
import os
os.mkdir("d")
open("d/fine", "w").write("fine")
os.symlink("d/fine", "good")
os.symlink("/etc/passwd", "absolute")
os.symlink("../etc/passwd", "up")
os.symlink("..", "d/parent")
os.symlink("d/parent/../etc/passwd", "chain")
os.symlink("/", "root")
os.mkfifo("fifo")
import socket
socket.socket(socket.AF_UNIX).bind("socket")
for source in ["/etc/passwd", "/proc/self/environ"]:
    try: os.link(source, "hard"); print("linked", source)
    except OSError: pass
open("line\nfeed", "w").close()
open(b"\xff\xfe", "w").close()
"#;
    let ran = ran(&sandbox, python(code).read_back(MIB)).await;
    assert_eq!((ran.finished.reason, ran.stdout.as_str()), (Reason::Exited(0), ""), "{}", ran.stderr);
    let read = ran.finished.workspace.unwrap().unwrap();
    let paths: Vec<&str> = read.files.iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["d/fine", "d/parent", "good"]);
    let mut refused: Vec<&str> = read.refused.iter().map(|(path, _)| path.as_str()).collect();
    refused.sort_unstable();
    assert_eq!(&refused[..5], ["absolute", "chain", "fifo", "line\u{fffd}feed", "root"]);
    assert!(refused.contains(&"up") && read.refused_count == refused.len(), "{refused:?}");
    assert!(!format!("{read:?}").contains("root:x:0"), "the host's or the image's users are in it");
    sandbox.close().await;
}

/// The workspace becomes a link to another folder while it is to be read.
#[tokio::test]
async fn the_workspace_itself_cannot_be_replaced() {
    let sandbox = stage::sandbox("replaced").await;
    let code = r#"
import os
for act in [lambda: os.rmdir("/workspace"), lambda: os.rename("/workspace", "/tmp/w"), lambda: os.symlink("/etc", "/workspace")]:
    try: act(); print("reached")
    except OSError: pass
"#;
    let ran = ran(&sandbox, python(code).read_back(MIB)).await;
    assert_eq!(ran.stdout, "");
    assert!(ran.finished.workspace.unwrap().unwrap().files.is_empty());
    sandbox.close().await;
}

/// Holes take no space, and would be sent as zeros: the sizes are added up before anything is kept.
#[tokio::test]
async fn holes_do_not_flood_who_reads() {
    let sandbox = stage::sandbox("holes").await;
    let code = "import os\nfor n in range(1000):\n    f = open(f'{n}', 'w'); f.truncate(512 << 20)";
    let ran = ran(&sandbox, python(code).read_back(8 * MIB)).await;
    let error = ran.finished.workspace.unwrap().unwrap_err();
    assert!(matches!(error, Error::WorkspaceTooLarge { bytes_max, .. } if bytes_max == 8 * MIB), "{error:?}");
    assert_eq!(ran.finished.reason, Reason::Exited(0));
    sandbox.close().await;
}

/// A program that is still writing when its parent has ended cannot change what is read.
#[tokio::test]
async fn nothing_moves_while_the_workspace_is_read() {
    let sandbox = stage::sandbox("frozen").await;
    let code = r#"
import os
os.mkdir("d"); open("d/x", "w").write("inside")
if os.fork() == 0:
    os.setsid()
    for fd in range(3): os.close(fd)
    while True:
        os.rename("d", "e"); os.symlink("/etc", "d"); os.unlink("d"); os.rename("e", "d")
"#;
    for _ in 0..5 {
        let ran = ran(&sandbox, python(code).read_back(MIB)).await;
        let read = ran.finished.workspace.unwrap().unwrap();
        let inside = |(path, entry): (&str, &Entry)| path.ends_with("/x") && *entry == Entry::file("inside");
        assert!(read.files.iter().all(inside), "{read:?}");
    }
    sandbox.close().await;
}

/// A program that ends its own container loses its files, and nothing else.
#[tokio::test]
async fn a_program_that_ends_its_container_is_told() {
    let sandbox = stage::sandbox("suicide").await;
    let ran = ran(&sandbox, python("import os, time\nos.kill(1, 15)\ntime.sleep(60)").read_back(MIB)).await;
    assert_eq!(ran.finished.reason, Reason::Exited(137));
    assert!(matches!(ran.finished.workspace, Some(Err(Error::SandboxEnded))), "{:?}", ran.finished.workspace);
    sandbox.close().await;
}
