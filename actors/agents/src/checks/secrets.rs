//! Secrets in texts: patterns of well-known keys and tokens, and values of high entropy that are assigned to what is
//! called a secret. A finding names the file, the line and the kind, never the secret.
//!
//! The patterns are those that issuers publish and scanners share: `config/gitleaks.toml` of gitleaks 8, GitHub's
//! "token formats", and AWS's "unique identifiers" of access keys. A value that is a placeholder by its own words, or
//! by its few different characters, is none.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use actors_sandbox::{Entry, Files};
use regex::{Regex, RegexSet};
use serde_json::Value;

use super::code::SECRET_FOUND;
use super::{Check, Finding, Severity};

/// Larger files are data, which nobody wrote by hand.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// A kind of secret.
struct Rule {
    name: &'static str,
    /// Its group `s`, or all of it, is the secret.
    pattern: &'static str,
    /// The least bits of entropy of a character, below which it is a placeholder.
    entropy: f64,
}

const RULES: [Rule; 14] = [
    Rule {
        name: "private-key",
        pattern: r"(?s)-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----\s*(?P<s>[A-Za-z0-9+/=\\][A-Za-z0-9+/=\s\\:,.-]{31,}?)(?:-----END|\z)",
        entropy: 3.0,
    },
    Rule {
        name: "aws-access-key",
        pattern: r"\b(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z2-7]{16}\b",
        entropy: 3.0,
    },
    Rule {
        name: "aws-secret-key",
        pattern: r#"(?i)\baws[a-z0-9_.-]{0,20}(?:secret|key)[a-z0-9_.-]{0,20}["']?\s{0,3}(?:=>|:=|[:=])\s{0,3}["']?(?P<s>[A-Za-z0-9/+]{40})(?:["'\s]|$)"#,
        entropy: 4.0,
    },
    Rule {
        name: "github-token",
        pattern: r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{82})\b",
        entropy: 3.0,
    },
    Rule { name: "gitlab-token", pattern: r"\bglpat-[A-Za-z0-9_-]{20,}", entropy: 3.0 },
    Rule { name: "slack-token", pattern: r"\bxox[abeoprs]-(?:\d+-){1,3}[A-Za-z0-9-]{10,}", entropy: 3.0 },
    Rule { name: "google-key", pattern: r"\bAIza[A-Za-z0-9_-]{35}\b", entropy: 3.5 },
    Rule {
        name: "model-key",
        pattern: r"\bsk-(?:proj-|svcacct-|ant-(?:api|admin)\d\d-|or-v1-)?[A-Za-z0-9_-]{32,}",
        entropy: 3.5,
    },
    Rule { name: "stripe-key", pattern: r"\b[rs]k_(?:live|prod)_[A-Za-z0-9]{16,}", entropy: 3.0 },
    Rule { name: "npm-token", pattern: r"\bnpm_[A-Za-z0-9]{36}\b", entropy: 3.0 },
    Rule { name: "pypi-token", pattern: r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}", entropy: 3.0 },
    Rule {
        name: "json-web-token",
        pattern: r"\beyJ[A-Za-z0-9_-]{14,}\.eyJ[A-Za-z0-9_-]{14,}\.[A-Za-z0-9_-]{16,}",
        entropy: 3.5,
    },
    Rule {
        name: PASSWORD,
        pattern: r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@?#]{1,64}:(?P<s>[^\s/:@?#]{8,128})@[A-Za-z0-9\[]",
        entropy: 3.0,
    },
    Rule {
        name: ASSIGNED,
        pattern: r#"(?i)(?:secret|token|passwd|password|api_?key|access_?key|auth_?key|credential)[a-z0-9_.-]{0,20}["']?\s{0,3}(?:=>|:=|[:=])\s{0,3}["'](?P<s>[A-Za-z0-9+/=_.-]{16,128})["']"#,
        entropy: 3.7,
    },
];
/// The rule that goes by names and entropy, not by a form that an issuer gave.
const ASSIGNED: &str = "assigned-secret";
const PASSWORD: &str = "password-in-url";
/// Words by which a value says that it is none.
const PLACEHOLDERS: [&str; 12] = [
    "example",
    "changeme",
    "change-me",
    "change_me",
    "placeholder",
    "your",
    "dummy",
    "redacted",
    "xxxx",
    "<",
    "{",
    "$",
];

static SET: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new(RULES.iter().map(|rule| rule.pattern)).expect("constants that are patterns")
});
static EACH: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    RULES.iter().map(|rule| Regex::new(rule.pattern).expect("a constant that is a pattern")).collect()
});

/// A secret in a text: the place of its bytes, and its kind.
struct Secret {
    rule: &'static str,
    start: usize,
    end: usize,
}

fn secrets(text: &str) -> Vec<Secret> {
    let mut found: Vec<Secret> = Vec::new();
    for index in SET.matches(text) {
        let rule = &RULES[index];
        for captures in EACH[index].captures_iter(text) {
            let Some(secret) = captures.name("s").or_else(|| captures.get(0)) else { continue };
            let is_known = found.iter().any(|one| one.start < secret.end() && secret.start() < one.end);
            if !is_known && is_secret(rule, secret.as_str()) {
                found.push(Secret { rule: rule.name, start: secret.start(), end: secret.end() });
            }
        }
    }
    found.sort_by_key(|one| one.start);
    found
}

fn is_secret(rule: &Rule, value: &str) -> bool {
    let lower = value.to_lowercase();
    if PLACEHOLDERS.iter().any(|word| lower.contains(word)) || entropy(value) < rule.entropy {
        return false;
    }
    // Words with signs between are names, paths and the like. A password may be made of words.
    if rule.name != PASSWORD && is_words(value) {
        return false;
    }
    let has = |is: fn(&u8) -> bool| value.bytes().any(|byte| is(&byte));
    let is_hash =
        [32, 40, 64, 128].contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    rule.name != ASSIGNED || has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && !is_hash
}

/// Whether a value is made of words: letters in a row, divided by `.`, `_`, `-` or `/`.
fn is_words(value: &str) -> bool {
    let parts = value.split(['.', '_', '-', '/']);
    let is_word = |part: &str| {
        part.len() < 16
            && part
                .trim_end_matches(|sign: char| sign.is_ascii_digit())
                .bytes()
                .all(|byte| byte.is_ascii_alphabetic())
    };
    value.contains(['.', '_', '-', '/']) && parts.into_iter().all(is_word)
}

/// Shannon's entropy, in bits of a character.
fn entropy(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    value.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    #[expect(clippy::cast_precision_loss, reason = "a text of so many bytes is in no file")]
    let length = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length)
        .map(|part| -part * part.log2())
        .sum()
}

/// The check over all files.
pub(crate) fn check(files: &Files) -> Check {
    let found = files.iter().filter_map(|(path, entry)| Some((path, readable(entry)?)));
    let found = found.flat_map(|(path, text)| {
        secrets(text).into_iter().map(move |secret| finding(path, text, &secret)).collect::<Vec<_>>()
    });
    Check::ran("secrets", "patterns", 0.0, String::new(), found.collect())
}

/// The secrets of `after` that the same file of `before` does not have.
pub(crate) fn added(before: &Files, after: &Files) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, entry) in after.iter().filter(|(path, entry)| before.get(path) != Some(entry)) {
        let Some(text) = readable(entry) else { continue };
        let former = before.get(path).and_then(readable).unwrap_or_default();
        let known: BTreeSet<&str> = secrets(former).iter().map(|one| &former[one.start..one.end]).collect();
        let is_new = |secret: &Secret| !known.contains(&text[secret.start..secret.end]);
        found.extend(secrets(text).into_iter().filter(is_new).map(|secret| finding(path, text, &secret)));
    }
    found
}

/// Whether a text has a secret in a form that an issuer gave.
pub(crate) fn is_held_in(text: &str) -> bool {
    secrets(text).iter().any(|secret| secret.rule != ASSIGNED)
}

/// The text with the kind of each secret in the secret's place.
pub(crate) fn hidden(text: &str) -> Cow<'_, str> {
    let found = secrets(text);
    let mut shown = String::new();
    let mut from = 0;
    for Secret { rule, start, end } in &found {
        shown.push_str(&text[from..*start]);
        shown.push_str(&format!("[{SECRET_FOUND}: {rule}]"));
        from = *end;
    }
    if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(shown + &text[from..]) }
}

/// Hides the secrets in every text of a value.
pub(crate) fn hide(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = hidden(text) {
                *text = shown;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(fields) => fields.values_mut().for_each(hide),
        _ => {}
    }
}

fn readable(entry: &Entry) -> Option<&str> {
    let Entry::File { bytes, .. } = entry else { return None };
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= FILE_BYTES_MAX)?;
    (!text.contains('\0')).then_some(text)
}

fn finding(path: &str, text: &str, secret: &Secret) -> Finding {
    let line = text[..secret.start].bytes().filter(|byte| *byte == b'\n').count() + 1;
    let line = u32::try_from(line).unwrap_or(u32::MAX);
    Finding::new(path, line, SECRET_FOUND, Severity::High, &format!("looks like a secret: {}", secret.rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key in the form of its issuer, put together here so that no scanner finds it in this file.
    fn made(head: &str, length: usize) -> String {
        let signs = "q7Z3kP9sT1vX5bN8mR2cL6wJ4hG0fD".as_bytes();
        head.chars().chain((0..length).map(|at| signs[(at * 7 + length) % signs.len()] as char)).collect()
    }

    fn rules(text: &str) -> Vec<&'static str> {
        secrets(text).iter().map(|one| one.rule).collect()
    }

    #[test]
    fn well_known_secrets_are_found_in_their_lines() {
        let aws = format!("AKIA{}", "Q7Z3KP5ST2VX4BN6");
        let segment = |head: &str| made(head, 40);
        let jwt = format!("{}.{}.{}", segment("eyJ"), segment("eyJ"), segment(""));
        let body = made("MIIEvQIBADANBgkqhkiG9w0B", 80);
        let key = format!("-----BEGIN {0} KEY-----\n{body}\n-----END {0} KEY-----", "RSA PRIVATE");
        for (secret, rule) in [
            (aws, "aws-access-key"),
            (format!("aws_secret_access_key = \"{}\"", made("", 40)), "aws-secret-key"),
            (made("ghp_", 36), "github-token"),
            (made("github_pat_", 82), "github-token"),
            (made("glpat-", 20), "gitlab-token"),
            (made("xoxb-1234567890-1234567890-", 24), "slack-token"),
            (made("AIza", 35), "google-key"),
            (made("sk-ant-api03-", 90), "model-key"),
            (made("sk-proj-", 48), "model-key"),
            (made("sk_live_", 24), "stripe-key"),
            (made("npm_", 36), "npm-token"),
            (made("pypi-AgEIcHlwaS5vcmc", 60), "pypi-token"),
            (jwt, "json-web-token"),
            (key, "private-key"),
            (format!("postgres://app:{}@db/x", made("", 16)), PASSWORD),
            (format!("DB_PASSWORD = '{}'", made("", 24)), ASSIGNED),
            (format!("{{\"api_key\": \"{}\"}}", made("", 32)), ASSIGNED),
        ] {
            let text = format!("one\ntwo = 2\nvalue = {secret} # three\n");
            assert_eq!(rules(&text), [rule], "{rule}");
            let shown = hidden(&text);
            assert!(
                rules(&shown).is_empty() && shown.contains(&format!("[secret-found: {rule}]")),
                "{shown}"
            );
            let mut files = Files::new();
            files.insert("a.py", Entry::file(text.clone().into_bytes())).unwrap();
            let check = check(&files);
            let [found] = &check.findings[..] else { panic!("{check:?}") };
            assert!(
                (3..=4).contains(&found.line) && found.file == "a.py" && found.rule == SECRET_FOUND,
                "{found:?}"
            );
            let said = serde_json::to_string(&check).unwrap();
            let part = secret.get(secret.len() / 2..secret.len() / 2 + 8).unwrap();
            assert!(!said.contains(part), "a finding never has the secret");
            assert_eq!(added(&Files::new(), &files).len(), 1);
            assert_eq!(added(&files, &files), [], "what was there is not new");
            assert_eq!(is_held_in(&text), rule != ASSIGNED);
        }
    }

    #[test]
    fn near_misses_are_no_secrets() {
        for text in [
            concat!("AKIA", "IOSFODNN7EXAMPLE"),
            concat!("AKIA", "AAAAAAAAAAAAAAAA"),
            concat!("ghp_", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
            concat!("ghp_", "q7Z3kP9s"),
            "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----",
            concat!("PEM = re.compile('-----BEGIN ", "RSA PRIVATE KEY-----')"),
            "eyJhbGciOiJIUzI1NiJ9.not.a.token",
            "commit = \"1714142f0c9a7e5d3b8c6a1f2e4d5c6b7a8f9e0d\"",
            "sha256:fe52b3b7ffb43c38445b596dd90cb0f4e9f293053aaafedad927017714bd4790",
            "\"integrity\": \"sha512-q7Z3kP9sT1vX5bN8mR2cL6wJ4hG0fDq7Z3kP9sT1vX5bN8mR2cL6wJ4hG0fDAA==\"",
            "id = \"123e4567-e89b-12d3-a456-426614174000\"",
            "password = os.environ[\"DATABASE_PASSWORD\"]",
            "password = \"changeme-please-changeme\"",
            "token = \"your_token_here_1234567890\"",
            "token_url = \"accounts.example.com/oauth2/v2/token\"",
            "token_type = \"urn.ietf.params.oauth.v2.token\"",
            "secret_name: \"projects/web/secrets/db-password1\"",
            "postgres://user:${PASSWORD}@db/x and postgres://user:password@db/x and http://a:8080/x@y",
            "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
            "tokens = tokenize(\"some_long_function_name_here\")",
            "sk-learn-compatible-estimators-and-transformers",
        ] {
            assert_eq!(rules(text), Vec::<&str>::new(), "{text}");
            assert!(matches!(hidden(text), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let secret = made("ghp_", 36);
        let mut value = serde_json::json!({"a": [{"new": format!("x {secret} y")}], "n": 1});
        hide(&mut value);
        assert_eq!(value, serde_json::json!({"a": [{"new": "x [secret-found: github-token] y"}], "n": 1}));
    }
}
