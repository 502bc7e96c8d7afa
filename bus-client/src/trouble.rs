//! Log throttling for retries: an error is logged once, then with a count and growing pauses, and once more
//! when it is over.
//!
//! Every retry loop has one: a full store or a missing server makes hundreds of attempts fail per second, and
//! as many log lines would hide the cause.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// The pause between the first two log lines; it doubles up to [`SAID_PAUSE_MAX`].
const SAID_PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest pause between two log lines: a reader of the log sees within it what fails.
const SAID_PAUSE_MAX: Duration = Duration::from_secs(300);
/// A single failure that is over within this time is not logged as over.
const BRIEF: Duration = Duration::from_secs(1);

/// The state of a retry: what fails, how often, and when it is tried and logged next.
#[derive(Debug)]
pub struct Trouble {
    doing: String,
    /// The first and the longest pause between two attempts.
    pauses: (Duration, Duration),
    pause: Duration,
    failures: u64,
    since: Option<Instant>,
    said_next: Option<Instant>,
    said_pause: Duration,
}

impl Trouble {
    /// No failure yet. `doing` names the attempt; pauses between attempts grow from `pause_min` to
    /// `pause_max`.
    pub fn new(doing: impl Into<String>, pause_min: Duration, pause_max: Duration) -> Self {
        let (pauses, doing) = ((pause_min, pause_max), doing.into());
        let (since, said_next) = (None, None);
        Self { doing, pauses, pause: pause_min, failures: 0, since, said_next, said_pause: SAID_PAUSE_MIN }
    }

    /// Notes a failed attempt and logs it if it is time to. Returns the pause before the next attempt.
    pub fn failed(&mut self, reason: &dyn Display) -> Duration {
        let now = Instant::now();
        self.failures += 1;
        let since = *self.since.get_or_insert(now);
        if self.said_next.is_none_or(|next| now >= next) {
            let (failures, doing) = (self.failures, &self.doing);
            let seconds = now.duration_since(since).as_secs();
            tracing::warn!(failures, seconds, %reason, "{doing} does not work; trying again");
            // A failure soon after a success does not start a new series of log lines.
            self.said_next = Some(now + self.said_pause);
            self.said_pause = (self.said_pause * 2).min(SAID_PAUSE_MAX);
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(self.pauses.1);
        pause
    }

    /// Like [`Trouble::failed`], and waits until the next attempt.
    pub async fn wait(&mut self, reason: &(dyn Display + Sync)) {
        tokio::time::sleep(self.failed(reason)).await;
    }

    /// Notes a success.
    pub fn over(&mut self) {
        let Some(since) = self.since.take() else { return };
        let (lasted, failures, doing) = (since.elapsed(), self.failures, &self.doing);
        if lasted > BRIEF {
            tracing::info!(failures, seconds = lasted.as_secs(), "{doing} works again");
        }
        if lasted > self.said_pause {
            self.said_pause = SAID_PAUSE_MIN;
        }
        (self.pause, self.failures) = (self.pauses.0, 0);
        if self.said_next.is_some_and(|next| Instant::now() >= next) {
            (self.said_next, self.said_pause) = (None, SAID_PAUSE_MIN);
        }
    }

    /// How long it has been failing; `None` if it is not.
    pub fn lasts(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(trouble: &Trouble) -> Option<Instant> {
        trouble.said_next
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_failures_is_a_handful_of_lines() {
        let mut trouble = Trouble::new("writing", Duration::from_millis(50), Duration::from_secs(1));
        let (mut lines, mut last, began) = (0, None, Instant::now());
        let mut attempts = 0;
        while began.elapsed() < Duration::from_secs(60) {
            trouble.wait(&"the store is full").await;
            attempts += 1;
            if said(&trouble) != last {
                (lines, last) = (lines + 1, said(&trouble));
            }
        }
        assert!(attempts < 80, "the pause grows: {attempts}");
        assert!((2..=5).contains(&lines), "{lines}");
        trouble.over();
        assert_eq!(trouble.lasts(), None);
        assert_eq!(trouble.failed(&"again"), Duration::from_millis(50), "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_and_goes_is_not_said_each_time() {
        let mut trouble = Trouble::new("asking", Duration::from_millis(50), Duration::from_secs(1));
        let (mut lines, mut last) = (0, None);
        for _ in 0..100 {
            trouble.wait(&"no answer").await;
            trouble.over();
            if said(&trouble) != last {
                (lines, last) = (lines + 1, said(&trouble));
            }
        }
        assert!(lines <= 2, "{lines}");
    }
}
