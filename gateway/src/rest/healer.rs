//! The quarantine: releasing an entity from it.

use bus_schemas::Key;
use bus_schemas::commands::healer::{Command, QUARANTINE};
use gateway_api::healer::{ReleaseEntity, Released};

use super::ask::{Answer, Call};
use super::extract::Json;

/// Releases an entity from quarantine: it takes commands again.
pub async fn release(call: Call, Json(body): Json<ReleaseEntity>) -> Answer<Released> {
    let ReleaseEntity { entity, reason } = body;
    let key = Key::parse(QUARANTINE).expect("a constant");
    let accepted = call.ask(&key, &Command::Release { entity: entity.clone(), reason }).await?;
    Ok(axum::Json(Released { entity, revision: accepted.revision }))
}
