//! Figures that are polled: the connection, leases, the server, backups, crash reports.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use bus_client::{Error, now, server};
use bus_schemas::{PartitionId, Timestamp};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{LOOK, Observer, metric};
use crate::panics;

/// Rounds between two queries of the server: each costs it some dozens of requests.
const LOOKS_A_QUESTION: u32 = 3;

/// Measures without end, and publishes which hosts are live.
pub(super) async fn run(observer: &Observer, hosts: watch::Sender<Vec<String>>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut holders = None;
    for look in (0..LOOKS_A_QUESTION).cycle() {
        ticks.tick().await;
        metrics::gauge!(metric::BUS_CONNECTED).set(truth(observer.bus.is_connected()));
        crash_reports(&observer.data_dir).await;
        if !observer.is_host {
            continue;
        }
        metrics::gauge!(metric::SERVED).set(*observer.serving.borrow() as f64);
        leases(observer, &mut holders, &hosts).await;
        if look == 0 {
            ask(observer).await;
        }
    }
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// The owners of the partitions. While the bus does not answer the last figures remain, and
/// [`metric::BUS_CONNECTED`] shows that.
async fn leases(
    observer: &Observer,
    holders: &mut Option<BTreeMap<PartitionId, String>>,
    hosts: &watch::Sender<Vec<String>>,
) {
    let Ok(leases) = observer.bus.leases().await else { return };
    let total = usize::from(observer.bus.topology().partitions);
    let held = leases.holders.values().filter(|holder| **holder == observer.host).count();
    metrics::gauge!(metric::HOSTS).set(leases.hosts.len() as f64);
    metrics::gauge!(metric::HELD).set(held as f64);
    metrics::gauge!(metric::UNOWNED).set(total.saturating_sub(leases.holders.len()) as f64);
    let found: BTreeMap<PartitionId, String> = leases.holders.into_iter().collect();
    let mut known = holders.take().unwrap_or_default();
    metrics::counter!(metric::LEASE_CHANGES).increment(changes(&known, &found));
    known.extend(found);
    *holders = Some(known);
    hosts.send_replace(leases.hosts);
}

/// The number of partitions whose owner changed. A partition that has no owner for a moment counts once it
/// has another one.
fn changes(before: &BTreeMap<PartitionId, String>, after: &BTreeMap<PartitionId, String>) -> u64 {
    let changed = |(partition, holder): &(&PartitionId, &String)| {
        before.get(*partition).is_some_and(|former| former != *holder)
    };
    after.iter().filter(changed).count() as u64
}

/// Figures that only the server knows.
async fn ask(observer: &Observer) {
    let (bus, nats) = (&observer.bus, &observer.nats);
    if let Ok(waiting) = bus.inbox_waiting().await {
        metrics::gauge!(metric::INBOX_STORED).set(waiting as f64);
    }
    if let Ok(Some(at)) = bus.last_backup().await {
        metrics::gauge!(metric::LAST_BACKUP).set(at.0 as f64 / 1_000.0);
    }
    match server::check(bus, nats).await {
        Ok(()) => metrics::gauge!(metric::BUS_DURABLE).set(1.0),
        Err(Error::LazySync { .. } | Error::TooOld { .. } | Error::NoJetStream { .. }) => {
            metrics::gauge!(metric::BUS_DURABLE).set(0.0);
        }
        // A failed check brings no news.
        Err(error) => tracing::debug!(%error, "the server is not checked"),
    }
    let asked = now();
    let Ok(servers) = server::storage(nats).await else { return };
    let answered = now();
    for server in servers {
        if let Some(limit) = server.bytes_max {
            metrics::gauge!(metric::STORE_MAX, "server" => server.monitor.clone()).set(limit as f64);
        }
        if let Some(clock) = server.clock {
            let offset = offset_seconds(asked, answered, clock);
            metrics::gauge!(metric::CLOCK_OFFSET, "server" => server.monitor).set(offset);
        }
    }
}

/// The least offset between our clock and one that was read between two moments of ours: a time between the
/// two is no offset.
fn offset_seconds(asked: Timestamp, answered: Timestamp, clock: Timestamp) -> f64 {
    let (asked, answered, clock) = (asked.0 as f64, answered.0 as f64, clock.0 as f64);
    let offset_ms = if clock < asked { asked - clock } else { (answered - clock).min(0.0) };
    offset_ms / 1_000.0
}

/// When the newest crash report was written, also by a process that has ended.
async fn crash_reports(data_dir: &Path) {
    let Ok(mut reports) = tokio::fs::read_dir(data_dir.join(panics::DIRECTORY)).await else { return };
    let mut newest = None;
    while let Ok(Some(report)) = reports.next_entry().await {
        let written = report.metadata().await.and_then(|metadata| metadata.modified());
        newest = newest.max(written.ok());
    }
    if let Some(since) = newest.and_then(|newest| newest.duration_since(UNIX_EPOCH).ok()) {
        metrics::gauge!(metric::CRASH_REPORT).set(since.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_changes_its_holder_when_somebody_else_has_it() {
        let map = |holders: &[(u16, &str)]| -> BTreeMap<PartitionId, String> {
            holders.iter().map(|(partition, host)| (PartitionId(*partition), (*host).to_owned())).collect()
        };
        let before = map(&[(0, "a"), (1, "a"), (2, "b")]);
        assert_eq!(changes(&BTreeMap::new(), &before), 0, "the first look");
        assert_eq!(changes(&before, &before), 0);
        assert_eq!(changes(&before, &map(&[(0, "a"), (1, "b")])), 1);
        assert_eq!(changes(&before, &map(&[(0, "b"), (1, "b"), (2, "a"), (3, "a")])), 3);
    }

    #[test]
    fn a_clock_is_off_by_what_the_way_does_not_explain() {
        let offset =
            |asked, answered, clock| offset_seconds(Timestamp(asked), Timestamp(answered), Timestamp(clock));
        assert!(offset(1_000, 1_400, 1_200).abs() < 1e-9);
        assert!((offset(10_000, 10_400, 7_000) - 3.0).abs() < 1e-9, "ours is ahead");
        assert!((offset(10_000, 10_400, 12_400) + 2.0).abs() < 1e-9, "ours is behind");
    }
}
