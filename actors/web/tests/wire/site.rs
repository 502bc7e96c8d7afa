//! A server that plays a site or a search: it answers each request by what a function makes of its path.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What a site does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Writes bytes, and closes the connection.
    Bytes(Vec<u8>),
    /// Writes bytes, and then nothing more until the client goes away.
    Stuck(Vec<u8>),
    /// Writes a head, and then a body without an end.
    Endless(Vec<u8>),
}

/// A running server. It ends when it is dropped.
pub struct Site {
    /// `127.0.0.1:port`.
    pub host: String,
    asked: Arc<Mutex<Vec<(String, String)>>>,
    server: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Site {
    /// Answers each request by its path with the query, and the server's host.
    pub async fn start(reply: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a machine has a free port");
        let host = listener.local_addr().expect("it listens").to_string();
        let (asked, reply, own) = (Arc::new(Mutex::new(Vec::new())), Arc::new(reply), host.clone());
        let seen = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (seen, reply, own) = (Arc::clone(&seen), Arc::clone(&reply), own.clone());
                tokio::spawn(async move {
                    let Some((path, head)) = read(&mut stream).await else { return };
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push((path.clone(), head));
                    // A client that has seen enough goes away: that is no failure of the server.
                    play(&mut stream, reply(&path, &own)).await;
                });
            }
        });
        Self { host, asked, server }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    /// The paths that were asked for, in order, and what was sent with each.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The paths that were asked for, in order.
    pub fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|(path, _)| path).collect()
    }
}

async fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        if bytes.len() > HEAD_BYTES_MAX {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    Some((head.split(' ').nth(1)?.to_owned(), head))
}

async fn play(stream: &mut TcpStream, reply: Reply) {
    match reply {
        Reply::Bytes(bytes) => drop(stream.write_all(&bytes).await),
        Reply::Stuck(bytes) => {
            drop(stream.write_all(&bytes).await);
            drop(stream.read(&mut [0]).await);
        }
        Reply::Endless(head) => {
            let piece = [b'x'; 64 * 1024];
            let mut sent = stream.write_all(&head).await;
            while sent.is_ok() {
                sent = stream.write_all(&piece).await;
            }
        }
    }
}

/// A whole answer. `more` are header lines, each with its end.
pub fn answer(status: &str, more: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

/// A page of HTML.
pub fn page(body: &str) -> Reply {
    answer("200 OK", "content-type: text/html; charset=utf-8\r\n", body)
}
