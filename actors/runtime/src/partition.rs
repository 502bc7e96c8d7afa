//! The loop of one partition: it gives [`Core`] a clock and a bus, and calls the stages in order.
//!
//! ```text
//!  1 lease     won: `Placement` runs this loop, and cancels `stop` to drain it
//!
//!              asks, queries   durable inbox   mail parcels   timers and leases due   claims
//!                    └───────────────┴──────────────┼───────────────────┴───────────────┘
//!  2 inbox     gather, take: at most 1,024 asks a pass; a repeated id is answered, not decided
//!                                                   ▼
//!              ═══ queue: 8,192 commands ════════   full: asks are refused as busy, the durable inbox waits
//!                                                   ▼
//!  3 decide    one command, one turn         ◄───── 5 fold: entities are loaded, 64 at once
//!                                            ─────► 5 fold: a turn's events change its entity at once
//!                                                   ▼
//!              ═══ group: 2,048 turns, 512 KiB ══   full: decide waits
//!                                                   ▼
//!  4 journal   append a commit record        ─────  one in flight; the log's expected sequence is the fence
//!                                                   ├──► replies, jobs, mail, receipts, stops are sent
//!                                                   ▼
//!              ═══ lag: 1,024 records or turns ══   full: the next append waits
//!                                                   ▼
//!  6 fanout    two tasks publish events and dead letters, and report their progress
//!                                                   └──► 5 fold: snapshots of entities with all events out
//!
//!  7 effects, 8 projections and 9 gateway run elsewhere: they claim jobs, read events, and ask
//!
//!  Woken by    ask, query · inbox entry · parcel · receipt · timer or lease due · new claim ·
//!              question about a claim · loaded entity · fate of the record in flight ·
//!              fan-out progress · written snapshots · record read for a repeat · drain ·
//!              tick, every 500 ms: resend mail, trim the inbox, ask for a snapshot, set gauges
//! ```
//!
//! Each of these is a [`Wake`]. Nothing that a turn decided leaves the loop before its record is committed;
//! if another host wrote the record, the loop ends and its memory is dropped. Mail, timers and lapsed leases
//! are queued even when the queue is full: earlier commands bound them. The limits shown are the defaults.

mod repeats;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use actors_core::Registry;
use bus_client::asks::Incoming;
use bus_client::claims::Question;
use bus_client::inbox::InboxEntry;
use bus_client::mail::{Parcel, Receipt};
use bus_client::{Bus, ReplyTo, Trouble, now};
use bus_schemas::record::{CommitRecord, Mail, Source};
use bus_schemas::{CommandId, EntityAddress, LogSequence, PartitionId};
use futures::future::{BoxFuture, OptionFuture};
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::claims::{IssuedJob, answers};
use crate::core::{Core, Moment, Settings};
use crate::fanout::{self, Progress};
use crate::fold::write::Written;
use crate::fold::{self, Loaded};
use crate::inbox::{Item, place_id};
use crate::journal::{self, AddressedReply, Committed, Fate, Issue};
use crate::metric::PartitionMetrics;
use crate::observer::Observed;
use crate::stuck::Stuck;
use crate::supervision::spawn;
use crate::takeover::{self, TakeoverError};
use crate::{crash, trace};

/// Asks that one pass reads before it decides: about one group.
const GATHER_MAX: usize = 1_024;
/// How often the loop resends mail without a receipt and does its housekeeping.
const TICK: Duration = Duration::from_millis(500);
/// Most mail in one parcel.
const PARCEL_MAIL_MAX: usize = 128;
/// Records between two snapshots of the partition. A takeover reads at most these, in some tens of
/// milliseconds.
const SNAPSHOT_RECORDS: u64 = 4_096;
/// The longest drain. After it the loop ends without waiting: the log is complete in any case.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// The first pause before an entity is loaded again after its history could not be read.
const LOAD_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before an entity is loaded again.
const LOAD_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a partition's loop ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The takeover failed.
    #[error("starting the loop of a partition")]
    Takeover(#[from] TakeoverError),
    /// The bus failed; a new takeover may succeed.
    #[error("running partition {partition}")]
    Bus { partition: PartitionId, source: bus_client::Error },
    /// Another host owns the partition. This is not a failure: the fence worked.
    #[error("partition {partition} is another host's: {reason}")]
    Lost { partition: PartitionId, reason: String },
    /// The event stream was emptied while this host published to it. The next takeover writes the events
    /// again from the log.
    #[error("the event stream has lost the events of partition {0}")]
    Emptied(PartitionId),
}

/// Everything that can wake the loop.
enum Wake {
    Ask(Incoming),
    Inbox(Result<InboxEntry, bus_client::Error>),
    Parcel(Parcel),
    Receipt(Receipt),
    Loaded(EntityAddress, Result<Loaded, bus_client::Error>),
    Fate(Fate),
    Progress(Progress),
    Written(Vec<Written>),
    /// A record from the log with replies for repeated commands.
    Repeats(LogSequence, Result<Option<CommitRecord>, bus_client::Error>),
    Due,
    /// The claim pool has claims for work of this partition, or jobs that were not delivered.
    Places,
    /// A host asks whether this partition used a claim.
    Question(Question),
    Tick,
    Drain,
}

/// The current time on the wall clock and on the monotonic clock.
pub fn moment() -> Moment {
    Moment { now: now(), steady: steady() }
}

/// Milliseconds on a monotonic clock that starts when it is first read.
pub fn steady() -> u64 {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Begins at 1, because 0 stands for a lease that is already over.
    u64::try_from(BEGINNING.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

struct Partition {
    bus: Bus,
    registry: Arc<Registry>,
    core: Core,
    /// Commands and queries.
    asks: BoxStream<'static, Incoming>,
    questions: BoxStream<'static, Question>,
    places: Arc<Notify>,
    /// The subject on which the server reports that an answer to a claim had no receiver.
    undelivered_to: String,
    inbox: BoxStream<'static, Result<InboxEntry, bus_client::Error>>,
    parcels: BoxStream<'static, Parcel>,
    receipts: BoxStream<'static, Receipt>,
    loads: FuturesUnordered<BoxFuture<'static, (EntityAddress, Result<Loaded, bus_client::Error>)>>,
    loading: Vec<EntityAddress>,
    commit: Option<BoxFuture<'static, Fate>>,
    commit_started: (Instant, SystemTime),
    events: Option<mpsc::UnboundedSender<Arc<Committed>>>,
    dead: Option<mpsc::UnboundedSender<Arc<Committed>>>,
    progress: mpsc::UnboundedReceiver<Progress>,
    last_snapshot: LogSequence,
    /// Reads of records that hold the replies of repeated commands.
    repeats: FuturesUnordered<BoxFuture<'static, repeats::Read>>,
    /// The round of entity snapshots being written.
    writing: Option<BoxFuture<'static, Vec<Written>>>,
    /// Entities whose snapshots are too large and for which that was logged.
    large: BTreeSet<EntityAddress>,
    /// `applied`: the last sequence of the durable inbox that is committed. `trimmed`: the last one deleted.
    applied: u64,
    trimmed: u64,
    /// For each receiver: the number of the last committed mail, which may be sent.
    mail_ready: BTreeMap<PartitionId, u64>,
    /// For each receiver: the oldest mail without a receipt at the last tick.
    mail_oldest: BTreeMap<PartitionId, u64>,
    metrics: PartitionMetrics,
    draining: bool,
    stuck: Stuck,
    loading_fails: Trouble,
    observed: Observed,
}

/// Takes a partition over and runs it until `stop` is cancelled or another host owns it.
pub async fn run(
    bus: Bus,
    registry: Arc<Registry>,
    settings: Settings,
    stop: CancellationToken,
    serving: impl FnOnce() + Send,
) -> Result<(), Error> {
    let mut partition = Partition::begin(bus, registry, settings).await?;
    partition.greet().await;
    metrics::counter!(crate::metric::TAKEOVERS).increment(1);
    serving();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut deadline = None;
    loop {
        partition.gather();
        partition.ready(&stop).await;
        partition.stages().await;
        if partition.is_drained() || deadline.is_some_and(|at| Instant::now() > at) {
            return partition.end().await;
        }
        let wake = partition.wait(&mut tick, &stop).await;
        if matches!(wake, Wake::Drain) {
            deadline = Some(Instant::now() + DRAIN_DEADLINE);
        }
        partition.take(wake).await?;
    }
}

impl Partition {
    async fn begin(bus: Bus, registry: Arc<Registry>, settings: Settings) -> Result<Self, Error> {
        let id = settings.partition;
        let failed = |source| Error::Bus { partition: id, source };
        let undelivered_to = settings.places.undelivered_to();
        let taken = takeover::take_over(&bus, &registry, &settings, moment).await?;
        let (progress_sender, progress) = mpsc::unbounded_channel();
        let (events, events_receiver) = mpsc::unbounded_channel();
        let (dead, dead_receiver) = mpsc::unbounded_channel();
        spawn("fanout events", taken.events.run(events_receiver, progress_sender.clone()));
        let stuck = settings.stuck.clone();
        spawn("fanout dead", fanout::run_dead(bus.clone(), stuck.clone(), dead_receiver, progress_sender));
        let core = taken.core;
        // After the takeover: `Core::leave` has removed what earlier attempts put into the pool.
        let places = settings.places.wake(id);
        tracing::info!(partition = %id, epoch = %core.state.epoch, record = %core.state.last, "partition taken over");
        let asks = bus.asks(id).await.map_err(failed)?;
        bus.flush().await;
        bus.tell_taken_over().await;
        Ok(Self {
            asks,
            questions: bus.was_used_questions().await.map_err(failed)?.boxed(),
            places,
            undelivered_to,
            inbox: bus.inbox(id, core.state.inbox).await.map_err(failed)?,
            parcels: bus.parcels(id).await.map_err(failed)?,
            receipts: bus.receipts(id).await.map_err(failed)?.boxed(),
            loads: FuturesUnordered::new(),
            loading: Vec::new(),
            commit: None,
            commit_started: (Instant::now(), SystemTime::now()),
            events: Some(events),
            dead: Some(dead),
            progress,
            last_snapshot: core.state.last,
            repeats: FuturesUnordered::new(),
            writing: None,
            large: BTreeSet::new(),
            applied: core.state.inbox,
            trimmed: core.state.inbox,
            mail_ready: core.state.outbox.last_numbers(),
            mail_oldest: BTreeMap::new(),
            metrics: PartitionMetrics::new(id),
            draining: false,
            stuck,
            observed: Observed::begin(settings.observer, id),
            loading_fails: Trouble::new(
                format!("loading entities of partition {id}"),
                LOAD_PAUSE,
                LOAD_PAUSE_MAX,
            ),
            bus,
            registry,
            core,
        })
    }

    /// Reads the messages that have arrived, without waiting.
    fn gather(&mut self) {
        if self.draining {
            return;
        }
        for _ in 0..GATHER_MAX {
            let Some(Some(incoming)) = self.asks.next().now_or_never() else { break };
            self.offer(incoming);
        }
        while self.core.has_room()
            && let Some(Some(Ok(entry))) = self.inbox.next().now_or_never()
        {
            self.offer_inbox(entry);
        }
    }

    /// Waits while an experiment makes this host stand still, or until `stop`.
    async fn ready(&mut self, stop: &CancellationToken) {
        tokio::select! {
            biased;
            () = self.bus.ready() => {}
            () = stop.cancelled() => {}
        }
    }

    /// Runs inbox, decide and journal. Fold and fanout follow the commit.
    async fn stages(&mut self) {
        let moment = moment();
        // Before the first decision: a partition under load has no other moment without open turns.
        if let Some(snapshot) = self.core.take_snapshot() {
            self.last_snapshot = self.core.state.last;
            self.write_snapshot(snapshot);
        }
        if !self.draining {
            self.core.fire(moment);
        }
        self.core.decide_waiting(moment);
        crash::point("after-decide");
        self.load_missing();
        self.write_entity_snapshots();
        self.read_repeats();
        if !self.core.is_fanout_full()
            && let Some(commit) = self.core.close_group(moment.now)
        {
            self.commit_started = (Instant::now(), SystemTime::now());
            self.commit =
                Some(journal::append_until_known(self.bus.clone(), commit, self.stuck.clone()).boxed());
        }
        self.send_answers().await;
        self.send_issued().await;
    }

    async fn send_answers(&mut self) {
        let answers = self.core.take_answers(steady());
        let replies = answers.into_iter().map(|AddressedReply { to, payload, .. }| (to, payload)).collect();
        self.bus.answer_all(replies).await;
    }

    /// Waits for the next wake.
    async fn wait(&mut self, tick: &mut tokio::time::Interval, stop: &CancellationToken) -> Wake {
        let has_room = self.core.has_room();
        let timer = self.core.next_due().map(|at| at.0.saturating_sub(now().0));
        let lease = self.core.next_steady_due().map(|at| at.saturating_sub(steady()));
        let due = timer.into_iter().chain(lease).min();
        let due = due.map(|ms| tokio::time::sleep(Duration::from_millis(ms)));
        let open = !self.draining;
        tokio::select! {
            biased;
            Some(fate) = OptionFuture::from(self.commit.as_mut()) => Wake::Fate(fate),
            Some((entity, loaded)) = self.loads.next() => Wake::Loaded(entity, loaded),
            Some(progress) = self.progress.recv() => Wake::Progress(progress),
            Some((sequence, record)) = self.repeats.next() => Wake::Repeats(sequence, record),
            Some(written) = OptionFuture::from(self.writing.as_mut()) => Wake::Written(written),
            Some(receipt) = self.receipts.next() => Wake::Receipt(receipt),
            Some(incoming) = self.asks.next(), if open => Wake::Ask(incoming),
            () = self.places.notified(), if open => Wake::Places,
            Some(question) = self.questions.next() => Wake::Question(question),
            Some(parcel) = self.parcels.next(), if open => Wake::Parcel(parcel),
            Some(entry) = self.inbox.next(), if open && has_room => Wake::Inbox(entry),
            Some(()) = OptionFuture::from(due), if open => Wake::Due,
            () = stop.cancelled(), if open => Wake::Drain,
            _ = tick.tick() => Wake::Tick,
        }
    }

    /// Handles a wake.
    async fn take(&mut self, wake: Wake) -> Result<(), Error> {
        match wake {
            Wake::Ask(incoming) => self.offer(incoming),
            Wake::Places => self.core.look_for_places(),
            Wake::Question(question) => self.take_question(question).await,
            Wake::Inbox(entry) => {
                let partition = self.core.partition();
                self.offer_inbox(entry.map_err(|source| Error::Bus { partition, source })?);
            }
            Wake::Parcel(parcel) => self.take_parcel(parcel).await,
            Wake::Receipt(receipt) => {
                self.core.receipt(receipt.from, receipt.upto);
                if receipt.begins {
                    self.send_waiting(receipt.from).await;
                }
            }
            Wake::Loaded(entity, loaded) => self.take_loaded(entity, loaded),
            Wake::Fate(fate) => self.take_fate(fate).await?,
            Wake::Progress(progress) => self.take_progress(progress)?,
            Wake::Written(written) => self.take_written(written),
            Wake::Repeats(sequence, record) => self.take_repeats(sequence, record),
            Wake::Due => {}
            Wake::Tick => self.tick().await,
            Wake::Drain => self.drain(),
        }
        Ok(())
    }

    fn drain(&mut self) {
        self.draining = true;
        self.core.dismiss_parked();
    }

    fn offer(&mut self, incoming: Incoming) {
        // A random id costs a system call, so one is made only where the sender gave none.
        let fresh = incoming.id.unwrap_or_else(|| CommandId(Uuid::now_v7()));
        let subjects = self.bus.subjects();
        self.core.offer(match subjects.is_query(&incoming.subject) {
            true => Item::from_query(subjects, incoming, fresh),
            false => Item::from_incoming(subjects, Source::Ask, incoming, fresh),
        });
    }

    fn offer_inbox(&mut self, entry: InboxEntry) {
        let fresh = place_id(self.core.partition(), entry.sequence);
        let source = Source::Inbox(entry.sequence);
        self.core.offer(Item::from_incoming(self.bus.subjects(), source, entry.incoming, fresh));
    }

    async fn take_parcel(&mut self, parcel: Parcel) {
        let committed = self.core.mail_committed(parcel.from);
        if parcel.mail.last().is_some_and(|mail| mail.number <= committed) {
            // The mail is committed already, so its receipt was lost.
            self.send_receipt(parcel.from, committed, false).await;
            return;
        }
        for mail in parcel.mail {
            self.core.offer(Item::from_mail(parcel.from, mail));
        }
    }

    async fn send_receipt(&mut self, to: PartitionId, upto: u64, begins: bool) {
        self.bus.send_receipt(to, Receipt { from: self.core.partition(), upto, begins }).await;
    }

    fn load_missing(&mut self) {
        for entity in self.core.missing() {
            if self.loading.contains(&entity) {
                continue;
            }
            self.loading.push(entity.clone());
            self.load(entity, Duration::ZERO);
        }
    }

    fn load(&mut self, entity: EntityAddress, pause: Duration) {
        let (bus, registry) = (self.bus.clone(), Arc::clone(&self.registry));
        self.loads.push(
            async move {
                // A timer has millisecond resolution, so even a sleep of zero would wait.
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let loaded = fold::load(&bus, &registry, &entity).await;
                (entity, loaded)
            }
            .boxed(),
        );
    }

    fn take_loaded(&mut self, entity: EntityAddress, loaded: Result<Loaded, bus_client::Error>) {
        match loaded {
            Ok(loaded) => {
                self.loading.retain(|loading| *loading != entity);
                self.loading_fails.over();
                self.core.loaded(entity, loaded);
            }
            Err(error) => {
                let pause = self.loading_fails.failed(&format_args!("`{entity}`: {error}"));
                self.load(entity, pause);
            }
        }
    }

    async fn take_fate(&mut self, fate: Fate) -> Result<(), Error> {
        self.commit = None;
        let partition = self.core.partition();
        let sequence = match fate {
            Fate::Committed(sequence) => sequence,
            Fate::Lost(reason) | Fate::Again(reason) => return Err(Error::Lost { partition, reason }),
        };
        let Some(committed) = self.core.committed(sequence) else { return Ok(()) };
        let (started, started_at) = self.commit_started;
        self.metrics.commit_seconds.record(started.elapsed().as_secs_f64());
        self.metrics.group.record(committed.record.turns.len() as f64);
        self.metrics.turns.increment(committed.record.turns.len() as u64);
        self.applied = committed.record.position.inbox;
        trace::journaled(&self.bus.subjects().log(partition), &committed.record.turns, started_at);
        self.send_answers().await;
        self.send_issued().await;
        crash::point("after-reply");
        self.observed.committed(&committed.record);
        let committed = Arc::new(committed);
        self.send_mail(&committed).await;
        for stop in committed.record.turns.iter().flat_map(|turn| &turn.stops) {
            self.bus.stop_job(&stop.agent, &stop.worker, &stop.job).await;
        }
        for sender in [&self.events, &self.dead].into_iter().flatten() {
            // A closed channel means that the fan-out task ended; its supervisor handles that.
            let _ = sender.send(Arc::clone(&committed));
        }
        Ok(())
    }

    /// Answers claims with their committed jobs.
    async fn send_issued(&mut self) {
        for Issue { offer, jobs } in self.core.take_issued() {
            let entities = jobs.iter().map(|issued| issued.entity.clone()).collect();
            self.core.note_sent(&offer, entities, steady());
            crash::point("before-issue");
            self.answer_claim(offer.id, offer.reply_to, &jobs).await;
            crash::point("after-issue");
        }
    }

    async fn answer_claim(&mut self, claim: CommandId, reply_to: ReplyTo, jobs: &[IssuedJob]) {
        let undelivered_to = format!("{}.{}", self.undelivered_to, claim.0.simple());
        for payload in answers(claim, jobs, self.bus.payload_bytes_max() / 2) {
            self.bus.answer_claim(reply_to.clone(), undelivered_to.clone(), payload).await;
        }
    }

    /// Handles a repeated claim: if this partition used it, its jobs are sent once more.
    async fn take_question(&mut self, Question { was_used, yes_to }: Question) {
        let is_forgotten = self.core.has_forgotten(was_used.claim);
        let Some(jobs) = self.core.repeated(was_used.claim).or(is_forgotten.then(Vec::new)) else { return };
        if let Some(yes_to) = yes_to {
            self.bus.say_was_used(yes_to).await;
        }
        if !jobs.is_empty() || is_forgotten {
            self.answer_claim(was_used.claim, was_used.reply_to.into(), &jobs).await;
        }
    }

    /// Sends the mail of a record that was just committed, and receipts for the mail that it applied.
    async fn send_mail(&mut self, committed: &Committed) {
        let own = self.core.partition();
        let mut mail_to: BTreeMap<PartitionId, Vec<Mail>> = BTreeMap::new();
        let mut senders: Vec<PartitionId> = Vec::new();
        for turn in &committed.record.turns {
            if let Source::Mail(from, _) = turn.source
                && from != own
                && !senders.contains(&from)
            {
                senders.push(from);
            }
            for mail in turn.sends.iter().filter(|mail| mail.partition != own) {
                self.mail_ready.insert(mail.partition, mail.number);
                mail_to.entry(mail.partition).or_default().push(mail.clone());
            }
        }
        for (to, mail) in mail_to {
            crash::point("before-parcel");
            send_parcels(&self.bus, own, to, mail).await;
        }
        for from in senders {
            crash::point("before-receipt");
            self.send_receipt(from, self.core.mail_committed(from), false).await;
            crash::point("after-receipt");
        }
    }

    fn take_progress(&mut self, progress: Progress) -> Result<(), Error> {
        match progress {
            Progress::Emptied => return Err(Error::Emptied(self.core.partition())),
            Progress::Events { upto, stream_sequence } => {
                self.core.fanned_out(upto.sequence, stream_sequence);
            }
            Progress::Dead { upto } => self.core.dead_out(upto),
        }
        Ok(())
    }

    /// Resends mail without a receipt, trims the inbox and sets the gauges.
    async fn tick(&mut self) {
        self.send_mail_again().await;
        if self.applied > self.trimmed {
            self.trimmed = self.applied;
            let (bus, own, applied) = (self.bus.clone(), self.core.partition(), self.applied);
            spawn("inbox trim", async move {
                crash::point("before-trim");
                if let Err(error) = bus.trim_inbox(own, applied).await {
                    tracing::warn!(%error, "trimming the inbox failed; the next trim covers it");
                }
                crash::point("after-trim");
            });
        }
        if self.core.state.last.0 >= self.last_snapshot.0 + crash::snapshot_records(SNAPSHOT_RECORDS) {
            self.core.want_snapshot();
        }
        self.metrics.queue.set(self.core.waiting() as f64);
        self.metrics.cached.set(self.core.live() as f64);
        self.metrics.fanout_lag.set(self.core.fanout_lag() as f64);
        self.metrics.outbox.set(self.core.state.outbox.len() as f64);
        self.metrics.timers.set(self.core.state.timers.len() as f64);
    }

    /// Resends committed mail that has been without a receipt since the last tick.
    async fn send_mail_again(&mut self) {
        let own = self.core.partition();
        let receivers: Vec<PartitionId> =
            self.core.state.outbox.receivers().filter(|to| *to != own).collect();
        let mut oldest = BTreeMap::new();
        for to in receivers {
            let Some(first) = self.waiting_mail(to).next().map(|mail| mail.number) else { continue };
            oldest.insert(to, first);
            if self.mail_oldest.get(&to) == Some(&first) {
                self.send_waiting(to).await;
            }
        }
        self.mail_oldest = oldest;
    }

    /// Committed mail for a partition without a receipt.
    fn waiting_mail(&self, to: PartitionId) -> impl Iterator<Item = &Mail> {
        let ready = self.mail_ready.get(&to).copied().unwrap_or_default();
        self.core.state.outbox.waiting(to, PARCEL_MAIL_MAX).take_while(move |mail| mail.number <= ready)
    }

    async fn send_waiting(&mut self, to: PartitionId) {
        let mail: Vec<Mail> = self.waiting_mail(to).cloned().collect();
        if !mail.is_empty() {
            send_parcels(&self.bus, self.core.partition(), to, mail).await;
        }
    }

    /// Resends mail and asks the other partitions to resend theirs: what was in transit to or from the former
    /// owner may be lost.
    async fn greet(&mut self) {
        let (own, all) = (self.core.partition(), self.bus.topology().all_partitions());
        for other in all.filter(|other| *other != own).collect::<Vec<_>>() {
            self.send_waiting(other).await;
            self.send_receipt(other, self.core.mail_committed(other), true).await;
        }
    }

    fn is_drained(&self) -> bool {
        self.draining && self.core.is_idle() && self.core.fanout_lag() == 0
    }
}

/// Sends mail in parcels below the server's message limit: a larger one would be refused forever.
async fn send_parcels(bus: &Bus, from: PartitionId, to: PartitionId, mail: Vec<Mail>) {
    let bytes_max = bus.payload_bytes_max() / 2;
    let mut parcel = Parcel { from, mail: Vec::new() };
    let mut bytes = 0;
    for mail in mail {
        let next = mail.command.body.bytes.len();
        let full = parcel.mail.len() == PARCEL_MAIL_MAX || bytes + next > bytes_max;
        if full && !parcel.mail.is_empty() {
            bus.send_parcel(to, &parcel).await;
            parcel.mail.clear();
            bytes = 0;
        }
        bytes += next;
        parcel.mail.push(mail);
    }
    bus.send_parcel(to, &parcel).await;
}
