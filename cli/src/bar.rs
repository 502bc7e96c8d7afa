//! The progress bar for work on stored data, drawn on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};
use orrery_storage::{Progress, Unit};

use crate::output::Output;

/// Draws the parts one after the other.
#[derive(Debug)]
pub struct Bar {
    output: Output,
    bar: ProgressBar,
}

impl Bar {
    /// Draws nothing before the first part begins.
    pub fn new(output: Output) -> Self {
        Self { output, bar: ProgressBar::hidden() }
    }
}

impl Progress for Bar {
    fn begin(&self, part: &str, total: u64, unit: Unit) {
        if !self.output.watched() {
            return;
        }
        let template = match unit {
            Unit::Bytes => "{prefix} {wide_bar} {bytes}/{total_bytes}",
            Unit::Records => "{prefix} {wide_bar} {pos}/{len} records",
            Unit::Tasks => "{prefix} {wide_bar} {pos}/{len} tasks",
        };
        self.bar.reset();
        self.bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        self.bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
        self.bar.set_prefix(part.to_owned());
        self.bar.set_length(total);
    }
    fn advance(&self, by: u64) {
        self.bar.inc(by);
    }
    fn reach(&self, done: u64) {
        self.bar.set_position(done);
    }
    fn end(&self) {
        self.bar.finish_and_clear();
    }
    fn say(&self, sentence: &str) {
        self.output.say(sentence);
    }
}
