//! Whether what a long-unchanged task waits for is still there. Pure.
//!
//! Every unfinished task has at least one of: a live lease, a timer, a running child, a named wait.

use bus_schemas::views::lane::{Limit, Waiting};
use bus_schemas::views::task::{WaitsFor, Why};
use bus_schemas::{Key, Timestamp};

/// How late, in milliseconds, a timer may fire after its host was away: a takeover takes less.
const TIMER_PATIENCE_MS: u64 = 30_000;

/// The verdict on a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The task has ended.
    Ended,
    /// The task waits for something that will move it.
    Waits {
        /// When it goes on by itself.
        until: Option<Timestamp>,
    },
    /// Nothing will move the task.
    Missing {
        /// What is missing.
        reason: String,
    },
}

impl Verdict {
    fn missing(reason: impl Into<String>) -> Self {
        Self::Missing { reason: reason.into() }
    }
}

/// The state of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Child {
    /// The child has not ended.
    Open,
    /// The child has ended.
    Ended,
    /// The child was started, and does not exist.
    Missing,
}

/// The findings about a task.
#[derive(Debug)]
pub(super) struct Found<'a> {
    /// The task's own explanation.
    pub(super) why: &'a Why,
    /// The lane's explanation, when the task waits in one.
    pub(super) in_lane: Option<&'a Waiting>,
    /// A halt for which the lane holds the task, although the halt has ended.
    pub(super) resumed: Option<&'a str>,
    /// The children that, as the task knows, have not ended.
    pub(super) children: &'a [(Key, Child)],
}

/// Judges whether what the task waits for is still there.
pub(super) fn judge(found: &Found<'_>, now: Timestamp) -> Verdict {
    let why = found.why;
    let waits = Verdict::Waits { until: why.until };
    match why.waits_for {
        WaitsFor::Nothing => Verdict::Ended,
        WaitsFor::Answer | WaitsFor::Budget => waits,
        WaitsFor::Lane => in_lane(&why.lane, found.in_lane, found.resumed),
        // The owner of its partition keeps the lease, also after a takeover.
        WaitsFor::Worker => waits,
        WaitsFor::Backoff => match why.until {
            Some(until) if until.plus_ms(TIMER_PATIENCE_MS) <= now => {
                Verdict::missing(format!("its pause ended at {}", until.to_rfc3339()))
            }
            _ => waits,
        },
        WaitsFor::Children => children(found.children),
    }
}

fn in_lane(lane: &Key, waiting: Option<&Waiting>, resumed: Option<&str>) -> Verdict {
    let Some(waiting) = waiting else {
        return Verdict::missing(format!("the lane `{lane}` says nothing of it"));
    };
    if let Some(agent) = waiting.agent.as_ref().filter(|_| !waiting.waits) {
        return Verdict::missing(format!(
            "the lane `{lane}` gave it to agent `{agent}`, and it was not told"
        ));
    }
    if !waiting.waits {
        return Verdict::missing(format!("the lane `{lane}` does not know of it"));
    }
    if let Some(halt) = resumed {
        return Verdict::missing(format!("the lane `{lane}` holds it for `{halt}`, which does not stand"));
    }
    // A limit is a named wait; a task that is next, with a free agent, has none.
    let is_next = waiting.ahead == 0 && waiting.blocks.iter().all(|block| block.what == Limit::Order);
    if is_next {
        return Verdict::missing(format!("nothing limits it in the lane `{lane}`, and it does not begin"));
    }
    let until = waiting.blocks.iter().filter_map(|block| block.until).max();
    Verdict::Waits { until }
}

fn children(children: &[(Key, Child)]) -> Verdict {
    let of = |wanted: Child| children.iter().find(|(_, child)| *child == wanted).map(|(key, _)| key);
    if let Some(key) = of(Child::Missing) {
        return Verdict::missing(format!("its child `{key}` is not there"));
    }
    if let Some(key) = of(Child::Ended) {
        return Verdict::missing(format!("its child `{key}` has ended, and it was not told"));
    }
    match children.is_empty() {
        true => Verdict::missing("the task waits for children, and has none that is open"),
        false => Verdict::Waits { until: None },
    }
}

#[cfg(test)]
mod tests {
    use bus_schemas::views::lane::Block;
    use bus_schemas::views::task::TaskState;

    use super::*;

    const NOW: Timestamp = Timestamp(10_000_000_000);

    fn key(text: &str) -> Key {
        Key::parse(text).expect("a constant of a test")
    }
    fn why(waits_for: WaitsFor, ago_ms: u64) -> Why {
        Why {
            task: key("t"),
            state: TaskState::Working,
            waits_for,
            reason: "it waits".into(),
            moves: "a push".into(),
            since: Timestamp(NOW.0 - ago_ms),
            until: None,
            lane: key("default"),
            skill: "plan".into(),
            children: Vec::new(),
        }
    }
    fn found(why: &Why) -> Verdict {
        judge(&Found { why, in_lane: None, children: &[], resumed: None }, NOW)
    }
    fn is_missing(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Missing { .. })
    }

    #[test]
    fn who_waits_for_a_person_waits_well_for_ever() {
        for waits_for in [WaitsFor::Answer, WaitsFor::Budget] {
            assert_eq!(found(&why(waits_for, 9_000_000_000)), Verdict::Waits { until: None });
        }
        assert_eq!(found(&why(WaitsFor::Nothing, 0)), Verdict::Ended);
    }

    #[test]
    fn who_waits_in_a_lane_must_be_known_there_and_be_limited_by_something() {
        let why = why(WaitsFor::Lane, 1_000_000);
        let judged = |waiting: &Waiting| {
            judge(&Found { why: &why, in_lane: Some(waiting), children: &[], resumed: None }, NOW)
        };
        let unknown = Waiting::default();
        assert!(is_missing(&judged(&unknown)));
        assert!(is_missing(&judged(&Waiting { agent: Some(key("git")), attempt: 1, ..unknown.clone() })));
        let block = |what, until| Block { what, reason: "so".into(), cause: None, until };
        let known = |ahead, what, until| Waiting {
            waits: true,
            attempt: 1,
            ahead,
            blocks: vec![block(what, until)],
            ..unknown.clone()
        };
        assert_eq!(judged(&known(0, Limit::NoAgent, None)), Verdict::Waits { until: None });
        let until = Some(NOW.plus_ms(5));
        assert_eq!(judged(&known(0, Limit::Window, until)), Verdict::Waits { until });
        assert_eq!(judged(&known(3, Limit::Order, None)), Verdict::Waits { until: None });
        assert!(is_missing(&judged(&known(0, Limit::Order, None))));
        let held = known(0, Limit::Held, None);
        assert_eq!(judged(&held), Verdict::Waits { until: None });
        let (resumed, children) = (Some("halt/all"), &[][..]);
        let found = Found { why: &why, in_lane: Some(&held), resumed, children };
        assert!(is_missing(&judge(&found, NOW)), "the halt for which it is held does not stand");
    }

    #[test]
    fn a_pause_may_be_late_but_not_for_ever() {
        let mut pause = why(WaitsFor::Backoff, 1_000_000);
        pause.until = Some(NOW.plus_ms(10));
        assert_eq!(found(&pause), Verdict::Waits { until: pause.until });
        pause.until = Some(Timestamp(NOW.0 - 10_000));
        assert!(!is_missing(&found(&pause)), "a host may be away for a moment");
        pause.until = Some(Timestamp(NOW.0 - 100_000));
        assert!(is_missing(&found(&pause)));
        assert_eq!(
            found(&why(WaitsFor::Worker, 9_000_000)),
            Verdict::Waits { until: None },
            "it has a lease"
        );
    }

    #[test]
    fn a_parent_must_have_a_child_that_is_open_and_know_of_those_that_ended() {
        let why = why(WaitsFor::Children, 1_000_000);
        let judged = |children: &[(Key, Child)]| {
            judge(&Found { why: &why, in_lane: None, children, resumed: None }, NOW)
        };
        let child = |name: &str, found: Child| (key(name), found);
        assert!(is_missing(&judged(&[])));
        assert_eq!(judged(&[child("t.a", Child::Open)]), Verdict::Waits { until: None });
        assert!(is_missing(&judged(&[child("t.a", Child::Open), child("t.b", Child::Ended)])));
        assert!(is_missing(&judged(&[child("t.a", Child::Open), child("t.b", Child::Missing)])));
    }
}
