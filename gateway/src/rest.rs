//! REST: routes, and what all of them share.
//!
//! A handler parses, then sends one command or reads one view, then renders. Every error is a
//! `application/problem+json` with a code that has a page in `docs/errors/`.

pub mod problem;

mod ask;
mod cursor;
mod extract;
mod layer;

mod agents;
mod artifacts;
mod breakers;
mod config;
mod dead;
mod events;
mod halts;
mod lanes;
mod operations;
mod pages;
mod recent;
mod renewals;
mod schedules;
mod silent;
mod tasks;

pub mod openapi;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use bus_client::Bus;
use tokio_util::sync::CancellationToken;

use crate::heard::Heard;
use crate::projections::Projections;
use dead::redrives;
use problem::{Problem, code};

/// The largest body that a request may have: what one NATS message holds by default.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What every handler may use.
pub struct Edge {
    bus: Bus,
    projections: Projections,
    stop: CancellationToken,
    /// Whether only this machine can reach us: then only its own names are good for a `Host`.
    loopback: bool,
    streams: Arc<events::slots::Slots>,
    /// Tasks that were changed through this gateway a moment ago.
    recent: recent::Recent,
    /// When hosts heard of workers.
    heard: Heard,
    /// When hosts were seen to renew their leases.
    renewals: renewals::Renewals,
}

impl Edge {
    /// Wires a gateway.
    pub fn new(
        bus: Bus,
        projections: Projections,
        heard: Heard,
        (stop, address): (CancellationToken, SocketAddr),
    ) -> Self {
        Self {
            bus,
            projections,
            heard,
            stop,
            loopback: address.ip().is_loopback(),
            streams: Arc::default(),
            recent: recent::Recent::default(),
            renewals: renewals::Renewals::default(),
        }
    }
}

/// All routes.
pub fn router(edge: Arc<Edge>) -> Router {
    Router::new()
        .route("/v1/tasks", get(tasks::list).post(tasks::create))
        .route("/v1/tasks/{id}", get(tasks::show))
        .route("/v1/tasks/{id}/cancel", post(tasks::cancel))
        .route("/v1/tasks/{id}/retry", post(tasks::retry))
        .route("/v1/tasks/{id}/input", post(tasks::input))
        .route("/v1/tasks/{id}/budget", post(tasks::extend))
        .route("/v1/tasks/{id}/why", get(tasks::why))
        .route("/v1/tasks/{id}/artifacts/{name}", get(artifacts::download))
        .route("/v1/tasks/{id}/events", get(events::stream))
        .route("/v1/agents", get(agents::list))
        .route("/v1/schedules", get(schedules::list))
        .route("/v1/schedules/{name}", put(schedules::create).delete(schedules::delete))
        .route("/v1/schedules/{name}/pause", post(schedules::pause))
        .route("/v1/schedules/{name}/resume", post(schedules::resume))
        .route("/v1/dead-letters", get(dead::list))
        .route("/v1/dead-letters/export", get(dead::export::export))
        .route("/v1/dead-letters/{id}", get(dead::show))
        .route("/v1/dead-letters/{id}/payload", put(dead::edit))
        .route("/v1/dead-letters/{id}/redrive", post(dead::redrive))
        .route("/v1/dead-letters/{id}/drop", post(dead::give_up))
        .route("/v1/redrives", get(redrives::list).post(redrives::create))
        .route("/v1/redrives/{id}", get(redrives::show))
        .route("/v1/redrives/{id}/pause", post(redrives::pause))
        .route("/v1/redrives/{id}/resume", post(redrives::resume))
        .route("/v1/redrives/{id}/cancel", post(redrives::cancel))
        .route("/v1/config/{name}", get(config::show).put(config::put))
        .route("/v1/config/{name}/activate", post(config::activate))
        .route("/v1/config/{name}/rollback", post(config::rollback))
        .route("/v1/config/{name}/history", get(config::history))
        .route("/v1/halts", get(halts::list).post(halts::create))
        .route("/v1/halts/{scope}/resume", post(halts::resume))
        .route("/v1/lanes", get(lanes::list))
        .route("/v1/lanes/{lane}", get(lanes::show).patch(lanes::change))
        .route("/v1/lanes/{lane}/pause", post(lanes::pause))
        .route("/v1/lanes/{lane}/resume", post(lanes::resume))
        .route("/v1/breakers", get(breakers::list))
        .route("/v1/breakers/{dependency}", get(breakers::show))
        .route("/v1/breakers/{dependency}/trip", post(breakers::trip))
        .route("/v1/breakers/{dependency}/reset", post(breakers::reset))
        .route("/v1/openapi.json", get(operations::openapi))
        .route("/errors/{code}", get(pages::show))
        .route("/health", get(operations::health))
        .route("/ready", get(operations::ready))
        .route("/metrics", get(operations::metrics))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(edge.clone(), layer::around))
        .with_state(edge)
}

/// What monitoring asks, and nothing else.
pub fn monitoring() -> Router {
    Router::new()
        .route("/health", get(operations::health))
        .route("/metrics", get(operations::metrics))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
}

async fn no_route() -> Problem {
    Problem::new(code::ROUTE_NOT_FOUND, "there is nothing at this path")
        .hint("`/v1/openapi.json` lists every path")
}

async fn no_method() -> Problem {
    Problem::new(code::METHOD_NOT_ALLOWED, "this path does not take this method")
        .hint("the `Allow` header and `/v1/openapi.json` list the methods")
}
