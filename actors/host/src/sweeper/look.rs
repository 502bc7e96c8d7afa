//! Checks a task, its lane and its children by queries, which leave nothing in a log.

use std::time::Duration;

use bus_client::{Ask, Bus, Folded};
use bus_schemas::commands::{lane, queue, task};
use bus_schemas::halts::{Halts, Scope, Subject};
use bus_schemas::views::lane::{Limit, Waiting};
use bus_schemas::views::task::{WaitsFor, Why};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Kind, PartitionId, Reply, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use smol_str::SmolStr;

use super::judge::{Child, Found, Verdict, judge};
use crate::quarantine::Quarantine;

/// Timeout of a query: a partition that moves answers in the next round.
const PATIENCE: Duration = Duration::from_secs(5);

/// The checks of one round.
pub(super) struct Looker<'a> {
    bus: &'a Bus,
}

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    /// There was no answer in time.
    #[error("asking what a task waits for")]
    Silent(#[from] bus_client::AskError),
    /// The answer cannot be read.
    #[error("reading what a task waits for")]
    Answer(#[from] serde_json::Error),
}

impl<'a> Looker<'a> {
    /// Sends queries over this connection.
    pub(super) fn new(bus: &'a Bus) -> Self {
        Self { bus }
    }

    /// The verdict on a task. An error means that an entity did not answer.
    pub(super) async fn verdict(
        &self,
        task: &Key,
        halts: &Folded<Halts>,
        quarantine: &Quarantine,
        now: Timestamp,
    ) -> Result<Verdict, LookError> {
        let Some(why) = self.why(task).await? else {
            // The task cannot be read, which is reported elsewhere; a sweep would be refused.
            return Ok(Verdict::Waits { until: None });
        };
        let subject = Subject { lane: &why.lane, agent: None, task };
        let is_halted = || halts.read(|halts| halts.covering(subject).is_some());
        if why.waits_for != WaitsFor::Nothing && (is_halted() || is_kept_apart(task, &why, quarantine)) {
            return Ok(Verdict::Waits { until: None });
        }
        let in_lane = match why.waits_for {
            WaitsFor::Lane => {
                let partitions = self.bus.topology().partitions;
                let queue = queue::key(&why.lane, PartitionId::of(task.root(), partitions), partitions);
                let to = EntityAddress::new(queue::Command::KIND, queue);
                let here: Option<Waiting> =
                    self.ask(to, &queue::Query::Explain { task: task.clone() }).await?;
                let explain = lane::Query::Explain { task: task.clone(), skill: why.skill.clone() };
                let lane = EntityAddress::new(lane::Command::KIND, why.lane.clone());
                let whole: Option<Waiting> = self.ask(lane, &explain).await?;
                here.map(|here| here.with_lane(whole))
            }
            _ => None,
        };
        let mut children = Vec::new();
        if why.waits_for == WaitsFor::Children {
            for child in &why.children {
                let found = match self.why(child).await? {
                    None => Child::Missing,
                    Some(why) if why.waits_for == WaitsFor::Nothing => Child::Ended,
                    Some(_) => Child::Open,
                };
                children.push((child.clone(), found));
            }
        }
        let resumed = in_lane.as_ref().and_then(|waiting| halts.read(|halts| resumed(waiting, halts)));
        let (in_lane, children) = (in_lane.as_ref(), &children);
        let found = Found { why: &why, in_lane, resumed: resumed.as_deref(), children };
        Ok(judge(&found, now))
    }

    async fn why(&self, task: &Key) -> Result<Option<Why>, LookError> {
        self.ask(EntityAddress::new(task::Command::KIND, task.clone()), &task::Query::Explain).await
    }

    /// The answer to a query; `None` when it is refused, as by a stopped entity.
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        to: EntityAddress,
        query: &Q,
    ) -> Result<Option<A>, LookError> {
        match self.bus.query(&Ask::new(to, Body::json(query)), PATIENCE).await? {
            Reply::Accepted { result, .. } => Ok(Some(serde_json::from_value(result)?)),
            Reply::Refused { .. } => Ok(None),
        }
    }
}

/// Whether a sweep would be in vain: the task, or the entity it would send to, is quarantined. Each sweep
/// would become a dead letter, and the quarantine is reported elsewhere.
fn is_kept_apart(task: &Key, why: &Why, quarantine: &Quarantine) -> bool {
    let is_held = |kind: Kind, key: &Key| quarantine.holds(&EntityAddress::new(kind, key.clone()));
    is_held(task::Command::KIND, task)
        || why.children.iter().any(|child| is_held(task::Command::KIND, child))
        || (why.waits_for == WaitsFor::Lane && is_held(lane::Command::KIND, &why.lane))
}

/// A halt for which a lane holds the task, although the halt has ended.
fn resumed(waiting: &Waiting, halts: &Halts) -> Option<SmolStr> {
    let causes = waiting.blocks.iter().filter(|block| block.what == Limit::Held);
    let mut causes = causes.filter_map(|block| block.cause.as_ref());
    let stands = |cause: &SmolStr| -> Option<bool> {
        let scope = Scope::parse(&Key::parse(cause.strip_prefix("halt/")?).ok()?)?;
        Some(halts.of(&scope).is_some())
    };
    causes.find(|cause| stands(cause) == Some(false)).cloned()
}
