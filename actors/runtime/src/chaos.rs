//! What experiments do to the loop of one partition: commands that come late, a queue that is full,
//! answers that are late or never sent, and a host that stands still.
//!
//! It only changes when and whether the loop hears and says something, never what is decided. As long
//! as there is no experiment each question costs one atomic load. Asks to `chaos` entities are spared
//! by everything but a pause, so that an experiment can always be stopped.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bus_client::asks::Incoming;
use bus_client::inbox::InboxEntry;
use bus_client::mail::Parcel;
use bus_client::{Chaos, ReplyTo};
use bus_schemas::chaos::filler;
use bus_schemas::commands::chaos::{Command, Delayed};
use bus_schemas::record::{self, Source};
use bus_schemas::subjects::Subjects;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, CommandId, EntityAddress, PartitionId};
use smol_str::SmolStr;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::inbox::{Item, QUEUE_ITEMS_MAX};

/// Messages that may be late at once: as many as wait in a queue. Behind them the streams wait.
const LATE_MAX: usize = QUEUE_ITEMS_MAX;
/// How often commands are put into a queue that is to be filled.
const FILL_PAUSE: Duration = Duration::from_millis(10);
/// What was missed for longer is not made up for: a loop that stood still must not be flooded.
const FILL_CATCH_UP: Duration = Duration::from_millis(200);
/// Asks to be spared that are remembered: nobody has as many experiments.
const SPARED_MAX: usize = 1_024;
/// Who fills a queue, as the log says it.
const FILLER: &str = "chaos";

/// What came in, and waits.
#[derive(Debug)]
pub(crate) enum Arrived {
    Ask(Incoming),
    Inbox(InboxEntry),
    Parcel(Parcel),
}

/// What becomes of an ask.
#[derive(Debug)]
pub(crate) enum Ask {
    /// It is taken.
    Now(Incoming),
    /// It is taken later, and kept here.
    Late,
    /// There is no room for it.
    NoRoom(Incoming),
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is sent.
    Now,
    /// It is sent after so long.
    After(Duration),
    /// It is not sent; the caller asks again.
    Never,
}

/// What is disturbed in one partition.
#[derive(Debug)]
pub(crate) struct Interference {
    chaos: Chaos,
    partition: PartitionId,
    partitions: u16,
    late: VecDeque<(Instant, Arrived)>,
    /// Where the answers to `chaos` entities' callers go.
    spared: HashSet<SmolStr>,
    /// How many answers were drawn for.
    drawn: u64,
    /// The entity that fills the queue, and until when it did.
    filled: Option<(EntityAddress, Instant)>,
}

impl Interference {
    pub(crate) fn new(chaos: Chaos, partition: PartitionId, partitions: u16) -> Self {
        let (late, spared) = (VecDeque::new(), HashSet::new());
        Self { chaos, partition, partitions, late, spared, drawn: 0, filled: None }
    }
    /// Whether nothing is disturbed and nothing is late.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        !self.chaos.is_armed() && self.late.is_empty()
    }
    /// Waits while the host is paused, or until it is to stop.
    pub(crate) async fn until_awake(&self, stop: &CancellationToken) {
        tokio::select! {
            () = self.chaos.until_awake() => {}
            () = stop.cancelled() => {}
        }
    }
    /// Whether the queue counts as full.
    pub(crate) fn is_full(&self) -> bool {
        self.chaos.is_armed() && self.chaos.is_full(self.partition)
    }
    /// Whether what comes in can be kept until it is taken.
    pub(crate) fn has_room(&self) -> bool {
        self.late.len() < LATE_MAX
    }
    /// When the loop must look again; none when nothing waits here.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.is_quiet() {
            return None;
        }
        let fills = self.chaos.filled_per_second(self.partition) > 0;
        let fill = fills.then(|| Instant::now() + FILL_PAUSE);
        self.late.front().map(|(at, _)| *at).into_iter().chain(fill).min()
    }

    /// Takes an ask in.
    pub(crate) fn ask(&mut self, incoming: Incoming, subjects: &Subjects) -> Ask {
        let spoken = subjects.spoken(&incoming.subject);
        if spoken.is_ok_and(|(_, entity)| entity.kind == Command::KIND) {
            if let Some(reply_to) = &incoming.reply_to
                && self.spared.len() < SPARED_MAX
            {
                self.spared.insert(SmolStr::new(reply_to.as_str()));
            }
            return Ask::Now(incoming);
        }
        if self.is_full() {
            return Ask::NoRoom(incoming);
        }
        match self.keep(Arrived::Ask(incoming)) {
            Some(Arrived::Ask(incoming)) => Ask::Now(incoming),
            _ => Ask::Late,
        }
    }

    /// Keeps what is to be late; gives back what is to be taken now. Nothing overtakes what is late.
    pub(crate) fn keep(&mut self, arrived: Arrived) -> Option<Arrived> {
        let delay = self.chaos.delay(Delayed::Inbox);
        if delay.is_none() && self.late.is_empty() {
            return Some(arrived);
        }
        self.late.push_back((Instant::now() + delay.unwrap_or_default(), arrived));
        None
    }

    /// What was late and is due; all of it when the loop ends.
    pub(crate) fn due(&mut self, all: bool) -> Option<Arrived> {
        let (at, _) = self.late.front()?;
        (all || *at <= Instant::now()).then(|| self.late.pop_front().map(|(_, arrived)| arrived)).flatten()
    }

    /// Commands that are to be put into the queue now.
    pub(crate) fn fill(&mut self) -> Vec<Item> {
        let rate = self.chaos.filled_per_second(self.partition);
        if rate == 0 {
            self.filled = None;
            return Vec::new();
        }
        let now = Instant::now();
        if self.filled.is_none() {
            self.filled = filler(self.partition, self.partitions).map(|entity| (entity, now));
        }
        let Some((entity, filled)) = &mut self.filled else { return Vec::new() };
        *filled = (*filled).max(now.checked_sub(FILL_CATCH_UP).unwrap_or(now));
        let count = (now - *filled).as_millis() as u64 * u64::from(rate) / 1_000;
        *filled += Duration::from_micros(count * 1_000_000 / u64::from(rate));
        (0..count).map(|_| filling(entity.clone())).collect()
    }

    /// What becomes of an answer.
    pub(crate) fn answer(&mut self, reply_to: &ReplyTo) -> Answer {
        if !self.chaos.is_armed() || self.spared.remove(reply_to.as_str()) {
            return Answer::Now;
        }
        let percent = self.chaos.dropped_percent();
        if percent > 0 && self.draw(reply_to) < percent {
            return Answer::Never;
        }
        self.chaos.delay(Delayed::Answers).map_or(Answer::Now, Answer::After)
    }

    /// A number from 0 to 99.
    fn draw(&mut self, reply_to: &ReplyTo) -> u8 {
        self.drawn += 1;
        let mut hasher = DefaultHasher::new();
        (self.drawn, self.partition, reply_to.as_str()).hash(&mut hasher);
        (hasher.finish() % 100) as u8
    }
}

fn filling(entity: EntityAddress) -> Item {
    let id = CommandId(Uuid::now_v7());
    let command = record::Command {
        id,
        body: Body::json(&Command::Fill),
        cause: None,
        correlation: id,
        trace: None,
        caller: Some(SmolStr::new_static(FILLER)),
    };
    Item::of(Source::Ask, Ok(entity), command)
}
