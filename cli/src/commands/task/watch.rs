//! `orrery task watch`: follows a task and everything below it to its end.

use bus_client::{Bus, EventQuery};
use bus_schemas::commands::task::Failure as TaskFailure;
use bus_schemas::events::task::Event;
use bus_schemas::jobs::Artifact;
use bus_schemas::{EntityAddress, Revision, upcast};
use futures::{StreamExt, TryStreamExt};

use super::Told;
use super::waiting::{self, Waiting};
use crate::address;
use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::gateway::{LOOK, VISIBLE_PATIENCE};
use crate::output::Output;
use crate::progress::{self, Progress};
use crate::session::Session;

/// How a task ended.
#[derive(Debug)]
pub enum End {
    /// With what came out.
    Completed(Vec<Artifact>),
    /// With why it did not.
    Failed(TaskFailure),
    /// With who or what stopped it.
    Canceled(String),
}

/// Shows a task's events and output until it has ended. A retried task goes on.
pub async fn follow(bus: &Bus, task: &EntityAddress, progress: &mut Progress) -> Result<End, Failure> {
    let query = EventQuery { subjects: bus.subjects().event_tree(task).to_vec(), from: 0 };
    let history = bus.history(task, Revision(0), 0).await?;
    let present = history.last().map_or(0, |stored| stored.event.revision.0);
    let mut events = bus.events(query).await?;
    let mut pieces = bus.output(&task.key).await?;
    let mut waiting = Waiting::of(task.clone());
    let mut look = tokio::time::interval(waiting::PATIENCE);
    loop {
        let stored = tokio::select! {
            stored = events.try_next() => stored?.ok_or_else(stream_ended)?,
            Some(Ok((key, chunk))) = pieces.next() => {
                progress.output(&key, &chunk);
                continue;
            }
            _ = look.tick() => {
                waiting.tell(bus, progress).await;
                continue;
            }
        };
        let read = upcast::read::<Event>(&stored.event.event_type, stored.event.schema, &stored.event.body);
        let event = read.map_err(|error| {
            Failure::of("event-unreadable", &error)
                .next("use the version that the system runs")
                .exit(exit::DATA)
        })?;
        progress.event(&stored, &event);
        waiting.event(&stored.entity.key, &event);
        // An end that something came after is none.
        if stored.entity != *task || stored.event.revision.0 < present {
            continue;
        }
        match event {
            Event::Completed { artifacts, .. } => return Ok(End::Completed(artifacts)),
            Event::Failed { failure, .. } | Event::Rejected { failure } => return Ok(End::Failed(failure)),
            Event::Canceled { reason, .. } => return Ok(End::Canceled(reason)),
            _ => {}
        }
    }
}

fn stream_ended() -> Failure {
    Failure::new("nats-unreachable", "the stream of events ended before the task")
        .next("the task goes on where the system runs; `orrery task watch` shows it")
        .exit(exit::UNAVAILABLE)
}

/// Follows a task, and fails as it fails.
pub(super) async fn run(session: &Session, id: &str, output: Output) -> Result<(), Failure> {
    let task = address::task(id)?;
    let visible = tokio::time::Instant::now() + VISIBLE_PATIENCE;
    while session.bus.history(&task, Revision(0), 0).await?.is_empty() {
        if tokio::time::Instant::now() < visible {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        return Err(Failure::new("task-not-found", format!("there is no task {id}"))
            .next("`orrery task list` shows what there is")
            .exit(exit::NOT_FOUND));
    }
    to_its_end(session, id, output).await
}

/// Follows a task that exists, although its events may not be out yet.
pub(super) async fn to_its_end(session: &Session, id: &str, output: Output) -> Result<(), Failure> {
    let task = address::task(id)?;
    // Programs get every change as a line; people get the picture.
    let mut progress = Progress::new(task.key.clone(), output, output.json());
    let end = tokio::select! {
        end = follow(&session.bus, &task, &mut progress) => end,
        () = interrupted() => {
            progress.end();
            return Err(Failure::new("interrupted", format!("task {id} goes on"))
                .next(format!("`orrery task watch {id}` shows it again, `orrery task cancel {id}` ends it"))
                .exit(exit::INTERRUPTED));
        }
    };
    progress.end();
    match end? {
        End::Completed(_) => {
            let history = session.bus.history(&task, Revision(0), 0).await?;
            let revision = history.last().map_or(0, |stored| stored.event.revision.0);
            output.show(&Told { task: id.to_owned(), revision });
            Ok(())
        }
        End::Failed(failure) => {
            let failed = Failure::new(failure.code, format!("task {id} failed: {}", failure.message));
            Err(Failure { next: failure.hint, ..failed })
        }
        End::Canceled(reason) => Err(Failure::new(
            "task-canceled",
            progress::reasoned(&format!("task {id} was canceled"), &reason),
        )
        .next(format!("`orrery events --tree {id}` shows what happened before"))),
    }
}
