//! Which experiments this process takes part in: the events of `chaos`, read once and followed.
//!
//! Each experiment ends here by this process's own clock, whatever else is heard of it. While there is
//! none, whoever asks pays for one atomic load.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus_schemas::chaos::FOR_MS_MAX;
use bus_schemas::commands::chaos::{Delayed, Experiment};
use bus_schemas::envelope::code;
use bus_schemas::{Key, Kind, PartitionId, Refusal, Timestamp};
use bus_schemas::{events::chaos::Event, upcast};
use futures::{StreamExt, TryStreamExt};
use smol_str::SmolStr;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::events::{EventQuery, StoredEvent};
use crate::{Bus, Error};

/// Before the events are followed again after an error.
const PAUSE: Duration = Duration::from_millis(500);

/// The experiments that this process takes part in. Cheap to clone; all clones see the same.
#[derive(Debug, Clone)]
pub struct Chaos {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Whether there may be an experiment: what is looked at when nothing is disturbed.
    armed: AtomicBool,
    running: watch::Sender<Vec<Running>>,
    /// When which worker was killed last, by experiment.
    killed: Mutex<BTreeMap<(Key, SmolStr), Instant>>,
    /// Why nobody may begin an experiment here; none where they may.
    refusal: Option<Refusal>,
}

/// An experiment of this process.
#[derive(Debug, Clone)]
struct Running {
    name: Key,
    experiment: Experiment,
    /// It is over then, by the clock that nobody sets.
    deadline: Instant,
}

/// Keeps a [`Chaos`] true.
#[derive(Debug, Clone)]
pub struct ChaosFollower {
    bus: Bus,
    host: SmolStr,
    chaos: Chaos,
    next: u64,
}

impl Chaos {
    fn new(refusal: Option<Refusal>) -> Self {
        let (armed, running) = (AtomicBool::new(false), watch::channel(Vec::new()).0);
        Self { inner: Arc::new(Inner { armed, running, killed: Mutex::default(), refusal }) }
    }
    /// None, for ever, and whoever wants to begin one is told why.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Some(Refusal::new(code::CHAOS_NOT_ALLOWED, message).hint(hint)))
    }
    /// None, for ever.
    pub fn none() -> Self {
        Self::refused("this process takes no part in experiments", "set `chaos` in the configuration")
    }
    /// Why nobody may begin an experiment here; none where they may.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.inner.refusal.as_ref()
    }
    /// Whether anything may be disturbed: where not, nothing else needs to be asked.
    #[inline]
    pub fn is_armed(&self) -> bool {
        self.inner.armed.load(Ordering::Relaxed)
    }
    /// What `look` finds in the experiments that are not over.
    fn find<T>(&self, look: impl FnMut(&Running) -> Option<T>) -> Option<T> {
        if !self.is_armed() {
            return None;
        }
        let now = Instant::now();
        self.inner.running.borrow().iter().filter(|running| running.deadline > now).find_map(look)
    }
    /// So many of a hundred answers are not to be sent; 0 for none.
    pub fn dropped_percent(&self) -> u8 {
        let found = self.find(|running| match &running.experiment {
            Experiment::DropAcks { percent, .. } => Some(*percent),
            _ => None,
        });
        found.unwrap_or_default()
    }
    /// How late answers, or commands, are to be; none when they are in time.
    pub fn delay(&self, what: Delayed) -> Option<Duration> {
        self.find(|running| match &running.experiment {
            Experiment::Delay { by_ms, of, .. } if *of == what => Some(Duration::from_millis(*by_ms)),
            _ => None,
        })
    }
    /// Whether the queue of a partition counts as full.
    pub fn is_full(&self, queue: PartitionId) -> bool {
        let found = self.find(|running| match &running.experiment {
            Experiment::FillInbox { partition, per_second: None } => {
                partition.is_none_or(|partition| partition == queue).then_some(())
            }
            _ => None,
        });
        found.is_some()
    }
    /// How many commands a second are to be put into the queue of a partition; 0 for none.
    pub fn filled_per_second(&self, queue: PartitionId) -> u32 {
        let found = self.find(|running| match &running.experiment {
            Experiment::FillInbox { partition, per_second } => {
                per_second.filter(|_| partition.is_none_or(|partition| partition == queue))
            }
            _ => None,
        });
        found.unwrap_or_default()
    }
    /// Until when this host does nothing; none when it goes on.
    fn paused_until(&self) -> Option<Instant> {
        self.find(|running| {
            matches!(running.experiment, Experiment::PauseHost { .. }).then_some(running.deadline)
        })
    }
    /// Waits while this host is paused; nearly always it is not.
    pub async fn until_awake(&self) {
        while let Some(until) = self.paused_until() {
            let mut running = self.inner.running.subscribe();
            // It may have been stopped in between.
            if self.paused_until().is_none() {
                return;
            }
            tokio::select! {
                _ = running.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
    /// Waits until a worker of this process is to be killed; the experiment that does it.
    pub async fn until_killed(&self, agent: &Key, worker: &SmolStr) -> Key {
        let mut changes = self.inner.running.subscribe();
        loop {
            let next = match self.kill(agent, worker) {
                Ok(experiment) => return experiment,
                Err(next) => next,
            };
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep_until(next) => {}
            }
        }
    }
    /// The experiment that kills this worker now, or when one may.
    fn kill(&self, agent: &Key, worker: &SmolStr) -> Result<Key, Option<Instant>> {
        let (now, mut next) = (Instant::now(), None);
        let mut killed = self.inner.killed.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.find(|running| {
            let Experiment::KillWorker { agent: wanted, every_ms, .. } = &running.experiment else {
                return None;
            };
            if wanted != agent {
                return None;
            }
            let last = killed.get(&(running.name.clone(), worker.clone()));
            match (last, every_ms) {
                (None, _) => Some(running.name.clone()),
                (Some(_), None) => None,
                (Some(last), Some(every)) => {
                    let due = *last + Duration::from_millis(*every);
                    next = Some(next.map_or(due, |next: Instant| next.min(due)));
                    (due <= now).then(|| running.name.clone())
                }
            }
        });
        let Some(name) = found else { return Err(next) };
        killed.insert((name.clone(), worker.clone()), now);
        Ok(name)
    }
    fn begin(&self, name: Key, experiment: Experiment, left: Duration) {
        let deadline = Instant::now() + left;
        tracing::warn!(experiment = %name, for_ms = left.as_millis() as u64, "an experiment begins: it {experiment}");
        // Armed before it is told: who is woken by it must find it.
        self.inner.armed.store(true, Ordering::Relaxed);
        self.inner.running.send_modify(|running| {
            running.retain(|running| running.name != name);
            running.push(Running { name, experiment, deadline });
        });
    }
    /// Takes what is over off, and disarms when nothing is left.
    fn end(&self, is_over: impl Fn(&Running) -> bool) {
        let mut over = Vec::new();
        self.inner.running.send_if_modified(|running| {
            over.extend(running.extract_if(.., |running| is_over(running)).map(|over| over.name));
            self.inner.armed.store(!running.is_empty(), Ordering::Relaxed);
            !over.is_empty()
        });
        for name in &over {
            tracing::warn!(experiment = %name, "an experiment is over");
        }
        // Not while the experiments are held: who kills holds these first.
        let mut killed = self.inner.killed.lock().unwrap_or_else(PoisonError::into_inner);
        killed.retain(|(name, _), _| !over.contains(name));
    }
    fn next_end(&self) -> Option<Instant> {
        self.inner.running.borrow().iter().map(|running| running.deadline).min()
    }
}

impl Bus {
    /// Reads which experiments `host` takes part in. They stay true while the follower
    /// [runs](ChaosFollower::run).
    pub async fn chaos(&self, host: &str) -> Result<(Chaos, ChaosFollower), Error> {
        let chaos = Chaos::new(None);
        let host = SmolStr::new(host);
        let mut follower = ChaosFollower { bus: self.clone(), host, chaos: chaos.clone(), next: 1 };
        let mut events = self.events_until_now(query(self, 1)).await?;
        while let Some(event) = events.try_next().await? {
            follower.take(&event);
        }
        Ok((chaos, follower))
    }
}

fn query(bus: &Bus, from: u64) -> EventQuery {
    EventQuery { subjects: vec![bus.subjects().events(Some(&Kind::from_static("chaos")))], from }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl ChaosFollower {
    /// Follows for as long as it is polled.
    pub async fn run(mut self) -> Infallible {
        loop {
            match self.bus.events(query(&self.bus, self.next)).await {
                Err(error) => tracing::debug!(%error, "following experiments; trying again"),
                Ok(mut events) => loop {
                    let next = tokio::select! {
                        next = events.next() => next,
                        () = sleep_until(self.chaos.next_end()) => {
                            self.end_those_over();
                            continue;
                        }
                    };
                    match next {
                        Some(Ok(event)) => self.take(&event),
                        Some(Err(error)) => {
                            tracing::debug!(%error, "following experiments; trying again");
                            break;
                        }
                        None => break,
                    }
                },
            }
            tokio::time::sleep(PAUSE).await;
            self.end_those_over();
        }
    }

    fn end_those_over(&self) {
        let now = Instant::now();
        self.chaos.end(|running| running.deadline <= now);
    }

    fn take(&mut self, stored: &StoredEvent) {
        self.next = stored.stream_sequence + 1;
        let (name, event) = (&stored.entity.key, &stored.event);
        match upcast::read::<Event>(&event.event_type, event.schema, &event.body) {
            Ok(Event::Started { experiment, at, until, .. }) => {
                let ours = experiment.host().is_none_or(|host| host.as_str() == self.host);
                // What an entity does itself is none of ours.
                let here = ours && !matches!(experiment, Experiment::TripBreaker { .. });
                let left = left(now(), at, until);
                if here && !left.is_zero() {
                    self.chaos.begin(name.clone(), experiment, left);
                }
            }
            Ok(Event::Ended(_)) => self.chaos.end(|running| running.name == *name),
            Err(error) => tracing::error!(%error, "an experiment can not be read by this version"),
        }
    }
}

/// How long an experiment goes on from now: no longer than it was begun for, whatever the clocks of two
/// hosts say, and never longer than any may.
fn left(now: Timestamp, at: Timestamp, until: Timestamp) -> Duration {
    let whole = until.0.saturating_sub(at.0);
    Duration::from_millis(until.0.saturating_sub(now.0).min(whole).min(FOR_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough to be measured.
    const PAUSED: Duration = Duration::from_millis(50);

    fn key(text: &str) -> Key {
        Key::parse(text).expect("a test's key")
    }

    #[test]
    fn an_experiment_is_never_longer_than_it_was_begun_for() {
        let (at, until) = (Timestamp(1_000_000), Timestamp(1_030_000));
        assert_eq!(left(Timestamp(1_010_000), at, until), Duration::from_secs(20));
        assert_eq!(left(Timestamp(1_030_001), at, until), Duration::ZERO, "it is over");
        assert_eq!(left(Timestamp(0), at, until), Duration::from_secs(30), "this clock is late");
        let endless = left(Timestamp(1_000_000), at, Timestamp(u64::MAX));
        assert_eq!(endless, Duration::from_millis(FOR_MS_MAX));
    }

    #[tokio::test]
    async fn a_pause_is_over_when_its_time_is_even_if_nobody_says_so() {
        let chaos = Chaos::new(None);
        chaos.until_awake().await;
        chaos.begin(key("one"), Experiment::PauseHost { host: key("a") }, PAUSED);
        let began = Instant::now();
        chaos.until_awake().await;
        assert!(began.elapsed() >= PAUSED, "{:?}", began.elapsed());
        chaos.end(|running| running.deadline <= Instant::now());
        assert!(!chaos.is_armed());
    }

    #[tokio::test]
    async fn a_worker_is_killed_once_or_again_and_again() {
        let (chaos, agent, worker) = (Chaos::new(None), key("git"), SmolStr::new("a-git"));
        let kill = |every_ms| Experiment::KillWorker { agent: key("git"), host: None, every_ms };
        chaos.begin(key("once"), kill(None), Duration::from_secs(60));
        assert_eq!(chaos.until_killed(&agent, &worker).await, key("once"));
        assert_eq!(chaos.kill(&agent, &worker), Err(None), "it was killed");
        assert_eq!(chaos.kill(&key("docs"), &worker), Err(None), "it is another agent's");
        chaos.begin(key("again"), kill(Some(50)), Duration::from_secs(60));
        assert_eq!(chaos.until_killed(&agent, &worker).await, key("again"));
        let began = Instant::now();
        assert_eq!(chaos.until_killed(&agent, &worker).await, key("again"));
        assert!(began.elapsed() >= PAUSED, "{:?}", began.elapsed());
        chaos.end(|_| true);
        assert!(!chaos.is_armed() && chaos.kill(&agent, &worker) == Err(None));
    }

    #[test]
    fn a_process_that_takes_no_part_says_why() {
        assert_eq!(Chaos::none().refusal().map(|refusal| refusal.code.as_str()), Some("chaos-not-allowed"));
        assert!(Chaos::new(None).refusal().is_none());
    }
}
