//! The sort of a failure, which the caller reports as an exit code.

/// What a failure means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The operation ran, and the result is negative.
    No,
    /// The request is invalid.
    Usage,
    /// Stored data is invalid.
    Data,
    /// Not found.
    NotFound,
    /// Servers do not answer, or another process is in the way.
    Unavailable,
    /// A file cannot be written.
    Unwritable,
    /// The operation was interrupted.
    Interrupted,
}

impl From<&bus_client::Error> for Sort {
    fn from(error: &bus_client::Error) -> Self {
        match error {
            bus_client::Error::Setting { .. } => Self::Usage,
            _ => Self::Unavailable,
        }
    }
}
