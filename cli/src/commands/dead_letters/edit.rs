//! `orrery dead-letters edit`: replaces what a redrive sends, with a file or by single values.

use std::path::{Path, PathBuf};

use bus_schemas::payload::Payload;
use bus_schemas::{ContentType, EntityAddress};
use gateway_api::dead_letters::{DeadLetter, EditPayload};
use gateway_api::routes;
use serde_json::Value;

use super::{find, gone};
use crate::client::{Client, id};
use crate::failure::{Failure, exit};

/// What to send instead.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["file", "set", "to"]))]
pub(super) struct Arguments {
    /// The dead letter's entry
    entry: String,
    /// Send the content of this file; `-` for stdin
    #[arg(long, conflicts_with = "set")]
    file: Option<PathBuf>,
    /// With `--file`: the content is MessagePack, not JSON
    #[arg(long, requires = "file")]
    msgpack: bool,
    /// Set one value of the payload: the path is names and indexes joined by `.`, the value is JSON or plain
    /// text
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// The entity to send it to, where that was unknown or wrong: `<kind>/<key>`
    #[arg(long)]
    to: Option<EntityAddress>,
    /// The reason
    #[arg(long, default_value = "")]
    reason: String,
}

/// Edits the dead letter.
pub(super) async fn run(client: &Client, arguments: Arguments) -> Result<DeadLetter, Failure> {
    let Arguments { entry, file, msgpack, set, to, reason } = arguments;
    let Payload { content_type, encoding, content } = match file {
        Some(file) => from_file(&file, msgpack).await?,
        None => changed(client, &entry, &set).await?,
    };
    let to = to.map(|to| to.to_string());
    let (content_type, encoding) = (Some(content_type), Some(encoding));
    let edit = EditPayload { json: None, content: Some(content), encoding, content_type, to, reason };
    client.send(routes::EditDeadLetter, &[id(&entry)?.as_str()], &edit).await
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

/// The payload that is sent now, with single values changed.
async fn changed(client: &Client, entry: &str, set: &[String]) -> Result<Payload, Failure> {
    let found = find(client, &id(entry)?).await?;
    if set.is_empty() {
        let shown = found.whole.edited.as_ref().or(found.whole.payload.as_ref());
        let content_type = shown.map(|payload| payload.content_type).unwrap_or_default();
        let bytes = found.bytes().ok_or_else(|| gone(entry))?;
        return Ok(Payload::written(content_type, &bytes));
    }
    let mut value = found.decoded.ok_or_else(|| {
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

/// Sets one value: objects may get new names, lists do not grow.
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
            bad_edit(format!("the payload has no place `{path}`"), "`orrery dead-letters show` shows it")
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
