//! The manifest of an agent: an agent that is declared as a document, while the system runs, instead of as a program.
//!
//! A manifest has one skill, which is a conversation with a model: a prompt, tools that read, bounds, and the schemas of
//! the input and of the result. Pure: the document is checked here by itself; what it needs of the installation, its
//! readers know.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::Environment;
use schemars::JsonSchema;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;
use strum::IntoStaticStr;

use crate::events::agent::Event;
use crate::ids::{Key, Timestamp};
use crate::settings::{Duration, Mistake, is_prompt_name};
use crate::text::{is_name, is_prose};

/// The most bytes of a manifest as JSON: a command and a step that contain it need no blob.
pub const MANIFEST_BYTES_MAX: usize = 48 * 1024;
/// The most agents of an installation that manifests declare: each host follows all of them.
pub const MANIFESTS_MAX: usize = 256;
/// The names of the agents that come with Orrery: no manifest takes one of them.
pub const SHIPPED: [&str; 11] = [
    "backend",
    "change",
    "code",
    "filesystem",
    "frontend",
    "git",
    "no-op",
    "orchestrator",
    "research",
    "reviewer",
    "test",
];
/// The most bytes of a description: that of a card.
const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// The most entries of a list: a manifest that needs more is a plan.
const ENTRIES_MAX: usize = 32;
/// The most hosts whose report is kept; the oldest is dropped first.
const HOSTS_MAX: usize = 1_000;
/// The longest time of an attempt.
const TIME_MAX: Duration = Duration::from_secs(3_600);

/// An agent that a document declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentManifest {
    /// The agent's name.
    pub name: Key,
    /// The version, as semantic versioning has it. Another document has a higher one.
    pub version: String,
    /// What the agent does, in a sentence.
    pub description: String,
    /// The versions of Orrery that it works with, such as `>=0.1.0, <0.3`.
    pub orrery: String,
    /// The id of its skill, which tasks ask for.
    pub skill: SmolStr,
    /// The instructions of the model, a template in the syntax of Jinja. Its variables are `goal`, and the fields of
    /// `input` that its schema requires. People's text is only ever a variable.
    pub prompt: String,
    /// The tools that the model may use. They read the repository that the field `repo` of the input names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ReadingTool>,
    /// The JSON Schema of a job's input. Absent: jobs have none.
    #[serde(default = "no_input")]
    pub input: Value,
    /// The JSON Schema of the result: an object.
    pub output: Value,
    /// The bounds of an attempt.
    #[serde(default)]
    pub limits: AgentLimits,
    /// The agents that must be there, each with its versions, such as `>=1.2`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<Key, String>,
    /// What else must be there; a model always must.
    #[serde(default)]
    pub health: Needs,
}

/// A tool that reads a repository.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ReadingTool {
    /// Lists files and folders.
    List,
    /// Shows lines of a file.
    Read,
    /// Finds a text in the files.
    Search,
    /// Shows commits.
    Log,
    /// Shows who wrote lines of a file.
    Blame,
}

/// The bounds of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentLimits {
    /// The most turns of the model. Default: 24.
    #[schemars(range(min = 1, max = 100))]
    pub turns: u32,
    /// The tokens after which no further turn begins. Default: 200,000.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub tokens: u64,
    /// The time of an attempt, `1s` to `1h`. Default: `10m`.
    pub time: Duration,
    /// The jobs that one host runs at once. Default: 2.
    #[schemars(range(min = 1, max = 16))]
    pub jobs: u32,
}

impl Default for AgentLimits {
    fn default() -> Self {
        Self { turns: 24, tokens: 200_000, time: Duration::from_secs(600), jobs: 2 }
    }
}

/// What an agent needs to be healthy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Needs {
    /// The names of providers of models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<SmolStr>,
    /// Whether there must be a sandbox.
    pub sandbox: bool,
    /// Skills that other agents must offer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<SmolStr>,
}

/// The manifest of an agent, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Declared {
    /// The number of the manifest: how many were loaded, this one included.
    pub number: u32,
    /// Whether it is in force; otherwise it was unloaded.
    pub loaded: bool,
    /// The manifest.
    pub manifest: AgentManifest,
    /// The caller who loaded or unloaded it.
    pub by: String,
    /// When: milliseconds since 1970.
    pub at: Timestamp,
    /// What hosts report of it, by host.
    pub health: BTreeMap<SmolStr, Health>,
}

/// What a host reports of an agent that a manifest declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Why the host does not run the agent; empty if it does.
    pub problem: String,
    /// When: milliseconds since 1970.
    pub at: Timestamp,
}

impl Declared {
    /// Applies an event of the agent.
    pub fn fold(declared: &mut Option<Self>, event: &Event) {
        match event {
            Event::ManifestLoaded { number, manifest, by, at } => {
                let (manifest, by) = ((**manifest).clone(), by.clone());
                let health = BTreeMap::new();
                *declared = Some(Self { number: *number, loaded: true, manifest, by, at: *at, health });
            }
            Event::ManifestUnloaded { by, at, .. } => {
                if let Some(known) = declared {
                    (known.loaded, known.by, known.at) = (false, by.clone(), *at);
                    known.health.clear();
                }
            }
            Event::HealthReported { host, problem, at } => {
                if let Some(known) = declared {
                    known.health.insert(host.clone(), Health { problem: problem.clone(), at: *at });
                    if known.health.len() > HOSTS_MAX {
                        let oldest = known.health.iter().min_by_key(|(_, health)| health.at);
                        let oldest = oldest.map(|(host, _)| host.clone()).unwrap_or_default();
                        known.health.remove(&oldest);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Nothing, or an object without fields.
fn no_input() -> Value {
    json!({"type": ["object", "null"], "maxProperties": 0})
}

impl AgentManifest {
    /// Every mistake of the document by itself. Schemas are looked at: who runs the skill compiles them.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if bytes > MANIFEST_BYTES_MAX {
            let reason = format!("has {bytes} bytes as JSON; at most {MANIFEST_BYTES_MAX} are taken");
            return vec![Mistake::new("", reason)];
        }
        let (description, Needs { models, skills, .. }) = (&self.description, &self.health);
        let AgentLimits { turns, tokens, time, jobs } = self.limits;
        let few = |length: usize| length <= ENTRIES_MAX;
        let names = |names: &[SmolStr]| few(names.len()) && names.iter().all(|name| is_name(name));
        let ranges = few(self.dependencies.len()) && self.dependencies.values().all(|range| is_range(range));
        let described = (1..=DESCRIPTION_BYTES_MAX).contains(&description.len()) && is_prose(description);
        let versioned = self.version.len() <= 64 && Version::parse(&self.version).is_ok();
        let tools: BTreeSet<_> = self.tools.iter().collect();
        let repo = required(&self.input, "repo").and_then(|repo| repo.get("type"));
        let read = self.tools.is_empty() || repo == Some(&json!("string"));
        let times = Duration::from_secs(1)..=TIME_MAX;
        let rules = [
            ("/name", is_prompt_name(self.name.as_str()), "has 1 to 64 letters, digits, `-` and `_`"),
            ("/version", versioned, "is no version such as `1.0.0`, of at most 64 bytes"),
            ("/orrery", is_range(&self.orrery), "is no range of versions such as `>=0.1.0, <2`"),
            ("/description", described, "has 1 to 4096 bytes of visible text"),
            ("/skill", is_name(&self.skill), "has 1 to 64 bytes of visible text"),
            ("/tools", tools.len() == self.tools.len(), "names a tool twice"),
            ("/input", self.input.is_object(), "is no JSON Schema: a table"),
            ("/input", read, "must require `repo`, a string: the tools read the repository that it names"),
            (
                "/output",
                self.output["type"] == "object",
                "must be the JSON Schema of an object: `type = \"object\"`",
            ),
            ("/limits/turns", (1..=100).contains(&turns), "must be 1 to 100"),
            ("/limits/tokens", (1..=100_000_000).contains(&tokens), "must be 1 to 100000000"),
            ("/limits/time", times.contains(&time), "must be `1s` to `1h`"),
            ("/limits/jobs", (1..=16).contains(&jobs), "must be 1 to 16"),
            (
                "/dependencies",
                ranges,
                "has at most 32 agents, each with a range of versions such as `>=0.1.0, <2`",
            ),
            ("/health/models", names(models), "has at most 32 names, each of 1 to 64 bytes of visible text"),
            ("/health/skills", names(skills), "has at most 32 names, each of 1 to 64 bytes of visible text"),
        ];
        let broken = rules.into_iter().filter(|(_, holds, _)| !holds);
        let broken = broken.map(|(pointer, _, reason)| Mistake::new(pointer, reason));
        broken.chain(self.mistakes_of_prompt()).collect()
    }

    /// Whether this program is one of the versions that it works with.
    pub fn is_compatible(&self) -> bool {
        Self::is_met(&self.orrery, env!("CARGO_PKG_VERSION"))
    }

    /// Whether an agent's version is one that a dependency names.
    pub fn is_met(wanted: &str, version: &str) -> bool {
        let (wanted, version) = (VersionReq::parse(wanted), Version::parse(version));
        wanted.is_ok_and(|wanted| version.is_ok_and(|version| wanted.matches(&version)))
    }

    /// Whether its version is above another one.
    pub fn is_above(&self, other: &Self) -> bool {
        let parsed = (Version::parse(&self.version), Version::parse(&other.version));
        matches!(parsed, (Ok(own), Ok(other)) if own > other)
    }

    /// A template that cannot be read, and variables that no job has.
    fn mistakes_of_prompt(&self) -> Vec<Mistake> {
        let mut environment = Environment::empty();
        if self.prompt.trim().is_empty() {
            return vec![Mistake::new("/prompt", "is empty")];
        }
        if let Err(error) = environment.add_template("prompt", &self.prompt) {
            return vec![Mistake::new("/prompt", format!("is no template: {error}"))];
        }
        let named = environment.get_template("prompt").map(|read| read.undeclared_variables(true));
        let unknown = named.unwrap_or_default().into_iter().filter(|name| !self.has_variable(name));
        let reason = |name| {
            format!(
                "names the variable `{name}`; there are `goal`, and the fields of `input` that its schema requires"
            )
        };
        unknown
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|name| Mistake::new("/prompt", reason(name)))
            .collect()
    }

    /// Whether every job has a variable, such as `input.style.name`.
    fn has_variable(&self, name: &str) -> bool {
        let mut steps = name.split('.');
        match steps.next() {
            Some("goal") => steps.next().is_none(),
            Some("input") => steps.try_fold(&self.input, |schema, step| required(schema, step)).is_some(),
            _ => false,
        }
    }
}

fn is_range(text: &str) -> bool {
    VersionReq::parse(text).is_ok()
}

/// The schema of a field that an object must have.
fn required<'a>(schema: &'a Value, field: &str) -> Option<&'a Value> {
    let is_required = schema.get("required")?.as_array()?.iter().any(|name| name == field);
    schema.get("properties")?.get(field).filter(|_| is_required)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(change: impl FnOnce(&mut Value)) -> AgentManifest {
        let text = json!({"type": "string"});
        let mut value = json!({
            "name": "notes", "version": "1.0.0", "description": "writes notes", "orrery": ">=0.1.0",
            "skill": "notes", "prompt": "For {{ input.reader.name }}: {{ goal }}", "tools": ["log"],
            "input": {"type": "object", "required": ["repo", "reader"], "properties": {
                "repo": text, "style": text,
                "reader": {"type": "object", "required": ["name"], "properties": {"name": text}}}},
            "output": {"type": "object"}
        });
        change(&mut value);
        serde_json::from_value(value).expect("the shape of a manifest")
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        assert_eq!(manifest(|_| {}).mistakes(), []);
        let long = "x".repeat(1024 * 1024);
        for (place, value, at, part) in [
            ("/name", json!("a.b"), "/name", "letters"),
            ("/version", json!("1.0"), "/version", "is no version"),
            ("/version", json!(format!("1.0.0-{}", "x".repeat(64))), "/version", "is no version"),
            ("/orrery", json!("new"), "/orrery", "is no range"),
            ("/description", json!("a\u{202e}b"), "/description", "visible text"),
            ("/skill", json!(""), "/skill", "visible text"),
            ("/prompt", json!("{% for %}"), "/prompt", "is no template"),
            ("/prompt", json!("{{ secret }}"), "/prompt", "`secret`"),
            ("/prompt", json!("{{ goal.length }}"), "/prompt", "`goal.length`"),
            ("/prompt", json!("{{ input.style }}"), "/prompt", "`input.style`"),
            ("/prompt", json!("{{ input.reader.age }}"), "/prompt", "`input.reader.age`"),
            ("/prompt", json!(" "), "/prompt", "is empty"),
            ("/prompt", json!(long), "", "at most 49152"),
            ("/tools", json!(["log", "log"]), "/tools", "twice"),
            ("/input/required", json!(["reader"]), "/input", "`repo`"),
            ("/output", json!({"type": "string"}), "/output", "object"),
        ] {
            let mistakes = manifest(|all| *all.pointer_mut(place).expect("it is there") = value).mistakes();
            assert!(mistakes.len() == 1 && mistakes[0].pointer == at, "{place}: {mistakes:?}");
            assert!(mistakes[0].reason.contains(part), "{place}: {mistakes:?}");
        }
        for (limits, count) in
            [(json!({"turns": 0, "tokens": 0, "time": "2h", "jobs": 17}), 4), (json!({}), 0)]
        {
            assert_eq!(manifest(|all| all["limits"] = limits).mistakes().len(), count);
        }
    }

    #[test]
    fn versions_are_compared_as_versions() {
        let of = |version: &str| manifest(|all| all["version"] = json!(version));
        assert!(of("1.10.0").is_above(&of("1.9.0")) && !of("1.0.0").is_above(&of("1.0.0")));
        assert!(of("1.0.0").is_above(&of("1.0.0-rc.1")));
        let needs = |range: &str| manifest(|all| all["orrery"] = json!(range)).is_compatible();
        assert!(needs(">=0.1.0, <1000") && !needs(">=1000"));
        assert!(AgentManifest::is_met("1.2", "1.9.3") && !AgentManifest::is_met("1.2", "2.0.0"));
    }
}
