//! The models of a process, asked on behalf of a job: in order, each behind its breaker, within the budget of the
//! tree, and recorded as a step, so that a later attempt gets the recorded answer.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actors_worker::breaker::{Outcome, Rejected};
use actors_worker::{Failure, Work};
use bus_schemas::Key;
use bus_schemas::commands::task::Usage as Spent;
use bus_schemas::jobs::FailureClass;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{Instrument, field};

use crate::call::{Call, Chunk, Completion, Embeddings, Message, Parameters, Schema, Usage};
use crate::fault::{Fault, Kind};
use crate::prompt::PromptRef;
use crate::provider::ModelProvider;
use crate::structured::{Invalid, structured};

/// How long a reservation of the budget can be held, and how much longer than the answer may take.
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MARGIN: Duration = Duration::from_secs(10);
const LEASE_MAX: Duration = Duration::from_secs(3_600);

/// Prices of a million tokens, in one currency for all providers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Prices {
    pub(crate) input: f64,
    pub(crate) cached: f64,
    pub(crate) output: f64,
}

impl Prices {
    /// What tokens cost, in millionths, rounded up.
    fn of(&self, usage: Usage) -> u64 {
        let fresh = usage.input.saturating_sub(usage.cached);
        #[expect(clippy::cast_precision_loss, reason = "prices are not exact to the fifteenth digit")]
        let money =
            self.input * fresh as f64 + self.cached * usage.cached as f64 + self.output * usage.output as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let money = money.ceil() as u64;
        money
    }

    fn spent(&self, usage: Usage) -> Spent {
        Spent {
            tokens: usage.input.saturating_add(usage.output),
            money_micros: self.of(usage),
            ..Spent::default()
        }
    }
}

/// A provider with what it is asked for.
pub(crate) struct Configured {
    pub(crate) name: String,
    /// The name of its breaker: `model.<name>`.
    pub(crate) dependency: Key,
    pub(crate) model: String,
    pub(crate) max_tokens: u32,
    pub(crate) temperature: Option<f64>,
    pub(crate) prices: Prices,
    pub(crate) whole: Duration,
    pub(crate) provider: Box<dyn ModelProvider>,
}

/// The models of a process. Without providers every question fails as `no-model`.
#[derive(Default)]
pub struct Models {
    providers: Vec<Configured>,
    /// Makes questions differ from recorded ones, so that they are asked anew.
    anew: Option<String>,
}

/// What the step of a question is recorded with.
#[derive(Serialize)]
struct Asked<'a> {
    #[serde(flatten)]
    question: &'a Question,
    #[serde(skip_serializing_if = "Option::is_none")]
    anew: Option<&'a str>,
}

/// A question of an agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Question {
    /// The conversation.
    pub messages: Vec<Message>,
    /// The schema of the answer.
    pub schema: Schema,
    /// The prompts that the conversation was made with.
    pub prompts: Vec<PromptRef>,
}

/// A recorded answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The answer, which fits the schema.
    pub value: Value,
    /// The tokens of all calls.
    pub usage: Usage,
    /// How often the model was asked again because its answer did not fit.
    pub reasks: u32,
    /// How often the bound of the answer was too small.
    pub truncations: u32,
    /// The provider that answered last, and its model.
    pub provider: String,
    /// The model, as the provider names it.
    pub model: String,
    /// The prompts of the question.
    pub prompts: Vec<PromptRef>,
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Models {:?}", self.names())
    }
}

impl Models {
    pub(crate) fn of(providers: Vec<Configured>) -> Self {
        Self { providers, anew: None }
    }

    /// These models for a replay in which every question is asked anew; `only` one provider, and a model of it.
    ///
    /// # Errors
    /// The names of the providers, when none has the name.
    pub fn anew(mut self, only: Option<(&str, Option<&str>)>) -> Result<Self, String> {
        if let Some((name, model)) = only {
            if !self.providers.iter().any(|one| one.name == name) {
                return Err(self.names().join(", "));
            }
            self.providers.retain(|one| one.name == name);
            if let Some(model) = model {
                self.providers.iter_mut().for_each(|one| one.model = model.to_owned());
            }
        }
        let named = self.providers.iter().map(|one| format!("{}/{}", one.name, one.model));
        self.anew = Some(named.collect::<Vec<_>>().join(","));
        Ok(self)
    }

    /// The names of the providers, in order.
    pub fn names(&self) -> Vec<&str> {
        self.providers.iter().map(|one| one.name.as_str()).collect()
    }

    /// Asks for an answer by a schema, as the step `name` of the job.
    pub async fn ask(&self, work: &Work, name: &str, question: &Question) -> Result<Answer, Failure> {
        let asked = Asked { question, anew: self.anew.as_deref() };
        work.step(name, &asked, || self.answer(work, question)).await
    }

    async fn answer(&self, work: &Work, question: &Question) -> Result<Answer, Failure> {
        if self.providers.is_empty() {
            let message = "this work needs a model, and the process has none";
            let hint =
                "name a file with a provider in the setting `models`; docs/configuration.md has an example";
            return Err(Failure::permanent("no-model", message).hint(hint));
        }
        // The bound of an answer is one times that of the provider that is asked.
        let parameters = Parameters::bounded(1);
        let call = Call {
            schema: Some(question.schema.clone()),
            ..Call::new("", question.messages.clone(), parameters)
        };
        let asking = Asking {
            models: self,
            work,
            stopped: Mutex::default(),
            answered_by: Mutex::default(),
            failed: Mutex::default(),
        };
        let outcome = structured(&asking, &call).await;
        let (provider, model) = asking.answered_by.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = asking.stopped.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(failure);
        }
        let dependency = asking.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let answer = outcome.map_err(|invalid| failed(&invalid, dependency.as_ref()))?;
        let (usage, reasks, truncations) = (answer.usage, answer.reasks, answer.truncations);
        let prompts = question.prompts.clone();
        Ok(Answer { value: answer.value, usage, reasks, truncations, provider, model, prompts })
    }
}

/// The failure of an attempt whose question has no answer. One that may pass waits for the breaker of the provider
/// that failed last.
fn failed(invalid: &Invalid, dependency: Option<&Key>) -> Failure {
    let class = match invalid {
        Invalid::Call(fault) if fault.kind.may_pass() => FailureClass::Transient,
        Invalid::Call(_) | Invalid::Output { .. } | Invalid::Schema(_) => FailureClass::Permanent,
    };
    let pause = match invalid {
        Invalid::Call(Fault { retry_after: Some(pause), .. }) => {
            format!("; it asks to wait {} s", pause.as_secs())
        }
        _ => String::new(),
    };
    let failure = Failure::new(class, invalid.code(), format!("{invalid}{pause}"));
    let failure = failure.hint(format!("`orrery explain {}` says more", invalid.code()));
    match dependency.filter(|_| class == FailureClass::Transient) {
        Some(dependency) => failure.depends_on(dependency),
        None => failure,
    }
}

/// Why a provider gave no answer.
enum Unasked {
    /// Its breaker is open.
    Rejected(Rejected),
    Fault(Fault),
}

/// The providers on behalf of one job.
struct Asking<'a> {
    models: &'a Models,
    work: &'a Work,
    /// Why the attempt must end, where that is no fault of a provider: its budget, a halt, its cancellation.
    stopped: Mutex<Option<Failure>>,
    /// The provider and the model of the last answer.
    answered_by: Mutex<(String, String)>,
    /// The breaker of the provider that failed last.
    failed: Mutex<Option<Key>>,
}

impl ModelProvider for Asking<'_> {
    fn complete<'a>(
        &'a self,
        call: &'a Call,
        show: &'a mut (dyn FnMut(Chunk) + Send),
    ) -> BoxFuture<'a, Result<Completion, Fault>> {
        Box::pin(async move {
            // The first fault that may pass says when to try again; without one, the last.
            let (mut kept, mut is_asked): (Option<Fault>, bool) = (None, false);
            let mut rejected = None;
            for one in &self.models.providers {
                let fault = match self.ask(one, call, show).await {
                    Ok(completion) => return Ok(completion),
                    Err(Unasked::Rejected(by)) => {
                        rejected.get_or_insert(by);
                        continue;
                    }
                    Err(Unasked::Fault(fault)) => fault,
                };
                is_asked = true;
                // What the answer itself is wrong in, another provider is not asked for.
                if self.is_stopped() || matches!(fault.kind, Kind::OutputLimit | Kind::Refused) {
                    return Err(fault);
                }
                let code = fault.kind.code();
                tracing::warn!(provider = one.name, code, reason = %fault, "a model gave no answer");
                if kept.as_ref().is_none_or(|kept| !kept.kind.may_pass()) {
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(one.dependency.clone());
                    kept = Some(fault);
                }
            }
            if let Some(by) = rejected.filter(|_| !is_asked) {
                *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(by.into());
            }
            Err(kept.unwrap_or_else(|| Fault::new(Kind::Unavailable, "no provider was asked")))
        })
    }

    fn embed<'a>(&'a self, _: &'a str, _: &'a [String]) -> BoxFuture<'a, Result<Embeddings, Fault>> {
        Box::pin(async { Err(Fault::new(Kind::InvalidCall, "a question is no text to embed")) })
    }
}

impl Asking<'_> {
    fn is_stopped(&self) -> bool {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Asks one provider, behind its breaker and within the budget.
    async fn ask(
        &self,
        one: &Configured,
        call: &Call,
        show: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Completion, Unasked> {
        let permit = self.work.breakers().permit(&one.dependency).await.map_err(Unasked::Rejected)?;
        let mut call = call.clone();
        call.model.clone_from(&one.model);
        call.parameters.temperature = one.temperature;
        // The bound is a factor of the provider's: `structured` asks with a larger one after an answer that was cut.
        call.parameters.max_tokens = one.max_tokens.saturating_mul(call.parameters.max_tokens);
        // A token is at least a byte of the request.
        let input = serde_json::to_vec(&call).map_or(u64::MAX, |bytes| bytes.len() as u64);
        let worst = Usage { input, cached: 0, output: u64::from(call.parameters.max_tokens) };
        let mut fault = None;
        let span = span(one, &call);
        let lease = (one.whole + LEASE_MARGIN).clamp(LEASE_MIN, LEASE_MAX);
        let spent = self.work.spend(one.prices.spent(worst), lease, async |meter| {
            let canceled = self.work.canceled();
            let asked = tokio::select! {
                biased;
                () = canceled.cancelled() => return Err(Failure::canceled()),
                asked = one.provider.complete(&call, show) => asked,
            };
            if let Some(usage) = known(&asked, worst) {
                meter.add(one.prices.spent(usage));
            }
            Ok(asked.map_err(|asked| fault = Some(asked)).ok())
        });
        let spent = spent.instrument(span.clone()).await;
        match (spent, fault) {
            (Ok(Some(completion)), _) => {
                permit.record(Outcome::Succeeded);
                span.record("gen_ai.usage.input_tokens", completion.usage.input);
                span.record("gen_ai.usage.output_tokens", completion.usage.output);
                span.record("gen_ai.response.model", completion.model.as_str());
                *self.answered_by.lock().unwrap_or_else(PoisonError::into_inner) =
                    (one.name.clone(), completion.model.clone());
                Ok(completion)
            }
            (_, Some(fault)) => {
                span.record("error.type", fault.kind.code());
                let message = fault.message.clone();
                permit.record(if fault.kind.may_pass() {
                    Outcome::Failed(&message)
                } else {
                    Outcome::Succeeded
                });
                Err(Unasked::Fault(fault))
            }
            (stopped, None) => {
                permit.record(Outcome::Unknown);
                let failure = stopped.err().unwrap_or_else(Failure::canceled);
                *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                Err(Unasked::Fault(Fault::new(Kind::Unavailable, "the attempt ends")))
            }
        }
    }
}

/// The tokens of a call as far as they are known; `None` where the worst must be assumed.
fn known(asked: &Result<Completion, Fault>, worst: Usage) -> Option<Usage> {
    match asked {
        // An answer always has tokens: a server that counts none does not count.
        Ok(completion) => Some(completion.usage).filter(|usage| *usage != Usage::default()),
        Err(fault) if fault.is_free => Some(Usage::default()),
        Err(Fault { kind: Kind::OutputLimit | Kind::Refused, usage, .. }) => *usage,
        // What broke off may have written as much as it was allowed to.
        Err(fault) => fault.usage.map(|usage| Usage { output: worst.output.max(usage.output), ..usage }),
    }
}

/// The span of a call, with the attributes of OpenTelemetry's conventions for models.
fn span(one: &Configured, call: &Call) -> tracing::Span {
    tracing::info_span!(
        "effects",
        otel.name = format!("chat {}", call.model),
        otel.kind = "client",
        error.type = field::Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = one.name,
        gen_ai.request.model = call.model,
        gen_ai.request.max_tokens = call.parameters.max_tokens,
        gen_ai.response.model = field::Empty,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_cost_what_the_prices_say() {
        let prices = Prices { input: 0.15, cached: 0.075, output: 0.6 };
        let spent = prices.spent(Usage { input: 1_000, cached: 400, output: 100 });
        assert_eq!((spent.tokens, spent.money_micros), (1_100, 180));
        assert_eq!(prices.of(Usage { input: 1, cached: 0, output: 0 }), 1, "rounded up");
        assert_eq!(prices.of(Usage { input: u64::MAX, cached: 0, output: u64::MAX }) >> 60, 12);
    }
}
