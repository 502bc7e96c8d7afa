//! Files by open handles, against those who swap, link and flood meanwhile.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actors_workspace::{Access, Error, Existing, Folder, Kind, Query, Roots, WRITE_BYTES_MAX, WorkspacePath};
use bus_schemas::Hash;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};
use tempfile::TempDir;

fn go_on() -> bool {
    false
}

fn path(text: &str) -> WorkspacePath {
    WorkspacePath::parse(text).expect("a path")
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the other threads of a test whose own thread has ended, however it did.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A root with a workspace in it, a folder outside with a secret, and the installation's data.
struct Stage {
    home: TempDir,
}

impl Stage {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        for folder in ["root/work/sub", "outside", "root/data"] {
            fs::create_dir_all(home.path().join(folder)).expect("a folder");
        }
        fs::write(home.path().join("outside/secret"), "secret").expect("a file");
        fs::write(home.path().join("root/work/a.txt"), "one\ntwo\n").expect("a file");
        Self { home }
    }
    fn at(&self, path: &str) -> std::path::PathBuf {
        self.home.path().join(path)
    }
    fn roots(&self) -> Roots {
        Roots::new(&[self.at("root")], &self.at("root/data")).expect("roots")
    }
    fn work(&self) -> Folder {
        self.roots().open(&self.at("root/work"), Access::Write).expect("a workspace")
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.expect_err("it is refused").code()
}

#[test]
fn only_what_the_operator_allows_is_opened() {
    let stage = Stage::new();
    let roots = stage.roots();
    assert!(roots.open(&stage.at("root"), Access::Write).is_ok());
    let up = stage.at("root/work/../../outside");
    for (path, wanted) in [
        (stage.at("outside"), "workspace-not-allowed"),
        (Path::new("root").to_owned(), "workspace-not-allowed"),
        (Path::new("/").to_owned(), "workspace-not-allowed"),
        (up, "path-refused"),
        (stage.at("root/data"), "path-refused"),
        (stage.at("root/gone"), "path-missing"),
        (stage.at("root/work/a.txt"), "not-a-folder"),
    ] {
        for access in [Access::Read, Access::Write] {
            assert_eq!(code(roots.open(&path, access)), wanted, "{path:?}");
        }
    }
    symlink(stage.at("outside"), stage.at("root/link")).expect("a link");
    assert_eq!(code(roots.open(&stage.at("root/link"), Access::Read)), "not-a-folder");
    // Without allowed folders a working copy may be read, and nothing is written.
    let none = Roots::new(&[], &stage.at("root/data")).expect("roots");
    assert_eq!(code(none.open(&stage.at("root/work"), Access::Read)), "not-a-repository");
    fs::create_dir(stage.at("root/work/.git")).expect("a folder");
    assert!(none.open(&stage.at("root/work"), Access::Read).is_ok());
    assert_eq!(code(none.open(&stage.at("root/work"), Access::Write)), "workspace-not-allowed");
    for wrong in [Path::new("relative").to_owned(), Path::new("/").to_owned(), stage.at("gone")] {
        assert!(Roots::new(std::slice::from_ref(&wrong), &stage.at("root/data")).is_err(), "{wrong:?}");
    }
}

/// The installation's folder is closed also when it is made after the settings were read; the trees in it are open.
#[test]
fn the_data_of_the_installation_is_no_workspace() {
    let stage = Stage::new();
    let roots = Roots::new(&[stage.at("root")], &stage.at("root/later")).expect("roots");
    fs::create_dir_all(stage.at("root/later/worktrees/t")).expect("a folder");
    assert_eq!(code(roots.open(&stage.at("root/later"), Access::Read)), "path-refused");
    assert!(roots.open(&stage.at("root/later/worktrees/t"), Access::Write).is_ok());
    let root = roots.open(&stage.at("root"), Access::Read).expect("a workspace");
    assert_eq!(code(root.read_whole(&path("later/orrery.json"), 10)), "path-refused");
    let listed = root.list(None, 9, 100, &go_on).expect("a list");
    assert!(listed.entries.iter().all(|entry| !entry.path.starts_with("later/")), "{listed:?}");
}

#[test]
fn a_write_replaces_only_what_was_seen() {
    let stage = Stage::new();
    let work = stage.work();
    let seen = work.existing(&path("a.txt")).expect("a file");
    assert_eq!(seen, Existing::Content(Hash::of(b"one\ntwo\n")));
    fs::set_permissions(stage.at("root/work/a.txt"), fs::Permissions::from_mode(0o755)).expect("rights");
    let written = work.write(&path("a.txt"), b"three", seen, "k1").expect("it is written");
    assert_eq!((written.bytes, written.hash), (5, Hash::of(b"three")));
    assert_eq!(fs::read(stage.at("root/work/a.txt")).expect("a file"), b"three");
    let rights = fs::metadata(stage.at("root/work/a.txt")).expect("a file").permissions().mode();
    assert_eq!(rights & 0o777, 0o755, "the rights stay");
    // The same again, and anything on top of what is not there, is refused.
    assert_eq!(code(work.write(&path("a.txt"), b"four", seen, "k1")), "content-changed");
    assert_eq!(code(work.write(&path("a.txt"), b"four", Existing::Absent, "k1")), "content-changed");
    assert_eq!(code(work.write(&path("new"), b"four", seen, "k1")), "content-changed");
    work.write(&path("deep/er/new.txt"), b"", Existing::Absent, "k2").expect("folders are made");
    assert_eq!(code(work.write(&path("a.txt/b"), b"", Existing::Absent, "k3")), "not-a-folder");
    assert_eq!(code(work.write(&path("sub"), b"", Existing::Absent, "k3")), "not-a-file");
    let huge = vec![0; usize::try_from(WRITE_BYTES_MAX).expect("it fits") + 1];
    assert_eq!(code(work.write(&path("huge"), &huge, Existing::Absent, "k4")), "too-large");
    // Nothing is left on the way.
    let names: Vec<_> = fs::read_dir(stage.at("root/work"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

/// Links, pipes, devices, second names and huge files are named and not followed, opened or read; nothing waits.
#[test]
fn nothing_but_a_plain_file_is_read() {
    let stage = Stage::new();
    let at = |name: &str| stage.at("root/work").join(name);
    symlink(stage.at("outside/secret"), at("link")).expect("a link");
    symlink(stage.at("outside"), at("way")).expect("a link");
    symlink("/proc/self/root", at("magic")).expect("a link");
    mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
    fs::hard_link(stage.at("outside/secret"), at("twin")).expect("a second name");
    fs::File::create(at("huge")).and_then(|file| file.set_len(1 << 40)).expect("a file with a hole");
    let work = stage.work();
    for (name, wanted) in [
        ("link", "not-a-file"),
        ("way/secret", "not-a-folder"),
        ("magic/etc/passwd", "not-a-folder"),
        ("pipe", "not-a-file"),
        ("socket", "not-a-file"),
        ("twin", "not-a-file"),
        ("sub", "not-a-file"),
        ("gone", "path-missing"),
        ("huge", "too-large"),
    ] {
        assert_eq!(code(work.read_whole(&path(name), 1 << 20)), wanted, "{name}");
        if name != "huge" && name != "gone" {
            assert_eq!(code(work.write(&path(name), b"x", Existing::Absent, "k")), wanted, "{name}");
        }
    }
    // A device: as root only, which is what the tests need anyway for containers.
    mknodat(CWD, at("device"), FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 5))
        .expect("a device; run as root");
    assert_eq!(code(work.read_whole(&path("device"), 10)), "not-a-file");
    let part = work.read(&path("huge"), (1 << 40) - 5, 100).expect("a part");
    assert_eq!((part.bytes.len(), part.size), (5, 1 << 40));
    assert_eq!(fs::read(stage.at("outside/secret")).expect("a file"), b"secret");

    let listed = work.list(None, 9, 100, &go_on).expect("a list");
    let kind = |name: &str| listed.entries.iter().find(|entry| entry.path == name).map(|entry| entry.kind);
    assert_eq!(kind("link"), Some(Kind::Link));
    assert_eq!(
        (kind("pipe"), kind("sub"), kind("twin")),
        (Some(Kind::Other), Some(Kind::Folder), Some(Kind::File))
    );
    assert!(listed.entries.iter().all(|entry| !entry.path.contains("secret")), "{listed:?}");
    let found = work
        .search(None, &Query::new("secret", false, false, 10).expect("a query"), &go_on)
        .expect("a search");
    assert!(found.matches.is_empty() && found.skipped == 2, "{found:?}");
}

#[test]
fn names_that_are_not_utf8_are_shown_and_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let stage = Stage::new();
    fs::write(stage.at("root/work").join(OsStr::from_bytes(b"\xffa\\b")), "x").expect("a file");
    fs::create_dir(stage.at("root/work").join(OsStr::from_bytes(b"\xfe"))).expect("a folder");
    fs::write(stage.at("root/work").join("\u{202e}txt.exe"), "two").expect("a file");
    fs::create_dir(stage.at("root/work/.git")).expect("a folder");
    fs::write(stage.at("root/work/.git/config"), "two").expect("a file");
    let listed = stage.work().list(None, 9, 100, &go_on).expect("a list");
    let refused: Vec<_> = listed
        .entries
        .iter()
        .filter(|entry| entry.refused.is_some())
        .map(|entry| entry.path.as_str())
        .collect();
    assert_eq!(refused, ["\u{202e}txt.exe", r"\xfe", r"\xffa\\b"]);
    assert!(!listed.entries.iter().any(|entry| entry.path.contains(".git")), "protected names are left out");
    let found = stage
        .work()
        .search(None, &Query::new("two", false, false, 10).expect("a query"), &go_on)
        .expect("a search");
    let paths: Vec<_> =
        found.matches.iter().map(|found| (found.path.as_str(), found.line, found.column)).collect();
    assert_eq!(paths, [("a.txt", 2, 1)]);
}

#[test]
fn lists_and_searches_are_bounded_and_stop() {
    let stage = Stage::new();
    for number in 0..50 {
        fs::write(stage.at("root/work").join(format!("f{number:02}")), "needle needle\nNeedle\n")
            .expect("a file");
    }
    let work = stage.work();
    let listed = work.list(None, 1, 10, &go_on).expect("a list");
    assert!(listed.truncated && listed.entries.len() == 10, "{listed:?}");
    assert!(!work.list(None, 9, 1_000, &go_on).expect("a list").truncated);
    let search = |text, pattern, case, max| {
        work.search(None, &Query::new(text, pattern, case, max).expect("a query"), &go_on).expect("a search")
    };
    assert_eq!(search("needle", false, false, 1_000).matches.len(), 50);
    assert_eq!(search("needle", false, true, 1_000).matches.len(), 100);
    assert_eq!(search("^N.*e$", true, false, 1_000).matches.len(), 50);
    assert!(search("needle", false, false, 7).truncated);
    assert_eq!(search("x*", true, false, 1_000).matches.len(), 102, "an empty match is one for each line");
    assert!(Query::new("(", true, false, 1).is_err() && Query::new("", false, false, 1).is_err());
    assert!(Query::new("(a{1000}){1000}", true, false, 1).is_err(), "a pattern that explodes is refused");
    assert_eq!(code(work.list(None, 1, 10, &|| true)), "canceled");
    assert_eq!(
        code(work.search(None, &Query::new("x", false, false, 1).expect("a query"), &|| true)),
        "canceled"
    );
}

/// Goal: nobody who swaps a folder for a link at the right moment leads a read or a write outside. Method: one thread
/// swaps all the time while the other reads and writes, some thousand times.
#[test]
fn a_folder_that_is_swapped_for_a_link_leads_nowhere() {
    let stage = Stage::new();
    let (real, link) = (stage.at("root/work/sub"), stage.at("root/link"));
    fs::write(real.join("secret"), "inside").expect("a file");
    symlink(stage.at("outside"), &link).expect("a link");
    let ended = AtomicBool::new(false);
    let (mut inside, mut refused) = (0, 0);
    thread::scope(|scope| {
        let _stop = StopWhenDropped(&ended);
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                renameat_with(CWD, &real, CWD, &link, RenameFlags::EXCHANGE).expect("they are swapped");
            }
        });
        let work = stage.work();
        let late = Instant::now() + PATIENCE;
        while inside < 300 || refused < 300 {
            assert!(Instant::now() < late, "{inside} reads came in, and {refused} were refused");
            match work.read_whole(&path("sub/secret"), 100) {
                Ok(read) => {
                    assert_eq!(read.bytes, b"inside");
                    inside += 1;
                }
                Err(error) => {
                    assert_eq!(error.code(), "not-a-folder", "{error}");
                    refused += 1;
                }
            }
            // Whether it is refused or not, it is not outside.
            let _ = work.write(&path("sub/new"), b"x", Existing::Absent, "k");
            if let Ok(listed) = work.list(Some(&path("sub")), 3, 100, &go_on) {
                assert_eq!(
                    listed.entries.last().map(|entry| entry.path.as_str()),
                    Some("sub/secret"),
                    "{listed:?}"
                );
            }
        }
    });
    let outside: Vec<_> = fs::read_dir(stage.at("outside")).expect("a folder").collect();
    assert_eq!(outside.len(), 1, "nothing was written outside");
}

/// Goal: of writers that race on one file each that succeeded has replaced what it saw. Method: threads count up in a
/// file; no step is lost.
#[test]
fn no_write_of_another_is_lost() {
    let stage = Stage::new();
    fs::write(stage.at("root/work/n"), "0").expect("a file");
    thread::scope(|scope| {
        for writer in 0..4 {
            let stage = &stage;
            scope.spawn(move || {
                let work = stage.work();
                let (mut done, late) = (0, Instant::now() + PATIENCE);
                while done < 50 {
                    assert!(Instant::now() < late, "{done} steps are done");
                    let Ok(seen) = work.read_whole(&path("n"), 100) else { continue };
                    let number: u64 = String::from_utf8_lossy(&seen.bytes).parse().expect("a number");
                    let next = (number + 1).to_string();
                    let key = format!("{writer}/{done}");
                    match work.write(&path("n"), next.as_bytes(), Existing::Content(seen.hash()), &key) {
                        Ok(_) => done += 1,
                        Err(error) => {
                            assert!(["content-changed", "path-missing"].contains(&error.code()), "{error}")
                        }
                    }
                }
            });
        }
    });
    let last = fs::read_to_string(stage.at("root/work/n")).expect("a file");
    assert_eq!(last, "200");
    let left = fs::read_dir(stage.at("root/work")).expect("a folder").count();
    assert_eq!(left, 3, "nothing is left on the way");
}

/// What was interrupted at each place is told apart, and ended.
#[test]
fn an_interrupted_write_is_settled() {
    let (old, new, other) = (Hash::of(b"old"), Hash::of(b"new"), &b"other"[..]);
    let expected = Existing::Content(old);
    let left = format!(".orrery-{}", &Hash::of(b"key").to_hex()[..16]);
    // What has the name, what is on the way; what is found out, what has the name then.
    type Case = (&'static [u8], Option<&'static [u8]>, Option<bool>, &'static [u8]);
    let cases: [Case; 7] = [
        (b"old", None, Some(false), b"old"),
        (b"old", Some(b"new"), Some(false), b"old"),
        (b"old", Some(b"ne"), Some(false), b"old"),
        (b"new", Some(b"old"), Some(true), b"new"),
        (b"new", None, Some(true), b"new"),
        (b"new", Some(other), Some(false), other),
        (other, Some(b"new"), None, other),
    ];
    for (at, on_its_way, wanted, then) in cases {
        let stage = Stage::new();
        fs::write(stage.at("root/work/f"), at).expect("a file");
        if let Some(content) = on_its_way {
            fs::write(stage.at("root/work").join(&left), content).expect("a file");
        }
        let settled = stage.work().settle(&path("f"), new, expected, "key").expect("it is settled");
        assert_eq!(
            (settled, &fs::read(stage.at("root/work/f")).expect("a file")[..]),
            (wanted, then),
            "{at:?} {on_its_way:?}"
        );
        assert!(!stage.at("root/work").join(&left).exists(), "nothing is left");
    }
    let stage = Stage::new();
    let settled = stage.work().settle(&path("no/folder/f"), new, Existing::Absent, "key");
    assert_eq!(settled.expect("it is settled"), Some(false));
}
