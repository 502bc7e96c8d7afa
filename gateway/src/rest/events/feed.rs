//! What one client is sent, in order: the events it does not have, output, and the end.

use axum::response::sse::Event;
use bus_client::events::Cursor;
use bus_client::{Error, StoredEvent};
use bus_schemas::jobs::{OutputChunk, Progress};
use bus_schemas::{EntityAddress, Key};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::projections::chain;

/// The events after which nothing more happens by itself.
const FINAL: [&str; 4] = ["completed", "failed", "canceled", "rejected"];
/// The event that takes a final one back.
const RETRIED: &str = "retried";

/// The state of one client's stream.
pub struct Feed {
    /// The task.
    pub entity: EntityAddress,
    /// Its events and those of all below it, from the first one.
    pub events: BoxStream<'static, Result<StoredEvent, Error>>,
    /// Its output, or nothing for ever.
    pub output: BoxStream<'static, Result<(Key, OutputChunk), Error>>,
    /// The last event that the client has.
    pub after: Option<Cursor>,
    /// The stream sequence of the last event that existed when the client asked. A final event
    /// before it may have been taken back since.
    pub end: u64,
    /// Whether to go on behind `end`.
    pub follow: bool,
    /// Whether the task's last event was a final one.
    is_final: bool,
    /// Whether everything was sent.
    pub is_done: bool,
    /// What was read on the way to the client's last event, and is sent first.
    held: Option<Event>,
}

/// An event as clients see it.
#[derive(Serialize)]
struct EventData<'a> {
    entity: String,
    revision: u64,
    r#type: &'a str,
    schema: u16,
    time: &'a str,
    hash: String,
    cause: Option<String>,
    correlation: Option<String>,
    event: Box<RawValue>,
}

/// A piece of output as clients see it.
#[derive(Serialize)]
struct OutputData<'a> {
    task: &'a Key,
    attempt: u32,
    number: u64,
    text: &'a str,
    progress: Option<&'a Progress>,
}

impl Feed {
    /// Everything that happened and happens to a task.
    pub fn new(
        entity: EntityAddress,
        events: BoxStream<'static, Result<StoredEvent, Error>>,
        output: BoxStream<'static, Result<(Key, OutputChunk), Error>>,
        after: Option<Cursor>,
        end: u64,
        follow: bool,
    ) -> Self {
        Self { entity, events, output, after, end, follow, is_final: false, is_done: false, held: None }
    }

    /// Reads up to the last event that the client has; false where it is none of these. Of an archived task
    /// the last event alone is left, so one before all that are there is taken.
    pub async fn skip(&mut self) -> Result<bool, Error> {
        let Some(after) = self.after else { return Ok(true) };
        let mut is_first = true;
        while let Some(stored) = self.events.next().await {
            let stored = stored?;
            self.held = self.take(&stored);
            if stored.cursor >= after {
                return Ok(stored.cursor == after || is_first);
            }
            if stored.stream_sequence >= self.end {
                return Ok(false);
            }
            is_first = false;
        }
        Ok(false)
    }

    /// The next thing to send; none at the end.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.held.take() {
            return Some(event);
        }
        while !self.is_done {
            let stored = tokio::select! {
                biased;
                stored = self.events.next() => stored?,
                chunk = self.output.next() => match chunk {
                    Some(Ok((task, chunk))) => return Some(output(&task, &chunk)),
                    Some(Err(error)) => {
                        tracing::warn!(error = chain(&error), "streaming output");
                        continue;
                    }
                    None => {
                        self.output = futures::stream::pending().boxed();
                        continue;
                    }
                },
            };
            match stored {
                Ok(stored) => {
                    if let Some(event) = self.take(&stored) {
                        return Some(event);
                    }
                }
                // The client comes back with the last id, and nothing is lost.
                Err(error) => {
                    tracing::warn!(entity = %self.entity, error = chain(&error), "streaming events");
                    return None;
                }
            }
        }
        // The last event was sent by the call before this one.
        self.is_final.then(|| {
            self.is_final = false;
            Event::default().event("end").data(r#"{"reason":"final"}"#)
        })
    }

    /// Notes an event, and renders it if the client does not have it.
    fn take(&mut self, stored: &StoredEvent) -> Option<Event> {
        if stored.entity == self.entity {
            let event_type = stored.event.event_type.as_str();
            if FINAL.contains(&event_type) {
                self.is_final = true;
            } else if event_type == RETRIED {
                self.is_final = false;
            }
        }
        self.is_done = stored.stream_sequence >= self.end && (self.is_final || !self.follow);
        if self.after.is_some_and(|after| stored.cursor <= after) {
            return None;
        }
        self.after = Some(stored.cursor);
        Some(event(stored))
    }
}

fn event(stored: &StoredEvent) -> Event {
    let body = &stored.event.body;
    // The bytes as they lie in the log, so that hashes can be checked. What is no JSON is shown as text.
    let event = serde_json::from_slice::<Box<RawValue>>(body)
        .ok()
        .or_else(|| to_raw_value(&String::from_utf8_lossy(body)).ok());
    let data = EventData {
        entity: stored.entity.to_string(),
        revision: stored.event.revision.0,
        r#type: &stored.event.event_type,
        schema: stored.event.schema,
        time: &stored.time,
        hash: stored.event.hash.to_hex(),
        cause: stored.cause.map(|id| id.to_string()),
        correlation: stored.correlation.map(|id| id.to_string()),
        event: event.unwrap_or_default(),
    };
    Event::default()
        .id(stored.cursor.to_string())
        .event(one_line(&format!("{}.{}", stored.entity.kind, stored.event.event_type)))
        .data(json(&data))
}

fn output(task: &Key, chunk: &OutputChunk) -> Event {
    let OutputChunk { attempt, number, text, progress } = chunk;
    let data = OutputData { task, attempt: *attempt, number: *number, text, progress: progress.as_ref() };
    Event::default().event("output").data(json(&data))
}

fn json<T: Serialize>(data: &T) -> String {
    serde_json::to_string(data).expect("plain data with string keys")
}

/// An event's name with a line break would begin another field.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], "")
}

#[cfg(test)]
mod tests;
