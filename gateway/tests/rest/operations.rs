//! Readiness, metrics, artifacts, and how a gateway starts and stops.

use bus_client::leases::Presence;
use bus_schemas::events::task::Event;
use bus_schemas::jobs::Artifact;
use bus_schemas::{Hash, PartitionId, Timestamp};
use reqwest::Client;

use crate::get;
use crate::server::{PARTITIONS, eventually};
use crate::world::World;

/// Goal: ready means that every partition is served and the read model is there. Method: no lease,
/// one lease, all leases.
#[tokio::test]
async fn a_gateway_is_ready_when_every_partition_is_served() {
    let world = World::new().await;
    world.submit("t", "me").await;
    let gateway = world.gateway().await;
    let (status, ready) = get(&gateway.url, "/ready").await;
    assert_eq!((status, &ready["partitions"]["owned"]), (503, &0.into()), "{ready}");
    for partition in 0..PARTITIONS {
        world.bus.acquire(PartitionId(partition), "h1").await.unwrap().expect("a free lease");
    }
    let ready = eventually("readiness", async || {
        let (status, ready) = get(&gateway.url, "/ready").await;
        (status == 200).then_some(ready)
    })
    .await;
    assert_eq!(ready["partitions"]["hosts"]["h1"], PARTITIONS, "{ready}");
    assert_eq!((&ready["bus"]["profile"], &ready["bus"]["connected"]), (&"fast".into(), &true.into()));
    assert_eq!(get(&gateway.url, "/health").await.1["status"], "ok");

    let (status, document) = get(&gateway.url, "/v1/openapi.json").await;
    assert_eq!((status, document.to_string()), (200, parsed(&gateway_api::openapi::openapi()).to_string()));
    let metrics = reqwest::get(format!("{}/metrics", gateway.url)).await.unwrap().text().await.unwrap();
    for name in [
        r#"orrery_gateway_http_requests_total{method="GET",route="/health",status="200"}"#,
        "orrery_gateway_http_request_duration_seconds_bucket",
        "orrery_gateway_projection_lag_messages",
        "orrery_gateway_projection_events_total",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    gateway.stopped().await;
}

/// Goal: ready means that every partition goes on, and which one does not is named. Method: a host that has
/// all leases says of one partition that something does not go on, and takes it back.
#[tokio::test]
async fn a_partition_that_does_not_go_on_is_named() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    for partition in 0..PARTITIONS {
        world.bus.acquire(PartitionId(partition), "h1").await.unwrap().expect("a free lease");
    }
    let why = "jobs: refused".to_owned();
    let stuck = Presence { stuck: [(PartitionId(1), why.clone())].into(), ..Presence::default() };
    for (presence, wanted) in [(stuck, Some(why)), (Presence::default(), None)] {
        world.bus.renew_host("h1", &presence).await.unwrap();
        eventually("readiness", async || {
            let (status, ready) = get(&gateway.url, "/ready").await;
            let named = ready["partitions"]["stuck"]["1"].as_str().map(str::to_owned);
            let right = named == wanted && status == if wanted.is_some() { 503 } else { 200 };
            right.then_some(())
        })
        .await;
    }
    gateway.stopped().await;
}

fn parsed(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

/// Goal: an artifact comes whole, with its hash, and cannot run anything in the gateway's origin.
/// Method: a page from the blob store, again with its tag, and one whose bytes are gone.
#[tokio::test]
async fn an_artifact_is_downloaded_with_its_hash() {
    let world = World::new().await;
    let page = b"<script>alert(1)</script>";
    let hash = world.bus.put_blob(page).await.unwrap();
    let artifact = |name: &str, hash| Artifact {
        name: name.into(),
        media_type: "text/html".into(),
        hash,
        bytes: page.len() as u64,
        step: "report".into(),
    };
    world.submit("t", "me").await;
    let artifacts = vec![artifact("r\u{e9}port/1.html", hash), artifact("lost.html", Hash::of(b"lost"))];
    world.happen("t", Event::Completed { artifacts, result: 1.into(), at: Timestamp(9) }).await;
    let gateway = world.gateway().await;
    eventually("the artifact", async || {
        (get(&gateway.url, "/v1/tasks/t").await.1["state"] == "completed").then_some(())
    })
    .await;

    let url = format!("{}/v1/tasks/t/artifacts/r%C3%A9port%2F1.html?step=report", gateway.url);
    let response = reqwest::get(&url).await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "text/html");
    assert_eq!(headers["content-security-policy"], "sandbox");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["etag"], format!("\"{hash}\""));
    assert!(headers["content-disposition"].to_str().unwrap().contains("r%C3%A9port%2F1.html"));
    assert_eq!(response.bytes().await.unwrap(), page.as_slice());
    let same = Client::new().get(&url).header("if-none-match", headers["etag"].clone()).send().await.unwrap();
    assert_eq!(same.status(), 304);

    let (status, problem) = get(&gateway.url, "/v1/tasks/t/artifacts/lost.html").await;
    assert_eq!((status, &problem["code"]), (410, &"blob-missing".into()));
    let (status, problem) = get(&gateway.url, "/v1/tasks/t/artifacts/other.html").await;
    assert_eq!((status, &problem["code"]), (404, &"artifact-not-found".into()));
    gateway.stopped().await;
}

/// Goal: a port in use is an error with a code, and not a gateway. Method: two gateways, one port.
#[tokio::test]
async fn a_port_in_use_is_said_so() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let data = tempfile::tempdir().unwrap();
    let config =
        gateway::Config { listen: gateway.gateway.address, data_dir: data.path().join("made/on/the/way") };
    let error =
        gateway::serve(world.bus.clone(), config, Default::default()).await.expect_err("a taken port");
    assert_eq!(error.code(), "http-port-in-use");
    assert!(error.to_string().contains(&gateway.gateway.address.to_string()) && !error.hint().is_empty());
    gateway.stopped().await;
}

/// Goal: a gateway outlives its NATS server, says so meanwhile, and misses nothing. Method: kill the
/// server, ask, start it again, publish.
#[tokio::test]
async fn a_gateway_outlives_its_server() {
    let mut world = World::new().await;
    world.submit("before", "me").await;
    let gateway = world.gateway().await;
    let shown = async |id: &str| {
        let (status, _) = get(&gateway.url, &format!("/v1/tasks/{id}")).await;
        (status == 200).then_some(())
    };
    eventually("the first task", async || shown("before").await).await;
    world.server.kill();
    eventually("a gateway that is not ready", async || {
        let (_, ready) = get(&gateway.url, "/ready").await;
        (ready["bus"]["connected"] == false).then_some(())
    })
    .await;
    // What is known is still shown; what is not known is not denied.
    assert_eq!(get(&gateway.url, "/v1/tasks/before").await.0, 200);
    eventually("an honest answer", async || {
        let (status, problem) = get(&gateway.url, "/v1/tasks/after").await;
        (status == 503 && problem["code"] == "read-model-behind").then_some(())
    })
    .await;
    world.server.restart();
    eventually("the connection", async || world.bus.events_state().await.ok()).await;
    world.submit("after", "me").await;
    eventually("the second task", async || shown("after").await).await;
    gateway.stopped().await;
}
