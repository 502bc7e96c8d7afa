//! effects: a model looks into a repository with tools that read, and answers with lines that are there.

use actors_agents::Tools;
use bus_client::Profile;
use bus_schemas::commands::task::{Command, Submit};
use serde_json::{Value, json};
use system_tests::agents::small_repository;
use system_tests::models::scripted::{Act, Scripted};
use system_tests::models::{asks, models, recorded};
use system_tests::replays::{assert_same, replayed};
use system_tests::{Server, accepted, command, eventually};

use crate::tester::{ended, results};

/// A key in the form of its issuer, which is none.
const SECRET: &str = concat!("AKIA", "Q7Z3KP5ST2VX4BN6");

/// What the model says: each tool, ways out of the repository, citations good and bad, and a beginning without an end.
fn turns() -> Vec<Vec<Act>> {
    vec![
        asks(&[("list", json!({})), ("log", json!({"path": "main.py"}))]),
        asks(&[("search", json!({"text": "TODO"})), ("blame", json!({"path": "main.py"}))]),
        asks(&[("read", json!({"path": "keys.py"})), ("read", json!({"path": "../../etc/passwd"}))]),
        asks(&[
            ("read", json!({"path": "main.py", "first": 2, "count": 1})),
            ("list", json!({"path": ".git"})),
        ]),
        answers(),
        answers(),
        answers(),
        asks(&[("list", json!({}))]),
    ]
}

/// One citation that is there, and two that are not.
fn answers() -> Vec<Act> {
    let citations = json!([
        {"path": "main.py", "first": 2, "last": 2},
        {"path": "main.py", "first": 2, "last": 9},
        {"path": "gone.py", "first": 1, "last": 1}]);
    asks(&[("answer", json!({"answer": "It says hello.", "citations": citations}))])
}

/// Goal: a question about a repository is answered by a bounded conversation with tools that read, whose calls are
/// recorded, whose citations are looked up, and which can be looked at again without a model; nothing outside of the
/// repository and no secret reaches the model. Method: a scripted model that uses each tool, tries to leave the
/// repository, gives a citation that is not there, and one that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_a_repository_is_answered_with_its_lines() {
    let server = Server::start(Profile::Fast).await;
    let repo = server.directory().join("repo");
    std::fs::create_dir_all(&repo).expect("a folder");
    small_repository(&repo);
    std::fs::write(repo.join("keys.py"), format!("# two\nkey = '{SECRET}'\n")).expect("a file");
    let model = Scripted::start(turns()).await;
    let tools = Tools { models: models(&server, &[&model]), ..Tools::default() };
    let host = server.host_of("a", &tools).await;
    let bus = server.bus().await;
    let submit = async |key: &str, input: Value| {
        let submit = Submit { skill: "investigate".into(), input, ..Submit::new("What does it say?") };
        accepted(&bus, &command(key, &Command::Submit(submit))).await;
        ended(&bus, key).await
    };
    let task = submit("q", json!({"repo": repo})).await;
    assert_eq!(
        task.result,
        json!({"answer": "It says hello.", "found": true, "citations": 1, "refused": 2, "turns": 7, "tool_calls": 8}),
        "{:?}",
        task.failure
    );
    let answer = results(&bus, &task).await;
    assert_eq!(
        answer["citations"],
        json!([{"path": "main.py", "first": 2, "last": 2, "text": ["print('hello')"]}]),
        "{answer}"
    );
    assert_eq!(answer["prompts"][0]["name"], "investigate");

    let asked = model.asked();
    let told = |turn: usize, back: usize| {
        let messages = asked[turn].body["messages"].as_array().expect("messages");
        messages[messages.len() - back]["content"].as_str().expect("text").to_owned()
    };
    let system = asked[0].body["messages"][0]["content"].as_str().expect("text");
    assert!(!system.contains("What does it say?"), "a question is data: {system}");
    for (turn, back, part) in [
        (1, 2, "main.py"),
        (1, 1, "Begin"),
        (2, 2, "# TODO: more"),
        (2, 1, "Ada"),
        (3, 2, "# two"),
        (3, 1, "error"),
        (4, 2, "print('hello')"),
        (4, 1, "error"),
        (5, 1, "the file has 2 lines"),
        (6, 1, "there is no such file"),
    ] {
        assert!(told(turn, back).contains(part), "{part} in {}", told(turn, back));
    }
    let sent = asked.iter().map(|each| each.body.to_string()).collect::<String>();
    assert!(!sent.contains(SECRET) && !sent.contains("root:x:0"), "{sent}");
    eventually("a record of each call and of each look at an answer", || async {
        let steps = recorded(&bus, "q").await;
        (steps.iter().filter(|step| step.name.contains('.')).count() == 11).then_some(())
    })
    .await;

    std::fs::remove_dir_all(&repo).expect("it is there");
    assert_same(&bus, &["q"]).await;
    let (sum, compares) = replayed(&bus, "q", &tools, true).await;
    assert_eq!((sum.differ, model.asked().len()), (0, 7), "{compares:?}");

    std::fs::create_dir_all(&repo).expect("a folder");
    small_repository(&repo);
    let endless = submit("endless", json!({"repo": repo, "turns": 3})).await;
    let failure = endless.failure.expect("a failure");
    assert_eq!((failure.code.as_str(), model.asked().len()), ("conversation-too-long", 10));
    host.stop().await;
}
