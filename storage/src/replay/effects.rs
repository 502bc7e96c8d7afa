//! Replay of agents: every attempt in a tree of tasks runs again with its recorded steps and effects, and what its
//! agent asks for and decides is compared with the record.
//!
//! What other tasks and people did comes from the log: the inputs, the answers, the plan. Nothing is written, and
//! nothing outside of the store is reached, unless the caller lets steps run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actors_logic::task::recorded::{Attempt, Decision, End, attempts};
use actors_worker::replay::{Replayed, replay};
use actors_worker::{Agent, Agents, Compared, MANIFEST_STEP, Recording};
use bus_client::{Bus, EventQuery};
use bus_schemas::commands::task::Command;
use bus_schemas::events::task::Event;
use bus_schemas::record::{self, CommitRecord};
use bus_schemas::wire::WireCommand;
use bus_schemas::{EntityAddress, Hash, Key, upcast};
use futures::TryStreamExt;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;

use super::Error;
use crate::archive::{self, Archive};
use crate::history;

/// What to run again, and how.
pub struct Request<'a> {
    /// The task, with everything below it.
    pub task: &'a Key,
    /// The agents, as this program ships them.
    pub agents: &'a Agents,
    /// Whether steps run that the record does not answer, as they do when something was changed on purpose.
    pub runs_steps: bool,
}

/// How an attempt compares with its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The agent asks for the same and decides the same.
    Same,
    /// The agent asks for something else, or decides otherwise.
    Differs,
    /// Something else than the agent ended the attempt; the agent asks for the same up to there.
    Interrupted,
    /// The attempt has not ended; the agent asks for the same up to here.
    Open,
    /// The agent is not one of this program.
    Elsewhere,
}

/// A request of an agent that differs from the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Drift {
    /// The name of the step or effect.
    pub effect: String,
    /// The hash of what was recorded; absent when nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<String>,
    /// The hash of what is asked for now; absent when it is not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested: Option<String>,
}

/// An attempt that ran again.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Compare {
    /// The task.
    pub task: String,
    /// The number of the attempt.
    pub attempt: u32,
    /// The agent.
    pub agent: String,
    /// The skill.
    pub skill: String,
    /// How it compares.
    pub verdict: Verdict,
    /// Requests for steps and effects that are the recorded ones.
    pub effects: usize,
    /// Requests that differ, with the name of each.
    pub drift: Vec<Drift>,
    /// BLAKE3 of the recorded decision, as JSON with sorted keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<String>,
    /// BLAKE3 of today's decision; absent when the agent came to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
    /// The recorded decision, where today's differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_decision: Option<Value>,
    /// Today's decision, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Value>,
}

/// The sum of a replay.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Compares {
    /// Attempts that ran again.
    pub attempts: u64,
    /// Requests for steps and effects that are the recorded ones.
    pub effects: u64,
    /// Attempts that differ.
    pub differ: u64,
    /// Attempts of agents that this program does not have.
    pub elsewhere: u64,
}

impl Compares {
    /// Fails when an attempt differs.
    pub fn expect_same(&self) -> Result<(), Error> {
        if self.differ == 0 { Ok(()) } else { Err(Error::Drifted(self.differ)) }
    }
}

/// Runs the attempts of a task and of all tasks below it again; `show` receives each in the order of tasks and
/// attempts.
pub async fn run(
    bus: &Bus,
    archive: &Archive,
    request: &Request<'_>,
    mut show: impl FnMut(Compare),
) -> Result<Compares, Error> {
    let root = EntityAddress::new(Command::KIND, request.task.clone());
    let trees = tree(bus, archive, &root).await?;
    if !trees.contains_key(&root) {
        return Err(Error::NotFound(root));
    }
    let mut sum = Compares::default();
    for (task, events) in trees {
        for attempt in attempts(&task, events) {
            let compare = compare(bus, request, attempt).await;
            match compare.verdict {
                Verdict::Elsewhere => sum.elsewhere += 1,
                verdict => {
                    sum.attempts += 1;
                    sum.effects += compare.effects as u64;
                    sum.differ += u64::from(verdict == Verdict::Differs);
                }
            }
            show(compare);
        }
    }
    Ok(sum)
}

/// The events of a task and of all below it, up to the end of the log. What the fanout has not published yet comes from
/// the log itself: an attempt whose end is recorded has ended.
async fn tree(
    bus: &Bus,
    archive: &Archive,
    root: &EntityAddress,
) -> Result<BTreeMap<EntityAddress, Vec<Event>>, Error> {
    let partition = root.partition(bus.topology().partitions);
    // Read first: what is published meanwhile is met twice, and its revision tells.
    let published = bus.mark(partition).await?.upto;
    let subjects = bus.subjects().event_tree(root).to_vec();
    let mut events = archive::events(bus, archive, EventQuery { subjects, from: 0 }, false).await?;
    let mut tasks = BTreeMap::<EntityAddress, Vec<Event>>::new();
    while let Some(stored) = events.try_next().await? {
        let read = read(&stored.entity, &stored.event)?;
        tasks.entry(stored.entity).or_default().push(read);
    }
    let below = format!("{}.", root.key);
    let is_ours = |entity: &EntityAddress| {
        entity.kind == root.kind && (entity.key == root.key || entity.key.as_str().starts_with(&below))
    };
    let mut records = bus.records_after(partition, published).await?;
    while let Some(entry) = records.try_next().await? {
        let record = CommitRecord::decode(&entry.record);
        let sequence = entry.sequence;
        let mut record = record.map_err(|source| history::Error::Record { partition, sequence, source })?;
        bus.attach_blobs(&mut record).await?;
        for turn in record.turns.iter().filter(|turn| is_ours(&turn.entity)) {
            for event in &turn.events {
                let known = tasks.entry(turn.entity.clone()).or_default();
                if event.revision.0 == known.len() as u64 + 1 {
                    known.push(read(&turn.entity, event)?);
                }
            }
        }
    }
    Ok(tasks)
}

fn read(entity: &EntityAddress, event: &record::Event) -> Result<Event, Error> {
    let read = upcast::read(&event.event_type, event.schema, &event.body);
    read.map_err(|source| Error::Event { entity: entity.clone(), source })
}

async fn compare(bus: &Bus, request: &Request<'_>, attempt: Attempt) -> Compare {
    let Attempt { job, .. } = &attempt;
    let mut compare = Compare {
        task: job.task.key.to_string(),
        attempt: job.attempt,
        agent: job.agent.to_string(),
        skill: job.skill.to_string(),
        verdict: Verdict::Elsewhere,
        effects: 0,
        drift: Vec::new(),
        recorded: None,
        decided: None,
        recorded_decision: None,
        decision: None,
    };
    let is_declared = attempt.steps.iter().any(|step| step.name == MANIFEST_STEP);
    let known = agent(request.agents, &job.agent, &job.skill);
    let declares = request.agents.declares.as_ref().filter(|_| is_declared);
    let declared = || declares.map(|declares| declares.recorded(&job.agent, &job.skill));
    let Some(agent) = known.or_else(declared) else { return compare };
    let recording = Recording {
        job: job.clone(),
        steps: attempt.steps.clone(),
        effects: attempt.effects.clone(),
        failure: match &attempt.end {
            End::Decided(Decision::Failed(failure)) => Some(failure.clone()),
            _ => None,
        },
        runs_steps: request.runs_steps,
    };
    let Replayed { requests, report } = replay(agent, bus, recording).await;
    compare.effects = requests.iter().filter(|request| request.compared == Compared::Same).count();
    let decided =
        report.and_then(|report| Decision::of(report, &job.task.key)).map(|decision| decision.essence());
    let is_ended = matches!(attempt.end, End::Decided(_));
    compare.drift = drift(&attempt, &requests, is_ended);
    let recorded = match &attempt.end {
        End::Decided(decision) => Some(decision.essence()),
        End::Interrupted(_) | End::Open => None,
    };
    compare.verdict = match &attempt.end {
        _ if !compare.drift.is_empty() => Verdict::Differs,
        End::Decided(_) if recorded != decided => Verdict::Differs,
        End::Decided(_) => Verdict::Same,
        End::Interrupted(_) => Verdict::Interrupted,
        End::Open => Verdict::Open,
    };
    (compare.recorded, compare.decided) = (recorded.as_ref().map(hash), decided.as_ref().map(hash));
    if is_ended && recorded != decided {
        (compare.recorded_decision, compare.decision) = (recorded, decided);
    }
    compare
}

/// The agent of a name, if it has the skill.
fn agent(agents: &Agents, name: &Key, skill: &SmolStr) -> Option<Arc<dyn Agent>> {
    agents
        .own
        .iter()
        .map(|(agent, _)| agent)
        .find(|agent| {
            let card = agent.card();
            card.name == *name && card.skills.iter().any(|known| known.id == *skill)
        })
        .cloned()
}

/// The requests that differ from the record. After the end of the record there is nothing to compare with in an
/// attempt that was interrupted, or that failed because of what it asked for last.
fn drift(attempt: &Attempt, requests: &[actors_worker::Request], is_ended: bool) -> Vec<Drift> {
    let has_failed = matches!(attempt.end, End::Decided(Decision::Failed(_)));
    let ends_early = !is_ended || has_failed;
    let asked = requests.iter().filter_map(|request| {
        let (recorded, requested) = match &request.compared {
            Compared::Same => return None,
            Compared::Unrecorded { .. } if ends_early => return None,
            Compared::Unrecorded { requested } => (None, requested.to_string()),
            Compared::Changed { recorded, requested } => (Some(recorded.to_string()), requested.to_string()),
        };
        Some(Drift { effect: request.name.to_string(), recorded, requested: Some(requested) })
    });
    let mut drift: Vec<Drift> = asked.collect();
    let is_asked = |name: &SmolStr| requests.iter().any(|request| request.name == *name);
    // A step and an effect may have one name.
    let own: BTreeSet<&SmolStr> = attempt.own.iter().collect();
    let missing = own.into_iter().filter(|name| is_ended && !is_asked(name));
    drift.extend(missing.map(|name| Drift {
        effect: name.to_string(),
        recorded: recorded_hash(attempt, name),
        requested: None,
    }));
    drift
}

/// The hash that a step or an effect was recorded with.
fn recorded_hash(attempt: &Attempt, name: &SmolStr) -> Option<String> {
    let step =
        attempt.steps.iter().find(|step| step.name == *name).map(|step| step.input.to_hex().to_string());
    let effect = || attempt.effects.iter().find(|effect| effect.effect == *name);
    step.or_else(|| effect()?.key.as_ref().map(ToString::to_string))
}

fn hash(decision: &Value) -> String {
    Hash::of(actors_worker::canonical(decision).as_bytes()).to_hex().to_string()
}
