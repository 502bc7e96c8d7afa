//! Restarts the gateway's own loops when they panic or end too early.
//!
//! A gateway has no supervision tree: its loops can be restarted at any time, from the beginning, because the
//! read model is its only state.

use std::time::Duration;

use bus_schemas::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metric;

/// The first pause before a loop is restarted.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause: a loop that always fails is tried twice a minute, and its metric shows it.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After a run of this length a failure has a new reason, and the loop is restarted at once.
const HEALTHY: Duration = Duration::from_secs(60);

/// Runs a loop until `stop`, at which the loop must end by itself.
pub async fn keep<F>(name: &'static str, stop: CancellationToken, mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut pause = PAUSE_MIN;
    loop {
        let began = Instant::now();
        let ended = tokio::spawn(begin()).await;
        if stop.is_cancelled() {
            return;
        }
        let reason = ended.map_or_else(|error| chain(&error), |()| "the part ended by itself".to_owned());
        if began.elapsed() > HEALTHY {
            pause = PAUSE_MIN;
        }
        metrics::counter!(metric::LOOP_FAILURES, "supervisor" => "gateway").increment(1);
        tracing::error!(name, reason, ?pause, "a loop of the gateway failed, and is begun anew");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Goal: filters are redriven although the loop that gathers for them panicked. Method: one that
    /// panics, ends too early, and then waits for its end.
    #[tokio::test]
    async fn a_loop_that_panics_or_ends_is_begun_anew_until_it_is_to_stop() {
        let (begun, stop) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
        let (ours, stopped) = (Arc::clone(&begun), stop.clone());
        let kept = keep("a test", stop, move || {
            let (number, stop) = (ours.fetch_add(1, Ordering::SeqCst), stopped.clone());
            async move {
                match number {
                    0 => panic!("this time"),
                    1 => {}
                    _ => {
                        // The third run is all that the test needs.
                        stop.cancel();
                        stop.cancelled().await;
                    }
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(10), kept).await.expect("it ends when it is told to");
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }
}
