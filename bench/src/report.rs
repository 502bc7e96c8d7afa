//! The report of a benchmark: one JSON object with a line for each number of callers or each case.

use schemars::JsonSchema;
use serde::Serialize;

/// The outcome of one benchmark.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Report {
    /// The benchmark.
    pub bench: &'static str,
    /// The server's durability profile.
    pub profile: &'static str,
    /// The server's `sync_interval`.
    pub fsync: &'static str,
    /// The version of the NATS server.
    pub server_version: String,
    /// Processors that the process may use.
    pub cores: usize,
    /// The figures, a line each.
    pub results: Vec<Figures>,
    /// The unit that `per_s` counts.
    pub unit: &'static str,
    /// The machine's load averages when the run began and when it ended, as in `/proc/loadavg`.
    pub load: [String; 2],
    /// What a reader must know beside the figures.
    pub notes: Vec<&'static str>,
}

/// One line of figures. A figure that does not apply is `null`.
///
/// Times are in microseconds. Each figure is the median of its slices; ratios are Orrery's figure
/// divided by the bare loop's.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Figures {
    /// Callers that ask at the same time.
    pub callers: Option<usize>,
    /// Operations per second.
    pub per_s: Option<f64>,
    /// The median duration, in microseconds.
    pub p50_us: Option<f64>,
    /// The 99th percentile of durations, in microseconds.
    pub p99_us: Option<f64>,
    /// The bare loop's `per_s`.
    pub baseline_per_s: Option<f64>,
    /// The bare loop's median duration, in microseconds.
    pub baseline_p50_us: Option<f64>,
    /// `per_s` divided by `baseline_per_s`: 1 is as fast as the bare loop.
    pub ratio_per_s: Option<f64>,
    /// `p50_us` divided by `baseline_p50_us`: 1 is as fast as the bare loop.
    pub ratio_p50: Option<f64>,
    /// The case, when a benchmark has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<&'static str>,
    /// Repetitions: slices, rounds or takeovers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// The longest duration, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_us: Option<f64>,
    /// The most by which a tree exceeded its budget, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_tokens: Option<u64>,
    /// Bytes that are stored for each call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_call: Option<f64>,
    /// Entities that were touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<u64>,
    /// Resident memory of the host, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Growth of the host's memory since the line before, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_bytes: Option<i64>,
    /// Growth of the host's memory per entity since the measurement without entities, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_entity: Option<f64>,
    /// Resident memory of the NATS server, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_rss_bytes: Option<u64>,
}

impl Figures {
    /// Fills in the ratios.
    #[must_use]
    pub(crate) fn with_ratios(mut self) -> Self {
        let ratio = |ours: Option<f64>, bare: Option<f64>| match (ours, bare) {
            (Some(ours), Some(bare)) if bare > 0.0 => Some(round(ours / bare, 3)),
            _ => None,
        };
        self.ratio_per_s = ratio(self.per_s, self.baseline_per_s);
        self.ratio_p50 = ratio(self.p50_us, self.baseline_p50_us);
        self
    }
}

/// Rounds to `digits` after the decimal point: more would claim a precision that no slice has.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

/// The median; of an even number of figures the mean of the two in the middle.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = figures.get(middle).copied()?;
    let lower = if figures.len().is_multiple_of(2) { figures[middle - 1] } else { upper };
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn what_does_not_apply_is_null_and_extras_are_left_out() {
        let line =
            Figures { per_s: Some(3.0), baseline_per_s: Some(4.0), ..Figures::default() }.with_ratios();
        let json = serde_json::to_value(line).unwrap();
        assert_eq!(json["ratio_per_s"], 0.75);
        assert!(json["callers"].is_null() && json["ratio_p50"].is_null());
        assert!(json.get("entities").is_none());
    }
}
