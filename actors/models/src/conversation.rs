//! A conversation in which a model may ask for tools, on behalf of a job.
//!
//! ```text
//! opening ─→ turn: a model ─→ tool calls ─→ arguments checked ─→ each handler ─→ results ─→ next turn
//!                          └→ text, or the arguments of the closing tool, checked: the end
//! ```
//!
//! Each turn and each tool call is recorded once, with what it added: a history grows with the turns, however long the
//! conversation is. A later attempt goes through the recorded turns and asks nobody. A tool that only reads is a step
//! and may run twice; one that must not is an effect in the ledger.
//!
//! Whatever a tool answers is data, and grants no right: see [`crate::provenance`].

use std::future::Future;
use std::time::Duration;

use actors_worker::{Effect, Failure, Work};
use bus_schemas::commands::task::Usage as Spent;
use bus_schemas::{Hash, chain, text};
use futures::FutureExt;
use futures::future::BoxFuture;
use jsonschema::Validator;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use smol_str::SmolStr;

use crate::cache::Cached;
use crate::call::{Call, Completion, Message, Parameters, Tool, ToolCall, Usage};
use crate::models::Models;
use crate::prompt::PromptRef;
use crate::provenance::Trusted;
use crate::structured::{REASKS_MAX, add, mistakes};

/// Turns of a conversation that names no other bound, and the most: with a tool call each, half of what a task may
/// record.
const TURNS: u32 = 32;
pub const TURNS_MAX: u32 = 5_000;
/// The most bytes of a conversation: every turn sends all of it.
const CONVERSATION_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most tools, and the most bytes of a tool's name.
const TOOLS_MAX: usize = 128;
const NAME_BYTES_MAX: usize = 64;
/// The most bytes of what a tool answers.
const RESULT_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of an effect's answer that the ledger keeps itself: all of them together have 256 KiB there.
const LEDGER_BYTES_MAX: usize = 256;
/// Calls that were refused because nobody trusted had named their target.
const REFUSED: &str = "orrery_tool_calls_refused_total";
/// How long a tool call can be reserved in the budget.
const LEASE: Duration = Duration::from_secs(3_600);

/// Why a tool gives no result.
#[derive(Debug)]
pub enum ToolError {
    /// Nothing was done; the model is told why, and goes on.
    Refused(String),
    /// The attempt ends.
    Failed(Failure),
}

impl From<Failure> for ToolError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

type Outcome = Result<Value, ToolError>;

/// A look at the arguments of the closing tool, with how often it has sent some back: the result, or why they do not
/// count.
type Check = Box<dyn Fn(u32, Value) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// What a tool call does.
enum Handler {
    /// It only reads, and may run again.
    Reads(Box<dyn Fn(Value) -> BoxFuture<'static, Outcome> + Send + Sync>),
    /// It must not happen twice. It gets the idempotency key of its effect.
    Writes(Box<dyn Fn(SmolStr, Value) -> BoxFuture<'static, Outcome> + Send + Sync>),
    /// Its arguments are the end of the conversation, once they count.
    Closes(Option<Check>),
}

/// A conversation, before it begins.
pub struct Conversation {
    name: String,
    opening: Vec<Message>,
    prompts: Vec<PromptRef>,
    tools: Vec<Tool>,
    handlers: Vec<Handler>,
    /// For each tool that reaches outside of the task, the fields of its arguments that say where.
    targets: Vec<Option<Vec<String>>>,
    write_set: Vec<String>,
    turns_max: u32,
    tokens_max: u64,
}

/// How a conversation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// What the model said last.
    pub text: String,
    /// The arguments of the closing tool, which fit its schema; null without such a tool.
    pub value: Value,
    /// The number of turns.
    pub turns: u32,
    /// The number of tool calls that ran.
    pub tool_calls: u32,
    /// The tokens of all turns.
    pub usage: Usage,
}

/// A recorded turn: what was added to the conversation before it, where nothing else records that, and what the model
/// said.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Turn {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    asked: Vec<Message>,
    text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall>,
    usage: Usage,
    provider: String,
    model: String,
    #[serde(default)]
    cache: Cached,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    prompts: Vec<PromptRef>,
}

/// A recorded answer of an effect: in the ledger, or in the blob store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kept {
    Text(String),
    Blob(Hash),
}

/// A conversation under way.
struct Talk<'a> {
    work: &'a Work,
    models: &'a Models,
    validators: Vec<Validator>,
    trusted: Trusted,
    messages: Vec<Message>,
    bytes: usize,
    /// Messages that no step or effect records: the next turn does.
    unrecorded: Vec<Message>,
    /// The hash over everything that was said, so that a turn is known by it without hashing all again.
    said: Hash,
    ended: Ended,
    /// Turns in a row in which the model asked for nothing that could be done.
    mistaken: u32,
    /// How often the closing tool's arguments did not count.
    sent_back: u32,
}

impl Conversation {
    /// A conversation that begins with these messages, made with these prompts. Its name, at most 64 bytes, is unique
    /// within the task.
    pub fn new(name: impl Into<String>, opening: Vec<Message>, prompts: Vec<PromptRef>) -> Self {
        let (tools, handlers, targets, write_set) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (name, turns_max, tokens_max) = (name.into(), TURNS, u64::MAX);
        Self { name, opening, prompts, tools, handlers, targets, write_set, turns_max, tokens_max }
    }

    /// With a tool that only reads what belongs to the task: a call is a step, and may run twice.
    #[must_use]
    pub fn reads<F>(self, tool: Tool, handler: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        self.with(tool, None, Handler::Reads(Box::new(move |arguments| handler(arguments).boxed())))
    }

    /// With a tool that reads from outside, such as the network, where these fields of its arguments say: a call is a
    /// step, and each field must hold what the person or the program named.
    #[must_use]
    pub fn fetches<F>(
        self,
        tool: Tool,
        targets: &[&str],
        handler: impl Fn(Value) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        self.with(tool, Some(targets), Handler::Reads(Box::new(move |arguments| handler(arguments).boxed())))
    }

    /// With a tool whose call must not happen twice: an effect in the ledger, with its idempotency key. These fields of
    /// its arguments say what it changes or whom it reaches, and each must hold what the person or the program named;
    /// a tool without such a field is never called.
    #[must_use]
    pub fn writes<F>(
        self,
        tool: Tool,
        targets: &[&str],
        handler: impl Fn(SmolStr, Value) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let handler = Handler::Writes(Box::new(move |key, arguments| handler(key, arguments).boxed()));
        self.with(tool, Some(targets), handler)
    }

    /// With targets that the task declares to change or to reach, beside those that its goal names.
    #[must_use]
    pub fn write_set(mut self, targets: impl IntoIterator<Item = String>) -> Self {
        self.write_set.extend(targets);
        self
    }

    /// With a tool by which the model must end the conversation: its arguments are the result.
    #[must_use]
    pub fn closes(self, tool: Tool) -> Self {
        self.with(tool, None, Handler::Closes(None))
    }

    /// As [`Self::closes`], where a check has the last word: what it refuses is told to the model, which goes on. It
    /// gets how often it has refused, and must not refuse for ever.
    #[must_use]
    pub fn closes_when<F>(self, tool: Tool, check: impl Fn(u32, Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let check: Check = Box::new(move |sent_back, arguments| check(sent_back, arguments).boxed());
        self.with(tool, None, Handler::Closes(Some(check)))
    }

    /// With at most this many turns, 1 to [`TURNS_MAX`].
    #[must_use]
    pub fn turns(mut self, turns_max: u32) -> Self {
        self.turns_max = turns_max.clamp(1, TURNS_MAX);
        self
    }

    /// Without a further turn after so many tokens.
    #[must_use]
    pub fn tokens(mut self, tokens_max: u64) -> Self {
        self.tokens_max = tokens_max;
        self
    }

    fn with(mut self, tool: Tool, targets: Option<&[&str]>, handler: Handler) -> Self {
        self.tools.push(tool);
        self.targets.push(targets.map(|fields| fields.iter().map(|field| (*field).to_owned()).collect()));
        self.handlers.push(handler);
        self
    }

    /// Lets the model speak until it ends.
    pub async fn run(&self, work: &Work, models: &Models) -> Result<Ended, Failure> {
        let mut talk = Talk::begin(work, models, self)?;
        loop {
            let turn = self.turn(&mut talk).await?;
            if turn.tool_calls.is_empty() {
                if !self.handlers.iter().any(|handler| matches!(handler, Handler::Closes(_))) {
                    return Ok(Ended { text: turn.text, ..talk.ended });
                }
                talk.tell(Message::user("This is no tool call. End with the tool that takes the result."))?;
                talk.mistake("the model ended without its result")?;
                continue;
            }
            let mut is_done = false;
            for (index, call) in turn.tool_calls.iter().enumerate() {
                let (text, is_recorded) = match self.find(&talk, call) {
                    Ok(Handler::Closes(check)) => match self.close(&talk, index, call, check.as_ref()).await?
                    {
                        Ok(value) => return Ok(Ended { text: turn.text, value, ..talk.ended }),
                        Err(reason) => {
                            is_done = true;
                            talk.sent_back += 1;
                            (json!({ "error": reason }).to_string(), true)
                        }
                    },
                    Ok(handler) => {
                        is_done = true;
                        (self.perform(&mut talk, index, call, handler).await?, true)
                    }
                    Err(mistake) => (json!({ "error": mistake }).to_string(), false),
                };
                talk.answer(call, text, is_recorded)?;
            }
            if !is_done {
                talk.mistake("the model asked for no tool that it has, with arguments that fit")?;
            } else {
                talk.mistaken = 0;
            }
        }
    }

    /// The next turn of the model.
    async fn turn(&self, talk: &mut Talk<'_>) -> Result<Turn, Failure> {
        if talk.ended.turns == self.turns_max {
            let message = format!("the model did not end within {} turns", self.turns_max);
            return Err(Failure::permanent("conversation-too-long", message).hint("give it a smaller task"));
        }
        let spent = talk.ended.usage.input.saturating_add(talk.ended.usage.output);
        if spent >= self.tokens_max {
            let message = format!("the model did not end within {} tokens; it used {spent}", self.tokens_max);
            return Err(Failure::permanent("conversation-too-long", message).hint("give it a smaller task"));
        }
        talk.ended.turns += 1;
        let name = format!("{}/{}", self.name, talk.ended.turns);
        let prompts = if talk.ended.turns == 1 { self.prompts.clone() } else { Vec::new() };
        let ask = || async {
            let call = Call {
                tools: self.tools.clone(),
                ..Call::new("", talk.messages.clone(), Parameters::bounded(1))
            };
            let is_fit = |completion: &Completion| {
                completion.tool_calls.iter().all(|call| self.find(talk, call).is_ok())
            };
            let (completion, by) = talk.models.turn(talk.work, call, &self.prompts, is_fit).await?;
            let Completion { text, tool_calls, usage, .. } = completion;
            let asked = talk.unrecorded.clone();
            Ok(Turn {
                asked,
                text,
                tool_calls,
                usage,
                provider: by.provider,
                model: by.model,
                cache: by.cache,
                prompts,
            })
        };
        let turn = talk.work.step(&name, &talk.said, ask).await?;
        talk.unrecorded.clear();
        add(&mut talk.ended.usage, turn.usage);
        let (text, tool_calls) = (turn.text.clone(), turn.tool_calls.clone());
        talk.add(Message::Assistant { text, tool_calls })?;
        Ok(turn)
    }

    /// The handler of a call, or what the model did wrong.
    fn find(&self, talk: &Talk<'_>, call: &ToolCall) -> Result<&Handler, String> {
        let place = self.tools.iter().position(|tool| tool.name == call.name);
        let place = place.ok_or_else(|| {
            let names: Vec<&str> = self.tools.iter().map(|tool| tool.name.as_str()).collect();
            format!("there is no such tool; there are: {}", names.join(", "))
        })?;
        match mistakes(&talk.validators[place], &call.arguments) {
            None => Ok(&self.handlers[place]),
            Some(mistakes) => Err(format!("the arguments do not fit: {mistakes}")),
        }
    }

    /// What a tool answers, recorded.
    async fn perform(
        &self,
        talk: &mut Talk<'_>,
        index: usize,
        call: &ToolCall,
        handler: &Handler,
    ) -> Result<String, Failure> {
        let (work, ToolCall { name: tool, arguments, .. }) = (talk.work, call);
        let name = format!("{}/{}.{}", self.name, talk.ended.turns, index + 1);
        if let Err(reason) = self.permits(talk, call) {
            metrics::counter!(REFUSED).increment(1);
            let input = json!({"tool": tool, "arguments": arguments, "refused": "target-untrusted"});
            return work.step(&name, &input, || async { Ok(json!({"error": reason}).to_string()) }).await;
        }
        talk.ended.tool_calls += 1;
        let text = self.call(work, &name, call, handler).await?;
        talk.models.screened(work, &format!("{name}/verdict"), &text).await?;
        Ok(text)
    }

    /// Whether a call reaches only what a person or the program named; otherwise why not, for the model.
    fn permits(&self, talk: &Talk<'_>, call: &ToolCall) -> Result<(), String> {
        let place = self.tools.iter().position(|tool| tool.name == call.name);
        match place.and_then(|place| self.targets[place].as_ref()) {
            Some(fields) => talk.trusted.permits(fields, &call.arguments),
            None => Ok(()),
        }
    }

    /// Calls a tool, recorded by this name.
    async fn call(
        &self,
        work: &Work,
        name: &str,
        call: &ToolCall,
        handler: &Handler,
    ) -> Result<String, Failure> {
        let ToolCall { name: tool, arguments, .. } = call;
        match handler {
            Handler::Reads(handler) => {
                let input = json!({"tool": tool, "arguments": arguments});
                let call = || async {
                    let canceled = work.canceled();
                    tokio::select! {
                        biased;
                        () = canceled.cancelled() => Err(Failure::canceled()),
                        outcome = metered(work, || handler(arguments.clone())) => answered(outcome),
                    }
                };
                work.step(name, &input, call).await
            }
            Handler::Writes(handler) => {
                let effect = Effect::new(name).tool(tool.as_str(), arguments.clone());
                let effect = effect.detail(text::cut(&format!("{tool} {arguments}"), 512));
                // The ledger decides what becomes of a call that is canceled after it began.
                let call =
                    |key| async { kept(work, metered(work, || handler(key, arguments.clone())).await).await };
                match work.effect(effect, call).await? {
                    Kept::Text(text) => Ok(text),
                    Kept::Blob(hash) => {
                        let bytes = work.get_blob(hash).await?;
                        let text = String::from_utf8(bytes.into());
                        text.map_err(|error| Failure::permanent("artifact-malformed", chain(&error)))
                    }
                }
            }
            Handler::Closes(_) => Ok(String::new()),
        }
    }

    /// The result that the closing tool gives, recorded; or why its arguments do not count.
    async fn close(
        &self,
        talk: &Talk<'_>,
        index: usize,
        call: &ToolCall,
        check: Option<&Check>,
    ) -> Result<Result<Value, String>, Failure> {
        let Some(check) = check else { return Ok(Ok(call.arguments.clone())) };
        let name = format!("{}/{}.{}", self.name, talk.ended.turns, index + 1);
        let input = json!({"tool": call.name, "arguments": call.arguments, "sent_back": talk.sent_back});
        let look = || async {
            match check(talk.sent_back, call.arguments.clone()).await {
                Ok(value) => Ok(Ok(value)),
                Err(ToolError::Refused(reason)) => Ok(Err(text::cut(&reason, RESULT_BYTES_MAX / 2))),
                Err(ToolError::Failed(failure)) => Err(failure),
            }
        };
        talk.work.step(&name, &input, look).await
    }

    /// The validators of the tools, in order.
    fn validators(&self) -> Result<Vec<Validator>, Failure> {
        let wrong = |reason: String| {
            Failure::permanent("invalid-tool", format!("the conversation `{}`: {reason}", self.name))
        };
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || self.tools.len() > TOOLS_MAX {
            return Err(wrong(format!(
                "its name has 1 to {NAME_BYTES_MAX} bytes, and it has at most {TOOLS_MAX} tools"
            )));
        }
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let compiled = self.tools.iter().enumerate().map(|(place, tool)| {
            let is_name = (1..=NAME_BYTES_MAX).contains(&tool.name.len()) && tool.name.bytes().all(sign);
            if !is_name || self.tools[..place].iter().any(|other| other.name == tool.name) {
                return Err(wrong(format!(
                    "`{}` is no name of one tool: 1 to {NAME_BYTES_MAX} letters, digits, `_` and `-`",
                    text::cut(&tool.name, NAME_BYTES_MAX)
                )));
            }
            let validator = jsonschema::validator_for(&tool.parameters);
            validator.map_err(|error| wrong(format!("the schema of `{}`: {error}", tool.name)))
        });
        compiled.collect()
    }
}

impl<'a> Talk<'a> {
    fn begin(work: &'a Work, models: &'a Models, of: &Conversation) -> Result<Self, Failure> {
        let ended = Ended {
            text: String::new(),
            value: Value::Null,
            turns: 0,
            tool_calls: 0,
            usage: Usage::default(),
        };
        let tools = serde_json::to_vec(&(&of.tools, &of.prompts, &models.anew)).expect("it is plain data");
        let mut talk = Self {
            work,
            models,
            validators: of.validators()?,
            trusted: Trusted::of(&work.job.goal, &of.opening, &of.write_set),
            messages: Vec::new(),
            bytes: 0,
            unrecorded: Vec::new(),
            said: Hash::of(&tools),
            ended,
            mistaken: 0,
            sent_back: 0,
        };
        for message in &of.opening {
            talk.tell(message.clone())?;
        }
        Ok(talk)
    }

    /// Adds a message.
    fn add(&mut self, message: Message) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(&message).expect("it is plain data");
        self.bytes += bytes.len();
        if self.bytes > CONVERSATION_BYTES_MAX {
            let message = format!("the conversation has more than {CONVERSATION_BYTES_MAX} bytes");
            return Err(Failure::permanent("conversation-too-long", message).hint("give it a smaller task"));
        }
        self.said = Hash::of(&[&self.said.0[..], &bytes].concat());
        self.messages.push(message);
        Ok(())
    }

    /// Adds a message that is recorded with the next turn.
    fn tell(&mut self, message: Message) -> Result<(), Failure> {
        self.unrecorded.push(message.clone());
        self.add(message)
    }

    /// Adds the answer of a tool, and whether it is recorded.
    fn answer(&mut self, call: &ToolCall, text: String, is_recorded: bool) -> Result<(), Failure> {
        let message = Message::Tool { call_id: call.id.clone(), name: call.name.clone(), text };
        if is_recorded { self.add(message) } else { self.tell(message) }
    }

    /// Counts a turn of which nothing could be done.
    fn mistake(&mut self, what: &str) -> Result<(), Failure> {
        self.mistaken += 1;
        if self.mistaken <= REASKS_MAX {
            return Ok(());
        }
        let message = format!("{what}, {} times in a row", self.mistaken);
        Err(Failure::permanent("invalid-output", message).hint("`orrery explain invalid-output` says more"))
    }
}

/// A tool call within the budget of the tree.
async fn metered(work: &Work, call: impl FnOnce() -> BoxFuture<'static, Outcome>) -> Outcome {
    let one = Spent { tool_calls: 1, ..Spent::default() };
    let spent = work.spend(one, LEASE, async |meter| {
        meter.add(one);
        match call().await {
            Err(ToolError::Failed(failure)) => Err(failure),
            told => Ok(told),
        }
    });
    spent.await?
}

/// An outcome as the model reads it.
fn answered(outcome: Outcome) -> Result<String, Failure> {
    let text = match outcome {
        Ok(Value::String(text)) => text,
        Ok(value) => value.to_string(),
        Err(ToolError::Refused(reason)) => {
            json!({ "error": text::cut(&reason, RESULT_BYTES_MAX / 2) }).to_string()
        }
        Err(ToolError::Failed(failure)) => return Err(failure),
    };
    if text.len() <= RESULT_BYTES_MAX {
        return Ok(text);
    }
    let error = format!("the result has {} bytes, and at most {RESULT_BYTES_MAX} are taken", text.len());
    Ok(json!({ "error": error }).to_string())
}

/// An outcome of an effect as the ledger keeps it.
async fn kept(work: &Work, outcome: Outcome) -> Result<Kept, Failure> {
    let text = answered(outcome)?;
    if text.len() <= LEDGER_BYTES_MAX {
        return Ok(Kept::Text(text));
    }
    // The effect was done: what cannot be recorded of it must not look as if nothing had happened.
    let stored = work.put_blob(text.into()).await;
    stored.map(Kept::Blob).map_err(|failure| Failure::ambiguous("effect-unrecorded", failure.to_string()))
}
