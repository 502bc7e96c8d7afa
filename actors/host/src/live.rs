//! Settings that change while the process runs: follows `settings/limits`, applies what belongs to a host,
//! and reports the version it runs.
//!
//! A starting process first reads the active version, and then follows changes. The bounds of partitions and
//! the log filter change without a restart. A document that this program cannot read changes nothing, and the
//! report says why. A process without settings runs the defaults and reports nothing.

use std::time::Duration;

use actors_logic::settings::{State, fold};
use actors_runtime::bounds::Bounds;
use actors_runtime::supervision::{Child, Restart, Work};
use bus_client::{Ask, Bus, EventQuery, StoredEvent, Trouble};
use bus_schemas::commands::settings::Command;
use bus_schemas::events::settings::Event;
use bus_schemas::settings::{self, Limits, Mistake, Setting};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, Caller, EntityAddress, Key, Reply, Revision, chain, upcast};
use futures::StreamExt;
use smol_str::SmolStr;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::telemetry;

/// The pause before events are read anew, or a report is sent again: a restarted server is back within it,
/// and one that is gone is not asked all the time.
const PAUSE: Duration = Duration::from_secs(1);
/// A run without trouble for this long counts as well: the next failure is a new one.
const WELL: Duration = Duration::from_secs(60);
/// Timeout of a report: longer than a takeover.
const REPORT_PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a problem in a report: what the entity accepts.
const PROBLEM_BYTES_MAX: usize = 1_024;

/// Follows the settings in this process.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    bus: Bus,
    host: SmolStr,
    bounds: Bounds,
}

/// The known state of the settings, and the position in the event stream.
#[derive(Debug, Default)]
struct Known {
    state: State,
    revision: Revision,
    /// The sequence of the last event in the event stream.
    sequence: u64,
    /// The version that was applied; `None` before the first.
    applied: Option<u64>,
    /// The pending report: the version, and why it could not be applied.
    report: Option<(u64, String)>,
}

/// The worker that follows the settings.
pub(crate) fn child(bus: &Bus, host: &str, bounds: &Bounds) -> Child {
    let live = Live { bus: bus.clone(), host: SmolStr::new(host), bounds: bounds.clone() };
    let work: Work = std::sync::Arc::new(move |stop| {
        let live = live.clone();
        Box::pin(async move {
            live.run(stop).await;
            Ok(())
        })
    });
    Child { name: "settings".into(), restart: Restart::Always, work }
}

/// The entity of the hosts' settings.
fn entity() -> EntityAddress {
    let key = Key::parse(Limits::NAME).expect("a constant that is a key");
    EntityAddress::new(Command::KIND, key)
}

impl Live {
    /// Follows the settings until `stop`. Trouble with the bus is waited out: the last version applies
    /// meanwhile.
    async fn run(&self, stop: CancellationToken) {
        let trouble = || Trouble::new("following the settings, of which the last still hold,", PAUSE, PAUSE);
        let mut failing = trouble();
        loop {
            let began = Instant::now();
            let followed = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow() => followed,
            };
            // After a long run without trouble a failure has a new reason.
            if began.elapsed() > WELL {
                failing = trouble();
            }
            let pause = followed.map_or_else(|reason| failing.failed(&reason), |()| PAUSE);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads the active version, then follows events; ends with the event stream.
    async fn follow(&self) -> Result<(), String> {
        let entity = entity();
        let mut known = Known::default();
        let history = self.bus.history(&entity, Revision(0), 0).await.map_err(|error| chain(&error))?;
        for stored in history {
            known.take(&stored)?;
        }
        self.apply(&mut known);
        let subjects = vec![self.bus.subjects().event(&entity)];
        let query = EventQuery { subjects, from: known.sequence + 1 };
        let mut events = self.bus.events(query).await.map_err(|error| chain(&error))?;
        loop {
            let report = known.report.clone();
            tokio::select! {
                stored = events.next() => {
                    let stored = stored.ok_or("the event stream ended")?.map_err(|error| chain(&error))?;
                    known.take(&stored)?;
                    self.apply(&mut known);
                }
                // Dropped when something newer comes: that is reported instead.
                () = self.report(report.clone()), if report.is_some() => known.report = None,
            }
        }
    }

    /// Applies the active version, unless it is applied already.
    fn apply(&self, known: &mut Known) {
        let version = known.state.active;
        if known.applied == Some(version) {
            return;
        }
        known.applied = Some(version);
        let value = known.state.value(Limits::NAME, version).unwrap_or_default();
        let problem = match settings::read::<Limits>(&value) {
            Ok(limits) => self.run_with(&limits).err().unwrap_or_default(),
            Err(mistakes) => mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("; "),
        };
        let problem = shortened(problem);
        match problem.is_empty() {
            true if version == 0 => tracing::debug!("the default limits hold"),
            true => tracing::info!(settings = Limits::NAME, version, "settings applied"),
            false => tracing::error!(settings = Limits::NAME, version, problem, "settings not applied"),
        }
        let said = known.state.hosts.get(&self.host);
        // A host that has reported nothing runs the defaults.
        let is_news = said.map_or(version > 0 || !problem.is_empty(), |said| {
            said.version != version || said.problem != problem
        });
        known.report = is_news.then_some((version, problem));
    }

    fn run_with(&self, limits: &Limits) -> Result<(), String> {
        telemetry::log_by(limits.log_filter.as_deref())?;
        self.bounds.set(limits.inbox_queue as usize, limits.cache_entities as usize);
        Ok(())
    }

    /// Reports what this host runs, with retries until the entity has it.
    async fn report(&self, report: Option<(u64, String)>) {
        let Some((version, problem)) = report else { return };
        let command = Command::ReportApplied { host: self.host.clone(), version, problem };
        let ask = Ask::new(entity(), Body::json(&command)).caller(Caller::SYSTEM.as_str());
        loop {
            match self.bus.ask(&ask, REPORT_PATIENCE).await {
                Ok(Reply::Accepted { .. }) => return,
                Ok(Reply::Refused { refusal, .. }) if refusal.retry_after_ms.is_none() => {
                    let (code, message) = (refusal.code.as_str(), refusal.message.as_str());
                    tracing::warn!(code, message, "the report of the settings was refused");
                    return;
                }
                Ok(Reply::Refused { .. }) => {}
                Err(error) => tracing::debug!(reason = chain(&error), "reporting the settings"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Known {
    fn take(&mut self, stored: &StoredEvent) -> Result<(), String> {
        self.sequence = self.sequence.max(stored.stream_sequence);
        let event = &stored.event;
        if event.revision <= self.revision {
            return Ok(());
        }
        let read: Event =
            upcast::read(&event.event_type, event.schema, &event.body).map_err(|error| chain(&error))?;
        fold(&mut self.state, &read);
        self.revision = event.revision;
        Ok(())
    }
}

/// A text that fits the entity's bound, cut at a character.
fn shortened(mut text: String) -> String {
    if text.len() > PROBLEM_BYTES_MAX {
        let end = (0..=PROBLEM_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_long_problem_is_cut_between_letters() {
        let short = super::shortened("ä".repeat(600));
        assert_eq!((short.len(), short.chars().count()), (1_024, 512));
        assert_eq!(super::shortened("x".into()), "x");
    }
}
