//! What a task and everything below it waits for, put together from what each of them answers to
//! `explain`, for those that wait in a lane from what its broker answers, and from the halts that stand.
//!
//! Pure: an [`Inquiry`] says what is to be asked, takes the answers, and makes the whole of them. Who
//! asks decides how: the command line and the gateway ask over the bus, the sweeper looks.

mod moves;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use super::lane::{Block, Limit, Waiting};
use super::task::{TaskState, WaitsFor, Why};
use crate::envelope::Refusal;
use crate::halts::{Halts, Subject};
use crate::ids::{Key, Timestamp};

/// Tasks that one inquiry asks at most: the answer is read by a person, or stands in one response.
pub const TASKS_MAX: usize = 1_000;

/// What a task waits for, and everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waits {
    /// The task.
    pub task: Key,
    /// How far it is.
    pub state: TaskState,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// In a sentence.
    pub reason: String,
    /// What would move it; empty for a task that has ended.
    pub moves: String,
    /// Since when, as far as its events say.
    pub since: Timestamp,
    /// When it goes on by itself; none where that is not known.
    pub until: Option<Timestamp>,
    /// The lane in which it waits.
    pub lane: Key,
    /// What its lane says; none where it does not wait in one.
    pub in_lane: Option<Waiting>,
    /// The halt that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halted>,
    /// Its children that have not ended, with theirs.
    pub children: Vec<Waits>,
    /// Children that were started, and are not there.
    pub missing: Vec<Key>,
    /// Who did not say: its lane, or children that were started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<Silent>,
    /// How many children were not asked, because there are too many.
    pub left_out: u64,
}

/// A halt that covers a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Halted {
    /// What stands still.
    pub scope: SmolStr,
    /// Why.
    pub reason: String,
    /// Who wanted it.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

/// Somebody who refused to say anything, as one that is quarantined does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Silent {
    /// Who: `task/<key>` or `broker/<lane>`.
    pub entity: String,
    /// The refusal: a stable word for programs.
    pub code: SmolStr,
    /// In a sentence.
    pub reason: String,
}

/// Something to ask.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// `explain`, to this task.
    Task(Key),
    /// `explain`, to the broker of a lane, about a task.
    Lane {
        /// The broker.
        lane: Key,
        /// The task.
        task: Key,
    },
}

/// What is known of a tree so far, and what is to be asked next.
#[derive(Debug)]
pub struct Inquiry {
    root: Key,
    next: Vec<Question>,
    asked: BTreeSet<Key>,
    found: BTreeMap<Key, Why>,
    in_lane: BTreeMap<Key, Waiting>,
    silent: BTreeMap<Question, Refusal>,
}

impl Inquiry {
    /// About a task and everything below it.
    pub fn of(task: Key) -> Self {
        Self {
            next: vec![Question::Task(task.clone())],
            asked: BTreeSet::from([task.clone()]),
            root: task,
            found: BTreeMap::new(),
            in_lane: BTreeMap::new(),
            silent: BTreeMap::new(),
        }
    }
    /// What is to be asked now; each is told once. Nothing when everything is known.
    pub fn questions(&mut self) -> Vec<Question> {
        take(&mut self.next)
    }
    /// Takes an answer: the result of the reply, or none where there is no such task. Fails on an answer
    /// that is none, as of another version.
    pub fn answer(&mut self, question: &Question, answer: Option<Value>) -> Result<(), serde_json::Error> {
        let Some(answer) = answer else { return Ok(()) };
        match question {
            Question::Lane { task, .. } => {
                self.in_lane.insert(task.clone(), serde_json::from_value(answer)?);
            }
            Question::Task(task) => {
                let why: Why = serde_json::from_value(answer)?;
                if why.waits_for == WaitsFor::Lane {
                    self.next.push(Question::Lane { lane: why.lane.clone(), task: task.clone() });
                }
                for child in &why.children {
                    if self.asked.len() < TASKS_MAX && self.asked.insert(child.clone()) {
                        self.next.push(Question::Task(child.clone()));
                    }
                }
                self.found.insert(task.clone(), why);
            }
        }
        Ok(())
    }
    /// Takes a refusal: what is said of the others does not depend on it. Gives it back where it is that of
    /// the task that all of this is about.
    pub fn refused(&mut self, question: Question, refusal: Refusal) -> Result<(), Refusal> {
        if question == Question::Task(self.root.clone()) {
            return Err(refusal);
        }
        self.silent.insert(question, refusal);
        Ok(())
    }
    /// What the tree waits for, under the halts that stand; none where there is no such task.
    pub fn end(mut self, halts: &Halts) -> Option<Waits> {
        let root = self.root.clone();
        self.tree(&root, halts)
    }

    /// A key is longer than that of the task above it, so this ends.
    fn tree(&mut self, task: &Key, halts: &Halts) -> Option<Waits> {
        let why = self.found.remove(task)?;
        let in_lane = self.in_lane.remove(task);
        let halted = halted(&why, halts);
        let moves = moves::of(&why, in_lane.as_ref(), halted.as_ref());
        let mut silent = Vec::new();
        let lane = Question::Lane { lane: why.lane.clone(), task: task.clone() };
        silent.extend(self.silence(&lane));
        let (mut children, mut missing, mut left_out) = (Vec::new(), Vec::new(), 0);
        for child in why.children {
            let said_nothing = self.silence(&Question::Task(child.clone()));
            match (said_nothing, self.tree(&child, halts)) {
                (Some(found), _) => silent.push(found),
                (None, Some(waits)) => children.push(waits),
                (None, None) if self.asked.contains(&child) => missing.push(child),
                (None, None) => left_out += 1,
            }
        }
        let Why { task, state, waits_for, reason, since, until, lane, .. } = why;
        // Under a halt of everything timers wait, and under any other one what they begin.
        let until = until.filter(|_| halted.is_none());
        Some(Waits {
            task,
            state,
            waits_for,
            reason,
            moves,
            since,
            until,
            lane,
            in_lane,
            halted,
            children,
            missing,
            silent,
            left_out,
        })
    }
    fn silence(&mut self, question: &Question) -> Option<Silent> {
        let refusal = self.silent.remove(question)?;
        let entity = match question {
            Question::Task(task) => format!("task/{task}"),
            Question::Lane { lane, .. } => format!("broker/{lane}"),
        };
        Some(Silent { entity, code: refusal.code, reason: refusal.message })
    }
}

/// The halt that keeps a task where it is.
fn halted(why: &Why, halts: &Halts) -> Option<Halted> {
    let subject = Subject { lane: &why.lane, agent: None, task: &why.task };
    let (scope, standing) = halts.covering(subject).filter(|_| why.waits_for != WaitsFor::Nothing)?;
    Some(Halted {
        scope: scope.to_string().into(),
        reason: standing.reason.clone(),
        by: standing.by.clone(),
        since: standing.since,
    })
}

impl Waits {
    /// In one sentence, with what limits it in its lane, and what halts it.
    pub fn sentence(&self) -> String {
        let mut more: Vec<String> = match &self.in_lane {
            Some(waiting) if waiting.waits => waiting.blocks.iter().map(phrase).collect(),
            Some(Waiting { agent: Some(agent), .. }) => vec![format!("its lane gave it to agent `{agent}`")],
            Some(_) => vec!["its lane has not heard of it".to_owned()],
            None => self.missing.iter().map(|child| format!("`{child}` is not there")).collect(),
        };
        if let Some(halt) = &self.halted {
            let cause = format!("halt/{}", halt.scope);
            let blocks = self.in_lane.iter().flat_map(|waiting| &waiting.blocks);
            // Its lane may have said so already.
            if !blocks.into_iter().any(|block| block.cause.as_deref() == Some(cause.as_str())) {
                more.push(format!("halted by {cause}: {}", halt.reason));
            }
        }
        more.extend(
            self.silent.iter().map(|silent| format!("`{}` does not say: {}", silent.entity, silent.reason)),
        );
        match more.is_empty() {
            true => self.reason.clone(),
            false => format!("{}: {}", self.reason, more.join("; ")),
        }
    }
    /// It and everything below it, each before its children.
    pub fn all(&self) -> Vec<&Self> {
        let mut all = vec![self];
        all.extend(self.children.iter().flat_map(Self::all));
        all
    }
}

/// Why something waits in its lane.
fn phrase(block: &Block) -> String {
    let Block { what, reason, cause, until } = block;
    let mut text = match (what, cause) {
        (Limit::Held, Some(cause)) => format!("held by {cause}: {reason}"),
        (Limit::Held, None) => format!("held: {reason}"),
        (Limit::Easing, Some(cause)) => format!("released gradually after {cause}: {reason}"),
        _ => reason.clone(),
    };
    if let Some(until) = until {
        text.push_str(&format!(", until {}", until.to_rfc3339()));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text).expect("a constant of a test")
    }

    fn why(task: &str, waits_for: &str, children: &[&str]) -> Value {
        json!({
            "task": task, "state": "working", "waits_for": waits_for, "reason": "it waits", "moves": "a push",
            "since": 1, "lane": "default", "skill": "code", "children": children,
        })
    }

    #[test]
    fn an_inquiry_goes_down_to_the_leaves_and_asks_the_lanes() {
        let mut inquiry = Inquiry::of(key("t"));
        let root = Question::Task(key("t"));
        assert_eq!(inquiry.questions(), std::slice::from_ref(&root));
        inquiry.answer(&root, Some(why("t", "children", &["t.a", "t.b"]))).expect("an answer");
        let [a, b] = ["t.a", "t.b"].map(|task| Question::Task(key(task)));
        assert_eq!(inquiry.questions(), [a.clone(), b.clone()]);
        inquiry.answer(&a, Some(why("t.a", "lane", &[]))).expect("an answer");
        inquiry.answer(&b, None).expect("none is an answer");
        let lane = Question::Lane { lane: key("default"), task: key("t.a") };
        assert_eq!(inquiry.questions(), std::slice::from_ref(&lane));
        let held = json!({"what": "held", "reason": "a leak", "cause": "halt/all", "until": null});
        let waiting =
            json!({"waits": true, "attempt": 1, "agent": null, "since": 1, "ahead": 0, "blocks": [held]});
        inquiry.answer(&lane, Some(waiting)).expect("an answer");
        assert!(inquiry.questions().is_empty());
        let waits = inquiry.end(&Halts::default()).expect("the task is there");
        let names: Vec<&str> = waits.all().iter().map(|waits| waits.task.as_str()).collect();
        assert_eq!(names, ["t", "t.a"]);
        assert_eq!(waits.sentence(), "it waits: `t.b` is not there");
        assert_eq!(waits.children[0].sentence(), "it waits: held by halt/all: a leak");
    }

    #[test]
    fn who_is_not_there_is_nothing_and_rubbish_is_no_answer() {
        let mut inquiry = Inquiry::of(key("t"));
        let root = inquiry.questions().remove(0);
        assert!(inquiry.answer(&root, Some(json!({"task": "t"}))).is_err());
        inquiry.answer(&root, None).expect("none is an answer");
        assert_eq!(inquiry.end(&Halts::default()), None);
    }

    #[test]
    fn one_that_does_not_answer_is_a_leaf_and_no_end_of_the_answer() {
        let mut inquiry = Inquiry::of(key("t"));
        let root = inquiry.questions().remove(0);
        let quarantined = || Refusal::new("entity-quarantined", "`it` is quarantined");
        assert!(inquiry.refused(root.clone(), quarantined()).is_err(), "then nothing is known");
        inquiry.answer(&root, Some(why("t", "children", &["t.a", "t.b"]))).expect("an answer");
        let [a, b] = ["t.a", "t.b"].map(|task| Question::Task(key(task)));
        inquiry.refused(a, quarantined()).expect("it is one of two");
        inquiry.questions();
        inquiry.answer(&b, Some(why("t.b", "lane", &[]))).expect("an answer");
        let lane = inquiry.questions().remove(0);
        inquiry.refused(lane, quarantined()).expect("it is the lane");
        let waits = inquiry.end(&Halts::default()).expect("the task is there");
        let said = |waits: &Waits| waits.silent.iter().map(|each| each.entity.clone()).collect::<Vec<_>>();
        assert_eq!(
            (said(&waits), said(&waits.children[0])),
            (vec!["task/t.a".into()], vec!["broker/default".into()])
        );
        assert_eq!(waits.sentence(), "it waits: `task/t.a` does not say: `it` is quarantined");
        assert!(waits.missing.is_empty());
    }

    #[test]
    fn a_pause_does_not_end_by_itself_under_a_halt() {
        let mut halts = Halts::default();
        let (reason, by) = ("fire".to_owned(), "ann".to_owned());
        let halted = crate::events::halt::Event::Halted { reason, by, grace_ms: 1, at: Timestamp(5) };
        halts.apply(&key("all"), &halted);
        let asked = |halts: &Halts| {
            let mut inquiry = Inquiry::of(key("t"));
            let root = inquiry.questions().remove(0);
            let mut pause = why("t", "backoff", &[]);
            pause["until"] = json!(9);
            inquiry.answer(&root, Some(pause)).expect("an answer");
            inquiry.end(halts).expect("the task is there")
        };
        let waits = asked(&halts);
        assert_eq!((waits.until, waits.moves.as_str()), (None, "the end of its halt: `orrery resume all`"));
        assert_eq!(waits.sentence(), "it waits: halted by halt/all: fire");
        let waits = asked(&Halts::default());
        assert_eq!((waits.until, waits.moves.as_str()), (Some(Timestamp(9)), "a push"));
    }

    #[test]
    fn a_large_tree_is_cut_and_says_so() {
        let mut inquiry = Inquiry::of(key("t"));
        let names: Vec<String> = (0..TASKS_MAX + 5).map(|child| format!("t.c{child}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let root = inquiry.questions().remove(0);
        inquiry.answer(&root, Some(why("t", "children", &names))).expect("an answer");
        let asked = inquiry.questions();
        assert_eq!(asked.len(), TASKS_MAX - 1, "with the root itself");
        for question in &asked {
            let Question::Task(task) = question else { panic!("{question:?}") };
            inquiry.answer(question, Some(why(task.as_str(), "worker", &[]))).expect("an answer");
        }
        let waits = inquiry.end(&Halts::default()).expect("the task is there");
        assert_eq!((waits.children.len(), waits.left_out), (TASKS_MAX - 1, 6));
    }
}
