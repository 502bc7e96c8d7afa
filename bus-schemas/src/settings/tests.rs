//! The rules of documents, and how mistakes are reported.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::commands::breaker;
use crate::ids::Key;

/// The places and the first words of every mistake.
fn told(name: &str, value: Value) -> Vec<(String, String)> {
    let mistakes = mistakes(name, &value).expect("a name of this release");
    mistakes.into_iter().map(|mistake| (mistake.pointer, mistake.reason)).collect()
}

fn places(name: &str, value: Value) -> Vec<String> {
    told(name, value).into_iter().map(|(place, _)| place).collect()
}

#[test]
fn the_default_of_every_name_is_good_and_says_everything() {
    assert_eq!(names().collect::<Vec<_>>(), ["breakers", "lanes", "limits", "prompts", "retry"]);
    for name in names() {
        let value = default_value(name).expect("known");
        assert_eq!(mistakes(name, &value), Some(vec![]), "{name}: {value}");
        assert_eq!(mistakes(name, &json!({})), Some(vec![]), "{name} may leave everything out");
        let validator = jsonschema::validator_for(&schema(name).expect("known")).expect("a schema");
        assert!(validator.is_valid(&value), "{name}: {value}");
    }
    assert_eq!(mistakes("nothing", &json!({})), None);
    assert_eq!((default_value("nothing"), schema("nothing")), (None, None));
}

/// Goal: all mistakes of a document are reported at once. Method: a document with a mistake of every sort.
#[test]
fn every_mistake_is_told_with_its_place() {
    let wrong = json!({
        "default": {"attempts": 0, "backoff": "sometimes", "base": "10m", "cap": 3},
        "skills": {"a/b": {"factor": 11, "deadline": "soon", "tries": 2}, "c": []},
        "retries": 3,
    });
    let told = told("retry", wrong);
    let places: Vec<&str> = told.iter().map(|(place, _)| place.as_str()).collect();
    let expected = [
        "/default/attempts",
        "/default/backoff",
        "/default/cap",
        "/retries",
        "/skills/a~1b/deadline",
        "/skills/a~1b/factor",
        "/skills/a~1b/tries",
        "/skills/c",
    ];
    assert_eq!(places, expected, "{told:?}");
    let reason = |place: &str| {
        let found = told.iter().find(|(found, _)| found == place);
        found.map(|(_, reason)| reason.as_str()).unwrap_or_default()
    };
    assert_eq!(reason("/default/attempts"), "is 0, and must be at least 1");
    assert!(reason("/default/backoff").contains("`exponential`, `decorrelated-jitter`"));
    assert!(reason("/retries").contains("`default`, `skills`"));
    assert!(reason("/skills/a~1b/deadline").contains("no duration"));
    assert!(reason("/skills/c").contains("must be object"));
}

#[test]
fn what_types_can_not_say_is_told_with_its_place() {
    let retry = json!({"default": {"base": "2s", "cap": "1s"}, "skills": {"x": {"deadline": "0s", "cap": "8d"}, "a\u{7}": {}}});
    let expected = ["/default/base", "/skills/a\u{7}", "/skills/x/cap", "/skills/x/deadline"];
    assert_eq!(places("retry", retry), expected);
    let windows = json!([{"cron": "0 3 * * *", "duration": "8d"}]);
    let lanes = json!({
        "default": {"ageing": "10ms", "weights": {"ada": 0, "": 1, "a\u{202e}": 1}},
        "lanes": {"a b": {}, "night": {"maintenance": windows}},
    });
    let expected = [
        "/default/weights/",
        "/default/weights/ada",
        "/default/weights/a\u{202e}",
        "/default/ageing",
        "/lanes/night/maintenance/0/duration",
        "/lanes/a b",
    ];
    assert_eq!(places("lanes", lanes), expected);
    let breakers = json!({"policies": {
        "model.*": {"open_min": "10m", "open_max": "1m"},
        "*.model": {},
        "tool.git": {"window": "10ms", "slow_call": "2h"},
    }});
    let expected = [
        "/policies/*.model",
        "/policies/model.*/open_max",
        "/policies/tool.git/window",
        "/policies/tool.git/slow_call",
    ];
    assert_eq!(places("breakers", breakers), expected);
    for filter in ["", "loud", "a=b=c", "a[span]=info", "info,,warn"] {
        assert_eq!(places("limits", json!({"log_filter": filter})), ["/log_filter"], "{filter:?}");
    }
    for filter in ["info", "warn,actors_runtime=debug", "off, bus_client::events=trace"] {
        assert_eq!(places("limits", json!({"log_filter": filter})), [""; 0], "{filter:?}");
    }
    assert_eq!(places("limits", json!({"inbox_queue": 15, "cache_entities": -1})).len(), 2);
    for time in ["1ms", "9000000d"] {
        assert_eq!(places("limits", json!({"budget": {"wall_clock": time}})), ["/budget/wall_clock"]);
    }
}

/// Goal: mistakes of different sorts are reported at once. Method: documents with a value of the wrong sort
/// beside mistakes that only rules find; no mistake is reported for a stand-in value, and no rule about two
/// fields applies if one is missing.
#[test]
fn rules_are_looked_at_where_the_shape_is_good() {
    let lanes = json!({
        "default": {"ageing": "10ms", "concurrent": 0, "colour": 1},
        "lanes": {
            "a b": {"per_day": "many"},
            "night": {
                "weights": {"ada": "x", "ben": 0},
                "maintenance": [{"cron": 1, "duration": "8d"}, {"duration": "soon"}, 7, {"cron": "0 3 * * *", "duration": "9d"}],
            },
        },
    });
    let mut told = places("lanes", lanes);
    told.sort_unstable();
    let expected = [
        "/default/ageing",
        "/default/colour",
        "/default/concurrent",
        "/lanes/a b",
        "/lanes/a b/per_day",
        "/lanes/night/maintenance/0/cron",
        "/lanes/night/maintenance/0/duration",
        "/lanes/night/maintenance/1/cron",
        "/lanes/night/maintenance/1/duration",
        "/lanes/night/maintenance/2",
        "/lanes/night/maintenance/3/duration",
        "/lanes/night/weights/ada",
        "/lanes/night/weights/ben",
    ];
    assert_eq!(told, expected);
    let limits =
        json!({"inbox_queue": 1, "log_filter": "loud", "budget": {"wall_clock": "1ms", "tokens": 0}});
    assert_eq!(places("limits", limits).len(), 4);
    let retry = json!({"default": {"base": "10m", "cap": 3}, "skills": {"x": {"base": "0s", "cap": 3}}});
    assert_eq!(places("retry", retry), ["/default/cap", "/skills/x/cap", "/skills/x/base"]);
    let breakers = json!({"policies": {"m": {"open_min": 3, "open_max": "1s", "window": "1ms"}}});
    assert_eq!(places("breakers", breakers), ["/policies/m/open_min", "/policies/m/window"]);
}

/// Goal: the caller's rules are applied together with all others. Method: the cron expressions of a document
/// with a mistake of shape, one of them in a value that is not text.
#[test]
fn rules_of_the_caller_are_asked_with_what_can_be_read() {
    let windows = json!([{"cron": 1, "duration": "1h"}, {"cron": "never", "duration": "soon"}]);
    let lanes = json!({"default": {"maintenance": windows, "concurrent": 0}});
    let crons = |lanes: &Lanes| lanes.crons().map(|(place, _)| Mistake::new(place, "never begins")).collect();
    let told = read_with::<Lanes>(&lanes, crons).expect_err("mistakes");
    let told: Vec<_> =
        told.iter().map(|mistake| (mistake.pointer.as_str(), mistake.reason.as_str())).collect();
    let cron = ("/default/maintenance/1/cron", "never begins");
    assert!(told.len() == 4 && told.contains(&cron), "{told:?}");
}

/// Goal: a missing field equals its default. Method: documents with the same meaning, and with different
/// ones.
#[test]
fn a_document_means_what_it_leaves_out_as_well() {
    let means_the_same = |name: &str, before: Value, after: Value| {
        differences(&filled(name, &before), &filled(name, &after)).is_empty()
    };
    for name in names() {
        assert!(means_the_same(name, json!({}), default_value(name).expect("known")), "{name}");
    }
    assert!(means_the_same("limits", json!({"inbox_queue": 8192, "log_filter": null}), json!({})));
    assert!(means_the_same("retry", json!({"default": {"base": "60s"}}), json!({"default": {"base": "1m"}})));
    assert!(!means_the_same("retry", json!({"skills": {"x": {}}}), json!({})));
    let found = differences(&filled("limits", &json!({"log_filter": "info"})), &filled("limits", &json!({})));
    assert_eq!(found[0].after, None, "what is not set is told as nothing: {found:?}");
    assert_eq!(filled("limits", &json!({"colour": 1})), json!({"colour": 1}), "of another version");
}

#[test]
fn a_document_that_is_too_large_is_not_looked_at() {
    let long = "x".repeat(VALUE_BYTES_MAX);
    let told = told("limits", json!({ "log_filter": long }));
    assert!(told.len() == 1 && told[0].1.contains("at most 32768"), "{told:?}");
}

#[test]
fn the_pattern_that_fits_best_counts_as_a_whole() {
    let breakers: Breakers = read(&json!({"policies": {
        "*": {"probes": 1},
        "model.*": {"probes": 2},
        "model.openai": {"buckets": 4},
        "model.openai*": {"probes": 4},
    }}))
    .expect("good");
    let policy = |key: &str| breakers.policy(&Key::parse(key).expect("a key"));
    let probes = |key: &str| policy(key).map(|policy| policy.probes);
    assert_eq!(
        (probes("tool.git"), probes("model.local"), probes("model.openai-2")),
        (Some(1), Some(2), Some(4))
    );
    let own = breaker::Policy { buckets: 4, ..breaker::Policy::default() };
    assert_eq!(policy("model.openai"), Some(own), "what it leaves out has its own default");
    assert_eq!(Breakers::default().policy(&Key::parse("tool.git").expect("a key")), None);
}

#[test]
fn a_lane_and_a_skill_without_an_entry_have_that_of_all() {
    let lanes: Lanes = read(&json!({
        "default": {"concurrent": 4},
        "lanes": {"night": {"per_day": 9, "ageing": "2m", "maintenance": [{"cron": "0 3 * * *", "duration": "1h"}]}},
    }))
    .expect("good");
    assert_eq!(lanes.lane("other").limits().concurrent, Some(4));
    let night = lanes.lane("night").limits();
    assert_eq!((night.concurrent, night.per_day, night.ageing_ms), (None, Some(9), Some(120_000)));
    assert_eq!(night.windows[0].duration_ms, 3_600_000);
    assert_eq!(
        lanes.crons().collect::<Vec<_>>(),
        [("/lanes/night/maintenance/0/cron".to_owned(), "0 3 * * *")]
    );
    let retry: Retry = read(&json!({"skills": {"build": {"attempts": 9}}})).expect("good");
    assert_eq!((retry.policy("build").attempts, retry.policy("plan").attempts), (9, 3));
}

#[test]
fn pauses_double_up_to_the_cap() {
    let policy = RetryPolicy { cap: Duration::from_secs(6), ..RetryPolicy::default() };
    let pauses: Vec<u64> =
        (1..=5).map(|failed| policy.pause(failed, Duration::default(), 7).as_ms()).collect();
    assert_eq!(pauses, [1_000, 2_000, 4_000, 6_000, 6_000]);
}

#[test]
fn a_watcher_is_told_under_one_name() {
    let told = ApplySettings { name: "lanes".into(), version: 3, value: json!({"default": {}}) };
    let body: Value = told.body().read().expect("JSON");
    let expected = json!({"type": "apply-settings", "name": "lanes", "version": 3, "value": {"default": {}}});
    assert_eq!(body, expected);
}

#[test]
fn differences_name_their_places() {
    let (before, after) =
        (json!({"a": {"x/y": 1, "b": [1]}, "c": 1}), json!({"a": {"x/y": 2, "b": [2]}, "d": 1}));
    let found = differences(&before, &after);
    let found: Vec<_> =
        found.iter().map(|each| (each.pointer.as_str(), each.before.as_ref(), each.after.as_ref())).collect();
    let (one, two, old, new) = (json!(1), json!(2), json!([1]), json!([2]));
    let expected = [
        ("/a/b", Some(&old), Some(&new)),
        ("/a/x~1y", Some(&one), Some(&two)),
        ("/c", Some(&one), None),
        ("/d", None, Some(&one)),
    ];
    assert_eq!(found, expected);
    assert!(differences(&before, &before).is_empty());
}

proptest! {
    #[test]
    fn a_duration_is_read_as_it_was_written(milliseconds in any::<u64>()) {
        let duration = Duration::from_ms(milliseconds);
        prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
    }

    #[test]
    fn jittered_pauses_stay_within_their_bounds(
        base in 1..100_000_u64, cap in 1..1_000_000_u64, former in any::<u64>(), draw in any::<u64>(),
    ) {
        let (base, cap) = (base.min(cap), cap);
        let policy = RetryPolicy {
            backoff: Backoff::DecorrelatedJitter,
            base: Duration::from_ms(base),
            cap: Duration::from_ms(cap),
            ..RetryPolicy::default()
        };
        let pause = policy.pause(2, Duration::from_ms(former), draw).as_ms();
        prop_assert!((base..=cap).contains(&pause), "{} to {}: {}", base, cap, pause);
        prop_assert!(pause <= former.max(base).saturating_mul(3));
    }

    /// The shape check and serde agree: each accepts what the other accepts.
    #[test]
    fn whatever_the_document_says_the_shape_and_the_reader_agree(
        attempts in -1..200_i64, base in "[0-9]{0,3}(ms|s|m|h|d|x)?", backoff in "(exponential|often)?", extra in any::<bool>(),
    ) {
        let mut value = json!({"default": {"attempts": attempts, "base": base, "backoff": backoff}});
        if extra {
            value["default"]["more"] = json!(1);
        }
        let shape = shape::mistakes(&schema_of::<Retry>(), &value);
        // serde knows no number bounds except those of the type.
        let bounded = shape.iter().filter(|mistake| mistake.pointer != "/default/attempts" || attempts < 0);
        prop_assert_eq!(bounded.count() == 0, serde_json::from_value::<Retry>(value.clone()).is_ok(), "{}", value);
        let mended = shape::mended(&schema_of::<Retry>(), &value);
        prop_assert!(serde_json::from_value::<Retry>(mended).is_ok(), "what fits can always be read: {}", value);
    }
}

/// Goal: a patch of one lane changes nothing else. Method: patches of lanes with and without rules of their
/// own, and of empty documents.
#[test]
fn the_rules_of_one_lane_are_changed_and_no_others() {
    let document = json!({
        "default": {"concurrent": 8, "weights": {"ann": 2}},
        "lanes": {"night": {"per_day": 9, "weights": {"ann": 3, "bob": 1}, "paused": true}},
    });
    let patch = json!({"per_day": null, "weights": {"bob": null, "cid": 4}, "concurrent": 2});
    let changed = Lanes::patched(&document, "night", &patch);
    let night = json!({"concurrent": 2, "weights": {"ann": 3, "cid": 4}, "paused": true});
    assert_eq!((&changed["lanes"]["night"], &changed["default"]), (&night, &document["default"]));
    let changed = Lanes::patched(&document, "day", &json!({"per_minute": 5}));
    let day = json!({"concurrent": 8, "weights": {"ann": 2}, "per_minute": 5});
    assert_eq!((&changed["lanes"]["day"], &changed["lanes"]["night"]), (&day, &document["lanes"]["night"]));
    let changed = Lanes::patched(&json!({}), "a/b", &json!({"maintenance": []}));
    assert_eq!(changed, json!({"lanes": {"a/b": {"maintenance": []}}}));
}
