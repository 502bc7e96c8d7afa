//! The sandbox as its users see it: calls to the keeper, which holds the engine's socket in a process of its own.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::error::Error;
use crate::files::Files;
use crate::image::ImageInUse;
use crate::limits::{CHUNK_BYTES_MAX, CHUNKS_RECEIVED_MAX};
use crate::link::{Keeper, Link};
use crate::run::{Chunk, Finished, Run, Running};
use crate::trial::Trial;
use crate::wire::{Answer, Call, FILES_BODY_MAX, receive, send};

/// Runs programs in containers. Cheap to clone; all clones share the keeper.
#[derive(Debug, Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    link: Link,
    closed: CancellationToken,
    tasks: TaskTracker,
    _guard: DropGuard,
}

impl Sandbox {
    /// Starts the keeper, or finds it. A keeper that starts connects to the engine, removes what an earlier one of this
    /// installation left there, gives the engine the images and starts the containers that wait.
    pub async fn connect(keeper: impl Into<Keeper>) -> Result<Self, Error> {
        let closed = CancellationToken::new();
        let _guard = closed.clone().drop_guard();
        let link = Link::open(keeper.into(), closed.clone()).await?;
        Ok(Self { shared: Arc::new(Shared { link, closed, tasks: TaskTracker::new(), _guard }) })
    }

    /// Starts a run, as soon as there is a place.
    pub fn run(&self, run: Run) -> Result<Running, Error> {
        run.check()?;
        let (sender, chunks) = mpsc::channel(CHUNKS_RECEIVED_MAX);
        let cancel = self.shared.closed.child_token();
        let guard = cancel.clone().drop_guard();
        let work = Arc::clone(&self.shared).work(run, sender, cancel.clone());
        let task = self.shared.tasks.spawn(work);
        Ok(Running { chunks, cancel, guard, task })
    }

    /// Builds an image of files as their `Dockerfile` says, and removes it. Nothing is run, fetched or unpacked; what
    /// would is not tried.
    pub async fn build(&self, files: &Files) -> Result<Trial, Error> {
        let mut talk = self.shared.talk(&Call::Build).await?;
        loop {
            match talk.hear().await? {
                (Answer::Go, _) => talk.give(files).await?,
                (Answer::Built(trial), _) => return Ok(trial),
                (other, _) => return Err(unexpected(other)),
            }
        }
    }

    /// Waits until the containers that are to wait do so, or could not be made.
    pub async fn warmed(&self) -> Result<(), Error> {
        match self.shared.talk(&Call::Warm).await?.hear().await? {
            (Answer::Warm, _) => Ok(()),
            (other, _) => Err(unexpected(other)),
        }
    }

    /// The images that runs get.
    pub async fn images(&self) -> Result<Vec<ImageInUse>, Error> {
        Ok(self.shared.link.up().await?.images.clone())
    }

    /// Cancels every run, and waits until no container is left.
    pub async fn close(self) {
        self.shared.closed.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.link.ended().await;
    }
}

impl Shared {
    async fn work(
        self: Arc<Self>,
        run: Run,
        chunks: mpsc::Sender<Chunk>,
        cancel: CancellationToken,
    ) -> Result<Finished, Error> {
        let begun = async {
            let (files, call) = (run.files.clone(), Call::Run(Box::new(run)));
            let mut talk = self.talk(&call).await?;
            match talk.hear().await? {
                (Answer::Go, _) => talk.give(&files).await.map(|()| talk),
                (other, _) => Err(unexpected(other)),
            }
        };
        let talk = tokio::select! {
            () = cancel.cancelled() => return Ok(Finished::canceled()),
            begun = begun => begun?,
        };
        talk.follow(chunks, cancel).await
    }

    /// Makes a call.
    async fn talk(&self, call: &Call) -> Result<Talk, Error> {
        let lost = self.link.up().await?.lost.clone();
        let stream = unless(&lost, self.link.call()).await?;
        let (from, to) = stream.into_split();
        let mut talk = Talk { from, to, lost };
        unless(&talk.lost, send(&mut talk.to, call, &[])).await?;
        Ok(talk)
    }
}

/// A call in progress. Dropping it takes it back.
struct Talk {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    lost: CancellationToken,
}

impl Talk {
    async fn hear(&mut self) -> Result<(Answer, Vec<u8>), Error> {
        unless(&self.lost, receive(&mut self.from, CHUNK_BYTES_MAX as u64)).await
    }

    async fn give(&mut self, files: &Files) -> Result<(), Error> {
        let packed = if files.is_empty() { Ok(Vec::new()) } else { files.to_archive(0) };
        let packed = packed.map_err(|source| Error::failed("pack the files", &source))?;
        unless(&self.lost, send(&mut self.to, &(), &packed)).await
    }

    /// Passes the output on until the run is over; to cancel closes our side, and the end still comes.
    async fn follow(self, chunks: mpsc::Sender<Chunk>, cancel: CancellationToken) -> Result<Finished, Error> {
        let Self { mut from, mut to, lost } = self;
        let heard = async {
            loop {
                match unless(&lost, receive(&mut from, FILES_BODY_MAX)).await? {
                    (Answer::Chunk(chunk), bytes) => {
                        // Nobody listens: the run is being canceled.
                        let _ = chunks.send(Chunk { bytes: bytes.into(), ..chunk }).await;
                    }
                    (Answer::Finished(mut finished), packed) => {
                        if let Some(Ok(read)) = &mut finished.workspace {
                            read.files = Files::from_archive(packed.as_slice())?;
                        }
                        return Ok(finished);
                    }
                    (other, _) => return Err(unexpected(other)),
                }
            }
        };
        let canceled = async {
            cancel.cancelled().await;
            // A keeper that is gone has canceled it already.
            let _ = to.shutdown().await;
            std::future::pending().await
        };
        tokio::select! {
            heard = heard => heard,
            never = canceled => never,
        }
    }
}

/// What comes of a part of a call, unless the keeper is lost.
async fn unless<T>(lost: &CancellationToken, part: impl Future<Output = io::Result<T>>) -> Result<T, Error> {
    tokio::select! {
        // What was said before the end counts.
        biased;
        done = part => done.map_err(|_| Error::KeeperLost),
        () = lost.cancelled() => Err(Error::KeeperLost),
    }
}

/// The failure that an answer is when another one was wanted.
fn unexpected(answer: Answer) -> Error {
    match answer {
        Answer::Failed(error) => error,
        _ => Error::KeeperMissing { why: "the answer is one to something else".to_owned() },
    }
}
