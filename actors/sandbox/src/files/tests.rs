//! Checks of paths and archives that nobody's library would write.

use super::*;

/// An archive with entries as they are given, whatever they are.
fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (kind, name, content) in entries {
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let mut header = header(*kind, 0o644, 0);
        let fields = header.as_gnu_mut().expect("a header of GNU");
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        if is_link {
            fields.linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let content = if is_link { "" } else { content };
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content.as_bytes()).expect("in memory");
    }
    archive.into_inner().expect("in memory")
}

fn refused(entries: &[(EntryType, &str, &str)]) -> bool {
    matches!(Files::from_archive(archive(entries).as_slice()), Err(Error::WorkspaceUnsafe { .. }))
}

#[test]
fn an_archive_that_leads_out_is_refused() {
    use EntryType::{Block, Char, Fifo, Link, Regular, Symlink};
    let bad: [&[_]; 18] = [
        &[(Regular, "../x", "")],
        &[(Regular, "/etc/passwd", "")],
        &[(Regular, "a/../../x", "")],
        &[(Regular, "a//x", "")],
        &[(Regular, "a/./x", "")],
        &[(Regular, "..", "")],
        &[(Regular, "a\nb", "")],
        &[(Symlink, "a", "/etc")],
        &[(Symlink, "a", "..")],
        &[(Symlink, "a/b", "../../x")],
        &[(Symlink, "a", "b/../../x")],
        &[(Symlink, "a", "b"), (Regular, "a/x", "")],
        &[(Regular, "a/x", ""), (Symlink, "a", "b")],
        &[(Regular, "a", ""), (Regular, "a", "")],
        &[(Link, "a", "/etc/passwd")],
        &[(Char, "a", "")],
        &[(Block, "a", "")],
        &[(Fifo, "a", "")],
    ];
    for entries in bad {
        assert!(refused(entries), "{entries:?}");
    }
    let good: [&[_]; 5] = [
        &[(Regular, "a/b..c", "x")],
        &[(Regular, "./a", "x")],
        &[(Symlink, "a/b", "../c"), (Regular, "c", "x")],
        &[(Symlink, "a", "./b/c")],
        &[(Regular, "a", "x"), (Link, "b", "a")],
    ];
    for entries in good {
        assert!(Files::from_archive(archive(entries).as_slice()).is_ok(), "{entries:?}");
    }
}

#[test]
fn an_archive_is_bounded() {
    let mut bomb = header(EntryType::Regular, 0o644, 0);
    bomb.set_path("x").expect("short");
    bomb.set_size(u64::MAX / 4);
    bomb.set_cksum();
    let error = Files::from_archive(bomb.as_bytes().as_slice()).expect_err("it is too large");
    assert_eq!(error.code(), "workspace-too-large");

    let mut files = Files::new();
    for n in 0..FILES_MAX {
        files.insert(&n.to_string(), Entry::file("")).expect("there is room");
    }
    assert_eq!(files.insert("more", Entry::file("")).expect_err("full").code(), "workspace-too-large");
    let mut deep = Files::new();
    let refused = (0..FILES_MAX).find_map(|n| deep.insert(&format!("{n}/a/b/c/d"), Entry::file("")).err());
    assert_eq!(refused.expect("folders count").code(), "workspace-too-large");
    assert!(deep.len() < FILES_MAX / 4);
    let error = Files::new().insert(&"x/".repeat(PATH_DEPTH_MAX), Entry::file("")).expect_err("too deep");
    assert_eq!(error.code(), "workspace-unsafe");
}

#[test]
fn what_is_no_archive_is_told() {
    for bytes in [&b"no archive at all, but long enough to be one".repeat(20)[..], &[0xff; 700], &[1]] {
        let error = Files::from_archive(bytes).expect_err("it is none");
        assert_eq!(error.code(), "invalid-run");
    }
    assert!(Files::from_archive(&[][..]).expect("an empty archive").is_empty());
}

#[test]
fn what_goes_in_comes_out_the_same() {
    let mut files = Files::new();
    files.insert("a/b", Entry::file("x")).expect("safe");
    files.insert("a/c", Entry::File { bytes: Bytes::from_static(b"y"), executable: true }).expect("safe");
    files.insert("d", Entry::Link { target: "a/b".to_owned() }).expect("safe");
    let packed = files.to_archive(65_532).expect("in memory");
    assert_eq!(Files::from_archive(packed.as_slice()).expect("safe"), files);
}

#[test]
fn a_file_is_replaced_and_counted_once() {
    let mut files = Files::new();
    files.insert("a/b", Entry::file(vec![1; 10_000])).expect("safe");
    files.replace("a/b", Entry::file("x")).expect("safe");
    let mut fresh = Files::new();
    fresh.insert("a/b", Entry::file("x")).expect("safe");
    assert_eq!(files, fresh);
    files
        .replace("a/b", Entry::Link { target: "../../etc".to_owned() })
        .expect_err("it leaves the workspace");
    assert_eq!(files, fresh, "what was there stays");
}
