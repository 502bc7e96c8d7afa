//! The sweeper's metrics: names and help.

use std::sync::Once;

/// Tasks that have not ended, in the whole system.
pub const OPEN: &str = "orrery_sweeper_open_tasks";
/// Tasks of this host that wait for nothing, and that a sweep did not help.
pub const STUCK: &str = "orrery_sweeper_stuck_tasks";
/// Tasks that waited for nothing and were swept.
pub const SWEPT: &str = "orrery_sweeper_swept_total";
/// Swept tasks that went on.
pub const MENDED: &str = "orrery_sweeper_mended_total";
/// Swept tasks that did not go on.
pub const REPORTED: &str = "orrery_sweeper_reported_total";

/// Registers the metrics' descriptions, once.
pub fn describe() {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        metrics::describe_gauge!(OPEN, "Tasks that have not ended, in the whole system");
        metrics::describe_gauge!(STUCK, "Tasks that wait for nobody, and that sweeping did not help");
        metrics::describe_counter!(SWEPT, "Tasks that waited for nobody and were swept");
        metrics::describe_counter!(MENDED, "Swept tasks that went on");
        metrics::describe_counter!(REPORTED, "Swept tasks that did not go on");
    });
}
