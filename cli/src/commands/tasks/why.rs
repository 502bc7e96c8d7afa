//! `orrery tasks why`: what a task and its descendants wait for, since when, and what would unblock them.

use bus_client::now;
use bus_schemas::views::task::WaitsFor;
use bus_schemas::views::waits::Waits;

use super::one_line;
use crate::called;
use crate::commands::lanes::age;
use crate::output::{Show, silent_lines};
use crate::progress::word;

impl Show for Waits {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        self::lines(self, 0, &mut lines);
        lines.join("\n")
    }
}

fn lines(waits: &Waits, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let state = word(waits.state);
    lines.push(format!("{indent}{} ({state}): {}", waits.task, one_line(&waits.sentence())));
    if waits.waits_for == WaitsFor::Nothing {
        return;
    }
    let since = waits.since;
    lines.push(format!("{indent}  since     {}, {} ago", since.to_rfc3339(), age(since, now())));
    lines.extend(waits.until.map(|until| format!("{indent}  until     {}", until.to_rfc3339())));
    lines.push(format!("{indent}  moved by  {}", called::advice(&one_line(&waits.moves))));
    lines.extend(silent_lines(&waits.silent).map(|silent| format!("{indent}  {silent}")));
    waits.children.iter().for_each(|child| self::lines(child, depth + 1, lines));
    if waits.left_out > 0 {
        lines.push(format!("{indent}  and {} more tasks, which were not asked", waits.left_out));
    }
}
