//! Settings as people write them, and the page that explains them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

fn env(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
    let owned = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect::<Vec<_>>().into_iter()
}

/// Reads a file's text and variables.
fn read(text: &str, variables: &[(&str, &str)]) -> (Config, Vec<ConfigError>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("orrery.toml");
    std::fs::write(&file, text).unwrap();
    Config::read(Some(&file), env(variables))
}

fn keys(mistakes: &[ConfigError]) -> Vec<&str> {
    mistakes.iter().map(|mistake| mistake.setting.as_str()).collect()
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = "nats_port = 4333\nhost_name = \"file\"\n[nats]\nprofile = \"fast\"\n";
    let variables = [("ORRERY__NATS_PORT", "4444"), ("ORRERY__HOST_NAME", "7"), ("OTHER", "x")];
    let (config, mistakes) = read(text, &variables);
    assert_eq!(mistakes, []);
    assert_eq!((config.nats_port, config.nats.profile), (4444, bus_client::Profile::Fast));
    assert_eq!(config.host_name.as_deref(), Some("7"), "a name of digits is a name");
}

/// Goal: whoever mends settings sees all that is wrong at once, each under its key and with the
/// place where it was written, and the settings that are good still count.
#[test]
fn every_mistake_is_told_under_its_key() {
    let text = "host_name = \"good\"\nspeed = 9\n[nats]\npartitions = 0\nsubject_prefix = \"a.b\"\nprofile = \"x\"\nurl = \"http://h\"\n[colours]\n";
    let (config, mistakes) = read(text, &[("ORRERY__NATS_PORT", "many"), ("ORRERY__NATS__COLOUR", "red")]);
    let mut told = keys(&mistakes);
    told.sort_unstable();
    let wanted = [
        "colours",
        "nats.colour",
        "nats.partitions",
        "nats.profile",
        "nats.subject_prefix",
        "nats.url",
        "nats_port",
        "speed",
    ];
    assert_eq!(told, wanted, "{mistakes:?}");
    assert_eq!(config.host_name.as_deref(), Some("good"));
    for mistake in &mistakes {
        let from = if ["nats_port", "nats.colour"].contains(&mistake.setting.as_str()) {
            "(from ORRERY__"
        } else {
            "orrery.toml)"
        };
        assert!(mistake.reason.contains(from), "{mistake}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_told_with_the_line() {
    let (_, mistakes) = read("nats_port = 1\nrubbish\n", &[]);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert_eq!(mistakes[0].setting, "--config");
    assert!(mistakes[0].reason.contains("orrery.toml`: line 2: "), "{}", mistakes[0]);
    let missing = Config::load(Some(Path::new("/no/such/file.toml")), env(&[])).unwrap_err();
    assert_eq!(keys(&missing), ["--config"]);
    assert!(missing[0].reason.starts_with("`/no/such/file.toml`: "), "{}", missing[0]);
}

/// Goal: an address that nothing can be reached at is told before anything starts.
#[test]
fn an_address_is_a_scheme_a_host_and_a_port() {
    let wrong = |setting: &str, value: &str| {
        let name = format!("ORRERY__{}", setting.to_ascii_uppercase().replace('.', "__"));
        Config::load(None, env(&[(&name, value)])).err().map(|mistakes| keys(&mistakes).join(" "))
    };
    for good in ["nats://h", "h:4222", "tls://u:p@h:1,wss://[::1]:4222/x", "nats://[::1]"] {
        assert_eq!(wrong("nats.url", good), None, "{good}");
    }
    for bad in ["nats://", "redis://h", "h:99999", "nats://h:0", "nats://:4222", "h,"] {
        assert_eq!(wrong("nats.url", bad).as_deref(), Some("nats.url"), "{bad}");
    }
    for setting in ["nats.monitor_url", "otlp_endpoint"] {
        assert_eq!(wrong(setting, "https://h:4318/v1"), None);
        for bad in ["h:4318", "ftp://h", "http://h:port"] {
            assert_eq!(wrong(setting, bad).as_deref(), Some(setting), "{bad}");
        }
    }
}

#[test]
fn a_secret_that_is_a_placeholder_is_refused_but_for_development() {
    let placeholders = "changeme CHANGEME <password> %3Cpassword%3E xxxx your-password TODO password Passwd secret placeholder \
        example dummy change%20me change-me! ${NATS_PASSWORD} $%7BNATS_PASSWORD%7D a-${NATS_PASSWORD} {{password}} {{%20pass%20}} \
        insert-here insert_password_here $NATS_PASSWORD %NATS_PASSWORD% %DB_PASSWORD% ***";
    for password in placeholders.split_whitespace() {
        let url = format!("nats://user:{password}@host:4222");
        let mistakes = Config::load(None, env(&[("ORRERY__NATS__URL", &url)])).unwrap_err();
        assert_eq!(keys(&mistakes), ["nats.url"], "{password}");
        assert!(
            !mistakes[0].to_string().contains(&format!(":{password}")),
            "a secret is not repeated: {mistakes:?}"
        );
        let config = Config::load(None, env(&[("ORRERY__NATS__URL", &url), ("ORRERY__DEVELOPMENT", "true")]));
        assert!(config.is_ok(), "{config:?}");
    }
    for password in
        ["s3cr3t", "$ecret", "$2a$10$N9qo8uLOickgx2ZMRZoMye", "100%-sure-50%", "myexample7", "a<b", "t0ken"]
    {
        let url = format!("nats://user:{password}@host:4222");
        assert!(Config::load(None, env(&[("ORRERY__NATS__URL", &url)])).is_ok(), "{password}");
    }
    for fine in ["nats://todo-host:4222", "nats://a:b@h1,nats://a:b@h2", "nats://password-host:4222"] {
        assert!(Config::load(None, env(&[("ORRERY__NATS__URL", fine)])).is_ok(), "{fine}");
    }
}

/// Goal: a placeholder is found wherever a URL can hold a secret, and nowhere else.
#[test]
fn a_placeholder_in_the_query_or_the_path_of_a_url_is_refused() {
    let told = |variable: &str, url: &str| {
        let mistakes = Config::load(None, env(&[(variable, url)])).err().unwrap_or_default();
        mistakes.iter().map(|mistake| mistake.to_string()).collect::<Vec<_>>().join("; ")
    };
    let (traces, hook) = ("ORRERY__OTLP_ENDPOINT", "ORRERY__DEAD_LETTERS__WEBHOOK");
    for query in [
        "api_key=changeme",
        "a=1&token=changeme",
        "apikey=%3Ckey%3E",
        "x-token=secret&sig=dummy",
        "KEY=$API_KEY",
    ] {
        let told = told(traces, &format!("https://collector:4318/v1?{query}"));
        assert_eq!(told.matches("is a placeholder").count(), 1, "{query}: {told}");
    }
    for query in ["api_key=Zm9v", "set=example", "grant=password", "mail=a@b", ""] {
        assert_eq!(told(traces, &format!("https://collector:4318/v1?{query}")), "", "{query}");
    }
    assert!(told(hook, "https://example.com/services?token=changeme").contains("is a placeholder"));
    assert!(told(hook, "https://example.com/services/%HOOK_PATH%").contains("dead_letters.webhook"));
    assert_eq!(told(hook, "https://example.com/services/example/T0/B1"), "");
}

#[test]
fn secrets_are_not_shown() {
    let config = Config {
        nats: NatsConfig {
            url: Some("nats://user:hunter2@a:4222, t0ken@b:4222".into()),
            monitor_url: Some("http://m:hunter2@a:8222".into()),
            ..NatsConfig::default()
        },
        otlp_endpoint: Some("https://collector/v1?api-key=hunter2&v=1".into()),
        dead_letters: DeadLetters { webhook: Some("https://u:hunter2@hooks:8443/T0/B1@x?k=Zm9vYmFy".into()) },
        ..Config::default()
    };
    let shown = format!("{} {config:?}", config.redacted());
    for secret in ["hunter2", "t0ken", "T0", "B1", "Zm9v"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    assert!(shown.contains("@b:4222") && shown.contains("collector"), "the rest is: {shown}");
    assert_eq!(config.redacted()["dead_letters"]["webhook"], "https://***@hooks:8443/***");
    let secrets = config.secrets();
    for secret in ["hunter2", "t0ken", "/T0/B1@x", "k=Zm9vYmFy", "Zm9vYmFy"] {
        assert!(secrets.iter().any(|found| found == secret), "{secret}: {secrets:?}");
    }
    assert!(!secrets.iter().any(|found| found == "1" || found.is_empty()), "{secrets:?}");
}

#[test]
fn a_webhook_is_shown_with_its_host_alone() {
    let shown = |url: &str| {
        let dead_letters = DeadLetters { webhook: Some(url.to_owned()) };
        let config = Config { dead_letters, ..Config::default() };
        (
            config.redacted()["dead_letters"]["webhook"].as_str().unwrap_or_default().to_owned(),
            config.secrets(),
        )
    };
    assert_eq!(shown("http://127.0.0.1:9/hook"), ("http://127.0.0.1:9/***".into(), vec!["/hook".into()]));
    assert_eq!(shown("https://h?q=1").0, "https://h/***");
    for open in ["https://h", "https://[::1]:8443/"] {
        assert_eq!(shown(open), (open.to_owned(), vec![]));
    }
}

/// Every setting with its default, by key.
fn flat(settings: &Value, path: &str, into: &mut BTreeMap<String, String>) {
    for (name, value) in settings.as_object().expect("a section") {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Object(_) => flat(value, &key, into),
            Value::Null => drop(into.insert(key, "none".to_owned())),
            Value::String(text) => drop(into.insert(key, format!("`{text}`"))),
            other => drop(into.insert(key, format!("`{other}`"))),
        }
    }
}

/// Goal: the page of settings is about the settings that there are. Method: its rows against the
/// type: key, variable and default.
#[test]
fn the_page_of_settings_is_about_the_settings_that_there_are() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let mut explained = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `") && line.contains("`ORRERY__")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [key, variable, _, default, meaning] = cells[..] else { panic!("five columns: {row}") };
        let key = key.trim_matches('`');
        let wanted = format!("`ORRERY__{}`", key.to_ascii_uppercase().replace('.', "__"));
        assert_eq!(variable, wanted, "{row}");
        assert!(!meaning.is_empty(), "{row}");
        explained.insert(key.to_owned(), default.to_owned());
    }
    let mut settings = BTreeMap::new();
    flat(&Config::default().plain(), "", &mut settings);
    assert_eq!(explained, settings, "docs/configuration.md on the left, the settings on the right");
}
