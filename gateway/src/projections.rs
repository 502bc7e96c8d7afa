//! The read model: a SQLite file that follows the event stream and can be rebuilt at any time.
//!
//! One follower reads the stream in order and folds it into views, one transaction for each burst. Any number
//! of readers query the file. The read model never writes to the bus.
//!
//! Invariants: an event is applied once (the view's revision ensures it); the position in the stream moves in
//! the same transaction as the views; an unreadable event is recorded, never skipped silently.

pub mod agent;
pub mod approval;
pub mod breaker;
pub mod change;
pub mod dead_letter;
pub mod halt;
pub mod lane;
pub mod redrive;
pub mod schedule;
pub mod task;

pub mod view;

pub mod count;
mod follow;
pub mod read;
mod source;
mod store;

use std::path::PathBuf;
use std::time::Duration;

use bus_client::Bus;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use read::{Order, Place, Reader, TaskFilter};

/// Why the read model cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be created.
    #[error("creating the directory of the read model at `{path}`")]
    Directory { path: PathBuf, source: std::io::Error },
    /// An error of SQLite.
    #[error("{doing} the read model")]
    Sqlite { doing: &'static str, source: rusqlite::Error },
    /// A row is not in the expected format.
    #[error("reading a row of `{table}` in the read model")]
    Row { table: &'static str, source: serde_json::Error },
    /// The thread that worked on the file has ended.
    #[error("the thread of the read model ended: {0}")]
    Thread(String),
}

impl Error {
    /// Wraps an error of SQLite, for `map_err`.
    pub(crate) fn sqlite(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sqlite { doing, source }
    }
}

/// The progress of the read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The sequence of the last message of the event stream that was applied.
    pub applied: u64,
    /// The last sequence of the event stream when it was last read.
    pub target: u64,
    /// Whether the stream could be read at the last try.
    pub connected: bool,
    /// Whether the read model has caught up at least once since the file was opened or emptied.
    pub caught_up: bool,
}

impl Progress {
    /// Messages not applied yet.
    pub fn lag(self) -> u64 {
        self.target.saturating_sub(self.applied)
    }
}

/// The read model of this gateway.
#[derive(Debug, Clone)]
pub struct Projections {
    /// Queries the file.
    pub reader: Reader,
    progress: watch::Receiver<Progress>,
}

impl Projections {
    /// Opens the file and follows the event stream until `stop`.
    pub async fn start(
        bus: Bus,
        path: PathBuf,
        stop: CancellationToken,
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let opening = path.clone();
        let store = tokio::task::spawn_blocking(move || store::Store::open(&opening))
            .await
            .map_err(|error| Error::Thread(error.to_string()))??;
        let (sender, progress) =
            watch::channel(Progress { applied: store.place().sequence, ..Progress::default() });
        let follower = tokio::spawn(follow::Follower::new(bus, store, sender).run(stop));
        Ok((Self { reader: Reader::new(path), progress }, follower))
    }

    /// The current progress.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Returns at the next change, or after `patience`. False on a timeout, or when the follower has ended.
    async fn changed(progress: &mut watch::Receiver<Progress>, patience: Duration) -> bool {
        matches!(tokio::time::timeout(patience, progress.changed()).await, Ok(Ok(())))
    }

    /// Waits until everything up to `sequence` is applied. False when that takes longer than `patience`.
    pub async fn reached(&self, sequence: u64, patience: Duration) -> bool {
        let mut progress = self.progress.clone();
        tokio::time::timeout(patience, progress.wait_for(|progress| progress.applied >= sequence))
            .await
            .is_ok_and(|waited| waited.is_ok())
    }

    /// Calls `look` after every change until it finds something or `patience` is over.
    pub async fn until<T, F, G>(&self, patience: Duration, look: F) -> Result<Option<T>, Error>
    where
        F: Fn(Reader) -> G,
        G: Future<Output = Result<Option<T>, Error>>,
    {
        let deadline = tokio::time::Instant::now() + patience;
        let mut progress = self.progress.clone();
        loop {
            progress.borrow_and_update();
            if let Some(found) = look(self.reader.clone()).await? {
                return Ok(Some(found));
            }
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() || !Self::changed(&mut progress, left).await {
                return Ok(None);
            }
        }
    }
}
