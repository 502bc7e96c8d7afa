//! Queries of the views: by name, and page by page.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_schemas::views::task::{Task, TaskState};
use bus_schemas::{Key, Timestamp};
use gateway_api::agents::Agent;
use gateway_api::approvals::{Approval, ApprovalState};
use gateway_api::changes::{Change, ChangeState};
use gateway_api::dead_letters::{DeadLetter, DeadLetterFilter};
use gateway_api::halts::Halt;
use gateway_api::redrives::Redrive;
use gateway_api::schedules::Schedule;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params_from_iter};
use tokio::sync::Semaphore;

use super::Error;
use super::breaker::Breaker;

use super::lane::Lane;
use super::source::Unreadable;
use super::view::{View, time};

/// Readers at once: each holds a thread, and SQLite's readers do not block each other.
const READERS_MAX: usize = 8;
/// How long SQLite waits for a lock. Only opening and checkpoints take one that blocks readers.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Halts or agents in a whole list: a larger number is a mistake of whoever creates them.
const LIST_MAX: u32 = 10_000;

/// Queries the read model; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

/// A position in a list, at which the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The time, in milliseconds since 1970; 0 in a list by name.
    pub time: u64,
    /// The row's key.
    pub id: String,
}

impl Place {
    /// The position of a name in a list by name.
    pub fn named(name: &str) -> Self {
        Self { time: 0, id: name.to_owned() }
    }
}

/// A page of a list, and where the next one begins.
#[derive(Debug)]
pub struct Page<V> {
    /// The rows, in the requested order.
    pub items: Vec<V>,
    /// The position of the next page; `None` on the last page.
    pub next: Option<Place>,
}

/// The filter of a list of tasks.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only tasks in this state.
    pub state: Option<TaskState>,
    /// Only tasks of this owner.
    pub owner: Option<String>,
    /// Only tasks in this lane.
    pub lane: Option<String>,
    /// Only direct children of this task.
    pub parent: Option<String>,
    /// True: only tasks without a parent. False: only tasks with one.
    pub root: Option<bool>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The order for people.
    NewestFirst,
    /// The order for processing.
    OldestFirst,
}

/// The numbers of open tasks and dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// For each state that is not final: the number of tasks in it, and the last change of the one that has
    /// stood still longest.
    pub open_tasks: Vec<(String, u64, Timestamp)>,
    /// For each class of waiting dead letters: their number, and the time of the oldest.
    pub waiting_letters: Vec<(String, u64, Timestamp)>,
    /// Dead letters with a redrive under way.
    pub redriving_letters: u64,
    /// Requests for an approval that wait: their number, and the time of the oldest.
    pub waiting_approvals: Option<(u64, Timestamp)>,
}

/// The conditions of a list, with their values.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn equal(&mut self, column: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.sql.push(format!("{column} = ?"));
            self.values.push(Value::Text(value.into()));
        }
    }
    fn with(&mut self, sql: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.sql.push(sql.to_owned());
            self.values.push(value);
        }
    }
}

impl Reader {
    pub(super) fn new(path: PathBuf) -> Self {
        let permits = Semaphore::new(READERS_MAX);
        Self { inner: Arc::new(Inner { path, idle: Mutex::default(), permits }) }
    }

    /// A task.
    pub async fn task(&self, id: &Key) -> Result<Option<Task>, Error> {
        Ok(self.get::<Task>(id).await?.map(Task::shown))
    }
    /// A schedule, also a deleted one.
    pub async fn schedule(&self, name: &Key) -> Result<Option<Schedule>, Error> {
        self.get(name).await
    }
    /// A dead letter.
    pub async fn dead_letter(&self, entry: &Key) -> Result<Option<DeadLetter>, Error> {
        self.get(entry).await
    }
    /// A halt, also one that ended.
    pub async fn halt(&self, scope: &Key) -> Result<Option<Halt>, Error> {
        self.get(scope).await
    }
    /// Halts in force, by scope.
    pub async fn halts(&self, after: Option<Place>, limit: u32) -> Result<Page<Halt>, Error> {
        self.named("halted = 1", after, limit).await
    }
    /// All halts in force, by scope.
    pub async fn all_halts(&self) -> Result<Vec<Halt>, Error> {
        self.list("halted = 1").await
    }
    /// A lane.
    pub async fn lane(&self, name: &Key) -> Result<Option<Lane>, Error> {
        self.get(name).await
    }
    /// Lanes, by name.
    pub async fn lanes(&self, after: Option<Place>, limit: u32) -> Result<Page<Lane>, Error> {
        self.named("TRUE", after, limit).await
    }
    /// A breaker.
    pub async fn breaker(&self, dependency: &Key) -> Result<Option<Breaker>, Error> {
        self.get(dependency).await
    }
    /// Known breakers, by name.
    pub async fn breakers(&self, after: Option<Place>, limit: u32) -> Result<Page<Breaker>, Error> {
        self.named("TRUE", after, limit).await
    }
    /// The number of known lanes and breakers.
    pub async fn lanes_and_breakers(&self) -> Result<u64, Error> {
        let sql = format!(
            "SELECT (SELECT count(*) FROM {}) + (SELECT count(*) FROM {})",
            Lane::TABLE,
            Breaker::TABLE
        );
        self.with(move |connection| connection.query_row(&sql, [], |row| row.get(0))).await
    }
    /// An agent.
    pub async fn agent(&self, name: &Key) -> Result<Option<Agent>, Error> {
        self.get(name).await
    }
    /// All agents, by name.
    pub async fn all_agents(&self) -> Result<Vec<Agent>, Error> {
        self.list("TRUE").await
    }
    /// Agents, by name.
    pub async fn agents(&self, after: Option<Place>, limit: u32) -> Result<Page<Agent>, Error> {
        self.named("TRUE", after, limit).await
    }
    /// Schedules that are not deleted, by name.
    pub async fn schedules(&self, after: Option<Place>, limit: u32) -> Result<Page<Schedule>, Error> {
        self.named("deleted = 0", after, limit).await
    }

    /// Tasks, newest first.
    pub async fn tasks(
        &self,
        filter: TaskFilter,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<Task>, Error> {
        let mut conditions = Conditions::default();
        conditions.equal("state", filter.state.map(<&'static str>::from));
        conditions.equal("owner", filter.owner);
        conditions.equal("lane", filter.lane);
        conditions.equal("parent", filter.parent);
        if let Some(root) = filter.root {
            conditions.sql.push(if root { "parent IS NULL" } else { "parent IS NOT NULL" }.into());
        }
        let page = self.page("submitted_at", conditions, Order::NewestFirst, after, limit).await?;
        let Page { items, next } = page;
        Ok(Page { items: items.into_iter().map(Task::shown).collect(), next })
    }

    /// Dead letters.
    pub async fn dead_letters(
        &self,
        filter: DeadLetterFilter,
        order: Order,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<DeadLetter>, Error> {
        let mut conditions = Conditions::default();
        conditions.equal("state", filter.state.map(<&str>::from));
        conditions.equal("class", filter.class);
        conditions.equal("kind", filter.kind);
        conditions.equal("dependency", filter.dependency);
        conditions.with("instr(key, ?) = 1", filter.key.map(Value::Text));
        conditions.with("at >= ?", filter.since.map(|since| time(Timestamp(since))));
        conditions.with("at < ?", filter.before.map(|before| time(Timestamp(before))));
        self.page("at", conditions, order, after, limit).await
    }

    /// An approval.
    pub async fn approval(&self, id: &Key) -> Result<Option<Approval>, Error> {
        self.get(id).await
    }

    /// Approvals, newest first.
    pub async fn approvals(
        &self,
        state: Option<ApprovalState>,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<Approval>, Error> {
        let mut conditions = Conditions::default();
        conditions.equal("state", state.map(<&str>::from));
        self.page("requested_at", conditions, Order::NewestFirst, after, limit).await
    }

    /// A change of a repository.
    pub async fn change(&self, id: &Key) -> Result<Option<Change>, Error> {
        self.get(id).await
    }

    /// Changes of repositories, newest first.
    pub async fn changes(
        &self,
        state: Option<ChangeState>,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<Change>, Error> {
        let mut conditions = Conditions::default();
        conditions.equal("state", state.map(<&str>::from));
        self.page("scheduled_at", conditions, Order::NewestFirst, after, limit).await
    }

    /// A redrive of many dead letters.
    pub async fn redrive(&self, id: &Key) -> Result<Option<Redrive>, Error> {
        self.get(id).await
    }

    /// Redrives, newest first.
    pub async fn redrives(&self, after: Option<Place>, limit: u32) -> Result<Page<Redrive>, Error> {
        self.page("started_at", Conditions::default(), Order::NewestFirst, after, limit).await
    }

    /// The redrives whose entries are still being collected, by name.
    pub async fn gathering(&self) -> Result<Vec<Redrive>, Error> {
        self.list("gathering = 1").await
    }

    /// The stream sequence of the last event of a task and its descendants.
    pub async fn tree_end(&self, id: &Key) -> Result<Option<u64>, Error> {
        // `.` is the only separator, and `/` is the next character after it.
        let bounds = [id.to_string(), format!("{id}."), format!("{id}/")];
        let sql = "SELECT max(sequence) FROM tasks WHERE id = ?1 OR (id > ?2 AND id < ?3)";
        self.with(move |connection| connection.query_row(sql, bounds, |row| row.get(0))).await
    }

    /// Events that could not be applied: their number, and the first of them.
    pub async fn unreadable(&self, limit: u32) -> Result<(u64, Vec<Unreadable>), Error> {
        self.with(move |connection| {
            let count = connection.query_row("SELECT count(*) FROM unreadable", [], |row| row.get(0))?;
            let mut select = connection
                .prepare("SELECT sequence, subject, reason FROM unreadable ORDER BY sequence LIMIT ?1")?;
            let rows = select.query_map([limit], |row| {
                Ok(Unreadable { sequence: row.get(0)?, subject: row.get(1)?, reason: row.get(2)? })
            })?;
            Ok((count, rows.collect::<Result<_, _>>()?))
        })
        .await
    }

    /// The numbers of open tasks and waiting dead letters. Reads only open ones, not the past.
    pub async fn figures(&self) -> Result<Figures, Error> {
        self.with(|connection| {
            let grouped = |sql: &str| {
                let mut select = connection.prepare_cached(sql)?;
                let rows =
                    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, Timestamp(row.get(2)?))))?;
                rows.collect::<rusqlite::Result<Vec<(String, u64, Timestamp)>>>()
            };
            let open_tasks = grouped(
                "SELECT state, count(*), min(updated_at) FROM tasks
                 WHERE state IN ('submitted', 'working', 'input-required', 'auth-required') GROUP BY state",
            )?;
            let waiting_letters = grouped(
                "SELECT class, count(*), min(at) FROM dead_letters WHERE state = 'waiting' GROUP BY class",
            )?;
            let redriving = "SELECT count(*) FROM dead_letters WHERE state = 'redriving'";
            let redriving_letters = connection.query_row(redriving, [], |row| row.get(0))?;
            let waiting = grouped(
                "SELECT state, count(*), min(requested_at) FROM approvals WHERE state = 'waiting' GROUP BY state",
            )?;
            let waiting_approvals = waiting.first().map(|(_, count, oldest)| (*count, *oldest));
            Ok(Figures { open_tasks, waiting_letters, redriving_letters, waiting_approvals })
        })
        .await
    }

    async fn get<V: View + Send + 'static>(&self, id: &Key) -> Result<Option<V>, Error> {
        let (sql, id) = (format!("SELECT view FROM {} WHERE id = ?1", V::TABLE), id.to_string());
        let json: Option<String> = self
            .with(move |connection| {
                connection.prepare_cached(&sql)?.query_row([id], |row| row.get(0)).optional()
            })
            .await?;
        json.map(|json| view(&json)).transpose()
    }

    async fn list<V: View>(&self, condition: &'static str) -> Result<Vec<V>, Error> {
        let sql = format!("SELECT view FROM {} WHERE {condition} ORDER BY id LIMIT {LIST_MAX}", V::TABLE);
        let rows: Vec<String> = self
            .with(move |connection| {
                connection.prepare_cached(&sql)?.query_map([], |row| row.get(0))?.collect()
            })
            .await?;
        rows.iter().map(|json| view(json)).collect()
    }

    /// A page of a list by name.
    async fn named<V: View>(
        &self,
        condition: &'static str,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<V>, Error> {
        let mut conditions = Conditions { sql: vec![condition.to_owned()], values: Vec::new() };
        conditions.with("id > ?", after.map(|after| Value::Text(after.id)));
        self.rows("0", conditions, "id", limit).await
    }

    /// A page of a list by time.
    async fn page<V: View>(
        &self,
        time: &'static str,
        mut conditions: Conditions,
        order: Order,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<V>, Error> {
        let (behind, direction) = match order {
            Order::NewestFirst => ("<", "DESC"),
            Order::OldestFirst => (">", "ASC"),
        };
        if let Some(Place { time: at, id }) = after {
            conditions.sql.push(format!("({time}, id) {behind} (?, ?)"));
            conditions.values.push(Value::Integer(i64::try_from(at).unwrap_or(i64::MAX)));
            conditions.values.push(Value::Text(id));
        }
        let order = format!("{time} {direction}, id {direction}");
        self.rows(time, conditions, &order, limit).await
    }

    async fn rows<V: View>(
        &self,
        time: &'static str,
        conditions: Conditions,
        order: &str,
        limit: u32,
    ) -> Result<Page<V>, Error> {
        let condition =
            if conditions.sql.is_empty() { "TRUE".to_owned() } else { conditions.sql.join(" AND ") };
        // One extra row tells whether there is a next page.
        let sql = format!(
            "SELECT view, {time}, id FROM {} WHERE {condition} ORDER BY {order} LIMIT {}",
            V::TABLE,
            limit + 1
        );
        let rows: Vec<(String, u64, String)> = self
            .with(move |connection| {
                connection
                    .prepare_cached(&sql)?
                    .query_map(params_from_iter(conditions.values), |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })?
                    .collect()
            })
            .await?;
        let limit = limit as usize;
        let next = (rows.len() > limit).then(|| rows.get(limit.saturating_sub(1))).flatten();
        let next = next.map(|(_, time, id)| Place { time: *time, id: id.clone() });
        let items = rows.iter().take(limit).map(|(json, _, _)| view(json)).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    /// Runs a query on its own connection, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.inner.permits.acquire().await;
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || {
            let idle = inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = idle.map_or_else(|| connect(&inner.path), Ok)?;
            let done = work(&connection);
            inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            done
        })
        .await;
        drop(permit);
        done.map_err(|error| Error::Thread(error.to_string()))?.map_err(Error::sqlite("reading"))
    }
}

fn connect(path: &std::path::Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn view<V: View>(json: &str) -> Result<V, Error> {
    serde_json::from_str(json).map_err(|source| Error::Row { table: V::TABLE, source })
}
