//! `kill -9` of hosts and of the server in random order under load, with a checker outside that
//! knows every acknowledged command.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_client::{Bus, Profile};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::{CommandId, Reply};
use system_tests::{PATIENCE, Server, accepted, command, eventually, touch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::check::{logs, whole};
use crate::process::Process;

/// Callers that ask, and callers that hand over.
const CALLERS: u64 = 12;
/// Entities: more than partitions, few enough that commands of one meet.
const KEYS: u64 = 48;

/// SplitMix64 (Steele, Lea, Flood 2014): the order of the kills comes from one printed seed.
struct Random(AtomicU64);

impl Random {
    fn below(&self, bound: u64) -> u64 {
        let mut mixed =
            self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Sends commands until the end, and notes those that were acknowledged.
async fn call(
    bus: Bus,
    random: Arc<Random>,
    acknowledged: Arc<Mutex<HashSet<CommandId>>>,
    end: CancellationToken,
) {
    while !end.is_cancelled() {
        let note = format!("{}", random.below(u64::MAX));
        let ask = command(&format!("p{}", random.below(KEYS)), &Probe::Touch { note });
        let known = match random.below(4) {
            0 => bus.hand_over(&ask).await.is_ok(),
            _ => matches!(bus.ask(&ask, PATIENCE).await, Ok(Reply::Accepted { .. })),
        };
        if known {
            acknowledged.lock().expect("nobody panics with it").insert(ask.id);
        }
        if random.below(8) == 0 {
            // A caller that did not hear the answer asks again; whatever comes, it must not count twice.
            let _ = bus.ask(&ask, PATIENCE).await;
        }
    }
}

/// Goal: nothing acknowledged is lost and nothing is applied twice. Method: random kills for
/// `ORRERY_CRASH_SECONDS` (20 when not given), order from `ORRERY_CRASH_SEED`, under load; then
/// every acknowledged command is looked for in the logs.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_done_twice() {
    let seed = setting("ORRERY_CRASH_SEED", 7);
    let seconds = setting("ORRERY_CRASH_SECONDS", 20);
    println!("ORRERY_CRASH_SEED={seed} ORRERY_CRASH_SECONDS={seconds}");
    let random = Arc::new(Random(AtomicU64::new(seed)));
    let mut server = Server::start(Profile::Durable).await;
    let mut hosts =
        vec![Process::start(&server, "a", false).await, Process::start(&server, "b", false).await];
    let acknowledged = Arc::new(Mutex::new(HashSet::new()));
    let end = CancellationToken::new();
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let bus = server.bus().await;
        let caller = call(bus, Arc::clone(&random), Arc::clone(&acknowledged), end.clone());
        callers.push(tokio::spawn(caller));
    }
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut kills = [0_u32; 3];
    while Instant::now() < deadline {
        // The pause is the fault's rhythm, not a wait for something.
        tokio::time::sleep(Duration::from_millis(200 + random.below(1_500))).await;
        let victim = usize::try_from(random.below(3)).expect("below three");
        kills[victim] += 1;
        match hosts.get_mut(victim) {
            Some(host) => host.restart().await,
            None => server.crash().await,
        }
        for host in &mut hosts {
            // A host whose server keeps dying gives up in the end, and whoever runs it starts it again.
            if host.has_ended() {
                host.restart().await;
            }
        }
    }
    end.cancel();
    for host in &mut hosts {
        host.restart().await;
    }
    for caller in callers {
        caller.await.expect("a caller does not panic");
    }
    let bus = server.bus().await;
    for key in 0..KEYS {
        accepted(&bus, &touch(&format!("p{key}"))).await;
    }
    let acknowledged = acknowledged.lock().expect("nobody panics with it").clone();
    eventually("every command that was handed over", || async {
        // Each look makes a consumer for each log, and a server has a bound on them.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let applied = logs(&bus).await.applied;
        acknowledged.iter().all(|id| applied.contains_key(id)).then_some(())
    })
    .await;
    let logged = whole(&bus).await;
    println!(
        "{} acknowledged, {} applied, kills of a, b, server: {kills:?}",
        acknowledged.len(),
        logged.applied.len()
    );
    assert!(acknowledged.len() > 100, "there was load: {}", acknowledged.len());
}
