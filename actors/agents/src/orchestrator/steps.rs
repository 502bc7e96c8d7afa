//! The steps of a plan as child tasks: each operator of the domain with the goal and the input of its skill.

use actors_planner::htn::Plan as Found;
use actors_planner::intent::{Goal, Intent};
use bus_schemas::commands::task::{Plan, PlanStep};
use serde_json::{Map, Value, json};
use smol_str::SmolStr;

/// What the skills that read a repository are asked for; the documentation is searched with the words of the goal.
const LOOKS_FOR: [(&str, &str); 5] = [
    ("inventory", "count the files and lines of {} by language"),
    ("history", "read the git history of {}"),
    ("manifests", "find and read the dependency manifests of {}"),
    ("hotspots", "find notes and long functions in the code of {}"),
    ("review", "check the findings on {}"),
];

/// What a goal came with.
pub(super) struct Given<'a> {
    pub(super) goal: &'a str,
    pub(super) intent: &'a Intent,
    /// The path of the repository; empty if the goal is about none.
    pub(super) repo: &'a str,
    pub(super) input: &'a Value,
}

/// The child tasks of a found plan.
pub(super) fn steps(found: &Found, given: &Given<'_>) -> Plan {
    // No plan of the domain has one skill twice.
    let name = |at: usize| {
        let skill = found.steps[at].task.name();
        SmolStr::new(skill.strip_prefix("generate-").unwrap_or(skill))
    };
    let step = |at: usize| {
        let skill = found.steps[at].task.name();
        let wanted = LOOKS_FOR.iter().find(|(name, _)| *name == skill);
        let goal = wanted.map_or_else(|| given.goal.to_owned(), |(_, text)| text.replace("{}", given.repo));
        let after = found.steps[at].after.iter().map(|before| name(*before)).collect();
        PlanStep { step: name(at), goal, skill: skill.into(), input: given.of(skill), after, optional: false }
    };
    Plan { steps: (0..found.steps.len()).map(step).collect() }
}

impl Given<'_> {
    /// The input of a skill.
    fn of(&self, skill: &str) -> Value {
        let Intent { goal, rounds, seconds, .. } = self.intent;
        let repo = || Map::from_iter([("repo".to_owned(), json!(self.repo))]);
        let workspace = |name: &str, value: Value| json!({"workspace": self.repo, name: value});
        let limits = [("rounds", json!(rounds)), ("step_seconds", json!(seconds))];
        match (skill, goal) {
            ("specify" | "generate-backend" | "generate-frontend", _) => Value::Null,
            ("assemble", _) => {
                let limited = self.picked(Map::new(), &["folder", "rounds", "step_seconds", "base_image"]);
                with(limited, &limits)
            }
            ("repair", _) => with(self.picked(repo(), &["expect", "rounds", "step_seconds"]), &limits),
            ("test" | "check", _) => with(self.picked(repo(), &["expect", "step_seconds"]), &limits[1..]),
            ("investigate", _) => self.picked(repo(), &["turns"]).into(),
            ("change", _) => {
                let names = ["target", "files", "message", "expect", "full_base", "ground"];
                self.picked(repo(), &names).into()
            }
            ("judge", Goal::Review { rules, .. }) if !rules.is_empty() => json!({ "rules": rules }),
            ("judge", _) => self.picked(Map::new(), &["rules"]).into(),
            (
                "git-diff",
                Goal::Review { range: Some((from, to)), .. } | Goal::Diff { range: Some((from, to)) },
            ) => {
                json!({"repo": self.repo, "from": from, "to": to})
            }
            ("search-files", Goal::Search { text }) => workspace("text", json!(text)),
            ("read-file", Goal::Read { file }) => workspace("path", json!(file)),
            _ => repo().into(),
        }
    }

    /// These fields of the input, beside others.
    fn picked(&self, mut fields: Map<String, Value>, names: &[&str]) -> Map<String, Value> {
        for name in names {
            if let Some(value) = self.input.get(*name).filter(|value| !value.is_null()) {
                fields.insert((*name).to_owned(), value.clone());
            }
        }
        fields
    }
}

/// Fields with what the words of the goal say where the input does not.
fn with(mut fields: Map<String, Value>, said: &[(&str, Value)]) -> Value {
    for (name, value) in said.iter().filter(|(_, value)| !value.is_null()) {
        fields.entry(*name).or_insert_with(|| value.clone());
    }
    fields.into()
}
