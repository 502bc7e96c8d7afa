//! Secrets in settings: found, hidden, and refused where they are placeholders that somebody forgot.
//!
//! Works on the settings as JSON, so that a setting that is added later is covered by its name, or
//! by being a URL with credentials.

use serde_json::Value;

use super::ConfigError;

/// Last words of the names of settings that are secrets.
const SECRET_NAMES: [&str; 4] = ["password", "secret", "token", "credentials"];
/// What examples write where a secret belongs.
const PLACEHOLDERS: [&str; 6] =
    ["changeme", "change-me", "change_me", "replaceme", "replace-me", "replace_me"];
/// How examples begin where a secret belongs.
const PLACEHOLDER_BEGINNINGS: [&str; 3] = ["your-", "your_", "todo"];

/// The mistakes of settings whose secret is a placeholder.
pub(super) fn placeholders(settings: &Value) -> Vec<ConfigError> {
    let mut mistakes = Vec::new();
    each(settings, &mut Vec::new(), &mut |key, secret| {
        if is_placeholder(secret) {
            let reason = "the secret is a placeholder: set the real one, or `development = true` where it does not matter";
            mistakes.push(ConfigError::new(key, reason));
        }
    });
    mistakes
}

/// Every secret in the settings.
pub(super) fn found(settings: &Value) -> Vec<String> {
    let mut found = Vec::new();
    each(settings, &mut Vec::new(), &mut |_, secret| found.push(secret.to_owned()));
    found
}

/// Hides every secret.
pub(super) fn hide(settings: &mut Value) {
    let Value::Object(fields) = settings else { return };
    for (name, value) in fields {
        match value {
            Value::String(_) if is_secret(name) => *value = "***".into(),
            Value::String(text) if is_url(name, text) => *text = bus_client::redacted_url(text),
            inner => hide(inner),
        }
    }
}

/// Calls `tell` with every secret and the key of its setting.
fn each(settings: &Value, path: &mut Vec<String>, tell: &mut impl FnMut(String, &str)) {
    let Value::Object(fields) = settings else { return };
    for (name, value) in fields {
        path.push(name.clone());
        match value {
            Value::String(text) if is_secret(name) && !text.is_empty() => tell(path.join("."), text),
            Value::String(text) if is_url(name, text) => {
                for secret in text.split(',').filter_map(in_url) {
                    tell(path.join("."), secret);
                }
            }
            inner => each(inner, path, tell),
        }
        path.pop();
    }
}

fn is_secret(name: &str) -> bool {
    name.rsplit('_').next().is_some_and(|last| SECRET_NAMES.contains(&last))
}

/// A URL of NATS may come without a scheme.
fn is_url(name: &str, text: &str) -> bool {
    text.contains("://") || name.ends_with("url")
}

/// The password, or the token, before the `@` of a URL.
fn in_url(url: &str) -> Option<&str> {
    let rest = url.trim().split_once("://").map_or(url.trim(), |(_, rest)| rest);
    let (user, _) = rest.rsplit_once('@')?;
    let secret = user.split_once(':').map_or(user, |(_, password)| password);
    (!secret.is_empty()).then_some(secret)
}

fn is_placeholder(secret: &str) -> bool {
    let secret = secret.to_ascii_lowercase().replace("%3c", "<").replace("%3e", ">");
    PLACEHOLDERS.iter().any(|word| secret.contains(word))
        || PLACEHOLDER_BEGINNINGS.iter().any(|beginning| secret.starts_with(beginning))
        || (secret.starts_with('<') && secret.ends_with('>'))
        || (secret.len() >= 3 && secret.bytes().all(|byte| byte == b'x'))
}
