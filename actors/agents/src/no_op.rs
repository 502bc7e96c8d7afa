//! `no-op`: completes at once. It measures the flow around the work. Skill `noop`.

use actors_worker::{Agent, Done, Failure, Work};
use bus_schemas::commands::agent::AgentCard;
use futures::future::BoxFuture;

use crate::card::{card, skill, unknown_skill};

const NAME: &str = "no-op";

/// Does nothing.
#[derive(Debug)]
pub struct NoOp;

impl Agent for NoOp {
    fn card(&self) -> AgentCard {
        let skills =
            vec![skill("noop", "Nothing", "completes at once, for benchmarks and tests", &["benchmark"])];
        card(NAME, "does nothing, quickly", skills)
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        Box::pin(async move {
            match work.job.skill.as_str() {
                "noop" => Ok(Done::default()),
                other => Err(unknown_skill(NAME, other)),
            }
        })
    }
}
