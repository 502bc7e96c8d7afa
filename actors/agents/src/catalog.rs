//! Which agents a process with the role `agents` runs, and how many jobs each of them does at once.

use std::sync::Arc;

use crate::contract::Agent;
use crate::shipped::{Filesystem, Git, NoOp, Orchestrator, Research, Reviewer};

/// Jobs that read a whole repository: two of each kind keep a small machine busy and its memory bounded.
const READERS: usize = 2;
/// Plans look at one folder and are done.
const PLANNERS: usize = 4;
/// The no-op agent measures the flow, so it must never be what is waited for.
const NO_OPS: usize = 1_024;

/// The shipped agents, each with its capacity.
pub fn shipped() -> Vec<(Arc<dyn Agent>, usize)> {
    vec![
        (Arc::new(Orchestrator), PLANNERS),
        (Arc::new(Filesystem), READERS),
        (Arc::new(Git), READERS),
        (Arc::new(Research), READERS),
        (Arc::new(Reviewer), READERS),
        (Arc::new(NoOp), NO_OPS),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::shipped::orchestrator::report_plan;

    #[test]
    fn every_skill_that_the_orchestrator_plans_with_has_one_agent() {
        let cards: Vec<_> = shipped().iter().map(|(agent, _)| agent.card()).collect();
        let names: BTreeSet<_> = cards.iter().map(|card| card.name.clone()).collect();
        assert_eq!(names.len(), cards.len(), "two agents have one name");
        for step in report_plan("report", "/repo").steps {
            let able =
                cards.iter().filter(|card| card.skills.iter().any(|skill| skill.id == step.skill)).count();
            assert_eq!(able, 1, "`{}` has {able} agents", step.skill);
        }
    }
}
