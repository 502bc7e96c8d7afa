//! `orrery replay --effects recorded`: the agents of a task run again with recorded effects.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use actors_agents::{Tools, shipped};
use actors_host::Config;
use actors_models::Models;
use bus_schemas::Key;
use clap::ValueEnum;
use orrery_storage::archive::Archive;
use orrery_storage::replay::effects::{Compare, Compares, Request, Verdict, run};

use crate::failure::{Failure, exit};
use crate::output::{Output, Show};
use crate::session::Session;

/// Where the results of steps and effects come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Effects {
    /// From the log.
    Recorded,
}

/// A change with which the agents run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Every question goes to this provider, and to this model of it.
    Model { provider: String, model: Option<String> },
    /// This version of a prompt is used, and every question is asked anew.
    Prompt { name: String, version: u32 },
    /// Models and sandbox are those of another configuration file, and every question is asked anew.
    Config(PathBuf),
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (what, value) = text.split_once('=').filter(|(_, value)| !value.is_empty()).unwrap_or_default();
        match what {
            "model" => {
                let (provider, model) = match value.split_once('/') {
                    Some((provider, model)) => (provider, Some(model.to_owned())),
                    None => (value, None),
                };
                Ok(Self::Model { provider: provider.to_owned(), model })
            }
            "prompt" => {
                let (name, version) = value.rsplit_once('/').unwrap_or_default();
                let version = version.parse().ok().filter(|version| *version > 0 && !name.is_empty());
                let version = version.ok_or("a prompt is `prompt=NAME/VERSION`, as in `prompt=judge/2`")?;
                Ok(Self::Prompt { name: name.to_owned(), version })
            }
            "config" => Ok(Self::Config(value.into())),
            _ => Err(
                "a change is `model=PROVIDER`, `model=PROVIDER/MODEL`, `prompt=NAME/VERSION` or `config=FILE`"
                    .to_owned(),
            ),
        }
    }
}

impl Show for Compare {
    fn text(&self) -> String {
        let Self { task, attempt, agent, skill, verdict, effects, drift, .. } = self;
        let said = match verdict {
            Verdict::Same => "the same effects and the same decision",
            Verdict::Differs => "DIFFERS",
            Verdict::Interrupted => "the same up to where something else ended the attempt",
            Verdict::Open => "the same so far; the attempt has not ended",
            Verdict::Elsewhere => "not run: this program has no such agent",
        };
        let mut text = format!("{task} attempt {attempt} by {agent} ({skill}): {said}");
        if *effects > 0 {
            text.push_str(&format!(" [{effects} effects]"));
        }
        let shown = |hash: &Option<String>| {
            hash.as_deref().map_or("nothing", |hash| &hash[..12.min(hash.len())]).to_owned()
        };
        for drift in drift {
            text.push_str(&format!(
                "\n  effect `{}`: recorded {}, requested {}",
                drift.effect,
                shown(&drift.recorded),
                shown(&drift.requested)
            ));
        }
        for (when, decision) in [("recorded", &self.recorded_decision), ("now", &self.decision)] {
            if let Some(decision) = decision {
                text.push_str(&format!("\n  {when}: {decision}"));
            }
        }
        text
    }
}

impl Show for Compares {
    fn text(&self) -> String {
        let elsewhere = match self.elsewhere {
            0 => String::new(),
            many => format!("; {many} of agents elsewhere were not run"),
        };
        let verdict = match self.differ {
            0 => "none differs".to_owned(),
            many => format!("{many} differ"),
        };
        format!(
            "{} attempts ran again with {} recorded effects: {verdict}{elsewhere}",
            self.attempts, self.effects
        )
    }
}

/// Runs the agents of a task, and of all tasks below it, again.
pub(super) async fn again(
    session: &Session,
    archive: &Archive,
    task: &str,
    changes: &[Change],
    output: Output,
) -> Result<(), Failure> {
    let key = task.strip_prefix("task/").unwrap_or(task);
    let key = Key::parse(key).map_err(|error| {
        Failure::new("invalid-key", format!("`{task}` names no task: {error}"))
            .next("only tasks have effects; `orrery tasks` lists them")
            .exit(exit::USAGE)
    })?;
    let tools = tools(&session.config, changes)?;
    let request = Request { task: &key, agents: &shipped(&tools), runs_steps: !changes.is_empty() };
    let sum = run(&session.bus, archive, &request, |compare| output.show(&compare)).await?;
    output.show(&sum);
    // Whoever makes a change wants to see differences.
    if changes.is_empty() { Ok(sum.expect_same()?) } else { Ok(()) }
}

/// What the agents use: nothing where everything is recorded.
fn tools(config: &Config, changes: &[Change]) -> Result<Tools, Failure> {
    let refused = |mistakes: Vec<_>| crate::commands::config::refused(&mistakes);
    if changes.is_empty() {
        // The texts of prompts are not in the log: their hashes are.
        let library = crate::tools::library(config).map_err(refused)?;
        return Ok(Tools { models: Arc::new(Models::default().with_prompts(library)), ..Tools::recorded() });
    }
    let other = changes.iter().rev().find_map(|change| match change {
        Change::Config(file) => Some(file),
        Change::Model { .. } | Change::Prompt { .. } => None,
    });
    let other = other.map(|file| Config::load(Some(file), std::env::vars()).map_err(refused)).transpose()?;
    // A name of its own: a system that runs on this data directory keeps its containers.
    let installation = format!("replay-{}", uuid::Uuid::new_v4());
    let mut tools = crate::tools::load_as(other.as_ref().unwrap_or(config), installation).map_err(refused)?;
    let chosen = changes.iter().rev().find_map(|change| match change {
        Change::Model { provider, model } => Some((provider.as_str(), model.as_deref())),
        Change::Config(_) | Change::Prompt { .. } => None,
    });
    let prompt = changes.iter().rev().find_map(|change| match change {
        Change::Prompt { name, version } => Some((name.as_str(), *version)),
        Change::Config(_) | Change::Model { .. } => None,
    });
    let models = Arc::into_inner(std::mem::take(&mut tools.models)).unwrap_or_default();
    let models = models.anew(chosen).map_err(|names| {
        let known = if names.is_empty() {
            "none is configured".to_owned()
        } else {
            format!("the providers are {names}")
        };
        let (provider, _) = chosen.unwrap_or_default();
        Failure::new("no-model", format!("no provider of models is named `{provider}`: {known}"))
            .next("name one of the file in the setting `models`")
            .exit(exit::USAGE)
    })?;
    let models = match prompt {
        Some((name, version)) => models.instead(name, version),
        None => models,
    };
    Ok(Tools { models: Arc::new(models), ..tools })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_what_it_changes() {
        let model = |provider: &str, model: Option<&str>| Change::Model {
            provider: provider.to_owned(),
            model: model.map(str::to_owned),
        };
        assert_eq!("model=local".parse(), Ok(model("local", None)));
        assert_eq!("model=router/some/model".parse(), Ok(model("router", Some("some/model"))));
        assert_eq!("config=/a=b".parse(), Ok(Change::Config("/a=b".into())));
        let judge = Change::Prompt { name: "judge".to_owned(), version: 2 };
        assert_eq!("prompt=judge/2".parse(), Ok(judge));
        for bad in ["", "model", "model=", "=x", "prompts=x", "config=", "prompt=judge", "prompt=judge/0"] {
            assert!(bad.parse::<Change>().is_err(), "{bad}");
        }
    }
}
