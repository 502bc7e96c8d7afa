//! What entities have in common whose rules stand in settings: they watch `config/<name>`, and read
//! what it tells them by `apply-config`.

use actors_core::decision::Send;
use actors_core::{Context, Decision, Key, Refusal};
use bus_schemas::commands::config::Command;
use bus_schemas::settings::{self, ApplyConfig, Mistake, Setting};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress};

/// Adds that the entity wants to be told of the settings, now and at each activation.
pub(crate) fn watch<T: Setting, E>(mut decision: Decision<E>, context: &Context<'_>) -> Decision<E> {
    let EntityAddress { kind, key } = context.entity.clone();
    let name = Key::parse(T::NAME).expect("a constant that is a key");
    let watch = Body::json(&Command::Watch { kind, key });
    decision.sends.insert(0, Send::new(EntityAddress::new(Command::KIND, name), watch));
    decision
}

/// The document that an entity was told. Only what was checked is ever told, so a mistake in it means
/// that `config` runs on a newer version of the program: then the rules before still hold.
pub(crate) fn read<T: Setting>(config: &ApplyConfig) -> Result<T, Refusal> {
    if config.name != T::NAME {
        let message = format!("the rules come from the settings `{}`, not from `{}`", T::NAME, config.name);
        return Err(Refusal::new("unknown-config", message));
    }
    settings::read(&config.value).map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
        let message =
            format!("version {} of `{}` can not be read here: {}", config.version, T::NAME, told.join("; "));
        Refusal::new("invalid-config", message).hint("update this host; the rules before still hold")
    })
}

/// Who made a change that settings brought.
pub(crate) fn by<T: Setting>() -> String {
    format!("config/{}", T::NAME)
}
