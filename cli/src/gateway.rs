//! Reading from the gateway over HTTP: lists need the read model, which only a gateway has.

use std::time::Duration;

use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::{Failure, exit};
use crate::session::Session;

/// The read model in a data directory: the database and what SQLite keeps beside it.
pub const READ_MODEL_FILES: [&str; 3] =
    ["read-model.sqlite", "read-model.sqlite-wal", "read-model.sqlite-shm"];
/// How long what was just acknowledged may take to appear in the event stream and in the views.
pub const VISIBLE_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked for.
pub const LOOK: Duration = Duration::from_millis(20);
/// What the gateway tells its own clients to do next, and how it is done here.
const HINTS: [(&str, &str); 4] = [
    ("`GET /v1/tasks`", "`orrery task list`"),
    ("`GET /v1/dead-letters`", "`orrery dead list`"),
    ("`GET /v1/redrives`", "`orrery dead campaigns`"),
    ("`/ready`", "`orrery doctor`"),
];
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The address of the gateway that serves this session.
pub fn address(session: &Session) -> Result<String, Failure> {
    let named = std::env::var("ORRERY_GATEWAY").ok();
    let known = named.or_else(|| session.discovery.as_ref().and_then(|found| found.http.clone()));
    known.map(|address| address.trim_end_matches('/').to_owned()).ok_or_else(|| {
        Failure::new("no-gateway", "no gateway is known, and lists come from its read model")
            .next("start one with `orrery up`, or set ORRERY_GATEWAY to `http://host:port`")
            .exit(exit::UNAVAILABLE)
    })
}

/// Reads a JSON document, whatever the status.
pub async fn get<T: DeserializeOwned>(base: &str, path: &str) -> Result<(StatusCode, T), Failure> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(unreachable)?;
    let answer = client.get(format!("{base}{path}")).send().await.map_err(unreachable)?;
    let status = answer.status();
    Ok((status, answer.json().await.map_err(unreachable)?))
}

/// Reads a document into its type.
pub fn read<T: DeserializeOwned>(body: Value) -> Result<T, Failure> {
    serde_json::from_value(body).map_err(|error| malformed(&error))
}

/// A query of what is given; values are percent-encoded (RFC 3986).
pub fn query(parts: &[(&str, Option<String>)]) -> String {
    let encoded = |value: &str| -> String {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        value
            .bytes()
            .map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    let given =
        parts.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))));
    given.collect::<Vec<_>>().join("&")
}

/// Waits until a view shows what was just acknowledged, so that the next command sees it too. It has
/// been done either way: where no gateway answers, or not in time, nothing is said.
pub async fn until_shown(session: &Session, looks_right: impl AsyncFn() -> Result<bool, Failure>) {
    if address(session).is_err() {
        return;
    }
    let deadline = tokio::time::Instant::now() + VISIBLE_PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if !matches!(looks_right().await, Ok(false)) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Reads a view; a problem document becomes a failure with its code.
pub async fn view(session: &Session, path: &str) -> Result<Value, Failure> {
    let (status, body): (_, Value) = get(&address(session)?, path).await?;
    if status.is_success() { Ok(body) } else { Err(problem(status, &body)) }
}

/// JSON lines as they come: there may be more than memory holds.
pub struct Lines {
    answer: reqwest::Response,
    rest: Vec<u8>,
}

/// Begins to read a view that is JSON lines.
pub async fn lines(session: &Session, path: &str) -> Result<Lines, Failure> {
    // As a whole it may take as long as it takes; only silence ends it.
    let client = reqwest::Client::builder().read_timeout(PATIENCE).build().map_err(unreachable)?;
    let answer = client.get(format!("{}{path}", address(session)?)).send().await.map_err(unreachable)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(problem(status, &answer.json().await.map_err(unreachable)?));
    }
    Ok(Lines { answer, rest: Vec::new() })
}

impl Lines {
    /// The next document; none at the end.
    pub async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return parse(&line).map(Some);
            }
            match self.answer.chunk().await.map_err(unreachable)? {
                Some(chunk) => self.rest.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(line).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::of("malformed-answer", error)
        .next("the gateway is of another version than this program: use the same")
        .exit(exit::UNAVAILABLE)
}

fn unreachable(error: reqwest::Error) -> Failure {
    Failure::of("gateway-unreachable", &error)
        .next("`orrery doctor` shows whether the gateway answers")
        .exit(exit::UNAVAILABLE)
}

/// A problem document as a failure.
fn problem(status: StatusCode, body: &Value) -> Failure {
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let code = text("code").unwrap_or_else(|| "internal-error".to_owned());
    let message = text("detail").or_else(|| text("title")).unwrap_or_else(|| status.to_string());
    let hint =
        text("hint").map(|hint| HINTS.iter().fold(hint, |hint, (edge, command)| hint.replace(edge, command)));
    let failure = Failure { next: hint, ..Failure::new(code, message) };
    failure.exit(match status {
        StatusCode::NOT_FOUND => exit::NOT_FOUND,
        status if status.is_client_error() => exit::USAGE,
        _ => exit::UNAVAILABLE,
    })
}
