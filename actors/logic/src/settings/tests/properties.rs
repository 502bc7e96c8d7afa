//! The invariants of settings under random commands.

use crate::testing::scenario::given;
use actors_core::Entity;
use bus_schemas::commands::settings::Command;
use bus_schemas::events::settings::Event;
use bus_schemas::settings::{ApplySettings, mistakes};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::state::State;
use super::{Settings, activate, propose, rollback, watch};
use crate::testing::address;

/// Valid and invalid documents.
fn document() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (16..100_u32).prop_map(|length| json!({ "inbox_queue": length })),
        1 => Just(json!({})),
        1 => Just(json!({"inbox_queue": 1})),
        1 => Just(json!({"colour": "blue"})),
        1 => Just(json!([])),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => document().prop_map(propose),
        4 => (0..12_u64).prop_map(activate),
        3 => Just(rollback()),
        1 => (0..3_u8).prop_map(|number| watch(&format!("lane/l{number}"))),
        1 => (0..3_u8).prop_map(|number| {
            let watcher = address(&format!("lane/l{number}"));
            Command::Unwatch { kind: watcher.kind, key: watcher.key }
        }),
        1 => (0..3_u8, 0..12_u64).prop_map(|(host, version)| Command::ReportApplied {
            host: format!("h{host}").into(), version, problem: String::new(),
        }),
        1 => (0..12_u64).prop_map(|version| Command::Tell { version, after: address("lane/l0") }),
    ]
}

/// A model of the settings from the events alone: which versions exist, and which is active.
#[derive(Debug, Default)]
struct Model {
    versions: Vec<Value>,
    active: Vec<u64>,
}

impl Model {
    fn follow(&mut self, event: &Event) {
        let holds = |model: &Self| model.active.last().copied().unwrap_or_default();
        match event {
            Event::Proposed { version, value, .. } => {
                self.versions.push(value.clone());
                assert_eq!(*version, self.versions.len() as u64, "versions count up by one");
            }
            Event::Activated { version, former, .. } => {
                assert_eq!(*former, holds(self), "the version that held ends in the same event");
                assert_ne!(version, former);
                self.active.push(*version);
            }
            Event::RolledBack { version, former, .. } => {
                assert_eq!(*former, holds(self), "the version that held ends in the same event");
                self.active.pop();
                assert_eq!(*version, holds(self), "what comes back is what held before");
            }
            Event::Watched { .. } | Event::Unwatched { .. } | Event::Applied { .. } => {}
        }
        if let Some(version) = holds(self).checked_sub(1) {
            let value = self.versions.get(version as usize).expect("only what was proposed holds");
            assert_eq!(mistakes("limits", value), Some(vec![]), "only what is good holds");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Goal: under all commands one version is active, it was checked, and every watcher is told of it and of
    /// no other.
    #[test]
    fn one_good_version_holds_whatever_they_are_told(commands in vec(command(), 1..60)) {
        let mut settings = given::<Settings>(&address("settings/limits"), []);
        let (mut model, mut replayed) = (Model::default(), State::default());
        for command in commands {
            let outcome = settings.when(command);
            let decision = outcome.result.ok();
            for event in decision.iter().flat_map(|decision| &decision.events) {
                model.follow(event);
                Settings::fold(&mut replayed, event);
            }
            settings = outcome.given;
            let holds = model.active.last().copied().unwrap_or_default();
            prop_assert_eq!(settings.state().active, holds);
            let sends: Vec<_> = decision.into_iter().flat_map(|decision| decision.sends).collect();
            for send in &sends {
                let body: Value = send.body.read().expect("JSON");
                prop_assert_eq!(&body["version"], &json!(holds));
                let told = ApplySettings {
                    name: "limits".into(),
                    version: holds,
                    value: settings.state().value("limits", holds).expect("it is kept"),
                };
                prop_assert_eq!(&send.body, &told.body());
                prop_assert!(settings.state().watchers.contains(&send.to));
            }
        }
        prop_assert_eq!(settings.state(), &replayed);
        let stored = serde_json::to_value(&replayed).expect("a snapshot");
        prop_assert_eq!(&serde_json::from_value::<State>(stored).expect("it is read again"), &replayed);
    }
}
