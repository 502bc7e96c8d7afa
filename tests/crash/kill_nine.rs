//! `kill -9` of hosts and of the server in random order under load, with a checker outside that
//! knows every acknowledged command.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_client::{Bus, Profile};
use bus_schemas::commands::probe::Command as Probe;
use bus_schemas::{CommandId, Reply};
use system_tests::{PATIENCE, Server, accepted, command, touch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::check::{all_applied, whole};
use crate::process::Process;

/// Callers that ask, and callers that hand over.
const CALLERS: u64 = 12;
/// Entities: more than partitions, few enough that commands of one meet.
const KEYS: u64 = 48;

/// SplitMix64 (Steele, Lea, Flood 2014): the order of the kills comes from one printed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The commands that were acknowledged.
type Acknowledged = Arc<Mutex<HashSet<CommandId>>>;

/// Sends commands until the end, and notes those that were acknowledged.
async fn call(bus: Bus, mut random: Random, acknowledged: Acknowledged, end: CancellationToken) {
    while !end.is_cancelled() {
        let note = format!("{}", random.below(u64::MAX));
        let ask = command(&format!("p{}", random.below(KEYS)), &Probe::Touch { note });
        let mut first = None;
        let known = if random.below(4) == 0 {
            bus.hand_over(&ask).await.is_ok()
        } else {
            first = bus.ask(&ask, PATIENCE).await.ok();
            matches!(first, Some(Reply::Accepted { .. }))
        };
        if known {
            acknowledged.lock().expect("nobody panics with it").insert(ask.id);
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

/// Hits a host or the server with `kill -9`; a host that is hit while it is down comes up again.
/// Returns how often each was killed.
async fn kill_for(seconds: u64, random: &mut Random, server: &mut Server, hosts: &mut [Process]) -> [u32; 3] {
    let (deadline, mut kills) = (Instant::now() + Duration::from_secs(seconds), [0; 3]);
    while Instant::now() < deadline {
        // The pause is the fault's rhythm, not a wait for something.
        tokio::time::sleep(Duration::from_millis(200 + random.below(1_500))).await;
        let victim = usize::try_from(random.below(3)).expect("below three");
        match hosts.get_mut(victim) {
            Some(host) => {
                if !host.is_running() {
                    host.restart().await;
                    continue;
                }
                host.kill().await;
            }
            None => server.crash().await,
        }
        kills[victim] += 1;
    }
    kills
}

/// Goal: nothing acknowledged is lost and nothing is applied twice. Method: random kills for
/// `ORRERY_CRASH_SECONDS` (25 when not given), order from `ORRERY_CRASH_SEED`, under load; then
/// every acknowledged command is looked for in the logs.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_done_twice() {
    let (seed, seconds) = (setting("ORRERY_CRASH_SEED", 7), setting("ORRERY_CRASH_SECONDS", 25));
    println!("ORRERY_CRASH_SEED={seed} ORRERY_CRASH_SECONDS={seconds}");
    let mut random = Random(seed);
    let mut server = Server::start(Profile::Durable).await;
    let mut hosts = [Process::start(&server, "a", false).await, Process::start(&server, "b", false).await];
    let (acknowledged, end) = (Acknowledged::default(), CancellationToken::new());
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let theirs = Random(random.below(u64::MAX));
        let caller = call(server.bus().await, theirs, Arc::clone(&acknowledged), end.clone());
        callers.push(tokio::spawn(caller));
    }
    let kills = kill_for(seconds, &mut random, &mut server, &mut hosts).await;
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
    all_applied(&bus, acknowledged.iter().copied()).await;
    let logged = whole(&bus).await;
    logged.assert_fenced();
    println!(
        "{} acknowledged, {} applied, kills of a, b, server: {kills:?}, logs handed on {} times",
        acknowledged.len(),
        logged.applied.len(),
        logged.handed_on()
    );
    assert!(acknowledged.len() > 100, "there was load: {}", acknowledged.len());
}
