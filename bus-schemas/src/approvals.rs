//! What an approval binds: the id of a call is a hash over a list of fields, kept here for each tool.
//!
//! A hash over everything would make approvals that cannot be used, since a call may carry words that change; a hash
//! over too little lets other bytes through. So a tool that is listed names each of its arguments, as bound or as words,
//! and has no others; of a tool that is not listed everything is bound.

use serde_json::{Map, Value, json};
use smol_str::{SmolStr, ToSmolStr};

use crate::commands::approval::{BaseCheck, Call, Grounds, ToolCall};
use crate::ids::{Hash, Key};

/// The arguments of a tool.
struct Arguments {
    tool: &'static str,
    /// Those that an approval binds.
    bound: &'static [&'static str],
    /// Words for people, which change nothing that is done.
    words: &'static [&'static str],
}

/// The tools whose arguments are known.
const TOOLS: &[Arguments] = &[Arguments {
    tool: "change",
    bound: &["repo", "target", "files", "diff", "tests", "message", "ground"],
    words: &["goal"],
}];

/// The arguments of a call that an approval binds; the name of an argument that its tool does not have, if there is
/// one.
pub fn bound(call: &Call) -> Result<Value, String> {
    let Some(known) = TOOLS.iter().find(|known| known.tool == call.name) else {
        return Ok(call.args.clone());
    };
    let Value::Object(fields) = &call.args else { return Err("args".to_owned()) };
    let of = |list: &[&str], name: &String| list.contains(&name.as_str());
    match fields.keys().find(|name| !of(known.bound, name) && !of(known.words, name)) {
        Some(other) => Err(other.clone()),
        None => {
            let kept = fields.iter().filter(|(name, _)| of(known.bound, name));
            Ok(Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>()))
        }
    }
}

/// A call with its id: a hash over the approval's key, the tool, its bound arguments, the versions of the policy and
/// the settings, the task that may use it, and, with [`BaseCheck::FullBase`], the base.
pub fn identified(
    approval: &Key,
    task: &Key,
    base_check: BaseCheck,
    grounds: &Grounds,
    call: &Call,
) -> Result<ToolCall, String> {
    let base = match base_check {
        BaseCheck::FullBase => grounds.base.as_str(),
        BaseCheck::TouchedFiles => "",
    };
    let parts = json!({
        "approval": approval,
        "task": task,
        "tool": call.name,
        "args": bound(call)?,
        "policy_version": grounds.policy_version,
        "settings_version": grounds.settings_version,
        "base_check": <&str>::from(base_check),
        "base": base,
    });
    let id: SmolStr = Hash::of(canonical(&parts).as_bytes()).to_hex().to_smolstr();
    let Call { call_id, name, args } = call.clone();
    Ok(ToolCall { id, call_id, name, args })
}

/// JSON with sorted keys and without spaces: equal values have equal text.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|a, b| a.0.cmp(b.0));
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, args: Value, check: BaseCheck, base: &str) -> Result<SmolStr, String> {
        let (approval, task) = (Key::parse("c").unwrap(), Key::parse("c-apply").unwrap());
        let grounds = Grounds { base: base.into(), policy_version: "1".into(), settings_version: "1".into() };
        let call = Call { call_id: "x".into(), name: name.into(), args };
        identified(&approval, &task, check, &grounds, &call).map(|call| call.id)
    }

    /// Complaint 8: a hash over incidental fields makes approvals that cannot be used; a projection that is too generous
    /// lets a changed payload through.
    #[test]
    fn words_do_not_change_an_id_and_bytes_do() {
        let of = |args| id("change", args, BaseCheck::TouchedFiles, "a");
        let first = of(json!({"target": "main", "files": [1], "goal": "fix it"})).unwrap();
        assert_eq!(of(json!({"goal": "Fix it!", "files": [1], "target": "main"})).unwrap(), first);
        for other in [
            json!({"target": "main", "files": [2], "goal": "fix it"}),
            json!({"target": "other", "files": [1], "goal": "fix it"}),
            json!({"target": "main", "files": [1], "diff": "", "goal": "fix it"}),
            json!({"target": "main", "goal": "fix it"}),
        ] {
            assert_ne!(of(other.clone()).unwrap(), first, "{other}");
        }
        // An argument that the list does not know can neither be ignored nor be bound by chance.
        assert_eq!(of(json!({"target": "main", "files": [1], "force": true})), Err("force".to_owned()));
        let unknown = |args| id("shell", args, BaseCheck::TouchedFiles, "a").unwrap();
        assert_ne!(unknown(json!({"goal": "a"})), unknown(json!({"goal": "b"})));
    }

    /// Complaint 7: an approval that is stale whenever the base moves is ignored; one that is never stale is worthless.
    #[test]
    fn the_base_is_bound_where_it_is_asked_for() {
        let of = |check, base| id("change", json!({"files": []}), check, base).unwrap();
        assert_eq!(of(BaseCheck::TouchedFiles, "a"), of(BaseCheck::TouchedFiles, "b"));
        assert_ne!(of(BaseCheck::FullBase, "a"), of(BaseCheck::FullBase, "b"));
        assert_ne!(of(BaseCheck::FullBase, "a"), of(BaseCheck::TouchedFiles, "a"));
    }
}
