//! Agents that manifests declare: each is a conversation by the manifest's prompt, with its tools and within its bounds.
//!
//! ```text
//! manifest, as a step ─→ prompt with `goal` and `input` ─→ turns of a model ─→ tools that read ─→ a result by the schema
//! ```
//!
//! The first step records the manifest: a task keeps the version that it began with, in later attempts and in a replay.
//! What people and tools say is data: a variable of the template, or a message.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors_models::{Conversation, Ended, Message, Tool, render};
use actors_worker::{Agent, Declares, Done, Failure, MANIFEST_STEP, Work};
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::manifests::{AgentManifest, Declared};
use bus_schemas::{Key, chain};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;

use crate::catalog::Tools;
use crate::checks::secrets;
use crate::investigate::Looker;
use crate::step::stored;

/// The artifact.
const RESULT: &str = "result.json";
/// The most bytes of a result: it is the task's, and a part of its state.
const RESULT_BYTES_MAX: usize = 16 * 1024;

/// A manifest with its number.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Numbered {
    number: u32,
    manifest: AgentManifest,
}

/// The agent of a manifest.
struct DeclaredAgent {
    card: AgentCard,
    /// None where the record of the attempt has it.
    numbered: Option<Numbered>,
    tools: Tools,
}

impl Declares for Tools {
    fn agent(&self, declared: &Declared) -> Result<Arc<dyn Agent>, String> {
        let Declared { number, manifest, .. } = declared;
        let models = self.models.names();
        if models.is_empty() {
            return Err("this process has no model: the setting `models` names none".to_owned());
        }
        if let Some(missing) = manifest.health.models.iter().find(|name| !models.contains(&name.as_str())) {
            return Err(format!("this process has no provider of models `{missing}`"));
        }
        if manifest.health.sandbox && !self.sandboxes.is_configured() {
            return Err("this process has no sandbox: the setting `sandbox.images` names none".to_owned());
        }
        for (field, schema) in [("input", &manifest.input), ("output", &manifest.output)] {
            jsonschema::validator_for(schema)
                .map_err(|error| format!("`{field}` of the manifest is no JSON Schema: {error}"))?;
        }
        let AgentManifest { description, version, input, output, .. } = manifest;
        let mut card = bare(&manifest.name, &manifest.skill);
        (card.description, card.version) = (description.clone(), version.clone());
        let skill = &mut card.skills[0];
        skill.description = description.clone();
        (skill.input, skill.output) = (input.clone(), output.clone());
        let numbered = Some(Numbered { number: *number, manifest: manifest.clone() });
        Ok(Arc::new(DeclaredAgent { card, numbered, tools: self.clone() }))
    }

    fn recorded(&self, name: &Key, skill: &SmolStr) -> Arc<dyn Agent> {
        Arc::new(DeclaredAgent { card: bare(name, skill), numbered: None, tools: self.clone() })
    }
}

/// A card with a name and a skill.
fn bare(name: &Key, skill: &SmolStr) -> AgentCard {
    let skills = vec![Skill { id: skill.clone(), name: skill.to_string(), ..Skill::default() }];
    let (description, version, dependencies) = (String::new(), String::new(), Vec::new());
    AgentCard { name: name.clone(), description, version, skills, dependencies }
}

impl Agent for DeclaredAgent {
    fn card(&self) -> AgentCard {
        self.card.clone()
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let (numbered, tools) = (self.numbered.clone(), self.tools.clone());
        Box::pin(async move {
            let choose = async || {
                numbered.ok_or_else(|| {
                    let message = "the record of the attempt has no manifest";
                    Failure::permanent("manifest-not-found", message)
                })
            };
            let numbered: Numbered = work.step(MANIFEST_STEP, &Value::Null, choose).await?;
            converse(&work, &tools, &numbered).await
        })
    }
}

async fn converse(work: &Work, tools: &Tools, numbered: &Numbered) -> Result<Done, Failure> {
    let Numbered { number, manifest } = numbered;
    let AgentManifest { name, version, limits, .. } = manifest;
    let data = json!({"goal": work.job.goal, "input": work.job.input});
    let (instructions, prompt) = render(name.as_str(), *number, &manifest.prompt, &data)
        .map_err(|error| Failure::permanent("prompt-invalid", chain(&error)))?;
    let opening = vec![Message::system(instructions), Message::user(data.to_string())];
    let closing = Tool {
        name: "answer".to_owned(),
        description: "ends with the result".to_owned(),
        parameters: manifest.output.clone(),
    };
    let mut conversation = Conversation::new("talk", opening, vec![prompt.clone()])
        .closes(closing)
        .turns(limits.turns)
        .tokens(limits.tokens);
    if let Some(repo) = work.job.input["repo"].as_str().filter(|_| !manifest.tools.is_empty()) {
        let (workspaces, repo) = (Arc::clone(&tools.workspaces), PathBuf::from(repo));
        let looker = Looker { workspaces, repo, canceled: work.canceled() };
        conversation = looker.given_to(conversation, &manifest.tools);
    }
    let time = Duration::from_millis(limits.time.as_ms());
    let ended = tokio::time::timeout(time, conversation.run(work, &tools.models)).await.map_err(|_| {
        let message = format!("the attempt did not end within {}", limits.time);
        Failure::permanent("agent-time-exceeded", message)
            .hint("give it a smaller task, or load a manifest with more `limits.time`")
    })?;
    let Ended { value: mut result, turns, tool_calls, usage, .. } = ended?;
    secrets::hide(&mut result);
    let bytes = result.to_string().len();
    if bytes > RESULT_BYTES_MAX {
        let message = format!("the result has {bytes} bytes, and at most {RESULT_BYTES_MAX} are taken");
        return Err(Failure::permanent("result-too-large", message)
            .hint("bound the texts and lists of the manifest's `output` by its schema"));
    }
    let whole = json!({"agent": name, "version": version, "number": number, "prompts": [prompt],
                       "turns": turns, "tool_calls": tool_calls, "usage": usage, "result": &result});
    stored(work, RESULT, &whole, &result).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bus_schemas::manifests::SHIPPED;

    use super::*;
    use crate::catalog::shipped;
    use crate::code_write::CodeWrite;
    use crate::workspaces::Workspaces;

    #[test]
    fn no_manifest_takes_the_name_of_a_shipped_agent() {
        let rules = CodeWrite::new(&[], &[], 1).expect("rules that allow nothing");
        let workspaces = Arc::new(Workspaces::default().writable(rules));
        let tools = Tools { workspaces, ..Tools::default() };
        let cards: Vec<_> = shipped(&tools).own.iter().map(|(agent, _)| agent.card()).collect();
        let names: BTreeSet<&str> = cards.iter().map(|card| card.name.as_str()).collect();
        assert_eq!(names, SHIPPED.into());
    }
}
