//! This process's access to the NATS server: a name with a password, a token, or a file of credentials.
//!
//! Secrets are in the URL or in files. They are read when a connection is made, and kept nowhere else.

use std::path::Path;

use crate::config::NatsConfig;
use crate::error::Error;

/// The credentials for a connection.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Access {
    /// None: the server admits everyone.
    Open,
    /// A user with a password.
    User(String, String),
    /// A token.
    Token(String),
    /// A JWT with its key, in the format of `nsc`.
    Credentials(String),
}

/// The servers of a URL, and its credentials: the text before `@`, if any.
fn split(url: &str) -> (String, Option<&str>) {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (credentials, host) =
        rest.rsplit_once('@').map_or((None, rest), |(before, host)| (Some(before), host));
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    (scheme + host, credentials)
}

/// The servers of a list of URLs, without credentials.
pub(crate) fn servers(urls: &str) -> Vec<String> {
    urls.split(',').map(|url| split(url.trim()).0).collect()
}

/// The credentials in a list of URLs. One URL with credentials is enough.
fn in_urls(urls: &str) -> Result<Access, &'static str> {
    let mut found = Access::Open;
    for credentials in urls.split(',').filter_map(|url| split(url.trim()).1) {
        let access = match credentials.split_once(':') {
            Some((user, password)) => Access::User(decoded(user), decoded(password)),
            None => Access::Token(decoded(credentials)),
        };
        if found != Access::Open && found != access {
            return Err("the servers have different credentials, and a host is one user to all of them");
        }
        found = access;
    }
    Ok(found)
}

/// A text with its percent-encoding (RFC 3986) decoded; a `%` without two digits is kept.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut plain, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2))));
        if let Some((high, low)) = code.flatten() {
            plain.push(u8::try_from(high * 16 + low).unwrap_or_default());
            at += 3;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The secret in a file: its first line.
fn secret(name: &'static str, file: &Path) -> Result<String, Error> {
    let unusable =
        |reason: String| Error::Setting { name, reason: format!("`{}`: {reason}", file.display()) };
    let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    let secret = text.lines().next().unwrap_or_default().trim();
    if secret.is_empty() { Err(unusable("the file is empty".into())) } else { Ok(secret.to_owned()) }
}

impl Access {
    /// The credentials from the configuration.
    pub(crate) fn of(config: &NatsConfig) -> Result<Self, Error> {
        if let Some((name, reason)) = mistakes(config).into_iter().next() {
            return Err(Error::Setting { name, reason });
        }
        if let (Some(user), Some(file)) = (&config.user, &config.password_file) {
            return Ok(Self::User(user.clone(), secret("nats.password_file", file)?));
        }
        if let Some(file) = &config.token_file {
            return Ok(Self::Token(secret("nats.token_file", file)?));
        }
        if let Some(file) = &config.credentials_file {
            let name = "nats.credentials_file";
            let unusable = |error: std::io::Error| Error::Setting {
                name,
                reason: format!("`{}`: {error}", file.display()),
            };
            return std::fs::read_to_string(file).map(Self::Credentials).map_err(unusable);
        }
        let url = config.url.as_deref().unwrap_or_default();
        in_urls(url).map_err(|reason| Error::Setting { name: "nats.url", reason: reason.into() })
    }

    /// The prefix of reply subjects. With credentials it differs from `_INBOX`, to which clients without
    /// credentials may listen.
    pub(crate) fn inbox_prefix(&self) -> &'static str {
        if *self == Self::Open { "_INBOX" } else { "_INBOX_orrery" }
    }

    /// Connect options with these credentials.
    pub(crate) fn options(self) -> Result<async_nats::ConnectOptions, Error> {
        let options = async_nats::ConnectOptions::new();
        match self {
            Self::Open => Ok(options),
            Self::User(user, password) => Ok(options.user_and_password(user, password)),
            Self::Token(token) => Ok(options.token(token)),
            Self::Credentials(text) => options.credentials(&text).map_err(|_| Error::Setting {
                name: "nats.credentials_file",
                reason: "the file holds no credentials with a JWT and a key".into(),
            }),
        }
    }
}

/// The servers and connect options for a client that is not a [`Bus`](crate::Bus).
pub fn options(config: &NatsConfig) -> Result<(Vec<String>, async_nats::ConnectOptions), Error> {
    let url =
        config.url.as_deref().ok_or(Error::Setting { name: "nats.url", reason: "is not set".into() })?;
    let access = Access::of(config)?;
    let inbox_prefix = access.inbox_prefix();
    Ok((servers(url), access.options()?.custom_inbox_prefix(inbox_prefix)))
}

/// Mistakes in the access settings, each with its key.
pub(crate) fn mistakes(config: &NatsConfig) -> Vec<(&'static str, String)> {
    let mut mistakes = Vec::new();
    let in_url = match in_urls(config.url.as_deref().unwrap_or_default()) {
        Ok(access) => access != Access::Open,
        Err(reason) => {
            mistakes.push(("nats.url", reason.to_owned()));
            true
        }
    };
    match (&config.user, &config.password_file) {
        (Some(_), None) => mistakes.push(("nats.user", "needs `nats.password_file`".into())),
        (None, Some(_)) => mistakes.push(("nats.password_file", "needs `nats.user`".into())),
        (Some(user), Some(_)) if user.is_empty() => mistakes.push(("nats.user", "is empty".into())),
        _ => {}
    }
    let ways = [
        ("nats.url", in_url),
        ("nats.user", config.user.is_some() || config.password_file.is_some()),
        ("nats.token_file", config.token_file.is_some()),
        ("nats.credentials_file", config.credentials_file.is_some()),
    ];
    let ways: Vec<&'static str> =
        ways.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
    if let [first, .., last] = ways[..] {
        mistakes.push((last, format!("`{first}` says already who this process is to the server")));
    }
    if config.url.is_none()
        && let [first, ..] = ways[..]
    {
        mistakes.push((first, "the embedded server has a user of its own; this needs `nats.url`".into()));
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_out_of_urls_decoded() {
        let user = |name: &str, word: &str| Ok(Access::User(name.into(), word.into()));
        assert_eq!(in_urls("nats://a:1,b:2"), Ok(Access::Open));
        assert_eq!(in_urls("nats://me:s%40f%2Ce%3A@a:1, nats://me:s%40f%2Ce%3A@b:2"), user("me", "s@f,e:"));
        assert_eq!(in_urls("me:p@ss@host"), user("me", "p@ss"));
        assert_eq!(in_urls("tls://t%20k@host:1,host:2"), Ok(Access::Token("t k".into())));
        assert!(in_urls("nats://a:x@h,nats://b:y@h").is_err());
        assert_eq!(in_urls("nats://a:50%@h"), user("a", "50%"));
        assert_eq!(servers("nats://me:p@ss@a:1, b"), ["nats://a:1", "b"]);
    }

    #[test]
    fn one_way_to_say_who_this_is_is_enough() {
        let config = |edit: fn(&mut NatsConfig)| {
            let mut config = NatsConfig { url: Some("nats://a".into()), ..NatsConfig::default() };
            edit(&mut config);
            mistakes(&config).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert!(config(|_| {}).is_empty());
        assert_eq!(config(|config| config.user = Some("me".into())), ["nats.user"]);
        assert_eq!(config(|config| config.password_file = Some("f".into())), ["nats.password_file"]);
        let both = |config: &mut NatsConfig| {
            config.url = Some("nats://me:p@a".into());
            config.token_file = Some("f".into());
        };
        assert_eq!(config(both), ["nats.token_file"]);
        let embedded = |config: &mut NatsConfig| (config.url, config.token_file) = (None, Some("f".into()));
        assert_eq!(config(embedded), ["nats.token_file"]);
    }
}
