//! The owner of the engine's socket, in the process of the keeper.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::drive::{self, Outlet};
use crate::engine::{Engine, within};
use crate::error::Error;
use crate::files::Files;
use crate::image::{Image, ImageInUse};
use crate::limits::{CHUNKS_WAITING_MAX, SLOTS_MAX, WALL_CLOCK};
use crate::pool::{Class, Container, Pool};
use crate::run::{Finished, Run, Running};
use crate::trial::{self, Trial};

/// What a keeper needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The engine's Unix socket, as a path or as `unix://…`; none means where Docker and podman usually listen.
    pub socket: Option<String>,
    /// Whose containers these are: lower-case letters, digits and `-`. Two sandboxes at one engine need two names,
    /// because each removes at its start what has its own.
    pub installation: String,
    /// Runs at once; more wait.
    pub capacity: u16,
    /// The images, each with the number of its containers that wait for a run.
    pub images: Vec<(Image, u16)>,
    /// The name of an image at the engine, on which images of projects are built on trial; none means that none is.
    pub base_image: Option<String>,
}

impl Config {
    fn check(&self) -> Result<(), Error> {
        let sign = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.installation.is_empty()
            || self.installation.len() > 64
            || !self.installation.bytes().all(sign)
        {
            return Err(Error::invalid("the installation's name must be 1 to 64 of `a-z`, `0-9` and `-`"));
        }
        let warm: u64 = self.images.iter().map(|(_, warm)| u64::from(*warm)).sum();
        if self.capacity == 0 || u64::from(self.capacity) + warm > u64::from(SLOTS_MAX) {
            let why = format!("the capacity and the warm containers must together be from 1 to {SLOTS_MAX}");
            return Err(Error::invalid(why));
        }
        Ok(())
    }
}

/// Whether an engine answers that can enforce every limit. Changes nothing at it.
pub async fn probe(socket: Option<&str>) -> Result<(), Error> {
    Engine::connect(socket, "probe").await.map(drop)
}

/// A place of a run. Free again when nothing of the run is left.
pub(crate) type Place = OwnedSemaphorePermit;

/// Runs programs in containers.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: Pool,
    places: Arc<Semaphore>,
    closed: CancellationToken,
    tasks: TaskTracker,
    base_image: Option<String>,
}

impl Owner {
    /// Connects to the engine, removes what an earlier process of this installation left there, gives the engine the
    /// images and starts the containers that wait.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        config.check()?;
        let engine = Engine::connect(config.socket.as_deref(), &config.installation).await?;
        let reaped = engine.reap().await?;
        if reaped > 0 {
            tracing::info!(containers = reaped, "removed what an earlier process left");
        }
        let mut images = Vec::new();
        for (image, _) in &config.images {
            let id = image.load(&engine).await?;
            images.push(ImageInUse { kind: image.kind, manifest: image.hash.clone(), id });
        }
        let warm = config.images.iter().map(|(image, warm)| (image.kind, usize::from(*warm))).collect();
        let shared = Arc::new(Shared {
            pool: Pool::new(engine, images, warm),
            places: Arc::new(Semaphore::new(usize::from(config.capacity))),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
            base_image: config.base_image.clone(),
        });
        shared.pool.fill().await;
        Ok(Self { shared })
    }

    /// Waits for a place.
    pub async fn place(&self) -> Place {
        let place = Arc::clone(&self.shared.places).acquire_owned().await;
        place.expect("nobody closes the semaphore")
    }

    /// Starts a run.
    pub fn run(&self, run: Run, place: Place) -> Result<Running, Error> {
        run.check()?;
        if !self.shared.pool.serves(run.kind) {
            return Err(Error::ImageMissing { path: run.kind.name().to_owned() });
        }
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        let cancel = self.shared.closed.child_token();
        let guard = cancel.clone().drop_guard();
        let work = Arc::clone(&self.shared).work(run, place, Outlet::new(sender), cancel.clone());
        let task = self.shared.tasks.spawn(work);
        Ok(Running { chunks, cancel, guard, task })
    }

    /// The base image of trial builds, or why none is made.
    pub fn base_image(&self) -> Result<&str, Trial> {
        let unset = || Trial::Untried("no base image is given: the setting `sandbox.base_image`".to_owned());
        self.shared.base_image.as_deref().ok_or_else(unset)
    }

    /// Builds an image of files as their `Dockerfile` says, on a base image, and removes it. Nothing is run, fetched or
    /// unpacked; what would is not tried.
    pub async fn build(&self, files: &Files, base: &str) -> Result<Trial, Error> {
        if let Some(reason) = trial::refusal(files, base) {
            return Ok(Trial::Untried(reason));
        }
        let engine = self.shared.pool.engine();
        if !engine.has_image(base).await? {
            return Ok(Trial::Untried(format!("the engine does not have the base image `{base}`")));
        }
        let archive = files.to_archive(0).map_err(|source| Error::failed("pack the files", &source))?;
        let name = format!("orrery-trial-{}", uuid::Uuid::new_v4());
        let built = within(WALL_CLOCK, "build an image", engine.build(&name, archive)).await?;
        Ok(built.map_or(Trial::Built, Trial::Failed))
    }

    /// Waits until the containers that are to wait do so, or could not be made.
    pub async fn warmed(&self) {
        self.shared.pool.fill().await;
    }

    /// The images that runs get.
    pub fn images(&self) -> Vec<ImageInUse> {
        self.shared.pool.images().to_vec()
    }

    /// Cancels every run and removes every container.
    pub async fn close(self) {
        self.shared.closed.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.pool.empty().await;
    }
}

impl Shared {
    async fn work(
        self: Arc<Self>,
        run: Run,
        place: Place,
        outlet: Outlet,
        cancel: CancellationToken,
    ) -> Result<Finished, Error> {
        let class = Class { kind: run.kind, memory: run.memory, workspace: run.workspace };
        let (container, program) = self.begin(class, &run).await?;
        // The successor is made while the program runs.
        self.refill();
        let engine = self.pool.engine();
        let finished = drive::follow(engine, &container, &run, program, outlet, &cancel).await;
        // The caller need not wait for the removal, the next run must: containers are never more than places.
        let shared = Arc::clone(&self);
        self.tasks.spawn(async move {
            shared.pool.dispose(container).await;
            drop(place);
        });
        finished
    }

    /// Starts the program in a container that waits or in a new one. One that waits may have ended meanwhile.
    async fn begin(self: &Arc<Self>, class: Class, run: &Run) -> Result<(Container, drive::Program), Error> {
        let engine = self.pool.engine();
        if let Some(container) = self.pool.take(class) {
            match drive::start(engine, &container, run).await {
                Ok(program) => return Ok((container, program)),
                Err(error) => {
                    tracing::debug!(%error, "a container that waited is of no use");
                    self.pool.dispose(container).await;
                }
            }
        }
        let container = self.pool.make(class).await?;
        match drive::start(engine, &container, run).await {
            Ok(program) => Ok((container, program)),
            Err(error) => {
                self.pool.dispose(container).await;
                Err(error)
            }
        }
    }

    fn refill(self: &Arc<Self>) {
        if !self.closed.is_cancelled() {
            let shared = Arc::clone(self);
            self.tasks.spawn(async move { shared.pool.fill().await });
        }
    }
}
