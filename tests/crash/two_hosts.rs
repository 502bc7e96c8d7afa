//! Partitions move between hosts while callers go on: a host joins, leaves in good order, and dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bus_client::streams::LEASE_TTL;
use bus_client::{Bus, Profile};
use bus_schemas::Revision;
use system_tests::{Server, accepted, eventually, touch, touch_all, until_held};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::check::whole;
use crate::process::Process;

/// Callers with an entity each: about three in every partition.
const CALLERS: usize = 24;

/// Callers that touch one entity each, one touch after the other.
struct Callers {
    tasks: Vec<JoinHandle<u64>>,
    end: CancellationToken,
    /// Touches that were answered, of all callers.
    answered: Arc<AtomicU64>,
}

impl Callers {
    async fn start(server: &Server) -> Self {
        let (end, answered) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let mut tasks = Vec::new();
        for index in 0..CALLERS {
            let (bus, end, answered) = (server.bus().await, end.clone(), Arc::clone(&answered));
            tasks.push(tokio::spawn(async move {
                let mut touched = 0;
                while !end.is_cancelled() {
                    touched += 1;
                    // Nobody else touches it: a touch that was lost or done twice would show.
                    assert_eq!(accepted(&bus, &touch(&format!("p{index}"))).await, Revision(touched));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                touched
            }));
        }
        Self { tasks, end, answered }
    }

    /// Waits until every caller may have been answered some times since now.
    async fn go_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("the callers to go on", || async {
            (self.answered.load(Ordering::Relaxed) >= before + 10 * CALLERS as u64).then_some(())
        })
        .await;
    }

    /// Ends them; how often each entity was touched.
    async fn end(self) -> Vec<u64> {
        self.end.cancel();
        let mut touched = Vec::new();
        for task in self.tasks {
            touched.push(task.await.expect("every touch was answered once"));
        }
        touched
    }
}

async fn until_shared(bus: &Bus, wanted: &[(&str, usize)]) {
    eventually(&format!("the share {wanted:?}"), || async {
        let leases = bus.leases().await.ok()?;
        let share = |host: &str| leases.holders.values().filter(|holder| *holder == host).count();
        wanted.iter().all(|(host, count)| share(host) == *count).then_some(())
    })
    .await;
}

/// Goal: partitions balance, move and are taken over, and no caller notices. Method: callers that
/// count along while a host joins, drains at SIGTERM, joins again, and the other is killed.
#[tokio::test(flavor = "multi_thread")]
async fn callers_go_on_while_partitions_move() {
    let server = Server::start(Profile::Fast).await;
    let mut first = Process::start(&server, "first", false).await;
    let bus = server.bus().await;
    let callers = Callers::start(&server).await;
    let mut second = Process::start(&server, "second", false).await;
    until_shared(&bus, &[("first", 4), ("second", 4)]).await;
    callers.go_on().await;
    first.signal("TERM").await;
    assert!(first.ended().await.success(), "it ends in good order: {}", first.log());
    assert!(first.log().contains("partition drained"), "it drained: {}", first.log());
    until_shared(&bus, &[("first", 0), ("second", 8)]).await;
    callers.go_on().await;
    first.restart().await;
    until_shared(&bus, &[("first", 4), ("second", 4)]).await;
    callers.go_on().await;
    second.kill().await;
    until_shared(&bus, &[("first", 8), ("second", 0)]).await;
    callers.go_on().await;
    let touched = callers.end().await;
    let logged = whole(&bus).await;
    logged.assert_fenced();
    for (index, touched) in touched.into_iter().enumerate() {
        assert_eq!(logged.events[&format!("probe/p{index}")].len() as u64, touched);
    }
}

/// Entities: some in every partition.
const KEYS: u64 = 16;
/// Kills of hosts, and restarts of the server.
const ROUNDS: u64 = 5;

/// Goal: a host that is killed is replaced before its leases run out. Method: two hosts, of which one is
/// killed again and again; every partition answers in less time than any lease has left.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_is_replaced_before_its_leases_run_out() {
    let server = Server::start(Profile::Fast).await;
    let first = Process::start(&server, "first", false).await;
    let mut second = Process::start(&server, "second", false).await;
    let bus = server.bus().await;
    for round in 0..ROUNDS {
        until_shared(&bus, &[("first", 4), ("second", 4)]).await;
        touch_all(&bus, KEYS, 2 * round + 1).await;
        second.kill().await;
        let killed = Instant::now();
        touch_all(&bus, KEYS, 2 * round + 2).await;
        // Leases are renewed each second: the oldest has three left.
        let (took, left) = (killed.elapsed(), LEASE_TTL * 3 / 4);
        assert!(took < left, "round {round} took {took:?}, and leases had {left:?} left: {}", first.log());
        until_held(&bus, "first", 8).await;
        second.restart().await;
    }
    whole(&bus).await.assert_fenced();
}

/// Goal: nobody takes a host for gone that only has to connect again. Method: two hosts, and a server that is
/// killed again and again; each host has its partitions after it, under the same epochs.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_moves_no_partition() {
    let mut server = Server::start(Profile::Durable).await;
    let first = Process::start(&server, "first", false).await;
    let second = Process::start(&server, "second", false).await;
    let bus = server.bus().await;
    until_shared(&bus, &[("first", 4), ("second", 4)]).await;
    touch_all(&bus, KEYS, 1).await;
    let before = whole(&bus).await.handed_on();
    for round in 0..ROUNDS {
        server.crash().await;
        touch_all(&server.bus().await, KEYS, round + 2).await;
    }
    let bus = server.bus().await;
    until_shared(&bus, &[("first", 4), ("second", 4)]).await;
    let after = whole(&bus).await.handed_on();
    assert_eq!(after, before, "partitions moved: {} {}", first.log(), second.log());
}
