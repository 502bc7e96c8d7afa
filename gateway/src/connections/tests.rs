//! The bounds of connections alone: how many are accepted, and which are closed.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn peer(text: &str) -> Peer {
    Peer::of(text.parse().unwrap())
}

#[test]
fn a_client_is_an_address_or_the_network_that_it_was_given() {
    assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
    assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:2"));
    assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
}

#[test]
fn one_client_leaves_places_for_others() {
    let open = Open::default();
    let (one, two, three) = (peer("10.0.0.1"), peer("10.0.0.2"), peer("10.0.0.3"));
    let mut places: Vec<Place> = std::iter::from_fn(|| Place::take(&open, one)).collect();
    assert_eq!(places.len(), CONNECTIONS_PER_CLIENT_MAX);
    places.extend(std::iter::from_fn(|| Place::take(&open, two)));
    assert_eq!(places.len(), CONNECTIONS_MAX);
    assert!(Place::take(&open, three).is_none());
    places.truncate(1);
    assert!(Place::take(&open, three).is_some());
    assert_eq!(open.lock().unwrap().len(), 1, "who is gone is not remembered");
}

/// A connection as the server has it, and the client's end.
async fn connection() -> (Connection, TcpStream) {
    let mut door = Door::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = axum::serve::Listener::local_addr(&door).unwrap();
    let (client, (served, _)) =
        tokio::join!(TcpStream::connect(address), axum::serve::Listener::accept(&mut door));
    (served, client.unwrap())
}

/// Goal: whoever sends no whole request, or reads nothing, is sent away after a time, and nobody else is.
/// Method: the clock of the test runs ahead by itself.
#[tokio::test]
async fn who_does_not_go_on_is_sent_away() {
    let (mut served, mut client) = connection().await;
    client.write_all(b"GET / HT").await.unwrap();
    let mut head = [0; 8];
    served.read_exact(&mut head).await.unwrap();
    tokio::time::pause();
    let began = Instant::now();
    // A byte now and then is no request.
    let trickle = async {
        loop {
            tokio::time::sleep(PATIENCE / 10).await;
            client.write_all(b"x").await.unwrap();
        }
    };
    let reading = async {
        loop {
            if let Err(error) = served.read_u8().await {
                return error.kind();
            }
        }
    };
    let kind = tokio::select! {
        kind = reading => kind,
        () = trickle => unreachable!(),
    };
    assert_eq!((kind, began.elapsed() < PATIENCE + Duration::from_secs(5)), (ErrorKind::TimedOut, true));

    tokio::time::resume();
    let (mut served, _client) = connection().await;
    tokio::time::pause();
    let began = Instant::now();
    let full = async {
        loop {
            if let Err(error) = served.write_all(&[0; 64 * 1024]).await {
                return error.kind();
            }
        }
    };
    assert_eq!(full.await, ErrorKind::TimedOut, "the client reads nothing");
    assert!(began.elapsed() >= PATIENCE);

    // A connection whose request is being worked on waits as long as that takes.
    tokio::time::resume();
    let (mut served, _client) = connection().await;
    let working = Client { peer: peer("10.0.0.1"), requests: Arc::clone(&served.requests) }.working();
    tokio::time::pause();
    assert!(tokio::time::timeout(PATIENCE * 3, served.read_u8()).await.is_err());
    drop(working);
    let ended = tokio::time::timeout(PATIENCE, served.read_u8()).await.expect("it is late by now");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::TimedOut);
}
