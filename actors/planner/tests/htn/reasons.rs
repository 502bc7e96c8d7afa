//! What an answer says of the ways that were not taken, and which domains are none.

use actors_planner::htn::{Answer, Atom, Domain, DomainError, Limit, Limits, Method, Operator, Why};

/// How to get from one place to another.
fn travel() -> Domain {
    let operators = vec![
        Operator::new("walk ?from ?to", 60).when(&["at ?from"]).deletes(&["at ?from"]).adds(&["at ?to"]),
        Operator::new("ride ?from ?to", 5)
            .when(&["at ?from", "taxi ?from"])
            .deletes(&["at ?from"])
            .adds(&["at ?to"]),
        Operator::new("call ?place", 1).when(&["phone", "not taxi ?place"]).adds(&["taxi ?place"]),
    ];
    let methods = vec![
        Method::new("stay", "go ?to").when(&["at ?to"]),
        Method::new("on-foot", "go ?to").when(&["at ?from", "near ?from ?to"]).then(&["walk ?from ?to"]),
        Method::new("by-taxi", "go ?to").when(&["at ?from"]).then(&["call ?from", "ride ?from ?to"]),
        Method::new("in-circles", "go ?to").then(&["go ?to"]),
    ];
    Domain::new(operators, methods).expect("a domain")
}

fn go(facts: &[&str], limits: Limits) -> Answer {
    let facts: Vec<Atom> = facts.iter().map(|fact| Atom::of(fact)).collect();
    travel().find(&facts, &[Atom::of("go park")], limits).expect("a problem")
}

fn steps(answer: &Answer) -> Option<Vec<String>> {
    Some(answer.plan.as_ref()?.steps.iter().map(|step| step.task.to_string()).collect())
}

/// Each rejection as `method or operator: reason`.
fn reasons(answer: &Answer) -> Vec<String> {
    let name = |one: &actors_planner::htn::Rejected| {
        one.method.as_ref().map_or_else(|| one.task.to_string(), ToString::to_string)
    };
    answer.rejected.iter().map(|one| format!("{}: {}", name(one), one.why)).collect()
}

/// Goal: the cheapest way is taken wherever it is declared, and each other way has its first reason. Method: the same task
/// from several facts.
#[test]
fn each_way_that_is_not_taken_has_its_first_reason() {
    let answer = go(&["at home", "near home park", "phone"], Limits::default());
    assert_eq!(steps(&answer).expect("a plan"), ["call home", "ride home park"]);
    assert_eq!(
        reasons(&answer),
        [
            "stay: `at park` does not hold",
            "in-circles: the tasks of it cannot be done",
            "on-foot: nothing cheaper than 6 comes of it"
        ]
    );
    assert_eq!(answer.plan.expect("a plan").steps[1].after.len(), 1, "who rides has called before");

    let answer = go(&["at home", "near home park"], Limits::default());
    assert_eq!(steps(&answer).expect("a plan"), ["walk home park"]);
    let reasons_of = reasons(&answer);
    assert!(reasons_of.contains(&"call home: `phone` does not hold".to_owned()), "{reasons_of:?}");

    let answer = go(&["at home"], Limits::default());
    assert_eq!((steps(&answer), answer.limit), (None, None));
    let on_foot = "on-foot: `near ?from park` does not hold";
    assert!(reasons(&answer).iter().any(|reason| reason == on_foot), "{:?}", reasons(&answer));

    let answer = go(&["at home", "phone"], Limits { cost: 5, ..Limits::default() });
    assert!(answer.plan.is_none());
    assert!(answer.rejected.iter().any(|one| one.why == Why::Costlier { than: 5 }), "{answer:?}");
    let answer = go(&["at home", "phone"], Limits { depth: 1, ..Limits::default() });
    assert_eq!((answer.plan.is_none(), answer.limit), (true, Some(Limit::Depth)));
}

#[test]
fn mistakes_in_a_domain_are_named() {
    let operator = || Operator::new("a ?x", 1);
    let error = |operators, methods| Domain::new(operators, methods).expect_err("no domain");
    let unbound =
        |place: &str, variable: &str| DomainError::Unbound { place: place.into(), variable: variable.into() };
    assert_eq!(error(vec![operator(), operator()], vec![]), DomainError::Twice("a".into()));
    assert_eq!(error(vec![operator()], vec![Method::new("m", "a ?x")]), DomainError::Twice("a".into()));
    assert_eq!(error(vec![], vec![Method::new("m", "t").then(&["b"])]), DomainError::Unknown("b".into()));
    assert_eq!(error(vec![operator().when(&["p ?y"])], vec![]), unbound("a", "?y"));
    assert_eq!(error(vec![operator().adds(&["p ?y"])], vec![]), unbound("a", "?y"));
    let method = Method::new("m", "t").when(&["not p ?y"]);
    assert_eq!(error(vec![], vec![method]), unbound("m", "?y"));
    let method = Method::new("m", "t").then(&["a ?y"]);
    assert_eq!(error(vec![operator()], vec![method]), unbound("m", "?y"));
    let domain = Domain::new(vec![operator()], vec![]).expect("a domain");
    for (fact, task) in [("p ?x", "a 1"), ("", "a 1"), ("p", "a ?x")] {
        let found = domain.find(&[Atom::of(fact)], &[Atom::of(task)], Limits::default());
        assert!(matches!(found, Err(DomainError::Atom(_))), "{fact:?} {task:?}");
    }
    let found = domain.find(&[], &[Atom::of("b 1")], Limits::default());
    assert_eq!(found, Err(DomainError::Unknown("b".into())));
}
