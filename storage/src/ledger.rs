//! The ledger for auditors: the effects of tasks with their outcomes, and the approvals of persons, as lines that prove
//! their order and their number.
//!
//! ```text
//! {"hash":"…","entry":{"n":0,"ledger":1,…}}                      the header
//! {"hash":"…","entry":{"n":1,…}}                                 an entry: one event of the logs
//! {"hash":"…","entry":{"n":2,"entries":1,…},"signature":"…"}     the end
//! ```
//!
//! A hash is SHA-256 over the hash of the line before it, as 64 hexadecimal digits, and the bytes of the line's own
//! `entry`; before the header there are 64 zeros. The signature covers the hash of the end, and so every byte before it.

mod key;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use bus_client::Bus;
use bus_schemas::events::{approval, task};
use bus_schemas::jobs::EffectStep;
use bus_schemas::record::{self, Turn};
use bus_schemas::wire::{WireCommand, WireEvent};
use bus_schemas::{Hash, Key, Kind, Timestamp, commands, upcast};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;

pub use self::key::SigningKey;
use crate::archive::Archive;
use crate::history::records;
use crate::{Advice, Progress, Sort, history};

/// The version of the format.
const FORMAT: u32 = 1;

/// Why a ledger could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key cannot be read or made.
    #[error("using the key `{path}`: {reason}")]
    Key { path: String, reason: String },
    /// The task has no events.
    #[error("there is no task `{0}`")]
    NotFound(Key),
    /// An event cannot be read.
    #[error("reading an event of `{entity}`")]
    Event { entity: String, source: upcast::Error },
    /// The file cannot be written.
    #[error("writing the ledger: {0}")]
    Unwritable(std::io::Error),
    /// An error of reading logs or the archive.
    #[error(transparent)]
    History(#[from] history::Error),
}

impl Error {
    /// What to tell whoever meets the error.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Key { .. } => Advice::new(
                "ledger-key-unusable",
                Sort::Usage,
                "give the file to its owner alone (`chmod 600`), or bring it back from where you keep a copy",
            ),
            Self::NotFound(_) => {
                Advice::new("task-not-found", Sort::NotFound, "`orrery tasks list --all` shows the tasks")
            }
            Self::Event { .. } => {
                Advice::new("event-unreadable", Sort::Data, "use the version that wrote it")
            }
            Self::Unwritable(_) => Advice::new(
                "output-unwritable",
                Sort::Unwritable,
                "free disk space or choose another file; what was written so far has no end and proves nothing",
            ),
            Self::History(error) => error.advice(),
        }
    }
}

/// What to export.
#[derive(Debug)]
pub struct Request {
    /// Only this task and those below it, with the approvals that they may use.
    pub task: Option<Key>,
    /// Only what happened at this time or later.
    pub since: Option<Timestamp>,
    /// Only what happened before this time.
    pub until: Option<Timestamp>,
    /// The time of the export.
    pub now: Timestamp,
}

/// The first line.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Header {
    /// The version of the format: 1.
    pub ledger: u32,
    /// The id of the installation.
    pub installation: String,
    /// The public key that belongs to the signature: 64 hexadecimal digits. Trust it only as published elsewhere.
    pub public_key: String,
    /// When the export began, in RFC 3339.
    pub exported_at: String,
    /// The only task tree, if it is one.
    pub task: Option<Key>,
    /// The beginning of the range, in RFC 3339; null for everything.
    pub since: Option<String>,
    /// The end of the range, in RFC 3339; null for everything.
    pub until: Option<String>,
}

/// One event of an effect or of an approval.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Entry {
    /// When it was decided, in RFC 3339.
    pub at: String,
    /// Its place in the logs: `<partition>.<record>.<index>`. Entries come in this order.
    pub place: String,
    /// The chain hash of the event in its entity, as `orrery events` shows it.
    pub event: String,
    /// The task of the effect, or the task that may use the approval.
    pub task: Key,
    /// Who reported or decided it: the caller of the command, or the entity that mailed it; null for timers.
    pub by: Option<SmolStr>,
    /// The effect or the approval.
    #[serde(flatten)]
    pub of: Of,
}

/// What an entry is about.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// The progress of an effect.
    Effect {
        /// Its name within the task.
        name: String,
        /// Its progress.
        step: EffectStep,
        /// The number of the attempt; 0 where the effect was given back to a fork, which did not do it.
        attempt: u32,
        /// The agent of the attempt.
        agent: Option<Key>,
        /// The worker of the attempt.
        worker: Option<SmolStr>,
        /// The idempotency key that the tool was given.
        key: Option<SmolStr>,
        /// A description of the effect, or of its outcome.
        detail: String,
        /// SHA-256 of the recorded answer, as JSON with sorted keys and without spaces; null without an answer.
        answer: Option<String>,
        /// The last approval of which the task was told that a person approved.
        approval: Option<Key>,
    },
    /// A change of an approval.
    Approval {
        /// Its name.
        name: Key,
        /// What happened: `requested`, `approved`, `rejected`, `timed-out`, `canceled`, `used`, `lapsed`, `revoked`.
        what: String,
        /// The ids of the calls, each a hash over what the approval binds: of a request and of an approval.
        calls: Vec<SmolStr>,
        /// The reason, if one was given.
        reason: Option<String>,
    },
}

/// The last line.
#[derive(Debug, Serialize, JsonSchema)]
pub struct End {
    /// The number of entries.
    pub entries: u64,
    /// For each partition the last record that was read.
    pub records: BTreeMap<u16, u64>,
}

/// Writes the ledger, in the order of the logs: by partition, then as decided. Returns the number of entries.
pub async fn export(
    bus: &Bus,
    archive: &Archive,
    request: &Request,
    key: &SigningKey,
    progress: &dyn Progress,
    out: &mut (dyn Write + Send),
) -> Result<u64, Error> {
    let time = |time: Option<Timestamp>| time.map(Timestamp::to_rfc3339);
    let header = Header {
        ledger: FORMAT,
        installation: bus.installation_id().await.map_err(history::Error::from)?,
        public_key: key.public(),
        exported_at: request.now.to_rfc3339(),
        task: request.task.clone(),
        since: time(request.since),
        until: time(request.until),
    };
    let mut chain = Chain { out, hash: "0".repeat(64), next: 0 };
    chain.add(&header, None)?;
    let mut reader = Reader { request, tasks: HashMap::new(), approvals: HashMap::new(), is_known: false };
    let mut read = BTreeMap::new();
    for partition in bus.topology().all_partitions() {
        let mut records = records(bus, archive, partition, progress).await?;
        while let Some(entry) = records.next().await? {
            let mut index = 0;
            for turn in &entry.record.turns {
                for event in &turn.events {
                    let place = format!("{partition}.{}.{index}", entry.sequence);
                    if let Some(entry) = reader.entry(turn, event, place)? {
                        chain.add(&entry, None)?;
                    }
                    index += 1;
                }
            }
            read.insert(partition.0, entry.sequence.0);
        }
    }
    match &request.task {
        Some(task) if !reader.is_known => return Err(Error::NotFound(task.clone())),
        _ => {}
    }
    let entries = chain.next - 1;
    chain.add(&End { entries, records: read }, Some(key))?;
    chain.out.flush().map_err(Error::Unwritable)?;
    Ok(entries)
}

/// The lines, each bound to all before it.
struct Chain<'a> {
    out: &'a mut (dyn Write + Send),
    hash: String,
    next: u64,
}

impl Chain<'_> {
    fn add(&mut self, line: &impl Serialize, key: Option<&SigningKey>) -> Result<(), Error> {
        #[derive(Serialize)]
        struct Numbered<'a, T> {
            n: u64,
            #[serde(flatten)]
            line: &'a T,
        }
        let entry = serde_json::to_string(&Numbered { n: self.next, line }).expect("lines have string keys");
        self.hash = sha256(format!("{}{entry}", self.hash).as_bytes());
        self.next += 1;
        let signed = key.map(|key| format!(r#","signature":"{}""#, key.sign(&self.hash))).unwrap_or_default();
        writeln!(self.out, r#"{{"hash":"{}","entry":{entry}{signed}}}"#, self.hash).map_err(Error::Unwritable)
    }
}

/// What effects need to know of their task.
#[derive(Default)]
struct Doing {
    agent: Option<Key>,
    worker: Option<SmolStr>,
    /// The approval that is waited for.
    waits: Option<Key>,
    approval: Option<Key>,
}

/// Makes entries of events.
struct Reader<'a> {
    request: &'a Request,
    /// The tasks that have not ended.
    tasks: HashMap<Key, Doing>,
    /// The task of each approval that is not over.
    approvals: HashMap<Key, Key>,
    /// Whether anything was seen of the requested task.
    is_known: bool,
}

impl Reader<'_> {
    fn entry(&mut self, turn: &Turn, event: &record::Event, place: String) -> Result<Option<Entry>, Error> {
        let (kind, key) = (&turn.entity.kind, &turn.entity.key);
        let found = if *kind == commands::task::Command::KIND {
            if !self.is_wanted(key) {
                return Ok(None);
            }
            self.is_known = true;
            self.effect(key, read(kind, key, event)?).map(|of| (key.clone(), of))
        } else if *kind == commands::approval::Command::KIND {
            self.approval(key, read(kind, key, event)?)
        } else {
            None
        };
        let is_in_range = self.request.since.is_none_or(|since| turn.at >= since)
            && self.request.until.is_none_or(|until| turn.at < until);
        Ok(found.filter(|(task, _)| is_in_range && self.is_wanted(task)).map(|(task, of)| Entry {
            at: turn.at.to_rfc3339(),
            place,
            event: event.hash.to_hex(),
            task,
            by: turn.command.caller.clone(),
            of,
        }))
    }

    /// Whether a task is the requested one, or below it.
    fn is_wanted(&self, task: &Key) -> bool {
        self.request.task.as_ref().is_none_or(|wanted| {
            let rest = task.as_str().strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    fn effect(&mut self, task: &Key, event: task::Event) -> Option<Of> {
        use task::Event;
        let doing = self.tasks.entry(task.clone()).or_default();
        match event {
            Event::JobIssued { agent, worker, .. } => {
                (doing.agent, doing.worker) = (Some(agent), Some(worker));
            }
            Event::InputRequired { approval, .. } => doing.waits = approval,
            Event::Answered { answer, .. } => {
                let waited = doing.waits.take();
                if answer == "approved" && waited.is_some() {
                    doing.approval = waited;
                }
            }
            Event::EffectRecorded { attempt, effect, step, detail, key, result } => {
                return Some(Of::Effect {
                    name: effect,
                    step,
                    attempt,
                    agent: doing.agent.clone(),
                    worker: doing.worker.clone(),
                    key,
                    detail,
                    answer: (!result.is_null()).then(|| answer_hash(&result)),
                    approval: doing.approval.clone(),
                });
            }
            Event::Rejected { .. }
            | Event::Completed { .. }
            | Event::Failed { .. }
            | Event::Canceled { .. } => {
                self.tasks.remove(task);
            }
            _ => {}
        }
        None
    }

    fn approval(&mut self, name: &Key, event: approval::Event) -> Option<(Key, Of)> {
        use approval::Event;
        let what: &'static str = (&event).into();
        let (mut calls, mut reason) = (Vec::new(), None);
        let task = match event {
            Event::Requested { request, tools, .. } => {
                calls = tools.into_iter().map(|call| call.id).collect();
                reason = request.hint;
                self.approvals.insert(name.clone(), request.task.clone());
                request.task
            }
            Event::Approved { ids, .. } => {
                calls = ids;
                self.approvals.get(name)?.clone()
            }
            Event::Rejected { rejection_reason, .. } => {
                reason = Some(rejection_reason);
                self.approvals.remove(name)?
            }
            Event::Canceled { reason: why, .. } | Event::Revoked { reason: why, .. } => {
                reason = Some(why);
                self.approvals.remove(name)?
            }
            Event::Used { .. } | Event::TimedOut { .. } | Event::Lapsed { .. } => {
                self.approvals.remove(name)?
            }
        };
        Some((task, Of::Approval { name: name.clone(), what: what.to_owned(), calls, reason }))
    }
}

fn read<E: WireEvent>(kind: &Kind, key: &Key, event: &record::Event) -> Result<E, Error> {
    upcast::read(&event.event_type, event.schema, &event.body)
        .map_err(|source| Error::Event { entity: format!("{kind}/{key}"), source })
}

fn answer_hash(answer: &Value) -> String {
    sha256(bus_schemas::approvals::canonical(answer).as_bytes())
}

/// SHA-256 in hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    Hash(digest.as_ref().try_into().expect("SHA-256 has 32 bytes")).to_hex()
}
