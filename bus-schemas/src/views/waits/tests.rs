//! Inquiries: the queries, their order, and the view that the answers give.

use serde_json::json;

use super::*;
use crate::wire::EventFold;

fn key(text: &str) -> Key {
    Key::parse(text).expect("a constant of a test")
}

fn queue_of(task: &str) -> Question {
    Question::Queue { queue: queue::key(&key("default"), PartitionId(0), 1), task: key(task) }
}

fn lane_of(task: &str) -> Question {
    Question::Lane { lane: key("default"), task: key(task), skill: "count".into() }
}

fn held() -> Value {
    json!({"what": "held", "reason": "a leak", "cause": "halt/all", "until": null})
}

fn waiting(waits: bool, blocks: &[Value]) -> Value {
    json!({"waits": waits, "attempt": 1, "agent": null, "since": 1, "ahead": 0, "blocks": blocks})
}

fn why(task: &str, waits_for: &str, children: &[&str]) -> Value {
    json!({
        "task": task, "state": "working", "waits_for": waits_for, "reason": "it waits", "moves": "a push",
        "since": 1, "lane": "default", "skill": "count", "children": children,
    })
}

#[test]
fn an_inquiry_goes_down_to_the_leaves_and_asks_queues_and_lanes() {
    let mut inquiry = Inquiry::of(key("t"), 1);
    let root = Question::Task(key("t"));
    assert_eq!(inquiry.questions(), std::slice::from_ref(&root));
    inquiry.answer(&root, Some(why("t", "children", &["t.a", "t.b"]))).expect("an answer");
    let [a, b] = ["t.a", "t.b"].map(|task| Question::Task(key(task)));
    assert_eq!(inquiry.questions(), [a.clone(), b.clone()]);
    inquiry.answer(&a, Some(why("t.a", "lane", &[]))).expect("an answer");
    inquiry.answer(&b, None).expect("none is an answer");
    let queue = queue_of("t.a");
    assert_eq!(inquiry.questions(), std::slice::from_ref(&queue));
    inquiry.answer(&queue, Some(waiting(true, &[]))).expect("an answer");
    let lane = lane_of("t.a");
    assert_eq!(inquiry.questions(), std::slice::from_ref(&lane));
    inquiry.answer(&lane, Some(waiting(false, &[held()]))).expect("an answer");
    assert!(inquiry.questions().is_empty());
    let waits = inquiry.end(&Halts::default()).expect("the task is there");
    let names: Vec<&str> = waits.all().iter().map(|waits| waits.task.as_str()).collect();
    assert_eq!(names, ["t", "t.a"]);
    assert_eq!(waits.sentence(), "it waits: `t.b` is not there");
    assert_eq!(waits.children[0].sentence(), "it waits: held by halt/all: a leak");
}

#[test]
fn a_lane_that_does_not_answer_is_waited_for_once() {
    let mut inquiry = Inquiry::of(key("t"), 1);
    let root = inquiry.questions().remove(0);
    let names = ["t.a", "t.b", "t.c"];
    inquiry.answer(&root, Some(why("t", "children", &names))).expect("an answer");
    for question in inquiry.questions() {
        let task = question.to().key;
        inquiry.answer(&question, Some(why(task.as_str(), "lane", &[]))).expect("an answer");
    }
    let queues = inquiry.questions();
    assert_eq!(queues, names.map(queue_of));
    for queue in &queues {
        inquiry.answer(queue, Some(waiting(true, &[held()]))).expect("an answer");
    }
    assert_eq!(inquiry.questions(), [lane_of("t.a")]);
    inquiry.refused(&lane_of("t.a"), Refusal::new("no-answer", "nobody answers")).expect("not the root");
    assert!(inquiry.questions().is_empty(), "the lane is not asked about the others");
    let waits = inquiry.end(&Halts::default()).expect("the task is there");
    for child in &waits.children {
        let said = "it waits: held by halt/all: a leak; `lane/default` does not say: nobody answers";
        assert_eq!(child.sentence(), said);
    }
}

#[test]
fn a_lane_that_answers_is_asked_about_everybody() {
    let mut inquiry = Inquiry::of(key("t"), 1);
    let root = inquiry.questions().remove(0);
    inquiry.answer(&root, Some(why("t", "children", &["t.a", "t.b"]))).expect("an answer");
    for question in inquiry.questions() {
        let task = question.to().key;
        inquiry.answer(&question, Some(why(task.as_str(), "lane", &[]))).expect("an answer");
    }
    // If a queue does not answer, the lane's answer remains, if there is one.
    for queue in inquiry.questions() {
        inquiry.refused(&queue, Refusal::new("entity-quarantined", "no")).expect("not the root");
    }
    assert_eq!(inquiry.questions(), [lane_of("t.a")]);
    inquiry.answer(&lane_of("t.a"), Some(waiting(true, &[held()]))).expect("an answer");
    assert_eq!(inquiry.questions(), [lane_of("t.b")]);
    inquiry.answer(&lane_of("t.b"), Some(waiting(false, &[held()]))).expect("an answer");
    assert!(inquiry.questions().is_empty());
    let waits = inquiry.end(&Halts::default()).expect("the task is there");
    let known: Vec<bool> = waits.children.iter().map(|child| child.in_lane.is_some()).collect();
    assert_eq!(known, [true, false], "an open lane knows nothing of a task");
}

#[test]
fn who_is_not_there_is_nothing_and_rubbish_is_no_answer() {
    let mut inquiry = Inquiry::of(key("t"), 1);
    let root = inquiry.questions().remove(0);
    assert!(inquiry.answer(&root, Some(json!({"task": "t"}))).is_err());
    inquiry.answer(&root, None).expect("none is an answer");
    assert_eq!(inquiry.end(&Halts::default()), None);
}

#[test]
fn one_that_does_not_answer_is_a_leaf_and_no_end_of_the_answer() {
    let mut inquiry = Inquiry::of(key("t"), 1);
    let root = inquiry.questions().remove(0);
    let quarantined = || Refusal::new("entity-quarantined", "`it` is quarantined");
    assert!(inquiry.refused(&root, quarantined()).is_err(), "then nothing is known");
    inquiry.answer(&root, Some(why("t", "children", &["t.a", "t.b"]))).expect("an answer");
    let [a, b] = ["t.a", "t.b"].map(|task| Question::Task(key(task)));
    inquiry.refused(&a, quarantined()).expect("it is one of two");
    inquiry.questions();
    inquiry.answer(&b, Some(why("t.b", "lane", &[]))).expect("an answer");
    let queue = inquiry.questions().remove(0);
    inquiry.refused(&queue, quarantined()).expect("it is the queue");
    let lane = inquiry.questions().remove(0);
    inquiry.refused(&lane, quarantined()).expect("it is the lane");
    let waits = inquiry.end(&Halts::default()).expect("the task is there");
    let said = |waits: &Waits| waits.silent.iter().map(|each| each.entity.clone()).collect::<Vec<_>>();
    assert_eq!(
        (said(&waits), said(&waits.children[0])),
        (vec!["task/t.a".into()], vec![queue_of("t.b").to().to_string(), "lane/default".into()])
    );
    assert_eq!(waits.children[0].in_lane, None);
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
        let mut inquiry = Inquiry::of(key("t"), 1);
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
    let mut inquiry = Inquiry::of(key("t"), 1);
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
