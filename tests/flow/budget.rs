//! Budgets over a tree, and effects of which nobody knows how they ended: agents that spend and agents
//! that ask, against the real thing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actors_core::Entity;
use actors_logic::task::{State, Task, view};
use actors_worker::{Agent, Done, Effect, Failure, Reconciled, Work, Worker};
use bus_client::Bus;
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::commands::task::{Command, Submit, Usage};
use bus_schemas::jobs::PastEffect;
use bus_schemas::settings::Budget;
use bus_schemas::views::task::{Dimension, Task as View, TaskState};
use bus_schemas::{Key, Revision, upcast};
use futures::future::BoxFuture;
use serde_json::json;
use system_tests::agents::{planned, step, task};
use system_tests::{Installation, accepted, command, eventually, refused};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Calls of each job, what each may use at most, and what it uses.
const CALLS: u64 = 4;
const WORST: u64 = 150;
const USED: u64 = 100;

fn card(name: &str) -> AgentCard {
    let skill = Skill { id: name.into(), name: name.into(), ..Skill::default() };
    AgentCard {
        name: Key::parse(name).expect("a test's key"),
        description: "spends".into(),
        version: "1".into(),
        skills: vec![skill],
        dependencies: vec![],
    }
}

fn start(bus: &Bus, agent: Arc<dyn Agent>, capacity: usize) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let (worker, stopped) = (Worker::new(bus.clone(), agent, "w-1", capacity), stop.clone());
    (stop, tokio::spawn(async move { worker.run(stopped).await.expect("the worker ends well") }))
}

/// Makes calls that cost.
struct Spender {
    calls: Arc<AtomicU32>,
}

impl Agent for Spender {
    fn card(&self) -> AgentCard {
        card("spend")
    }
    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let calls = self.calls.clone();
        Box::pin(async move {
            for _ in 0..CALLS {
                let worst = Usage { tokens: WORST, ..Usage::default() };
                work.spend(worst, Duration::from_secs(60), |meter| {
                    calls.fetch_add(1, Ordering::SeqCst);
                    meter.add(Usage { tokens: USED, ..Usage::default() });
                    async { Ok(()) }
                })
                .await?;
            }
            Ok(Done::default())
        })
    }
}

/// The view of a task as soon as it fits.
async fn view_when(installation: &Installation, key: &str, fits: impl Fn(&View) -> bool) -> View {
    let (bus, entity) = (installation.bus(), task(key));
    eventually(&format!("what is wanted of `{key}`"), || async {
        let mut state = State::default();
        for stored in bus.history(&entity, Revision(0), 0).await.ok()? {
            let event = stored.event;
            Task::fold(&mut state, &upcast::read(&event.event_type, event.schema, &event.body).ok()?);
        }
        view(&state, &entity.key).filter(&fits)
    })
    .await
}

/// Goal: a tree uses no more than it may, however many spend at once; it asks, and goes on with more.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_spends_no_more_than_its_budget_and_asks_for_more() {
    let installation = Installation::start().await;
    let calls = Arc::new(AtomicU32::new(0));
    let (stop, worker) = start(installation.bus(), Arc::new(Spender { calls: calls.clone() }), 8);
    let steps: Vec<_> = (0..8).map(|number| step(&format!("s{number}"), "spend", &[])).collect();
    let budget = Budget { tokens: Some(1_000), ..Budget::default() };
    let submit = Submit { budget: Some(budget), ..planned(steps) };
    accepted(installation.bus(), &command("tree", &Command::Submit(submit))).await;

    let paused = view_when(&installation, "tree", |view| view.state == TaskState::InputRequired).await;
    let account = paused.budget.clone().expect("it has a budget");
    assert_eq!(account.exceeded.as_ref().map(|exceeded| exceeded.dimension), Some(Dimension::Tokens));
    assert!(account.used.tokens + account.reserved.tokens <= 1_000, "{account:?}");

    // Eight jobs begin anew, each with all of its calls.
    let question = paused.question_id.expect("it asks");
    let answer = Command::Answer { question, answer: json!(100_000) };
    accepted(installation.bus(), &command("tree", &answer)).await;
    let done = view_when(&installation, "tree", |view| view.state.is_final()).await;
    assert_eq!(done.state, TaskState::Completed, "{:?}", done.failure);
    let account = done.budget.expect("it has a budget");
    let spent = u64::from(calls.load(Ordering::SeqCst)) * USED;
    assert_eq!((account.used.tokens, account.reserved.tokens), (spent, 0), "every call is accounted for");
    stop.cancel();
    worker.await.expect("the worker does not panic");
    installation.stop().await;
}

/// Makes one call whose outcome is not heard of, and knows how to find out.
struct Sender {
    calls: Arc<AtomicU32>,
    knows: bool,
}

impl Agent for Sender {
    fn card(&self) -> AgentCard {
        card("send")
    }
    fn reconcile(&self, _work: Work, effect: PastEffect) -> BoxFuture<'static, Result<Reconciled, Failure>> {
        let found = match self.knows {
            true => Reconciled::Done(json!(format!("sent with {}", effect.key.unwrap_or_default()))),
            false => Reconciled::Unknown("the mail server does not say".into()),
        };
        Box::pin(async move { Ok(found) })
    }
    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let calls = self.calls.clone();
        Box::pin(async move {
            let effect =
                Effect::new("send").tool("mail.send", json!({ "to": "bob" })).detail("a letter to bob");
            let answer: String = work
                .effect(effect, |key| async move {
                    match calls.fetch_add(1, Ordering::SeqCst) {
                        0 => Err(Failure::ambiguous("no-answer", "the connection broke")),
                        _ => Ok(format!("sent again with {key}")),
                    }
                })
                .await?;
            Ok(Done::with(Vec::new(), json!(answer)))
        })
    }
}

/// Goal: what may have happened is not done again. Method: the agent finds out that it was done.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_knows_what_became_of_an_effect_goes_on() {
    let installation = Installation::start().await;
    let calls = Arc::new(AtomicU32::new(0));
    let agent = Sender { calls: calls.clone(), knows: true };
    let (stop, worker) = start(installation.bus(), Arc::new(agent), 1);
    let submit = Submit { skill: "send".into(), ..Submit::new("write to bob") };
    accepted(installation.bus(), &command("letter", &Command::Submit(submit))).await;
    let done = view_when(&installation, "letter", |view| view.state.is_final()).await;
    assert_eq!((done.state, calls.load(Ordering::SeqCst)), (TaskState::Completed, 1), "{:?}", done.failure);
    let result = done.result.as_str().expect("a text").to_owned();
    assert!(result.starts_with("sent with ") && result.len() > 64, "{result}");
    stop.cancel();
    worker.await.expect("the worker does not panic");
    installation.stop().await;
}

/// Goal: what nobody can find out is asked. Method: the owner says that it was not done, and it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_nobody_knows_of_waits_for_its_owner() {
    let installation = Installation::start().await;
    let calls = Arc::new(AtomicU32::new(0));
    let agent = Sender { calls: calls.clone(), knows: false };
    let (stop, worker) = start(installation.bus(), Arc::new(agent), 1);
    let submit = Submit { skill: "send".into(), ..Submit::new("write to bob") };
    accepted(installation.bus(), &command("letter", &Command::Submit(submit)).caller("ann")).await;
    let asked = view_when(&installation, "letter", |view| view.state == TaskState::InputRequired).await;
    assert!(
        asked.question.as_ref().is_some_and(|question| question.contains("connection broke")),
        "{asked:?}"
    );
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let question = asked.question_id.expect("it asks");
    let vague = Command::Answer { question, answer: json!("perhaps") };
    assert_eq!(refused(installation.bus(), &command("letter", &vague)).await, "invalid-answer");
    let answer = Command::Answer { question, answer: json!("not done") };
    accepted(installation.bus(), &command("letter", &answer)).await;
    let done = view_when(&installation, "letter", |view| view.state.is_final()).await;
    assert_eq!((done.state, calls.load(Ordering::SeqCst)), (TaskState::Completed, 2), "{:?}", done.failure);
    stop.cancel();
    worker.await.expect("the worker does not panic");
    installation.stop().await;
}
