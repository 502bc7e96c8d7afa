//! The live display of a task tree: one line for each child, with what it does now.
//!
//! On a terminal the lines are redrawn; otherwise each change of state is a line of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bus_client::now;
use bus_schemas::Key;
use bus_schemas::commands::task::Failure;
use bus_schemas::events::task::{Event, WithdrawnBy};
use bus_schemas::jobs::OutputChunk;
use bus_schemas::text::one_line;
use bus_schemas::views::task::TaskState;
use gateway_api::events::Event as Changed;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use schemars::JsonSchema;
use serde::Serialize;

use crate::called;
use crate::commands::tasks::which;
use crate::output::{Output, Show};

/// How often spinners turn.
const TICK: Duration = Duration::from_millis(100);
/// Characters in a line: longer output of an agent would wrap and break the display.
const LINE_CHARS_MAX: usize = 100;

/// One change in a task tree; `run --watch --json` prints these.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Change {
    /// The task's id.
    pub task: String,
    /// The event's type, or `waits` when nothing has happened for a while.
    pub event: String,
    /// A description for people.
    pub detail: String,
    /// The time, RFC 3339.
    pub at: String,
}

impl Show for Change {
    fn text(&self) -> String {
        let detail = one_line(&self.detail);
        format!("{}  {:<24} {:<16} {detail}", self.at, self.task, self.event).trim_end().to_owned()
    }
}

/// Draws a tree.
#[derive(Debug)]
pub struct Progress {
    root: Key,
    output: Output,
    every_change: bool,
    lines: MultiProgress,
    tasks: BTreeMap<Key, TaskBar>,
}

#[derive(Debug)]
struct TaskBar {
    bar: ProgressBar,
    since: Instant,
    agent: String,
}

impl Progress {
    /// A display of the tree below `root`. `every_change` prints each event as a line on stdout.
    pub fn new(root: Key, output: Output, every_change: bool) -> Self {
        let lines = MultiProgress::new();
        if !output.watched() {
            lines.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        Self { root, output, every_change, lines, tasks: BTreeMap::new() }
    }

    /// Applies an event of the tree.
    pub fn event(&mut self, told: &Changed, event: &Event) {
        let key = &told.entity.key;
        let mut detail = detail(event);
        if matches!(event, Event::InputRequired { .. } | Event::BudgetExceeded { .. }) {
            let command = which::answer(key, "ANSWER", told.revision);
            detail = called::advice(&format!("{detail}; answer it with `{command}`"));
        }
        if self.every_change {
            let change = Change {
                task: key.to_string(),
                event: told.r#type.clone(),
                detail: detail.clone(),
                at: told.time.clone(),
            };
            self.lines.suspend(|| self.output.show(&change));
        } else if !self.output.watched() && worth_a_line(event) {
            self.output.say(&format!("{}: {}", self.name(key), one_line(&detail)));
        }
        let name = self.name(key);
        let lines = &self.lines;
        let line = self.tasks.entry(key.clone()).or_insert_with(|| {
            let bar = lines.add(ProgressBar::new_spinner());
            bar.set_style(style());
            bar.set_prefix(name);
            bar.enable_steady_tick(TICK);
            TaskBar { bar, since: Instant::now(), agent: String::new() }
        });
        match event {
            Event::JobIssued { agent, .. } => {
                line.agent = agent.to_string();
                line.since = Instant::now();
            }
            Event::Completed { .. } => {
                let took = line.since.elapsed().as_secs_f32();
                return line.bar.finish_with_message(format!("done in {took:.1} s"));
            }
            Event::Failed { .. } | Event::Canceled { .. } | Event::Rejected { .. } => {
                return line.bar.abandon_with_message(shortened(&detail));
            }
            _ => {}
        }
        if !detail.is_empty() {
            line.bar.set_message(shortened(&detail));
        }
    }

    /// Shows what a task waits for that has stood still for a while.
    pub fn waits(&mut self, key: &Key, sentence: &str) {
        let detail = sentence.to_owned();
        if self.every_change {
            let (task, event) = (key.to_string(), "waits".to_owned());
            let at = now().to_rfc3339();
            let change = Change { task, event, detail: detail.clone(), at };
            self.lines.suspend(|| self.output.show(&change));
        } else if !self.output.watched() {
            self.output.say(&format!("{}: {}", self.name(key), one_line(&detail)));
        }
        if let Some(line) = self.tasks.get(key) {
            line.bar.set_message(shortened(&detail));
        }
    }

    /// Applies a piece of an agent's output.
    pub fn output(&mut self, key: &Key, chunk: &OutputChunk) {
        let Some(line) = self.tasks.get(key).filter(|line| !line.bar.is_finished()) else { return };
        let mut text = match &chunk.progress {
            Some(progress) => match progress.total {
                Some(total) => format!("{}/{total} {}", progress.done, progress.note),
                None => format!("{} {}", progress.done, progress.note),
            },
            None => String::new(),
        };
        if let Some(last) = chunk.text.lines().rev().find(|line| !line.trim().is_empty()) {
            text = format!("{text} {}", last.trim()).trim().to_owned();
        }
        if !text.is_empty() {
            line.bar.set_message(shortened(&format!("{}: {text}", line.agent)));
        }
    }

    /// Leaves the display as it is, and stops the spinners.
    pub fn end(&self) {
        for line in self.tasks.values().filter(|line| !line.bar.is_finished()) {
            line.bar.abandon();
        }
    }

    /// `task` for the root, and the path below the root for descendants.
    fn name(&self, key: &Key) -> String {
        match key.as_str().strip_prefix(self.root.as_str()) {
            Some("") | None => "task".to_owned(),
            Some(path) => path.trim_start_matches('.').to_owned(),
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix:<12} {wide_msg}").expect("the template is a constant")
}

fn shortened(text: &str) -> String {
    one_line(text).chars().take(LINE_CHARS_MAX).collect()
}

/// Whether an event is printed where lines cannot be redrawn.
fn worth_a_line(event: &Event) -> bool {
    matches!(
        event,
        Event::Planned { .. }
            | Event::JobIssued { .. }
            | Event::AttemptFailed { .. }
            | Event::InputRequired { .. }
            | Event::BudgetExceeded { .. }
            | Event::BudgetExtended { .. }
            | Event::Completed { .. }
            | Event::Failed { .. }
            | Event::Canceled { .. }
            | Event::Rejected { .. }
    )
}

/// An event in a few words.
pub fn detail(event: &Event) -> String {
    let why = |failure: &Failure| format!("{}: {}", failure.code, failure.message);
    match event {
        Event::Submitted { submission, .. } => submission.goal.clone(),
        Event::Forked { origin, revision, .. } => format!("forked from {origin} at revision {revision}"),
        Event::Rejected { failure } | Event::Failed { failure, .. } => why(failure),
        Event::AttemptFailed { attempt, failure } => format!("attempt {attempt} failed: {}", why(failure)),
        Event::AttemptWithdrawn { attempt, reason, by } => {
            let what = match by {
                WithdrawnBy::Worker => "was given back",
                WithdrawnBy::Holder | WithdrawnBy::Owner => "was taken back",
            };
            reasoned(&format!("attempt {attempt} {what}"), reason)
        }
        Event::Planned { plan } => format!("{} steps", plan.steps.len()),
        Event::ChildStarted { step, .. } => format!("step {step} may begin"),
        Event::ChildSettled { step, state, .. } => format!("step {step} {}", word(*state)),
        Event::Queued { attempt: 1, .. } => "waits for an agent".to_owned(),
        Event::Queued { attempt, .. } => format!("attempt {attempt} waits for an agent"),
        Event::JobIssued { agent, worker, .. } => format!("{worker} of {agent} works"),
        Event::StepRecorded { step, .. } => format!("step {} is done", step.name),
        Event::EffectRecorded { effect, step, .. } => format!("effect {effect}: {step:?}").to_lowercase(),
        Event::BackoffStarted { attempt, until, .. } => {
            format!("attempt {attempt} follows at {}", until.to_rfc3339())
        }
        Event::InputRequired { prompt: question, .. } | Event::BudgetExceeded { question, .. } => {
            format!("asks: {question}")
        }
        Event::BudgetExtended { by, .. } => format!("budget extended by {by}"),
        Event::PolicySet { .. } => "settings applied".to_owned(),
        Event::BudgetSet { .. } => "has the budget of the settings".to_owned(),
        Event::Reserved { task, .. } => format!("a call of {task} is reserved"),
        Event::Settled { lapsed: false, .. } => "a call is settled".to_owned(),
        Event::Settled { .. } => "a call was not settled in time".to_owned(),
        Event::JobCounted { task, attempt } => format!("job {task}/{attempt} counted"),
        Event::Answered { by, .. } => format!("answered by {by}"),
        Event::CancelRequested { reason, .. } => reasoned("is to stop", reason),
        Event::Completed { artifacts, .. } => format!("completed with {} artifacts", artifacts.len()),
        Event::Canceled { reason, .. } => reasoned("canceled", reason),
        Event::Retried { by, .. } => format!("tried again by {by}"),
        Event::Followed { change } => format!("carries out change {change}"),
    }
}

/// What happened, with the reason where one was given.
pub fn reasoned(what: &str, reason: &str) -> String {
    if reason.is_empty() { what.to_owned() } else { format!("{what}: {reason}") }
}

/// A state's serialized name.
pub fn word(state: TaskState) -> &'static str {
    state.into()
}
