//! What a benchmark reports: one JSON object with one line for each number of callers or each case.

use schemars::JsonSchema;
use serde::Serialize;

/// The outcome of one benchmark.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Report {
    /// Which one.
    pub bench: &'static str,
    /// The profile of the server.
    pub profile: &'static str,
    /// The server's `sync_interval`.
    pub fsync: &'static str,
    /// The version of the NATS server.
    pub server_version: String,
    /// Processors that the process may use.
    pub cores: usize,
    /// The figures.
    pub results: Vec<Line>,
    /// What is counted in `per_s`.
    pub unit: &'static str,
    /// The machine's load when the run began and when it ended, as `/proc/loadavg` has it.
    pub load: [String; 2],
    /// What a reader must know beside the figures.
    pub notes: Vec<&'static str>,
}

/// One line of figures. What does not apply is none, which JSON shows as `null`.
///
/// Times are in microseconds. Each figure is the median of its slices; ratios are Orrery's figure
/// divided by the bare loop's.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Line {
    /// How many callers ask at the same time.
    pub callers: Option<usize>,
    /// How many a second.
    pub per_s: Option<f64>,
    /// The median.
    pub p50_us: Option<f64>,
    /// 99 of 100 are not slower.
    pub p99_us: Option<f64>,
    /// The bare loop's `per_s`.
    pub baseline_per_s: Option<f64>,
    /// The bare loop's median.
    pub baseline_p50_us: Option<f64>,
    /// `per_s` of `baseline_per_s`: 1 is as fast as the bare loop.
    pub ratio_per_s: Option<f64>,
    /// `p50_us` of `baseline_p50_us`: 1 is as fast as the bare loop.
    pub ratio_p50: Option<f64>,
    /// Which case, where a benchmark has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<&'static str>,
    /// How many times this was done: slices, rounds or takeovers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// The slowest, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_us: Option<f64>,
    /// The most by which a tree had used more than its budget, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_tokens: Option<u64>,
    /// Entities that were touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<u64>,
    /// Resident memory of the host, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// What the host's memory grew by since the line before, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_bytes: Option<i64>,
    /// The host's growth since no entity was touched, for each entity, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_entity: Option<f64>,
    /// Resident memory of the NATS server, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_rss_bytes: Option<u64>,
}

impl Line {
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

/// Rounds to `digits` behind the point: more would claim a precision that no slice has.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

/// The middle of some figures; of an even number of them the mean of the two in the middle.
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
        let line = Line { per_s: Some(3.0), baseline_per_s: Some(4.0), ..Line::default() }.with_ratios();
        let json = serde_json::to_value(line).unwrap();
        assert_eq!(json["ratio_per_s"], 0.75);
        assert!(json["callers"].is_null() && json["ratio_p50"].is_null());
        assert!(json.get("entities").is_none());
    }
}
