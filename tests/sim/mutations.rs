//! Mutation checks: with a defect in the model, the invariant that is there for it must notice.

mod entities;

use std::sync::Arc;

use actors_core::Registry;
use bus_schemas::Key;
use bus_schemas::commands::task::Failure;
use bus_schemas::events::task;
use bus_schemas::jobs::FailureClass;

use crate::coverage::Coverage;
use crate::faults::Defect;
use crate::invariants::end::letter_is_settled;
use crate::invariants::work::TaskAudit;
use crate::registry;
use crate::world::{self, run};

/// Seeds that a defect may need to show.
const SEEDS_MAX: u64 = 600;

/// Asserts that some seed reports `invariant`, with the defect in the model; what it reports.
fn is_noticed(defect: Defect, invariant: &str) -> Box<world::Failure> {
    reports(&registry(), Some(defect), invariant)
}

/// As [`is_noticed`], for a reason that says `words`.
fn is_noticed_with(defect: Defect, invariant: &str, words: &str) {
    let seeds = 0..SEEDS_MAX;
    let failures = seeds.filter_map(|seed| run(seed, &registry(), Some(defect)).err());
    let mut reasons = failures.filter(|failure| failure.violation.invariant == invariant);
    assert!(
        reasons.any(|failure| failure.violation.reason.contains(words)),
        "`{invariant}` noticed no `{words}` in {SEEDS_MAX} seeds"
    );
}

/// Asserts that some seed reports `invariant`, with a faulty entity in the world.
fn is_noticed_of<F: entities::Fault>(invariant: &str) -> Box<world::Failure> {
    reports(&entities::with::<F>(), None, invariant)
}

fn reports(registry: &Arc<Registry>, defect: Option<Defect>, invariant: &str) -> Box<world::Failure> {
    let mut others = Vec::new();
    for seed in 0..SEEDS_MAX {
        match run(seed, registry, defect) {
            Err(failure) if failure.violation.invariant == invariant => return failure,
            Err(failure) => others.push(failure.violation.invariant),
            Ok(_) => {}
        }
    }
    panic!("`{invariant}` noticed nothing in {SEEDS_MAX} seeds; others did: {others:?}");
}

#[test]
fn a_log_that_ignores_expectations_is_noticed() {
    is_noticed(Defect::LogIgnoresExpectation, "single_writer");
    is_noticed(Defect::LogIgnoresExpectation, "hash_chain_continuous");
}

#[test]
fn replies_before_the_commit_are_noticed() {
    is_noticed(Defect::RepliesBeforeCommit, "reply_after_commit");
}

#[test]
fn a_conflict_taken_for_success_is_noticed() {
    is_noticed(Defect::ConflictTakenForSuccess, "reply_after_commit");
}

#[test]
fn a_mark_that_moves_ahead_is_noticed() {
    is_noticed(Defect::MarkMovesAhead, "derived_stream_is_the_log");
}

#[test]
fn a_stream_that_ignores_the_mark_is_noticed() {
    is_noticed(Defect::StreamIgnoresMark, "derived_stream_is_the_log");
}

#[test]
fn mail_that_is_applied_again_is_noticed() {
    is_noticed(Defect::ParcelsRenumbered, "mail_in_order_once");
    is_noticed(Defect::TakeoverForgetsMail, "positions_monotone");
}

#[test]
fn ids_that_are_forgotten_are_noticed() {
    is_noticed(Defect::TakeoverForgetsIds, "no_double");
}

#[test]
fn an_entity_that_is_forgotten_is_noticed() {
    is_noticed(Defect::TakeoverForgetsAnEntity, "revisions_gap_free");
    is_noticed(Defect::TakeoverForgetsAnEntity, "fold_equals_live");
}

#[test]
fn a_stale_snapshot_taken_for_current_is_noticed() {
    is_noticed(Defect::StaleSnapshotsTakenForCurrent, "loads_are_current");
}

#[test]
fn a_snapshot_of_an_uncommitted_turn_is_noticed() {
    is_noticed(Defect::SnapshotsBeforeCommit, "snapshots_are_published");
}

#[test]
fn a_snapshot_without_timers_is_noticed() {
    is_noticed(Defect::SnapshotLosesTimers, "fold_equals_live");
}

#[test]
fn a_snapshot_that_never_finds_its_moment_is_noticed() {
    is_noticed(Defect::SnapshotAfterDeciding, "snapshots_are_taken");
}

#[test]
fn a_snapshot_that_claims_more_is_noticed() {
    is_noticed(Defect::SnapshotClaimsMore, "loads_are_current");
}

#[test]
fn an_inbox_that_is_trimmed_early_is_noticed() {
    is_noticed(Defect::InboxTrimmedEarly, "inbox_trimmed_behind_the_log");
}

#[test]
fn dead_letters_counted_out_early_are_noticed() {
    is_noticed(Defect::DeadCountedOutEarly, "dead_letters_are_kept");
}

#[test]
fn a_receipt_before_the_commit_is_noticed() {
    is_noticed(Defect::ReceiptBeforeCommit, "mail_arrives");
}

#[test]
fn a_hand_over_that_is_not_stored_is_noticed() {
    is_noticed(Defect::HandOversNotStored, "no_loss");
}

#[test]
fn a_second_answer_to_one_id_is_noticed() {
    is_noticed(Defect::RepeatsRefused, "same_id_same_answer");
}

#[test]
fn an_event_that_a_load_leaves_out_is_noticed() {
    is_noticed(Defect::LoadsLoseAnEvent, "revisions_gap_free");
}

#[test]
fn a_decision_from_another_state_is_noticed() {
    is_noticed(Defect::LoadsLoseState, "commands_decide_alike");
}

#[test]
fn a_sound_entity_that_stops_is_noticed() {
    is_noticed(Defect::LoadsStopEntities, "poison_only_when_told");
}

#[test]
fn durable_commands_in_another_order_are_noticed() {
    is_noticed(Defect::RecordsReorderInbox, "inbox_in_order");
}

#[test]
fn a_timer_that_fires_again_is_noticed() {
    is_noticed(Defect::FiredTimersStay, "timers_fire_once");
}

#[test]
fn a_dead_letter_that_is_not_stored_is_noticed() {
    is_noticed(Defect::DeadLettersNotStored, "dead_letters_are_kept");
}

/// No defect of the surroundings loses what came of a redrive: it is mail, and `mail_arrives`.
#[test]
fn a_dead_letter_that_stays_on_its_way_is_noticed() {
    let state = |status: &str| serde_json::json!({"status": status});
    for settled in ["waiting", "redriven", "dropped"] {
        letter_is_settled(&state(settled), false).expect("it is settled");
    }
    letter_is_settled(&state("redriving"), true).expect("its task goes on");
    let noticed = letter_is_settled(&state("redriving"), false).expect_err("nobody settles it");
    assert_eq!(noticed.invariant, "dead_letters_are_conserved");
}

#[test]
fn a_letter_that_tells_nobody_what_came_of_it_is_noticed() {
    is_noticed_of::<entities::SilentLetter>("dead_letters_are_conserved");
}

#[test]
fn a_task_that_nobody_wakes_is_noticed() {
    is_noticed_with(Defect::TimersNeverFire, "every_open_task_moves", "the task");
}

/// Each is stuck at a certain record, long before the world comes to rest.
#[test]
fn a_task_for_which_nothing_comes_is_noticed_at_once() {
    let stuck = [
        is_noticed_of::<entities::NoLease>("every_open_task_moves"),
        is_noticed_of::<entities::EndlessPause>("every_open_task_moves"),
        is_noticed_of::<entities::SilentStep>("every_open_task_moves"),
        is_noticed_of::<entities::SilentTask>("every_open_task_moves"),
    ];
    for failure in stuck {
        let reason = &failure.violation.reason;
        assert!(reason.contains("nothing brings it"), "{reason}");
    }
}

#[test]
fn a_retried_tree_whose_time_is_not_bounded_any_more_is_noticed() {
    let failure = is_noticed_of::<entities::TimelessRetry>("every_open_task_moves");
    let reason = &failure.violation.reason;
    assert!(reason.contains("nothing ends it"), "{reason}");
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a constant")
}

/// Entities cannot be made wrong by the model, so what counts their events is shown wrong events.
#[test]
fn an_attempt_that_ends_twice_is_noticed() {
    let mut audit = TaskAudit::default();
    let mut tell = |event| audit.event(&key("t"), &event, &mut Coverage::default());
    let failure = Failure {
        class: FailureClass::Transient,
        code: "x".into(),
        message: "x".into(),
        hint: None,
        dependency: None,
    };
    let at = Default::default();
    let (agent, worker, token) = (key("a"), "w".into(), Default::default());
    let issued = task::Event::JobIssued { attempt: 1, agent, worker, token, at };
    tell(task::Event::Queued { attempt: 1, at }).expect("the first attempt");
    tell(issued.clone()).expect("issued once");
    tell(task::Event::AttemptFailed { attempt: 1, failure: failure.clone() }).expect("ends once");
    let noticed = [
        tell(task::Event::AttemptFailed { attempt: 1, failure }),
        tell(issued.clone()),
        tell(task::Event::Queued { attempt: 1, at }),
    ];
    for check in noticed {
        assert_eq!(check.expect_err("counted twice").invariant, "attempt_counted_once");
    }
}

#[test]
fn a_lane_that_forgets_whom_it_gave_jobs_is_noticed() {
    is_noticed_of::<entities::ForgetfulLane>("capacity_never_exceeded");
}

#[test]
fn a_place_that_is_used_twice_is_noticed() {
    is_noticed(Defect::ClaimsStayInPool, "no_place_used_twice");
    is_noticed_of::<entities::GenerousQueue>("no_place_used_twice");
}

#[test]
fn a_place_that_stays_free_beside_work_is_noticed() {
    is_noticed(Defect::ClaimsStayAtTheirHost, "places_find_work");
}

#[test]
fn a_cap_that_does_not_count_everything_is_noticed() {
    is_noticed_of::<entities::SilentQueue>("cap_counts_everything");
    is_noticed_of::<entities::HastyLane>("cap_counts_everything");
}

#[test]
fn work_of_somebody_else_is_noticed() {
    is_noticed(Defect::WorkersBeginAtOnce, "fenced_by_token");
    is_noticed_of::<entities::CredulousTask>("fenced_by_token");
}

#[test]
fn an_issue_that_nobody_ever_begins_is_noticed() {
    is_noticed_of::<entities::PatientTask>("unbegun_costs_nothing");
}

#[test]
fn a_step_that_is_recorded_twice_is_noticed() {
    is_noticed_of::<entities::ForgetfulTask>("steps_recorded_once");
}

#[test]
fn a_view_of_what_is_not_committed_is_noticed() {
    is_noticed(Defect::ViewsAtOnce, "views_are_committed");
}

#[test]
fn a_view_from_a_lost_lease_is_noticed() {
    is_noticed(Defect::TenureNeverEnds, "views_need_the_lease");
}

#[test]
fn a_query_that_waits_for_ever_is_noticed() {
    is_noticed(Defect::SteadyClockStands, "parked_queries_end");
}

#[test]
fn work_that_goes_on_under_a_halt_is_noticed() {
    is_noticed(Defect::WorkersIgnoreHalts, "halted_means_no_effect_starts");
    is_noticed_of::<entities::OpenLane>("halted_means_no_effect_starts");
}

#[test]
fn a_host_that_goes_on_under_a_halt_is_noticed() {
    is_noticed(Defect::HostsIgnoreHalts, "halted_hosts_rest");
}

#[test]
fn a_hold_that_outlives_its_halt_is_noticed() {
    is_noticed_of::<entities::SilentHalt>("holds_follow_their_cause");
}

#[test]
fn a_breaker_that_lets_too_much_through_is_noticed() {
    is_noticed_of::<entities::GenerousBreaker>("breaker_legality");
    is_noticed_of::<entities::OpenLane>("breaker_legality");
}

#[test]
fn a_tree_that_uses_more_than_its_budget_is_noticed() {
    is_noticed_of::<entities::LavishTask>("budget_bound");
}

#[test]
fn a_redrive_that_sends_an_entry_twice_is_noticed() {
    is_noticed_of::<entities::ForgetfulRedrive>("dead_letters_are_conserved");
}
