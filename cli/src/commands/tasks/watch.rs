//! `orrery tasks watch`: follows a task and its descendants to the end.

use bus_schemas::commands::task::Failure as TaskFailure;
use bus_schemas::events::task::Event;
use bus_schemas::jobs::Artifact;
use bus_schemas::{EntityAddress, Key, Kind, Revision, upcast};

use super::waiting::{self, Waiting};
use super::{changed, show, which};
use crate::client::Client;
use crate::commands::up::interrupted;
use crate::failure::{Failure, exit};
use crate::output::Output;
use crate::progress::{self, Progress};
use crate::stream::{Message, Stream};

/// The kind whose events are shown.
pub(super) const TASK: Kind = Kind::from_static("task");

/// How a task ended.
#[derive(Debug)]
pub enum End {
    /// The task completed, with these artifacts.
    Completed(Vec<Artifact>),
    /// The task failed, for this reason.
    Failed {
        /// The reason.
        failure: TaskFailure,
        /// The number of the end, which a retry names; `None` where the task cannot be retried.
        end: Option<Revision>,
    },
    /// The task was canceled, for this reason.
    Canceled(String),
}

/// Shows a task's events and output until it has ended; a retry continues. Waits for the task to exist.
pub async fn follow(client: &Client, task: &Key, progress: &mut Progress) -> Result<End, Failure> {
    let entity = EntityAddress::new(TASK, task.clone());
    let present = show::one(client, task).await?.revision;
    let mut stream = Stream::of(client, task);
    let mut waiting = Waiting::of(task.clone());
    let mut look = tokio::time::interval(waiting::PATIENCE);
    let mut last = None;
    loop {
        let told = tokio::select! {
            message = stream.next() => match message? {
                Message::Event(told) => told,
                Message::Output(output) => {
                    progress.output(&output.task, &output.chunk);
                    continue;
                }
                Message::Away => {
                    progress.waits(task, "the gateway does not answer; it is asked again");
                    continue;
                }
                Message::Back => {
                    progress.waits(task, "the gateway answers again");
                    continue;
                }
                // The event of the end came before this message.
                Message::End => return last.ok_or_else(stream_ended),
            },
            _ = look.tick() => {
                waiting.tell(client, progress).await;
                continue;
            }
        };
        let read = upcast::read::<Event>(&told.r#type, told.schema, told.event.get().as_bytes());
        let event = read.map_err(|error| {
            Failure::of("event-unreadable", &error)
                .next("use the version that the system runs")
                .exit(exit::DATA)
        })?;
        progress.event(&told, &event);
        waiting.event(&told.entity.key, &event);
        if told.entity != entity {
            continue;
        }
        last = match event {
            Event::Completed { artifacts, .. } => Some(End::Completed(artifacts)),
            Event::Failed { failure, .. } => Some(End::Failed { failure, end: Some(told.revision) }),
            Event::Rejected { failure } => Some(End::Failed { failure, end: None }),
            Event::Canceled { reason, .. } => Some(End::Canceled(reason)),
            _ => None,
        };
        // An end that a later event follows is not final.
        if told.revision >= present
            && let Some(end) = last.take()
        {
            return Ok(end);
        }
    }
}

/// What to do about a task that failed: what its failure advises, and the command that retries it.
pub fn next(task: &Key, hint: Option<String>, end: Option<Revision>) -> Option<String> {
    let retry = end.map(|end| format!("`{}` tries it again", which::retry(task, end)));
    let parts: Vec<String> = hint.into_iter().chain(retry).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn stream_ended() -> Failure {
    Failure::new("gateway-unreachable", "the stream of events ended before the task")
        .next("the task goes on where the system runs; `orrery tasks watch` shows it")
        .exit(exit::UNAVAILABLE)
}

/// Follows a task to its end, and fails when the task fails.
pub(in crate::commands) async fn to_its_end(
    client: &Client,
    task: &Key,
    output: Output,
) -> Result<(), Failure> {
    // Programs get every change as a line; people get the live display.
    let mut progress = Progress::new(task.clone(), output, output.json());
    let end = tokio::select! {
        end = follow(client, task, &mut progress) => end,
        () = interrupted() => {
            progress.end();
            return Err(Failure::new("interrupted", format!("task {task} goes on"))
                .next(format!("`orrery tasks watch {task}` shows it again, `orrery tasks cancel {task}` ends it"))
                .exit(exit::INTERRUPTED));
        }
    };
    progress.end();
    match end? {
        End::Completed(_) => {
            changed(&show::current(client, task).await?, output);
            Ok(())
        }
        End::Failed { failure, end } => {
            let failed = Failure::new(failure.code, format!("task {task} failed: {}", failure.message));
            Err(Failure { next: next(task, failure.hint, end), ..failed })
        }
        End::Canceled(reason) => Err(Failure::new(
            "task-canceled",
            progress::reasoned(&format!("task {task} was canceled"), &reason),
        )
        .next(format!("`orrery events --tree {task}` shows what happened before"))),
    }
}
