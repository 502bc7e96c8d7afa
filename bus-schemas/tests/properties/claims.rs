//! Claims, their answers, and the subjects and keys that go with them.

use super::*;

fn claim() -> impl Strategy<Value = Claim> {
    let sizes = (any::<u64>(), 1..=256_u32, any::<bool>());
    (word(), sizes, vec(word(), 1..4), vec(key(), 1..4), hash()).prop_map(
        |(worker, (incarnation, places, repeated), skills, lanes, token)| Claim {
            worker,
            incarnation,
            skills,
            token,
            places,
            repeated,
            lanes,
        },
    )
}

fn job() -> impl Strategy<Value = Job> {
    (key(), any::<u32>(), value(), any::<u32>(), id()).prop_map(
        |(task, attempt, input, steps, correlation)| Job {
            id: format!("{task}/{attempt}").into(),
            task: EntityAddress::new(Kind::from_static("task"), task),
            attempt,
            token: SmolStr::default(),
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
    fn claims_and_queries_have_subjects_of_their_own(entity in entity(), name in ".{0,80}", prefix in "[a-z0-9-]{1,12}") {
        let (subjects, caller) = (Subjects::new(&prefix).unwrap(), Caller::of(&name));
        prop_assert_eq!(&Caller::parse(caller.as_str()).unwrap(), &caller);
        prop_assert_eq!(subjects.claimant(&subjects.claim(&entity.key)).unwrap(), entity.key.clone());
        for (subject, is_query) in [
            (subjects.query(&caller, &entity), true),
            (subjects.view(PartitionId(3), &caller, &entity), true),
            (subjects.request(&caller, &entity), false),
            (subjects.ask(PartitionId(3), &caller, &entity), false),
        ] {
            prop_assert_eq!(subjects.is_query(&subject), is_query);
            prop_assert_eq!(subjects.spoken(&subject).unwrap(), (caller.clone(), entity.clone()));
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
