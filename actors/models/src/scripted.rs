//! A server that plays a model: it reads one request for each connection and answers by a script. For tests and
//! benchmarks, which call its answers scripted wherever they show them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The most bytes of a request.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

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

/// A running server. It ends when it is dropped.
pub struct Scripted {
    /// Its URL.
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// A message for each connection that the client closed while the server waited.
    pub closed: mpsc::UnboundedReceiver<()>,
    server: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Scripted {
    /// Answers the requests by these scripts, in order; the last one serves all further requests. Panics without a
    /// free port.
    pub async fn start(scripts: Vec<Vec<Act>>) -> Self {
        let script = move |number: usize, _: &Asked| scripts[usize::min(number, scripts.len() - 1)].clone();
        Self::answering(script).await.expect("a machine has a free port")
    }

    /// Answers each request by what a function makes of its number, from 0, and of the request.
    pub async fn answering(
        script: impl Fn(usize, &Asked) -> Vec<Act> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (tell, closed) = mpsc::unbounded_channel();
        let (seen, script) = (Arc::clone(&asked), Arc::new(script));
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (seen, tell, script) = (Arc::clone(&seen), tell.clone(), Arc::clone(&script));
                tokio::spawn(async move {
                    // Who sends no request gets no answer.
                    let Some(request) = read(&mut stream).await else { return };
                    let number = {
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    play(stream, script(number, &request), &tell).await;
                });
            }
        });
        Ok(Self { url, asked, closed, server })
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        if bytes.len() > REQUEST_BYTES_MAX {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        let length: usize = length.trim().parse().ok()?;
        if bytes.len() >= end + 4 + length {
            let body = serde_json::from_slice(&bytes[end + 4..end + 4 + length]).ok()?;
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            return Some(Asked { head, body });
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
                drop(stream.set_zero_linger());
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

/// A streamed answer of Chat Completions with this text. `reason` is its reason to end: `stop`, or `length` for one that
/// was cut.
pub fn chat(text: &str, reason: &str) -> Vec<Act> {
    streamed(&json!({"content": text}), reason)
}

/// A streamed answer of Chat Completions with one delta.
pub fn streamed(delta: &Value, reason: &str) -> Vec<Act> {
    let body = json!({"model": "m-1", "choices": [{"index": 0, "delta": delta}]});
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 7}});
    let frames = [body, end, usage].map(|frame| format!("data: {frame}\n\n")).concat();
    vec![
        head("200 OK", "text/event-stream", ""),
        Act::Write(format!("{frames}data: [DONE]\n\n").into_bytes()),
    ]
}
