//! The attempts at a task, as its events tell: what each agent was given, and how it decided.

use actors_core::Key;
use bus_schemas::commands::task::{Command, Failure, Plan};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::{Artifact, EffectStep, Job, PastEffect, StepResult};
use bus_schemas::{CommandId, EntityAddress};
use serde::Serialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::check;
use super::draft::{job, past_effect};
use super::state::{Phase, State, fold};
use crate::text::cut_failure;

/// An attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The job that the agent was given, with another correlation than the recorded one.
    pub job: Job,
    /// The steps that were recorded in this attempt or before it.
    pub steps: Vec<StepResult>,
    /// The ends of this attempt's effects, in order: completed, failed or ambiguous.
    pub effects: Vec<PastEffect>,
    /// How the attempt ended.
    pub end: End,
    /// Names of the steps and effects that were recorded in this attempt.
    pub own: Vec<SmolStr>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Its agent decided.
    Decided(Decision),
    /// Something else ended it, such as a lost worker, a halt or a cancel.
    Interrupted(String),
    /// It has not ended.
    Open,
}

/// What an agent decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// The work is done.
    Done {
        /// The artifacts.
        artifacts: Vec<Artifact>,
        /// The result.
        result: Value,
    },
    /// Child tasks are to do the work.
    Planned(Plan),
    /// The attempt failed.
    Failed(Failure),
    /// The agent needs an answer.
    Asked {
        /// The question.
        prompt: String,
        /// Whether an authorization is missing.
        authorization: bool,
    },
}

/// The attempts among the events of a task, in order.
pub fn attempts(task: &EntityAddress, events: impl IntoIterator<Item = Event>) -> Vec<Attempt> {
    let (mut state, mut attempts) = (State::default(), Vec::<Attempt>::new());
    let mut steps = Vec::<StepResult>::new();
    for event in events {
        let before = state.phase;
        fold(&mut state, &event);
        match &event {
            Event::JobIssued { agent, .. } => attempts.push(Attempt {
                job: begun(&state, task, agent),
                steps: steps.clone(),
                effects: Vec::new(),
                end: End::Open,
                own: Vec::new(),
            }),
            Event::StepRecorded { step, .. } => {
                steps.push(step.clone());
                if let Some(attempt) = attempts.last_mut() {
                    attempt.steps.push(step.clone());
                    attempt.own.push(step.name.clone());
                }
            }
            Event::EffectRecorded { effect, step, .. } => {
                if let Some(attempt) = attempts.last_mut() {
                    note_effect(attempt, &state, effect, *step);
                }
            }
            _ => {
                let current = attempts.last_mut().filter(|last| last.end == End::Open);
                if let Some((attempt, end)) = current.zip(end(&event, before)) {
                    attempt.end = end;
                }
            }
        }
    }
    attempts
}

impl Decision {
    /// What a task takes a worker's report for; `None` where the report says that nothing was decided.
    pub fn of(report: Command, task: &Key) -> Option<Self> {
        Some(match report {
            Command::CompleteJob { plan: Some(plan), .. } => match check::plan(&plan, task) {
                Ok(()) => Self::Planned(plan),
                Err(refusal) => Self::Failed(check::refused_plan(refusal)),
            },
            Command::CompleteJob { artifacts, result, .. } => Self::Done { artifacts, result },
            Command::FailJob { class, code, message, hint, dependency, .. } => {
                Self::Failed(cut_failure(Failure { class, code, message, hint, dependency }))
            }
            Command::RequireInput { prompt, authorization, .. } => Self::Asked { prompt, authorization },
            _ => return None,
        })
    }

    /// The decision without what its task may have added: the class and the hint of a failure.
    #[must_use]
    pub fn essence(&self) -> Value {
        match self {
            Self::Failed(Failure { code, message, .. }) => {
                json!({"failed": {"code": code, "message": message}})
            }
            decision => json!(decision),
        }
    }
}

/// The job of the attempt that has just begun.
fn begun(state: &State, task: &EntityAddress, agent: &Key) -> Job {
    let correlation = CommandId::from_text(task.key.as_str());
    job(state, task, agent.clone(), correlation)
}

/// Notes the end of an effect; one of an earlier attempt that was found out now belongs to the job.
fn note_effect(attempt: &mut Attempt, state: &State, name: &str, step: EffectStep) {
    let Some(effect) = state.effects.get(name).map(|effect| past_effect(name, effect)) else { return };
    let ended = matches!(step, EffectStep::Completed | EffectStep::Failed | EffectStep::Ambiguous);
    let was_given = attempt.job.effects.iter_mut().find(|past| past.effect == name);
    match was_given {
        Some(past) if past.step == EffectStep::Ambiguous => *past = effect,
        _ if ended => {
            attempt.own.push(effect.effect.clone());
            attempt.effects.push(effect);
        }
        _ => {}
    }
}

/// The end that an event stands for, if it stands for one.
fn end(event: &Event, before: Phase) -> Option<End> {
    let decided = |decision| Some(End::Decided(decision));
    let interrupted = |reason: &str| Some(End::Interrupted(reason.to_owned()));
    match event {
        Event::Completed { artifacts, result, .. } => {
            decided(Decision::Done { artifacts: artifacts.clone(), result: result.clone() })
        }
        Event::Planned { plan } => decided(Decision::Planned(plan.clone())),
        Event::AttemptFailed { failure, .. } if is_from_outside(failure) => interrupted(&failure.message),
        Event::AttemptFailed { failure, .. } => decided(Decision::Failed(failure.clone())),
        Event::InputRequired { prompt, authorization, effect: None, .. } if before == Phase::Running => {
            decided(Decision::Asked { prompt: prompt.clone(), authorization: *authorization })
        }
        Event::AttemptWithdrawn { reason, .. } => interrupted(reason),
        Event::Failed { failure, .. } => interrupted(&failure.message),
        Event::Canceled { reason, .. } => interrupted(reason),
        _ => None,
    }
}

/// Whether the task or its owner ended the attempt, rather than its agent.
fn is_from_outside(failure: &Failure) -> bool {
    const OUTSIDE: [&str; 5] =
        ["worker-silent", "no-progress", "deadline-exceeded", "canceled", "result-too-large"];
    OUTSIDE.contains(&failure.code.as_str())
}
