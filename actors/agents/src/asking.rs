//! A question that is asked until an answer counts: each answer that does not is told to the model with the reason, and
//! the rounds are bounded.

use actors_models::{Message, Models, Offer, Prompt, PromptRef, Question, Schema};
use actors_worker::{Failure, Work};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checks::secrets;
use crate::manifest::ModelUsed;

/// The most answers that are asked for. A model that is told twice what is wrong and does not mend it will not.
const ROUNDS_MAX: usize = 3;

/// What became of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answered {
    /// Why it does not count: a code to count by, and a sentence; empty if it does.
    refused: String,
    pub(crate) by: Option<ModelUsed>,
    pub(crate) prompts: Vec<PromptRef>,
}

/// A question with the answers so far.
pub(crate) struct Asking<'a> {
    work: &'a Work,
    models: &'a Models,
    question: Question,
    /// The data of the question, each on a line of its own.
    lines: Vec<Value>,
    last: Value,
    pub(crate) answers: Vec<Answered>,
}

impl<'a> Asking<'a> {
    /// A question by a prompt with its variables; `lines` is what it is about.
    pub(crate) async fn new(
        work: &'a Work,
        models: &'a Models,
        prompt: &Prompt,
        variables: &Value,
        schema: Schema,
        lines: Vec<Value>,
    ) -> Result<Self, Failure> {
        let (instructions, prompt) = models.prompt(work, prompt, variables).await?;
        let question =
            Question { messages: vec![Message::system(instructions)], schema, prompts: vec![prompt] };
        Ok(Self { work, models, question, lines, last: Value::Null, answers: Vec::new() })
    }

    /// The number of the answer, from 1.
    pub(crate) fn round(&self) -> usize {
        self.answers.len()
    }

    /// The next answer, which fits the schema; a failure when the rounds are over.
    pub(crate) async fn next(&mut self) -> Result<Value, Failure> {
        while self.answers.len() < ROUNDS_MAX {
            let mut question = self.question.clone();
            let mut lines = self.lines.clone();
            lines.iter_mut().for_each(secrets::hide);
            let material: Vec<String> = lines.iter().map(ToString::to_string).collect();
            question.messages.push(Message::user(material.join("\n")));
            let step = format!("{}/{}", self.question.schema.name, self.round() + 1);
            let prompts = self.question.prompts.clone();
            match self.models.offer(self.work, &step, &question).await? {
                Offer::Answer(answer) => {
                    let by = Some(ModelUsed { provider: answer.provider, model: answer.model });
                    self.answers.push(Answered { refused: String::new(), by, prompts });
                    self.last = answer.value.clone();
                    return Ok(answer.value);
                }
                Offer::Unusable { unusable, message } => {
                    self.answers.push(Answered { refused: String::new(), by: None, prompts });
                    self.last = Value::Null;
                    self.refuse(format!("{unusable}: {message}")).await;
                }
            }
        }
        let reason = self.answers.last().map(|answer| answer.refused.as_str()).unwrap_or_default();
        let message = format!("none of {ROUNDS_MAX} answers of the model counts; the last one: {reason}");
        Err(Failure::permanent("generation-refused", message)
            .hint("say in the goal how to do without it, or ask a larger model; docs/agents/orchestrator.md"))
    }

    /// Says that the last answer does not count, and why.
    pub(crate) async fn refuse(&mut self, reason: String) {
        let said = secrets::hidden(&reason).into_owned();
        self.work.output(&format!("answer {}: refused: {said}\n", self.round())).await;
        self.lines.push(json!({"former_answer": self.last.take(), "result": said}));
        if let Some(answer) = self.answers.last_mut() {
            answer.refused = said;
        }
    }
}
