//! What one client is sent, in order: the events it lacks, output, and the end.

use axum::response::sse::Event;
use bus_client::events::Cursor;
use bus_client::{Error, StoredEvent};
use bus_schemas::jobs::OutputChunk;
use bus_schemas::{EntityAddress, Key, chain};
use futures::StreamExt;
use futures::stream::BoxStream;
use gateway_api::events::{Event as EventView, Output};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// The events that end a task.
const FINAL: [&str; 4] = ["completed", "failed", "canceled", "rejected"];
/// The event that reopens a task.
const RETRIED: &str = "retried";

/// The state of one client's stream.
pub struct Feed {
    /// The task.
    pub entity: EntityAddress,
    /// The events of the task and its descendants, from the first one.
    pub events: BoxStream<'static, Result<StoredEvent, Error>>,
    /// The output of the task; a stream that stays empty where it was not requested.
    pub output: BoxStream<'static, Result<(Key, OutputChunk), Error>>,
    /// The position of the client's last event.
    pub after: Option<Cursor>,
    /// The stream sequence of the last event that existed at the request. A final event before it may have
    /// been undone since.
    pub end: u64,
    /// Whether to continue after `end`.
    pub follow: bool,
    /// Whether the task's last event was a final one.
    is_final: bool,
    /// Whether everything was sent.
    pub is_done: bool,
    /// The event read on the way to the client's last one, which is sent first.
    held: Option<Event>,
}

impl Feed {
    /// All past and future events of a task.
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

    /// Reads up to the client's last event; false when it is not among the events. Of an archived task only
    /// the last event is left, so a position before all existing ones is accepted.
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

    /// The next message; `None` at the end.
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
                // The client reconnects with its last id, and nothing is lost.
                Err(error) => {
                    tracing::warn!(entity = %self.entity, error = chain(&error), "streaming events");
                    return None;
                }
            }
        }
        // The last event was sent by the call before.
        self.is_final.then(|| {
            self.is_final = false;
            Event::default().event("end").data(r#"{"reason":"final"}"#)
        })
    }

    /// Applies an event, and renders it if the client does not have it.
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
        Some(sent(stored).id(stored.cursor.to_string()))
    }
}

/// An event as clients receive it.
pub fn view(stored: &StoredEvent) -> EventView {
    let body = &stored.event.body;
    // The bytes as in the log, so that hashes can be checked. A body that is not JSON is shown as text.
    let event = serde_json::from_slice::<Box<RawValue>>(body)
        .ok()
        .or_else(|| to_raw_value(&String::from_utf8_lossy(body)).ok());
    EventView {
        entity: stored.entity.clone(),
        revision: stored.event.revision,
        r#type: stored.event.event_type.to_string(),
        schema: stored.event.schema,
        time: stored.time.to_string(),
        hash: stored.event.hash,
        cause: stored.cause,
        correlation: stored.correlation,
        event: event.unwrap_or_default(),
    }
}

/// An event as it is sent, without an id.
pub fn sent(stored: &StoredEvent) -> Event {
    let name = one_line(&format!("{}.{}", stored.entity.kind, stored.event.event_type));
    Event::default().event(name).data(json(&view(stored)))
}

fn output(task: &Key, chunk: &OutputChunk) -> Event {
    let data = Output { task: task.clone(), chunk: chunk.clone() };
    Event::default().event("output").data(json(&data))
}

fn json<T: Serialize>(data: &T) -> String {
    serde_json::to_string(data).expect("plain data with string keys")
}

/// A line break in an event's name would begin another field.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], "")
}

#[cfg(test)]
mod tests;
