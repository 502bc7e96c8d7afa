//! An agent that does what a test says, and small things that tests need of tasks.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;

use actors_worker::{Agent, Done, Effect, Failure, Reconciled, Work, Worker};
use bus_client::{Bus, EventQuery};
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::commands::task::{Command as Task, Plan, PlanStep, Submit};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::PastEffect;
use bus_schemas::wire::WireCommand;
use bus_schemas::{EntityAddress, Key, upcast};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use smol_str::SmolStr;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;

/// The skill of the [`Gate`], and its name.
pub const GATE: &str = "gate";

/// An agent whose jobs wait until the test opens the gate or the work is canceled.
pub struct Gate {
    open: watch::Sender<bool>,
    told: mpsc::UnboundedReceiver<(String, Seen)>,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

/// What a job at the gate has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The job runs.
    Started,
    /// The job was told to stop.
    Canceled,
}

struct Keeper {
    open: watch::Receiver<bool>,
    tell: mpsc::UnboundedSender<(String, Seen)>,
}

impl Agent for Keeper {
    fn card(&self) -> AgentCard {
        let skill = Skill { id: GATE.into(), name: "Gate".into(), ..Skill::default() };
        let name = Key::parse(GATE).expect("a constant");
        AgentCard {
            name,
            description: "waits".into(),
            version: "1".into(),
            skills: vec![skill],
            dependencies: vec![],
        }
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        let (mut open, tell) = (self.open.clone(), self.tell.clone());
        Box::pin(async move {
            let task = work.job.task.key.to_string();
            // A test that no longer listens has seen what it wanted.
            let _ = tell.send((task.clone(), Seen::Started));
            tokio::select! {
                _ = open.wait_for(|open| *open) => Ok(Done::default()),
                () = work.canceled().cancelled_owned() => {
                    let _ = tell.send((task, Seen::Canceled));
                    Err(Failure::canceled())
                }
            }
        })
    }
}

impl Gate {
    /// Starts a worker in front of a closed gate.
    pub fn start(bus: &Bus) -> Self {
        let (open, seen) = watch::channel(false);
        let (tell, told) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let worker = Worker::new(bus.clone(), Arc::new(Keeper { open: seen, tell }), "gate-1", 8);
        let stopped = stop.clone();
        let worker =
            tokio::spawn(async move { worker.run(stopped).await.expect("the gate's worker ends well") });
        Self { open, told, stop, worker }
    }
    /// Lets every job through, from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
    /// Waits until a task's job has seen this; what others see in the meantime is passed over.
    pub async fn until(&mut self, task: &str, wanted: Seen) {
        let waiting = async {
            while let Some((name, seen)) = self.told.recv().await {
                if name == task && seen == wanted {
                    return;
                }
            }
            panic!("the gate's worker ended");
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("`{task}` was not {wanted:?} within {PATIENCE:?}"));
    }
    /// Stops the worker in good order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.worker.await.expect("the gate's worker does not panic");
    }
}

/// An agent with an effect outside: a line in the file that is the task's goal. With the skill `enter` it can find out
/// afterwards whether the line is there; with `enter-blindly` it cannot.
pub struct Clerk;

impl Agent for Clerk {
    fn card(&self) -> AgentCard {
        let skills = ["enter", "enter-blindly"];
        let skills = skills.map(|id| Skill { id: id.into(), name: id.into(), ..Skill::default() });
        AgentCard {
            name: Key::parse("clerk").expect("a constant"),
            description: "enters lines".into(),
            version: "1".into(),
            skills: skills.into(),
            dependencies: vec![],
        }
    }

    fn reconcile(&self, work: Work, effect: PastEffect) -> BoxFuture<'static, Result<Reconciled, Failure>> {
        Box::pin(async move {
            if work.job.skill == "enter-blindly" {
                return Ok(Reconciled::Unknown("this clerk does not look at the file".to_owned()));
            }
            let (entered, key) = (lines(Path::new(&work.job.goal)), effect.key.unwrap_or_default());
            Ok(if entered.contains(&key.to_string()) {
                Reconciled::Done(key.as_str().into())
            } else {
                Reconciled::NotDone
            })
        })
    }

    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        Box::pin(async move {
            let file = PathBuf::from(&work.job.goal);
            let looks = file.with_extension("looks");
            let look = async || {
                enter(&looks, "look");
                Ok(())
            };
            let () = work.step("look", &(), look).await?;
            let entered: SmolStr = work
                .effect(Effect::new("enter"), async |key| {
                    enter(&file, &key);
                    Ok(key)
                })
                .await?;
            Ok(Done::with(Vec::new(), entered.as_str().into()))
        })
    }
}

fn enter(file: &Path, line: &str) {
    let file = std::fs::File::options().create(true).append(true).open(file).expect("a file of the test's");
    (&file).write_all(format!("{line}\n").as_bytes()).expect("a file of the test's");
}

/// The lines of a file; none when it is not there.
pub fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A task's address.
pub fn task(key: &str) -> EntityAddress {
    EntityAddress::new(Task::KIND, Key::parse(key).expect("a test's key"))
}

/// A step of a plan.
pub fn step(name: &str, skill: &str, after: &[&str]) -> PlanStep {
    PlanStep {
        step: name.into(),
        goal: format!("do {name}"),
        skill: skill.into(),
        input: serde_json::Value::Null,
        after: after.iter().map(|name| (*name).into()).collect(),
        optional: false,
    }
}

/// A submission with a plan.
pub fn planned(steps: Vec<PlanStep>) -> Submit {
    Submit { plan: Some(Plan { steps }), ..Submit::new("a plan") }
}

/// The final event of a task, once it has come.
pub async fn settled(bus: &Bus, key: &str) -> Event {
    let query = EventQuery { subjects: vec![bus.subjects().event(&task(key))], from: 0 };
    let mut events = bus.events(query).await.expect("the event stream");
    let following = async {
        while let Some(stored) = events.try_next().await.expect("an event") {
            let event = &stored.event;
            let event: Event =
                upcast::read(&event.event_type, event.schema, &event.body).expect("a known event");
            if matches!(
                event,
                Event::Completed { .. }
                    | Event::Failed { .. }
                    | Event::Canceled { .. }
                    | Event::Rejected { .. }
            ) {
                return event;
            }
        }
        panic!("the event stream ended");
    };
    let settled = tokio::time::timeout(PATIENCE, following).await;
    settled.unwrap_or_else(|_| panic!("`{key}` did not come to its end within {PATIENCE:?}"))
}

/// Makes a repository with one commit.
pub fn small_repository(directory: &Path) {
    std::fs::write(directory.join("README.md"), "# Small\n\nA small project.\n").expect("a file");
    std::fs::write(directory.join("main.py"), "# TODO: more\nprint('hello')\n").expect("a file");
    for arguments in [
        &["init", "--quiet", "--initial-branch", "main"][..],
        &["add", "."],
        &["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "--quiet", "-m", "Begin"],
    ] {
        let status = Process::new("git").arg("-C").arg(directory).args(arguments).status().expect("git");
        assert!(status.success(), "git {arguments:?}");
    }
}
