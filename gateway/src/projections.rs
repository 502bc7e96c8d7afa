//! The read model: a SQLite file that follows the event stream and can be rebuilt at will.
//!
//! One follower reads the stream in order and folds it into views, one transaction for each burst.
//! Any number of readers look at the file. It never writes to the bus.
//!
//! Invariants: an event is applied once (the view's revision says so); the place in the stream moves
//! in the same transaction as the views; an event that can not be read is noted and never skipped in
//! silence.

pub mod agent;
pub mod breaker;
pub mod campaign;
pub mod dead_letter;
pub mod halt;
pub mod lane;
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

pub use follow::chain;
pub use read::{DeadLetterFilter, Order, Place, Reader, TaskFilter};

/// Why the read model can not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory can not be made.
    #[error("creating the directory of the read model at `{path}`")]
    Directory { path: PathBuf, source: std::io::Error },
    /// SQLite refuses.
    #[error("{doing} the read model")]
    Sqlite { doing: &'static str, source: rusqlite::Error },
    /// A row is not what we wrote.
    #[error("reading a row of `{table}` in the read model")]
    Row { table: &'static str, source: serde_json::Error },
    /// The thread that worked on the file is gone.
    #[error("the thread of the read model ended: {0}")]
    Thread(String),
}

impl Error {
    /// For `map_err`.
    pub(crate) fn sqlite(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sqlite { doing, source }
    }
}

/// How far the read model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The last message of the event stream that is applied.
    pub applied: u64,
    /// The last message of the event stream when it was last asked.
    pub target: u64,
    /// Whether the stream could be asked at all.
    pub connected: bool,
    /// Whether everything that was there has been applied once since the file was opened or emptied.
    pub caught_up: bool,
}

impl Progress {
    /// Messages that are not applied yet.
    pub fn lag(self) -> u64 {
        self.target.saturating_sub(self.applied)
    }
}

/// The read model of this gateway.
#[derive(Debug, Clone)]
pub struct Projections {
    /// Asks the file.
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

    /// How far it is.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Returns at the next change, or after `patience`. False when the time is up or nobody follows.
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

    /// Asks again and again, whenever something was applied, until `look` finds something or
    /// `patience` is over.
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
