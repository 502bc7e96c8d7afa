//! Tasks as a caller sees them: a submission, and the reply to `wait`.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request};
use bus_client::Bus;
use bus_schemas::commands::task::Command as Task;
use bus_schemas::envelope::{code, header};
use bus_schemas::subjects::Subjects;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Caller, EntityAddress, Key};
use bytes::Bytes;
use uuid::Uuid;

use crate::callers::ACCEPTED;
use crate::error::Error;

/// Timeout of a task, after which the benchmark fails.
const TASK_DEADLINE: Duration = Duration::from_secs(60);
/// The query that is answered when the task has ended.
const WAIT: &[u8] = b"{\"type\":\"wait\"}";

/// Submits tasks and waits for their ends.
#[derive(Clone)]
pub(crate) struct Tasks {
    client: Client,
    subjects: Subjects,
    partitions: u16,
    submission: Bytes,
}

impl Tasks {
    /// Prepares tasks with this submission.
    pub fn new(client: Client, bus: &Bus, submission: &Task) -> Result<Self, Error> {
        let submission = serde_json::to_vec(submission);
        let submission = submission.map_err(|error| Error::answer("writing a submission", error))?.into();
        let (subjects, partitions) = (bus.subjects().clone(), bus.topology().partitions);
        Ok(Self { client, subjects, partitions, submission })
    }

    /// Runs one task to its end.
    pub async fn one(&self) -> Result<(), Error> {
        let key = Key::parse(&Uuid::now_v7().simple().to_string());
        let task = EntityAddress::new(Task::KIND, key.map_err(|error| Error::answer("making a key", error))?);
        let partition = task.partition(self.partitions);
        let answer =
            self.ask(self.subjects.ask(partition, &Caller::UNNAMED, &task), self.submission.clone()).await?;
        if !answer.starts_with(ACCEPTED) {
            return Err(Error::answer("submitting a task", String::from_utf8_lossy(&answer)));
        }
        loop {
            let answer = self
                .ask(self.subjects.view(partition, &Caller::UNNAMED, &task), Bytes::from_static(WAIT))
                .await?;
            let text = String::from_utf8_lossy(&answer);
            if text.contains("\"state\":\"completed\"") {
                return Ok(());
            }
            if !text.contains(code::COME_AGAIN) {
                return Err(Error::answer("waiting for a task", text));
            }
        }
    }

    async fn ask(&self, subject: String, payload: Bytes) -> Result<Bytes, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::COMMAND_ID, Uuid::now_v7().to_string());
        let request = Request::new().headers(headers).payload(payload).timeout(Some(TASK_DEADLINE));
        let answer = self.client.send_request(subject, request).await;
        Ok(answer.map_err(|error| Error::answer("waiting for an answer", error))?.payload)
    }
}
