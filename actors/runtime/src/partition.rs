//! The loop of one partition: it gives [`Core`] a clock and a bus, and calls the stages in order.

mod repeats;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actors_core::Registry;
use bus_client::asks::Incoming;
use bus_client::claims::Question;
use bus_client::inbox::InboxEntry;
use bus_client::mail::{Parcel, Receipt};
use bus_client::{Bus, ReplyTo, Trouble};
use bus_schemas::record::{CommitRecord, Mail, Source};
use bus_schemas::{CommandId, EntityAddress, LogSequence, PartitionId, Timestamp};
use bytes::Bytes;
use futures::future::{BoxFuture, OptionFuture};
use futures::stream::{BoxStream, FuturesUnordered, select};
use futures::{FutureExt, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::chaos::{Answer, Arrived, Ask, Interference};
use crate::claims::{IssuedJob, answers};
use crate::core::{Core, Moment, Repeat, Settings};
use crate::fanout::{self, Progress};
use crate::fold::write::Written;
use crate::fold::{self, Loaded};
use crate::inbox::{Item, place_id};
use crate::journal::{self, Committed, Fate, Issue, Told};
use crate::metric::PartitionMetrics;
use crate::observer::Observed;
use crate::stuck::Stuck;
use crate::supervision::spawn;
use crate::takeover::{self, TakeoverError};
use crate::{crash, trace};

/// Messages that are read before the loop decides what it has: a group's worth.
const GATHER_MAX: usize = 1_024;
/// How often mail without receipt is sent again, and housekeeping is done.
const TICK: Duration = Duration::from_millis(500);
/// Mail in one parcel.
const PARCEL_MAIL_MAX: usize = 128;
/// Records between two snapshots of the partition: what a takeover reads at most, some tens of
/// milliseconds.
const SNAPSHOT_RECORDS: u64 = 4_096;
/// How long a drain may take before the partition is left as it is: its log is complete anyway.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// The pause before an entity whose history could not be read is loaded again.
const LOAD_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LOAD_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why a partition's loop ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not begin.
    #[error("beginning")]
    Takeover(#[from] TakeoverError),
    /// The bus failed in a way that a new takeover may mend.
    #[error("running partition {partition}")]
    Bus { partition: PartitionId, source: bus_client::Error },
    /// Another host has it. Not a failure: the fence did its work.
    #[error("partition {partition} is another host's: {reason}")]
    Lost { partition: PartitionId, reason: String },
}

/// Everything that can wake the loop.
enum Wake {
    Ask(bool, Incoming),
    Inbox(Result<InboxEntry, bus_client::Error>),
    Parcel(Parcel),
    Receipt(Receipt),
    Loaded(EntityAddress, Result<Loaded, bus_client::Error>),
    Fate(Fate),
    Progress(Progress),
    Written(Vec<Written>),
    Repeat(Repeat, Result<Option<CommitRecord>, bus_client::Error>),
    Due,
    /// The pool has places for what waits here, or jobs that reached nobody.
    Places,
    /// A host asks whether a claim was used here.
    Question(Question),
    Tick,
    Drain,
}

/// The time of the host.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The moment on both clocks of this process.
pub fn moment() -> Moment {
    Moment { now: now(), steady: steady() }
}

/// Milliseconds on a clock that never goes back, from a time before this process did anything.
pub fn steady() -> u64 {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Not 0 at the beginning: what is over is over since then.
    u64::try_from(BEGINNING.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

struct Partition {
    bus: Bus,
    registry: Arc<Registry>,
    core: Core,
    /// Asks and, where it says true, queries.
    asks: BoxStream<'static, (bool, Incoming)>,
    questions: BoxStream<'static, Question>,
    places: Arc<Notify>,
    /// Where the server says that nobody heard an answer to a claim.
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
    /// Repeats whose answers are read from the log.
    repeats: FuturesUnordered<BoxFuture<'static, repeats::Read>>,
    /// Snapshots of entities on their way.
    writing: Option<BoxFuture<'static, Vec<Written>>>,
    /// Entities whose snapshots are too large, as far as that was said.
    large: BTreeSet<EntityAddress>,
    /// The durable inbox is applied and committed up to here, and trimmed up to there.
    applied: u64,
    trimmed: u64,
    /// For each receiver: the last mail that is committed, and so may be sent.
    mail_ready: BTreeMap<PartitionId, u64>,
    /// For each receiver: the oldest mail without receipt at the last tick.
    mail_oldest: BTreeMap<PartitionId, u64>,
    metrics: PartitionMetrics,
    draining: bool,
    interference: Interference,
    stuck: Stuck,
    loading_fails: Trouble,
    observed: Observed,
}

/// Takes a partition over and runs it until `stop` or until another host has it.
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
        if !partition.interference.is_quiet() {
            partition.disturb(&stop).await;
        }
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
        let chaos = settings.chaos.clone();
        let undelivered_to = settings.places.undelivered_to();
        let taken = takeover::take_over(&bus, &registry, &settings, moment).await?;
        let (progress_sender, progress) = mpsc::unbounded_channel();
        let (events, events_receiver) = mpsc::unbounded_channel();
        let (dead, dead_receiver) = mpsc::unbounded_channel();
        spawn("fanout events", taken.events.run(chaos.clone(), events_receiver, progress_sender.clone()));
        let (stuck, disturbed) = (settings.stuck.clone(), (chaos.clone(), settings.stuck.clone()));
        spawn("fanout dead", fanout::run_dead(bus.clone(), disturbed, dead_receiver, progress_sender));
        let core = taken.core;
        // Behind the takeover: whatever it tried before has left the pool.
        let places = settings.places.wake(id);
        tracing::info!(partition = %id, epoch = %core.state.epoch, record = %core.state.last, "partition taken over");
        let asks = bus.incoming(bus.subjects().asks(id), None).await.map_err(failed)?;
        let views = bus.incoming(bus.subjects().views(id), None).await.map_err(failed)?;
        bus.flush().await;
        bus.tell_taken_over().await;
        Ok(Self {
            asks: select(asks.map(|ask| (false, ask)), views.map(|view| (true, view))).boxed(),
            questions: bus.was_used_questions().await.map_err(failed)?.boxed(),
            places,
            undelivered_to,
            inbox: bus.inbox(id, core.state.inbox).await.map_err(failed)?.boxed(),
            parcels: bus.parcels(id).await.map_err(failed)?.boxed(),
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
            interference: Interference::new(chaos, id, settings.partitions),
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

    /// Reads what has arrived, without waiting.
    fn gather(&mut self) {
        if self.draining || !self.interference.has_room() {
            return;
        }
        for _ in 0..GATHER_MAX {
            let Some(Some((is_query, incoming))) = self.asks.next().now_or_never() else { break };
            self.offer(is_query, incoming);
        }
        while self.core.has_room()
            && !self.interference.is_full()
            && let Some(Some(Ok(entry))) = self.inbox.next().now_or_never()
        {
            self.offer_inbox(entry);
        }
    }

    /// What experiments do here, before anything is decided.
    async fn disturb(&mut self, stop: &CancellationToken) {
        if !self.draining {
            self.interference.until_awake(stop).await;
        }
        while let Some(arrived) = self.interference.due(self.draining) {
            match arrived {
                Arrived::Ask(incoming) => self.offer_ask_now(incoming),
                Arrived::Inbox(entry) => self.offer_inbox_now(entry),
                Arrived::Parcel(parcel) => self.take_parcel(parcel).await,
            }
        }
        for item in self.interference.fill() {
            self.core.offer(item);
        }
    }

    /// The stages in order: inbox, decide, journal; fold and fanout follow the commit.
    async fn stages(&mut self) {
        let moment = moment();
        // Before anything is decided: a partition with callers waiting has no other moment without turns.
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
        for Told { to: reply_to, payload, .. } in self.core.take_answers(steady()) {
            match self.interference.answer(&reply_to) {
                Answer::Now => self.bus.answer(reply_to, payload).await,
                Answer::Never => {}
                Answer::After(delay) => {
                    let bus = self.bus.clone();
                    spawn("late answer", async move {
                        tokio::time::sleep(delay).await;
                        bus.answer(reply_to, payload).await;
                    });
                }
            }
        }
    }

    /// Waits for the next thing that can wake the loop.
    async fn wait(&mut self, tick: &mut tokio::time::Interval, stop: &CancellationToken) -> Wake {
        let has_room = self.core.has_room() && !self.interference.is_full();
        let timer = self.core.next_due().map(|at| at.0.saturating_sub(now().0));
        let lease = self.core.next_steady_due().map(|at| at.saturating_sub(steady()));
        let due = timer.into_iter().chain(lease).min();
        let due = due.map(|ms| tokio::time::sleep(Duration::from_millis(ms)));
        let disturbed = self.interference.next().map(tokio::time::sleep_until);
        let open = !self.draining;
        let hears = open && self.interference.has_room();
        tokio::select! {
            biased;
            Some(fate) = OptionFuture::from(self.commit.as_mut()) => Wake::Fate(fate),
            Some((entity, loaded)) = self.loads.next() => Wake::Loaded(entity, loaded),
            Some(progress) = self.progress.recv() => Wake::Progress(progress),
            Some((repeat, record)) = self.repeats.next() => Wake::Repeat(repeat, record),
            Some(written) = OptionFuture::from(self.writing.as_mut()) => Wake::Written(written),
            Some(receipt) = self.receipts.next() => Wake::Receipt(receipt),
            Some((is_query, incoming)) = self.asks.next(), if hears => Wake::Ask(is_query, incoming),
            () = self.places.notified(), if open => Wake::Places,
            Some(question) = self.questions.next() => Wake::Question(question),
            Some(parcel) = self.parcels.next(), if hears => Wake::Parcel(parcel),
            Some(entry) = self.inbox.next(), if hears && has_room => Wake::Inbox(entry),
            Some(()) = OptionFuture::from(due), if open => Wake::Due,
            Some(()) = OptionFuture::from(disturbed) => Wake::Due,
            () = stop.cancelled(), if open => Wake::Drain,
            _ = tick.tick() => Wake::Tick,
        }
    }

    /// Takes what woke the loop.
    async fn take(&mut self, wake: Wake) -> Result<(), Error> {
        match wake {
            Wake::Ask(is_query, incoming) => self.offer(is_query, incoming),
            Wake::Places => self.core.look_for_places(),
            Wake::Question(question) => self.take_question(question).await,
            Wake::Inbox(entry) => {
                let partition = self.core.partition();
                self.offer_inbox(entry.map_err(|source| Error::Bus { partition, source })?);
            }
            Wake::Parcel(parcel) => self.offer_parcel(parcel).await,
            Wake::Receipt(receipt) => {
                self.core.receipt(receipt.from, receipt.upto);
                if receipt.begins {
                    self.send_waiting(receipt.from).await;
                }
            }
            Wake::Loaded(entity, loaded) => self.take_loaded(entity, loaded),
            Wake::Fate(fate) => self.take_fate(fate).await?,
            Wake::Progress(progress) => self.take_progress(progress),
            Wake::Written(written) => self.take_written(written),
            Wake::Repeat(repeat, record) => self.take_repeat(repeat, record),
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

    fn offer(&mut self, is_query: bool, incoming: Incoming) {
        if !is_query {
            return self.offer_ask(incoming);
        }
        let fresh = incoming.id.unwrap_or_else(|| CommandId(Uuid::now_v7()));
        self.core.offer(Item::from_query(self.bus.subjects(), incoming, fresh));
    }

    fn offer_ask(&mut self, incoming: Incoming) {
        if self.interference.is_quiet() {
            return self.offer_ask_now(incoming);
        }
        match self.interference.ask(incoming, self.bus.subjects()) {
            Ask::Now(incoming) => self.offer_ask_now(incoming),
            Ask::Late => {}
            Ask::NoRoom(incoming) => {
                let item = self.asked(incoming);
                self.core.turn_away(item);
            }
        }
    }

    fn offer_ask_now(&mut self, incoming: Incoming) {
        let item = self.asked(incoming);
        self.core.offer(item);
    }

    fn asked(&self, incoming: Incoming) -> Item {
        // Randomness costs a call to the system, so an id is made only where the sender gave none.
        let fresh = incoming.id.unwrap_or_else(|| CommandId(Uuid::now_v7()));
        Item::from_incoming(self.bus.subjects(), Source::Ask, incoming, fresh)
    }

    fn offer_inbox(&mut self, entry: InboxEntry) {
        if self.interference.is_quiet() {
            return self.offer_inbox_now(entry);
        }
        if let Some(Arrived::Inbox(entry)) = self.interference.keep(Arrived::Inbox(entry)) {
            self.offer_inbox_now(entry);
        }
    }

    fn offer_inbox_now(&mut self, entry: InboxEntry) {
        let fresh = place_id(self.core.partition(), entry.sequence);
        let source = Source::Inbox(entry.sequence);
        self.core.offer(Item::from_incoming(self.bus.subjects(), source, entry.incoming, fresh));
    }

    async fn offer_parcel(&mut self, parcel: Parcel) {
        if self.interference.is_quiet() {
            return self.take_parcel(parcel).await;
        }
        if let Some(Arrived::Parcel(parcel)) = self.interference.keep(Arrived::Parcel(parcel)) {
            self.take_parcel(parcel).await;
        }
    }

    async fn take_parcel(&mut self, parcel: Parcel) {
        let committed = self.core.mail_committed(parcel.from);
        if parcel.mail.last().is_some_and(|mail| mail.number <= committed) {
            // The sender has not heard that we have it.
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
                // The timer's wheel turns once a millisecond, also for a pause of nothing.
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
            // A closed channel means that the fan-out ended; the supervisor hears of that.
            let _ = sender.send(Arc::clone(&committed));
        }
        Ok(())
    }

    /// Claims are answered with their jobs.
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

    /// A worker repeats a claim: if it was used here, its jobs are sent once more.
    async fn take_question(&mut self, Question { was_used, yes_to }: Question) {
        let is_forgotten = self.core.has_forgotten(was_used.claim);
        let Some(jobs) = self.core.repeated(was_used.claim).or(is_forgotten.then(Vec::new)) else { return };
        if let Some(yes_to) = yes_to {
            self.bus.answer(yes_to, Bytes::from_static(b"yes")).await;
        }
        if !jobs.is_empty() || is_forgotten {
            self.answer_claim(was_used.claim, was_used.reply_to.into(), &jobs).await;
        }
    }

    /// Mail that was just committed goes out at once, and senders hear how far theirs is applied.
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

    fn take_progress(&mut self, progress: Progress) {
        match progress {
            Progress::Events { upto, stream_sequence } => {
                self.core.fanned_out(upto.sequence, stream_sequence);
            }
            Progress::Dead { upto } => self.core.dead_out(upto),
        }
    }

    /// Mail without receipt is sent again; the inbox is trimmed; gauges are set.
    async fn tick(&mut self) {
        self.send_mail_again().await;
        if self.applied > self.trimmed {
            self.trimmed = self.applied;
            let (bus, own, applied) = (self.bus.clone(), self.core.partition(), self.applied);
            spawn("inbox trim", async move {
                crash::point("before-trim");
                if let Err(error) = bus.trim_inbox(own, applied).await {
                    tracing::warn!(%error, "trimming the inbox; the next trim will do");
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

    /// Mail whose receipt did not come within a tick. Only what is committed may leave.
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

    /// Committed mail for a partition that has no receipt.
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

    /// What was under way to and from the owner before may have reached nobody: mail goes out once more, and
    /// the others send theirs.
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

/// Sends mail in parcels that the server takes: what it refuses for its size would never arrive.
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
