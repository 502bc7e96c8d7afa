//! What the simulation has found, as small tests of the core alone.

mod claims;

use actors_core::Registry;
use actors_runtime::core::{Core, Moment, Settings};
use actors_runtime::decide::timer_command_id;
use actors_runtime::fold::{self, Loaded};
use actors_runtime::inbox::Item;
use actors_runtime::replies::REPLIES_BYTES_MAX;
use bus_client::ReplyTo;
use bus_client::asks::Incoming;
use bus_schemas::commands::schedule::{Command, Recurrence};
use bus_schemas::commands::task::Submit;
use bus_schemas::record::{Source, Turn};
use bus_schemas::subjects::Subjects;
use bus_schemas::{
    Body, Caller, CommandId, ContentType, EntityAddress, LogSequence, PartitionId, Reply, Revision, Timestamp,
};

use crate::random::Random;
use crate::registry;

fn moment(now: u64) -> Moment {
    Moment { now: Timestamp(now), steady: now }
}

/// One partition, one entity, one turn in each record.
struct Single {
    core: Core,
    entity: EntityAddress,
    random: Random,
    last: u64,
}

impl Single {
    fn new(registry: &std::sync::Arc<Registry>, entity: &str) -> Self {
        Self::keeping(registry, entity, REPLIES_BYTES_MAX)
    }

    /// Keeps so many bytes of answers.
    fn keeping(registry: &std::sync::Arc<Registry>, entity: &str, replies_bytes_max: usize) -> Self {
        let entity: EntityAddress = entity.parse().expect("a constant");
        let settings = Settings { replies_bytes_max, ..Settings::new(PartitionId(0), 1, "host", 1) };
        let mut core = Core::new(settings, std::sync::Arc::clone(registry), None);
        core.take_over(moment(1));
        core.committed(LogSequence(1)).expect("the takeover record was in flight");
        let (instance, _, snapshot) = fold::restore(registry, &entity, None);
        assert_eq!(snapshot, Revision(0));
        core.loaded(entity.clone(), Loaded { instance: Ok(instance), snapshot });
        Self { core, entity, random: Random::new(1), last: 1 }
    }

    fn ask(&mut self, command: &Command, now: u64) {
        let id = self.random.command_id(now);
        self.ask_as(id, command);
    }

    fn ask_as(&mut self, id: CommandId, command: &Command) {
        let incoming = Incoming {
            subject: Subjects::default().ask(PartitionId(0), &Caller::UNNAMED, &self.entity),
            reply_to: Some(ReplyTo::from("caller")),
            id: Some(id),
            content_type: Some(ContentType::Json),
            correlation: None,
            trace: None,
            payload: Body::json(command).bytes,
        };
        self.core.offer(Item::from_incoming(&Subjects::default(), Source::Ask, incoming, id));
    }

    /// Decides one command, and commits what was decided.
    fn turn(&mut self, now: u64) -> Vec<Turn> {
        self.core.decide_waiting(moment(now));
        if self.core.close_group(Timestamp(now)).is_none() {
            return Vec::new();
        }
        self.last += 1;
        self.core.committed(LogSequence(self.last)).map_or(Vec::new(), |committed| committed.record.turns)
    }
}

/// Goal: a timer that is set anew while its first firing waits in the queue fires at its new time.
/// Method: a schedule is due and its firing is queued behind a command that replaces the schedule; the
/// new time comes before the old firing is looked at.
#[test]
fn a_timer_set_anew_while_it_waits_is_not_lost() {
    let mut single = Single::new(&registry(), "schedule/hourly");
    let create = |at| Command::Create { recurrence: Recurrence::Once { at }, task: Submit::new("a goal") };
    let (first, second) = (Timestamp(10_000), Timestamp(20_001));
    single.ask(&create(first), 5_000);
    assert_eq!(single.turn(5_000).len(), 1);
    single.ask(&create(second), 20_000);
    single.core.fire(moment(20_000));
    assert_eq!(single.turn(20_000).len(), 1, "the group has room for the replacement only");
    single.core.fire(moment(second.0));
    let mut fired = Vec::new();
    for _ in 0..4 {
        fired
            .extend(single.turn(second.0).into_iter().filter(|turn| matches!(turn.source, Source::Timer(_))));
    }
    let ids: Vec<_> = fired.iter().map(|turn| turn.command.id).collect();
    assert_eq!(ids, [timer_command_id(&single.entity, "fire", second)]);
    assert_eq!(fired[0].events[0].event_type, "fired");
}

/// Goal: that an id belongs to another command is said only when that command is in the log: before,
/// the host may still lose it, and the id would be free.
#[test]
fn a_used_id_is_refused_after_the_commit_of_its_first_command() {
    let mut single = Single::new(&registry(), "schedule/hourly");
    let id = single.random.command_id(5_000);
    single.ask_as(id, &Command::Pause);
    single.core.decide_waiting(moment(5_000));
    single.ask_as(id, &Command::Resume);
    single.core.decide_waiting(moment(5_000));
    single.core.close_group(Timestamp(5_000)).expect("the first command is decided");
    single.core.decide_waiting(moment(5_000));
    assert!(single.core.take_answers(5_000).is_empty(), "nothing is in the log yet");
    single.core.committed(LogSequence(2)).expect("the record was in flight");
    let answers: Vec<_> = single.core.take_answers(5_000).into_iter().map(|told| told.payload).collect();
    let codes = answers.iter().map(|answer| match serde_json::from_slice::<Reply>(answer) {
        Ok(Reply::Refused { refusal, .. }) => refusal.code.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    });
    assert_eq!(codes.collect::<Vec<_>>(), ["schedule-not-found", "command-id-reused"]);
}

/// Goal: callers that repeat soon after the commit cost no reading, and all that wait for one record cost
/// one. Method: the same repeats, with answers kept and without.
#[test]
fn repeats_share_one_reading() {
    for (kept, readings) in [(REPLIES_BYTES_MAX, 0), (0, 1)] {
        let mut single = Single::keeping(&registry(), "schedule/hourly", kept);
        let id = single.random.command_id(5_000);
        single.ask_as(id, &Command::Pause);
        single.core.decide_waiting(moment(5_000));
        single.core.close_group(Timestamp(5_000)).expect("it is decided");
        let committed = single.core.committed(LogSequence(2)).expect("the record was in flight");
        for _ in 0..3 {
            single.ask_as(id, &Command::Pause);
        }
        single.core.decide_waiting(moment(5_001));
        let read = single.core.take_records_to_read(8);
        assert_eq!(read.len(), readings);
        single.ask_as(id, &Command::Pause);
        single.core.decide_waiting(moment(5_002));
        assert!(single.core.take_records_to_read(8).is_empty(), "it is being read");
        read.into_iter().for_each(|record| single.core.answer_repeats(record, Some(&committed.record)));
        let answers = single.core.take_answers(5_003);
        assert_eq!(answers.len(), 5, "the first one and each repeat");
        assert!(answers.iter().all(|told| told.payload == answers[0].payload));
        assert!(single.core.close_group(Timestamp(5_003)).is_none(), "nothing is done twice");
    }
}
