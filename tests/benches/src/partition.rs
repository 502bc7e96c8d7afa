//! The loop of one partition: one record in flight, the next group gathers meanwhile.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use async_nats::{Client, HeaderMap, Message, Request, Subject};
use bytes::Bytes;
use futures::future::{BoxFuture, OptionFuture};
use futures::{FutureExt, StreamExt};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::record::{Command, Event, Record, Reply, Turn};
use crate::{COMMAND_ID, Counters, streams};

/// Messages that are read before a group is closed; the same as Orrery's.
const GATHER_MAX: usize = 1_024;
/// Commands in one record; the same as Orrery's.
const GROUP_TURNS_MAX: usize = 2_048;
/// Command ids that are remembered with their answers; the same as Orrery's.
const RECENT_IDS_MAX: usize = 65_536;

/// The server's word that a message is stored.
#[derive(Debug, Deserialize)]
struct Stored {
    #[serde(default)]
    seq: u64,
    error: Option<serde_json::Value>,
}

/// Publishes and waits until the message is stored; its sequence.
pub(crate) async fn stored(
    client: Client,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
) -> anyhow::Result<u64> {
    let request = Request::new().headers(headers).payload(payload);
    let answer = client.send_request(subject, request).await.context("storing a message")?;
    let answer: Stored = serde_json::from_slice(&answer.payload).context("reading the server's answer")?;
    match answer.error {
        None => Ok(answer.seq),
        Some(error) => bail!("the server refused a message: {error}"),
    }
}

type Replies = Vec<(Subject, Bytes)>;

/// One partition.
pub(crate) struct Partition {
    client: Client,
    number: u16,
    committed: mpsc::UnboundedSender<Arc<Record>>,
    counters: Arc<Counters>,
    /// How often each entity was touched.
    entities: HashMap<String, u64>,
    recent: HashMap<Uuid, Bytes>,
    recent_order: VecDeque<Uuid>,
    group: Vec<Turn>,
    replies: Replies,
    last: u64,
    append: Option<BoxFuture<'static, anyhow::Result<u64>>>,
    in_flight: Option<(Record, Replies)>,
}

impl Partition {
    pub(crate) fn new(
        client: Client,
        number: u16,
        committed: mpsc::UnboundedSender<Arc<Record>>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            client,
            number,
            committed,
            counters,
            entities: HashMap::new(),
            recent: HashMap::new(),
            recent_order: VecDeque::new(),
            group: Vec::new(),
            replies: Vec::new(),
            last: 0,
            append: None,
            in_flight: None,
        }
    }

    /// Runs until it is stopped, or until the server refuses a record.
    pub(crate) async fn run(
        mut self,
        mut asks: async_nats::Subscriber,
        mut stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                biased;
                Some(answer) = OptionFuture::from(self.append.as_mut()) => self.take_commit(answer?).await?,
                message = asks.next() => match message {
                    Some(message) => self.decide(message).await?,
                    None => return Ok(()),
                },
                _ = stop.changed() => return Ok(()),
            }
            for _ in 0..GATHER_MAX {
                if self.group.len() >= GROUP_TURNS_MAX {
                    break;
                }
                let Some(Some(message)) = asks.next().now_or_never() else { break };
                self.decide(message).await?;
            }
            self.close_group();
        }
    }

    /// Decides a command, or repeats the answer that it got before.
    async fn decide(&mut self, message: Message) -> anyhow::Result<()> {
        let id = message.headers.as_ref().and_then(|headers| headers.get(COMMAND_ID));
        let id = id.context("a command without an id")?.as_str().parse::<Uuid>().context("reading an id")?;
        if let Some(reply) = self.recent.get(&id) {
            if let Some(reply_to) = message.reply {
                self.client.publish(reply_to, reply.clone()).await.context("answering")?;
            }
            return Ok(());
        }
        let Command::Touch { .. } = serde_json::from_slice(&message.payload).context("reading a command")?;
        let key = message.subject.splitn(4, '.').nth(3).context("a subject without a key")?.to_owned();
        let count = self.entities.entry(key.clone()).or_default();
        *count += 1;
        let (count, at) = (*count, now());
        let event = Event::Touched { count, cause: &id, at };
        let reply = Bytes::from(serde_json::to_vec(&Reply::Accepted { command_id: &id, revision: count })?);
        self.remember(id, reply.clone());
        let turn = Turn {
            id,
            key,
            command: message.payload,
            event: serde_json::to_vec(&event)?.into(),
            reply: reply.clone(),
        };
        self.group.push(turn);
        self.replies.extend(message.reply.map(|reply_to| (reply_to, reply)));
        Ok(())
    }

    fn remember(&mut self, id: Uuid, reply: Bytes) {
        self.recent.insert(id, reply);
        self.recent_order.push_back(id);
        if self.recent_order.len() > RECENT_IDS_MAX
            && let Some(oldest) = self.recent_order.pop_front()
        {
            self.recent.remove(&oldest);
        }
    }

    /// Sends the group on its way if none is in flight.
    fn close_group(&mut self) {
        if self.append.is_some() || self.group.is_empty() {
            return;
        }
        let record = Record { at: now(), turns: std::mem::take(&mut self.group) };
        let bytes = rmp_serde::to_vec(&record).expect("a record is plain data");
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, self.last.to_string());
        let append = stored(self.client.clone(), streams::log(self.number), headers, bytes.into());
        self.append = Some(append.boxed());
        self.in_flight = Some((record, std::mem::take(&mut self.replies)));
    }

    /// The record is stored: who waited for it is answered, and its events may leave.
    async fn take_commit(&mut self, sequence: u64) -> anyhow::Result<()> {
        self.append = None;
        self.last = sequence;
        let Some((record, replies)) = self.in_flight.take() else { return Ok(()) };
        self.counters.committed.fetch_add(record.turns.len() as u64, Ordering::AcqRel);
        for (reply_to, reply) in replies {
            self.client.publish(reply_to, reply).await.context("answering")?;
        }
        self.committed.send(Arc::new(record)).ok().context("the fan-out ended")
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
