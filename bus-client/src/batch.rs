//! Several asks in one message: what a connection asks a partition at about the same time shares a message, and
//! so do the replies.
//!
//! A message costs the server, both connections and both parsers more than most commands cost their partition.
//! No ask waits for a batch to fill: the sender takes what has gathered since its last message. Asks of different
//! callers never share a message, because the server's permissions bind the caller in its subject.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Client, StatusCode, Subscriber};
use bus_schemas::envelope::code;
use bus_schemas::subjects::Subjects;
use bus_schemas::{Body, Caller, CommandId, EntityAddress, PartitionId, Refusal, Reply, TraceContext};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::ReplyTo;
use crate::asks::{Ask, Incoming};
use crate::bus::Bus;
use crate::error::Error;

/// The most asks in one message.
const ASKS_MAX: usize = 256;
/// The bytes of bodies after which a message is full. Together with the largest command it stays below the
/// smallest message limit of a server, 1 MiB.
const BYTES_MAX: usize = 512 * 1024;
/// The most asks that wait to be sent; above it, callers wait.
const QUEUE_MAX: usize = 8_192;
/// The number of asks that are sent at once without looking for replies.
const GATHER_MAX: usize = 1_024;

/// One ask in a message.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    id: CommandId,
    to: EntityAddress,
    is_query: bool,
    body: Body,
    correlation: Option<CommandId>,
    trace: Option<TraceContext>,
}

/// An ask on its way to the sender.
struct Outgoing {
    partition: PartitionId,
    caller: Caller,
    entry: Entry,
}

/// What became of one attempt to ask.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The partition replied.
    Reply(Reply),
    /// The partition replied with something else; the reason.
    Malformed(String),
    /// No host owns the partition.
    NoResponders,
    /// The connection was closed.
    Closed,
}

/// The asks of one connection: a queue to the task that sends them and reads the replies. The task ends with the
/// connection.
#[derive(Debug)]
pub(crate) struct Batches {
    queue: mpsc::Sender<Outgoing>,
    waiting: Waiting,
}

/// The callers that wait for a reply.
#[derive(Debug, Clone, Default)]
struct Waiting(Arc<Mutex<Callers>>);

#[derive(Debug, Default)]
struct Callers {
    number: u64,
    /// Callers of the same command share its reply.
    by_command: HashMap<CommandId, Vec<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    partition: PartitionId,
    tell: oneshot::Sender<Outcome>,
}

/// Removes its waiter when the caller no longer waits.
struct Place<'a> {
    waiting: &'a Waiting,
    id: CommandId,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut callers = self.waiting.lock();
        if let Some(waiters) = callers.by_command.get_mut(&self.id) {
            waiters.retain(|waiter| waiter.number != self.number);
            if waiters.is_empty() {
                callers.by_command.remove(&self.id);
            }
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Callers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn join(&self, partition: PartitionId, id: CommandId) -> (Place<'_>, oneshot::Receiver<Outcome>) {
        let (tell, told) = oneshot::channel();
        let mut callers = self.lock();
        callers.number += 1;
        let number = callers.number;
        callers.by_command.entry(id).or_default().push(Waiter { number, partition, tell });
        (Place { waiting: self, id, number }, told)
    }
    /// Tells the callers of a command.
    fn tell(&self, id: CommandId, outcome: &Outcome) {
        let waiters = self.lock().by_command.remove(&id);
        for waiter in waiters.into_iter().flatten() {
            // A caller that no longer waits has been removed, or is about to be.
            let _ = waiter.tell.send(outcome.clone());
        }
    }
    /// Tells all callers of a partition that nobody owns it.
    fn no_responders(&self, partition: PartitionId) {
        let mut callers = self.lock();
        for waiters in callers.by_command.values_mut() {
            for waiter in waiters.extract_if(.., |waiter| waiter.partition == partition) {
                let _ = waiter.tell.send(Outcome::NoResponders);
            }
        }
        callers.by_command.retain(|_, waiters| !waiters.is_empty());
    }
}

impl Batches {
    /// Subscribes to replies, and starts the task.
    pub(crate) async fn start(bus: &Bus) -> Result<Self, Error> {
        let inbox = bus.client().new_inbox();
        let replies = bus.client().subscribe(format!("{inbox}.*")).await;
        let replies = replies.map_err(|error| Error::call("subscribing to replies", error))?;
        let (queue, asks) = mpsc::channel(QUEUE_MAX);
        let waiting = Waiting::default();
        let (client, subjects) = (bus.client().clone(), bus.subjects().clone());
        tokio::spawn(serve(client, subjects, inbox, asks, replies, waiting.clone()));
        Ok(Self { queue, waiting })
    }

    /// Sends an ask once and waits for what becomes of it. The caller bounds the wait.
    pub(crate) async fn ask(&self, partition: PartitionId, is_query: bool, ask: &Ask) -> Outcome {
        let (_place, told) = self.waiting.join(partition, ask.id);
        let Ask { id, to, body, caller, correlation, trace } = ask.clone();
        let entry = Entry { id, to, is_query, body, correlation, trace };
        match self.queue.send(Outgoing { partition, caller, entry }).await {
            Ok(()) => told.await.unwrap_or(Outcome::Closed),
            Err(_) => Outcome::Closed,
        }
    }
}

/// Sends asks and reads replies until the connection is dropped.
async fn serve(
    client: Client,
    subjects: Subjects,
    inbox: String,
    mut asks: mpsc::Receiver<Outgoing>,
    mut replies: Subscriber,
    waiting: Waiting,
) {
    let mut gathered = Vec::new();
    loop {
        tokio::select! {
            count = asks.recv_many(&mut gathered, GATHER_MAX) => {
                if count == 0 {
                    return;
                }
                for (partition, caller, entries) in batches(&mut gathered) {
                    let payload = rmp_serde::to_vec(&entries).expect("asks are plain data");
                    let (subject, reply_to) = (subjects.batch(partition, &caller), format!("{inbox}.{partition}"));
                    if let Err(error) = client.publish_with_reply(subject, reply_to, payload.into()).await {
                        tracing::warn!(%error, "sending asks; they are sent again");
                    }
                }
            }
            message = replies.next() => match message {
                Some(message) => take(&waiting, &message),
                None => return,
            },
        }
    }
}

/// Splits asks into messages, in order.
fn batches(asks: &mut Vec<Outgoing>) -> Vec<(PartitionId, Caller, Vec<Entry>)> {
    let mut full = Vec::new();
    let mut open: BTreeMap<(PartitionId, Caller), (usize, Vec<Entry>)> = BTreeMap::new();
    for Outgoing { partition, caller, entry } in asks.drain(..) {
        let (bytes, entries) = open.entry((partition, caller.clone())).or_default();
        *bytes += entry.body.bytes.len();
        entries.push(entry);
        if entries.len() == ASKS_MAX || *bytes >= BYTES_MAX {
            full.push((partition, caller, std::mem::take(entries)));
            *bytes = 0;
        }
    }
    let rest = open.into_iter().filter(|(_, (_, entries))| !entries.is_empty());
    full.extend(rest.map(|((partition, caller), (_, entries))| (partition, caller, entries)));
    full
}

/// Handles a message on the inbox: replies of a partition, or the notice that nobody owns it.
fn take(waiting: &Waiting, message: &async_nats::Message) {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        if let Some(Ok(partition)) = message.subject.rsplit('.').next().map(str::parse) {
            waiting.no_responders(PartitionId(partition));
        }
        return;
    }
    match serde_json::from_slice::<Vec<Reply>>(&message.payload) {
        Ok(replies) => {
            for reply in replies {
                waiting.tell(reply.command_id(), &Outcome::Reply(reply));
            }
        }
        Err(error) => take_malformed(waiting, &message.payload, &error),
    }
}

/// Reads replies one by one, so that one that cannot be read takes no other with it.
fn take_malformed(waiting: &Waiting, payload: &[u8], error: &serde_json::Error) {
    tracing::warn!(%error, "a partition's replies cannot be read");
    for reply in serde_json::from_slice::<Vec<Value>>(payload).unwrap_or_default() {
        let id = reply["command_id"].as_str().map(CommandId::from_text);
        match (serde_json::from_value::<Reply>(reply), id) {
            (Ok(reply), _) => waiting.tell(reply.command_id(), &Outcome::Reply(reply)),
            (Err(error), Some(id)) => waiting.tell(id, &Outcome::Malformed(error.to_string())),
            (Err(_), None) => {}
        }
    }
}

/// The asks in a message, or the reply to one that cannot be read.
fn read(
    subjects: &Subjects,
    partition: PartitionId,
    message: async_nats::Message,
) -> Result<Vec<Incoming>, Refusal> {
    let refused = |reason: String| {
        let hint = "send a MessagePack array of at most 256 asks; docs/protocol.md describes them";
        Refusal::new(code::MALFORMED, reason).hint(hint)
    };
    let caller = subjects.batcher(&message.subject).map_err(|error| refused(error.to_string()))?;
    let entries: Vec<Entry> =
        rmp_serde::from_slice(&message.payload).map_err(|error| refused(format!("reading asks: {error}")))?;
    if entries.len() > ASKS_MAX {
        return Err(refused(format!("the message has {} asks, at most {ASKS_MAX} are taken", entries.len())));
    }
    let reply_to = message.reply.map(ReplyTo::batch);
    let incoming = |entry: Entry| Incoming {
        subject: match entry.is_query {
            true => subjects.view(partition, &caller, &entry.to),
            false => subjects.ask(partition, &caller, &entry.to),
        },
        reply_to: reply_to.clone(),
        id: Some(entry.id),
        content_type: Some(entry.body.content_type),
        correlation: entry.correlation,
        trace: entry.trace,
        payload: entry.body.bytes,
    };
    Ok(entries.into_iter().map(incoming).collect())
}

impl Bus {
    /// The asks that reach a partition in batches.
    pub(crate) async fn batched(
        &self,
        partition: PartitionId,
    ) -> Result<impl futures::Stream<Item = Incoming> + Send + Unpin + use<>, Error> {
        let subject = self.subjects().batches(partition);
        let doing = format!("subscribing to `{subject}`");
        let messages = self.client().subscribe(subject).await.map_err(|error| Error::call(doing, error))?;
        let bus = self.clone();
        Ok(messages.flat_map(move |message| {
            let reply_to = message.reply.clone().map(ReplyTo::batch);
            let asks = read(bus.subjects(), partition, message);
            if let (Err(refusal), Some(reply_to)) = (&asks, reply_to) {
                let reply = Reply::Refused { command_id: CommandId(Uuid::nil()), refusal: refusal.clone() };
                let payload = serde_json::to_vec(&reply).expect("a reply has string keys");
                let bus = bus.clone();
                tokio::spawn(async move { bus.answer(reply_to, payload.into()).await });
            }
            futures::stream::iter(asks.unwrap_or_default())
        }))
    }
}

/// Replies as the arrays of messages of at most about `bytes_max`, each with at least one.
pub(crate) fn together(replies: &[Bytes], bytes_max: usize) -> Vec<Bytes> {
    let (mut messages, mut message) = (Vec::new(), Vec::new());
    for (index, reply) in replies.iter().enumerate() {
        message.push(if message.is_empty() { b'[' } else { b',' });
        message.extend_from_slice(reply);
        let next = replies.get(index + 1).map(Bytes::len);
        if next.is_none_or(|next| message.len() + next > bytes_max) {
            message.push(b']');
            messages.push(std::mem::take(&mut message).into());
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(partition: u16, caller: &str, bytes: usize) -> Outgoing {
        let to: EntityAddress = "probe/p".parse().unwrap();
        let body = Body { content_type: Default::default(), bytes: vec![b' '; bytes].into() };
        let entry = Entry {
            id: CommandId(Uuid::now_v7()),
            to,
            is_query: false,
            body,
            correlation: None,
            trace: None,
        };
        Outgoing { partition: PartitionId(partition), caller: Caller::of(caller), entry }
    }

    #[test]
    fn asks_of_one_caller_to_one_partition_share_a_message_within_its_bounds() {
        let sizes = |asks: Vec<Outgoing>| -> Vec<usize> {
            let mut asks = asks;
            batches(&mut asks).iter().map(|(_, _, entries)| entries.len()).collect()
        };
        assert_eq!(sizes((0..300).map(|_| outgoing(1, "a", 1)).collect()), [256, 44]);
        assert_eq!(sizes(vec![outgoing(1, "a", 1), outgoing(1, "b", 1), outgoing(2, "a", 1)]), [1, 1, 1]);
        assert_eq!(sizes((0..5).map(|_| outgoing(1, "a", 256 * 1024)).collect()), [2, 2, 1]);
    }

    #[test]
    fn replies_share_messages_within_their_bound() {
        let replies: Vec<Bytes> = ["{}", "{\"a\":1}", "[]"].map(Bytes::from).into();
        assert_eq!(together(&replies, 100), ["[{},{\"a\":1},[]]"]);
        assert_eq!(together(&replies, 1), ["[{}]", "[{\"a\":1}]", "[[]]"]);
        assert!(together(&[], 1).is_empty());
    }

    #[test]
    fn callers_of_one_command_share_its_reply_and_leave_nothing_behind() {
        let (waiting, id) = (Waiting::default(), CommandId(Uuid::now_v7()));
        let (first, mut first_told) = waiting.join(PartitionId(1), id);
        let (second, mut second_told) = waiting.join(PartitionId(1), id);
        drop(second);
        waiting.no_responders(PartitionId(2));
        assert!(first_told.try_recv().is_err(), "it is another partition's");
        waiting.no_responders(PartitionId(1));
        assert!(matches!(first_told.try_recv(), Ok(Outcome::NoResponders)));
        assert!(second_told.try_recv().is_err());
        drop(first);
        assert!(waiting.lock().by_command.is_empty());
    }

    #[test]
    fn a_reply_that_cannot_be_read_takes_no_other_with_it() {
        let (waiting, good, bad) = (Waiting::default(), CommandId(Uuid::now_v7()), CommandId(Uuid::now_v7()));
        let (_good, mut good_told) = waiting.join(PartitionId(1), good);
        let (_bad, mut bad_told) = waiting.join(PartitionId(1), bad);
        let refused = Reply::Refused { command_id: good, refusal: Refusal::new("busy", "later") };
        let replies = serde_json::json!([{ "command_id": bad, "status": "odd" }, refused]);
        let error = serde_json::from_value::<Vec<Reply>>(replies.clone()).expect_err("one is odd");
        take_malformed(&waiting, replies.to_string().as_bytes(), &error);
        assert!(matches!(good_told.try_recv(), Ok(Outcome::Reply(_))));
        assert!(matches!(bad_told.try_recv(), Ok(Outcome::Malformed(_))));
    }
}
