//! The view that blocking work on its own thread has of its attempt.

use bus_schemas::jobs::Progress;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Reports the progress of blocking work, and says whether its result is still wanted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watch {
    told: watch::Sender<Option<Progress>>,
    stop: CancellationToken,
}

impl Watch {
    pub(super) fn new(told: watch::Sender<Option<Progress>>, stop: CancellationToken) -> Self {
        Self { told, stop }
    }

    /// Reports progress; between two ticks of the attempt only the latest report is kept.
    pub fn progress(&self, done: u64, total: Option<u64>, note: &str) {
        self.told.send_replace(Some(Progress { done, total, note: note.to_owned() }));
    }

    /// Whether the attempt was canceled, or nothing waits for the result any more.
    pub fn is_canceled(&self) -> bool {
        self.stop.is_cancelled()
    }
}
