//! The client of the gateway's HTTP interface, which every verb for users calls.

use std::sync::OnceLock;
use std::time::Duration;

use actors_host::Config;
use bus_schemas::{Caller, Key};
use gateway_api::paging::Paging;
use gateway_api::{Endpoint, Method, NextStep, Problem};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::discovery::Discovery;
use crate::failure::{Failure, exit};
use crate::session::not_running;

/// The read model's files in a data directory: the SQLite database and its side files.
pub const READ_MODEL_FILES: [&str; 3] =
    ["read-model.sqlite", "read-model.sqlite-wal", "read-model.sqlite-shm"];
/// The environment variable with the gateway's address; it overrides the data directory's.
const GATEWAY: &str = "ORRERY_GATEWAY";
/// The header with the caller's name; see `docs/cli.md`.
const CALLER: &str = "orrery-caller";
/// The polling interval for something that is about to change.
pub const LOOK: Duration = Duration::from_millis(20);
/// The most rows that one page holds.
pub const PAGE: u32 = 200;
/// Timeout of a request: longer than a takeover.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long requests to an unreachable gateway are retried: as long as a graceful restart takes.
const RESTART_PATIENCE: Duration = Duration::from_secs(1);
/// How long requests are retried while the read model has just begun to catch up.
const BEHIND_PATIENCE: Duration = Duration::from_secs(10);
/// The pause between retries.
const PAUSE: Duration = Duration::from_millis(100);
/// The bytes that are encoded in a path: all but those that RFC 3986 calls unreserved.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A gateway and the caller's name.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    /// For streamed responses: no total timeout, only a timeout for silence.
    streaming: reqwest::Client,
    caller: String,
}

impl Client {
    /// Connects to the installation's gateway: that of `ORRERY_GATEWAY`, or that of the system that runs on
    /// the data directory.
    pub fn connect(config: &Config) -> Result<Self, Failure> {
        if let Ok(named) = std::env::var(GATEWAY) {
            return Self::at(&named);
        }
        let found = Discovery::find(&config.data_dir).or_else(|failure| match config.nats.url {
            Some(_) => Ok(None),
            None => Err(failure),
        })?;
        let of = |found: Discovery| match &config.nats.url {
            // The system that runs on the data directory may be unrelated to the configured server.
            Some(url) => found.is_of(url, &config.nats.subject_prefix).then_some(found),
            None => Some(found),
        };
        match (found.and_then(of), &config.nats.url) {
            (Some(Discovery { http: Some(http), .. }), _) => Self::at(&http),
            (None, None) => Err(not_running(config)),
            _ => Err(Failure::new("no-gateway", "this verb asks a gateway, and no gateway is known")
                .next(format!("start one with `orrery up`, or set {GATEWAY} to `http://host:port`"))
                .exit(exit::UNAVAILABLE)),
        }
    }

    /// Connects to the gateway at an address, such as `http://127.0.0.1:8080`.
    pub fn at(base: &str) -> Result<Self, Failure> {
        let url = reqwest::Url::parse(base).ok();
        if !url.is_some_and(|url| ["http", "https"].contains(&url.scheme())) {
            return Err(Failure::new("bad-setting", format!("`{base}` is no address of a gateway"))
                .next(format!("set {GATEWAY} to `http://host:port`"))
                .exit(exit::USAGE));
        }
        let builder = reqwest::Client::builder;
        let http = builder().timeout(PATIENCE).build().map_err(unreachable)?;
        let streaming = builder().read_timeout(PATIENCE).build().map_err(unreachable)?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { base, http, streaming, caller: caller() })
    }

    /// The gateway's base URL.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// Calls an endpoint that takes neither a query nor a body.
    pub async fn get<E: Endpoint<Query = (), Body = ()>>(
        &self,
        endpoint: E,
        path: &[&str],
    ) -> Result<E::View, Failure> {
        self.call(endpoint, path, &(), &()).await
    }

    /// Calls an endpoint that takes a query.
    pub async fn list<E: Endpoint<Body = ()>>(
        &self,
        endpoint: E,
        query: &E::Query,
    ) -> Result<E::View, Failure> {
        self.call(endpoint, &[], query, &()).await
    }

    /// Calls an endpoint for every page of a list. `next` tells the cursor of the page after one.
    pub async fn all<E: Endpoint<Query = Paging, Body = ()> + Copy>(
        &self,
        endpoint: E,
        next: impl Fn(&E::View) -> Option<String>,
    ) -> Result<Vec<E::View>, Failure> {
        let (mut pages, mut paging) = (Vec::new(), Paging { limit: Some(PAGE), cursor: None });
        loop {
            let page = self.list(endpoint, &paging).await?;
            paging.cursor = next(&page);
            pages.push(page);
            if paging.cursor.is_none() {
                return Ok(pages);
            }
        }
    }

    /// Calls an endpoint that takes a body.
    pub async fn send<E: Endpoint<Query = ()>>(
        &self,
        endpoint: E,
        path: &[&str],
        body: &E::Body,
    ) -> Result<E::View, Failure> {
        self.call(endpoint, path, &(), body).await
    }

    /// Calls an endpoint and reads the response; a problem document becomes a failure with its code.
    pub async fn call<E: Endpoint>(
        &self,
        _: E,
        path: &[&str],
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::View, Failure> {
        let answer = self.answered::<E>(&self.http, path, query, body).await?;
        let bytes = answer.bytes().await.map_err(unreachable)?;
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(bytes).map_err(|error| malformed(&error))
    }

    /// Opens a response that is a stream and not one JSON document.
    pub async fn open<E: Endpoint<Body = ()>>(
        &self,
        _: E,
        path: &[&str],
        query: &E::Query,
    ) -> Result<reqwest::Response, Failure> {
        self.answered::<E>(&self.streaming, path, query, &()).await
    }

    /// The successful response to a request. Retries for a while where a repeat is safe and the gateway is
    /// starting.
    async fn answered<E: Endpoint>(
        &self,
        http: &reqwest::Client,
        path: &[&str],
        query: &E::Query,
        body: &E::Body,
    ) -> Result<reqwest::Response, Failure> {
        let url = format!("{}{}", self.base, filled(E::PATH, path));
        let body = serde_json::to_value(body).map_err(|error| malformed(&error))?;
        let began = Instant::now();
        loop {
            let mut request = match E::METHOD {
                Method::Get => http.get(&url),
                Method::Post => http.post(&url),
                Method::Put => http.put(&url),
                Method::Patch => http.patch(&url),
                Method::Delete => http.delete(&url),
            };
            request = request.header(CALLER, &self.caller).query(query);
            if !body.is_null() {
                request = request.json(&body);
            }
            let failure = match request.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) => {
                    let status = answer.status();
                    let failure = problem(status, answer.json().await.ok());
                    let passes = E::METHOD == Method::Get && failure.code == "read-model-behind";
                    if !passes || began.elapsed() > BEHIND_PATIENCE {
                        return Err(failure);
                    }
                    failure
                }
                // The request was not sent.
                Err(error) if error.is_connect() => unreachable(error),
                Err(error) => return Err(unreachable(error)),
            };
            if failure.code == "gateway-unreachable" && began.elapsed() > RESTART_PATIENCE {
                return Err(failure);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The caller's name, chosen once when the program starts.
static CALLED: OnceLock<String> = OnceLock::new();

/// Chooses the caller's name: the given one, or the user's name from the environment.
pub fn call_as(given: Option<&str>) {
    CALLED.get_or_init(|| named(given, |variable| std::env::var(variable).ok()));
}

/// The caller's name, as events record it.
pub fn caller() -> String {
    call_as(None);
    CALLED.get().cloned().unwrap_or_default()
}

fn named(given: Option<&str>, read: impl Fn(&str) -> Option<String>) -> String {
    let names = ["USER", "LOGNAME"].into_iter().filter_map(read);
    let name = given.map(str::to_owned).into_iter().chain(names).find(|name| !name.trim().is_empty());
    // A name is one token of a subject: characters that a token cannot hold become `-`.
    Caller::of(name.as_deref().unwrap_or("cli").trim()).to_string()
}

/// A path with its parameters filled in, in order.
fn filled(path: &str, parameters: &[&str]) -> String {
    let mut parameters = parameters.iter();
    let part = |part: &str| match part.starts_with('{') {
        true => {
            let parameter = parameters.next().expect("each parameter of the path is given");
            utf8_percent_encode(parameter, &RESERVED).to_string()
        }
        false => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Fetches a JSON document from another server, whatever the status.
pub async fn fetch<T: DeserializeOwned>(url: &str) -> Result<(StatusCode, T), Failure> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(unreachable)?;
    let answer = client.get(url).send().await.map_err(unreachable)?;
    let status = answer.status();
    Ok((status, answer.json().await.map_err(unreachable)?))
}

/// The lines of a response, read as they arrive: there may be more than fit into memory.
pub struct Lines {
    answer: reqwest::Response,
    rest: Vec<u8>,
}

impl Lines {
    /// Reads the lines of a response.
    pub fn of(answer: reqwest::Response) -> Self {
        Self { answer, rest: Vec::new() }
    }
    /// The next line without its line break; `None` at the end. An incomplete last line is left out.
    pub async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(line.trim_ascii_end()).into_owned()));
            }
            match self.answer.chunk().await.map_err(unreachable)? {
                Some(chunk) => self.rest.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

/// Deserializes a document.
pub fn read<T: DeserializeOwned>(body: Value) -> Result<T, Failure> {
    serde_json::from_value(body).map_err(|error| malformed(&error))
}

/// The failure for a response that this program cannot read.
pub fn malformed(error: &serde_json::Error) -> Failure {
    Failure::of("malformed-answer", error)
        .next("the gateway is of another version than this program: use the same")
        .exit(exit::UNAVAILABLE)
}

/// The failure for a gateway that does not answer.
pub fn unreachable(error: reqwest::Error) -> Failure {
    Failure::of("gateway-unreachable", &error)
        .next("`orrery doctor` shows whether the gateway answers")
        .exit(exit::UNAVAILABLE)
}

/// The failure for a problem document.
fn problem(status: StatusCode, body: Option<Problem>) -> Failure {
    let Some(Problem { code, detail, hint, next, .. }) = body else {
        return Failure::new("malformed-answer", format!("the gateway answered {status} without saying why"))
            .next("whatever stands at this address is no gateway of Orrery: correct ORRERY_GATEWAY")
            .exit(exit::UNAVAILABLE);
    };
    let next = next.map(|step| in_commands(step, &code)).or(hint);
    let failure = Failure { next, ..Failure::new(code, detail) };
    failure.exit(match status.as_u16() {
        404 | 410 => exit::NOT_FOUND,
        409 | 413 | 422 => exit::DATA,
        400..500 => exit::USAGE,
        _ => exit::UNAVAILABLE,
    })
}

/// A next step as a command of this program, for a problem with this code.
fn in_commands(step: NextStep, code: &str) -> String {
    let lists = |verb: &str| format!("`orrery {verb}` lists what there is");
    match step {
        NextStep::Explain => format!("`orrery explain {code}` says what to do"),
        NextStep::ListTasks => lists("tasks list"),
        NextStep::ListDeadLetters => lists("dead-letters list"),
        NextStep::ListRedrives => lists("redrives"),
        NextStep::ListAgents => lists("agents"),
        NextStep::ListSchedules => lists("schedules"),
        NextStep::ListApprovals => lists("approvals"),
        NextStep::ListChanges => lists("changes"),
        NextStep::ListBreakers => lists("breakers"),
        NextStep::ListLanes => lists("lanes") + "; `orrery lanes set NAME --new` makes rules for one to come",
        NextStep::AskAgain => {
            "no host answered: `orrery doctor` shows the partitions; the same command is safe to repeat"
                .into()
        }
        NextStep::AwaitReadModel => "try again; `orrery doctor` shows how far it is".into(),
        NextStep::ReadLaneHistory => {
            "try again; `orrery settings history lanes` shows who changes them".into()
        }
    }
}

/// Checks an id that becomes part of a path.
pub fn id(text: &str) -> Result<Key, Failure> {
    Ok(Key::parse(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_given_counts_and_then_that_of_the_user() {
        let of = |given, user: &str, login: &str| {
            named(given, |variable| Some(if variable == "USER" { user } else { login }.to_owned()))
        };
        let names = [of(Some("eve"), "ada", "ben"), of(Some(" "), "ada", "ben"), of(None, "", "ben")];
        assert_eq!(names, ["eve", "ada", "ben"]);
        assert_eq!(
            (of(Some("Ada Lovelace"), "", ""), named(None, |_| None)),
            ("Ada-Lovelace".into(), "cli".into())
        );
    }

    /// Every step names a command here and a path over HTTP; a word that this program does not know leaves the hint.
    #[test]
    fn each_edge_says_what_to_do_in_its_own_words() {
        let told = |next: Value| {
            let body = serde_json::json!({
                "type": "/errors/lane-not-found", "title": "", "status": 404, "detail": "no lane",
                "code": "lane-not-found", "hint": "as HTTP says", "next": next,
            });
            problem(StatusCode::NOT_FOUND, read(body).ok()).next.unwrap_or_default()
        };
        for step in NextStep::all() {
            let (here, http) = (in_commands(step, "lane-not-found"), step.in_http("lane-not-found"));
            assert_eq!(told(serde_json::to_value(step).expect("a word")), here);
            assert!(here.contains("`orrery ") && !here.contains('/'), "{here}");
            assert!(http.contains('/') && !http.contains("orrery"), "{http}");
        }
        for unknown in [Value::Null, "a-newer-word".into()] {
            assert_eq!(told(unknown), "as HTTP says");
        }
    }

    #[test]
    fn paths_hold_what_was_given() {
        assert_eq!(
            filled("/v1/tasks/{id}/artifacts/{name}", &["a.b", "r\u{e9} 1/x"]),
            "/v1/tasks/a.b/artifacts/r%C3%A9%201%2Fx"
        );
    }
}
