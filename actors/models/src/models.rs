//! The models of a process, asked on behalf of a job: in order, each behind its breaker, within the budget of the
//! tree, and recorded as a step, so that a later attempt gets the recorded answer.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actors_worker::breaker::{Outcome, Rejected};
use actors_worker::{Failure, Work};
use bus_schemas::commands::task::Usage as Spent;
use bus_schemas::jobs::FailureClass;
use bus_schemas::{Hash, Key};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{Instrument, field};

use crate::cache::{Asked, Cache, Cached};
use crate::call::{Call, Chunk, Completion, Embeddings, Message, Parameters, Schema, Usage};
use crate::fault::{Fault, Kind};
use crate::formats::Format;
use crate::library::Library;
use crate::prompt::PromptRef;
use crate::provider::ModelProvider;
use crate::structured::{Invalid, LARGER, add, structured};

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
    pub(crate) format: Format,
    pub(crate) url: String,
    pub(crate) model: String,
    pub(crate) max_tokens: u32,
    pub(crate) temperature: Option<f64>,
    pub(crate) num_ctx: Option<u32>,
    /// Whether its answers may come from the cache.
    pub(crate) is_cached: bool,
    pub(crate) prices: Prices,
    pub(crate) whole: Duration,
    pub(crate) provider: Box<dyn ModelProvider>,
}

/// The models of a process. Without providers every question fails as `no-model`.
#[derive(Default)]
pub struct Models {
    providers: Vec<Configured>,
    cache: Cache,
    pub(crate) library: Library,
    /// Whether the detector is off.
    pub(crate) is_unscreened: bool,
    /// Makes questions differ from recorded ones, so that they are asked anew.
    pub(crate) anew: Option<String>,
    /// For a replay: the version of a prompt that is used instead of the recorded one.
    pub(crate) instead: Option<(String, u32)>,
}

/// What the step of a question is recorded with.
#[derive(Serialize)]
struct Requested<'a> {
    #[serde(flatten)]
    question: &'a Question,
    #[serde(skip_serializing_if = "Option::is_none")]
    anew: Option<&'a str>,
}

/// A provider as a run could ask it: what of the settings bears on its answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSettings {
    /// The name of the provider.
    pub name: String,
    /// The model.
    pub model: String,
    /// The most tokens of an answer.
    pub max_tokens: u32,
    /// The temperature.
    pub temperature: Option<f64>,
    /// The tokens of the context, for Ollama.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_ctx: Option<u32>,
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
    /// Whether the last answer came from the cache. One that did has no tokens.
    #[serde(default)]
    pub cache: Cached,
    /// The prompts of the question.
    pub prompts: Vec<PromptRef>,
    /// The conversation that was asked, for whoever wants to know later.
    #[serde(default)]
    pub asked: Vec<Message>,
}

/// Who answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct By {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) cache: Cached,
}

/// What a question led to, as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Offer {
    /// An answer.
    Answer(Answer),
    /// None that can be used: the model answered, and what it said does not count.
    Unusable {
        /// The code of the failure.
        unusable: String,
        /// What is wrong with the answer.
        message: String,
    },
}

/// The codes of answers that are no use, and no fault of the way to the model: asking it something else may help.
const UNUSABLE: [&str; 3] = ["invalid-output", "model-output-limit", "model-refused"];

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Models {:?}", self.names())
    }
}

impl Models {
    pub(crate) fn of(providers: Vec<Configured>) -> Self {
        Self { providers, ..Self::default() }
    }

    /// One provider that a program brings along. It costs nothing, and nothing of it is cached.
    pub fn played(name: &str, provider: Box<dyn ModelProvider>) -> Self {
        let dependency = Key::parse(&format!("model.{name}")).expect("a program gives it a name");
        Self::of(vec![Configured {
            name: name.to_owned(),
            dependency,
            format: Format::Chat,
            url: String::new(),
            model: name.to_owned(),
            max_tokens: 4_096,
            temperature: None,
            num_ctx: None,
            is_cached: false,
            prices: Prices { input: 0.0, cached: 0.0, output: 0.0 },
            whole: LEASE_MAX,
            provider,
        }])
    }

    /// With answers in this cache, instead of the installation's own bucket.
    #[must_use]
    pub fn cached_in(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// With the prompts of this library.
    #[must_use]
    pub fn with_prompts(mut self, library: Library) -> Self {
        self.library = library;
        self
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

    /// These models for a replay with another version of a prompt.
    #[must_use]
    pub fn instead(mut self, prompt: &str, version: u32) -> Self {
        self.instead = Some((prompt.to_owned(), version));
        self
    }

    /// The names of the providers, in order.
    pub fn names(&self) -> Vec<&str> {
        self.providers.iter().map(|one| one.name.as_str()).collect()
    }

    /// The providers, in order, as a run could ask them.
    pub fn settings(&self) -> Vec<ModelSettings> {
        let settings = |one: &Configured| ModelSettings {
            name: one.name.clone(),
            model: one.model.clone(),
            max_tokens: one.max_tokens,
            temperature: one.temperature,
            num_ctx: one.num_ctx,
        };
        self.providers.iter().map(settings).collect()
    }

    /// Asks for an answer by a schema, as the step `name` of the job.
    pub async fn ask(&self, work: &Work, name: &str, question: &Question) -> Result<Answer, Failure> {
        let requested = Requested { question, anew: self.anew.as_deref() };
        work.step(name, &requested, || self.answer(work, question)).await
    }

    /// As [`ask`](Self::ask), for who goes on without an answer that can be used.
    pub async fn offer(&self, work: &Work, name: &str, question: &Question) -> Result<Offer, Failure> {
        let requested = Requested { question, anew: self.anew.as_deref() };
        let asking = || async {
            match self.answer(work, question).await {
                Ok(answer) => Ok(Offer::Answer(answer)),
                Err(Failure::Failed(failure)) if UNUSABLE.contains(&failure.code.as_str()) => {
                    Ok(Offer::Unusable { unusable: failure.code, message: failure.message })
                }
                Err(failure) => Err(failure),
            }
        };
        work.step(name, &requested, asking).await
    }

    /// Refuses a call where there is no model. What was recorded needs none.
    fn expect_some(&self) -> Result<(), Failure> {
        if !self.providers.is_empty() {
            return Ok(());
        }
        let message = "this work needs a model, and the process has none";
        let hint =
            "name a file with a provider in the setting `models`; docs/configuration.md has an example";
        Err(Failure::permanent("no-model", message).hint(hint))
    }

    async fn answer(&self, work: &Work, question: &Question) -> Result<Answer, Failure> {
        self.expect_some()?;
        // The bound of an answer is one times that of the provider that is asked.
        let parameters = Parameters::bounded(1);
        let call = Call {
            schema: Some(question.schema.clone()),
            ..Call::new("", question.messages.clone(), parameters)
        };
        let asking = Asking::of(self, work, &question.prompts);
        let outcome = structured(&asking, &call).await;
        let (answer, By { provider, model, cache }) = asking.end(outcome).await?;
        let (usage, reasks, truncations) = (answer.usage, answer.reasks, answer.truncations);
        let (prompts, asked) = (question.prompts.clone(), question.messages.clone());
        let value = answer.value;
        Ok(Answer { value, usage, reasks, truncations, provider, model, cache, prompts, asked })
    }

    /// Asks for the next turn of a conversation, once more with a larger bound if the first one was too small. An
    /// answer is cached if it is `accepted`.
    pub(crate) async fn turn(
        &self,
        work: &Work,
        mut call: Call,
        prompts: &[PromptRef],
        accepted: impl FnOnce(&Completion) -> bool,
    ) -> Result<(Completion, By), Failure> {
        self.expect_some()?;
        let mut asking = Asking::of(self, work, prompts);
        let mut usage = Usage::default();
        let mut outcome = asking.complete(&call, &mut |_| {}).await;
        if let Err(Fault { kind: Kind::OutputLimit, usage: counted, .. }) = &outcome {
            usage = counted.unwrap_or_default();
            call.parameters.max_tokens = call.parameters.max_tokens.saturating_mul(LARGER);
            outcome = asking.complete(&call, &mut |_| {}).await;
        }
        if !outcome.as_ref().is_ok_and(accepted) {
            asking.keepable = Mutex::default();
        }
        let (mut completion, by) = asking.end(outcome.map_err(Invalid::from)).await?;
        add(&mut usage, completion.usage);
        completion.usage = usage;
        Ok((completion, by))
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
    prompts: &'a [PromptRef],
    /// Why the attempt must end, where that is no fault of a provider: its budget, a halt, its cancellation.
    stopped: Mutex<Option<Failure>>,
    /// Who gave the last answer.
    answered_by: Mutex<By>,
    /// The last answer, if the cache may keep it.
    keepable: Mutex<Option<(Hash, Completion)>>,
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

impl<'a> Asking<'a> {
    fn of(models: &'a Models, work: &'a Work, prompts: &'a [PromptRef]) -> Self {
        Self {
            models,
            work,
            prompts,
            stopped: Mutex::default(),
            answered_by: Mutex::default(),
            keepable: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// The outcome of all calls, and who answered. The last answer was accepted, and is kept for others.
    async fn end<T>(self, outcome: Result<T, Invalid>) -> Result<(T, By), Failure> {
        if let Some(failure) = self.stopped.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(failure);
        }
        let dependency = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let answer = outcome.map_err(|invalid| failed(&invalid, dependency.as_ref()))?;
        let keepable = self.keepable.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some((key, completion)) = keepable {
            self.models.cache.keep(self.work, key, &completion).await;
        }
        Ok((answer, self.answered_by.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    fn is_stopped(&self) -> bool {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Asks one provider, unless it gave an answer to the same call before.
    async fn ask(
        &self,
        one: &Configured,
        call: &Call,
        show: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Completion, Unasked> {
        let mut call = call.clone();
        call.model.clone_from(&one.model);
        (call.parameters.temperature, call.parameters.num_ctx) = (one.temperature, one.num_ctx);
        // The bound is a factor of the provider's: a caller asks with a larger one after an answer that was cut.
        call.parameters.max_tokens = one.max_tokens.saturating_mul(call.parameters.max_tokens);
        let (mut key, cache) = (None, &self.models.cache);
        if one.is_cached {
            let (provider, format, url) = (one.name.as_str(), one.format, one.url.as_str());
            key = cache
                .key(self.work, &Asked { provider, format, url, call: &call, prompts: self.prompts })
                .await;
        }
        *self.keepable.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let found = match key {
            None => None,
            Some(key) => cache.find(self.work, key).await,
        };
        let (completion, cached) = match found {
            Some(completion) => {
                // A span of its own, so that a trace shows why there is no call.
                span(one, &call, Cached::Hit).in_scope(|| tracing::debug!("answered from the cache"));
                show(Chunk::Text(completion.text.clone()));
                (Completion { usage: Usage::default(), ..completion }, Cached::Hit)
            }
            None => {
                let cached = if one.is_cached { Cached::Miss } else { Cached::Off };
                let completion = self.call(one, &call, cached, show).await?;
                let keepable = key.map(|key| (key, completion.clone()));
                *self.keepable.lock().unwrap_or_else(PoisonError::into_inner) = keepable;
                (completion, cached)
            }
        };
        *self.answered_by.lock().unwrap_or_else(PoisonError::into_inner) =
            By { provider: one.name.clone(), model: completion.model.clone(), cache: cached };
        Ok(completion)
    }

    /// Calls one provider, behind its breaker and within the budget.
    async fn call(
        &self,
        one: &Configured,
        call: &Call,
        cached: Cached,
        show: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Completion, Unasked> {
        let permit = self.work.breakers().permit(&one.dependency).await.map_err(Unasked::Rejected)?;
        // A token is at least a byte of the request.
        let input = serde_json::to_vec(call).map_or(u64::MAX, |bytes| bytes.len() as u64);
        let worst = Usage { input, cached: 0, output: u64::from(call.parameters.max_tokens) };
        let mut fault = None;
        let span = span(one, call, cached);
        let lease = (one.whole + LEASE_MARGIN).clamp(LEASE_MIN, LEASE_MAX);
        let spent = self.work.spend(one.prices.spent(worst), lease, async |meter| {
            let canceled = self.work.canceled();
            let asked = tokio::select! {
                biased;
                () = canceled.cancelled() => return Err(Failure::canceled()),
                asked = one.provider.complete(call, show) => asked,
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
fn span(one: &Configured, call: &Call, cached: Cached) -> tracing::Span {
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
        orrery.model.cache = <&str>::from(cached),
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
