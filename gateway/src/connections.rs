//! Incoming connections: how many a client may have, and when a stalled one is closed.
//!
//! A client that reads nothing, or never completes a request, holds a file and memory; a few hundred of them
//! would keep everybody else out. One rule ends both: something must be written to a connection at least
//! every [`PATIENCE`], except while its request is being worked on. An open event stream sends keep-alives
//! more often than that.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

/// How long nothing may be written to a connection: longer than any pause of a working client, and shorter
/// than the patience of one that finds no place.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections at once: a process usually may have 1,024 open files.
const CONNECTIONS_MAX: usize = 800;
/// Connections of one client: half, so that no client keeps all others out.
const CONNECTIONS_PER_CLIENT_MAX: usize = CONNECTIONS_MAX / 2;

/// A client, as the bounds count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer(IpAddr);

impl Peer {
    /// An IPv6 client has 2^64 addresses: it is counted by its network.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                Self(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// The client of a request.
#[derive(Debug, Clone)]
pub struct Client {
    /// The client's address, as the bounds count it.
    pub peer: Peer,
    requests: Arc<AtomicUsize>,
}

impl Client {
    /// Marks a request as being worked on, until the result is dropped.
    pub fn working(&self) -> Working {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Working(Arc::clone(&self.requests))
    }
}

/// A request that is being worked on.
#[derive(Debug)]
pub struct Working(Arc<AtomicUsize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connected<IncomingStream<'_, Door>> for Client {
    fn connect_info(incoming: IncomingStream<'_, Door>) -> Self {
        let requests = Arc::clone(&incoming.io().requests);
        Self { peer: Peer::of(incoming.remote_addr().ip()), requests }
    }
}

/// The number of connections by client.
type Open = Arc<Mutex<HashMap<Peer, usize>>>;

/// Accepts connections.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    open: Open,
}

impl Door {
    /// Accepts the connections of `listener`.
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, open: Open::default() }
    }
}

impl axum::serve::Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
            let Some(place) = Place::take(&self.open, Peer::of(address.ip())) else {
                // Closed without an answer: writing one could block on the client.
                tracing::debug!(%address, "a client has too many connections");
                continue;
            };
            // Responses and events are small; waiting to fill a packet only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "setting TCP_NODELAY");
            }
            let (requests, late) = (Arc::default(), Box::pin(tokio::time::sleep(PATIENCE)));
            return (Connection { stream, requests, late, _place: place }, address);
        }
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One of a client's connections.
#[derive(Debug)]
struct Place {
    open: Open,
    peer: Peer,
}

impl Place {
    fn take(open: &Open, peer: Peer) -> Option<Self> {
        let mut counts = open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let own = counts.entry(peer).or_default();
        if all >= CONNECTIONS_MAX || *own >= CONNECTIONS_PER_CLIENT_MAX {
            if *own == 0 {
                counts.remove(&peer);
            }
            return None;
        }
        *own += 1;
        Some(Self { open: Arc::clone(open), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = counts.get_mut(&self.peer) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// A connection that ends when it stalls.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    requests: Arc<AtomicUsize>,
    /// The time by which something must have been written.
    late: Pin<Box<Sleep>>,
    _place: Place,
}

impl Connection {
    fn wrote(&mut self, written: Poll<Result<usize>>, context: &mut Context<'_>) -> Poll<Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.late.as_mut().reset(Instant::now() + PATIENCE);
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending if self.late.as_mut().poll(context).is_ready() => {
                Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client reads nothing")))
            }
            other => other,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let is_late = self.late.as_mut().poll(context).is_ready();
        if is_late && self.requests.load(Ordering::Relaxed) == 0 {
            return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client sends no whole request")));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
