//! REST: the routes, and what all of them share.
//!
//! A handler parses, then sends one command or reads one view, then renders. Every error is a
//! `application/problem+json` with a code that has an entry in `docs/errors/`.

pub mod problem;

mod ask;
mod cursor;
mod extract;
mod layer;

mod agents;
mod approvals;
mod artifacts;
mod breakers;
mod changes;
mod commands;
mod dead_letters;
mod events;
mod halts;
mod healer;
mod lanes;
mod operations;
mod pages;
mod recent;
mod redrives;
pub mod renewals;
mod schedules;
mod settings;
mod silent;
mod tasks;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use bus_client::Bus;
use gateway_api::{Endpoint, Method, code, routes};
use tokio_util::sync::CancellationToken;

use crate::heard::Heard;
use crate::projections::Projections;
use problem::Problem;

/// The largest body of a request: the default limit of a NATS message.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What every handler may use.
pub struct Edge {
    bus: Bus,
    projections: Projections,
    stop: CancellationToken,
    /// Whether only this machine can reach the gateway: then only its own names are valid in `Host`.
    loopback: bool,
    streams: Arc<events::slots::Slots>,
    /// Tasks that were changed through this gateway a moment ago.
    recent: recent::Recent,
    /// When hosts last heard of workers.
    heard: Heard,
    /// When hosts were last seen to renew their leases.
    renewals: renewals::Renewals,
}

impl Edge {
    /// Connects the parts of a gateway.
    pub fn new(
        bus: Bus,
        projections: Projections,
        heard: Heard,
        renewals: renewals::Renewals,
        stop: CancellationToken,
        address: SocketAddr,
    ) -> Self {
        Self {
            bus,
            projections,
            heard,
            renewals,
            stop,
            loopback: address.ip().is_loopback(),
            streams: Arc::default(),
            recent: recent::Recent::default(),
        }
    }
}

/// All routes, each with the endpoint that it serves.
pub fn router(edge: Arc<Edge>) -> Router {
    of_work()
        .on(routes::ListDeadLetters, dead_letters::list)
        .on(routes::ExportDeadLetters, dead_letters::export::export)
        .on(routes::ShowDeadLetter, dead_letters::show)
        .on(routes::EditDeadLetter, dead_letters::edit)
        .on(routes::RedriveDeadLetter, dead_letters::redrive)
        .on(routes::DropDeadLetter, dead_letters::give_up)
        .on(routes::ListRedrives, redrives::list)
        .on(routes::StartRedrive, redrives::create)
        .on(routes::ShowRedrive, redrives::show)
        .on(routes::PauseRedrive, redrives::pause)
        .on(routes::ResumeRedrive, redrives::resume)
        .on(routes::CancelRedrive, redrives::cancel)
        .on(routes::ListSettings, settings::list)
        .on(routes::ShowSettings, settings::show)
        .on(routes::ProposeSettings, settings::propose)
        .on(routes::ActivateSettings, settings::activate)
        .on(routes::RollBackSettings, settings::rollback)
        .on(routes::ShowSettingsHistory, settings::history)
        .on(routes::ListHalts, halts::list)
        .on(routes::Halt, halts::create)
        .on(routes::ResumeHalt, halts::resume)
        .on(routes::ReleaseEntity, healer::release)
        .on(routes::ListLanes, lanes::list)
        .on(routes::ShowLane, lanes::show)
        .on(routes::ChangeLane, lanes::change)
        .on(routes::PauseLane, lanes::pause)
        .on(routes::ResumeLane, lanes::resume)
        .on(routes::ListBreakers, breakers::list)
        .on(routes::ShowBreaker, breakers::show)
        .on(routes::TripBreaker, breakers::trip)
        .on(routes::ResetBreaker, breakers::reset)
        .on(routes::Openapi, operations::openapi)
        .on(routes::ExplainError, pages::show)
        .on(routes::Ready, operations::ready)
        .on(routes::Health, operations::health)
        .on(routes::Metrics, operations::metrics)
        .complete()
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(edge.clone(), layer::around))
        .with_state(edge)
}

/// The routes of what does work: tasks, agents, schedules, and what people approve.
fn of_work() -> Routes<Arc<Edge>> {
    Routes::default()
        .on(routes::ListTasks, tasks::list)
        .on(routes::SubmitTask, tasks::create)
        .on(routes::ShowTask, tasks::show)
        .on(routes::CancelTask, tasks::cancel)
        .on(routes::RetryTask, tasks::retry)
        .on(routes::ForkTask, tasks::fork)
        .on(routes::AnswerTask, tasks::answer)
        .on(routes::ExtendBudget, tasks::extend_budget)
        .on(routes::ExplainTask, tasks::why)
        .on(routes::DownloadArtifact, artifacts::download)
        .on(routes::StreamTaskEvents, events::stream)
        .on(routes::ShowCommand, commands::show)
        .on(routes::ListEvents, events::tail::list)
        .on(routes::ListAgents, agents::list)
        .on(routes::ShowAgent, agents::show)
        .on(routes::LoadAgent, agents::load)
        .on(routes::UnloadAgent, agents::unload)
        .on(routes::CheckManifest, agents::check)
        .on(routes::ListSchedules, schedules::list)
        .on(routes::ShowSchedule, schedules::show)
        .on(routes::PutSchedule, schedules::create)
        .on(routes::DeleteSchedule, schedules::delete)
        .on(routes::PauseSchedule, schedules::pause)
        .on(routes::ResumeSchedule, schedules::resume)
        .on(routes::ListApprovals, approvals::list)
        .on(routes::ShowApproval, approvals::show)
        .on(routes::ApproveCalls, approvals::approve)
        .on(routes::RejectCalls, approvals::reject)
        .on(routes::CancelApproval, approvals::cancel)
        .on(routes::ListChanges, changes::list)
        .on(routes::ShowChange, changes::show)
        .on(routes::ScheduleChange, changes::schedule)
        .on(routes::CancelChange, changes::cancel)
}

/// Routes, and whether every endpoint is served.
struct Routes<S> {
    router: Router<S>,
    served: BTreeSet<(&'static str, &'static str)>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self { router: Router::new(), served: BTreeSet::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Serves an endpoint.
    fn on<E: Endpoint, T: 'static>(mut self, _: E, handler: impl Handler<T, S>) -> Self {
        let method = match E::METHOD {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Patch => MethodFilter::PATCH,
            Method::Delete => MethodFilter::DELETE,
        };
        self.served.insert((E::METHOD.as_str(), E::PATH));
        self.router = self.router.route(E::PATH, on(method, handler));
        self
    }

    /// The router of the whole interface.
    fn complete(self) -> Router<S> {
        let missing =
            routes::ALL.iter().find(|route| !self.served.contains(&(route.method.as_str(), route.path)));
        assert!(missing.is_none(), "nobody serves {missing:?}");
        self.done()
    }

    /// The router, which answers every other path with a problem.
    fn done(self) -> Router<S> {
        self.router.fallback(no_route).method_not_allowed_fallback(no_method)
    }
}

/// The routes for monitoring only.
pub fn monitoring() -> Router {
    Routes::default().on(routes::Health, operations::health).on(routes::Metrics, operations::metrics).done()
}

async fn no_route() -> Problem {
    Problem::new(code::ROUTE_NOT_FOUND, "no resource at this path")
        .hint("`/v1/openapi.json` lists every path")
}

async fn no_method() -> Problem {
    Problem::new(code::METHOD_NOT_ALLOWED, "this path does not support this method")
        .hint("the `Allow` header and `/v1/openapi.json` list the methods")
}
