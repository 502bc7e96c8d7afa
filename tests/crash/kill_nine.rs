//! `kill -9` of hosts and of the server in random order under load, with a checker outside that
//! knows every acknowledged command.

use std::time::Duration;

use bus_client::Profile;
use system_tests::Server;
use system_tests::load::{Load, Random, kept, setting};
use tokio::time::Instant;

use crate::process::Process;

/// Callers that ask, and callers that hand over.
const CALLERS: usize = 12;

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
/// `ORRERY_CRASH_SECONDS` (120 when not given), order from `ORRERY_CRASH_SEED`, under load; then
/// every acknowledged command is looked for in the logs.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_done_twice() {
    let (seed, seconds) = (setting("ORRERY_CRASH_SEED", 7), setting("ORRERY_CRASH_SECONDS", 120));
    println!("ORRERY_CRASH_SEED={seed} ORRERY_CRASH_SECONDS={seconds}");
    let mut random = Random(seed);
    let mut server = Server::start(Profile::Durable).await;
    let mut hosts = [Process::start(&server, "a", false).await, Process::start(&server, "b", false).await];
    let load = Load::start(&server.config(), CALLERS, &mut random).await;
    let kills = kill_for(seconds, &mut random, &mut server, &mut hosts).await;
    for host in &mut hosts {
        host.restart().await;
    }
    let acknowledged = load.end().await;
    let logged = kept(&server.bus().await, &acknowledged).await;
    println!(
        "{} acknowledged, {} applied, kills of a, b, server: {kills:?}, logs handed on {} times",
        acknowledged.len(),
        logged.applied.len(),
        logged.handed_on()
    );
    assert!(acknowledged.len() > 100, "there was load: {}", acknowledged.len());
}
