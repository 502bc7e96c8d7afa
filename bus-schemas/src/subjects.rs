//! All subjects of Orrery are formatted and parsed here, and nowhere else.
//!
//! [`Key::parse`] checks keys, so that no key can add tokens or wildcards to a subject.

use std::sync::Arc;

use crate::ids::{Caller, EntityAddress, Error, Key, Kind, PartitionId};

/// The default prefix.
pub const DEFAULT_PREFIX: &str = "orrery";

/// Formats and parses the subjects of one installation. Installations with different prefixes can share one
/// NATS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    prefix: Arc<str>,
}

impl Default for Subjects {
    fn default() -> Self {
        Self { prefix: DEFAULT_PREFIX.into() }
    }
}

impl Subjects {
    /// Takes a prefix of one token in small letters, so that no two prefixes have the same stream names.
    pub fn new(prefix: &str) -> Result<Self, Error> {
        Kind::parse(prefix)?;
        match prefix.chars().find(|sign| sign.is_ascii_uppercase() || *sign == '_') {
            Some(found) => Err(Error::Prefix(found)),
            None => Ok(Self { prefix: prefix.into() }),
        }
    }
    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
    /// The subject of a partition's commit records.
    pub fn log(&self, partition: PartitionId) -> String {
        format!("{}.log.{partition}", self.prefix)
    }
    /// The subject for an ask to a known partition.
    pub fn ask(&self, partition: PartitionId, caller: &Caller, entity: &EntityAddress) -> String {
        format!("{}.ask.{partition}.{caller}.{}.{}", self.prefix, entity.kind, entity.key)
    }
    /// All asks of a partition.
    pub fn asks(&self, partition: PartitionId) -> String {
        format!("{}.ask.{partition}.>", self.prefix)
    }
    /// The subject for an ask without a partition; a host forwards it.
    pub fn request(&self, caller: &Caller, entity: &EntityAddress) -> String {
        format!("{}.request.{caller}.{}.{}", self.prefix, entity.kind, entity.key)
    }
    /// All asks without a partition.
    pub fn requests(&self) -> String {
        format!("{}.request.>", self.prefix)
    }
    /// The subject for a query to a known partition.
    pub fn view(&self, partition: PartitionId, caller: &Caller, entity: &EntityAddress) -> String {
        format!("{}.view.{partition}.{caller}.{}.{}", self.prefix, entity.kind, entity.key)
    }
    /// All queries of a partition.
    pub fn views(&self, partition: PartitionId) -> String {
        format!("{}.view.{partition}.>", self.prefix)
    }
    /// The subject for a query without a partition; a host forwards it.
    pub fn query(&self, caller: &Caller, entity: &EntityAddress) -> String {
        format!("{}.query.{caller}.{}.{}", self.prefix, entity.kind, entity.key)
    }
    /// All queries without a partition.
    pub fn queries(&self) -> String {
        format!("{}.query.>", self.prefix)
    }
    /// The subject for several asks of one caller to one partition in one message.
    pub fn batch(&self, partition: PartitionId, caller: &Caller) -> String {
        format!("{}.batch.{partition}.{caller}", self.prefix)
    }
    /// All messages with several asks for a partition.
    pub fn batches(&self, partition: PartitionId) -> String {
        format!("{}.batch.{partition}.*", self.prefix)
    }
    /// The caller in the subject of a message with several asks.
    pub fn batcher(&self, subject: &str) -> Result<Caller, SubjectError> {
        let shape = || SubjectError::Shape(subject.into());
        let ("batch", rest) = self.verb(subject)? else { return Err(shape()) };
        let (_, caller) = rest.split_once('.').ok_or_else(shape)?;
        Caller::parse(caller).map_err(|source| SubjectError::Token { subject: subject.into(), source })
    }
    /// Whether a subject is that of a query.
    pub fn is_query(&self, subject: &str) -> bool {
        let rest = subject.strip_prefix(&*self.prefix);
        rest.is_some_and(|rest| rest.starts_with(".query.") || rest.starts_with(".view."))
    }
    /// The subject for claims of an agent's workers.
    pub fn claim(&self, agent: &Key) -> String {
        format!("{}.claim.{agent}", self.prefix)
    }
    /// All claims.
    pub fn claims(&self) -> String {
        format!("{}.claim.>", self.prefix)
    }
    /// The agent in the subject of a claim.
    pub fn claimant(&self, subject: &str) -> Result<Key, SubjectError> {
        let rest = subject.strip_prefix(&*self.prefix).and_then(|rest| rest.strip_prefix(".claim."));
        let rest = rest.ok_or_else(|| SubjectError::Foreign(subject.into()))?;
        Key::parse(rest).map_err(|source| SubjectError::Token { subject: subject.into(), source })
    }
    /// The subject on which hosts announce open work without claims, and learn of each other.
    pub fn needs(&self) -> String {
        format!("{}.needs", self.prefix)
    }
    /// The subject on which hosts report signs of life of workers.
    pub fn heard(&self) -> String {
        format!("{}.heard", self.prefix)
    }
    /// The subject on which a host answers while its connection stands.
    pub fn here(&self, host: &str) -> String {
        format!("{}.here.{host}", self.prefix)
    }
    /// The subject on which a host takes over claims that another host has no work for.
    pub fn places(&self, host: &str) -> String {
        format!("{}.places.{host}", self.prefix)
    }
    /// The subject on which all partitions are asked whether they used a claim.
    pub fn claimed(&self) -> String {
        format!("{}.claimed", self.prefix)
    }
    /// The subject on which a partition announces its new owner, so that waiting callers ask again.
    pub fn taken_over(&self) -> String {
        format!("{}.taken-over", self.prefix)
    }
    /// The subject on which a worker is told to stop an attempt.
    pub fn stop(&self, agent: &Key, worker: &str) -> String {
        format!("{}.stop.{agent}.{worker}", self.prefix)
    }
    /// The subject for handing a command over without waiting.
    pub fn hand_over(&self, caller: &Caller, entity: &EntityAddress) -> String {
        format!("{}.do.{caller}.{}.{}", self.prefix, entity.kind, entity.key)
    }
    /// The server's subject mappings for all installations with this number of partitions: a handed-over
    /// command is stored in the inbox of its partition.
    pub fn mappings(partitions: u16) -> [(String, String); 2] {
        let to = format!(
            "{{{{wildcard(1)}}}}.cmd.{{{{partition({partitions},4)}}}}.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}.{{{{wildcard(4)}}}}"
        );
        [("*.do.*.*.*".to_owned(), to.clone()), ("*.do.*.*.*.>".to_owned(), format!("{to}.>"))]
    }
    /// The subject of a durable command in its partition's inbox; a client that knows the partition may
    /// publish here.
    pub fn command(&self, partition: PartitionId, caller: &Caller, entity: &EntityAddress) -> String {
        format!("{}.cmd.{partition}.{caller}.{}.{}", self.prefix, entity.kind, entity.key)
    }
    /// The durable commands of a partition.
    pub fn commands(&self, partition: PartitionId) -> String {
        format!("{}.cmd.{partition}.>", self.prefix)
    }
    /// The subject for mail to a partition.
    pub fn mail(&self, partition: PartitionId) -> String {
        format!("{}.mail.{partition}", self.prefix)
    }
    /// The subject for receipts to a partition.
    pub fn mail_receipt(&self, partition: PartitionId) -> String {
        format!("{}.receipt.{partition}", self.prefix)
    }
    /// The subject of an entity's events.
    pub fn event(&self, entity: &EntityAddress) -> String {
        format!("{}.evt.{}.{}", self.prefix, entity.kind, entity.key)
    }
    /// All events, or all of a kind.
    pub fn events(&self, kind: Option<&Kind>) -> String {
        match kind {
            Some(kind) => format!("{}.evt.{kind}.>", self.prefix),
            None => format!("{}.evt.>", self.prefix),
        }
    }
    /// The events of an entity and of everything below it.
    pub fn event_tree(&self, entity: &EntityAddress) -> [String; 2] {
        let own = self.event(entity);
        let below = format!("{own}.>");
        [own, below]
    }
    /// The subject of the mark: how far a partition's events are published.
    pub fn mark(&self, partition: PartitionId) -> String {
        format!("{}.mark.{partition}", self.prefix)
    }
    /// All marks.
    pub fn marks(&self) -> String {
        format!("{}.mark.*", self.prefix)
    }
    /// The streamed output of a task.
    pub fn output(&self, task: &Key) -> String {
        format!("{}.out.{task}", self.prefix)
    }
    /// The output of a task and of everything below it.
    pub fn output_tree(&self, task: &Key) -> [String; 2] {
        [self.output(task), format!("{}.out.{task}.>", self.prefix)]
    }
    /// All output.
    pub fn outputs(&self) -> String {
        format!("{}.out.>", self.prefix)
    }
    /// The subject of a dead letter with its payload.
    pub fn dead(&self, kind: &str, entry: &str) -> String {
        format!("{}.dead.{kind}.{entry}", self.prefix)
    }
    /// All dead letters.
    pub fn dead_letters(&self) -> String {
        format!("{}.dead.>", self.prefix)
    }

    /// The caller and the entity in the subject of an ask, a request, a query or a durable command.
    ///
    /// The partition in the subject is not trusted and not returned: the receiver computes it.
    pub fn spoken(&self, subject: &str) -> Result<(Caller, EntityAddress), SubjectError> {
        let shape = || SubjectError::Shape(subject.into());
        let (verb, mut rest) = self.verb(subject)?;
        rest = match verb {
            "ask" | "cmd" | "view" => rest.split_once('.').ok_or_else(shape)?.1,
            "request" | "query" | "do" => rest,
            _ => return Err(shape()),
        };
        let (caller, rest) = rest.split_once('.').ok_or_else(shape)?;
        let caller = Caller::parse(caller)
            .map_err(|source| SubjectError::Token { subject: subject.into(), source })?;
        Ok((caller, address(subject, rest)?))
    }

    /// The entity in the subject of an event.
    pub fn entity(&self, subject: &str) -> Result<EntityAddress, SubjectError> {
        match self.verb(subject)? {
            ("evt", rest) => address(subject, rest),
            _ => Err(SubjectError::Shape(subject.into())),
        }
    }

    fn verb<'a>(&self, subject: &'a str) -> Result<(&'a str, &'a str), SubjectError> {
        let rest = subject.strip_prefix(&*self.prefix).and_then(|rest| rest.strip_prefix('.'));
        let rest = rest.ok_or_else(|| SubjectError::Foreign(subject.into()))?;
        rest.split_once('.').ok_or_else(|| SubjectError::Shape(subject.into()))
    }
}

fn address(subject: &str, rest: &str) -> Result<EntityAddress, SubjectError> {
    let token = |source| SubjectError::Token { subject: subject.into(), source };
    let (kind, key) = rest.split_once('.').ok_or_else(|| SubjectError::Shape(subject.into()))?;
    Ok(EntityAddress::new(Kind::parse(kind).map_err(token)?, Key::parse(key).map_err(token)?))
}

/// Why a subject names no entity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// The subject is another installation's.
    #[error("the subject `{0}` has another prefix")]
    Foreign(String),
    /// The subject has too few tokens, or an unknown verb.
    #[error("the subject `{0}` names no entity")]
    Shape(String),
    /// A caller, kind or key in it is invalid.
    #[error("reading the subject `{subject}`")]
    Token { subject: String, source: Error },
}
