//! `orrery task show`: a task with everything below it, and what it waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use bus_schemas::views::task::{Task, WaitsFor};
use bus_schemas::{Key, Revision};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Page, budget, one_line, why};
use crate::called;
use crate::failure::{Failure, exit};
use crate::gateway::{query, read, until_shown, view};
use crate::output::Show;
use crate::progress::{now, word};
use crate::session::Session;

/// How long the tasks may take to say what they wait for.
const WHY_PATIENCE: Duration = Duration::from_secs(5);

/// A task with everything below it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tree {
    /// The task.
    pub task: Task,
    /// What it waits for, as a sentence for people; none when it has ended, and where no host answers.
    pub waits_for: Option<String>,
    /// From its submission to its last change, or until now when it has not ended, in seconds.
    pub seconds: f64,
    /// Its children with theirs, in the order in which they were started.
    pub children: Vec<Tree>,
}

impl Show for Tree {
    fn text(&self) -> String {
        let task = &self.task;
        let mut lines = vec![format!("task {}", task.id), format!("  goal      {}", one_line(&task.goal))];
        lines.push(format!("  state     {} after {:.1} s", word(task.state), self.seconds));
        let owner = one_line(&task.owner);
        lines.push(format!("  owner     {owner}, priority {}, lane {}", task.priority, task.lane));
        lines.push(format!("  submitted {}", task.submitted_at.to_rfc3339()));
        lines.push(format!("  updated   {} (revision {})", task.updated_at.to_rfc3339(), task.revision));
        lines.extend(task.deadline.iter().map(|deadline| format!("  deadline  {}", deadline.to_rfc3339())));
        if task.attempt > 0 {
            let agent = task.agent.as_ref().map(|agent| format!(" by {agent}")).unwrap_or_default();
            lines.push(format!("  attempt   {}{agent}", task.attempt));
        }
        lines.extend(task.budget.iter().flat_map(budget::lines).map(|line| format!("  budget    {line}")));
        lines.extend(self.waits_for.iter().map(|waits_for| format!("  waits     {}", one_line(waits_for))));
        if let Some(question) = &task.question {
            let number = task.question_id.unwrap_or_default();
            lines.push(format!("  question  {number}: {}", one_line(question)));
            let command = format!("  answer it with `orrery task answer {} ANSWER`", task.id);
            lines.push(called::advice(&command));
        }
        if let Some(failure) = &task.failure {
            lines.push(format!("  failure   {}: {}", one_line(&failure.code), one_line(&failure.message)));
            lines.extend(failure.hint.iter().map(|hint| format!("  next      {}", one_line(hint))));
        }
        if !task.result.is_null() {
            lines.push(format!("  result    {}", task.result));
        }
        for artifact in &task.artifacts {
            lines.push(format!("  artifact  {} ({} bytes)", one_line(&artifact.name), artifact.bytes));
        }
        self.children.iter().for_each(|child| child.line(1, &mut lines));
        lines.join("\n")
    }
}

impl Tree {
    fn line(&self, depth: usize, lines: &mut Vec<String>) {
        let (task, seconds, indent) = (&self.task, self.seconds, depth * 2);
        let (step, state) = (step(&task.id), word(task.state));
        let more = match (&self.waits_for, &task.failure, &task.agent) {
            (Some(waits_for), ..) => one_line(waits_for),
            (None, Some(failure), _) => {
                format!("{}: {}", one_line(&failure.code), one_line(&failure.message))
            }
            (None, None, Some(agent)) => agent.to_string(),
            (None, None, None) => String::new(),
        };
        let line = format!("{:indent$}{step:<14} {state:<14} {seconds:>8.1} s  {more}", "");
        lines.push(line.trim_end().to_owned());
        self.children.iter().for_each(|child| child.line(depth + 1, lines));
    }
}

/// The last part of a child's key.
fn step(key: &Key) -> &str {
    key.as_str().rsplit('.').next().unwrap_or_default()
}

/// Reads a tree.
pub(super) async fn tree(session: &Session, key: &Key) -> Result<Tree, Failure> {
    let task = one(session, key).await?;
    let waits = match task.state.is_final() {
        true => BTreeMap::new(),
        false => waits(session, key).await,
    };
    Reader { session, waits }.tree(task).await
}

/// What the open tasks of a tree wait for, as they say themselves. What is shown is of use without it
/// too, where no host answers.
async fn waits(session: &Session, key: &Key) -> BTreeMap<Key, String> {
    let Ok(waits) = why::of(&session.bus, key, WHY_PATIENCE).await else { return BTreeMap::new() };
    let open = waits.all().into_iter().filter(|waits| waits.waits_for != WaitsFor::Nothing);
    open.map(|waits| (waits.task.clone(), waits.sentence())).collect()
}

/// Reads a task alone.
pub(super) async fn one(session: &Session, key: &Key) -> Result<Task, Failure> {
    read(view(session, &format!("/v1/tasks/{key}")).await?)
}

/// Waits until the task is shown as of a revision.
pub(super) async fn until_shown_at(session: &Session, key: &Key, revision: Revision) {
    until_shown(session, async || match one(session, key).await {
        Ok(task) => Ok(task.revision >= revision),
        // Another gateway than the one that was told may not know it yet.
        Err(failure) if failure.exit == exit::NOT_FOUND => Ok(false),
        Err(failure) => Err(failure),
    })
    .await;
}

struct Reader<'a> {
    session: &'a Session,
    /// What each open task waits for.
    waits: BTreeMap<Key, String>,
}

impl Reader<'_> {
    /// From the root down; plans lie at most eight deep.
    fn tree(&self, task: Task) -> BoxFuture<'_, Result<Tree, Failure>> {
        Box::pin(async move {
            let mut children = Vec::new();
            for child in self.children(&task).await? {
                children.push(self.tree(child).await?);
            }
            let waits_for = self.waits.get(&task.id).cloned();
            Ok(Tree { seconds: seconds(&task), task, waits_for, children })
        })
    }

    /// The children in the order of their beginning. One that the list does not have yet, since
    /// it has just begun, is asked for by its key: then the gateway waits for it.
    async fn children(&self, task: &Task) -> Result<Vec<Task>, Failure> {
        if task.children.is_empty() {
            return Ok(Vec::new());
        }
        let mut listed: BTreeMap<Key, Task> = BTreeMap::new();
        let mut cursor = None;
        loop {
            let parent = Some(task.id.to_string());
            let query = query(&[("parent", parent), ("limit", Some("200".to_owned())), ("cursor", cursor)]);
            let page: Page = read(view(self.session, &format!("/v1/tasks?{query}")).await?)?;
            listed.extend(page.tasks.into_iter().map(|child| (child.id.clone(), child)));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let mut children = Vec::new();
        for key in &task.children {
            children.push(match listed.remove(key) {
                Some(child) => child,
                None => one(self.session, key).await?,
            });
        }
        Ok(children)
    }
}

fn seconds(task: &Task) -> f64 {
    let until = if task.state.is_final() { task.updated_at.0 } else { now().0 };
    until.saturating_sub(task.submitted_at.0) as f64 / 1000.0
}
