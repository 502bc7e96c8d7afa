//! Taking jobs: at most `capacity` at once, none after the halt, and a drain with a deadline.

use std::sync::Arc;
use std::time::Duration;

use bus_client::jobs::Delivery;
use bus_client::{Ask, PublishError};
use bus_schemas::commands::deadletter;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, EntityAddress, Hash, Key, TraceContext};
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Crew;
use super::attempt;
use crate::contract::{chain, now};

/// Before the queue is tried again after an error: the server is restarting, or a consumer was removed.
const QUEUE_PAUSE: Duration = Duration::from_secs(1);
/// Before a job that could not be dealt with is delivered again.
pub(super) const RETURN_PAUSE: Duration = Duration::from_secs(5);
/// The word for jobs among the dead letters.
const DEAD_KIND: &str = "job";

/// Takes jobs until `halt`, then waits up to `drain` for those that run, and gives back the rest.
pub(super) async fn take(crew: &Arc<Crew>, halt: &CancellationToken, drain: Duration) {
    let mut attempts = JoinSet::new();
    let free = Arc::new(Semaphore::new(crew.capacity));
    while !halt.is_cancelled() {
        let opened = tokio::select! {
            biased;
            () = halt.cancelled() => break,
            opened = crew.bus.take_jobs(&crew.card.name) => opened,
        };
        match opened {
            Ok(deliveries) => take_from(crew, halt, deliveries, &free, &mut attempts).await,
            Err(error) => {
                tracing::warn!(agent = %crew.card.name, error = chain(&error), "opening the queue; trying again");
                pause(halt).await;
            }
        }
    }
    finish(crew, attempts, drain).await;
}

/// Takes from one subscription until it ends.
async fn take_from(
    crew: &Arc<Crew>,
    halt: &CancellationToken,
    mut deliveries: impl Stream<Item = Result<Delivery, bus_client::Error>> + Unpin,
    free: &Arc<Semaphore>,
    attempts: &mut JoinSet<()>,
) {
    loop {
        // A host that is paused takes nothing.
        tokio::select! {
            () = halt.cancelled() => return,
            () = crew.chaos.until_awake() => {}
        }
        // A place first, then a job: a job that waits here for a place would be kept from other workers.
        let Some(place) = place(free, halt, attempts).await else { return };
        let delivery = tokio::select! {
            biased;
            () = halt.cancelled() => return,
            delivery = deliveries.next() => delivery,
        };
        match delivery {
            Some(Ok(delivery)) => {
                let crew = crew.clone();
                attempts.spawn(async move {
                    let _place = place;
                    receive(&crew, delivery).await;
                });
            }
            Some(Err(error)) => {
                tracing::warn!(agent = %crew.card.name, error = chain(&error), "taking a job");
                pause(halt).await;
            }
            None => return pause(halt).await,
        }
    }
}

/// Waits for a free place and clears away what has ended; none after the halt.
async fn place(
    free: &Arc<Semaphore>,
    halt: &CancellationToken,
    attempts: &mut JoinSet<()>,
) -> Option<OwnedSemaphorePermit> {
    loop {
        tokio::select! {
            biased;
            () = halt.cancelled() => return None,
            Some(ended) = attempts.join_next() => note(ended),
            place = free.clone().acquire_owned() => return Some(place.expect("the semaphore is never closed")),
        }
    }
}

/// Does a readable job and buries an unreadable one.
async fn receive(crew: &Arc<Crew>, delivery: Delivery) {
    let job = match &delivery.job {
        Ok(job) => job.clone(),
        Err(reason) => return bury(crew, &delivery, &format!("the job can not be read: {reason}")).await,
    };
    // A second copy while the first is being done: it is left to its delivery, which the first one renews.
    let Some(_hold) = crew.hold(&job.id) else { return };
    attempt::attempt(crew, &delivery, job).await;
}

/// Keeps a job that nobody can read where an operator finds it, and takes it out of the queue.
async fn bury(crew: &Crew, delivery: &Delivery, reason: &str) {
    let payload = delivery.payload().clone();
    // The name is the content, so that a job that is buried twice lies there once.
    let entry = Hash::of(&payload).to_hex();
    tracing::error!(agent = %crew.card.name, entry, reason, "a job is a dead letter");
    let kept = match crew.bus.publish_dead(DEAD_KIND, &entry, reason, payload).await {
        Ok(()) => record(crew, delivery, &entry, reason).await,
        Err(error) => Err(error),
    };
    match kept {
        Ok(()) => finish_delivery(delivery).await,
        Err(error) => {
            tracing::warn!(agent = %crew.card.name, error = chain(&error), "keeping a dead letter; trying again later");
            return_delivery(delivery).await;
        }
    }
}

/// Tells the dead-letter entity, by way of its durable inbox: no partition needs to answer now.
async fn record(crew: &Crew, delivery: &Delivery, entry: &str, reason: &str) -> Result<(), PublishError> {
    let id = CommandId::from_text(entry);
    let to = (DEAD_KIND, crew.card.name.as_str());
    let letter = deadletter::Entry {
        traceparent: delivery.trace.map(TraceContext::to_traceparent),
        attempts: u32::try_from(delivery.delivered).unwrap_or(u32::MAX),
        source: Some("agent".into()),
        caller: Some(crew.name.as_str().into()),
        ..deadletter::Entry::new(deadletter::class::MALFORMED_JOB, reason, to, (id, id), now())
    };
    let key = Key::parse(entry).expect("a hash in hexadecimal digits is a key");
    let to = EntityAddress::new(deadletter::Command::KIND, key);
    let command = Body::json(&deadletter::Command::Record(letter));
    crew.bus.hand_over(&Ask::new(to, command).with_id(id).caller(crew.name.as_str())).await.map(drop)
}

/// Takes a job out of the queue. If that fails it comes again, and is then refused by its task.
pub(super) async fn finish_delivery(delivery: &Delivery) {
    if let Err(error) = delivery.finish().await {
        tracing::warn!(error = chain(&error), "finishing a job");
    }
}

/// Gives a job back to the queue. If that fails it comes again by itself.
pub(super) async fn return_delivery(delivery: &Delivery) {
    if let Err(error) = delivery.give_back(RETURN_PAUSE).await {
        tracing::warn!(error = chain(&error), "giving a job back");
    }
}

/// Waits for the running attempts; after `drain` they are told to stop.
async fn finish(crew: &Crew, mut attempts: JoinSet<()>, drain: Duration) {
    let deadline = tokio::time::sleep(drain);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(ended) => note(ended),
                None => return,
            },
            () = &mut deadline, if !crew.drained.is_cancelled() => crew.drained.cancel(),
        }
    }
}

/// An attempt catches the agent's panics, so one that comes through is ours. The job will be delivered again.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = chain(&error), "an attempt ended early");
    }
}

async fn pause(halt: &CancellationToken) {
    tokio::select! {
        () = halt.cancelled() => {}
        () = tokio::time::sleep(QUEUE_PAUSE) => {}
    }
}
