//! Inputs of jobs, held against the schemas on the agent's card before the agent sees them.

use std::collections::HashMap;

use bus_schemas::commands::agent::AgentCard;
use bus_schemas::jobs::Job;
use jsonschema::Validator;
use smol_str::SmolStr;

use crate::contract::Failure;

/// The schemas of a card's skills: each compiled once, or why it cannot be.
pub(crate) struct Inputs(HashMap<SmolStr, Result<Validator, String>>);

impl Inputs {
    pub(crate) fn of(card: &AgentCard) -> Self {
        let with_schema = card.skills.iter().filter(|skill| !skill.input.is_null());
        let compiled = with_schema.map(|skill| {
            let validator = jsonschema::validator_for(&skill.input).map_err(|error| error.to_string());
            (skill.id.clone(), validator)
        });
        Self(compiled.collect())
    }

    /// Refuses an input that does not fit, and names the place.
    pub(crate) fn check(&self, job: &Job) -> Result<(), Failure> {
        let validator = match self.0.get(&job.skill) {
            None => return Ok(()),
            Some(Ok(validator)) => validator,
            Some(Err(reason)) => {
                let message =
                    format!("the input schema of the skill `{}` is no JSON Schema: {reason}", job.skill);
                return Err(Failure::permanent("invalid-input", message).hint("correct the agent's card"));
            }
        };
        let Some(error) = validator.iter_errors(&job.input).next() else { return Ok(()) };
        let message = format!("`input{}`: {error}", error.instance_path());
        let hint = format!("`orrery agents show {}` prints the schema of the input", job.agent);
        Err(Failure::permanent("invalid-input", message).hint(hint))
    }
}
