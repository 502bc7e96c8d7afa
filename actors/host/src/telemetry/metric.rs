//! The observer's metrics, with unit and help. All names begin with `orrery_`.

use std::sync::Once;

use metrics::Unit;

/// Whether the connection to NATS is up: 1 or 0.
pub const BUS_CONNECTED: &str = "orrery_bus_connected";
/// Whether the server has the durability that the profile promises: 1 or 0.
pub const BUS_DURABLE: &str = "orrery_bus_durable";
/// This machine's clock minus the server's, by server. Negative when this machine's clock is behind.
pub const CLOCK_OFFSET: &str = "orrery_bus_clock_offset_seconds";
/// Bytes that JetStream may store, by server, where there is a limit.
pub const STORE_MAX: &str = "orrery_store_max_bytes";
/// When the last complete backup began, in seconds since 1970; absent before the first.
pub const LAST_BACKUP: &str = "orrery_backup_last_timestamp_seconds";

/// Partitions without an owner.
pub const UNOWNED: &str = "orrery_lease_unowned_partitions";
/// Hosts that renew their presence.
pub const HOSTS: &str = "orrery_lease_hosts";
/// Partitions whose lease this host holds.
pub const HELD: &str = "orrery_lease_held_partitions";
/// Partitions that this host serves.
pub const SERVED: &str = "orrery_lease_served_partitions";
/// Changes of a partition's owner.
pub const LEASE_CHANGES: &str = "orrery_lease_changes_total";
/// Commands handed over but not applied.
pub const INBOX_STORED: &str = "orrery_inbox_stored_commands";

/// Halts in force, by scope: `all`, `lane`, `agent` or `task`.
pub const HALTS: &str = "orrery_halts_active";
/// The age of the oldest halt, in seconds; 0 when there is none.
pub const HALT_AGE: &str = "orrery_halts_oldest_seconds";
/// Running experiments.
pub const EXPERIMENTS: &str = "orrery_chaos_experiments";
/// The state of a breaker, by dependency: 0 closed, 1 half-open, 2 open.
pub const BREAKER_STATE: &str = "orrery_breaker_state";
/// How long a breaker has not been closed, in seconds, by dependency; 0 when it is closed.
pub const BREAKER_AGE: &str = "orrery_breaker_not_closed_seconds";
/// Waiting attempts, by lane.
pub const LANE_WAITING: &str = "orrery_lane_waiting_attempts";
/// The wait of the oldest of them, in seconds, by lane; 0 when none waits.
pub const LANE_AGE: &str = "orrery_lane_oldest_wait_seconds";
/// Running attempts, by lane.
pub const LANE_RUNNING: &str = "orrery_lane_running_attempts";
/// Whether something holds the lane or a part of it: 1 or 0, by lane.
pub const LANE_HELD: &str = "orrery_lane_held";
/// The active version of settings, by name; 0 for the defaults.
pub const CONFIG_VERSION: &str = "orrery_config_active_version";
/// Live hosts that do not run the active version, by name.
pub const CONFIG_BEHIND: &str = "orrery_config_hosts_behind";

/// When the newest crash report was written, in seconds since 1970; absent when there is none.
pub const CRASH_REPORT: &str = "orrery_host_last_crash_report_timestamp_seconds";

/// Registers the metrics' descriptions, once.
pub(super) fn describe() {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        metrics::describe_gauge!(BUS_CONNECTED, "1 while the connection to NATS stands");
        metrics::describe_gauge!(BUS_DURABLE, "1 while the server keeps what the profile promises");
        metrics::describe_gauge!(CLOCK_OFFSET, Unit::Seconds, "This machine's clock less the server's");
        metrics::describe_gauge!(STORE_MAX, Unit::Bytes, "What JetStream may store");
        metrics::describe_gauge!(LAST_BACKUP, Unit::Seconds, "When the last complete backup began");
        metrics::describe_gauge!(UNOWNED, "Partitions that nobody holds");
        metrics::describe_gauge!(HOSTS, "Hosts that renew their place");
        metrics::describe_gauge!(HELD, "Partitions whose lease this host holds");
        metrics::describe_gauge!(SERVED, "Partitions that this host serves");
        metrics::describe_counter!(LEASE_CHANGES, "Partitions seen with another holder than before");
        metrics::describe_gauge!(INBOX_STORED, "Commands that are handed over and not applied");
        metrics::describe_gauge!(HALTS, "Halts that stand, by what they are about");
        metrics::describe_gauge!(HALT_AGE, Unit::Seconds, "For how long the oldest halt stands");
        metrics::describe_gauge!(EXPERIMENTS, "Experiments that go on");
        metrics::describe_gauge!(BREAKER_STATE, "0 closed, 1 half-open, 2 open");
        metrics::describe_gauge!(BREAKER_AGE, Unit::Seconds, "For how long the breaker is not closed");
        metrics::describe_gauge!(LANE_WAITING, "Attempts that wait");
        metrics::describe_gauge!(LANE_AGE, Unit::Seconds, "For how long the oldest attempt waits");
        metrics::describe_gauge!(LANE_RUNNING, "Attempts that run");
        metrics::describe_gauge!(
            LANE_HELD,
            "1 while a hold covers the lane or a part of it, or a throttle still bounds its release"
        );
        metrics::describe_gauge!(CONFIG_VERSION, "The version of settings that holds");
        metrics::describe_gauge!(CONFIG_BEHIND, "Living hosts that do not run that version");
        metrics::describe_gauge!(CRASH_REPORT, Unit::Seconds, "When the newest crash report was written");
    });
}
