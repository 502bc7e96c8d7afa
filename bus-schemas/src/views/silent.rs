//! Entities that did not answer, in a view of several.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::envelope::Refusal;
use crate::ids::EntityAddress;

/// An entity that did not answer, such as one that is quarantined or whose partition does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Silent {
    /// The entity: `task/<key>`, `queue/<token>.<lane>` or `lane/<lane>`.
    pub entity: String,
    /// The code of the refusal, for programs.
    pub code: SmolStr,
    /// The reason, in a sentence.
    pub reason: String,
}

impl Silent {
    /// An entity that refused to answer.
    pub fn of(entity: &EntityAddress, refusal: &Refusal) -> Self {
        let (code, reason) = (refusal.code.clone(), refusal.message.clone());
        Self { entity: entity.to_string(), code, reason }
    }
}
