//! What would end the wait of a task in its lane or under a halt, derived from its limits.

use crate::views::lane::{Block, Limit, Waiting};
use crate::views::task::{WaitsFor, Why};

use super::Halted;

/// What would end the wait, in words; empty for a task that has ended.
pub(super) fn of(why: &Why, waiting: Option<&Waiting>, halted: Option<&Halted>) -> String {
    let halt = halted.map(|halt| format!("the end of its halt: `orrery resume {}`", halt.scope));
    match (why.waits_for, waiting, halt) {
        (WaitsFor::Nothing | WaitsFor::Children, ..) => why.moves.clone(),
        (WaitsFor::Answer | WaitsFor::Budget, _, Some(halt)) => format!("{}, and {halt}", why.moves),
        (_, _, Some(halt)) => halt,
        (WaitsFor::Lane, Some(waiting), None) => in_lane(why, waiting),
        _ => why.moves.clone(),
    }
}

fn in_lane(why: &Why, waiting: &Waiting) -> String {
    if !waiting.waits {
        return "the word that is on its way; should it be lost, the sweeper says it again".to_owned();
    }
    let mut moves = Vec::new();
    for block in &waiting.blocks {
        let word = by(why, waiting, block);
        if !moves.contains(&word) {
            moves.push(word);
        }
    }
    match moves.is_empty() {
        true => why.moves.clone(),
        false => moves.join(", and "),
    }
}

/// What would remove one limit.
fn by(why: &Why, waiting: &Waiting, block: &Block) -> String {
    let lane = &why.lane;
    match block.what {
        Limit::Held => block.cause.as_ref().map_or_else(|| why.moves.clone(), |cause| held(why, cause)),
        Limit::Easing => "jobs that succeed: more begin with each".to_owned(),
        Limit::Concurrent => format!("the end of a job in lane `{lane}`, or a higher cap"),
        Limit::Busy => "the end of a job of these agents, or one more worker".to_owned(),
        Limit::PerMinute => "the next minute, or a higher cap".to_owned(),
        Limit::PerDay => "the next day, or a higher cap".to_owned(),
        Limit::Window => "the end of the maintenance".to_owned(),
        Limit::NoAgent => "a worker of an agent with this skill".to_owned(),
        Limit::Order => format!("the {} that are served before it", waiting.ahead),
    }
}

/// What would end a hold. Its cause is `<kind>/<key>`, or the word of a person's pause.
fn held(why: &Why, cause: &str) -> String {
    match cause.split_once('/') {
        Some(("halt", scope)) => format!("the end of its halt: `orrery resume {scope}`"),
        Some(("breaker", dependency)) => {
            format!("`{dependency}` that answers again: `orrery breakers show {dependency}`")
        }
        Some(("budget", root)) => format!("more budget: `orrery tasks extend-budget {root}`"),
        Some(("settings", _)) => format!("settings `lanes` that do not pause `{}`", why.lane),
        _ if cause == "pause" => format!("the end of the pause: `orrery lanes resume {}`", why.lane),
        _ => format!("the end of what `{cause}` holds"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(waits_for: &str) -> Why {
        serde_json::from_value(json!({
            "task": "t", "state": "working", "waits_for": waits_for, "reason": "it waits", "moves": "a push",
            "since": 1, "lane": "fast", "skill": "count",
        }))
        .expect("an explanation")
    }

    fn waiting(blocks: &[(&str, Option<&str>)]) -> Waiting {
        let block =
            |(what, cause): &(&str, Option<&str>)| json!({"what": what, "reason": "so", "cause": cause});
        let blocks: Vec<_> = blocks.iter().map(block).collect();
        let waiting =
            json!({"waits": true, "attempt": 1, "agent": null, "since": 1, "ahead": 3, "blocks": blocks});
        serde_json::from_value(waiting).expect("a place in a lane")
    }

    #[test]
    fn what_limits_says_what_would_move() {
        let cases = [
            (("held", Some("halt/lane.fast")), "the end of its halt: `orrery resume lane.fast`"),
            (("held", Some("budget/t")), "more budget: `orrery tasks extend-budget t`"),
            (("held", Some("pause")), "the end of the pause: `orrery lanes resume fast`"),
            (("held", Some("settings/lanes")), "settings `lanes` that do not pause `fast`"),
            (("held", Some("breaker/m")), "`m` that answers again: `orrery breakers show m`"),
            (("easing", Some("halt/all")), "jobs that succeed: more begin with each"),
            (("window", None), "the end of the maintenance"),
            (("per-day", None), "the next day, or a higher cap"),
            (("concurrent", None), "the end of a job in lane `fast`, or a higher cap"),
            (("busy", None), "the end of a job of these agents, or one more worker"),
            (("no-agent", None), "a worker of an agent with this skill"),
            (("order", None), "the 3 that are served before it"),
        ];
        for (block, expected) in cases {
            assert_eq!(of(&why("lane"), Some(&waiting(&[block])), None), expected);
        }
        let both = waiting(&[("held", Some("budget/t")), ("no-agent", None)]);
        let moves = of(&why("lane"), Some(&both), None);
        assert_eq!(
            moves,
            "more budget: `orrery tasks extend-budget t`, and a worker of an agent with this skill"
        );
    }

    #[test]
    fn under_a_halt_nothing_else_moves_but_a_person() {
        let halted = Halted {
            scope: "all".into(),
            reason: "fire".into(),
            by: "ann".into(),
            since: Default::default(),
        };
        for waits_for in ["backoff", "lane", "worker"] {
            let moves = of(&why(waits_for), None, Some(&halted));
            assert_eq!(moves, "the end of its halt: `orrery resume all`", "{waits_for}");
        }
        let moves = of(&why("answer"), None, Some(&halted));
        assert_eq!(moves, "a push, and the end of its halt: `orrery resume all`");
        assert_eq!(of(&why("children"), None, Some(&halted)), "a push", "they say so themselves");
        assert_eq!(of(&why("backoff"), None, None), "a push");
    }
}
