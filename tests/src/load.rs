//! Callers under load that know what was acknowledged to them: unique notes, repeated ids, durable
//! hand-overs; and the random numbers of one printed seed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bus_client::{Bus, NatsConfig};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::{CommandId, Reply};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::check::{Logged, all_applied, whole};
use crate::{PATIENCE, accepted, command, eventually, touch};

/// Entities: more than partitions, few enough that commands of one meet.
pub const KEYS: u64 = 48;

/// SplitMix64 (Steele, Lea, Flood 2014): everything random comes from one printed seed.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// The numbers below `bound` in some order.
    pub fn order(&mut self, bound: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..bound).collect();
        for last in (1..bound).rev() {
            order.swap(last, self.below(last as u64 + 1) as usize);
        }
        order
    }
}

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What all callers share.
#[derive(Debug, Default)]
struct Shared {
    acknowledged: Mutex<HashSet<CommandId>>,
    /// Counts the times at which a test asked whether the callers go on.
    round: AtomicU64,
    /// For each partition, the last round in which a command was sent that was acknowledged.
    partitions: Vec<AtomicU64>,
    /// The same for each caller.
    callers: Vec<AtomicU64>,
}

/// Callers that send commands until they are ended.
pub struct Load {
    shared: Arc<Shared>,
    end: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts so many callers, each with a connection of its own.
    pub async fn start(nats: &NatsConfig, callers: usize, random: &mut Random) -> Self {
        let counters = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        let partitions = counters(usize::from(nats.partitions.get()));
        let shared = Arc::new(Shared { partitions, callers: counters(callers), ..Shared::default() });
        let (end, mut tasks) = (CancellationToken::new(), Vec::new());
        for index in 0..callers {
            let bus = Bus::connect_only(nats).await.expect("a server answers");
            let theirs = Random(random.below(u64::MAX));
            tasks.push(tokio::spawn(call(bus, index, theirs, Arc::clone(&shared), end.clone())));
        }
        Self { shared, end, tasks }
    }

    /// Waits until every partition has acknowledged a command that was sent after now.
    pub async fn go_on(&self, what: &str) {
        self.reached(what, "partitions", &self.shared.partitions).await;
    }

    /// Waits until every caller was acknowledged a command that it sent after now.
    pub async fn all_go_on(&self, what: &str) {
        self.reached(what, "callers", &self.shared.callers).await;
    }

    async fn reached(&self, what: &str, whose: &str, counters: &[AtomicU64]) {
        let round = self.shared.round.fetch_add(1, Ordering::SeqCst) + 1;
        eventually(&format!("{what}: commands of all {whose} being acknowledged"), || async {
            counters.iter().all(|seen| seen.load(Ordering::SeqCst) >= round).then_some(())
        })
        .await;
    }

    /// Ends the callers; the commands that were acknowledged.
    pub async fn end(self) -> HashSet<CommandId> {
        self.end.cancel();
        for task in self.tasks {
            task.await.expect("a caller does not panic");
        }
        self.shared.acknowledged.lock().expect("nobody panics with it").clone()
    }
}

/// Asserts that everything that was acknowledged is in the logs once, and that the logs and the event
/// stream are whole; what the logs say.
pub async fn kept(bus: &Bus, acknowledged: &HashSet<CommandId>) -> Logged {
    // An answer of every entity: nobody is stuck.
    for key in 0..KEYS {
        accepted(bus, &touch(&format!("p{key}"))).await;
    }
    all_applied(bus, acknowledged.iter().copied()).await;
    let logged = whole(bus).await;
    logged.assert_fenced();
    logged
}

/// Sends commands until the end, and notes those that were acknowledged.
async fn call(bus: Bus, index: usize, mut random: Random, shared: Arc<Shared>, end: CancellationToken) {
    while !end.is_cancelled() {
        let note = format!("{}", random.below(u64::MAX));
        let ask = command(&format!("p{}", random.below(KEYS)), &Probe::Touch { note });
        let (round, mut first) = (shared.round.load(Ordering::SeqCst), None);
        let is_handed_over = random.below(4) == 0;
        let known = if is_handed_over {
            bus.hand_over(&ask).await.is_ok()
        } else {
            first = bus.ask(&ask, PATIENCE).await.ok();
            matches!(first, Some(Reply::Accepted { .. }))
        };
        if known {
            shared.acknowledged.lock().expect("nobody panics with it").insert(ask.id);
            shared.callers[index].fetch_max(round, Ordering::SeqCst);
        }
        if known && !is_handed_over {
            let partition = ask.to.partition(bus.topology().partitions);
            shared.partitions[usize::from(partition.0)].fetch_max(round, Ordering::SeqCst);
        }
        if random.below(8) == 0 {
            // A caller that did not hear the answer asks again, and must hear the same.
            let second = bus.ask(&ask, PATIENCE).await.ok();
            if let (Some(first), Some(second)) = (first, second) {
                assert_eq!(format!("{first:?}"), format!("{second:?}"), "the first answer stands");
            }
        }
    }
}
