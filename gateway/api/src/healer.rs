//! The quarantine: releasing an entity from it.

use bus_schemas::{EntityAddress, Revision};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to release from quarantine, and why.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseEntity {
    /// The entity, as `<kind>/<key>`.
    #[serde(with = "bus_schemas::address_text")]
    #[schemars(with = "String")]
    pub entity: EntityAddress,
    /// The reason, for people. Default: none.
    #[serde(default)]
    pub reason: String,
}

/// An entity after its release: it takes commands again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Released {
    /// The released entity, as `<kind>/<key>`.
    #[serde(with = "bus_schemas::address_text")]
    #[schemars(with = "String")]
    pub entity: EntityAddress,
    /// The revision of the quarantine after the command.
    pub revision: Revision,
}
