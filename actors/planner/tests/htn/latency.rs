//! How long words take to become a plan: docs/benchmarks.md has the figures.

use std::time::{Duration, Instant};

use actors_planner::{intent, shipped};

const GOALS: [&str; 12] = [
    "Report on this repository",
    "How is the barometer read?",
    "investigate how a lease ends",
    "make the tests of this repository pass",
    "run the tests in /srv/app with at most 60 seconds",
    "scan the code for secrets",
    "A small web service that keeps notes, with a page for each of them",
    "review main..feature by the rules \"no `unwrap`\" and \"tests for all of it\"",
    "search for \"TODO\" in /srv/app",
    "Report on the tests and then fix them",
    "make me a sandwich",
    "a sentence without any meaning that nobody has thought of before",
];
const FACTS: [&str; 8] =
    ["repository", "on-topic", "documented", "model", "sandbox", "code-write", "files", "rules"];
/// A plan must not be what anybody waits for.
const P99_MAX: Duration = Duration::from_millis(50);

/// Goal: words become a plan, or a refusal, before anybody notices. Method: each of a dozen goals under each set of facts.
#[test]
#[expect(clippy::disallowed_methods, reason = "the time is what is measured")]
fn words_become_a_plan_at_once() {
    let mut times = Vec::new();
    for goal in GOALS {
        for set in 0..1_u32 << FACTS.len() {
            let facts: Vec<&str> =
                (0..FACTS.len()).filter(|at| set & (1 << at) != 0).map(|at| FACTS[at]).collect();
            let begin = Instant::now();
            if let Ok(intent) = intent::understand(goal) {
                shipped::plan(&intent.goal, &facts);
            }
            times.push(begin.elapsed());
        }
    }
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{} plans: p50 {:?}, p99 {:?}, most {:?}", times.len(), at(50), at(99), at(100));
    assert!(at(99) <= P99_MAX, "{:?}", at(99));
}
