//! The scripted answers: for each bug a wrong patch, then the right one, and for some of them first an answer that
//! must not be accepted. What comes of them is a figure of the loop, and of no model.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use actors_models::Models;
use actors_models::scripted::{Act, Asked, Scripted, chat};
use serde_json::{Value, json};

use super::bugs::{Also, Bug, Files};
use crate::error::Error;

/// Models that answer by the script, for as long as the server is held. `folder` is for their settings.
pub(super) async fn start(
    scripts: HashMap<String, Vec<Vec<Act>>>,
    folder: &Path,
) -> Result<(Scripted, Arc<Models>), Error> {
    let asked = Mutex::new(HashMap::<String, usize>::new());
    let script = move |_: usize, request: &Asked| {
        let goal = goal(&request.body).unwrap_or_default();
        let Some(script) = scripts.get(&goal) else { return Vec::new() };
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let number = asked.entry(goal).or_default();
        *number += 1;
        script[usize::min(*number, script.len()) - 1].clone()
    };
    let server = Scripted::answering(script).await.map_err(Error::io("starting the scripted answers"))?;
    let path = folder.join("scripted.toml");
    let provider = format!(
        "[[provider]]\nname = \"scripted\"\nformat = \"compatible-chat\"\nurl = \"{}\"\nmodel = \"scripted\"\n",
        server.url
    );
    std::fs::write(&path, provider).map_err(Error::io("writing the settings of the scripted answers"))?;
    let models =
        Models::load(&path).map_err(|reasons| Error::answer("reading the settings", reasons.join("; ")))?;
    Ok((server, Arc::new(models)))
}

/// The goal that a question tells: its first line.
fn goal(body: &Value) -> Option<String> {
    let told = body["messages"][1]["content"].as_str()?;
    let line: Value = serde_json::from_str(told.lines().next()?).ok()?;
    line["goal"].as_str().map(str::to_owned)
}

/// The answers for a bug, in order; the last one is the right one.
pub(super) fn of(bug: &Bug, files: &Files) -> Vec<Vec<Act>> {
    let whole = |path: &str, old: &str, new: &str| chat(&edit(path, old, new), "stop");
    let right = edit(&bug.file, &bug.new, &bug.old);
    let mut answers = match bug.also {
        Some(Also::TestEdited) => {
            let test = test_file(bug, files);
            let text = files.get(&test).map(|file| String::from_utf8_lossy(&file.bytes)).unwrap_or_default();
            vec![whole(&test, &text, "")]
        }
        Some(Also::Outside) => vec![whole("../outside.py", &bug.new, &bug.old)],
        // Asked again with a larger bound, it is cut again.
        Some(Also::Truncated) => vec![chat(&right, "length"), chat(&right, "length")],
        Some(Also::TextDiffers) => vec![whole(&bug.file, &bug.old, &bug.new)],
        None => Vec::new(),
    };
    answers.push(whole(&bug.file, &bug.new, &format!("{}  # mended", bug.new)));
    answers.push(chat(&right, "stop"));
    answers
}

fn edit(path: &str, old: &str, new: &str) -> String {
    json!({"edits": [{"path": path, "old": old, "new": new}]}).to_string()
}

/// The file of the first test that fails: `tests.test_more.WindowedTests::test_step` is in `tests/test_more.py`.
fn test_file(bug: &Bug, files: &Files) -> String {
    let module = bug.fails.first().and_then(|name| name.split("::").next()).unwrap_or_default();
    let mut path = module.replace('.', "/");
    while !files.contains_key(&format!("{path}.py")) {
        match path.rsplit_once('/') {
            Some((above, _)) => path = above.to_owned(),
            None => break,
        }
    }
    format!("{path}.py")
}
