//! Forks: a task that went wrong goes on as another one, from before that.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actors_worker::{Agent, Agents, Done, Effect, Failure, Work, Worker};
use bus_client::{Bus, Profile};
use bus_schemas::Revision;
use bus_schemas::commands::agent::{AgentCard, Skill};
use bus_schemas::commands::task::{Command, Submit};
use bus_schemas::events::task::Event;
use futures::future::BoxFuture;
use orrery_storage::archive::Archive;
use orrery_storage::replay::effects::{Request, Verdict};
use orrery_storage::replay::{effects, redecide};
use serde_json::json;
use system_tests::agents::{lines, settled, task};
use system_tests::edge::Edge;
use system_tests::{Server, accepted, command};
use tokio_util::sync::CancellationToken;

/// Does three steps, with an effect between them. Each is a line in the file that is the goal; the third is as good as
/// the oven.
struct Baker;

impl Agent for Baker {
    fn card(&self) -> AgentCard {
        let skill = Skill { id: "bake".into(), name: "bake".into(), ..Skill::default() };
        AgentCard {
            name: bus_schemas::Key::parse("baker").expect("a constant"),
            description: "bakes".into(),
            version: "1".into(),
            skills: vec![skill],
            dependencies: vec![],
        }
    }
    fn run(&self, work: Work) -> BoxFuture<'static, Result<Done, Failure>> {
        Box::pin(async move {
            let file = PathBuf::from(&work.job.goal);
            for name in ["knead", "rest"] {
                let () = work.step(name, &(), || async { done(&file, name) }).await?;
            }
            let effect = Effect::new("pay").tool("shop", json!({"flour": 1}));
            let key: String = work
                .effect(effect, |key| {
                    let file = file.clone();
                    async move { done(&file, "pay").map(|()| key.to_string()) }
                })
                .await?;
            let oven = file.with_extension("oven");
            let bake = || async {
                done(&file, "bake")?;
                Ok(std::fs::read_to_string(&oven).expect("an oven"))
            };
            let bread: String = work.step("bake", &(), bake).await?;
            Ok(Done::with(Vec::new(), json!({"bread": bread, "paid with": key})))
        })
    }
}

fn done(file: &Path, line: &str) -> Result<(), Failure> {
    use std::io::Write;
    let file = std::fs::File::options().create(true).append(true).open(file).expect("a file of the test's");
    (&file).write_all(format!("{line}\n").as_bytes()).expect("a file of the test's");
    Ok(())
}

/// The events of a task: types, and all bytes.
async fn events(bus: &Bus, key: &str) -> (Vec<String>, Vec<Vec<u8>>) {
    let history = bus.history(&task(key), Revision(0), 0).await.expect("a history");
    let bytes = history.iter().map(|stored| [&stored.event.hash.0[..], &stored.event.body[..]].concat());
    let types = history.iter().map(|stored| stored.event.event_type.to_string());
    (types.collect(), bytes.collect())
}

struct Quiet;

impl orrery_storage::Progress for Quiet {
    fn begin(&self, _part: &str, _total: u64, _unit: orrery_storage::Unit) {}
    fn advance(&self, _by: u64) {}
    fn reach(&self, _done: u64) {}
    fn end(&self) {}
    fn say(&self, _sentence: &str) {}
}

async fn assert_replays(bus: &Bus, key: &str) {
    let archive = Archive::open(Path::new("no-archive")).expect("no archive");
    let own: Vec<(Arc<dyn Agent>, usize)> = vec![(Arc::new(Baker), 1)];
    let agents = Agents::from(own);
    let entity = task(key);
    let request = Request { task: &entity.key, agents: &agents, runs_steps: false };
    let mut verdicts = Vec::new();
    effects::run(bus, &archive, &request, |compare| verdicts.push(compare.verdict)).await.expect("a replay");
    assert_eq!(verdicts, [Verdict::Same], "`{key}`");
    let mut diverged = |divergence| panic!("{divergence:?}");
    let summary = redecide::run(bus, &archive, Some(&entity), &Quiet, &mut diverged).await.expect("a log");
    assert!(summary.commands > 0 && summary.diverged == 0, "`{key}`: {summary:?}");
}

/// Goal: what was done is not done again, what went wrong is, and the task that went wrong stays as it is. Method: an
/// agent whose third step gives something bad, then something good; each side effect is a line in a file.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_on_from_before_the_step_that_went_wrong() {
    let server = Server::start(Profile::Fast).await;
    let (host, bus) = (server.host("a", false).await, server.bus().await);
    let stop = CancellationToken::new();
    let (worker, stopped) = (Worker::new(bus.clone(), Arc::new(Baker), "w-1", 1), stop.clone());
    let working = tokio::spawn(async move { worker.run(stopped).await });
    let edge = Edge::start(&bus, server.directory()).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("done");
    let oven = file.with_extension("oven");
    std::fs::write(&oven, "burnt").expect("a file");
    let goal = file.to_str().expect("a plain path");
    let submit = Submit { skill: "bake".into(), ..Submit::new(goal) };
    accepted(&bus, &command("loaf", &Command::Submit(submit))).await;
    let Event::Completed { result, .. } = settled(&bus, "loaf").await else { panic!("it completes") };
    assert_eq!(result["bread"], "burnt");
    let (types, before) = events(&bus, "loaf").await;
    let effects = types.iter().filter(|name| *name == "effect-recorded").count();
    assert_eq!(
        (effects, lines(&file)),
        (3, vec!["knead".into(), "rest".into(), "pay".into(), "bake".into()])
    );
    let paid = types.iter().rposition(|name| name == "effect-recorded").expect("it paid") + 1;

    std::fs::write(&oven, "golden").expect("a file");
    let (status, view) = edge.post("/v1/tasks/loaf/fork", &json!({"at": paid})).await;
    let name = format!("loaf-at-{paid}");
    assert_eq!((status, &view["id"], &view["owner"]), (200, &json!(name), &json!("ada")), "{view}");
    let Event::Completed { result: again, .. } = settled(&bus, &name).await else { panic!("it completes") };
    assert_eq!(again, json!({"bread": "golden", "paid with": result["paid with"]}));
    assert_eq!(lines(&file)[4..], ["bake"], "only the last step ran again");
    assert_replays(&bus, &name).await;

    // Before the payment the fork pays itself, with a key of its own.
    let request = json!({"at": paid - 3, "name": "own"});
    assert_eq!(edge.post("/v1/tasks/loaf/fork", &request).await.0, 200);
    let Event::Completed { result: own, .. } = settled(&bus, "own").await else { panic!("it completes") };
    assert_ne!(own["paid with"], result["paid with"]);
    assert_eq!(lines(&file)[5..], ["pay", "bake"]);
    assert_replays(&bus, "own").await;
    // The same fork again changes nothing.
    let revisions = events(&bus, "own").await.0.len();
    assert_eq!(edge.post("/v1/tasks/loaf/fork", &request).await.0, 200);
    assert_eq!(events(&bus, "own").await.0.len(), revisions);

    for (id, body, status, code) in [
        ("loaf", json!({"at": paid - 1}), 409, "fork-effect-open"),
        ("loaf", json!({"at": 99}), 404, "revision-not-found"),
        ("loaf", json!({"at": 2, "name": "own"}), 409, "task-exists"),
        ("loaf", json!({"at": 2, "name": "own.a"}), 409, "fork-the-root"),
        ("nobody", json!({"at": 1}), 404, "task-not-found"),
    ] {
        let (found, problem) = edge.post(&format!("/v1/tasks/{id}/fork"), &body).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{body}: {problem}");
    }
    assert_eq!(events(&bus, "loaf").await.1, before, "the first one is as it was");
    assert_eq!(lines(&file).len(), 7);

    stop.cancel();
    working.await.expect("no panic").expect("the worker ends well");
    edge.stop().await;
    host.stop().await;
}
