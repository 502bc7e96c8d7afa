//! What a partition receives from a disturbed bus: delayed, refused, or crowded out.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bus_schemas::envelope::code;
use bus_schemas::{CommandId, EntityAddress, PartitionId, Refusal, Reply};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use tokio::time::{Instant, Sleep};
use uuid::Uuid;

use super::Disturbances;
use crate::asks::Incoming;
use crate::inbox::InboxEntry;
use crate::mail::Parcel;
use crate::{Bus, Error};

/// The most delayed messages of one stream: as many as a queue holds. Above it the stream waits.
const LATE_MAX: usize = 8_192;
/// How often delayed messages are checked.
const LOOK: Duration = Duration::from_millis(10);
/// The longest gap that filling makes up for: a loop that was paused must not be flooded.
const FILL_CATCH_UP: Duration = Duration::from_millis(200);
/// When a caller may retry after a queue counted as full, in milliseconds.
const BUSY_RETRY_MS: u64 = 100;

/// A message that a partition can receive.
pub(crate) trait Heard: Sized + Send + 'static {
    /// Whether it stays in its stream while the queue counts as full.
    const WAITS: bool = false;
    /// Whether it and its reply are exempt.
    fn is_spared(&self, _bus: &Bus, _disturbances: &Disturbances) -> bool {
        false
    }
    /// Refuses the sender as busy; returns a message that is queued all the same.
    fn turn_away(self, _bus: &Bus) -> Option<Self> {
        Some(self)
    }
    /// A message that fills a queue.
    fn filling(_bus: &Bus, _disturbances: &Disturbances, _entity: &EntityAddress) -> Option<Self> {
        None
    }
}

impl Heard for Parcel {}

impl Heard for Result<InboxEntry, Error> {
    const WAITS: bool = true;
}

impl Heard for Incoming {
    fn is_spared(&self, bus: &Bus, disturbances: &Disturbances) -> bool {
        let spoken = bus.subjects().spoken(&self.subject);
        let spared = spoken.is_ok_and(|(_, entity)| entity.kind == disturbances.inner.spared.kind);
        if let Some(reply_to) = self.reply_to.as_ref().filter(|_| spared) {
            disturbances.spare(reply_to);
        }
        spared || bus.subjects().is_query(&self.subject)
    }
    fn turn_away(self, bus: &Bus) -> Option<Self> {
        if let Some(reply_to) = self.reply_to {
            let refusal = Refusal::new(code::BUSY, "the partition's queue is full");
            let refusal = Refusal { retry_after_ms: Some(BUSY_RETRY_MS), ..refusal };
            let command_id = self.id.unwrap_or_else(|| CommandId(Uuid::now_v7()));
            let reply = serde_json::to_vec(&Reply::Refused { command_id, refusal });
            let (bus, reply) = (bus.clone(), reply.expect("a reply has string keys"));
            tokio::spawn(async move { bus.answer(reply_to, reply.into()).await });
        }
        None
    }
    fn filling(bus: &Bus, disturbances: &Disturbances, entity: &EntityAddress) -> Option<Self> {
        let partition = entity.partition(bus.topology().partitions);
        let body = disturbances.inner.spared.filling.clone();
        Some(Self {
            subject: bus.subjects().ask(partition, &disturbances.inner.spared.caller, entity),
            reply_to: None,
            id: Some(CommandId(Uuid::now_v7())),
            content_type: Some(body.content_type),
            correlation: None,
            trace: None,
            payload: body.bytes,
        })
    }
}

/// A disturbed stream of messages.
struct Disturbed<T> {
    stream: BoxStream<'static, T>,
    bus: Bus,
    disturbances: Disturbances,
    partition: PartitionId,
    /// Delayed messages; nothing overtakes them.
    late: VecDeque<(Instant, T)>,
    /// The entity that fills the queue, and the time up to which it did.
    filled: Option<(EntityAddress, Instant)>,
    look: Pin<Box<Sleep>>,
}

// Delayed messages are moved out, and never pinned.
impl<T> Unpin for Disturbed<T> {}

impl Bus {
    /// The messages of a partition, disturbed if this bus is.
    pub(crate) fn hearing<T: Heard>(
        &self,
        partition: PartitionId,
        stream: impl Stream<Item = T> + Send + 'static,
    ) -> BoxStream<'static, T> {
        let stream = stream.boxed();
        let Some(disturbances) = self.disturbances().cloned() else { return stream };
        let (bus, look) = (self.clone(), Box::pin(tokio::time::sleep(LOOK)));
        Disturbed { stream, bus, disturbances, partition, late: VecDeque::new(), filled: None, look }.boxed()
    }
}

impl<T: Heard> Stream for Disturbed<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        if !this.disturbances.is_armed() && this.late.is_empty() {
            return this.stream.poll_next_unpin(context);
        }
        let is_full = this.disturbances.is_full(this.partition);
        while !(is_full && T::WAITS)
            && this.late.len() < LATE_MAX
            && let Poll::Ready(next) = this.stream.poll_next_unpin(context)
        {
            let Some(heard) = next else { return Poll::Ready(None) };
            if let Some(heard) = this.take(heard, is_full) {
                return Poll::Ready(Some(heard));
            }
        }
        if let Some(heard) = this.due().or_else(|| this.fill()) {
            return Poll::Ready(Some(heard));
        }
        this.look.as_mut().reset(Instant::now() + LOOK);
        if this.look.poll_unpin(context).is_ready() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<T: Heard> Disturbed<T> {
    /// A received message, if it is delivered now.
    fn take(&mut self, heard: T, is_full: bool) -> Option<T> {
        if heard.is_spared(&self.bus, &self.disturbances) {
            return Some(heard);
        }
        let heard = if is_full { heard.turn_away(&self.bus)? } else { heard };
        let by = self.disturbances.commands_late_by();
        if by.is_none() && self.late.is_empty() {
            return Some(heard);
        }
        self.late.push_back((Instant::now() + by.unwrap_or_default(), heard));
        None
    }

    /// The next delayed message that is due.
    fn due(&mut self) -> Option<T> {
        self.late.pop_front_if(|(at, _)| *at <= Instant::now()).map(|(_, heard)| heard)
    }

    /// The next command that fills the queue, if one is due.
    fn fill(&mut self) -> Option<T> {
        let rate = self.disturbances.filled_per_second(self.partition);
        if rate == 0 {
            self.filled = None;
            return None;
        }
        let now = Instant::now();
        if self.filled.is_none() {
            let filler =
                (self.disturbances.inner.spared.filler)(self.partition, self.bus.topology().partitions);
            self.filled = filler.map(|entity| (entity, now));
        }
        let (entity, filled) = self.filled.as_mut()?;
        let next =
            (*filled).max(now.checked_sub(FILL_CATCH_UP).unwrap_or(now)) + Duration::from_secs(1) / rate;
        if next > now {
            return None;
        }
        *filled = next;
        T::filling(&self.bus, &self.disturbances, entity)
    }
}
