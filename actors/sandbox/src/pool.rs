//! Slots, and the containers that wait in them. A container serves one run; the pool makes its successor.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::create::Shape;
use crate::engine::Engine;
use crate::error::Error;
use crate::image::{ImageInUse, Kind};
use crate::limits::{MEMORY_BYTES_MAX, SLOTS_MAX, UID_FIRST, WARM_AGE_MAX, WORKSPACE_BYTES_MAX};

/// What a container must be for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    pub kind: Kind,
    pub memory: u64,
    pub workspace: u64,
}

impl Class {
    /// The class of runs without wishes: the one that is kept warm.
    pub fn usual(kind: Kind) -> Self {
        Self { kind, memory: MEMORY_BYTES_MAX, workspace: WORKSPACE_BYTES_MAX }
    }
}

/// A slot's number. Free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u16,
    taken: Arc<Mutex<BTreeSet<u16>>>,
}

impl Slot {
    pub fn uid(&self) -> u32 {
        UID_FIRST + u32::from(self.number)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        locked(&self.taken).remove(&self.number);
    }
}

/// A started container.
#[derive(Debug)]
pub(crate) struct Container {
    pub id: String,
    pub slot: Slot,
    class: Class,
    volume: String,
    started: Instant,
}

/// The containers of one sandbox.
#[derive(Debug)]
pub(crate) struct Pool {
    engine: Engine,
    images: Vec<ImageInUse>,
    warm: Vec<(Kind, usize)>,
    waiting: Mutex<Vec<Container>>,
    taken: Arc<Mutex<BTreeSet<u16>>>,
    filling: tokio::sync::Mutex<()>,
}

impl Pool {
    pub fn new(engine: Engine, images: Vec<ImageInUse>, warm: Vec<(Kind, usize)>) -> Self {
        let (waiting, taken, filling) = Default::default();
        Self { engine, images, warm, waiting, taken, filling }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether there is an image for a kind.
    pub fn serves(&self, kind: Kind) -> bool {
        self.images.iter().any(|image| image.kind == kind)
    }

    pub fn images(&self) -> &[ImageInUse] {
        &self.images
    }

    /// A container that waits, if there is one.
    pub fn take(&self, class: Class) -> Option<Container> {
        let mut waiting = locked(&self.waiting);
        let at =
            waiting.iter().position(|each| each.class == class && each.started.elapsed() < WARM_AGE_MAX)?;
        Some(waiting.swap_remove(at))
    }

    /// A new container.
    pub async fn make(&self, class: Class) -> Result<Container, Error> {
        let image = self.images.iter().find(|image| image.kind == class.kind).map(|image| image.id.clone());
        let image = image.ok_or_else(|| Error::ImageMissing { path: class.kind.name().to_owned() })?;
        let slot = self.slot()?;
        let volume = format!("orrery-sandbox-{}", uuid::Uuid::new_v4());
        let Class { memory, workspace, .. } = class;
        let shape = Shape { image, memory, workspace, uid: slot.uid(), name: volume.clone() };
        let id = self.engine.start(&shape).await?;
        Ok(Container { id, slot, class, volume, started: Instant::now() })
    }

    /// Removes a container. Its slot is free only when nothing of it is left.
    pub async fn dispose(&self, container: Container) {
        let removed = async {
            self.engine.remove(&container.id).await?;
            self.engine.remove_volume(&container.volume).await
        };
        if let Err(error) = removed.await {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(container = container.id, %error, cause, "a container stays until the next start");
            std::mem::forget(container.slot);
        }
    }

    /// Makes the containers that are to wait and do not. Stops at the first failure: the next run tries again.
    pub async fn fill(&self) {
        let _one_at_a_time = self.filling.lock().await;
        for old in self.outdated() {
            self.dispose(old).await;
        }
        for (kind, wanted) in &self.warm {
            let class = Class::usual(*kind);
            while locked(&self.waiting).iter().filter(|each| each.class == class).count() < *wanted {
                match self.make(class).await {
                    Ok(container) => locked(&self.waiting).push(container),
                    Err(error) => {
                        tracing::warn!(%error, code = error.code(), "the pool of containers is not full");
                        return;
                    }
                }
            }
        }
    }

    /// Removes what waits.
    pub async fn empty(&self) {
        let _one_at_a_time = self.filling.lock().await;
        let waiting = std::mem::take(&mut *locked(&self.waiting));
        futures::future::join_all(waiting.into_iter().map(|container| self.dispose(container))).await;
    }

    fn outdated(&self) -> Vec<Container> {
        let mut waiting = locked(&self.waiting);
        let (old, young): (Vec<_>, Vec<_>) =
            waiting.drain(..).partition(|each| each.started.elapsed() >= WARM_AGE_MAX);
        *waiting = young;
        old
    }

    fn slot(&self) -> Result<Slot, Error> {
        let mut taken = locked(&self.taken);
        let free = (0..SLOTS_MAX).find(|number| !taken.contains(number));
        let number = free.ok_or_else(|| Error::invalid("every slot is taken"))?;
        taken.insert(number);
        Ok(Slot { number, taken: Arc::clone(&self.taken) })
    }
}

/// A panic while the lock was held leaves these lists whole: each change is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
