//! What people and services want, drawn from the seed: touches, tasks, plans, cancellations, answers,
//! schedules, and commands that are wrong.

use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::commands::task::{Plan, PlanStep, Submit};
use bus_schemas::commands::{breaker, lane, probe, schedule, task};
use bus_schemas::record::BODY_INLINE_BYTES_MAX;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, ContentType, EntityAddress, Key, Kind, Timestamp};
use serde_json::json;
use smol_str::format_smolstr;

use super::calls::DEPENDENCIES;
use super::workers::Next;
use super::{Happening, World};
use crate::coverage::Reached;

/// Probes that are touched.
const PROBES: u64 = 8;
/// Touches of the one probe that needs snapshots: more than `fold::SNAPSHOT_EVENTS`.
const FLOOD: u64 = 150;
/// A body that has no place in a record.
const LARGE_BYTES: usize = BODY_INLINE_BYTES_MAX + 1_000;
/// Tasks of one run: enough to compete for workers, few enough to end.
const TASKS_MAX: usize = 12;
/// The schedules.
const SCHEDULES: [&str; 2] = ["every-0", "every-1"];
/// Between two looks at what is held back in a calm world.
const CALM_PAUSE_MS: u64 = 3_000;
/// The goal of a job that no worker ever begins: it is dropped, or ends who has it.
pub(super) const DEADLY: &str = "a deadly goal";
/// The lanes.
pub(super) const LANES: [&str; 2] = ["default", "fast"];

/// What clients remember.
#[derive(Debug, Default)]
pub struct Clients {
    tasks: Vec<Key>,
    schedules: u64,
    flooded: u64,
}

/// A key from a constant or a number.
pub(super) fn key(text: &str) -> Key {
    Key::parse(text).expect("the simulation makes only sound keys")
}

/// The address that takes commands of this type.
pub(super) fn address<C: WireCommand>(_: &C, key: Key) -> EntityAddress {
    EntityAddress::new(C::KIND, key)
}

impl World {
    /// A client does something, and another one soon.
    pub(super) fn client_acts(&mut self) {
        if self.calm {
            return self.calm_clients();
        }
        let busy = self.random.chance(700);
        let pause = if busy { self.random.between(1, 60) } else { self.random.between(200, 2_000) };
        self.soon(pause, Happening::ClientActs);
        if self.shape.flood && self.clients.flooded < FLOOD {
            for _ in 0..self.random.between(1, 12) {
                self.clients.flooded += 1;
                self.tell(key("flood"), &probe::Command::Touch { note: String::new() });
            }
        }
        match self.random.below(100) {
            0..25 => self.touch(),
            25..45 => self.submit(),
            45..53 => self.cancel_or_retry(),
            53..61 => self.answer_a_question(),
            61..70 => self.hand_something_over(),
            70..78 => self.ask_once_more(),
            78..82 => self.ask_as_impostor(Body::json(&json!({"type": "touch", "note": "impostor"}))),
            82..88 => self.say_nonsense(),
            88..92 => self.bound_a_lane(),
            92..94 => self.schedule(),
            94..97 => self.work_on_a_letter(),
            97..99 => self.work_on_a_redrive(),
            _ => self.work_on_a_breaker(),
        }
        if self.random.chance(30) {
            self.extend_a_budget();
        }
        if self.random.chance(200) {
            self.look_at_something();
        }
        if self.random.chance(20) {
            self.guess_a_token();
        }
        self.dependencies_change();
        if self.fault(self.faults.operator_halts, Reached::OperatorActed) {
            self.halt_or_resume();
        }
    }

    /// Breakers under which little is needed to open and close them.
    pub(super) fn start_breakers(&mut self) {
        for dependency in DEPENDENCIES.map(key) {
            let command = breaker::Command::Configure { policy: self.policy() };
            self.tell(dependency, &command);
        }
    }

    pub(super) fn tell<C: WireCommand>(&mut self, key: Key, command: &C) {
        self.ask(address(command, key), Body::json(command), Next::Nothing);
    }

    pub(super) fn probe_key(&mut self) -> Key {
        key(&format!("p{}", self.random.below(PROBES)))
    }

    fn touch(&mut self) {
        let to = self.probe_key();
        let command = match self.random.below(10) {
            0..5 => {
                let bytes =
                    if self.random.chance(15) { LARGE_BYTES } else { self.random.below(300) as usize };
                probe::Command::Touch { note: "x".repeat(bytes) }
            }
            5..8 => probe::Command::Forward { to: self.probe_key() },
            _ => probe::Command::TouchLater { after_ms: self.random.below(4_000) },
        };
        self.tell(to, &command);
    }

    fn submission(&mut self) -> Submit {
        let mut submit = Submit::new("a simulated goal");
        submit.owner = format_smolstr!("owner-{}", self.random.below(3));
        submit.priority = self.random.below(10) as u8;
        submit.lane = key(LANES[self.random.below(2) as usize]);
        submit.skill = if self.random.chance(250) { "plan".into() } else { "code".into() };
        submit.attempts_max = Some(self.random.between(1, 3) as u32);
        submit.budget = self.budget();
        if submit.skill == "code" && self.random.chance(40) {
            submit.goal = DEADLY.to_owned();
        }
        if self.random.chance(30) {
            submit.input = json!("x".repeat(LARGE_BYTES));
        }
        if self.random.chance(150) {
            submit.deadline = Some(Timestamp(self.time + self.random.between(8_000, 90_000)));
        }
        submit
    }

    fn submit(&mut self) {
        if self.clients.tasks.len() >= TASKS_MAX {
            return self.touch();
        }
        let key = key(&format!("t{}", self.clients.tasks.len()));
        let mut submit = self.submission();
        if self.random.chance(250) {
            submit.plan = Some(self.plan());
        }
        self.clients.tasks.push(key.clone());
        self.tell(key, &task::Command::Submit(submit));
    }

    /// A small graph: some steps come after others.
    pub(super) fn plan(&mut self) -> Plan {
        let count = self.random.between(1, 4);
        let mut steps = Vec::new();
        for index in 0..count {
            let before = self.random.below(index + 1);
            steps.push(PlanStep {
                step: format_smolstr!("s{index}"),
                goal: "a simulated step".to_owned(),
                skill: "code".into(),
                input: json!(null),
                after: if before < index { vec![format_smolstr!("s{before}")] } else { Vec::new() },
                optional: self.random.chance(300),
            });
        }
        Plan { steps }
    }

    pub(super) fn some_task(&mut self) -> Option<Key> {
        let known: Vec<Key> = self.audit.tasks().cloned().collect();
        self.random.pick(&known).cloned()
    }

    fn cancel_or_retry(&mut self) {
        let Some(key) = self.some_task() else { return };
        if self.random.chance(250) {
            // As the sweeper does, also where nothing is lost.
            self.coverage.note(Reached::Swept);
            self.tell(key, &task::Command::Sweep);
        } else if self.random.chance(400) {
            self.tell(key, &task::Command::Cancel { reason: "not wanted".to_owned() });
        } else {
            self.tell(key, &task::Command::Retry { end: None });
        }
    }

    fn answer_a_question(&mut self) {
        if let Some(key) = self.some_task() {
            let question = self.audit.question_of(&key);
            let command = task::Command::Answer { question, answer: json!("yes") };
            self.tell(key, &command);
        }
    }

    fn hand_something_over(&mut self) {
        let touch = probe::Command::Touch { note: "handed over".to_owned() };
        match self.random.below(10) {
            0..6 => {
                let to = address(&touch, self.probe_key());
                self.hand_over(&to, Body::json(&touch));
            }
            6..8 => {
                let path = key(&format!("p{}.below", self.random.below(PROBES)));
                self.hand_over(&address(&touch, path), Body::json(&touch));
            }
            8 => {
                let to = address(&touch, self.probe_key());
                self.hand_over(&to, Body { content_type: ContentType::Json, bytes: "{broken".into() });
            }
            _ => {
                let submit = task::Command::Submit(self.submission());
                let to = address(&submit, key(&format!("handed-{}", self.random.below(3))));
                self.hand_over(&to, Body::json(&submit));
            }
        }
    }

    fn say_nonsense(&mut self) {
        let touch = probe::Command::Touch { note: String::new() };
        let to = self.probe_key();
        match self.random.below(4) {
            0 => self.tell(to, &probe::Command::Panic),
            1 => self.ask(
                address(&touch, to),
                Body { content_type: ContentType::Json, bytes: "{\"type\":\"unknown\"}".into() },
                Next::Nothing,
            ),
            2 => self.ask(
                EntityAddress::new(Kind::from_static("ghost"), to),
                Body::json(&touch),
                Next::Nothing,
            ),
            _ => self.ask_elsewhere(address(&touch, to), Body::json(&touch)),
        }
    }

    /// Somebody bounds a lane as a whole, or lets it be open again.
    fn bound_a_lane(&mut self) {
        let lane = key(LANES[self.random.below(2) as usize]);
        let reason = "a drill".to_owned();
        let command = match self.random.below(10) {
            0..5 => {
                let concurrent = self.random.chance(600).then(|| self.random.between(1, 3) as u32);
                lane::Command::SetCap { concurrent }
            }
            5 => lane::Command::Pause { reason },
            6 | 7 => {
                let per_minute = self.random.chance(400).then(|| self.random.between(5, 60) as u32);
                lane::Command::Resume { reason, per_minute, revision: None }
            }
            8 => lane::Command::SetLimits { limits: lane::Limits::default(), reason },
            _ => {
                let order = lane::Order::Strict;
                let concurrent = self.random.chance(500).then(|| self.random.between(1, 4) as u32);
                let limits = lane::Limits { order, concurrent, ..lane::Limits::default() };
                lane::Command::SetLimits { limits, reason }
            }
        };
        self.tell(lane, &command);
    }

    /// Somebody reports for an attempt that a worker has, and does not know its token.
    fn guess_a_token(&mut self) {
        let Some(task) = self.some_task() else { return };
        let Some(attempt) = self.audit.issued_attempt(&task) else { return };
        let token = format_smolstr!("{:032x}", self.random.number());
        let (steps, artifacts) = (Vec::new(), Vec::new());
        let command = match self.random.below(3) {
            0 => task::Command::GiveBack { attempt, token, reason: "a guess".to_owned() },
            1 => {
                let prompt = "a guess?".to_owned();
                task::Command::RequireInput { attempt, token, prompt, authorization: false, approval: None }
            }
            _ => {
                let (result, plan) = (json!("a guess"), None);
                task::Command::CompleteJob { attempt, token, steps, artifacts, result, plan }
            }
        };
        self.coverage.note(Reached::ImpostorRefused);
        self.tell(task, &command);
    }

    fn schedule(&mut self) {
        let name = key(SCHEDULES[self.random.below(2) as usize]);
        self.clients.schedules += 1;
        let command = match self.random.below(6) {
            0..3 if self.clients.schedules < 6 => {
                let mut task = self.submission();
                (task.deadline, task.skill) = (None, "code".into());
                let recurrence = if self.random.chance(500) {
                    Recurrence::Once { at: Timestamp(self.time + self.random.between(3_000, 9_000)) }
                } else {
                    Recurrence::Every { every_ms: self.random.between(2_000, 20_000) }
                };
                schedule::Command::Create { recurrence, task }
            }
            3 => schedule::Command::Pause,
            4 => schedule::Command::Resume,
            _ => schedule::Command::Delete,
        };
        self.tell(name, &command);
    }

    /// Nothing new begins, and nothing is held back. Said again and again, because commands from the wild
    /// time may still arrive.
    pub(super) fn calm_clients(&mut self) {
        for lane in LANES {
            self.calm_lane(key(lane));
        }
        for name in SCHEDULES {
            let state = self.audit.state_of(&address(&schedule::Command::Delete, key(name)));
            if state.is_some_and(|state| !state["next"].is_null()) {
                self.tell(key(name), &schedule::Command::Delete);
            }
        }
        self.calm_operators();
        self.soon(CALM_PAUSE_MS, Happening::ClientActs);
    }

    /// Nothing bounds a lane as a whole.
    fn calm_lane(&mut self, lane: Key) {
        let limits = lane::Limits::default();
        let reason = "the drill is over".to_owned();
        let unbound = lane::Command::SetLimits { limits, reason: reason.clone() };
        let Some(state) = self.audit.state_of(&address(&unbound, lane.clone())) else { return };
        if state["limits"] != json!(lane::Limits::default()) {
            self.tell(lane.clone(), &unbound);
        }
        if !state["throttles"]["pause"].is_null() {
            self.tell(lane, &lane::Command::Resume { reason, per_minute: None, revision: None });
        }
    }
}
