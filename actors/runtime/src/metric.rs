//! The runtime's metrics: names, units, help texts. All names begin with `orrery_`.

use bus_schemas::{Kind, PartitionId};

/// Commands decided, by partition.
pub const TURNS: &str = "orrery_decide_turns_total";
/// Turns in a commit record.
pub const GROUP: &str = "orrery_journal_group_turns";
/// Seconds from sending a record to knowing that it is committed.
pub const COMMIT_SECONDS: &str = "orrery_journal_commit_seconds";
/// Commands that wait.
pub const QUEUE: &str = "orrery_inbox_queue_items";
/// Entities in memory.
pub const CACHED: &str = "orrery_fold_cached_entities";
/// Records that are committed and not fanned out.
pub const FANOUT_LAG: &str = "orrery_fanout_lag_records";
/// Mail without a receipt.
pub const OUTBOX: &str = "orrery_fanout_outbox_items";
/// Timers that are set.
pub const TIMERS: &str = "orrery_inbox_timers";
/// Decisions that panicked, by kind.
pub const POISONED: &str = "orrery_decide_poisoned_total";
/// Whether this process serves a partition: 1, or 0 once it no longer does.
pub const SERVING: &str = "orrery_lease_serving";
/// Partitions that this host took over.
pub const TAKEOVERS: &str = "orrery_lease_takeovers_total";
/// Failures of supervised workers.
pub const FAILURES: &str = "orrery_supervision_failures_total";

/// Registers the help texts. Call once, after the recorder is installed.
pub fn describe() {
    metrics::describe_gauge!(SERVING, "1 where this process serves the partition");
    metrics::describe_counter!(TURNS, "Commands decided");
    metrics::describe_histogram!(GROUP, "Turns in a commit record");
    metrics::describe_histogram!(COMMIT_SECONDS, metrics::Unit::Seconds, "Time of a commit");
    metrics::describe_gauge!(QUEUE, "Commands that wait");
    metrics::describe_gauge!(CACHED, "Entities in memory");
    metrics::describe_gauge!(FANOUT_LAG, "Records committed and not fanned out");
    metrics::describe_gauge!(OUTBOX, "Mail without receipt");
    metrics::describe_gauge!(TIMERS, "Timers set");
    metrics::describe_counter!(POISONED, "Decisions that panicked");
    metrics::describe_counter!(TAKEOVERS, "Partitions taken over");
    metrics::describe_counter!(FAILURES, "Supervised workers that failed");
}

/// Counts a decision that panicked.
pub fn poisoned(kind: &Kind) {
    metrics::counter!(POISONED, "kind" => kind.to_string()).increment(1);
}

/// The metric handles of one partition, looked up once. While they live, the partition counts as served here;
/// when they are dropped its gauges go to 0, because another host reports them from then on.
pub struct PartitionMetrics {
    /// [`SERVING`]
    serving: metrics::Gauge,
    /// [`TURNS`]
    pub turns: metrics::Counter,
    /// [`GROUP`]
    pub group: metrics::Histogram,
    /// [`COMMIT_SECONDS`]
    pub commit_seconds: metrics::Histogram,
    /// [`QUEUE`]
    pub queue: metrics::Gauge,
    /// [`CACHED`]
    pub cached: metrics::Gauge,
    /// [`FANOUT_LAG`]
    pub fanout_lag: metrics::Gauge,
    /// [`OUTBOX`]
    pub outbox: metrics::Gauge,
    /// [`TIMERS`]
    pub timers: metrics::Gauge,
}

impl PartitionMetrics {
    /// The handles of a partition.
    pub fn new(partition: PartitionId) -> Self {
        let label = || partition.to_string();
        let serving = metrics::gauge!(SERVING, "partition" => label());
        serving.set(1.0);
        Self {
            serving,
            turns: metrics::counter!(TURNS, "partition" => label()),
            group: metrics::histogram!(GROUP, "partition" => label()),
            commit_seconds: metrics::histogram!(COMMIT_SECONDS, "partition" => label()),
            queue: metrics::gauge!(QUEUE, "partition" => label()),
            cached: metrics::gauge!(CACHED, "partition" => label()),
            fanout_lag: metrics::gauge!(FANOUT_LAG, "partition" => label()),
            outbox: metrics::gauge!(OUTBOX, "partition" => label()),
            timers: metrics::gauge!(TIMERS, "partition" => label()),
        }
    }
}

impl Drop for PartitionMetrics {
    fn drop(&mut self) {
        let Self { serving, queue, cached, fanout_lag, outbox, timers, .. } = self;
        for gauge in [serving, queue, cached, fanout_lag, outbox, timers] {
            gauge.set(0.0);
        }
    }
}
