//! Waiting for the servers: calls that fail because no server answers, or because a cluster has no leader
//! yet, are repeated.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::Bus;
use crate::config::{NatsConfig, Profile};
use crate::error::Error;
use crate::trouble::Trouble;

/// The first pause between two attempts.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause: callers go on soon after the servers do.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Repeats a call until it succeeds, fails for a lasting reason, or `patience` is over (`None`: no limit).
/// Logs what it waits for once, and then with growing pauses.
pub async fn patiently<T, F: Future<Output = Result<T, Error>>>(
    doing: &str,
    patience: Option<Duration>,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error> {
    let began = Instant::now();
    let mut trouble = Trouble::new(doing, PAUSE_MIN, PAUSE_MAX);
    loop {
        match attempt().await {
            Err(error)
                if error.is_temporary() && patience.is_none_or(|patience| began.elapsed() < patience) =>
            {
                trouble.wait(&error).await;
            }
            result => {
                trouble.over();
                return result;
            }
        }
    }
}

impl Bus {
    /// Like [`Bus::connect`], but waits for servers that do not listen yet, have no leader yet, or are fewer
    /// than the profile needs: for `patience`, or without limit.
    pub async fn connect_patiently(config: &NatsConfig, patience: Option<Duration>) -> Result<Self, Error> {
        // The servers of a cluster start one by one; a single server that cannot be checked now cannot be
        // later.
        let awaited = |error| match error {
            error @ Error::Monitor { .. } if config.profile == Profile::Replicated => {
                Error::call("checking the servers", error)
            }
            error => error,
        };
        patiently("using NATS", patience, || async { Self::connect(config).await.map_err(awaited) }).await
    }
}
