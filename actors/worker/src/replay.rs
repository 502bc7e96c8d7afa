//! Replay: an agent runs a recorded attempt again, with the recorded steps and effects. See [`Recording`].

use std::sync::Arc;

use bus_client::Bus;
use bus_schemas::commands::task::Command;
use bus_schemas::jobs::EffectStep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::Breakers;
use crate::contract::{Agent, DRIFTED, Recording, Request, Tape, Work};
use crate::worker::inputs::Inputs;
use crate::worker::verdict::{End, report_of};

/// What a replayed attempt did.
#[derive(Debug)]
pub struct Replayed {
    /// Every request for a step or an effect, in order.
    pub requests: Vec<Request>,
    /// The report that the worker would send; `None` when the agent could not go on because of a request that the
    /// record does not answer.
    pub report: Option<Command>,
}

/// Runs a recorded attempt again. Large recorded results and artifacts are read from the bus; nothing is written.
pub async fn replay(agent: Arc<dyn Agent>, bus: &Bus, recording: Recording) -> Replayed {
    let job = recording.job.clone();
    if let Some(unknown) = job.effects.iter().find(|past| past.step == EffectStep::Ambiguous) {
        tracing::debug!(effect = %unknown.effect, "the attempt ended before the outcome of an effect was found out");
        return Replayed { requests: Vec::new(), report: None };
    }
    let tape = Tape::of(bus.clone(), recording);
    let canceled = CancellationToken::new();
    let _stop_when_dropped = canceled.clone().drop_guard();
    let work = Work::recorded(job.clone(), tape.clone(), canceled, Breakers::inert(bus.clone()));
    // A task of its own, so that a panic ends the attempt and nothing else.
    let running = async move {
        Inputs::of(&agent.card()).check(&work.job)?;
        agent.run(work).await
    };
    let ended = AbortOnDropHandle::new(tokio::spawn(running)).await;
    let report = report_of(&job, End::of(ended), None);
    let report = report.map(|report| report.bounded(&job, bus.payload_bytes_max()).command);
    let drifted = |report: &Command| matches!(report, Command::FailJob { code, .. } if code == DRIFTED);
    Replayed { requests: tape.requests(), report: report.filter(|report| !drifted(report)) }
}
