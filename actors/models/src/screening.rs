//! Texts of others are looked at before a model reads them: a sign of an instruction is recorded, and changes no right.

use std::sync::LazyLock;

use actors_defence::{Detector, Level};
use actors_worker::{Failure, Work};
use bus_schemas::Hash;
use serde_json::json;

use crate::models::Models;

/// Texts that were looked at, by how they look.
const SCREENED: &str = "orrery_texts_screened_total";

static DETECTOR: LazyLock<Detector> = LazyLock::new(Detector::default);

impl Models {
    /// Without the detector, if the setting turns it off.
    #[must_use]
    pub fn screening(mut self, is_on: bool) -> Self {
        self.is_unscreened = !is_on;
        self
    }

    /// How a text looks. A verdict that is not clean is a step of the task, with this name.
    pub async fn screened(&self, work: &Work, name: &str, text: &str) -> Result<Level, Failure> {
        if self.is_unscreened {
            return Ok(Level::Clean);
        }
        let looked_at = text.to_owned();
        let verdict = work.blocking(move |_| Ok(DETECTOR.screen(&looked_at))).await?;
        metrics::counter!(SCREENED, "level" => verdict.level.name()).increment(1);
        let level = verdict.level;
        if level > Level::Clean {
            let input = json!({"text": Hash::of(text.as_bytes())});
            let _: serde_json::Value = work.step(name, &input, || async { Ok(json!(verdict)) }).await?;
        }
        Ok(level)
    }
}
