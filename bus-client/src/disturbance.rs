//! Disturbances by experiments: the one adapter around what a host and its workers receive from the bus and
//! send to it.
//!
//! A [disturbed](Bus::disturbed) [`Bus`] drops and delays replies; what its partitions receive is delayed,
//! refused, or crowded out by commands that do nothing. That changes only when and whether messages arrive,
//! never what is decided. The rules and their ends are [set](Disturbances::set) from outside; each ends by
//! this process's monotonic clock. Without rules the cost is one atomic load.
//!
//! Two disturbances are not about messages. A paused host must not decide either, and must find its lease
//! expired when it wakes, before it sends what it decided: so its loops wait for [`Bus::ready`]. A killed
//! worker drops its jobs: so it waits for [`Bus::killed`].

mod heard;

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus_schemas::{Body, Caller, EntityAddress, Key, Kind, PartitionId};
use smol_str::SmolStr;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Bus, ReplyTo};

/// The most reply subjects that are remembered as exempt: more than there are experiments.
const SPARED_MAX: usize = 1_024;

/// A kind of disturbance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disturbance {
    /// Percentage of replies to drop, 1 to 100.
    DropAnswers { percent: u8 },
    /// Delays replies.
    DelayAnswers(Duration),
    /// Delays commands.
    DelayCommands(Duration),
    /// The queue of a partition, or of all, counts as full.
    Full(Option<PartitionId>),
    /// Puts commands into the queue of a partition, or of all, at a rate per second.
    Fill { partition: Option<PartitionId>, per_second: u32 },
    /// Pauses the whole process.
    Pause,
    /// Kills the workers of an agent, once or repeatedly.
    Kill { agent: Key, every: Option<Duration> },
}

/// A disturbance with its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The experiment.
    pub name: Key,
    /// The disturbance.
    pub disturbance: Disturbance,
    /// When it ends, on the monotonic clock.
    pub until: Instant,
}

/// What is exempt from all disturbances but a pause, and what fills queues.
#[derive(Debug, Clone)]
pub struct Spared {
    /// The kind whose commands and replies are exempt, so that an experiment can always be stopped.
    pub kind: Kind,
    /// The caller of commands that fill a queue, as the log names it.
    pub caller: Caller,
    /// An entity of a partition for commands that fill its queue.
    pub filler: fn(PartitionId, u16) -> Option<EntityAddress>,
    /// The command that does nothing.
    pub filling: Body,
}

/// The disturbances of this process. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Disturbances {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    spared: Spared,
    /// Whether there may be a disturbance: the only check while there is none.
    armed: AtomicBool,
    rules: watch::Sender<Vec<Rule>>,
    /// When each worker was last killed, by experiment.
    killed: Mutex<BTreeMap<(Key, SmolStr), Instant>>,
    /// The reply subjects that are exempt.
    spared_answers: Mutex<HashSet<SmolStr>>,
    /// The number of random draws.
    drawn: AtomicU64,
}

/// What happens to a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The reply is sent at once.
    Now,
    /// The reply is sent after a delay.
    After(Duration),
    /// The reply is dropped; the caller asks again.
    Never,
}

impl Disturbances {
    /// No disturbances yet.
    pub fn sparing(spared: Spared) -> Self {
        Self {
            inner: Arc::new(Inner {
                spared,
                armed: AtomicBool::new(false),
                rules: watch::channel(Vec::new()).0,
                killed: Mutex::default(),
                spared_answers: Mutex::default(),
                drawn: AtomicU64::new(0),
            }),
        }
    }
    /// Replaces the rules.
    pub fn set(&self, rules: Vec<Rule>) {
        // Armed before the rules are published: a woken task must find them.
        self.inner.armed.store(!rules.is_empty(), Ordering::Relaxed);
        if rules.is_empty() {
            lock(&self.inner.spared_answers).clear();
        }
        lock(&self.inner.killed).retain(|(name, _), _| rules.iter().any(|rule| rule.name == *name));
        self.inner.rules.send_replace(rules);
    }
    /// Whether there may be a disturbance.
    #[inline]
    fn is_armed(&self) -> bool {
        self.inner.armed.load(Ordering::Relaxed)
    }
    /// The first result of `look` among the rules that have not ended.
    fn find<T>(&self, look: impl FnMut(&Rule) -> Option<T>) -> Option<T> {
        if !self.is_armed() {
            return None;
        }
        let now = Instant::now();
        self.inner.rules.borrow().iter().filter(|rule| rule.until > now).find_map(look)
    }
    /// The delay of commands; `None` without one.
    fn commands_late_by(&self) -> Option<Duration> {
        self.find(|rule| match &rule.disturbance {
            Disturbance::DelayCommands(by) => Some(*by),
            _ => None,
        })
    }
    /// Whether the queue of a partition counts as full.
    fn is_full(&self, queue: PartitionId) -> bool {
        let full = self.find(|rule| match &rule.disturbance {
            Disturbance::Full(partition) => {
                partition.is_none_or(|partition| partition == queue).then_some(())
            }
            _ => None,
        });
        full.is_some()
    }
    /// How many commands per second are put into the queue of a partition; 0 for none.
    fn filled_per_second(&self, queue: PartitionId) -> u32 {
        let rate = self.find(|rule| match &rule.disturbance {
            Disturbance::Fill { partition, per_second } => {
                partition.is_none_or(|partition| partition == queue).then_some(*per_second)
            }
            _ => None,
        });
        rate.unwrap_or_default()
    }
    /// When the pause ends; `None` without one.
    fn paused_until(&self) -> Option<Instant> {
        self.find(|rule| (rule.disturbance == Disturbance::Pause).then_some(rule.until))
    }
    async fn until_awake(&self) {
        while let Some(until) = self.paused_until() {
            let mut rules = self.inner.rules.subscribe();
            // It may have been stopped meanwhile.
            if self.paused_until().is_none() {
                return;
            }
            tokio::select! {
                _ = rules.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
    async fn until_killed(&self, agent: &Key, worker: &SmolStr) -> Key {
        let mut rules = self.inner.rules.subscribe();
        loop {
            let next = match self.kill(agent, worker) {
                Ok(experiment) => return experiment,
                Err(next) => next,
            };
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = rules.changed() => {}
                () = due => {}
            }
        }
    }
    /// The experiment that kills this worker now, or else when one may.
    fn kill(&self, agent: &Key, worker: &SmolStr) -> Result<Key, Option<Instant>> {
        let (now, mut next) = (Instant::now(), None);
        let mut killed = lock(&self.inner.killed);
        let found = self.find(|rule| {
            let Disturbance::Kill { agent: wanted, every } = &rule.disturbance else { return None };
            if wanted != agent {
                return None;
            }
            let last = killed.get(&(rule.name.clone(), worker.clone()));
            match (last, every) {
                (None, _) => Some(rule.name.clone()),
                (Some(_), None) => None,
                (Some(last), Some(every)) => {
                    let due = *last + *every;
                    next = Some(next.map_or(due, |next: Instant| next.min(due)));
                    (due <= now).then(|| rule.name.clone())
                }
            }
        });
        let Some(name) = found else { return Err(next) };
        killed.insert((name.clone(), worker.clone()), now);
        Ok(name)
    }
    /// Exempts the reply to this subject.
    fn spare(&self, reply_to: &ReplyTo) {
        let mut spared = lock(&self.inner.spared_answers);
        if spared.len() < SPARED_MAX {
            spared.insert(SmolStr::new(reply_to.as_str()));
        }
    }
    fn answer(&self, reply_to: &ReplyTo) -> Answer {
        if !self.is_armed() || lock(&self.inner.spared_answers).remove(reply_to.as_str()) {
            return Answer::Now;
        }
        let percent = self.find(|rule| match &rule.disturbance {
            Disturbance::DropAnswers { percent } => Some(*percent),
            _ => None,
        });
        if percent.is_some_and(|percent| self.draw(reply_to) < percent) {
            return Answer::Never;
        }
        let late = self.find(|rule| match &rule.disturbance {
            Disturbance::DelayAnswers(by) => Some(*by),
            _ => None,
        });
        late.map_or(Answer::Now, Answer::After)
    }
    /// A pseudorandom number from 0 to 99.
    fn draw(&self, reply_to: &ReplyTo) -> u8 {
        let mut hasher = DefaultHasher::new();
        (self.inner.drawn.fetch_add(1, Ordering::Relaxed), reply_to.as_str()).hash(&mut hasher);
        (hasher.finish() % 100) as u8
    }
}

impl Bus {
    /// Resolves when this process is not paused: nearly always at once.
    pub async fn ready(&self) {
        if let Some(disturbances) = self.disturbances() {
            disturbances.until_awake().await;
        }
    }
    /// Waits until a worker of this process is to be killed; returns the experiment.
    pub async fn killed(&self, agent: &Key, worker: &SmolStr) -> Key {
        match self.disturbances() {
            Some(disturbances) => disturbances.until_killed(agent, worker).await,
            None => std::future::pending().await,
        }
    }
    /// What happens to a reply.
    pub(crate) fn fate_of_answer(&self, reply_to: &ReplyTo) -> Answer {
        self.disturbances().map_or(Answer::Now, |disturbances| disturbances.answer(reply_to))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough to be measured.
    const PAUSED: Duration = Duration::from_millis(50);

    fn key(text: &str) -> Key {
        Key::parse(text).expect("a test's key")
    }

    fn disturbances() -> Disturbances {
        let filling = Body { content_type: Default::default(), bytes: Default::default() };
        let kind = Kind::from_static("spared");
        Disturbances::sparing(Spared { kind, caller: Caller::UNNAMED, filler: |_, _| None, filling })
    }

    fn rule(name: &str, disturbance: Disturbance, lasts: Duration) -> Rule {
        Rule { name: key(name), disturbance, until: Instant::now() + lasts }
    }

    #[tokio::test]
    async fn a_pause_is_over_when_its_time_is_even_if_nobody_says_so() {
        let disturbances = disturbances();
        disturbances.until_awake().await;
        disturbances.set(vec![rule("one", Disturbance::Pause, PAUSED)]);
        let began = Instant::now();
        disturbances.until_awake().await;
        assert!(began.elapsed() >= PAUSED, "{:?}", began.elapsed());
        disturbances.set(Vec::new());
        assert!(!disturbances.is_armed());
    }

    #[tokio::test]
    async fn a_worker_is_killed_once_or_again_and_again() {
        let (disturbances, agent, worker) = (disturbances(), key("git"), SmolStr::new("a-git"));
        let kill =
            |name, every| rule(name, Disturbance::Kill { agent: key("git"), every }, Duration::from_secs(60));
        let once = kill("once", None);
        disturbances.set(vec![once.clone()]);
        assert_eq!(disturbances.until_killed(&agent, &worker).await, key("once"));
        assert_eq!(disturbances.kill(&agent, &worker), Err(None), "it was killed");
        assert_eq!(disturbances.kill(&key("docs"), &worker), Err(None), "it is another agent's");
        disturbances.set(vec![once, kill("again", Some(PAUSED))]);
        assert_eq!(disturbances.until_killed(&agent, &worker).await, key("again"));
        let began = Instant::now();
        assert_eq!(disturbances.until_killed(&agent, &worker).await, key("again"));
        assert!(began.elapsed() >= PAUSED, "{:?}", began.elapsed());
        disturbances.set(Vec::new());
        assert!(!disturbances.is_armed() && disturbances.kill(&agent, &worker) == Err(None));
    }
}
