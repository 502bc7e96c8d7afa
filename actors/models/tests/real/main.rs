//! A real model: SmolLM2 135M behind the server of llama.cpp, in the three formats that it speaks.
//!
//! `ORRERY_TEST_OPENAI_URL` and `ORRERY_TEST_OPENAI_MODEL` run the same tests with Chat Completions against another
//! endpoint, with the key in `ORRERY_TEST_OPENAI_KEY_FILE`; the small model is not started then.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use actors_models::{
    Call, Chunk, Completion, Format, Kind, Message, ModelProvider, Parameters, Provider, Schema, Secret,
    structured,
};
use serde_json::{Value, json};

const FORMATS: [Format; 3] = [Format::CompatibleChat, Format::Responses, Format::Messages];
/// How long the server may take to load the model, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server. It ends when this process does: its standard input closes then.
struct Server {
    url: String,
    key: Secret,
    _child: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();

fn secret(text: &str) -> Secret {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    std::fs::write(&path, text).expect("a file");
    Secret::from_file(&path).expect("a key")
}

fn start() -> Server {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".tools/venv/bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/server.py");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let mut child = Command::new(&python)
        .args([script.as_os_str(), port.to_string().as_ref(), "sk-real".as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("`{}`: {error}; `make tools` installs the model", python.display()));
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let is_ready = lines.any(|line| line.is_ok_and(|line| line == "ready"));
    assert!(
        is_ready,
        "the server of the model does not start; `make tools` installs it, and `{}` says why not",
        script.display()
    );
    std::thread::spawn(move || lines.for_each(drop));
    Server { url: format!("http://127.0.0.1:{port}"), key: secret("sk-real"), _child: child }
}

fn server() -> &'static Server {
    SERVER.get_or_init(start)
}

/// What is tested.
struct Endpoint {
    url: String,
    model: String,
    key: Option<Secret>,
    /// Whether the small model is behind it, which answers a question always the same, and tells what it does.
    is_ours: bool,
}

fn endpoint() -> Endpoint {
    let named = |name: &str| std::env::var(format!("ORRERY_TEST_OPENAI_{name}")).ok();
    let Some(url) = named("URL") else {
        let server = server();
        let (url, key) = (format!("{}/v1", server.url), Some(server.key.clone()));
        return Endpoint { url, model: "smollm2".to_owned(), key, is_ours: true };
    };
    let model = named("MODEL").expect("ORRERY_TEST_OPENAI_MODEL names a model");
    let key = named("KEY_FILE").map(|path| Secret::from_file(Path::new(&path)).expect("a key"));
    Endpoint { url, model, key, is_ours: false }
}

/// The formats that the endpoint speaks.
fn formats() -> &'static [Format] {
    if endpoint().is_ours { &FORMATS } else { &FORMATS[..1] }
}

/// The provider of a format, and the name of its model.
fn provider(format: Format) -> (Provider, String) {
    let Endpoint { url, model, key, .. } = endpoint();
    (Provider::new(format, &url, key).expect("a URL"), model)
}

fn call(model: String, max_tokens: u32) -> Call {
    let messages = vec![Message::user("What is the capital of France? Answer with one word.")];
    Call::new(model, messages, Parameters::repeatable(max_tokens, 7))
}

/// Goal: a real model answers in every format, as a stream and as a body, and counts its tokens. Method: the same
/// question, which at temperature 0 has the same answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_answers_and_counts() {
    for format in formats().iter().copied() {
        let (provider, model) = provider(format);
        let call = call(model, 128);
        let mut shown = String::new();
        let mut show = |chunk| {
            if let Chunk::Text(text) = chunk {
                shown.push_str(&text);
            }
        };
        let first: Completion = provider.complete(&call, &mut show).await.expect("an answer");
        assert!(first.text.contains("Paris") && shown == first.text, "{format:?}: {first:?} {shown}");
        assert!(first.usage.input > 10 && first.usage.output > 1, "{format:?}: {first:?}");
        let again = provider.in_one_piece().complete(&call, &mut |_| {}).await.expect("an answer");
        assert!(again.text.contains("Paris"), "{format:?}: {again:?}");
        assert!(again.text == first.text || !endpoint().is_ours, "{format:?}: {again:?} {first:?}");
    }
}

/// Goal: an answer that the bound of tokens cut is never taken for a whole one, whatever the server says of it.
/// Method: a bound of four tokens.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_cut_is_a_fault() {
    for format in formats().iter().copied() {
        let (provider, model) = provider(format);
        let fault = provider.complete(&call(model, 4), &mut |_| {}).await.expect_err("it is cut");
        let output = fault.usage.map(|usage| usage.output);
        assert_eq!((fault.kind, output), (Kind::OutputLimit, Some(4)), "{format:?}");
    }
}

/// Goal: a wrong key is said to be that. Method: one. An endpoint without a key takes any.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused() {
    let Endpoint { url, model, key, .. } = endpoint();
    for format in formats().iter().copied().filter(|_| key.is_some()) {
        let provider = Provider::new(format, &url, Some(secret("sk-wrong"))).expect("a URL");
        let fault = provider.complete(&call(model.clone(), 4), &mut |_| {}).await.expect_err("a wrong key");
        assert_eq!(fault.kind, Kind::Unauthorized, "{format:?}: {fault}");
    }
}

/// Goal: a server that enforces a schema gives an answer that fits. Method: the schema over Chat Completions.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_fits_its_schema() {
    let (provider, model) = provider(Format::CompatibleChat);
    let schema = json!({"type": "object", "properties": {"capital": {"type": "string", "maxLength": 20}},
                        "required": ["capital"], "additionalProperties": false});
    let schema = Some(Schema { name: "answer".into(), schema });
    let found = structured(&provider, &Call { schema, ..call(model, 64) }).await.expect("an answer");
    assert!(found.value["capital"].is_string() && found.reasks == 0, "{found:?}");
}

/// Whether the server computes.
async fn is_busy() -> bool {
    let target = http_client::Target::new(&server().url).expect("a URL");
    let request = target.request(hyper::Method::GET, "slots").header("authorization", "Bearer sk-real");
    let request = request.body(http_body_util::Full::default()).expect("a request");
    let mut exchange = target.send(request).await.expect("an answer");
    let body =
        http_body_util::BodyExt::collect(exchange.response.body_mut()).await.expect("a body").to_bytes();
    let slots: Vec<Value> = serde_json::from_slice(&body).expect("JSON");
    slots.iter().any(|slot| slot["is_processing"] == true)
}

/// Goal: a canceled call stops the model. Method: a long answer that is dropped after its first word; our server then
/// computes nothing, and another one answers the next question.
#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_call_stops_the_model() {
    let (provider, model) = provider(Format::CompatibleChat);
    let story = vec![Message::user("Tell me a very long story about a ship, with many chapters.")];
    let call = Call::new(model, story, Parameters::repeatable(1_500, 7));
    let (began, mut first) = tokio::sync::mpsc::unbounded_channel();
    let asking = tokio::spawn(async move {
        let mut show = move |_| {
            let _ = began.send(());
        };
        provider.complete(&call, &mut show).await
    });
    first.recv().await.expect("a first word");
    asking.abort();
    let canceled = Instant::now();
    if !endpoint().is_ours {
        let (provider, model) = self::provider(Format::CompatibleChat);
        let next = provider.complete(&self::call(model, 128), &mut |_| {}).await.expect("an answer");
        assert!(next.text.contains("Paris"), "{next:?}");
        return;
    }
    while is_busy().await {
        assert!(canceled.elapsed() < PATIENCE, "the server computes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let after = canceled.elapsed();
    assert!(after < Duration::from_secs(5), "the server stops after {after:?}");
}
