//! Checks of the machine.

use std::path::{Path, PathBuf};

use actors_host::Config;
use actors_host::embedded;
use actors_sandbox::{Image, Keeper, Kind, Sandbox};

use super::Check;
use crate::commands;
use crate::discovery::Discovery;
use crate::failure::Failure;

/// Below this many KiB free, a few large artifacts fill the disk.
const FREE_KIB_LOW: u64 = 1024 * 1024;
/// Below this many KiB free, the server may stop taking writes at any moment.
const FREE_KIB_NONE: u64 = 100 * 1024;
/// The embedded server holds a file open for each block of each stream, and one for each connection.
const OPEN_FILES_LOW: u64 = 4_096;

/// The checks, in order.
pub async fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![data_dir(&config.data_dir), disk(&config.data_dir).await, open_files()];
    if config.nats.url.is_none() && !uses_another(config) {
        checks.push(match embedded::find(config.nats_server.as_deref()) {
            Ok(program) => {
                Check::ok("nats-server", format!("{} {}", program.display(), embedded::NATS_VERSION))
            }
            Err(error) => Check::of("nats-server", Failure::from(error)),
        });
    }
    checks.push(sandbox(config).await);
    checks
}

/// Where programs of agents run, and within which limits.
async fn sandbox(config: &Config) -> Check {
    if let Some(socket) = &config.sandbox.keeper {
        let images = async {
            let sandbox = Sandbox::connect(Keeper::At(socket.clone())).await?;
            let images = sandbox.images().await;
            sandbox.close().await;
            images
        };
        return match images.await {
            Ok(images) => has_images(images.iter().map(|image| image.kind)),
            Err(error) => Check::of("sandbox", commands::sandbox::failed(&error)),
        };
    }
    let Some(folder) = &config.sandbox.images else {
        return Check::ok("sandbox", "none: work that runs programs is refused (`sandbox.images` is unset)");
    };
    let images = [Kind::Python, Kind::Node].map(|kind| Image::open(folder, kind));
    let fit = match &images[0] {
        Err(error) => Err(commands::sandbox::failed(error)),
        Ok(_) => actors_sandbox::probe(config.sandbox.socket.as_deref())
            .await
            .map_err(|error| commands::sandbox::failed(&error)),
    };
    match fit {
        Ok(()) => has_images(images.iter().flatten().map(|image| image.kind)),
        Err(failure) => Check::of("sandbox", failure),
    }
}

fn has_images(kinds: impl Iterator<Item = Kind>) -> Check {
    let names: Vec<&str> = kinds.map(Kind::name).collect();
    let limits = commands::sandbox::limits_in_words();
    Check::ok("sandbox", format!("images {}; {limits}", names.join(" and ")))
}

/// Whether the system that runs on the data directory uses another server: then no server program is needed
/// here.
fn uses_another(config: &Config) -> bool {
    let runs = Discovery::find(&config.data_dir).ok().flatten().is_some();
    runs && !config.data_dir.join("nats").join("store").is_dir()
}

/// Checks that the directory is writable or can be created, without creating it.
fn data_dir(path: &Path) -> Check {
    let written = present(path).and_then(|there| {
        let probe = there.join(format!(".doctor-{}", std::process::id()));
        std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe))
    });
    match written {
        Ok(()) if path.exists() => Check::ok("data-dir", format!("`{}` can be written", path.display())),
        Ok(()) => Check::ok("data-dir", format!("`{}` can be made", path.display())),
        Err(error) => {
            let fix = "choose another `--data-dir`, or mend its permissions";
            Check::fail("data-dir", format!("`{}`: {error}", path.display()), fix)
        }
    }
}

/// The path, or its nearest existing ancestor.
fn present(path: &Path) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let there = path.ancestors().find(|above| above.exists()).unwrap_or(&path);
    Ok(there.to_owned())
}

/// Free space as `df` prints it (POSIX): the standard library has no call for it.
async fn disk(path: &Path) -> Check {
    let there = present(path).unwrap_or_else(|_| path.to_owned());
    let output = tokio::process::Command::new("df").arg("-Pk").arg(there).output().await;
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = text.lines().nth(1).unwrap_or_default();
    let Some(free) = line.split_whitespace().nth(3).and_then(|free| free.parse::<u64>().ok()) else {
        return Check::warn("disk", "`df` does not tell how much is free", "look yourself: `df -h`");
    };
    let detail = format!("{} MiB free", free / 1024);
    let fix = "free space, or move the data directory to another disk";
    match free {
        ..FREE_KIB_NONE => Check::fail("disk", detail, fix),
        FREE_KIB_NONE..FREE_KIB_LOW => Check::warn("disk", detail, fix),
        _ => Check::ok("disk", detail),
    }
}

fn open_files() -> Check {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)).unwrap_or("unlimited");
    match soft.parse::<u64>() {
        Ok(limit) if limit < OPEN_FILES_LOW => Check::warn(
            "open-files",
            format!("at most {limit} in one process"),
            format!("`ulimit -n {OPEN_FILES_LOW}` before `orrery up`"),
        ),
        _ => Check::ok("open-files", format!("at most {soft} in one process")),
    }
}
