//! `orrery bench sandbox`: how fast programs begin and end in containers, beside what is promised.

use actors_host::Config;
use actors_sandbox::{Kind, measure};
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::sandbox::{connect, failed, folder};
use crate::failure::Failure;
use crate::output::{Output, Show, table};

/// What was measured.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The image.
    pub image: String,
    /// Runs of each case.
    pub samples: usize,
    /// The figures.
    pub figures: Vec<Figure>,
    /// Whether every promise is kept.
    pub kept: bool,
}

/// A figure beside its promise.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Figure {
    /// `cold`: from the call to the first output in a new container; `warm`: in a container that waited; `dead`: from a
    /// cancellation until nothing runs.
    pub case: &'static str,
    /// Milliseconds: half of the samples are not above.
    pub p50_ms: u64,
    /// Milliseconds: 95 of 100 samples are not above.
    pub p95_ms: u64,
    /// The most that `p50_ms` may be; absent without a promise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms_max: Option<u64>,
    /// The most that `p95_ms` may be; absent without a promise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_ms_max: Option<u64>,
}

impl Figure {
    fn of(
        case: &'static str,
        figure: measure::Figure,
        p50_ms_max: Option<u64>,
        p95_ms_max: Option<u64>,
    ) -> Self {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { case, p50_ms: ms(figure.p50), p95_ms: ms(figure.p95), p50_ms_max, p95_ms_max }
    }

    fn is_kept(&self) -> bool {
        let within = |found: u64, most: Option<u64>| most.is_none_or(|most| found <= most);
        within(self.p50_ms, self.p50_ms_max) && within(self.p95_ms, self.p95_ms_max)
    }
}

impl Show for Report {
    fn text(&self) -> String {
        let most = |most: Option<u64>| most.map(|most| most.to_string()).unwrap_or_default();
        let row = |one: &Figure| {
            let [p50, p95] = [one.p50_ms, one.p95_ms].map(|found| found.to_string());
            let kept = if one.is_kept() { "yes" } else { "no" };
            vec![one.case.to_owned(), p50, most(one.p50_ms_max), p95, most(one.p95_ms_max), kept.to_owned()]
        };
        let rows: Vec<Vec<String>> = self.figures.iter().map(row).collect();
        let heading = ["CASE", "P50_MS", "AT MOST", "P95_MS", "AT MOST", "KEPT"];
        format!(
            "sandbox: image {}, {} runs of each case\n{}",
            self.image,
            self.samples,
            table(&heading, &rows)
        )
    }
}

/// Measures one run after the other, and fails where a promise is not kept.
pub(super) async fn run(config: &Config, samples: usize, output: Output) -> Result<(), Failure> {
    let sandbox = connect(config, &folder(config), Kind::Python, 1).await?;
    let measured = measure::measure(&sandbox, Kind::Python, samples).await;
    sandbox.close().await;
    let measured = measured.map_err(|error| failed(&error))?;
    let figures = vec![
        Figure::of("cold", measured.cold, Some(500), Some(900)),
        Figure::of("warm", measured.warm, Some(150), None),
        Figure::of("dead", measured.kill, None, Some(500)),
    ];
    let kept = figures.iter().all(Figure::is_kept);
    output.show(&Report { image: Kind::Python.name().to_owned(), samples, figures, kept });
    if kept {
        return Ok(());
    }
    Err(Failure::new("bench-missed", "the sandbox is slower than promised")
        .next("measure again on a machine that does nothing else"))
}
