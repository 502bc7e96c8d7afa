//! The file of the providers: `models` in the configuration names it.

use std::path::{Path, PathBuf};

use bus_schemas::Key;
use bus_schemas::settings::Duration;
use serde::Deserialize;

use crate::formats::Format;
use crate::models::{Configured, Models, Prices};
use crate::provider::{Provider, Timeouts};
use crate::secret::{Secret, SecretError};

/// The most providers.
const PROVIDERS_MAX: usize = 16;
/// The bounds of `max_tokens`.
const TOKENS: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// The bounds of `num_ctx`.
const CONTEXT: std::ops::RangeInclusive<u32> = 256..=10_000_000;
/// The bounds of a timeout.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_ms(100)..=Duration::from_secs(3_600);
/// The highest price of a million tokens.
const PRICE_MAX: f64 = 1_000_000.0;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The providers, in the order in which they are asked.
    #[serde(default)]
    provider: Vec<Entry>,
}

/// A provider in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    format: Format,
    url: Option<String>,
    model: String,
    key_file: Option<PathBuf>,
    key_variable: Option<String>,
    #[serde(default = "default_max_tokens")]
    max_tokens: u32,
    temperature: Option<f64>,
    num_ctx: Option<u32>,
    cache: Option<bool>,
    #[serde(default)]
    input_price: f64,
    cached_price: Option<f64>,
    #[serde(default)]
    output_price: f64,
    #[serde(default = "default_minute")]
    head_timeout: Duration,
    #[serde(default = "default_minute")]
    idle_timeout: Duration,
    #[serde(default = "default_whole")]
    timeout: Duration,
}

/// The message of an error without the value that is wrong: it may be a key in the wrong place.
fn shown(message: &str) -> &str {
    match message.split_once("expected") {
        _ if message.starts_with("unknown field") || message.starts_with("missing field") => message,
        Some((_, expected)) => expected.trim_start(),
        None => "this is no TOML",
    }
}

fn default_max_tokens() -> u32 {
    4_096
}
fn default_minute() -> Duration {
    Duration::from_secs(60)
}
fn default_whole() -> Duration {
    Duration::from_secs(600)
}

impl Models {
    /// Reads the file, with the keys that it names. Every mistake at once, each as a sentence.
    pub fn load(path: &Path) -> Result<Self, Vec<String>> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| vec![format!("`{}` cannot be read: {error}", path.display())])?;
        let File { provider: entries } = toml::from_str(&text).map_err(|error| {
            // Without the line itself: somebody may have written a key into it.
            let before = |span: std::ops::Range<usize>| text.get(..span.start).unwrap_or_default();
            let line = error.span().map_or(1, |span| 1 + before(span).matches('\n').count());
            vec![format!("`{}`, line {line}: {}", path.display(), shown(error.message()))]
        })?;
        let mut mistakes = Vec::new();
        if entries.len() > PROVIDERS_MAX {
            mistakes.push(format!(
                "`{}` has {} providers, at most {PROVIDERS_MAX} are taken",
                path.display(),
                entries.len()
            ));
        }
        let mut providers: Vec<Configured> = Vec::new();
        for entry in entries {
            let name = entry.name.clone();
            match configured(entry) {
                Ok(one) if providers.iter().any(|known| known.name == one.name) => {
                    mistakes.push(format!("two providers have the name `{name}`"));
                }
                Ok(one) => providers.push(one),
                Err(wrong) => {
                    mistakes.extend(wrong.into_iter().map(|wrong| format!("provider `{name}`: {wrong}")))
                }
            }
        }
        if mistakes.is_empty() { Ok(Self::of(providers)) } else { Err(mistakes) }
    }
}

/// What is wrong with the words and numbers of an entry.
fn mistakes(entry: &Entry) -> Vec<String> {
    let mut wrong = Vec::new();
    if dependency(&entry.name).is_none() {
        wrong.push("`name` is 1 to 120 letters, digits, `-` and `_`".to_owned());
    }
    if entry.model.trim().is_empty() {
        wrong.push("`model` is empty".to_owned());
    }
    if !TOKENS.contains(&entry.max_tokens) {
        wrong.push(format!(
            "`max_tokens` is {} to {}, not {}",
            TOKENS.start(),
            TOKENS.end(),
            entry.max_tokens
        ));
    }
    if entry.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
        wrong.push("`temperature` is 0 to 2".to_owned());
    }
    match entry.num_ctx {
        None => {}
        Some(_) if entry.format != Format::Ollama => {
            wrong.push("`num_ctx` is for the format `ollama` only".to_owned());
        }
        Some(tokens) if !CONTEXT.contains(&tokens) => {
            wrong.push(format!("`num_ctx` is {} to {}, not {tokens}", CONTEXT.start(), CONTEXT.end()));
        }
        Some(_) => {}
    }
    let cached = entry.cached_price.unwrap_or_default();
    for (name, price) in
        [("input_price", entry.input_price), ("cached_price", cached), ("output_price", entry.output_price)]
    {
        if !(0.0..=PRICE_MAX).contains(&price) {
            wrong.push(format!("`{name}` is a price of a million tokens, 0 to {PRICE_MAX}, not {price}"));
        }
    }
    for (name, timeout) in [
        ("head_timeout", entry.head_timeout),
        ("idle_timeout", entry.idle_timeout),
        ("timeout", entry.timeout),
    ] {
        if !TIMEOUTS.contains(&timeout) {
            wrong.push(format!(
                "`{name}` is `{}` to `{}`, not `{timeout}`",
                TIMEOUTS.start(),
                TIMEOUTS.end()
            ));
        }
    }
    if entry.key_file.is_some() && entry.key_variable.is_some() {
        wrong.push("`key_file` and `key_variable` are both set".to_owned());
    }
    wrong
}

/// The breaker of a provider.
fn dependency(name: &str) -> Option<Key> {
    Key::parse(&format!("model.{name}")).ok().filter(|_| !name.contains('.') && name.len() <= 120)
}

fn is_variable(name: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.len() <= 128 && name.bytes().all(sign)
}

/// The key that an entry names, if it names one.
fn key(entry: &Entry) -> Result<Option<Secret>, SecretError> {
    match (&entry.key_file, &entry.key_variable) {
        (Some(path), _) => Secret::from_file(path).map(Some),
        // What does not look like a name may be the key itself.
        (None, Some(variable)) if !is_variable(variable) => {
            Err(SecretError::Shape("key_variable".to_owned()))
        }
        (None, Some(variable)) => Secret::from_variable(variable).map(Some),
        (None, None) => Ok(None),
    }
}

fn configured(entry: Entry) -> Result<Configured, Vec<String>> {
    let mut wrong = mistakes(&entry);
    let key = key(&entry).unwrap_or_else(|error| {
        wrong.push(error.to_string());
        None
    });
    let url = entry.url.clone().or_else(|| entry.format.default_url().map(str::to_owned));
    let provider = match url.as_deref() {
        None => Err("`url` is missing, and this format has no URL of its own".to_owned()),
        Some(url) => Provider::new(entry.format, url, key).map_err(|error| format!("`url`: {error}")),
    };
    let (provider, dependency) = match (provider, dependency(&entry.name)) {
        (Ok(provider), Some(dependency)) if wrong.is_empty() => (provider, dependency),
        (provider, _) => {
            wrong.extend(provider.err());
            return Err(wrong);
        }
    };
    let timeout = |duration: Duration| std::time::Duration::from_millis(duration.as_ms());
    let (head, idle) = (timeout(entry.head_timeout), timeout(entry.idle_timeout));
    let timeouts = Timeouts { head, idle, whole: timeout(entry.timeout) };
    let cached = entry.cached_price.unwrap_or(entry.input_price);
    Ok(Configured {
        name: entry.name,
        dependency,
        format: entry.format,
        url: url.unwrap_or_default(),
        model: entry.model,
        max_tokens: entry.max_tokens,
        temperature: entry.temperature,
        num_ctx: entry.num_ctx,
        // Only an answer that the provider would give again is worth another one.
        is_cached: entry.cache.unwrap_or(entry.temperature == Some(0.0)),
        prices: Prices { input: entry.input_price, cached, output: entry.output_price },
        whole: timeouts.whole,
        provider: Box::new(provider.within(timeouts)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Models, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.toml");
        std::fs::write(&path, text).unwrap();
        Models::load(&path)
    }

    const GOOD: &str = "[[provider]]\nname = \"local\"\nformat = \"compatible-chat\"\n\
                        url = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\n";

    #[test]
    fn providers_are_asked_in_the_order_of_the_file() {
        let models = load(&format!("{GOOD}{}", GOOD.replace("local", "other"))).unwrap();
        assert_eq!(models.names(), ["local", "other"]);
        assert!(load("").unwrap().names().is_empty());
    }

    #[test]
    fn every_mistake_is_said_and_no_key_is_shown() {
        let wrong = "[[provider]]\nname = \"a b\"\nformat = \"compatible-chat\"\nmodel = \" \"\nmax_tokens = 0\n\
                     input_price = -1\ntimeout = \"1ms\"\nkey_variable = \"ORRERY_NO_SUCH_KEY\"\n";
        let mistakes = load(wrong).unwrap_err();
        for part in
            ["`name`", "`model`", "`max_tokens`", "`input_price`", "`timeout`", "ORRERY_NO_SUCH_KEY", "`url`"]
        {
            assert!(mistakes.iter().any(|mistake| mistake.contains(part)), "{part} in {mistakes:?}");
        }
        for (text, part) in [
            ("[[provider]]\nname = 3\n", "line 2: a string"),
            ("[[provider]]\nkey = \"sk-hunter2\"\n", "unknown field `key`"),
            (&format!("{GOOD}{GOOD}"), "two providers"),
            (&GOOD.repeat(17), "at most 16"),
            (&GOOD.replace("http://", "ftp://"), "`url`"),
            (&GOOD.replace("compatible-chat", "sk-hunter2"), "one of `chat`"),
            (&format!("{GOOD}max_tokens = \"sk-hunter2\"\n"), "u32"),
            (&format!("{GOOD}key_variable = \"sk-hunter2\"\n"), "key_variable"),
            (&GOOD.replace("http://", "http://ada:hunter2@"), "`url`"),
            (&format!("{GOOD}num_ctx = 4096\n"), "`num_ctx` is for"),
            (&format!("{}num_ctx = 9\n", GOOD.replace("compatible-chat", "ollama")), "`num_ctx` is 256"),
        ] {
            let mistakes = load(text).unwrap_err();
            assert!(mistakes.iter().any(|mistake| mistake.contains(part)), "{part} in {mistakes:?}");
            assert!(!mistakes.concat().contains("hunter2"), "{mistakes:?}");
        }
        assert!(Models::load(Path::new("/no/such/file")).unwrap_err()[0].contains("cannot be read"));
    }
}
