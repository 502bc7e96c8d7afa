//! Starting and stopping a gateway: the read model, the listener, and their graceful end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bus_client::Bus;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::connections::{Client, Door};
use crate::gather;
use crate::heard::Heard;
use crate::projections::{self, Projections};
use crate::rest::renewals::Renewals;
use crate::rest::{self, Edge};
use crate::supervise;

/// How long requests under way may take once the gateway stops.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// The read model's file in the data directory.
const READ_MODEL: &str = "read-model.sqlite";

/// The address and the directory of a gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The directory of the read model. Gateways do not share one.
    pub data_dir: PathBuf,
}

/// Why a gateway cannot start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is in use, or not this machine's.
    #[error("listening on `{listen}`")]
    Listen { listen: SocketAddr, source: std::io::Error },
    /// The read model cannot be opened.
    #[error("opening the read model")]
    Projections(#[from] projections::Error),
    /// The server or the follower ended on its own.
    #[error("the gateway's server ended: {0}")]
    Server(String),
}

impl Error {
    /// A stable code with an entry in `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "http-port-in-use",
            Self::Projections(_) => "read-model-unusable",
            Self::Server(_) => "internal-error",
        }
    }
    /// The next step.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen { .. } => {
                "choose another address with `--http` or the setting `metrics`; port 0 picks a free one"
            }
            Self::Projections(_) => {
                "make the data directory writable, or delete `read-model.sqlite`: it is rebuilt from the log"
            }
            Self::Server(_) => "the log tells what happened before; restart the gateway",
        }
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// The address it listens on.
    pub address: SocketAddr,
    task: JoinHandle<Result<(), Error>>,
}

impl Gateway {
    /// Returns when the gateway has ended: after `stop`, or by a failure.
    pub async fn stopped(self) -> Result<(), Error> {
        self.task.await.map_err(|error| Error::Server(error.to_string()))?
    }
}

/// Starts a gateway. It ends gracefully when `stop` is cancelled: event streams end, requests under way
/// finish, and the read model is closed.
pub async fn serve(bus: Bus, config: Config, stop: CancellationToken) -> Result<Gateway, Error> {
    crate::metric::record();
    let refused = |source| Error::Listen { listen: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    // The read model outlives the listener, so that the last requests can still read it.
    let closing = CancellationToken::new();
    let (projections, follower) =
        Projections::start(bus.clone(), config.data_dir.join(READ_MODEL), closing.clone()).await?;
    let gatherer = tokio::spawn(gatherer(bus.clone(), projections.clone(), closing.clone()));
    let heard = Heard::default();
    tokio::spawn(listening(bus.clone(), heard.clone(), closing.clone()));
    let renewals = Renewals::default();
    tokio::spawn(renewing(bus.clone(), renewals.clone(), closing.clone()));
    tokio::spawn(counting(projections.clone(), closing.clone()));
    tokio::spawn(closing.clone().run_until_cancelled_owned(crate::metric::upkeep()));
    let router = rest::router(Arc::new(Edge::new(bus, projections, heard, renewals, stop.clone(), address)));
    tracing::info!(%address, "the gateway listens");
    let task = tokio::spawn(async move {
        let _close = closing.clone().drop_guard();
        let served = listen(listener, router, stop).await;
        closing.cancel();
        let gathered = gatherer.await.map_err(|error| Error::Server(error.to_string()));
        let followed = follower.await.map_err(|error| Error::Server(error.to_string()));
        served.and(gathered).and(followed)
    });
    Ok(Gateway { address, task })
}

/// Collects the entries of redrives, for as long as the read model is open.
async fn gatherer(bus: Bus, projections: Projections, closing: CancellationToken) {
    let begin = || gather::run(bus.clone(), projections.clone(), closing.clone());
    supervise::keep("gather", closing.clone(), begin).await;
}

/// Follows which workers the hosts have heard of.
async fn listening(bus: Bus, heard: Heard, closing: CancellationToken) {
    let begin = || {
        let heard = closing.clone().run_until_cancelled_owned(heard.clone().follow(bus.clone()));
        async move {
            heard.await;
        }
    };
    supervise::keep("heard", closing.clone(), begin).await;
}

/// Follows whether the hosts renew their leases.
async fn renewing(bus: Bus, renewals: Renewals, closing: CancellationToken) {
    let begin = || {
        let followed = closing.clone().run_until_cancelled_owned(renewals.clone().follow(bus.clone()));
        async move {
            followed.await;
        }
    };
    supervise::keep("renewals", closing.clone(), begin).await;
}

/// Updates the read model's figures for metrics.
async fn counting(projections: Projections, closing: CancellationToken) {
    let begin = || {
        let counted = closing.clone().run_until_cancelled_owned(projections::count::run(projections.clone()));
        async move {
            counted.await;
        }
    };
    supervise::keep("count", closing.clone(), begin).await;
}

/// Serves only `/metrics` and `/health`, for a process without a gateway, or for monitoring over another
/// network than the callers'. Ends gracefully when `stop` is cancelled.
pub async fn serve_metrics(address: SocketAddr, stop: CancellationToken) -> Result<Gateway, Error> {
    crate::metric::record();
    let refused = |source| Error::Listen { listen: address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    tokio::spawn(stop.clone().run_until_cancelled_owned(crate::metric::upkeep()));
    tracing::info!(%address, "metrics are answered");
    let task = tokio::spawn(listen(listener, rest::monitoring(), stop));
    Ok(Gateway { address, task })
}

async fn listen(listener: TcpListener, router: axum::Router, stop: CancellationToken) -> Result<(), Error> {
    let service = router.into_make_service_with_connect_info::<Client>();
    let server =
        axum::serve(Door::new(listener), service).with_graceful_shutdown(stop.clone().cancelled_owned());
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_DEADLINE).await;
    };
    tokio::select! {
        served = server.into_future() => served.map_err(|error| Error::Server(error.to_string())),
        () = deadline => {
            tracing::warn!(deadline = ?STOP_DEADLINE, "requests were still under way when the gateway stopped");
            Ok(())
        }
    }
}
