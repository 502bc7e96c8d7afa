//! Tasks as a caller sees them: a submission, and the reply to `wait`.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request};
use bus_client::Bus;
use bus_schemas::commands::task::Command as Task;
use bus_schemas::envelope::{code, header};
use bus_schemas::subjects::Subjects;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Caller, EntityAddress};
use bytes::Bytes;
use futures::future::try_join_all;
use uuid::Uuid;

use crate::bench::Options;
use crate::callers::{ACCEPTED, Target};
use crate::error::Error;
use crate::installation::{Installation, settle, settle_bare_loop, stop_bare_loop};
use crate::report::Figures;
use crate::slices::{Side, in_turns};
use crate::workers::new_key;

/// Timeout of a task, after which the benchmark fails.
const TASK_DEADLINE: Duration = Duration::from_secs(60);
/// The query that is answered when the task has ended.
const WAIT: &[u8] = b"{\"type\":\"wait\"}";
/// Entities of the bare loop.
const ENTITIES: u64 = 1_000;
/// Tasks before the measurement, so that agents are known and every partition has its queue.
const WARM_UP: usize = 64;

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
        let task = EntityAddress::new(Task::KIND, new_key());
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

/// Measures tasks with this submission, and `turns` asks in a row of the bare loop for each, in turns.
pub(crate) async fn beside_bare_turns(
    name: &str,
    installation: &Installation,
    options: &Options,
    callers: &[usize],
    submission: &Task,
    turns: u64,
) -> Result<Vec<Figures>, Error> {
    let bare = installation.bare_loop().await?;
    let (bus, client) = (installation.bus().await?, installation.client().await?);
    let tasks = Tasks::new(client.clone(), &bus, submission)?;
    let target = Target::bare_loop(client, bus.topology().partitions, &format!("bench-{name}"), ENTITIES)?;
    try_join_all((0..WARM_UP).map(|_| tasks.one())).await?;
    let whole = move |_| {
        let tasks = tasks.clone();
        async move { tasks.one().await }
    };
    let in_a_row = move |number| {
        let target = target.clone();
        async move {
            for turn in 0..turns {
                target.clone().ask(number * turns + turn).await?;
            }
            Ok(())
        }
    };
    let ours = Side { act: whole, settle: async || settle(&bus).await };
    let theirs = Side { act: in_a_row, settle: async || settle_bare_loop(&bare).await };
    let results = in_turns(name, options, callers, ours, theirs).await?;
    stop_bare_loop(bare).await?;
    Ok(results)
}
