//! A task's events as the gateway streams them (server-sent events), resumed when the connection breaks.

use std::time::Duration;

use bus_schemas::Key;
use gateway_api::events::{Event, Output, StreamEvents};
use gateway_api::routes;
use tokio::time::Instant;

use crate::client::{Client, Lines, malformed};
use crate::failure::{Failure, exit};

/// How long an unreachable gateway is retried: longer than a restart of the system takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a gateway may be unreachable before that is shown: a connection may break for a moment.
const MOMENT: Duration = Duration::from_secs(3);
/// The pause between retries.
const PAUSE: Duration = Duration::from_millis(250);

/// A message of the stream.
#[derive(Debug)]
pub enum Message {
    /// An event of the tree.
    Event(Event),
    /// Output of a worker.
    Output(Output),
    /// The gateway does not answer; requests are retried.
    Away,
    /// The gateway that was away answers again.
    Back,
    /// No more messages follow.
    End,
}

/// The events of a task and its descendants.
pub struct Stream {
    client: Client,
    task: Key,
    lines: Option<Lines>,
    /// The id of the last event received.
    last: Option<String>,
    /// Since when the gateway does not answer, and whether that was shown.
    silent: Option<(Instant, bool)>,
}

/// A message that is being read line by line.
#[derive(Debug, Default)]
struct Fields {
    id: Option<String>,
    name: String,
    data: String,
}

impl Fields {
    /// Reads a line; true at the end of a message.
    fn take(&mut self, line: &str) -> bool {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.name),
            "data" => self.data.push_str(value),
            // A comment keeps the connection alive; `retry` does not apply here.
            _ => {}
        }
        line.is_empty() && !self.data.is_empty()
    }
}

impl Stream {
    /// All past and future events of a task.
    pub fn of(client: &Client, task: &Key) -> Self {
        Self { client: client.clone(), task: task.clone(), lines: None, last: None, silent: None }
    }

    /// The next message. Fails when the task does not exist, and when no gateway answers for a minute.
    pub async fn next(&mut self) -> Result<Message, Failure> {
        loop {
            match self.read().await {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(failure) if failure.exit != exit::UNAVAILABLE || failure.code == "malformed-answer" => {
                    return Err(failure);
                }
                Err(failure) => {
                    let (since, told) = self.silent.get_or_insert((Instant::now(), false));
                    match since.elapsed() {
                        silent if silent > PATIENCE => return Err(failure),
                        silent if silent > MOMENT && !*told => {
                            *told = true;
                            self.lines = None;
                            return Ok(Message::Away);
                        }
                        _ => {}
                    }
                }
            }
            self.lines = None;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The next message of this connection; `None` where it ended.
    async fn read(&mut self) -> Result<Option<Message>, Failure> {
        if self.lines.is_none() {
            let query = StreamEvents { after: self.last.clone(), follow: None, output: Some(true) };
            let answer = self.client.open(routes::StreamTaskEvents, &[self.task.as_str()], &query).await?;
            let was_told = self.silent.take().is_some_and(|(_, told)| told);
            if answer.status() == reqwest::StatusCode::NO_CONTENT {
                return Ok(Some(Message::End));
            }
            self.lines = Some(Lines::of(answer));
            if was_told {
                return Ok(Some(Message::Back));
            }
        }
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let mut fields = Fields::default();
        while let Some(line) = lines.next().await? {
            if !fields.take(&line) {
                continue;
            }
            let Fields { id, name, data } = std::mem::take(&mut fields);
            self.last = id.or(self.last.take());
            return match name.as_str() {
                "end" => Ok(Some(Message::End)),
                "not-ready" => Ok(None),
                "output" => serde_json::from_str(&data).map(|output| Some(Message::Output(output))),
                _ => serde_json::from_str(&data).map(|event| Some(Message::Event(event))),
            }
            .map_err(|error| malformed(&error));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;

    #[test]
    fn a_message_ends_at_an_empty_line() {
        let mut fields = Fields::default();
        let lines =
            [": alive", "", "retry: 2000", "", "id: 3.7.0", "event: task.queued", "data: {\"a\":", "data:1}"];
        for line in lines {
            assert!(!fields.take(line), "{line}");
        }
        assert!(fields.take(""));
        assert_eq!(
            (fields.id.as_deref(), fields.name.as_str(), fields.data.as_str()),
            (Some("3.7.0"), "task.queued", "{\"a\":1}")
        );
    }
}
