//! An owner on three servers that is frozen past its lease and wakes up again.

use system_tests::check::whole;
use system_tests::{touch_all, until_held};

use crate::servers::Cluster;

/// Entities: some in every partition.
const KEYS: u64 = 16;

/// Goal: a zombie writes nothing on replicated streams either, and rejoins. Method: SIGSTOP the only
/// host, let another take everything over, SIGCONT the first, and look at who wrote what.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_owner_writes_nothing_on_three_servers() {
    let cluster = Cluster::start().await;
    let first = cluster.host("first", None).await;
    let bus = cluster.bus().await;
    touch_all(&bus, KEYS, 1).await;
    first.signal("STOP").await;
    let _second = cluster.host("second", None).await;
    until_held(&bus, "second", 8).await;
    touch_all(&bus, KEYS, 2).await;
    let before = first.pid();
    first.signal("CONT").await;
    // It comes back by a takeover, and then both answer, each for what it rightly owns.
    until_held(&bus, "first", 4).await;
    touch_all(&bus, KEYS, 3).await;
    assert_eq!(first.pid(), before, "the process itself rejoined");
    let logged = whole(&bus).await;
    logged.assert_fenced();
    assert!(logged.handed_on() >= 12, "eight partitions moved, and four came back");
}
