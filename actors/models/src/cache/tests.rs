//! What the key of an answer covers, and which entries count.

use serde_json::json;

use super::*;
use crate::call::{Message, Parameters, Schema, Tool, ToolCall, ToolChoice, Usage};

fn call() -> Call {
    Call {
        model: "m".into(),
        messages: vec![Message::system("s"), Message::user("u")],
        tools: vec![Tool {
            name: "t".into(),
            description: "d".into(),
            parameters: json!({"type": "object"}),
        }],
        tool_choice: ToolChoice::Auto,
        schema: Some(Schema { name: "n".into(), schema: json!({"type": "object"}) }),
        parameters: Parameters {
            max_tokens: 9,
            temperature: Some(0.0),
            top_p: None,
            seed: None,
            stop: Vec::new(),
            num_ctx: None,
        },
    }
}

fn prompt() -> PromptRef {
    PromptRef { name: "p".into(), version: 1, template: Hash::of(b"t"), rendered: Hash::of(b"r") }
}

/// Every way in which a call can differ by one part. Each is a field of its type: who adds one must add it here.
fn others() -> Vec<(&'static str, Call)> {
    let Call { model: _, messages: _, tools: _, tool_choice: _, schema: _, parameters } = call();
    let Parameters { max_tokens: _, temperature: _, top_p: _, seed: _, stop: _, num_ctx: _ } = parameters;
    let with = |change: &dyn Fn(&mut Call)| {
        let mut other = call();
        change(&mut other);
        other
    };
    let assistant = Message::Assistant {
        text: String::new(),
        tool_calls: vec![ToolCall { id: "1".into(), name: "t".into(), arguments: json!({}) }],
    };
    vec![
        ("model", with(&|call| call.model = "n".into())),
        ("a message", with(&|call| call.messages[1] = Message::user("v"))),
        ("a role", with(&|call| call.messages[0] = Message::user("s"))),
        ("another message", with(&|call| call.messages.push(assistant.clone()))),
        ("order", with(&|call| call.messages.reverse())),
        ("no tool", with(&|call| call.tools.clear())),
        ("a tool's name", with(&|call| call.tools[0].name = "u".into())),
        ("a tool's description", with(&|call| call.tools[0].description = "e".into())),
        ("a tool's schema", with(&|call| call.tools[0].parameters = json!({}))),
        ("tool choice", with(&|call| call.tool_choice = ToolChoice::Required)),
        ("a named tool", with(&|call| call.tool_choice = ToolChoice::Named("t".into()))),
        ("no schema", with(&|call| call.schema = None)),
        ("schema", with(&|call| call.schema.as_mut().unwrap().schema = json!({}))),
        ("a schema's name", with(&|call| call.schema.as_mut().unwrap().name = "o".into())),
        ("max_tokens", with(&|call| call.parameters.max_tokens = 10)),
        ("temperature", with(&|call| call.parameters.temperature = Some(0.1))),
        ("no temperature", with(&|call| call.parameters.temperature = None)),
        ("top_p", with(&|call| call.parameters.top_p = Some(1.0))),
        ("seed", with(&|call| call.parameters.seed = Some(0))),
        ("stop", with(&|call| call.parameters.stop = vec!["x".into()])),
        ("num_ctx", with(&|call| call.parameters.num_ctx = Some(4_096))),
    ]
}

#[test]
fn every_part_of_a_call_is_part_of_its_key() {
    let (call, prompts) = (call(), [prompt()]);
    let asked =
        Asked { provider: "a", format: Format::Chat, url: "http://h/v1", call: &call, prompts: &prompts };
    let first = key("orrery/1", &asked);
    assert_eq!(first, key("orrery/1", &asked.clone()), "the same call has the same key");
    let mut keys = vec![
        ("tenant's id", key("orrery/2", &asked)),
        ("tenant's prefix", key("other/1", &asked)),
        ("provider", key("orrery/1", &Asked { provider: "b", ..asked.clone() })),
        ("format", key("orrery/1", &Asked { format: Format::CompatibleChat, ..asked.clone() })),
        ("url", key("orrery/1", &Asked { url: "http://h/v2", ..asked.clone() })),
        ("no prompt", key("orrery/1", &Asked { prompts: &[], ..asked.clone() })),
    ];
    let changed: Vec<PromptRef> = vec![
        PromptRef { name: "q".into(), ..prompt() },
        PromptRef { version: 2, ..prompt() },
        PromptRef { template: Hash::of(b"u"), ..prompt() },
        PromptRef { rendered: Hash::of(b"s"), ..prompt() },
    ];
    for other in &changed {
        let asked = Asked { prompts: std::slice::from_ref(other), ..asked.clone() };
        keys.push(("a prompt's part", key("orrery/1", &asked)));
    }
    for (part, other) in &others() {
        keys.push((part, key("orrery/1", &Asked { call: other, ..asked.clone() })));
    }
    for (place, (part, found)) in keys.iter().enumerate() {
        assert_ne!(*found, first, "{part} is not part of the key");
        assert!(keys[..place].iter().all(|(_, other)| other != found), "{part} is told from the others");
    }
}

#[test]
fn an_entry_counts_under_its_key_and_while_it_is_young() {
    let cache = Cache::new(None, Duration::from_secs(60)).unwrap();
    let usage = Usage { input: 1, cached: 0, output: 1 };
    let completion = Completion { text: "x".into(), tool_calls: Vec::new(), usage, model: "m".into() };
    let (one, other) = (Hash::of(b"1"), Hash::of(b"2"));
    let entry = |at| serde_json::to_vec(&Entry { key: one, at, completion: completion.clone() }).unwrap();
    assert_eq!(cache.read(one, &entry(now())), Some(completion.clone()));
    assert_eq!(cache.read(one, &entry(now() + 9_999_999)), Some(completion.clone()), "another clock");
    assert_eq!(cache.read(other, &entry(now())), None, "an entry in the wrong place");
    assert_eq!(cache.read(one, &entry(now() - 61_000)), None, "an old one");
    for damaged in [&b""[..], b"{}", b"[", &entry(now())[1..]] {
        assert_eq!(cache.read(one, damaged), None);
    }
}

#[test]
fn a_wrong_url_is_not_repeated() {
    for wrong in ["", "http://u:hunter2@h", "redis:hunter2", "redis://u:hunter2@", "unix:///hunter2"] {
        let reason = Cache::new(Some(wrong), AGE).unwrap_err();
        assert!(reason.contains("redis://") && !reason.contains("hunter2"), "{wrong}: {reason}");
    }
    for good in ["redis://h", "redis://:hunter2@h:1/3", "rediss://u:hunter2@h:6380/0"] {
        let cache = Cache::new(Some(good), AGE).unwrap();
        assert!(!format!("{cache:?}").contains("hunter2"));
    }
}

#[path = "../../tests/redis/server.rs"]
mod server;

/// What is logged, as lines.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, level: &str) -> usize {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches(level).count()
    }
}

/// A lookup in Redis, and how long it took.
async fn look(cache: &Cache, key: Hash) -> (Option<Bytes>, Duration) {
    let begun = Instant::now();
    let redis = cache.redis.as_ref().unwrap();
    let found = cache.bounded(redis.get(key, ENTRY_BYTES_MAX)).await.flatten();
    (found, begun.elapsed())
}

/// Looks until something is there, or nothing is; returns the longest that a look took.
async fn until(cache: &Cache, key: Hash, is_there: bool) -> Duration {
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        let (found, took) = look(cache, key).await;
        longest = longest.max(took);
        if found.is_some() == is_there {
            return longest;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "there is still no change");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn put(cache: &Cache, key: Hash) {
    let redis = cache.redis.as_ref().unwrap();
    let begun = Instant::now();
    while cache.bounded(redis.set(key, b"here", Duration::from_secs(60))).await.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not answer again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Goal: a Redis that dies or hangs is a miss, says so once until it is back, and delays nothing for long. Method: a real
/// one that is killed, comes back, is stopped, and goes on; all the while it is asked.
#[tokio::test]
async fn a_dead_cache_is_a_miss_with_one_warning() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut server = server::Redis::start();
    let cache = Cache::new(Some(&server.url()), AGE).unwrap();
    let key = Hash::of(b"k");
    assert_eq!(look(&cache, key).await.0, None);
    put(&cache, key).await;
    until(&cache, key, true).await;
    let before = log.count(" WARN ");
    server.kill();
    until(&cache, key, false).await;
    let begun = Instant::now();
    let mut looks = 0;
    // Longer than it is left alone, so that it is tried again more than once.
    while begun.elapsed() < PAUSE * 3 {
        let (found, took) = look(&cache, key).await;
        assert!(found.is_none() && took < PATIENCE * 4, "{took:?}");
        looks += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(looks > 20, "{looks} looks");
    assert_eq!(log.count(" WARN ") - before, 1, "one warning while it is away");
    server.restart();
    put(&cache, key).await;
    until(&cache, key, true).await;
    assert!(log.count("answers again") > 0, "it is said that it is back");
    let signal = |name: &str| {
        let status = std::process::Command::new("kill").arg(name).arg(server.pid().to_string()).status();
        assert!(status.unwrap().success());
    };
    signal("-STOP");
    let longest = until(&cache, key, false).await;
    assert!(longest >= PATIENCE / 2 && longest < PATIENCE * 4, "{longest:?}");
    signal("-CONT");
    until(&cache, key, true).await;
    assert!(log.count(" WARN ") - before >= 2, "it is said again");
    assert_eq!(log.count(server::PASSWORD), 0);
}

/// Goal: no entry of another's costs more than the bound. Method: a value of ten times as many bytes, put there by
/// somebody else.
#[tokio::test]
async fn a_large_value_of_somebody_else_is_a_miss() {
    let server = server::Redis::start();
    let cache = Cache::new(Some(&server.url()), AGE).unwrap();
    let key = Hash::of(b"k");
    let redis = cache.redis.as_ref().unwrap();
    redis.set(key, &vec![b'x'; ENTRY_BYTES_MAX * 10], Duration::from_secs(60)).await.unwrap();
    assert_eq!(redis.get(key, ENTRY_BYTES_MAX).await, Ok(None));
    redis.set(key, &vec![b'x'; ENTRY_BYTES_MAX], Duration::from_secs(60)).await.unwrap();
    assert_eq!(redis.get(key, ENTRY_BYTES_MAX).await.unwrap().unwrap().len(), ENTRY_BYTES_MAX);
}
