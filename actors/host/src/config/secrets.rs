//! Secrets in settings: finds them, hides them, and refuses forgotten placeholders.
//!
//! Works on the settings as JSON, so that a setting added later is covered by its name, or by being a URL:
//! URLs have credentials before the host, secrets in the query, or, for a webhook, a secret path.

use serde_json::Value;

use super::ConfigError;

/// Last words of the names of secret settings.
const SECRET_NAMES: [&str; 4] = ["password", "secret", "token", "credentials"];
/// Endings of the names of secret query parameters in URLs.
const SECRET_PARAMETERS: [&str; 12] = [
    "auth",
    "code",
    "credentials",
    "key",
    "pass",
    "passwd",
    "password",
    "pwd",
    "secret",
    "sig",
    "signature",
    "token",
];
/// The last word of the names of settings whose URL is secret except for its host.
const HOOK_NAME: &str = "webhook";
/// The least number of bytes of a query value without a secret name that is kept out of reports: anything
/// shorter is no secret, and would be removed wherever it occurs by chance.
const UNNAMED_BYTES_MIN: usize = 8;
/// Words that examples have in place of a secret, whatever stands between and around them.
const PLACEHOLDERS: [&str; 6] =
    ["changeit", "changeme", "changethis", "inserthere", "placeholder", "replaceme"];
/// Beginnings of text that examples have in place of a secret.
const PLACEHOLDER_BEGINNINGS: [&str; 6] = ["enter-", "insert-", "my-secret", "todo", "your-", "your "];
/// Words that are placeholders only when they are the whole value: part of a secret may be one by chance.
const PLACEHOLDER_WORDS: [&str; 16] = [
    "apikey",
    "credentials",
    "dummy",
    "example",
    "fake",
    "fixme",
    "insert",
    "mypassword",
    "null",
    "passwd",
    "password",
    "redacted",
    "sample",
    "secret",
    "tbd",
    "token",
];

/// A value in a setting that may be secret.
struct Secret<'a> {
    text: &'a str,
    /// Whether its name or its place makes it a secret.
    is_named: bool,
}

/// The mistakes for secrets that are placeholders.
pub(super) fn placeholders(settings: &Value) -> Vec<ConfigError> {
    let mut mistakes: Vec<ConfigError> = Vec::new();
    each(settings, &mut Vec::new(), &mut |key, secret| {
        let is_new = mistakes.last().is_none_or(|last| last.setting != key);
        if secret.is_named && is_placeholder(secret.text) && is_new {
            let reason = "the secret is a placeholder: set the real one, or `development = true` where it does not matter";
            mistakes.push(ConfigError::new(key, reason));
        }
    });
    mistakes
}

/// Every secret in the settings.
pub(super) fn found(settings: &Value) -> Vec<String> {
    let mut found = Vec::new();
    each(settings, &mut Vec::new(), &mut |_, secret| {
        if secret.is_named || secret.text.len() >= UNNAMED_BYTES_MIN {
            let plain = decoded(secret.text);
            found.extend((plain != secret.text).then_some(plain));
            found.push(secret.text.to_owned());
        }
    });
    found
}

/// Hides every secret.
pub(super) fn hide(settings: &mut Value) {
    let Value::Object(fields) = settings else { return };
    for (name, value) in fields {
        match value {
            Value::String(_) if is_secret(name) => *value = "***".into(),
            Value::String(text) if is_hook(name) => *text = host_of(text),
            Value::String(text) if is_url(name, text) => *text = bus_client::redacted_url(text),
            inner => hide(inner),
        }
    }
}

/// Calls `tell` with every secret and the key of its setting.
fn each(settings: &Value, path: &mut Vec<String>, tell: &mut impl FnMut(String, &Secret<'_>)) {
    let Value::Object(fields) = settings else { return };
    for (name, value) in fields {
        path.push(name.clone());
        match value {
            Value::String(text) if is_secret(name) && !text.is_empty() => {
                tell(path.join("."), &Secret { text, is_named: true });
            }
            Value::String(text) if is_hook(name) => {
                let secrets = in_path(text).into_iter().chain(in_url(text));
                secrets.for_each(|secret| tell(path.join("."), &secret));
            }
            Value::String(text) if is_url(name, text) => {
                text.split(',').flat_map(in_url).for_each(|secret| tell(path.join("."), &secret));
            }
            inner => each(inner, path, tell),
        }
        path.pop();
    }
}

fn last_word(name: &str) -> &str {
    name.rsplit(['_', '-', '.']).next().unwrap_or_default()
}

fn is_secret(name: &str) -> bool {
    SECRET_NAMES.contains(&last_word(name))
}

fn is_hook(name: &str) -> bool {
    last_word(name) == HOOK_NAME
}

/// A NATS URL may have no scheme.
fn is_url(name: &str, text: &str) -> bool {
    text.contains("://") || name.ends_with("url")
}

fn after_scheme(url: &str) -> &str {
    url.trim().split_once("://").map_or(url.trim(), |(_, rest)| rest)
}

/// The secrets of a URL: the password or the token before the `@`, and those in its query.
fn in_url(url: &str) -> Vec<Secret<'_>> {
    let rest = after_scheme(url);
    let (before, query) = match rest.split_once('?') {
        // No host and no credentials before the `?`: it belongs to a password.
        Some((before, query)) if query.contains('@') && !before.contains(['@', '/']) => (rest, &query[..0]),
        Some(parts) => parts,
        None => (rest, ""),
    };
    let credentials = before.rsplit_once('@').map(|(user, _)| {
        let text = user.split_once(':').map_or(user, |(_, password)| password);
        Secret { text, is_named: true }
    });
    let parameters = query.split(['&', ';']).map(parameter);
    credentials.into_iter().chain(parameters).filter(|secret| !secret.text.is_empty()).collect()
}

fn parameter(text: &str) -> Secret<'_> {
    let Some((name, value)) = text.split_once('=') else { return Secret { text, is_named: false } };
    let name = name.to_ascii_lowercase();
    Secret { text: value, is_named: SECRET_PARAMETERS.iter().any(|ending| name.ends_with(ending)) }
}

/// Splits a URL behind its host and port.
fn split_path(url: &str) -> (&str, &str) {
    let rest = after_scheme(url);
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// The path of a URL, unless it is the root, and its query: a webhook's secrets. Neither consists of words
/// that an example would have, but a template is a placeholder.
fn in_path(url: &str) -> Vec<Secret<'_>> {
    let (_, behind) = split_path(url);
    let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
    let whole = [path, query].into_iter().filter(|part| part.len() > 1);
    let templates = path.split('/').filter(|segment| is_template(segment));
    let secret = |is_named| move |text| Secret { text, is_named };
    templates.map(secret(true)).chain(whole.map(secret(true))).collect()
}

/// A URL with its host, and without what stands before and after.
fn host_of(url: &str) -> String {
    let (authority, behind) = split_path(url);
    let scheme = url.trim().split_once("://").map_or_else(String::new, |(scheme, _)| format!("{scheme}://"));
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => authority.to_owned(),
    };
    scheme + &host + if behind.len() > 1 { "/***" } else { behind }
}

fn is_placeholder(secret: &str) -> bool {
    let decoded = decoded(secret);
    if is_template(secret) || is_template(&decoded) {
        return true;
    }
    let lower = decoded.trim().to_ascii_lowercase().replace('_', "-");
    let letters: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
    PLACEHOLDERS.iter().any(|words| letters.contains(words))
        || PLACEHOLDER_WORDS.contains(&letters.as_str())
        || PLACEHOLDER_BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
        || (lower.len() >= 3 && ['x', '*', '.'].iter().any(|sign| lower.chars().all(|c| c == *sign)))
}

/// Whether a value is a template that was never filled in: `${NAME}`, `{{name}}`, `$NAME`, `<name>` or
/// `%NAME%`.
fn is_template(text: &str) -> bool {
    let text = text.trim();
    let holds = |open: &str, close: &str| {
        text.find(open).is_some_and(|start| text[start + open.len()..].contains(close))
    };
    let is_name = |name: &str| {
        name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let within = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
    // A password may begin with `$`: only `$` and a variable's name count.
    let is_variable = |name: &str| is_name(name) && !name.bytes().any(|byte| byte.is_ascii_lowercase());
    holds("${", "}")
        || holds("{{", "}}")
        || within('<', '>').is_some()
        || within('%', '%').is_some_and(is_name)
        || text.strip_prefix('$').is_some_and(is_variable)
}

/// A text with its percent-encoding (RFC 3986) decoded.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut plain, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2))));
        match code.flatten() {
            Some((high, low)) => {
                plain.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}
