//! What must hold for any input: subjects can not be injected, what is written is read again,
//! and bytes from outside never panic.

use bus_schemas::claims::{Answer, Claim, Issued};
use bus_schemas::commands::task::{Command, Failure, Plan, PlanStep, Submit};
use bus_schemas::ids::Epoch;
use bus_schemas::jobs::{Artifact, EffectStep, FailureClass, Job, StepResult};
use bus_schemas::record::{
    self, BODIES_BYTES_MAX, BODY_CROWDED_BYTES_MAX, BODY_INLINE_BYTES_MAX, CommitRecord, LeaseChange, Part,
    Position, RECORD_VERSION, Source, TimerChange, Turn,
};
use bus_schemas::subjects::{SubjectError, Subjects};
use bus_schemas::views::task::TaskState;
use bus_schemas::{
    Body, CommandId, ContentType, EntityAddress, Hash, Key, Kind, PartitionId, Refusal, Revision, Timestamp,
    TraceContext,
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
        (key(), attempt(), word(), id(), word()).prop_map(|(agent, attempt, worker, claim, token)| {
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
        (any::<u64>(), value(), ".{0,10}").prop_map(|(question, answer, by)| Command::ProvideInput {
            question: Revision(question),
            answer,
            by,
        }),
        (option::of(any::<u64>()), ".{0,10}")
            .prop_map(|(end, by)| Command::Retry { end: end.map(Revision), by }),
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
    (id(), body(), option::of(id()), id(), option::of(trace()), option::of(word())).prop_map(
        |(id, body, cause, correlation, trace, caller)| record::Command {
            id,
            body,
            cause,
            correlation,
            trace,
            caller,
        },
    )
}
fn turn() -> impl Strategy<Value = Turn> {
    let source = prop_oneof![
        Just(Source::Ask),
        any::<u64>().prop_map(Source::Inbox),
        (any::<u16>(), any::<u64>()).prop_map(|(from, number)| Source::Mail(PartitionId(from), number)),
        word().prop_map(Source::Timer),
        word().prop_map(Source::Lease),
        Just(Source::Claim),
    ];
    let event = (any::<u64>(), word(), any::<u16>(), hash(), vec(any::<u8>(), 0..40)).prop_map(
        |(revision, event_type, schema, hash, body)| record::Event {
            revision: Revision(revision),
            event_type,
            schema,
            hash,
            body: body.into(),
        },
    );
    let mail =
        (any::<u16>(), any::<u64>(), entity(), envelope()).prop_map(|(partition, number, to, command)| {
            record::Mail { partition: PartitionId(partition), number, to, command }
        });
    let timer = prop_oneof![
        (word(), any::<u64>(), body()).prop_map(|(name, at, body)| TimerChange::Set {
            name,
            at: Timestamp(at),
            body
        }),
        word().prop_map(|name| TimerChange::Cancel { name }),
    ];
    let lease = prop_oneof![
        (word(), any::<u64>(), any::<u64>(), body(), body()).prop_map(
            |(name, first_ms, ms, unrenewed, silent)| LeaseChange::Begin {
                name,
                first_ms,
                ms,
                unrenewed,
                silent
            }
        ),
        word().prop_map(|name| LeaseChange::End { name }),
    ];
    let job = (word(), id(), vec(any::<u8>(), 0..40)).prop_map(|(id, claim, body)| record::Job {
        id,
        claim,
        body: body.into(),
    });
    let stop = (key(), word(), word()).prop_map(|(agent, worker, job)| record::Stop { agent, worker, job });
    let held = (vec(lease, 0..3), vec(job, 0..2), vec(stop, 0..2), any::<bool>());
    let dead = (word(), word(), ".{0,20}", option::of(word()))
        .prop_map(|(entry, class, reason, subject)| record::DeadLetter { entry, class, reason, subject });
    let caused = (vec(event, 0..3), vec(mail, 0..3), vec(timer, 0..3), held, option::of(dead));
    (source, entity(), envelope(), any::<u64>(), any::<bool>(), caused).prop_map(
        |(source, entity, command, at, refused, (events, sends, timers, held, dead))| {
            let (leases, jobs, stops, is_open) = held;
            Turn {
                source,
                entity,
                command,
                at: Timestamp(at),
                events,
                refusal: refused
                    .then(|| Refusal::new("task-not-found", "there is no such task").hint("submit it")),
                sends,
                timers,
                leases,
                jobs,
                stops,
                is_open,
                reply: vec![b'{', b'}'].into(),
                dead,
            }
        },
    )
}
fn commit_record() -> impl Strategy<Value = CommitRecord> {
    let rows = || vec((any::<u16>().prop_map(PartitionId), any::<u64>()), 0..4);
    (
        (any::<u16>(), any::<u64>(), word(), any::<u64>()),
        hash(),
        (any::<u64>(), rows(), rows()),
        vec(turn(), 0..4),
    )
        .prop_map(|((partition, epoch, host, at), previous, (inbox, mail, mail_out), turns)| {
            CommitRecord {
                version: RECORD_VERSION,
                partition: PartitionId(partition),
                epoch: Epoch(epoch),
                host,
                at: Timestamp(at),
                previous,
                position: Position { inbox, mail },
                mail_out,
                dead_out: epoch,
                turns,
                detached: Vec::new(),
            }
        })
}

proptest! {
    // A failing case is printed with its seed; regressions become tests by name.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn subjects_name_their_entity(entity in entity(), partition in any::<u16>(), prefix in "[a-z0-9-]{1,12}") {
        let subjects = Subjects::new(&prefix).unwrap();
        let partition = PartitionId(partition);
        for subject in [
            subjects.event(&entity),
            subjects.hand_over(&entity),
            subjects.request(&entity),
            subjects.ask(partition, &entity),
            subjects.command(partition, &entity),
        ] {
            prop_assert_eq!(subjects.entity(&subject).unwrap(), entity.clone(), "{}", subject);
        }
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
            Subjects::default().entity(&format!("orrery.do.task.{text}")), Err(SubjectError::Token { .. }));
        prop_assert!(is_token_error);
        for text in [format!(".{key}"), format!("{key}.")] {
            prop_assert!(Key::parse(&text).is_err());
        }
    }

    #[test]
    fn any_subject_is_an_entity_or_an_error(subject in ".{0,60}") {
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
        prop_assert!(Timestamp(number).plus_ms(u64::MAX) == Timestamp(u64::MAX));
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

    #[test]
    fn a_commit_record_is_read_as_written(record in commit_record()) {
        prop_assert_eq!(CommitRecord::decode(&record.encode()).unwrap(), record);
    }

    #[test]
    fn a_damaged_commit_record_is_an_error_and_never_a_panic(
        record in commit_record(), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), bit in 0..8_u32,
    ) {
        let mut bytes = record.encode();
        prop_assert!(CommitRecord::decode(&bytes[..cut.index(bytes.len())]).is_err());
        let at = flip.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = CommitRecord::decode(&bytes);
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        let _ = CommitRecord::decode(&bytes);
    }

    #[test]
    fn a_record_of_a_later_version_is_named(record in commit_record(), version in RECORD_VERSION + 1..=u16::MAX) {
        let is_named = |bytes: &[u8]| {
            matches!(CommitRecord::decode(bytes), Err(record::Error::Version { found }) if found == version)
        };
        prop_assert!(is_named(&CommitRecord { version, ..record }.encode()), "same fields");
        let grown = (version, "other", [1, 2, 3], (), (), (), (), (), (), (), "more", (1, 2));
        prop_assert!(is_named(&rmp_serde::to_vec(&grown).unwrap()), "more fields");
    }
}

/// Large bodies leave a record and come back into their places; a record without them stays as it is.
#[test]
fn large_bodies_are_detached_and_attached() {
    proptest!(|(record in commit_record(), size in 0..3_usize)| {
        let mut record = record;
        prop_assert!(record.detach().is_none());
        let body = bytes::Bytes::from(vec![b'x'; BODY_INLINE_BYTES_MAX + size]);
        for turn in &mut record.turns {
            turn.command.body.bytes = body.clone();
            turn.events.iter_mut().for_each(|event| event.body = body.clone());
            turn.jobs.iter_mut().for_each(|job| job.body = body.clone());
            turn.sends.iter_mut().for_each(|mail| mail.command.body.bytes = body.clone());
        }
        let Some((slim, blobs)) = record.detach() else {
            prop_assert!(size == 0 || record.turns.is_empty());
            return Ok(());
        };
        prop_assert_eq!(blobs, [body.clone()]);
        let mut read = CommitRecord::decode(&slim.encode()).unwrap();
        for detached in std::mem::take(&mut read.detached) {
            prop_assert_eq!(detached.hash, Hash::of(&body));
            read.attach(&detached, body.clone()).unwrap();
        }
        prop_assert_eq!(read, record);
    });
}

/// A record of many small bodies is too much for one message as well: then those above 2 KiB leave it.
#[test]
fn a_crowded_record_keeps_small_bodies_only() {
    let lengths = vec(0..4_000_usize, 1..12);
    let turns = vec((turn(), lengths), 1..60);
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(record in commit_record(), turns in turns)| {
        let mut record = record;
        record.turns.clear();
        let (mut all, mut number) = (0, 0_u32);
        for (mut turn, lengths) in turns {
            let filled = |length: usize, number: &mut u32| {
                *number += 1;
                // Some bodies are the same, and are kept once.
                let byte = b'a' + (*number % 7) as u8;
                bytes::Bytes::from(vec![byte; length])
            };
            turn.events = lengths.iter().map(|length| record::Event {
                revision: Revision(1),
                event_type: "touched".into(),
                schema: 1,
                hash: Hash::default(),
                body: filled(*length, &mut number),
            }).collect();
            all += lengths.iter().sum::<usize>() + turn.command.body.bytes.len();
            all += turn.sends.iter().map(|mail| mail.command.body.bytes.len()).sum::<usize>();
            all += turn.jobs.iter().map(|job| job.body.len()).sum::<usize>();
            record.turns.push(turn);
        }
        let longest = record.turns.iter().flat_map(|turn| &turn.events).map(|event| event.body.len()).max();
        let is_crowded = all > BODIES_BYTES_MAX && longest > Some(BODY_CROWDED_BYTES_MAX);
        let Some((slim, blobs)) = record.detach() else {
            prop_assert!(!is_crowded);
            return Ok(());
        };
        prop_assert!(is_crowded);
        let kept = slim.turns.iter().flat_map(|turn| &turn.events).map(|event| event.body.len()).max();
        prop_assert!(kept <= Some(BODY_CROWDED_BYTES_MAX));
        let by_hash: std::collections::BTreeMap<Hash, bytes::Bytes> =
            blobs.iter().map(|blob| (Hash::of(blob), blob.clone())).collect();
        prop_assert_eq!(by_hash.len(), blobs.len(), "each once");
        let mut read = CommitRecord::decode(&slim.encode()).unwrap();
        for detached in std::mem::take(&mut read.detached) {
            read.attach(&detached, by_hash[&detached.hash].clone()).unwrap();
        }
        prop_assert_eq!(read, record);
    });
}

#[test]
fn a_body_without_its_place_is_an_error() {
    proptest!(|(record in commit_record(), turn in any::<u32>(), index in any::<u32>(), hash in hash())| {
        let mut record = record;
        for part in [Part::Event(index), Part::Send(index), Part::Job(index)] {
            let detached = record::Detached { turn, part, hash };
            let is_there = record.turns.get(turn as usize).is_some_and(|turn| index < match part {
                Part::Event(_) => turn.events.len() as u32,
                Part::Send(_) => turn.sends.len() as u32,
                Part::Job(_) => turn.jobs.len() as u32,
                Part::Command => 1,
            });
            prop_assert_eq!(record.attach(&detached, bytes::Bytes::new()).is_ok(), is_there);
        }
    });
}

fn claim() -> impl Strategy<Value = Claim> {
    let sizes = (any::<u64>(), 1..=256_u32, any::<bool>());
    (word(), sizes, vec(word(), 1..4), vec(key(), 1..4)).prop_map(
        |(worker, (incarnation, places, repeated), skills, lanes)| Claim {
            worker,
            incarnation,
            skills,
            places,
            repeated,
            lanes,
        },
    )
}

fn job() -> impl Strategy<Value = Job> {
    (key(), any::<u32>(), word(), value(), any::<u32>(), id()).prop_map(
        |(task, attempt, token, input, steps, correlation)| Job {
            id: format!("{task}/{attempt}").into(),
            task: EntityAddress::new(Kind::from_static("task"), task),
            attempt,
            token,
            agent: Key::parse("coder").unwrap(),
            skill: "plan".into(),
            lane: Key::parse("default").unwrap(),
            goal: "a goal".into(),
            input,
            inputs: vec![],
            answers: vec![],
            deadline: None,
            lease_ms: 30_000,
            effects: vec![],
            steps,
            metered: false,
            correlation,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_claim_and_its_answer_are_read_as_written(
        claim in claim(), id in id(), jobs in vec(option::of(job()), 0..3), blob in hash(), more in any::<bool>(),
    ) {
        let read: Claim = serde_json::from_value(serde_json::to_value(&claim).unwrap()).unwrap();
        prop_assert_eq!(&read, &claim);
        let body = Body { content_type: ContentType::Msgpack, bytes: rmp_serde::to_vec_named(&claim).unwrap().into() };
        prop_assert_eq!(&body.read::<Claim>().unwrap(), &claim);
        let again = Claim { repeated: !claim.repeated, ..claim.clone() };
        prop_assert!(claim.is_same(&again), "it is the same when it is said again");
        let other = Claim { places: claim.places + 1, ..claim.clone() };
        prop_assert!(!claim.is_same(&other));
        let jobs = jobs.into_iter().map(|job| Issued {
            blob: job.is_none().then_some(blob),
            job: job.map(Box::new),
            traceparent: None,
        });
        for answer in [Answer::Issued { claim: id, jobs: jobs.collect(), more }, Answer::ComeAgain { claim: id }] {
            let read: Answer = serde_json::from_slice(&serde_json::to_vec(&answer).unwrap()).unwrap();
            prop_assert_eq!(read, answer);
        }
    }

    #[test]
    fn claims_and_queries_have_subjects_of_their_own(entity in entity(), prefix in "[a-z0-9-]{1,12}") {
        let subjects = Subjects::new(&prefix).unwrap();
        prop_assert_eq!(subjects.claimant(&subjects.claim(&entity.key)).unwrap(), entity.key.clone());
        for (subject, is_query) in [
            (subjects.query(&entity), true),
            (subjects.view(PartitionId(3), &entity), true),
            (subjects.request(&entity), false),
            (subjects.ask(PartitionId(3), &entity), false),
        ] {
            prop_assert_eq!(subjects.is_query(&subject), is_query);
            prop_assert_eq!(subjects.entity(&subject).unwrap(), entity.clone());
            prop_assert!(subjects.claimant(&subject).is_err());
        }
    }

    /// A queue lies where its token says, and its key says of which lane it is.
    #[test]
    fn each_partition_has_a_queue_of_each_lane(lane in "[a-z]{1,64}(\\.[a-z]{1,63}){0,1}", count in 1..512_u16, index in any::<prop::sample::Index>()) {
        use bus_schemas::commands::queue;
        let lane = Key::parse(&lane).unwrap();
        let partition = PartitionId(index.index(count.into()) as u16);
        let key = queue::key(&lane, partition, count);
        prop_assert_eq!(queue::lane(&key), Some(lane));
        prop_assert_eq!(PartitionId::of(key.root(), count), partition);
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
