//! Decides what declares an agent: loading a manifest, unloading it, and what hosts report.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::agent::Loaded;
use bus_schemas::events::agent::Event;
use bus_schemas::manifests::{AgentManifest, Health, SHIPPED};
use bus_schemas::text::is_line;
use smol_str::SmolStr;

use super::state::State;
use crate::text::words;

/// The longest name of a host in bytes, as in the reports of settings.
const HOST_BYTES_MAX: usize = 1_024;

/// A manifest is in force from now on.
pub(super) fn load(
    state: &State,
    manifest: AgentManifest,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let loaded = check(state, &manifest, context)?;
    let number = loaded.number;
    let reply = Decision::none().reply(&loaded);
    if state.declared.as_ref().is_some_and(|known| known.number == number) {
        return Ok(reply);
    }
    let event =
        Event::ManifestLoaded { number, manifest: Box::new(manifest), by: context.by(), at: context.now };
    Ok(reply.and(event))
}

/// What loading a manifest leads to, or why it is refused.
pub(super) fn check(
    state: &State,
    manifest: &AgentManifest,
    context: &Context<'_>,
) -> Result<Loaded, Refusal> {
    let name = &context.entity.key;
    if manifest.name != *name {
        let message = format!("the manifest names `{}`, but the agent is `{name}`", manifest.name);
        return Err(Refusal::new("name-mismatch", message).hint(format!("load it as `{}`", manifest.name)));
    }
    let mistakes: Vec<_> = manifest.mistakes().iter().map(ToString::to_string).collect();
    if !mistakes.is_empty() {
        let message = format!("the manifest of `{name}` has mistakes: {}", mistakes.join("; "));
        return Err(Refusal::new("invalid-manifest", message)
            .hint("correct what is named; docs/guides/declare-an-agent.md has an example"));
    }
    if !manifest.is_compatible() {
        let message =
            format!("`{name}` works with Orrery {}; this is {}", manifest.orrery, env!("CARGO_PKG_VERSION"));
        return Err(Refusal::new("manifest-incompatible", message)
            .hint("load a version of the agent for this Orrery, or upgrade Orrery"));
    }
    let from_outside = state.declared.is_none() && state.card.is_some();
    if from_outside || SHIPPED.contains(&name.as_str()) {
        let message = format!("a program brings the agent `{name}`, and a manifest cannot replace it");
        return Err(Refusal::new("agent-name-taken", message).hint("give the manifest another name"));
    }
    let Some(former) = &state.declared else { return Ok(Loaded { number: 1, former: None }) };
    let version = Some(former.manifest.version.clone());
    if former.manifest == *manifest {
        // A repeat, or loaded again after it was unloaded.
        return Ok(Loaded { number: former.number + u32::from(!former.loaded), former: version });
    }
    if !manifest.is_above(&former.manifest) {
        let message = format!(
            "version {} of `{name}` was loaded before, and {} is not above it",
            former.manifest.version, manifest.version
        );
        return Err(Refusal::new("manifest-version-not-above", message)
            .hint("a version never changes: give what changed a higher one"));
    }
    Ok(Loaded { number: former.number + 1, former: version })
}

/// The manifest is no longer in force.
pub(super) fn unload(
    state: &State,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let Some(known) = &state.declared else {
        let message = format!("no manifest declares the agent `{}`", context.entity.key);
        return Err(Refusal::new("manifest-not-found", message)
            .hint("`orrery agents` says of each agent where it comes from"));
    };
    if !known.loaded {
        return Ok(Decision::none());
    }
    let (reason, by, at) = (words(reason), context.by(), context.now);
    Ok(Decision::event(Event::ManifestUnloaded { reason, by, at }))
}

/// A host says whether it runs the agent. What it says of a former manifest is no news.
pub(super) fn report(
    state: &State,
    host: SmolStr,
    number: u32,
    problem: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if !(1..=HOST_BYTES_MAX).contains(&host.len()) || !is_line(&host) {
        let message = format!("a host has a name of at most {HOST_BYTES_MAX} bytes of text");
        return Err(Refusal::new("invalid-report", message));
    }
    let Some(known) = state.declared.as_ref().filter(|known| known.loaded && known.number == number) else {
        return Ok(Decision::none());
    };
    let problem = words(problem);
    if known.health.get(&host).is_some_and(|Health { problem: said, .. }| *said == problem) {
        return Ok(Decision::none());
    }
    Ok(Decision::event(Event::HealthReported { host, problem, at: context.now }))
}
