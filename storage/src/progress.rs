//! The progress of an operation, for whoever waits.

/// The unit of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of files.
    Bytes,
    /// Commit records.
    Records,
    /// Tasks.
    Tasks,
}

/// Receives the progress of an operation, one part after the other.
pub trait Progress: Sync {
    /// A part begins, with a total.
    fn begin(&self, part: &str, total: u64, unit: Unit);
    /// More of the part is done.
    fn advance(&self, by: u64);
    /// The amount done in all, which decreases where work is repeated.
    fn reach(&self, done: u64);
    /// The part is done.
    fn end(&self);
    /// Work begins that takes a while and cannot be counted.
    fn say(&self, sentence: &str);
}
