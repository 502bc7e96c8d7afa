//! history: what a run of many tool calls stores, so that nobody pays for a long conversation with each of its turns.
//!
//! A model that is played asks for one tool call in each turn. At every hundredth call the conversation waits until its
//! steps so far are in the event stream, and the bytes of logs, events and blobs are counted.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actors_models::{
    Call, Chunk, Completion, Conversation, Embeddings, Fault, Kind, Message, ModelProvider, Models, Tool,
    ToolCall, Usage,
};
use actors_worker::{Agent, Done, Failure, Work};
use bus_client::Bus;
use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::task::{Command as Task, Submit};
use bus_schemas::topology::Store;
use bus_schemas::{EntityAddress, Revision};
use futures::future::BoxFuture;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::bench::{Measured, Options};
use crate::error::Error;
use crate::installation::{Installation, LOOK, SETTLE_DEADLINE, late};
use crate::report::{Figures, round};
use crate::tasks::Tasks;
use crate::workers::{Workers, card};

/// Tool calls of the run, and between two counts.
const CALLS: usize = 1_000;
const WINDOW: usize = 100;
/// Bytes of what each tool call gives.
const RESULT_BYTES: usize = 1_024;
/// How long a window may take.
const DEADLINE: Duration = Duration::from_secs(300);
/// The type of the event that records a step.
const RECORDED: &str = "step-recorded";
/// The name of the agent and of its skill.
const AGENT: &str = "bench-history";

/// Whoever waits at a window's end, and goes on once the sender is dropped.
type Waits = mpsc::Sender<mpsc::Sender<()>>;

/// A model that asks for one more tool call until there were enough.
struct Played {
    waits: Waits,
}

impl ModelProvider for Played {
    fn complete<'a>(
        &'a self,
        call: &'a Call,
        _: &'a mut (dyn FnMut(Chunk) + Send),
    ) -> BoxFuture<'a, Result<Completion, Fault>> {
        Box::pin(async move {
            let done = call.messages.iter().filter(|message| matches!(message, Message::Tool { .. })).count();
            if done.is_multiple_of(WINDOW) {
                let (hold, mut released) = mpsc::channel(1);
                // Nobody counts any more when the benchmark has failed.
                if self.waits.send(hold).await.is_ok() {
                    released.recv().await;
                }
            }
            let usage = Usage { input: 1, cached: 0, output: 1 };
            let text = format!("{done:05}");
            let arguments = json!({ "number": text });
            let call = ToolCall { id: format!("call-{text}"), name: "look".to_owned(), arguments };
            let tool_calls = if done < CALLS { vec![call] } else { Vec::new() };
            Ok(Completion { text, tool_calls, usage, model: AGENT.to_owned() })
        })
    }

    fn embed<'a>(&'a self, _: &'a str, _: &'a [String]) -> BoxFuture<'a, Result<Embeddings, Fault>> {
        Box::pin(async { Err(Fault::new(Kind::InvalidCall, "a conversation has no text to embed")) })
    }
}

/// An agent that has a conversation.
struct Talker {
    models: Arc<Models>,
    /// The task, once it runs.
    task: Arc<OnceLock<EntityAddress>>,
}

impl Agent for Talker {
    fn card(&self) -> AgentCard {
        card(AGENT, "has a conversation")
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let models = Arc::clone(&self.models);
        self.task.get_or_init(|| work.job.task.clone());
        Box::pin(async move {
            let parameters = json!({
                "type": "object",
                "properties": {"number": {"type": "string"}},
                "required": ["number"],
            });
            let look = Tool { name: "look".to_owned(), description: "looks".to_owned(), parameters };
            let conversation = Conversation::new("history", vec![Message::user("look around")], Vec::new())
                .turns(u32::try_from(CALLS).unwrap_or(u32::MAX) + 1)
                .reads(look, |arguments| async move {
                    let number = arguments["number"].as_str().unwrap_or_default().to_owned();
                    Ok(number.repeat(RESULT_BYTES / 5).into())
                });
            conversation.run(&work, &models).await.map(|_| Done::default())
        })
    }
}

/// Counts the bytes of each window of a run.
pub(crate) async fn run(installation: &Installation, options: &Options) -> Result<Measured, Error> {
    let running = installation.host(false).await?;
    let (bus, client) = (installation.bus().await?, installation.client().await?);
    let (waits, mut waiting) = mpsc::channel(1);
    let models = Arc::new(Models::played(AGENT, Box::new(Played { waits })));
    let task = Arc::new(OnceLock::new());
    let talker = Arc::new(Talker { models, task: Arc::clone(&task) });
    let workers = Workers::start(installation, talker, 1, 1).await?;
    let submission = Task::Submit(Submit { skill: AGENT.into(), ..Submit::new("look around") });
    let tasks = Tasks::new(client, &bus, &submission)?;
    let count = async {
        let (mut counts, began) = (Vec::new(), Instant::now());
        while counts.len() <= CALLS / WINDOW {
            let hold = timeout(DEADLINE, waiting.recv()).await.ok().flatten();
            let _hold =
                hold.ok_or(Error::Late { what: "the next hundred calls", seconds: DEADLINE.as_secs() })?;
            let task = task.get().ok_or(Error::Late { what: "the task", seconds: 0 })?;
            // Each call is two steps: a turn, and what its tool gave.
            shown(&bus, task, counts.len() * WINDOW * 2).await?;
            counts.push(stored(&bus).await?);
            options.say(&format!("history: {} calls", (counts.len() - 1) * WINDOW));
        }
        Ok::<_, Error>((counts, began.elapsed()))
    };
    let ((counts, took), ()) = tokio::try_join!(count, tasks.one())?;
    workers.stop().await?;
    running.stop().await;
    let line = |case, from: usize, to: usize| Figures {
        case: Some(case),
        samples: Some((to - from) * WINDOW),
        bytes_per_call: Some(round((counts[to] - counts[from]) as f64 / ((to - from) * WINDOW) as f64, 1)),
        ..Figures::default()
    };
    let last = CALLS / WINDOW;
    let whole = Figures { per_s: Some(round(CALLS as f64 / took.as_secs_f64(), 1)), ..line("all", 0, last) };
    let results = vec![line("first hundred", 0, 1), line("last hundred", last - 1, last), whole];
    let notes = vec![
        "bytes of the logs, the event stream and the blob store; a snapshot of the task, which replaces the one before, is not among them",
        "each call is a turn of a model that is played, and a tool call with a result of a kilobyte",
    ];
    Ok(Measured { results, unit: "tool calls", notes })
}

/// Waits until the event stream has so many steps of a task.
async fn shown(bus: &Bus, task: &EntityAddress, steps: usize) -> Result<(), Error> {
    let deadline = Instant::now() + SETTLE_DEADLINE;
    loop {
        let events = bus.history(task, Revision(0), 0).await?;
        if events.iter().filter(|stored| stored.event.event_type == RECORDED).count() >= steps {
            return Ok(());
        }
        late(deadline, "the steps of the task")?;
        tokio::time::sleep(LOOK).await;
    }
}

/// The bytes in the logs, the event stream and the blob store.
async fn stored(bus: &Bus) -> Result<u64, Error> {
    let topology = bus.topology();
    let mut names: Vec<String> = topology.all_partitions().map(|partition| topology.log(partition)).collect();
    names.extend([topology.events(), format!("OBJ_{}", topology.objects(Store::Blobs))]);
    let mut bytes = 0;
    for name in names {
        bytes += bus.state_of(&name).await?.bytes;
    }
    Ok(bytes)
}
