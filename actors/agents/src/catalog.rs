//! The agents that a process with the role `agents` runs, each with its capacity: the number of jobs at once.

use std::sync::Arc;

use actors_models::{Models, Prompt};
use actors_web::Web;
use actors_worker::{Agent, Agents};

use crate::change::Change;
use crate::code::Code;
use crate::code_write::CodeWrite;
use crate::filesystem::Filesystem;
use crate::git::Git;
use crate::no_op::NoOp;
use crate::orchestrator::Orchestrator;
use crate::research::Research;
use crate::reviewer::Reviewer;
use crate::sandbox::{AGENTS_MAX, Sandboxes};
use crate::specialist::Specialist;
use crate::tester::Tester;
use crate::workspaces::Workspaces;

/// Capacity of agents that read a whole repository: two jobs of each keep a small machine busy and its memory
/// bounded.
const READERS: usize = 2;
/// Capacity of the planning agent, whose jobs look at one folder.
const PLANNERS: usize = 4;
/// Capacity of the no-op agent, which measures the flow and so must never be the bottleneck.
const NO_OPS: usize = 1_024;

/// What the agents of a process use beside the bus. By default there is neither a model nor a sandbox, and
/// nothing is written or asked of the web.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    /// The models.
    pub models: Arc<Models>,
    /// The sandbox.
    pub sandboxes: Arc<Sandboxes>,
    /// The folders that agents may use, the rules of what they may write, and the trees of tasks.
    pub workspaces: Arc<Workspaces>,
    /// The web, as far as the operator allows it.
    pub web: Arc<Web>,
}

impl Tools {
    /// What agents use where everything is recorded: nothing is asked or written, and every agent is there.
    pub fn recorded() -> Self {
        let rules = CodeWrite::new(&[], &[], u64::MAX).expect("no path is named");
        Self { workspaces: Arc::new(Workspaces::default().writable(rules)), ..Self::default() }
    }
}

/// The shipped agents, each with its capacity, and those that manifests declare.
pub fn shipped(tools: &Tools) -> Agents {
    let (models, sandboxes) = (|| Arc::clone(&tools.models), || Arc::clone(&tools.sandboxes));
    let workspaces = || Arc::clone(&tools.workspaces);
    let mut own: Vec<(Arc<dyn Agent>, usize)> = vec![
        (Arc::new(Orchestrator::new(tools.clone())), PLANNERS),
        (Arc::new(Filesystem::new(workspaces())), READERS),
        (Arc::new(Git::new(workspaces())), READERS),
        (Arc::new(Research::new(models(), workspaces(), Arc::clone(&tools.web))), READERS),
        (Arc::new(Reviewer::new(models())), READERS),
        (Arc::new(Specialist::backend(models(), sandboxes())), AGENTS_MAX),
        (Arc::new(Specialist::frontend(models(), sandboxes())), AGENTS_MAX),
        (Arc::new(Code::new(models(), sandboxes(), workspaces())), AGENTS_MAX),
        (Arc::new(Tester::new(sandboxes())), AGENTS_MAX),
        (Arc::new(NoOp), NO_OPS),
    ];
    if tools.workspaces.rules().is_some() {
        own.push((Arc::new(Change::new(workspaces(), sandboxes())), AGENTS_MAX));
    }
    Agents { own, declares: Some(Arc::new(tools.clone())) }
}

/// The prompts of the shipped agents.
pub fn prompts() -> Vec<Prompt> {
    vec![
        crate::judge::PROMPT,
        crate::code::PROMPT,
        crate::investigate::PROMPT,
        crate::orchestrator::PROMPT,
        crate::project::BACKEND.prompt,
        crate::project::FRONTEND.prompt,
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A version never changes: who changes a template gives it another version, and adds its hash here.
    #[test]
    fn the_versions_of_prompts_are_what_they_were() {
        let known = [
            ("judge", 1, "21106f9a1eee79337b3e8feefb040627c951d986b4076bea861021a158e4d86e"),
            ("repair", 1, "ce8e15012dfe34c3c01d2bfba4c82e1ae5def6fea480de84cc9e4f5aa00da622"),
            ("investigate", 2, "f1ff9b0f235cb20f999635d849ccd8603a4066ea7648ca1d9e33f20998833012"),
            ("specify", 1, "7fa714640b0cf899705f0dae59c06d07f8ea30a4d7a28702e5af8880e1025b66"),
            ("generate-backend", 1, "5cedc6cd89df5a0253aa6156a30e76c220a1fe2958b67c90f1061f52ac00490e"),
            ("generate-frontend", 1, "d0bd55ef898d3c1d37a6701620fb6480850fc30772035a510b4b119b2288063a"),
        ];
        let shipped = prompts();
        let shipped: Vec<_> =
            shipped.iter().map(|one| (one.name, one.version, one.hash().to_hex())).collect();
        let known: Vec<_> =
            known.into_iter().map(|(name, version, hash)| (name, version, hash.to_owned())).collect();
        assert_eq!(shipped, known);
    }

    /// The no-op agent takes anything and makes nothing.
    #[test]
    fn every_other_skill_has_the_schemas_of_its_input_and_its_result() {
        for (agent, _) in shipped(&Tools::default()).own {
            let card = agent.card();
            for skill in card.skills.iter().filter(|skill| skill.id != "noop") {
                assert!(!skill.input.is_null() && !skill.output.is_null(), "`{}`", skill.id);
            }
        }
    }

    #[test]
    fn every_skill_that_the_orchestrator_plans_with_has_one_agent() {
        let rules = crate::CodeWrite::new(&[], &[], 1).expect("rules");
        let tools = Tools { workspaces: Arc::new(Workspaces::default().writable(rules)), ..Tools::default() };
        let cards: Vec<_> = shipped(&tools).own.iter().map(|(agent, _)| agent.card()).collect();
        let names: BTreeSet<_> = cards.iter().map(|card| card.name.clone()).collect();
        assert_eq!(names.len(), cards.len(), "two agents have one name");
        for skill in actors_planner::shipped::domain().operators() {
            let able = cards.iter().filter(|card| card.skills.iter().any(|known| known.id == skill)).count();
            assert_eq!(able, 1, "`{skill}` has {able} agents");
        }
    }
}
