//! Figures of the machine and of the system: free disk, the server's store, memory, lag.

use std::path::Path;
use std::time::Duration;

use bus_schemas::commands::healer::Action;
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval};

use super::notes::Notes;
use super::threshold::{Bound, Crossing, Thresholds};
use super::{Healer, metric};

/// The interval of measurements. A disk fills over minutes, and each measurement costs a few requests.
const LOOK: Duration = Duration::from_secs(15);
/// Free disk, in bytes, below which a few large artifacts fill it; the doctor warns there too.
const DISK_FREE_MIN: u64 = 1024 * 1024 * 1024;
/// Percent of the server's storage limit.
const STORE_PERCENT_MAX: u64 = 80;
/// Percent of the machine's memory. The rest is for the server and the page cache.
const MEMORY_PERCENT_MAX: u64 = 50;
/// Records whose events are not published yet: seconds of a busy partition.
const FANOUT_LAG_MAX: u64 = 1_000;
/// Commands handed over but not applied: seconds of a busy system.
const INBOX_MAX: u64 = 50_000;

/// A measured figure, in words.
struct Figure<'a> {
    /// Its name among the thresholds and in the log.
    subject: &'a str,
    value: u64,
    bound: Bound,
    unit: &'a str,
}

/// Measures at intervals, without end.
pub(super) async fn run(healer: &Healer, notes: &Notes) {
    let mut thresholds = Thresholds::default();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        disk(&healer.data_dir, &mut thresholds, notes).await;
        memory(&mut thresholds, notes);
        if healer.is_host {
            store(healer, &mut thresholds, notes).await;
            lag(healer, &mut thresholds, notes).await;
        }
    }
}

fn look(figure: &Figure<'_>, thresholds: &mut Thresholds, notes: &Notes) {
    let Figure { subject, value, bound, unit } = figure;
    let Some(crossing) = thresholds.look(subject, *value, *bound) else { return };
    let (limit, should) = match bound {
        Bound::AtLeast(limit) => (limit, "at least"),
        Bound::AtMost(limit) => (limit, "at most"),
    };
    let (action, reason) = match crossing {
        Crossing::Out => (Action::Warn, format!("{value} {unit}, and it should be {should} {limit}")),
        Crossing::Back => (Action::Clear, format!("{value} {unit}, which is well again")),
    };
    notes.act(action, subject, reason, [("value", value.to_string()), ("limit", limit.to_string())]);
}

/// Free space as `df` prints it (POSIX): the standard library has no call for it.
async fn disk(data_dir: &Path, thresholds: &mut Thresholds, notes: &Notes) {
    let output = Command::new("df").arg("-Pk").arg(data_dir).kill_on_drop(true).output().await;
    let Ok(output) = output else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    let free = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3));
    let Some(free_kib) = free.and_then(|free| free.parse::<u64>().ok()) else { return };
    let value = free_kib.saturating_mul(1_024);
    metrics::gauge!(metric::DISK_FREE).set(value as f64);
    let figure = Figure { subject: "disk", value, bound: Bound::AtLeast(DISK_FREE_MIN), unit: "bytes free" };
    look(&figure, thresholds, notes);
}

/// The kernel's figures of this process, where there is a `/proc`.
fn memory(thresholds: &mut Thresholds, notes: &Notes) {
    let kib = |file: &str, field: &str| {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(field))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let (Some(held), Some(all)) = (kib("/proc/self/status", "VmRSS:"), kib("/proc/meminfo", "MemTotal:"))
    else {
        return;
    };
    let value = held.saturating_mul(1_024);
    metrics::gauge!(metric::MEMORY).set(value as f64);
    let bound = Bound::AtMost(all.saturating_mul(1_024) / 100 * MEMORY_PERCENT_MAX);
    look(&Figure { subject: "memory", value, bound, unit: "bytes held" }, thresholds, notes);
}

/// Bytes stored by JetStream, where its monitoring answers and there is a limit.
async fn store(healer: &Healer, thresholds: &mut Thresholds, notes: &Notes) {
    // Monitoring is optional: the doctor reports when it is missing.
    let Ok(servers) = bus_client::server::storage(&healer.nats).await else { return };
    for server in servers {
        metrics::gauge!(metric::STORE_USED, "server" => server.monitor.clone()).set(server.used_bytes as f64);
        let Some(limit) = server.bytes_max else { continue };
        let subject = format!("store {}", server.monitor);
        let bound = Bound::AtMost(limit / 100 * STORE_PERCENT_MAX);
        let figure = Figure { subject: &subject, value: server.used_bytes, bound, unit: "bytes stored" };
        look(&figure, thresholds, notes);
    }
}

/// How far events are behind the logs of our partitions, and what waits in the durable inbox.
async fn lag(healer: &Healer, thresholds: &mut Thresholds, notes: &Notes) {
    let bus = &healer.bus;
    // An unreachable bus is reported elsewhere.
    let Ok(leases) = bus.leases().await else { return };
    for (partition, holder) in leases.holders {
        if holder != healer.host.as_str() {
            continue;
        }
        let log = bus.topology().log(partition);
        let (Ok(log), Ok(mark)) = (bus.state_of(&log).await, bus.mark(partition).await) else { continue };
        let subject = format!("fan-out of partition {partition}");
        let value = log.last_sequence.saturating_sub(mark.upto.0);
        let bound = Bound::AtMost(FANOUT_LAG_MAX);
        look(&Figure { subject: &subject, value, bound, unit: "records behind" }, thresholds, notes);
    }
    let Ok(value) = bus.inbox_waiting().await else { return };
    let bound = Bound::AtMost(INBOX_MAX);
    look(&Figure { subject: "inbox", value, bound, unit: "commands waiting" }, thresholds, notes);
}
