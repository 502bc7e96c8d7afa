//! Commit records: read as written, large bodies apart, and damaged ones are errors.

use super::*;

fn event() -> impl Strategy<Value = record::Event> {
    (any::<u64>(), word(), any::<u16>(), hash(), vec(any::<u8>(), 0..40)).prop_map(
        |(revision, event_type, schema, hash, body)| record::Event {
            revision: Revision(revision),
            event_type,
            schema,
            hash,
            body: body.into(),
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
    let caused = (vec(event(), 0..3), vec(mail, 0..3), vec(timer, 0..3), held, option::of(dead));
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
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

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
        let parts = slim.detached.iter().map(|detached| detached.part);
        let stores: std::collections::BTreeSet<Store> = parts.map(Part::store).collect();
        let found = blobs.iter().map(|(store, _)| *store).collect();
        prop_assert!(blobs.len() == stores.len() && stores == found && stores.contains(&Store::Private));
        prop_assert!(blobs.iter().all(|(_, blob)| *blob == body));
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
        let by_hash: std::collections::BTreeMap<(Store, Hash), bytes::Bytes> =
            blobs.iter().map(|(store, blob)| ((*store, Hash::of(blob)), blob.clone())).collect();
        prop_assert_eq!(by_hash.len(), blobs.len(), "each once");
        let mut read = CommitRecord::decode(&slim.encode()).unwrap();
        for detached in std::mem::take(&mut read.detached) {
            read.attach(&detached, by_hash[&(detached.part.store(), detached.hash)].clone()).unwrap();
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
