//! The healer's metrics: names, units, help.

use std::sync::Once;

/// Acts of the healer, by action.
pub const ACTS: &str = "orrery_healer_acts_total";
/// Acts that wait to be recorded.
pub const NOTES_WAITING: &str = "orrery_healer_notes_waiting";
/// Acts that were dropped because too many waited.
pub const NOTES_LOST: &str = "orrery_healer_notes_lost_total";
/// Quarantined entities.
pub const QUARANTINED: &str = "orrery_healer_quarantined_entities";
/// Openings of breakers, by cause.
pub const BREAKER_TRIPS: &str = "orrery_breaker_trips_total";
/// Bytes free on the disk of the data directory.
pub const DISK_FREE: &str = "orrery_host_disk_free_bytes";
/// Bytes of the process's resident memory.
pub const MEMORY: &str = "orrery_host_resident_memory_bytes";
/// Bytes stored by JetStream, by server.
pub const STORE_USED: &str = "orrery_store_used_bytes";

/// Registers the metrics' descriptions, once.
pub fn describe() {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        metrics::describe_counter!(ACTS, "What the healer did, by action");
        metrics::describe_gauge!(NOTES_WAITING, "Acts that wait to be noted");
        metrics::describe_counter!(NOTES_LOST, "Acts that could not be kept");
        metrics::describe_gauge!(QUARANTINED, "Entities that take no commands");
        metrics::describe_counter!(BREAKER_TRIPS, "How often a breaker opened");
        metrics::describe_gauge!(DISK_FREE, metrics::Unit::Bytes, "Free on the disk of the data directory");
        metrics::describe_gauge!(MEMORY, metrics::Unit::Bytes, "Memory that the process holds");
        metrics::describe_gauge!(STORE_USED, metrics::Unit::Bytes, "Stored by JetStream");
        let rejected = actors_worker::breaker::REJECTED;
        metrics::describe_counter!(rejected, "Calls refused because a breaker is open");
    });
}
