//! Stage 2, inbox: asks, durable commands, mail and due timers as one ordered, bounded queue.

use std::collections::VecDeque;

use bus_client::ReplyTo;
use bus_client::asks::Incoming;
use bus_schemas::envelope::code;
use bus_schemas::subjects::Subjects;
use bus_schemas::{Body, CommandId, EntityAddress, PartitionId, Refusal, Reply, TraceContext, record};
use bytes::Bytes;
use smol_str::SmolStr;

/// The most commands that wait in one partition. At the measured rates this is well under a second of work; a
/// longer queue would only delay the refusal.
pub const QUEUE_ITEMS_MAX: usize = 8_192;
/// When a caller may retry after the queue was full, in milliseconds: about the time to work off half of it.
pub const BUSY_RETRY_MS: u64 = 100;
/// The largest command in bytes: four times the inline limit, so that the refusal of a large one can advise a
/// blob before the server's message limit cuts it off.
pub const COMMAND_BYTES_MAX: usize = 256 * 1024;

/// A command or query in the queue.
#[derive(Debug)]
pub struct Item {
    /// How it came.
    pub source: record::Source,
    /// Whether it is a query, which changes nothing.
    pub is_query: bool,
    /// For a parked query: its deadline, in milliseconds on the monotonic clock.
    pub waits_until: Option<u64>,
    /// The caller's reply subject.
    pub reply_to: Option<ReplyTo>,
    /// The addressed entity, or why none can be addressed.
    pub to: Result<EntityAddress, Unreadable>,
    /// The command.
    pub command: record::Command,
}

/// A message that names no entity or has no readable body; it becomes a dead letter.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// The subject it came on.
    pub subject: SmolStr,
    /// The entity, if the subject names one.
    pub entity: Option<EntityAddress>,
    /// What is wrong.
    pub refusal: Refusal,
}

impl Item {
    /// A command from outside. `fresh` is its id if it has none.
    pub fn from_incoming(
        subjects: &Subjects,
        source: record::Source,
        incoming: Incoming,
        fresh: CommandId,
    ) -> Self {
        let id = incoming.id.unwrap_or(fresh);
        let content_type = incoming.content_type;
        let body = Body { content_type: content_type.unwrap_or_default(), bytes: incoming.payload };
        let unreadable =
            |entity, refusal| Unreadable { subject: SmolStr::new(&incoming.subject), entity, refusal };
        let (caller, to) = match subjects.spoken(&incoming.subject) {
            Err(error) => {
                let refusal = Refusal::new(code::BAD_SUBJECT, bus_schemas::chain(&error));
                (None, Err(unreadable(None, refusal)))
            }
            Ok((caller, entity)) => match check(content_type.is_some(), &body) {
                Err(refusal) => (Some(caller), Err(unreadable(Some(entity), refusal))),
                Ok(()) => (Some(caller), Ok(entity)),
            },
        };
        let command = record::Command {
            id,
            body,
            cause: None,
            correlation: incoming.correlation.unwrap_or(id),
            trace: incoming.trace,
            caller: caller.map(SmolStr::from),
            settles: false,
        };
        Self { reply_to: incoming.reply_to, ..Self::of(source, to, command) }
    }

    /// A query.
    pub fn from_query(subjects: &Subjects, incoming: Incoming, fresh: CommandId) -> Self {
        Self { is_query: true, ..Self::from_incoming(subjects, record::Source::Ask, incoming, fresh) }
    }

    /// A command without a waiting caller.
    pub fn of(
        source: record::Source,
        to: Result<EntityAddress, Unreadable>,
        command: record::Command,
    ) -> Self {
        Self { source, is_query: false, waits_until: None, reply_to: None, to, command }
    }

    /// A command from another entity.
    pub fn from_mail(from: PartitionId, mail: record::Mail) -> Self {
        Self::of(record::Source::Mail(from, mail.number), Ok(mail.to), mail.command)
    }

    /// The command of a due timer.
    pub fn from_timer(
        entity: EntityAddress,
        name: SmolStr,
        body: Body,
        id: CommandId,
        trace: Option<TraceContext>,
    ) -> Self {
        let command =
            record::Command { id, body, cause: None, correlation: id, trace, caller: None, settles: false };
        Self::of(record::Source::Timer(name), Ok(entity), command)
    }

    /// The command of a lapsed lease.
    pub fn from_lease(entity: EntityAddress, name: SmolStr, body: Body, id: CommandId) -> Self {
        let command = record::Command {
            id,
            body,
            cause: None,
            correlation: id,
            trace: None,
            caller: None,
            settles: false,
        };
        Self::of(record::Source::Lease(name), Ok(entity), command)
    }
}

/// Checks a body without decoding it: its content type and size.
fn check(typed: bool, body: &Body) -> Result<(), Refusal> {
    if !typed {
        let refusal = Refusal::new(code::CONTENT_TYPE, "the content type is neither JSON nor MessagePack");
        return Err(refusal.hint("send `Content-Type: application/json` or `application/msgpack`"));
    }
    let length = body.bytes.len();
    if length > COMMAND_BYTES_MAX {
        let message = format!("the command has {length} bytes, at most {COMMAND_BYTES_MAX} are taken");
        return Err(Refusal::new(code::TOO_LARGE, message).hint(
            "store large content as a blob and send its hash; of a text for people send the first 4 KiB",
        ));
    }
    Ok(())
}

/// The id of a durable command without an id of its own: the same each time it is read.
pub fn place_id(partition: PartitionId, sequence: u64) -> CommandId {
    CommandId::from_text(&format!("inbox {partition} {sequence}"))
}

/// The reply to a command that is refused before it is decided.
pub fn refusal_reply(id: CommandId, refusal: Refusal) -> Bytes {
    let reply = Reply::Refused { command_id: id, refusal };
    serde_json::to_vec(&reply).expect("a reply has string keys").into()
}

/// The reply to a caller when the queue is full.
pub fn busy_reply(id: CommandId) -> Bytes {
    let mut refusal = Refusal::new(code::BUSY, "the partition's queue is full");
    refusal.retry_after_ms = Some(BUSY_RETRY_MS);
    refusal_reply(id, refusal)
}

/// The queue of one partition. The partition's mail to itself goes first, so that a task tree commits
/// together.
#[derive(Debug, Default)]
pub struct Queue {
    own: VecDeque<Item>,
    outside: VecDeque<Item>,
}

impl Queue {
    /// Whether a command from outside has room. Mail and timers are always queued: the commands that caused
    /// them bound them, and refusing them could make two partitions wait for each other.
    pub fn has_room(&self, bound: usize) -> bool {
        self.outside.len() < bound
    }
    /// Appends a command.
    pub fn push(&mut self, item: Item) {
        self.outside.push_back(item);
    }
    /// Appends mail of this partition to itself.
    pub fn push_own(&mut self, item: Item) {
        self.own.push_back(item);
    }
    /// Puts items that waited before in front of those from outside.
    pub fn push_first(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            self.outside.push_front(item);
        }
    }
    /// Whether mail of this partition to itself waits.
    pub fn has_own(&self) -> bool {
        !self.own.is_empty()
    }
    /// The next command, which stays in the queue.
    pub fn peek(&self) -> Option<&Item> {
        self.own.front().or_else(|| self.outside.front())
    }
    /// Removes the next command.
    pub fn pop(&mut self) -> Option<Item> {
        self.own.pop_front().or_else(|| self.outside.pop_front())
    }
    /// The commands in order.
    pub fn iter(&self) -> impl Iterator<Item = &Item> {
        self.own.iter().chain(&self.outside)
    }
    /// The number of waiting commands.
    pub fn len(&self) -> usize {
        self.own.len() + self.outside.len()
    }
    /// Whether no command waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
