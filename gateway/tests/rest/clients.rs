//! Clients that do not go on: they are sent away, and the others are served.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::get;
use crate::world::World;

/// What a client hears that sends `head`, and then a byte of `rest` now and then, and when its connection ends.
async fn slow(address: std::net::SocketAddr, head: String, rest: char) -> (String, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    let (mut reader, mut writer) = stream.split();
    let trickle = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if writer.write_all(rest.to_string().as_bytes()).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut heard = Vec::new();
    let hear = async {
        // An end without a word and one by a reset are both an end.
        reader.read_to_end(&mut heard).await.ok();
    };
    tokio::select! {
        () = hear => {}
        () = trickle => {}
    }
    (String::from_utf8_lossy(&heard).into_owned(), began.elapsed())
}

/// Goal: whoever never ends a request is sent away within 45 seconds, a slow body with a word, and others are
/// served meanwhile. Method: many of each at once.
#[tokio::test]
async fn slow_senders_are_sent_away() {
    let world = World::new().await;
    world.submit("t", "me").await;
    let gateway = world.gateway().await;
    let address = gateway.gateway.address;
    let head = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nX-Slow: ");
    let body = format!(
        "POST /v1/tasks HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{{"
    );
    let heads = futures::future::join_all((0..100).map(|_| slow(address, head.clone(), 'x')));
    let bodies = futures::future::join_all((0..100).map(|_| slow(address, body.clone(), ' ')));
    let silent = slow(address, String::new(), 'G');
    let served = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(get(&gateway.url, "/health").await.0, 200);
        }
    };
    let (heads, bodies, silent, ()) = tokio::join!(heads, bodies, silent, served);
    for (heard, took) in heads.iter().chain([&silent]) {
        assert!(!heard.contains("200 OK") && *took < Duration::from_secs(45), "{took:?}: {heard}");
    }
    for (heard, took) in &bodies {
        assert!(heard.contains("body-too-slow") && *took < Duration::from_secs(45), "{took:?}: {heard}");
    }
    gateway.stopped().await;
}
