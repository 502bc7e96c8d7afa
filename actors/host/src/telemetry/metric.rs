//! The names of what the observer measures, with unit and help. All names begin with `orrery_`.

use std::sync::Once;

use metrics::Unit;

/// Whether the connection to NATS stands: 1 or 0.
pub const BUS_CONNECTED: &str = "orrery_bus_connected";
/// Whether the server keeps what the profile promises: 1 or 0.
pub const BUS_DURABLE: &str = "orrery_bus_durable";
/// This machine's clock less the server's, by server. Below zero where ours is behind.
pub const CLOCK_OFFSET: &str = "orrery_bus_clock_offset_seconds";
/// Bytes that JetStream may store, by server, where there is a limit.
pub const STORE_MAX: &str = "orrery_store_max_bytes";
/// When the last complete backup began, in seconds since 1970; absent before the first.
pub const LAST_BACKUP: &str = "orrery_backup_last_timestamp_seconds";

/// Partitions that nobody holds.
pub const UNOWNED: &str = "orrery_lease_unowned_partitions";
/// Hosts that renew their place.
pub const HOSTS: &str = "orrery_lease_hosts";
/// Partitions whose lease this host holds.
pub const HELD: &str = "orrery_lease_held_partitions";
/// Partitions that this host serves.
pub const SERVED: &str = "orrery_lease_served_partitions";
/// How often a partition was seen with another holder than before.
pub const LEASE_CHANGES: &str = "orrery_lease_changes_total";
/// Commands that are handed over and not applied.
pub const INBOX_STORED: &str = "orrery_inbox_stored_commands";

/// Halts that stand, by what they are about: `all`, `lane`, `agent` or `task`.
pub const HALTS: &str = "orrery_halts_standing";
/// For how long the oldest of them stands, in seconds; 0 where none does.
pub const HALT_AGE: &str = "orrery_halts_oldest_seconds";
/// Experiments that go on.
pub const EXPERIMENTS: &str = "orrery_chaos_experiments";
/// How a breaker stands, by dependency: 0 closed, 1 half-open, 2 open.
pub const BREAKER_STATE: &str = "orrery_breaker_state";
/// For how long a breaker is not closed, in seconds, by dependency; 0 where it is closed.
pub const BREAKER_AGE: &str = "orrery_breaker_not_closed_seconds";
/// Attempts that wait, by lane.
pub const LANE_WAITING: &str = "orrery_lane_waiting_attempts";
/// For how long the oldest of them waits, in seconds, by lane; 0 where none waits.
pub const LANE_AGE: &str = "orrery_lane_oldest_wait_seconds";
/// Attempts that run, by lane.
pub const LANE_RUNNING: &str = "orrery_lane_running_attempts";
/// Whether something holds the lane or a part of it: 1 or 0, by lane.
pub const LANE_HELD: &str = "orrery_lane_held";
/// The version of settings that holds, by name; 0 for the defaults.
pub const CONFIG_VERSION: &str = "orrery_config_active_version";
/// Living hosts that do not run that version, by name.
pub const CONFIG_BEHIND: &str = "orrery_config_hosts_behind";

/// When the newest crash report was written, in seconds since 1970; absent where there is none.
pub const CRASH_REPORT: &str = "orrery_host_last_crash_report_timestamp_seconds";

/// Says what the metrics mean, once.
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
            "1 while something holds the lane or a part of it, or bounds how it comes back"
        );
        metrics::describe_gauge!(CONFIG_VERSION, "The version of settings that holds");
        metrics::describe_gauge!(CONFIG_BEHIND, "Living hosts that do not run that version");
        metrics::describe_gauge!(CRASH_REPORT, Unit::Seconds, "When the newest crash report was written");
    });
}
