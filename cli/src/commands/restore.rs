//! `orrery restore`: restores the files of a backup into a server without an installation.

use std::path::PathBuf;

use actors_host::Config;
use orrery_storage::backup::manifest::{self, Manifest};
use orrery_storage::restore::{self, Error, Request, Restored};
use orrery_storage::verify::Finding;

use super::archive;
use crate::bar::Bar;
use crate::client::READ_MODEL_FILES;
use crate::discovery::Discovery;
use crate::failure::Failure;
use crate::output::{Output, Show};
use crate::session::Session;

/// The backup to restore.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The directory that `orrery backup` wrote
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Show for Restored {
    fn text(&self) -> String {
        let Self { begun_at, streams, messages, records, .. } = self;
        format!(
            "{streams} streams with {messages} messages restored, {records} of them commit records, as of {begun_at}\nverified: {}",
            self.verified.text()
        )
    }
}

/// Restores the backup, audits the result and counts.
pub async fn run(config: &Config, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { directory } = arguments;
    let manifest = Manifest::read(&directory)?;
    let bar = Bar::new(output);
    restore::check_files(&manifest, &directory, &bar)?;
    let config = configured(config, &manifest);
    let archive = archive::directory(&config);
    restore::expect_no_archive(&archive)?;
    let session = open(&config).await?;
    // A read model of another event stream would continue in the middle of this one.
    let stale = READ_MODEL_FILES.iter().map(|file| config.data_dir.join(file)).collect();
    let request = Request { directory, manifest, archive, nats: session.config.nats.clone(), stale };
    let mut show = |finding: Finding| output.show(&finding);
    let restored = restore::run(&session.bus, &request, &bar, &mut show, session.interrupted()).await;
    session.close().await;
    let restored = restored?;
    output.show(&restored);
    Ok(restored.verified.expect_complete()?)
}

/// The settings, completed by what only the manifest knows.
pub fn configured(config: &Config, manifest: &Manifest) -> Config {
    let mut config = config.clone();
    config.nats.partitions = manifest.partitions();
    config.nats.subject_prefix.clone_from(&manifest.subject_prefix);
    config
}

/// Connects to `nats.url`, or starts only the server on a data directory where nothing runs.
pub async fn open(config: &Config) -> Result<Session, Failure> {
    if config.nats.url.is_some() {
        return Session::connect(config).await;
    }
    if let Some(found) = Discovery::find(&config.data_dir)? {
        return Err(
            Error::Running { who: format!("process {} runs on the data directory", found.pid) }.into()
        );
    }
    let store = config.data_dir.join("nats").join("store");
    std::fs::create_dir_all(&store).map_err(|error| manifest::Error::unwritable(&store, error))?;
    Session::open(config).await
}
