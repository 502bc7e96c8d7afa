//! `orrery tasks show`: a task with its descendants, and what it waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use bus_client::now;
use bus_schemas::Key;
use bus_schemas::views::task::{Task, TaskState, WaitsFor};
use futures::future::BoxFuture;
use gateway_api::routes;
use gateway_api::tasks::{ListTasks, ShowTask};
use schemars::JsonSchema;
use serde::Serialize;

use super::{budget, one_line, which};
use crate::called;
use crate::client::{Client, PAGE};
use crate::failure::Failure;
use crate::output::Show;
use crate::progress::word;

/// Timeout for the tasks to say what they wait for.
const WHY_PATIENCE: Duration = Duration::from_secs(5);
/// Timeout for the owner of the partition to show the task; then the read model shows it.
const OWNER_PATIENCE: Duration = Duration::from_secs(2);

/// A task with its descendants.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tree {
    /// The task.
    pub task: Task,
    /// What the task waits for, as a sentence for people; `null` when it has ended or no host answers.
    pub waits_for: Option<String>,
    /// Seconds from the submission to the last change, or until now when the task has not ended.
    pub seconds: f64,
    /// The task's children with theirs, in the order in which they started.
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
            let command = which::answer(&task.id, "ANSWER", number);
            lines.push(called::advice(&format!("  answer it with `{command}`")));
        }
        if let Some(failure) = &task.failure {
            lines.push(format!("  failure   {}: {}", one_line(&failure.code), one_line(&failure.message)));
            lines.extend(failure.hint.iter().map(|hint| format!("  next      {}", one_line(hint))));
        }
        // A step is retried with its root.
        if let (TaskState::Failed | TaskState::Canceled, Some(end), None) =
            (task.state, task.end_id, task.id.parent())
        {
            lines.push(called::advice(&format!("  retry it with `{}`", which::retry(&task.id, end))));
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

/// The last part of a child's key: the step.
fn step(key: &Key) -> &str {
    key.as_str().rsplit('.').next().unwrap_or_default()
}

/// Reads a tree: the task at its top from the owner of its partition, so that what was just done to it is shown.
pub(super) async fn tree(client: &Client, key: &Key) -> Result<Tree, Failure> {
    let owner = tokio::time::timeout(OWNER_PATIENCE, current(client, key));
    let (stored, owner) = tokio::join!(one(client, key), owner);
    let task = owner.unwrap_or_else(|_| stored.clone()).or(stored)?;
    let waits = match task.state.is_final() {
        true => BTreeMap::new(),
        false => waits(client, key).await,
    };
    Reader { client, waits }.tree(task).await
}

/// What the open tasks of a tree wait for, by their own account. Empty where no host answers: the rest is
/// still of use.
async fn waits(client: &Client, key: &Key) -> BTreeMap<Key, String> {
    let path = [key.as_str()];
    let asked = client.get(routes::ExplainTask, &path);
    let Ok(Ok(waits)) = tokio::time::timeout(WHY_PATIENCE, asked).await else { return BTreeMap::new() };
    let open = waits.all().into_iter().filter(|waits| waits.waits_for != WaitsFor::Nothing);
    open.map(|waits| (waits.task.clone(), waits.sentence())).collect()
}

/// A task from the read model.
pub(super) async fn one(client: &Client, key: &Key) -> Result<Task, Failure> {
    client.call(routes::ShowTask, &[key.as_str()], &ShowTask::default(), &()).await
}

/// A task from the owner of its partition: for a command that must name its current state.
pub(super) async fn current(client: &Client, key: &Key) -> Result<Task, Failure> {
    client.call(routes::ShowTask, &[key.as_str()], &ShowTask { consistent: true }, &()).await
}

struct Reader<'a> {
    client: &'a Client,
    /// What each open task waits for.
    waits: BTreeMap<Key, String>,
}

impl Reader<'_> {
    /// Reads the tree from the root down; plans are nested at most eight deep.
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

    /// The children in the order in which they started. A child that has just started may not be in the list
    /// yet; it is read by its key, for which the gateway waits.
    async fn children(&self, task: &Task) -> Result<Vec<Task>, Failure> {
        if task.children.is_empty() {
            return Ok(Vec::new());
        }
        let mut listed: BTreeMap<Key, Task> = BTreeMap::new();
        let parent = Some(task.id.to_string());
        let mut query = ListTasks { parent, limit: Some(PAGE), ..ListTasks::default() };
        loop {
            let page = self.client.list(routes::ListTasks, &query).await?;
            listed.extend(page.tasks.into_iter().map(|child| (child.id.clone(), child)));
            query.cursor = page.next_cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        let mut children = Vec::new();
        for key in &task.children {
            children.push(match listed.remove(key) {
                Some(child) => child,
                None => one(self.client, key).await?,
            });
        }
        Ok(children)
    }
}

fn seconds(task: &Task) -> f64 {
    let until = if task.state.is_final() { task.updated_at.0 } else { now().0 };
    until.saturating_sub(task.submitted_at.0) as f64 / 1000.0
}
