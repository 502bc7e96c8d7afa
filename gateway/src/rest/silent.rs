//! Who gives no answer, where many are asked: the others are shown all the same.

use bus_schemas::envelope::code as refusal;
use bus_schemas::views::silent::Silent;
use bus_schemas::{EntityAddress, Refusal};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Problem, code};

/// Somebody who did not say anything, as one that is quarantined, or whose partition does not answer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Silent)]
pub struct SilentView {
    /// Who: `<kind>/<key>`, as `task/<key>`, `queue/<token>.<lane>` or `broker/<lane>`.
    pub entity: String,
    /// Why: a stable word for programs.
    pub code: String,
    /// In a sentence.
    pub reason: String,
}

impl From<Silent> for SilentView {
    fn from(Silent { entity, code, reason }: Silent) -> Self {
        Self { entity, code: code.to_string(), reason }
    }
}

/// One of many who does not answer, for as long as nobody mends it or its partition has no host; the problem
/// itself where it is another one.
pub fn silent(entity: &EntityAddress, problem: Problem) -> Result<Silent, Problem> {
    let codes = [code::NO_ANSWER, refusal::ENTITY_QUARANTINED, refusal::ENTITY_STOPPED];
    match codes.into_iter().find(|code| *code == problem.code) {
        Some(code) => Ok(Silent::of(entity, &Refusal::new(code, problem.detail))),
        None => Err(problem),
    }
}
