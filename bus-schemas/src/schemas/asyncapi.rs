//! The AsyncAPI 3.1 document: channels, operations and messages, as an outside program sees them.
//!
//! Payloads are AsyncAPI schema objects, which are JSON Schema draft 7; the files beside the document are the
//! same schemas in 2020-12.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Document, all};
use crate::envelope::header;

/// The version of the NATS binding. Its only field is a queue group, which no outside program needs.
const NATS_BINDING: &str = "0.1.0";
/// An example of a key; `docs/protocol.md` has the reason for its shape.
const KEY_EXAMPLE: &str = "0199c7a5-7a4e-7cc3-a4a7-6f0c5b6a1f10";

/// The AsyncAPI document.
pub fn asyncapi() -> Value {
    let documents = all();
    json!({
        "asyncapi": "3.1.0",
        "id": "urn:orrery:protocol:v1",
        "info": {
            "title": "Orrery",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Event-sourced actors on NATS JetStream. Written from the side of a program that talks to an installation; `docs/protocol.md` explains it.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": "{host}",
                "protocol": "nats",
                "description": "nats-server 2.15.0 or later with JetStream",
                "variables": {"host": {"default": "127.0.0.1:4222", "description": "`orrery up --json` prints the address"}},
            },
        },
        "channels": channels(&documents),
        "operations": operations(),
        "components": {
            "schemas": schemas(&documents),
            "messages": messages(&documents),
            "parameters": parameters(),
        },
    })
}

/// The kinds that have commands (and events).
fn kinds(documents: &[Document]) -> Vec<&str> {
    documents
        .iter()
        .filter(|document| document.folder == "commands/")
        .map(|document| document.stem.as_str())
        .collect()
}

fn parameters() -> Value {
    json!({
        "prefix": {"default": "orrery", "description": "`subject_prefix` of the installation"},
        "kind": {"description": "the kind of entity", "enum": kinds(&all())},
        "key": {
            "description": "the entity's key: tokens of letters, digits, `-` and `_`, joined by `.`; at most 160 bytes",
            "examples": [KEY_EXAMPLE],
        },
        "partition": {"description": "FNV-1a 32 of the key's first token, modulo the number of partitions", "examples": ["3"]},
        "caller": {"description": "who asks: 1 to 64 letters, digits, `-` and `_`", "examples": ["shop"]},
        "agent": {"description": "the agent's name: the key of its `agent` entity", "examples": ["example"]},
        "worker": {"description": "the worker's name, as it registered", "examples": ["host-1-4211"]},
        "entry": {"description": "names the dead letter", "examples": [KEY_EXAMPLE]},
    })
}

/// A channel with the parameters that its address names in braces.
fn channel(address: &str, summary: &str, messages: &[String]) -> Value {
    let names = address.split('{').skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name));
    let parameters: Map<String, Value> = names
        .map(|name| (name.to_owned(), json!({"$ref": format!("#/components/parameters/{name}")})))
        .collect();
    let messages: Map<String, Value> = messages
        .iter()
        .map(|name| (name.clone(), json!({"$ref": format!("#/components/messages/{name}")})))
        .collect();
    json!({"address": address, "summary": summary, "parameters": parameters, "messages": messages})
}

fn channels(documents: &[Document]) -> Value {
    let named = |folder| {
        let of = documents.iter().filter(|document| document.folder == folder);
        of.map(|document| document.name.clone()).collect::<Vec<_>>()
    };
    let (commands, queries, events) = (named("commands/"), named("queries/"), named("events/"));
    let one = |name: &str| [name.to_owned()];
    let inbox = |summary: &str, messages: &[String]| {
        let mut inbox = channel("", summary, messages);
        inbox["address"] = Value::Null;
        inbox
    };
    let reply = inbox("the inbox that the asking client makes for its answer", &one("Reply"));
    let answers = ["ClaimAnswer".to_owned(), "Reply".to_owned()];
    let answers = inbox("the inbox of a worker for what comes of its claims; a refusal is a reply", &answers);
    json!({
        "do": channel("{prefix}.do.{caller}.{kind}.{key}", "hand a command over; JetStream acknowledges when it is stored", &commands),
        "request": channel("{prefix}.request.{caller}.{kind}.{key}", "ask without knowing the partition; a host forwards it", &commands),
        "ask": channel("{prefix}.ask.{partition}.{caller}.{kind}.{key}", "ask the partition; the answer comes after the commit", &commands),
        "reply": reply,
        "evt": channel("{prefix}.evt.{kind}.{key}", "what happened to an entity, in order, from the stream of events", &events),
        "query": channel("{prefix}.query.{caller}.{kind}.{key}", "ask without a trace in the log, and without knowing the partition; a host forwards it", &queries),
        "view": channel("{prefix}.view.{partition}.{caller}.{kind}.{key}", "ask the partition without a trace in the log", &queries),
        "claim": channel("{prefix}.claim.{agent}", "a worker asks for jobs, with how many it has places for", &one("Claim")),
        "claimAnswer": answers,
        "stop": channel("{prefix}.stop.{agent}.{worker}", "a job is no longer wanted", &one("Stop")),
        "takenOver": channel("{prefix}.taken-over", "a partition has a new owner", &one("TakenOver")),
        "out": channel("{prefix}.out.{key}", "streamed output of a task; kept for a day", &one("OutputChunk")),
        "dead": channel("{prefix}.dead.{kind}.{entry}", "what could not be done, with its payload", &one("DeadLetter")),
    })
}

fn operation(action: &str, on: &str, summary: &str) -> Value {
    json!({
        "action": action,
        "channel": {"$ref": format!("#/channels/{on}")},
        "summary": summary,
        "bindings": {"nats": {"bindingVersion": NATS_BINDING}},
    })
}

fn operations() -> Value {
    let answered = |on: &str, summary: &str, by: &str, messages: &[&str]| {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| json!({"$ref": format!("#/channels/{by}/messages/{message}")}))
            .collect();
        let mut asking = operation("send", on, summary);
        asking["reply"] = json!({"channel": {"$ref": format!("#/channels/{by}")}, "messages": messages});
        asking
    };
    let asking = |on: &str, summary: &str| answered(on, summary, "reply", &["Reply"]);
    let claiming = answered(
        "claim",
        "claim jobs; the answer uses the claim up",
        "claimAnswer",
        &["ClaimAnswer", "Reply"],
    );
    json!({
        "handOver": operation("send", "do", "hand a command over and leave"),
        "request": asking("request", "ask an entity and wait for the answer"),
        "ask": asking("ask", "ask an entity whose partition is known and wait for the answer"),
        "followEvents": operation("receive", "evt", "read what happened, from any point"),
        "query": asking("query", "ask an entity what it knows"),
        "view": asking("view", "ask an entity whose partition is known what it knows"),
        "claimJobs": claiming,
        "hearStop": operation(
            "receive",
            "stop",
            "while a job runs: it is no longer wanted; a word that is lost costs the time to the next renewal",
        ),
        "hearTakeover": operation(
            "receive",
            "takenOver",
            "claims and renewals that the former owner may not have heard are sent again",
        ),
        "streamOutput": operation("send", "out", "say how a running job gets on"),
        "followOutput": operation("receive", "out", "read how a running job gets on"),
        "readDeadLetters": operation("receive", "dead", "read what could not be done"),
    })
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

/// Headers as an object schema; `required` lists those that are always present.
fn headers(of: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: Map<String, Value> =
        of.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn trace() -> Value {
    text("W3C trace context, as `00-<trace>-<span>-<flags>`")
}

fn correlation() -> Value {
    text("what everything caused by one request shares; a UUID")
}

fn command_headers() -> Value {
    let media_types = json!({
        "type": "string",
        "enum": ["application/json", "application/msgpack"],
        "default": "application/json",
        "description": "how the body is written",
    });
    headers(
        &[
            (header::COMMAND_ID, text("names the command for ever; a UUID, best of version 7")),
            (header::MESSAGE_ID, text("serves as the command id where that header is missing")),
            (header::CONTENT_TYPE, media_types),
            (header::CORRELATION, correlation()),
            (header::TRACEPARENT, trace()),
        ],
        &[],
    )
}

fn event_headers() -> Value {
    let of = [
        (header::CE_SPECVERSION, json!({"type": "string", "const": "1.0"})),
        (header::CE_ID, text("`<kind>/<key>/<revision>`")),
        (header::CE_TYPE, text("`orrery.<kind>.<type>`")),
        (header::CE_SOURCE, text("`/<kind>/<key>`")),
        (
            header::CE_TIME,
            json!({"type": "string", "format": "date-time", "description": "when it was decided"}),
        ),
        (
            header::REVISION,
            json!({"type": "string", "pattern": "^[1-9][0-9]*$", "description": "1, 2, 3 … without gaps"}),
        ),
        (
            header::SCHEMA,
            json!({"type": "string", "pattern": "^[1-9][0-9]*$", "description": "the schema version of the body"}),
        ),
        (
            header::HASH,
            json!({"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "the chain hash up to and with it"}),
        ),
        (
            header::CURSOR,
            json!({"type": "string", "pattern": "^[0-9]+\\.[0-9]+\\.[0-9]+$", "description": "`<partition>.<record>.<index>`"}),
        ),
        (header::CAUSE, text("the command that led to it; a UUID")),
        (header::CORRELATION, correlation()),
    ];
    let required: Vec<&str> = of.iter().map(|(name, _)| *name).collect();
    let mut schema = headers(&of, &required);
    schema["properties"][header::TRACEPARENT] = trace();
    schema["properties"][header::BLOB] = blob();
    schema
}

/// The description of a body that may be empty.
fn blob() -> Value {
    json!({
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
        "description": "the body lies in the blob store under this hash, and the message's own is empty",
    })
}

fn message(name: &str, summary: &str, headers: Option<Value>) -> Value {
    let mut message = json!({
        "name": name,
        "summary": summary,
        "contentType": "application/json",
        "payload": {"$ref": format!("#/components/schemas/{name}")},
    });
    if let Some(headers) = headers {
        if headers["properties"].get(header::CORRELATION).is_some() {
            let location = format!("$message.header#/{}", header::CORRELATION);
            message["correlationId"] = json!({"location": location});
        }
        message["headers"] = headers;
    }
    message
}

fn messages(documents: &[Document]) -> Value {
    let mut messages = Map::new();
    for document in documents {
        let (name, kind) = (document.name.as_str(), &document.stem);
        let message = match document.folder {
            "commands/" => message(
                name,
                &format!("a command for `{kind}`; JSON or MessagePack"),
                Some(command_headers()),
            ),
            "queries/" => {
                message(name, &format!("a query of `{kind}`; JSON or MessagePack"), Some(command_headers()))
            }
            "events/" => message(name, &format!("what happened to `{kind}`"), Some(event_headers())),
            _ => continue,
        };
        messages.insert(name.to_owned(), message);
    }
    let claim = headers(
        &[(header::COMMAND_ID, text("names the claim for ever; a UUID, best of version 7"))],
        &[header::COMMAND_ID],
    );
    messages.insert("Claim".into(), message("Claim", "a worker has places", Some(claim)));
    messages.insert("ClaimAnswer".into(), message("ClaimAnswer", "what came of a claim", None));
    let mut stop = message("Stop", "the id of a job that is no longer wanted, as plain text", None);
    stop["contentType"] = json!("text/plain");
    messages.insert("Stop".into(), stop);
    let mut taken_over = message("TakenOver", "nothing: that it comes says all", None);
    taken_over["contentType"] = json!("application/octet-stream");
    messages.insert("TakenOver".into(), taken_over);
    messages.insert("OutputChunk".into(), message("OutputChunk", "one piece of output", None));
    messages.insert("Reply".into(), message("Reply", "what came of an ask", None));
    let dead = headers(&[("Orrery-Reason", text("why, for people"))], &["Orrery-Reason"]);
    let mut dead = message("DeadLetter", "the payload as it came", Some(dead));
    dead["contentType"] = json!("application/octet-stream");
    messages.insert("DeadLetter".into(), dead);
    Value::Object(messages)
}

/// All schemas; the definitions of `X` are called `X.<definition>`.
fn schemas(documents: &[Document]) -> Value {
    let mut schemas = Map::new();
    for document in documents {
        let mut settings = SchemaSettings::draft07();
        settings.contract = document.contract.clone();
        settings.meta_schema = None;
        let mut schema = (document.root)(settings).to_value();
        schema["title"] = json!(document.name);
        let definitions = schema.as_object_mut().and_then(|schema| schema.remove("definitions"));
        redirect(&mut schema, &document.name);
        schemas.insert(document.name.clone(), schema);
        for (name, mut definition) in
            definitions.as_ref().and_then(Value::as_object).into_iter().flatten().map(owned)
        {
            redirect(&mut definition, &document.name);
            schemas.insert(format!("{}.{name}", document.name), definition);
        }
    }
    schemas.insert("Stop".into(), text("the id of a job: `<task>/<attempt>`"));
    schemas.insert("TakenOver".into(), json!({"description": "no bytes"}));
    schemas.insert("DeadLetter".into(), json!({"description": "the bytes of what could not be done"}));
    Value::Object(schemas)
}

fn owned((name, definition): (&String, &Value)) -> (String, Value) {
    (name.clone(), definition.clone())
}

/// Rewrites references to the place where [`schemas`] puts the definitions.
fn redirect(schema: &mut Value, name: &str) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match value.as_str().and_then(|target| target.strip_prefix("#/definitions/")) {
                    Some(target) if key == "$ref" => {
                        *value = json!(format!("#/components/schemas/{name}.{target}"))
                    }
                    _ => redirect(value, name),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redirect(item, name)),
        _ => {}
    }
}
