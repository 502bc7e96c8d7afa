//! Who gave no answer, where the others are asked all the same.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::envelope::Refusal;
use crate::ids::EntityAddress;

/// Somebody who did not say anything, as one that is quarantined, or whose partition does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Silent {
    /// Who: `task/<key>`, `queue/<token>.<lane>` or `broker/<lane>`.
    pub entity: String,
    /// The refusal: a stable word for programs.
    pub code: SmolStr,
    /// In a sentence.
    pub reason: String,
}

impl Silent {
    /// One that refused to answer.
    pub fn of(entity: &EntityAddress, refusal: &Refusal) -> Self {
        let (code, reason) = (refusal.code.clone(), refusal.message.clone());
        Self { entity: entity.to_string(), code, reason }
    }
}
