//! The order in which attempts begin: priority, fairness between owners, age, the key.

use bus_schemas::commands::lane::Limits;

use super::*;

fn limited(limits: Limits, events: impl IntoIterator<Item = Event>) -> Given<Queue> {
    queue([Event::RulesSet(Rules { limits, ..rules(false, 1) })].into_iter().chain(events))
}

#[test]
fn priority_then_fairness_then_age_then_key() {
    let past = [
        enqueued("old-ann", "ann", 5, 1),
        enqueued("new-ann", "ann", 5, 2),
        enqueued("bob", "bob", 5, 3),
        enqueued("urgent", "ann", 9, 4),
        enqueued("cid-b", "cid", 5, 3),
        enqueued("cid-a", "cid", 5, 3),
    ];
    // After the third, each owner has one running job; Ann was served longest ago.
    let served = ["urgent", "bob", "cid-a", "old-ann", "cid-b", "new-ann"];
    assert_eq!(taken(&ruled(false, past.clone()).when(take(6))), served);
    // The order is the same one by one.
    let mut given = ruled(false, past);
    for name in served {
        let outcome = given.when(take(1));
        assert_eq!(taken(&outcome), [name]);
        given = outcome.given;
    }
}

#[test]
fn the_owner_with_the_fewest_running_jobs_is_next() {
    let mut past = vec![];
    for (name, owner) in [("a1", "ann"), ("a2", "ann"), ("b1", "bob"), ("c1", "cid")] {
        past.extend([enqueued(name, owner, 5, 1), assigned(name)]);
    }
    past.extend([enqueued("a3", "ann", 5, 1), enqueued("b2", "bob", 5, 9)]);
    let outcome = ruled(false, past).when(release("c1")).given.when(take(1));
    assert_eq!(taken(&outcome), ["b2"], "having been served longer ago counts less");
}

#[test]
fn an_owner_of_weight_three_gets_three_jobs_when_others_get_one() {
    let limits = Limits { weights: [("ann".into(), 3)].into(), ..Limits::default() };
    let names = (0..8).flat_map(|n| [(format!("a{n}"), "ann", n), (format!("b{n}"), "bob", n)]);
    let mut given = limited(limits, names.map(|(name, owner, since)| enqueued(&name, owner, 5, since)));
    let mut owners = String::new();
    for _ in 0..8 {
        let outcome = given.when(take(1));
        let task = taken(&outcome).pop().expect("something waits");
        owners.push_str(&task[..1]);
        given = outcome.given.when(release(&task)).given;
    }
    assert_eq!(owners.matches('a').count(), 6, "{owners}");
}

#[test]
fn who_waits_long_gets_ahead_of_who_came_later() {
    let past = [enqueued("old", "ann", 3, 60_000), enqueued("young", "bob", 5, 4 * 60_000)];
    let ageing = Limits { ageing_ms: Some(60_000), ..Limits::default() };
    assert_eq!(taken(&limited(ageing.clone(), past.clone()).when(take(2))), ["old", "young"]);
    assert_eq!(taken(&ruled(false, past.clone()).when(take(2))), ["young", "old"]);
    let later = Command::Rules(Rules { limits: ageing, ..rules(false, 1) });
    let outcome = ruled(false, past).when(later).given.when(take(2));
    assert_eq!(taken(&outcome), ["old", "young"], "rules hold for who waits already");
}

#[test]
fn weights_hold_for_who_waits_already() {
    let names = (0..8).flat_map(|n| [(format!("a{n}"), "ann", n), (format!("b{n}"), "bob", n)]);
    let given = ruled(false, names.map(|(name, owner, since)| enqueued(&name, owner, 5, since)));
    let limits = Limits { weights: [("ann".into(), 3)].into(), ..Limits::default() };
    let outcome = given.when(Command::Rules(Rules { limits, ..rules(false, 1) })).given.when(take(8));
    let owners: String = taken(&outcome).iter().map(|task| &task[..1]).collect();
    assert_eq!(owners.matches('a').count(), 6, "{owners}");
}
