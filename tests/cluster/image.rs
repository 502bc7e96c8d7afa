//! A file system in a file, of which one can see what is really on the disk: what the page cache
//! holds and nobody has flushed is not in it, as after a power cut.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for a store; the file is sparse.
const BYTES: u64 = 1 << 30;
/// Copies until nothing was written meanwhile: the kernel may still end what it had begun.
const COPIES_MAX: usize = 20;

/// An ext4 file system on a loop device, mounted; gone with this.
pub struct Disk {
    image: PathBuf,
    device: String,
    place: PathBuf,
}

fn run(program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program).args(arguments).output();
    let ran = ran.unwrap_or_else(|error| panic!("`{program}`: {error}; this test needs e2fsprogs and mount"));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "`{program} {arguments:?}`: {said}; this test needs root and loop devices");
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

impl Disk {
    /// Makes an empty file system and mounts it at `name` in `directory`.
    pub fn make(directory: &Path, name: &str) -> Self {
        let image = directory.join(format!("{name}.img"));
        let file = std::fs::File::create(&image).expect("a file");
        file.set_len(BYTES).expect("a sparse file");
        run("mkfs.ext4", &["-q", text(&image)]);
        Self::mount(image, directory.join(name))
    }

    fn mount(image: PathBuf, place: PathBuf) -> Self {
        std::fs::create_dir(&place).expect("a directory");
        // Direct: a write that reaches the device is in the file, and one that does not is not.
        let device = run("losetup", &["--direct-io=on", "--find", "--show", text(&image)]);
        let direct = run("losetup", &["--noheadings", "--output", "DIO", &device]);
        let disk = Self { image, device, place };
        assert_eq!(direct, "1", "the file system of temporary files takes no direct writes");
        // The journal is not flushed by itself for five minutes: only who syncs is on the disk.
        run("mount", &["-o", "commit=300", &disk.device, text(&disk.place)]);
        disk
    }

    /// Where it is mounted.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What is on the disk at this moment, as another file system at `name` in `directory`. Whoever
    /// writes must be frozen; nothing is flushed.
    pub fn cut(&self, directory: &Path, name: &str) -> Self {
        let image = directory.join(format!("{name}.img"));
        let still = (0..COPIES_MAX).any(|_| {
            let before = self.written();
            run("cp", &["--sparse=always", text(&self.image), text(&image)]);
            // A copy of a disk that is written to is no moment of it.
            self.written() == before
        });
        assert!(still, "the disk is written to all the time");
        // What a machine does after a power cut: 1 says that something was mended.
        let checked = Command::new("e2fsck").args(["-f", "-y"]).arg(&image).output().expect("e2fsck runs");
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.code().is_some_and(|code| code <= 1), "e2fsck: {said}");
        Self::mount(image, directory.join(name))
    }

    /// What was written to the device and what is being written, as the kernel counts it.
    fn written(&self) -> (String, String) {
        let name = self.device.rsplit('/').next().expect("a path has an end");
        let counters = std::fs::read_to_string(format!("/sys/block/{name}/stat")).expect("a block device");
        let column = |at: usize| counters.split_whitespace().nth(at).unwrap_or_default().to_owned();
        // Sectors written, and requests in flight.
        (column(6), column(8))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that fails has another message for people.
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).output();
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).output();
    }
}
