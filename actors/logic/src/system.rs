//! The gate of commands that only the system sends: asked before a command is decided, and no part of the
//! decision.

use actors_core::{GateRequest, Refusal};
use bus_schemas::Caller;
use bus_schemas::envelope::code;
use bus_schemas::kinds::is_from_system;
use bus_schemas::record::Source;
use smol_str::SmolStr;

/// Refuses a command that only the system sends, unless the system sent it.
pub fn admit(request: &GateRequest<'_>) -> Result<(), Refusal> {
    let Some(source) = request.source else { return Ok(()) };
    let is_ours = matches!(source, Source::Timer(_) | Source::Lease(_) | Source::Claim);
    if is_ours || request.caller.is_some_and(is_system) || !is_from_system(&request.entity.kind, request.body)
    {
        return Ok(());
    }
    let message = format!("only the system itself sends this command to a `{}`", request.entity.kind);
    Err(Refusal::new(code::SYSTEM_COMMAND, message)
        .hint("`docs/protocol.md` marks the commands of the system"))
}

/// Whether a sender is an entity or a host. Mail without an entity as its sender is a command that a client
/// handed over in another partition.
fn is_system(caller: &SmolStr) -> bool {
    caller.contains('/') || *caller == Caller::SYSTEM.as_str()
}

/// Whether the command of a dead letter came from the system, by its source and its sender.
pub(crate) fn was_system(source: Option<&SmolStr>, caller: Option<&SmolStr>) -> bool {
    source.is_some_and(|source| ["timer", "lease"].contains(&source.as_str()))
        || caller.is_some_and(is_system)
}
