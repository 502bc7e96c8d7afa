//! A server that reads one request per connection and answers by a script.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// One step of an answer.
#[derive(Debug, Clone)]
pub enum Act {
    /// Writes bytes at once.
    Write(Vec<u8>),
    /// Writes bytes one by one.
    Trickle(Vec<u8>),
    /// Writes nothing until the client closes the connection.
    Wait,
    /// Ends the connection with a reset.
    Reset,
}

/// A request, as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The request line and the headers.
    pub head: String,
    /// The body.
    pub body: Value,
}

/// A running server.
pub struct Scripted {
    /// Its URL.
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// A message for each connection that the client closed while the server waited.
    pub closed: mpsc::UnboundedReceiver<()>,
}

impl Scripted {
    /// Answers the requests by these scripts, in order; the last one serves all further requests.
    pub async fn start(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (tell, closed) = mpsc::unbounded_channel();
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let script = scripts[usize::min(number, scripts.len() - 1)].clone();
                let (seen, tell) = (Arc::clone(&seen), tell.clone());
                tokio::spawn(async move {
                    let request = read(&mut stream).await;
                    seen.lock().expect("no panic").push(request);
                    play(stream, script, &tell).await;
                });
            }
        });
        Self { url, asked, closed }
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn read(stream: &mut TcpStream) -> Asked {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.expect("a request");
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let length: usize = length.trim().parse().expect("a number");
        if bytes.len() >= end + 4 + length {
            let body = serde_json::from_slice(&bytes[end + 4..end + 4 + length]).expect("JSON");
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            return Asked { head, body };
        }
    }
}

async fn play(mut stream: TcpStream, script: Vec<Act>, tell: &mpsc::UnboundedSender<()>) {
    for act in script {
        // A client that has seen enough goes away: that is no failure of the server.
        match act {
            Act::Write(bytes) => drop(stream.write_all(&bytes).await),
            Act::Trickle(bytes) => {
                for byte in bytes {
                    drop(stream.write_all(&[byte]).await);
                    tokio::task::yield_now().await;
                }
            }
            Act::Wait => {
                let mut one = [0];
                drop(stream.read(&mut one).await);
                let _ = tell.send(());
            }
            Act::Reset => {
                let socket = stream.into_std().expect("a socket");
                let socket = TcpStream::from_std(socket).expect("a socket");
                socket.set_zero_linger().expect("a socket");
                return;
            }
        }
    }
}

/// The head of a response without a length: its end is the end of the connection.
pub fn head(status: &str, media: &str, more: &str) -> Act {
    Act::Write(
        format!("HTTP/1.1 {status}\r\ncontent-type: {media}\r\nconnection: close\r\n{more}\r\n").into_bytes(),
    )
}

/// A whole response with a length.
pub fn whole(status: &str, media: &str, more: &str, body: &str) -> Vec<Act> {
    let more = format!("content-length: {}\r\n{more}", body.len());
    vec![head(status, media, &more), Act::Write(body.as_bytes().to_vec())]
}

/// Longer than anything that a test waits for on a machine that is busy.
pub const LONG: Duration = Duration::from_secs(20);
