//! `orrery replay --redecide --against`: the upgrade check. Runs a private server in a temporary directory,
//! on a copy of a store or with a restored backup; the original is only read.

use std::io::ErrorKind;
use std::path::Path;

use actors_host::Config;
use bus_client::{Error, NatsConfig, Profile};
use orrery_storage::backup::manifest::{self, ARCHIVE, Manifest};
use orrery_storage::restore::{check_files, streams};
use tempfile::TempDir;

use super::{Arguments, within};
use crate::bar::Bar;
use crate::commands::restore;
use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::output::Output;
use crate::session::Session;

/// Decides the commands of a directory again, with this program.
pub async fn check(config: &Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Some(directory) = arguments.against().map(Path::to_path_buf) else {
        return Err(Failure::new("directory-not-found", "no directory was named")
            .next("name what `orrery backup` wrote with `--against DIR`")
            .exit(exit::USAGE));
    };
    let copy =
        tempfile::tempdir().map_err(|error| manifest::Error::unwritable(&std::env::temp_dir(), error))?;
    let private = Config {
        data_dir: copy.path().to_owned(),
        // Nothing here is worth syncing, and nothing that runs elsewhere may be touched.
        nats: NatsConfig {
            profile: Profile::Durable,
            subject_prefix: config.nats.subject_prefix.clone(),
            partitions: config.nats.partitions,
            ..NatsConfig::default()
        },
        ..config.clone()
    };
    let session = match Manifest::is_in(&directory) {
        true => backup(&private, &directory, output).await?,
        false => store(private, &directory, &copy).await?,
    };
    let decided = async {
        // `orrery archive` puts it there in a data directory, and `orrery backup` in a backup.
        let archive = arguments.archive.open_or(&directory.join(ARCHIVE))?;
        within(&session, archive, arguments, output).await
    };
    let decided = session.unless_interrupted(decided).await;
    session.close().await;
    decided
}

/// A session on a restored backup.
async fn backup(config: &Config, directory: &Path, output: Output) -> Result<Session, Failure> {
    let manifest = Manifest::read(directory)?;
    let bar = Bar::new(output);
    check_files(&manifest, directory, &bar)?;
    let session = restore::open(&restore::configured(config, &manifest)).await?;
    let restored = streams(&session.bus, &manifest, directory, &bar);
    match session.unless_interrupted(restored).await {
        Ok(()) => Ok(session),
        Err(failure) => {
            session.close().await;
            Err(failure)
        }
    }
}

/// A session on a copy of a data directory, or of a server's store.
async fn store(mut config: Config, directory: &Path, copied: &TempDir) -> Result<Session, Failure> {
    if Discovery::find(directory)?.is_some() {
        return Err(Failure::new("still-running", format!("a system runs on `{}`", directory.display()))
            .next("take a backup (`orrery backup`) and check against that, or stop it first")
            .exit(exit::UNAVAILABLE));
    }
    let inside = directory.join("nats").join("store");
    let store = if inside.is_dir() { inside } else { directory.to_path_buf() };
    if !store.join("jetstream").is_dir() {
        return Err(Failure::new(
            "directory-not-found",
            format!(
                "`{}` is no backup, no data directory and no store of a NATS server",
                directory.display()
            ),
        )
        .next("name what `orrery backup` wrote, or the data directory of a system that is down")
        .exit(exit::NOT_FOUND));
    }
    copy(&store, &copied.path().join("nats").join("store"))?;
    let session = Session::open(&config).await?;
    match session.bus.check_installation().await {
        Ok(()) => Ok(session),
        // The number of partitions is known only now.
        Err(Error::Installation { what: "partitions", found, .. }) => {
            session.close().await;
            config.nats.partitions = found.parse().unwrap_or(config.nats.partitions);
            Session::open(&config).await
        }
        Err(error) => {
            session.close().await;
            Err(error.into())
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to).map_err(|error| manifest::Error::unwritable(to, error))?;
    let unreadable = |error: std::io::Error| {
        let next = if error.kind() == ErrorKind::PermissionDenied {
            "mend the permissions, or take a backup with `orrery backup` and check against that"
        } else {
            "take a backup with `orrery backup` and check against that"
        };
        Failure::new("store-unreadable", format!("copying `{}`: {error}", from.display()))
            .next(next)
            .exit(exit::NOT_FOUND)
    };
    for entry in std::fs::read_dir(from).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).map_err(unreadable)?;
        }
    }
    Ok(())
}
