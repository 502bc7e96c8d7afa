//! What must hold for any input: subjects cannot be injected, what is written is read again,
//! and bytes from outside never panic.

mod claims;
mod records;

use bus_schemas::claims::{Answer, Claim, Issued};
use bus_schemas::commands::task::{Command, Failure, Plan, PlanStep, Submit};
use bus_schemas::ids::Epoch;
use bus_schemas::jobs::{Artifact, EffectStep, FailureClass, Job, StepResult};
use bus_schemas::record::{
    self, BODIES_BYTES_MAX, BODY_CROWDED_BYTES_MAX, BODY_INLINE_BYTES_MAX, CommitRecord, LeaseChange, Part,
    Position, RECORD_VERSION, Source, TimerChange, Turn,
};
use bus_schemas::subjects::{SubjectError, Subjects};
use bus_schemas::topology::Store;
use bus_schemas::views::task::TaskState;
use bus_schemas::{
    Body, Caller, CommandId, ContentType, EntityAddress, Hash, Key, Kind, PartitionId, Refusal, Revision,
    Timestamp, TraceContext,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use smol_str::SmolStr;
use uuid::Uuid;

fn kind() -> impl Strategy<Value = Kind> {
    "[A-Za-z0-9_-]{1,32}".prop_map(|text| Kind::parse(&text).unwrap())
}
fn key() -> impl Strategy<Value = Key> {
    "[A-Za-z0-9_-]{1,20}(\\.[A-Za-z0-9_-]{1,20}){0,4}".prop_map(|text| Key::parse(&text).unwrap())
}
fn entity() -> impl Strategy<Value = EntityAddress> {
    (kind(), key()).prop_map(|(kind, key)| EntityAddress::new(kind, key))
}
fn id() -> impl Strategy<Value = CommandId> {
    any::<u128>().prop_map(|number| CommandId(Uuid::from_u128(number)))
}
fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}
fn word() -> impl Strategy<Value = SmolStr> {
    ".{0,40}".prop_map(SmolStr::new)
}
fn trace() -> impl Strategy<Value = TraceContext> {
    (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u8>())
        .prop_filter("zeros are no ids", |(trace, span, _)| *trace != [0; 16] && *span != [0; 8])
        .prop_map(|(trace_id, span_id, flags)| TraceContext { trace_id, span_id, flags })
}
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no word for it", |number| number.is_finite())
            .prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((".{0,8}", inner), 0..4).prop_map(|rows| Value::Object(rows.into_iter().collect())),
        ]
    })
}
fn artifact() -> impl Strategy<Value = Artifact> {
    (".{1,20}", hash(), any::<u64>(), word()).prop_map(|(name, hash, bytes, step)| Artifact {
        name,
        media_type: "text/markdown".into(),
        hash,
        bytes,
        step,
    })
}
fn plan() -> impl Strategy<Value = Plan> {
    let step = (word(), ".{0,20}", word(), value(), vec(word(), 0..3), any::<bool>()).prop_map(
        |(step, goal, skill, input, after, optional)| PlanStep { step, goal, skill, input, after, optional },
    );
    vec(step, 0..4).prop_map(|steps| Plan { steps })
}
fn step() -> impl Strategy<Value = StepResult> {
    (word(), hash(), value()).prop_map(|(name, input, result)| StepResult { name, input, result })
}
fn failure() -> impl Strategy<Value = Failure> {
    (".{0,10}", ".{0,20}", option::of(".{0,10}")).prop_map(|(code, message, hint)| Failure {
        class: FailureClass::Ambiguous,
        code,
        message,
        hint,
        dependency: None,
    })
}
fn submit() -> impl Strategy<Value = Submit> {
    let bounds = (0..=9_u8, option::of(1..=100_u32), option::of(any::<u64>()));
    (".{0,30}", word(), bounds, value(), option::of(plan()), option::of(key()), vec(artifact(), 0..3))
        .prop_map(|(goal, owner, (priority, attempts_max, deadline), input, plan, parent, inputs)| Submit {
            owner,
            priority,
            attempts_max,
            deadline: deadline.map(Timestamp),
            input,
            plan,
            parent,
            inputs,
            ..Submit::new(goal)
        })
}
fn command() -> impl Strategy<Value = Command> {
    let attempt = any::<u32>;
    prop_oneof![
        submit().prop_map(Command::Submit),
        (key(), attempt(), word(), id(), hash()).prop_map(|(agent, attempt, worker, claim, token)| {
            Command::Assign { agent, worker, claim, attempt, token, policy: None }
        }),
        (attempt(), word(), vec(step(), 1..4)).prop_map(|(attempt, token, steps)| Command::RecordStep {
            attempt,
            token,
            steps
        }),
        (attempt(), ".{0,10}", ".{0,10}", word()).prop_map(|(attempt, effect, detail, token)| {
            Command::RecordEffect {
                attempt,
                token,
                effect,
                step: EffectStep::Reconciled,
                detail,
                key: None,
                result: Value::Null,
            }
        }),
        (attempt(), word(), vec(step(), 0..3), vec(artifact(), 0..3), value(), option::of(plan())).prop_map(
            |(attempt, token, steps, artifacts, result, plan)| {
                Command::CompleteJob { attempt, token, steps, artifacts, result, plan }
            }
        ),
        (any::<u64>(), value())
            .prop_map(|(question, answer)| Command::Answer { question: Revision(question), answer }),
        option::of(any::<u64>()).prop_map(|end| Command::Retry { end: end.map(Revision) }),
        (word(), vec(artifact(), 0..3), value(), option::of(failure())).prop_map(
            |(step, artifacts, result, failure)| {
                Command::SettleChild { step, state: TaskState::AuthRequired, artifacts, result, failure }
            }
        ),
        Just(Command::ExpireDeadline),
    ]
}
fn body() -> impl Strategy<Value = Body> {
    (any::<bool>(), vec(any::<u8>(), 0..40)).prop_map(|(json, bytes)| Body {
        content_type: if json { ContentType::Json } else { ContentType::Msgpack },
        bytes: bytes.into(),
    })
}
fn envelope() -> impl Strategy<Value = record::Command> {
    (id(), body(), option::of(id()), id(), option::of(trace()), option::of(word()), any::<bool>()).prop_map(
        |(id, body, cause, correlation, trace, caller, settles)| record::Command {
            id,
            body,
            cause,
            correlation,
            trace,
            caller,
            settles,
        },
    )
}

proptest! {
    // A failing case is printed with its seed; regressions become tests by name.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn subjects_name_their_entity(entity in entity(), partition in any::<u16>(), prefix in "[a-z0-9-]{1,12}") {
        let subjects = Subjects::new(&prefix).unwrap();
        let partition = PartitionId(partition);
        for subject in [
            subjects.hand_over(&Caller::UNNAMED, &entity),
            subjects.request(&Caller::UNNAMED, &entity),
            subjects.ask(partition, &Caller::UNNAMED, &entity),
            subjects.command(partition, &Caller::UNNAMED, &entity),
        ] {
            let spoken = (Caller::UNNAMED, entity.clone());
            prop_assert_eq!(subjects.spoken(&subject).unwrap(), spoken, "{}", subject);
            prop_assert!(subjects.entity(&subject).is_err());
        }
        let event = subjects.event(&entity);
        prop_assert_eq!(subjects.entity(&event).unwrap(), entity.clone());
        prop_assert!(subjects.spoken(&event).is_err());
        prop_assert_eq!(entity.to_string().parse::<EntityAddress>().unwrap(), entity.clone());
        let below = entity.key.child("step").unwrap_or_else(|_| entity.key.clone());
        let below = EntityAddress::new(entity.kind.clone(), below);
        prop_assert_eq!(below.partition(8), entity.partition(8));
    }

    #[test]
    fn a_key_holds_nothing_that_a_subject_could_mean(text in ".{0,40}") {
        let plain = |token: &str| !token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        prop_assert_eq!(Key::parse(&text).is_ok(), text.split('.').all(plain));
        prop_assert_eq!(Kind::parse(&text).is_ok(), plain(&text) && text.len() <= 32);
        let quoted = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(serde_json::from_str::<Key>(&quoted).is_ok(), Key::parse(&text).is_ok());
    }

    #[test]
    fn an_injected_character_is_refused_wherever_it_stands(
        key in key(),
        bad in prop::sample::select(vec![" ", "*", ">", "/", "\0", "\r\n", "\t", "\u{7f}", "ö", "\u{202e}", "$", "{", ".."]),
        at in any::<prop::sample::Index>(),
    ) {
        let mut text = key.as_str().to_owned();
        text.insert_str(at.index(text.len() + 1), bad);
        prop_assert!(Key::parse(&text).is_err());
        let is_token_error = matches!(
            Subjects::default().spoken(&format!("orrery.do.me.task.{text}")), Err(SubjectError::Token { .. }));
        prop_assert!(is_token_error);
        for text in [format!(".{key}"), format!("{key}.")] {
            prop_assert!(Key::parse(&text).is_err());
        }
    }

    #[test]
    fn any_subject_is_an_entity_or_an_error(subject in ".{0,60}") {
        let _ = Subjects::default().spoken(&format!("orrery.{subject}"));
        let _ = Subjects::default().entity(&subject);
        let _ = Subjects::default().entity(&format!("orrery.{subject}"));
    }

    #[test]
    fn trace_contexts_are_read_as_written(context in trace()) {
        prop_assert_eq!(TraceContext::parse(&context.to_traceparent()), Some(context));
        // A later version may have more parts; version 00 may not.
        let more = context.to_traceparent() + "-more";
        prop_assert_eq!(TraceContext::parse(&more), None);
        prop_assert_eq!(TraceContext::parse(&more.replacen("00-", "cc-", 1)), Some(context));
    }

    #[test]
    fn any_trace_header_is_a_context_or_none(
        text in ".{0,60}", version in "[0-9a-fA-F+ ]{2}", flags in "[0-9a-fA-F+ ]{2}", context in trace(),
    ) {
        let _ = TraceContext::parse(&text);
        let header = format!("{version}{}{flags}", &context.to_traceparent()[2..53]);
        let hex = |text: &str| text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        prop_assert_eq!(TraceContext::parse(&header).is_some(), hex(&version) && hex(&flags) && version != "ff");
    }

    #[test]
    fn numbers_and_times_are_read_as_written(number in any::<u64>()) {
        prop_assert_eq!(Revision(number).to_string().parse::<u64>().unwrap(), number);
        prop_assert_eq!(serde_json::from_value::<Revision>(json!(number)).unwrap(), Revision(number));
        let _ = Timestamp(number).to_rfc3339();
        prop_assert!(Timestamp(number).plus_ms(u64::MAX) == Timestamp::MAX);
    }

    #[test]
    fn command_ids_are_read_from_any_text(text in ".{0,60}", id in id(), index in any::<u32>()) {
        prop_assert_eq!(CommandId::from_text(&id.to_string()), id);
        prop_assert_eq!(CommandId::from_text(&text), CommandId::from_text(&text));
        prop_assert_ne!(id.derive("job", index), id.derive("mail", index));
        let _ = id.made_at();
    }

    #[test]
    fn hashes_are_read_in_every_form(hash in hash()) {
        prop_assert_eq!(Hash::from_hex(&hash.to_hex()), Some(hash));
        prop_assert_eq!(serde_json::from_value::<Hash>(json!(hash.to_hex())).unwrap(), hash);
        prop_assert_eq!(rmp_serde::from_slice::<Hash>(&rmp_serde::to_vec(&hash).unwrap()).unwrap(), hash);
        prop_assert_eq!(rmp_serde::from_slice::<Hash>(&rmp_serde::to_vec(&hash.to_hex()).unwrap()).unwrap(), hash);
    }

    #[test]
    fn a_command_reads_the_same_from_json_and_from_messagepack(command in command()) {
        let json = Body::json(&command);
        let packed = Body {
            content_type: ContentType::Msgpack,
            bytes: rmp_serde::to_vec_named(&command).unwrap().into(),
        };
        prop_assert_eq!(json.read::<Command>().unwrap(), command.clone());
        prop_assert_eq!(packed.read::<Command>().unwrap(), command);
    }

    #[test]
    fn a_body_of_any_bytes_is_read_or_refused(body in body()) {
        let _ = body.read::<Command>();
    }
}

/// Known answers from Python's `blake3`: `docs/protocol.md` promises that others can compute them.
#[test]
fn hashes_are_those_of_the_protocol_document() {
    let first = Hash::default().link(Revision(1), "touched", 1, br#"{"type":"touched","count":1}"#);
    assert_eq!(first.to_hex(), "04ebbdb7d014082122200df86bbce8da3e886b393a1a30ce1ba893d8d9a33de9");
    let second = first.link(Revision(2), "touched", 1, br#"{"type":"touched","count":2}"#);
    assert_eq!(second.to_hex(), "afb39f2b8c783d1fcff886b2dd086b62f15d5ce17090bb5604fe493c0c9e2261");
    let id = CommandId::from_text("submit-42");
    assert_eq!(
        id.0.simple().to_string(),
        "2cf08bd68e2f860e96c16b51e970a3f4",
        "a version 8 UUID of 2cf0…0e16c1…"
    );
}
