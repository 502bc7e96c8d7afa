//! Claims that are none, each with its own refusal.

use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_claims_are_refused_and_say_why() {
    let server = Server::start(Profile::Fast).await;
    let running = server.host("host-1", false).await;
    let (bus, raw) = (server.bus().await, Raw::connect(&server).await);
    register(&bus, WORKER).await;
    let token = Hash::of(b"a token");
    let base = json!({ "worker": WORKER, "skills": [AGENT], "token": token, "places": 1 });
    let with = |name: &str, value: Value| {
        let mut claim = base.clone();
        claim[name] = value;
        claim.to_string()
    };
    let many: Vec<String> = (0..65).map(|number| format!("s{number}")).collect();
    for (what, agent, body, wanted) in [
        ("no place", AGENT, with("places", json!(0)), "invalid-claim"),
        ("257 places", AGENT, with("places", json!(257)), "invalid-claim"),
        ("no skill", AGENT, with("skills", json!([])), "invalid-claim"),
        ("65 skills", AGENT, with("skills", json!(many)), "invalid-claim"),
        ("an unknown skill", AGENT, with("skills", json!(["juggling"])), "unknown-skill"),
        ("an unknown worker", AGENT, with("worker", json!("nobody")), "unknown-worker"),
        ("an unknown agent", "nobody", base.to_string(), "agent-not-found"),
        ("no name", AGENT, with("worker", json!("")), "invalid-claim"),
        ("a token and not its hash", AGENT, with("token", json!("a token")), "malformed-command"),
        ("a field that is none", AGENT, with("colour", json!(1)), "malformed-command"),
        ("no JSON", AGENT, "{".to_owned(), "malformed-command"),
    ] {
        let answer = raw.request(&format!("orrery.claim.{agent}"), &[], body).await;
        assert_eq!(answer.code(), wanted, "{what}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_id_with_another_body_is_refused() {
    let server = Server::start(Profile::Fast).await;
    let running = server.host("host-1", false).await;
    let bus = server.bus().await;
    register(&bus, WORKER).await;
    let (mut first, mut second) = (connection(&bus).await, connection(&bus).await);
    let id = CommandId(Uuid::now_v7());
    first.send(id, &claim(WORKER, 1)).await;
    second.send(id, &claim(WORKER, 2)).await;
    let (first, second) = tokio::time::timeout(PATIENCE, async { tokio::join!(first.next(), second.next()) })
        .await
        .expect("both are answered");
    // Whichever arrives second is refused, and the other one waits in peace.
    let heard = [first.expect("a connection").1, second.expect("a connection").1];
    let refused: Vec<_> = heard.iter().filter(|heard| matches!(heard, Heard::Refused(_))).collect();
    assert!(
        matches!(refused[..], [Heard::Refused(refusal)] if refusal.code == "command-id-reused"),
        "{heard:?}"
    );
    assert!(heard.iter().any(|heard| matches!(heard, Heard::ComeAgain)), "{heard:?}");
    running.stop().await;
}
