//! Slices: a point is measured in several short slices, Orrery and the bare loop in turns, so that other load
//! on the machine affects both.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::bench::Options;
use crate::callers::{Outcome, Times, closed_loop};
use crate::error::Error;
use crate::report::{Figures, median, round};

/// Slices of each point and side. Odd, so that the median is one of them.
const SLICES: u32 = 5;
/// The fraction of a slice's time that callers run before it, so that connections, caches and processor
/// clocks settle.
const WARM_UP_SHARE: u32 = 4;
/// Significant digits of a time: a slice has no greater precision.
const DIGITS: u8 = 3;

/// The slices of a point: their number, and the warm-up and the length of each.
pub(crate) fn plan(seconds: u64) -> (u32, Times) {
    let slice = Duration::from_secs(seconds) / SLICES;
    (SLICES, Times { warm_up: slice / WARM_UP_SHARE, duration: slice })
}

/// One side of a comparison.
pub(crate) struct Side<A, S> {
    /// A call.
    pub act: A,
    /// Waits until all that was asked for is done.
    pub settle: S,
}

impl<A, F, S> Side<A, S>
where
    A: Fn(u64) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), Error>> + Send,
    S: AsyncFn() -> Result<(), Error>,
{
    async fn slice(&self, callers: usize, times: Times, numbers: &Arc<AtomicU64>) -> Result<Slice, Error> {
        let outcome = closed_loop(callers, times, numbers, self.act.clone()).await?;
        (self.settle)().await?;
        Slice::ended_now(&outcome)
    }
}

/// Measures both sides in turns with each number of callers.
pub(crate) async fn in_turns<A, F, S, B, G, T>(
    name: &str,
    options: &Options,
    callers: &[usize],
    ours: Side<A, S>,
    bare: Side<B, T>,
) -> Result<Vec<Figures>, Error>
where
    A: Fn(u64) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), Error>> + Send,
    S: AsyncFn() -> Result<(), Error>,
    B: Fn(u64) -> G + Clone + Send + 'static,
    G: Future<Output = Result<(), Error>> + Send,
    T: AsyncFn() -> Result<(), Error>,
{
    let numbers = Arc::new(AtomicU64::new(0));
    let mut results = Vec::new();
    for callers in options.callers_or(callers) {
        let (count, times) = plan(options.seconds);
        let (mut orrery, mut baseline) = (Vec::new(), Vec::new());
        for _ in 0..count {
            orrery.push(ours.slice(callers, times, &numbers).await?);
            baseline.push(bare.slice(callers, times, &numbers).await?);
        }
        let line = line(callers, &orrery, &baseline);
        options.say(&format!(
            "{name}, {callers} callers: {:.0}/s, p50 {:.0} µs; bare {:.0}/s, p50 {:.0} µs",
            line.per_s.unwrap_or_default(),
            line.p50_us.unwrap_or_default(),
            line.baseline_per_s.unwrap_or_default(),
            line.baseline_p50_us.unwrap_or_default(),
        ));
        results.push(line);
    }
    Ok(results)
}

/// The figures of one slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    pub per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Slice {
    /// The figures of some callers, if all that they asked for is done by now: work left over would not be
    /// counted.
    pub fn ended_now(outcome: &Outcome) -> Result<Self, Error> {
        let seconds = outcome.began.elapsed().as_secs_f64();
        Self::of(&outcome.latencies, seconds)
    }

    /// The figures of calls that took `seconds` in all.
    pub fn of(latencies: &[u64], seconds: f64) -> Result<Self, Error> {
        let histogram = histogram(latencies)?;
        Ok(Self {
            per_s: latencies.len() as f64 / seconds,
            p50_us: histogram.value_at_quantile(0.5) as f64,
            p99_us: histogram.value_at_quantile(0.99) as f64,
        })
    }
}

/// A histogram of times.
fn histogram(times: &[u64]) -> Result<Histogram<u64>, Error> {
    if times.is_empty() {
        return Err(Error::answer("counting calls", "a slice ended without one; choose more seconds"));
    }
    let failed = |error: &dyn std::fmt::Display| Error::answer("counting calls", error);
    let mut histogram = Histogram::<u64>::new(DIGITS).map_err(|error| failed(&error))?;
    for time in times {
        histogram.record(*time).map_err(|error| failed(&error))?;
    }
    Ok(histogram)
}

/// The line of some slices, with the bare loop's where there are some.
pub(crate) fn line(callers: usize, ours: &[Slice], bare: &[Slice]) -> Figures {
    let of = |slices: &[Slice], figure: fn(&Slice) -> f64| {
        median(slices.iter().map(figure).collect()).map(|value| round(value, 1))
    };
    let line = Figures {
        callers: Some(callers),
        per_s: of(ours, |slice| slice.per_s),
        p50_us: of(ours, |slice| slice.p50_us),
        p99_us: of(ours, |slice| slice.p99_us),
        baseline_per_s: of(bare, |slice| slice.per_s),
        baseline_p50_us: of(bare, |slice| slice.p50_us),
        samples: Some(ours.len()),
        ..Figures::default()
    };
    line.with_ratios()
}

/// The line of single times, such as those of takeovers.
pub(crate) fn line_of_times(times: &[u64]) -> Result<Figures, Error> {
    let histogram = histogram(times)?;
    Ok(Figures {
        p50_us: Some(histogram.value_at_quantile(0.5) as f64),
        p99_us: Some(histogram.value_at_quantile(0.99) as f64),
        max_us: Some(histogram.max() as f64),
        samples: Some(times.len()),
        ..Figures::default()
    })
}

/// The rate per second since `started`.
pub(crate) fn rate(count: u64, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_medians_and_their_ratios() {
        let slice = |per_s| Slice { per_s, p50_us: 1_000_000.0 / per_s, p99_us: 1.0 };
        let line = line(4, &[slice(100.0), slice(500.0), slice(200.0)], &[slice(400.0)]);
        assert_eq!((line.per_s, line.ratio_per_s), (Some(200.0), Some(0.5)));
        assert_eq!((line.p50_us, line.ratio_p50), (Some(5_000.0), Some(2.0)));
    }

    #[test]
    fn a_slice_without_a_call_is_an_error() {
        assert!(Slice::of(&[], 1.0).is_err());
    }
}
