//! An owner that is frozen past its lease and wakes up again.

use std::time::Duration;

use bus_client::Profile;
use system_tests::{Server, touch_all, until_held};
use tokio::time::Instant;

use crate::check::whole;
use crate::process::Process;

/// Entities: some in every partition.
const KEYS: u64 = 16;
/// Longer than six renewals of a lease: each would show another takeover.
const SIX_RENEWALS: Duration = Duration::from_secs(7);

/// Goal: a zombie writes nothing and the system goes on. Method: SIGSTOP the only host, let another
/// take everything over, SIGCONT the first, and look at who wrote what.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_writes_nothing_when_it_wakes() {
    let server = Server::start(Profile::Durable).await;
    let first = Process::start(&server, "first", false).await;
    let bus = server.bus().await;
    touch_all(&bus, KEYS, 1).await;
    first.signal("STOP").await;
    let _second = Process::start(&server, "second", false).await;
    until_held(&bus, "second", 8).await;
    touch_all(&bus, KEYS, 2).await;
    first.signal("CONT").await;
    // It comes back by a takeover, and then both answer, each for what it rightly owns.
    until_held(&bus, "first", 4).await;
    touch_all(&bus, KEYS, 3).await;
    let logged = whole(&bus).await;
    logged.assert_fenced();
    assert!(logged.handed_on() >= 12, "eight partitions moved, and four came back");
}

/// Goal: an owner whose leases ran out while nobody else was there takes its partitions over once
/// and keeps them. Method: SIGSTOP the only host until no lease is left, SIGCONT it, and ask for
/// some renewals' time; each partition may have been taken over once more, and no oftener.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_that_nobody_replaced_settles() {
    let server = Server::start(Profile::Durable).await;
    let only = Process::start(&server, "only", false).await;
    let bus = server.bus().await;
    touch_all(&bus, KEYS, 1).await;
    only.signal("STOP").await;
    until_held(&bus, "only", 0).await;
    only.signal("CONT").await;
    until_held(&bus, "only", 8).await;
    let (mut round, since) = (1, Instant::now());
    while since.elapsed() < SIX_RENEWALS {
        round += 1;
        touch_all(&bus, KEYS, round).await;
    }
    let logged = whole(&bus).await;
    let often: Vec<_> = logged.written.iter().filter(|written| written.epoch > 2).collect();
    assert!(often.is_empty(), "taken over again and again: {:?}; {}", often.last(), only.log());
}
