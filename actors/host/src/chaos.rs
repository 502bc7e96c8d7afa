//! Chaos experiments: whether this process takes part, and the disturbances of its bus.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actors_runtime::supervision::{Child, Restart, Supervisor, Work};
use bus_client::disturbance::{Disturbance, Disturbances, Rule, Spared};
use bus_client::{Bus, Error, Folded, Follower, Profile, now, patiently};
use bus_schemas::chaos::{Experiments, FOR_MS_MAX, filler};
use bus_schemas::commands::chaos::{Command, Delayed, Experiment};
use bus_schemas::envelope::code;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, Caller, Key, Refusal, Timestamp};
use tokio::time::Instant;

use crate::config::Config;

/// The experiments as this process knows them.
pub(crate) struct Chaos {
    /// The connection for everything that may be disturbed.
    pub(crate) bus: Bus,
    /// Why no experiment may begin here; `None` when they are allowed.
    pub(crate) refusal: Option<Refusal>,
}

/// Follows the experiments of `host` below `supervisor`, unless its settings forbid experiments or there is
/// nothing to disturb.
pub(crate) async fn begin(
    bus: &Bus,
    config: &Config,
    host: &str,
    supervisor: Option<&Supervisor>,
) -> Result<Chaos, Error> {
    let profile = bus.profile();
    let Some(supervisor) = supervisor.filter(|_| config.chaos.allows(profile)) else {
        let message = format!("no experiments are allowed here under the profile `{profile}`");
        let hint = match profile {
            Profile::Fast => "set `chaos = true` for every host, and start it again".to_owned(),
            _ => format!("set `chaos = \"{profile}\"` for every host, and start it again"),
        };
        let refusal = Refusal::new(code::CHAOS_NOT_ALLOWED, message).hint(hint);
        return Ok(Chaos { bus: bus.clone(), refusal: Some(refusal) });
    };
    let (disturbed, conductor) = patiently("reading experiments", None, || follow(bus, host)).await?;
    let work: Work = Arc::new(move |stop| {
        let conductor = conductor.clone();
        Box::pin(async move {
            tokio::select! {
                never = conductor.run() => match never {},
                () = stop.cancelled() => Ok(()),
            }
        })
    });
    supervisor.start(Child { name: "chaos".into(), restart: Restart::Always, work });
    tracing::warn!(%profile, "experiments may disturb this process");
    Ok(Chaos { bus: disturbed, refusal: None })
}

/// A connection that the experiments of `host` disturb while the conductor [runs](Conductor::run).
pub async fn follow(bus: &Bus, host: &str) -> Result<(Bus, Conductor), Error> {
    let (experiments, follower) = bus.follow().await?;
    let filling = Body::json(&Command::Fill);
    let disturbances =
        Disturbances::sparing(Spared { kind: Command::KIND, caller: Caller::SYSTEM, filler, filling });
    let disturbed = bus.disturbed(&disturbances);
    let (host, deadlines, running) = (host.to_owned(), BTreeMap::new(), BTreeSet::new());
    let mut conductor = Conductor { host, experiments, follower, disturbances, deadlines, running };
    conductor.look();
    Ok((disturbed, conductor))
}

/// Applies the disturbances of experiments. Each ends by this process's own clock, whatever events say later.
#[derive(Debug, Clone)]
pub struct Conductor {
    host: String,
    experiments: Folded<Experiments>,
    follower: Follower<Experiments>,
    disturbances: Disturbances,
    /// When each known experiment ends here.
    deadlines: BTreeMap<Key, Instant>,
    running: BTreeSet<Key>,
}

impl Conductor {
    /// Follows the experiments for as long as it is polled.
    pub async fn run(mut self) -> Infallible {
        let follower = self.follower.clone();
        tokio::select! {
            never = follower.run() => never,
            never = self.conduct() => never,
        }
    }

    async fn conduct(&mut self) -> Infallible {
        loop {
            let (known, next) = self.look();
            let experiments = self.experiments.clone();
            let changed = experiments.until(|experiments| (*experiments != known).then_some(()));
            let end = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = end => {}
            }
        }
    }

    /// Applies the running experiments. Returns the known ones, and when the next one ends.
    fn look(&mut self) -> (Experiments, Option<Instant>) {
        let known = self.experiments.read(Experiments::clone);
        let mut rules = Vec::new();
        for (name, begun) in known.all.iter().filter(|(_, begun)| begun.ended.is_none()) {
            let ours = begun.experiment.host().is_none_or(|host| host.as_str() == self.host);
            let Some(disturbance) = disturbance(&begun.experiment).filter(|_| ours) else { continue };
            let fresh = || Instant::now() + left(now(), begun.since, begun.until);
            let until = *self.deadlines.entry(name.clone()).or_insert_with(fresh);
            if until > Instant::now() {
                rules.push(Rule { name: name.clone(), disturbance, until });
            }
        }
        let names: BTreeSet<Key> = rules.iter().map(|rule| rule.name.clone()).collect();
        for name in names.difference(&self.running) {
            tracing::warn!(experiment = %name, "an experiment begins: it {}", known.all[name].experiment);
        }
        for name in self.running.difference(&names) {
            tracing::warn!(experiment = %name, "an experiment is over");
        }
        self.running = names;
        let next = rules.iter().map(|rule| rule.until).min();
        self.disturbances.set(rules);
        (known, next)
    }
}

/// The disturbance that an experiment is for this process; `None` when an entity carries it out.
fn disturbance(experiment: &Experiment) -> Option<Disturbance> {
    Some(match experiment {
        Experiment::TripBreaker { .. } => return None,
        Experiment::DropAcks { percent, .. } => Disturbance::DropAnswers { percent: *percent },
        Experiment::Delay { by_ms, of: Delayed::Answers, .. } => {
            Disturbance::DelayAnswers(Duration::from_millis(*by_ms))
        }
        Experiment::Delay { by_ms, of: Delayed::Inbox, .. } => {
            Disturbance::DelayCommands(Duration::from_millis(*by_ms))
        }
        Experiment::FillInbox { partition, per_second: None } => Disturbance::Full(*partition),
        Experiment::FillInbox { partition, per_second: Some(per_second) } => {
            Disturbance::Fill { partition: *partition, per_second: *per_second }
        }
        Experiment::PauseHost { .. } => Disturbance::Pause,
        Experiment::KillWorker { agent, every_ms, .. } => {
            Disturbance::Kill { agent: agent.clone(), every: every_ms.map(Duration::from_millis) }
        }
    })
}

/// The remaining time of an experiment: at most its full duration, whatever the clocks of two hosts say, and
/// at most the bound of all experiments.
fn left(now: Timestamp, at: Timestamp, until: Timestamp) -> Duration {
    let whole = until.0.saturating_sub(at.0);
    Duration::from_millis(until.0.saturating_sub(now.0).min(whole).min(FOR_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_experiment_is_never_longer_than_it_was_begun_for() {
        let (at, until) = (Timestamp(1_000_000), Timestamp(1_030_000));
        assert_eq!(left(Timestamp(1_010_000), at, until), Duration::from_secs(20));
        assert_eq!(left(Timestamp(1_030_001), at, until), Duration::ZERO, "it is over");
        assert_eq!(left(Timestamp(0), at, until), Duration::from_secs(30), "this clock is late");
        let endless = left(Timestamp(1_000_000), at, Timestamp(u64::MAX));
        assert_eq!(endless, Duration::from_millis(FOR_MS_MAX));
    }
}
