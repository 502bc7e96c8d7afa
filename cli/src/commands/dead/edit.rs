//! `orrery dead edit`: what is sent instead, from a file or by changing single values.

use std::path::{Path, PathBuf};

use bus_schemas::commands::deadletter::Command;
use bus_schemas::payload::Payload;
use bus_schemas::{ContentType, EntityAddress, Key};
use serde_json::Value;

use super::{by, find, gone, tell};
use crate::failure::{Failure, exit};
use crate::output::Output;
use crate::session::Session;

/// What to send instead.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["file", "set", "to"]))]
pub(super) struct Arguments {
    /// The entry
    entry: String,
    /// Send the content of this file; `-` is stdin
    #[arg(long, conflicts_with = "set")]
    file: Option<PathBuf>,
    /// With `--file`: the content is MessagePack and not JSON
    #[arg(long, requires = "file")]
    msgpack: bool,
    /// Set one value of the payload: names and numbers joined by `.`, and JSON or plain text
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// For whom it is, where that was unknown or wrong: `<kind>/<key>`
    #[arg(long)]
    to: Option<EntityAddress>,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

/// Edits it.
pub(super) async fn run(session: &Session, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let Arguments { entry, file, msgpack, set, to, reason } = arguments;
    let payload = match file {
        Some(file) => from_file(&file, msgpack).await?,
        None => changed(session, &entry, &set).await?,
    };
    tell(session, &entry, &Command::Edit { payload, to, by: by(), reason }, output).await
}

async fn from_file(file: &Path, msgpack: bool) -> Result<Payload, Failure> {
    let path = if file == Path::new("-") { Path::new("/dev/stdin") } else { file };
    let bytes = tokio::fs::read(path).await.map_err(|error| {
        Failure::new("path-missing", format!("reading `{}`: {error}", file.display()))
            .next("name a file that can be read")
            .exit(exit::NOT_FOUND)
    })?;
    if msgpack {
        return Ok(Payload::written(ContentType::Msgpack, &bytes));
    }
    serde_json::from_slice::<Value>(&bytes).map_err(|error| {
        bad_edit(format!("`{}` is no JSON: {error}", file.display()), "mend it, or say `--msgpack`")
    })?;
    Ok(Payload::written(ContentType::Json, &bytes))
}

/// What is sent now, with single values changed.
async fn changed(session: &Session, entry: &str, set: &[String]) -> Result<Payload, Failure> {
    let whole = find(session, &Key::parse(entry)?).await?;
    if set.is_empty() {
        let shown = whole.edited.as_ref().or(whole.payload.as_ref());
        let content_type = shown.map(|payload| payload.content_type).unwrap_or_default();
        let bytes = whole.bytes().ok_or_else(|| gone(entry))?;
        return Ok(Payload::written(content_type, &bytes));
    }
    let mut value = whole.decoded.ok_or_else(|| {
        bad_edit(
            format!("the payload of `{entry}` is neither JSON nor MessagePack"),
            "send a whole one: `--file`",
        )
    })?;
    for change in set {
        apply(&mut value, change)?;
    }
    Ok(Payload::written(ContentType::Json, value.to_string().as_bytes()))
}

/// Sets one value: objects get a name that they do not have, lists do not get longer.
fn apply(root: &mut Value, change: &str) -> Result<(), Failure> {
    let form = "write it as `path.to.value=42`";
    let (path, text) =
        change.split_once('=').ok_or_else(|| bad_edit(format!("`{change}` has no `=`"), form))?;
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    let mut place = root;
    for name in path.split('.') {
        let next = match place {
            Value::Object(fields) => Some(fields.entry(name).or_insert(Value::Null)),
            Value::Array(items) => name.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            Value::Null => {
                *place = Value::Object(serde_json::Map::new());
                place.as_object_mut().map(|fields| fields.entry(name).or_insert(Value::Null))
            }
            _ => None,
        };
        place = next.ok_or_else(|| {
            bad_edit(format!("the payload has no place `{path}`"), "`orrery dead show` shows it")
        })?;
    }
    *place = value;
    Ok(())
}

fn bad_edit(message: String, next: &str) -> Failure {
    Failure::new("bad-edit", message).next(next).exit(exit::DATA)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::apply;

    #[test]
    fn single_values_are_set() {
        let mut value = json!({"type": "submit", "steps": [{"goal": "a"}], "owner": null});
        for change in ["steps.0.goal=b", "priority=7", "input.deep.er=[1]", "owner=ada", "type=\"7\""] {
            apply(&mut value, change).expect(change);
        }
        let wanted = json!({"type": "7", "steps": [{"goal": "b"}], "owner": "ada", "priority": 7,
            "input": {"deep": {"er": [1]}}});
        assert_eq!(value, wanted);
        for bad in ["steps.1.goal=b", "steps.x=1", "type.x=1", "no-equals"] {
            assert_eq!(apply(&mut value, bad).expect_err(bad).code, "bad-edit");
        }
    }
}
