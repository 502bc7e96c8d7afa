//! Shared code of entities with rules in settings: they watch `settings/<name>`, and read its
//! `apply-settings`.

use actors_core::decision::Send;
use actors_core::{Context, Decision, Key, Refusal};
use bus_schemas::commands::settings::Command;
use bus_schemas::settings::{self, ApplySettings, Mistake, Setting};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress};

/// Adds a watch of the settings, which tells the entity now and at each activation.
pub(crate) fn watch<T: Setting, E>(mut decision: Decision<E>, context: &Context<'_>) -> Decision<E> {
    let EntityAddress { kind, key } = context.entity.clone();
    let name = Key::parse(T::NAME).expect("a constant that is a key");
    let watch = Body::json(&Command::Watch { kind, key });
    decision.sends.insert(0, Send::new(EntityAddress::new(Command::KIND, name), watch));
    decision
}

/// The decoded document of an `apply-settings`. Only checked documents are sent, so a mistake means that the
/// settings run on a newer version of the program: then the former rules stay.
pub(crate) fn read<T: Setting>(config: &ApplySettings) -> Result<T, Refusal> {
    if config.name != T::NAME {
        let message = format!("the rules come from the settings `{}`, not from `{}`", T::NAME, config.name);
        return Err(Refusal::new("unknown-settings", message));
    }
    settings::read(&config.value).map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
        let message =
            format!("version {} of `{}` cannot be read here: {}", config.version, T::NAME, told.join("; "));
        Refusal::new("invalid-settings", message).hint("update this host; the rules before still hold")
    })
}
