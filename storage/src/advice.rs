//! What the caller tells of a failure: its code, its sort as an exit code, and the next step.

/// What to tell whoever meets an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// A stable code with an entry in `docs/errors/`.
    pub code: &'static str,
    /// The sort of the error.
    pub sort: Sort,
    /// The next step.
    pub hint: &'static str,
}

impl Advice {
    pub(crate) fn new(code: &'static str, sort: Sort, hint: &'static str) -> Self {
        Self { code, sort, hint }
    }
}

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

impl From<&bus_client::Error> for Advice {
    fn from(error: &bus_client::Error) -> Self {
        let sort = match error {
            bus_client::Error::Setting { .. } => Sort::Usage,
            _ => Sort::Unavailable,
        };
        Self::new(error.code(), sort, error.hint())
    }
}
