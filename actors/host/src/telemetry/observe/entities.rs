//! Figures of entities: halts and experiments from their events; breakers, lanes and settings by queries to
//! those that events name.

use std::convert::Infallible;
use std::time::Duration;

use actors_runtime::look::Look;
use bus_client::{Ask, Bus, EventQuery, now};
use bus_schemas::commands::breaker::{Description as Breaker, Phase};
use bus_schemas::commands::settings::Description as Config;
use bus_schemas::commands::{breaker, chaos, halt, lane, queue, settings as documents};
use bus_schemas::halts::Scope;
use bus_schemas::settings::{Limits, Setting};
use bus_schemas::views::lane::{Lane, Limit, Part};
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, Kind, Reply, Timestamp, chain};
use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{LOOK, metric, seconds_since};

/// Timeout of a query.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause before events are followed again after an error: a restarted server is back within it.
const PAUSE: Duration = Duration::from_secs(1);

/// The kinds that are followed. All have few entities; tasks and dead letters, which are many, are counted by
/// the read models.
const KINDS: [Kind; 5] = [
    halt::Command::KIND,
    breaker::Command::KIND,
    lane::Command::KIND,
    documents::Command::KIND,
    chaos::Command::KIND,
];

/// The scopes of halts, as metric labels.
const SCOPES: [&str; 4] = ["all", "lane", "agent", "task"];

/// Follows and measures without end. `hosts` are the live hosts.
pub(super) async fn run(bus: &Bus, hosts: watch::Receiver<Vec<String>>) -> Infallible {
    loop {
        let Err(reason) = follow(bus, &hosts).await;
        tracing::debug!(reason, "observing entities; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(bus: &Bus, hosts: &watch::Receiver<Vec<String>>) -> Result<Infallible, String> {
    let failed = |error: bus_client::Error| chain(&error);
    // Before anything is loaded: events in between arrive twice, and count once.
    let from = bus.events_state().await.map_err(failed)?.last_sequence + 1;
    let mut look = Look::new(actors_logic::registry());
    for kind in &KINDS {
        look.load_all(bus, kind).await.map_err(failed)?;
    }
    let subjects = KINDS.iter().map(|kind| bus.subjects().events(Some(kind))).collect();
    let mut events = bus.events(EventQuery { subjects, from }).await.map_err(failed)?;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let hosts = hosts.borrow().clone();
                measure(&look, now());
                let keys = [breaker::Command::KIND, lane::Command::KIND, documents::Command::KIND];
                measure_asked(bus, keys.map(|kind| look.keys(&kind)), &hosts, now()).await;
            }
            stored = events.next() => match stored.ok_or("the event stream ended")? {
                Ok(stored) => look.take(bus, &stored).await.map_err(failed)?,
                // An unreadable event stops its entity, which is reported elsewhere.
                Err(error @ bus_client::Error::Event { .. }) => {
                    tracing::debug!(error = chain(&error), "an event cannot be read");
                }
                Err(error) => return Err(failed(error)),
            },
        }
    }
}

/// The answer of an entity; `None` when it does not answer in time: the next round asks again.
async fn ask<Q: Serialize, A: DeserializeOwned>(bus: &Bus, to: EntityAddress, query: &Q) -> Option<A> {
    match bus.query(&Ask::new(to, Body::json(query)), PATIENCE).await {
        Ok(Reply::Accepted { result, .. }) => serde_json::from_value(result).ok(),
        Ok(Reply::Refused { .. }) | Err(_) => None,
    }
}

/// A lane with its queues.
async fn lane_of(bus: &Bus, lane: Key) -> Option<Lane> {
    let to = EntityAddress::new(lane::Command::KIND, lane.clone());
    let mut found: Lane = ask(bus, to, &lane::Query::Describe).await?;
    for partition in found.partitions.clone() {
        let queue = queue::key(&lane, partition, bus.topology().partitions);
        let to = EntityAddress::new(queue::Command::KIND, queue);
        if let Some(part) = ask::<_, Part>(bus, to, &queue::Query::Describe).await {
            found.add(&part);
        }
    }
    Some(found)
}

/// Measures what is known from events.
fn measure(look: &Look, now: Timestamp) {
    halts(look, now);
    let experiments = look.states::<actors_logic::chaos::State>(&chaos::Command::KIND);
    let go_on = experiments.iter().filter_map(|(_, state)| state.begun.as_ref());
    let go_on = go_on.filter(|begun| begun.ended.is_none() && begun.until > now).count();
    metrics::gauge!(metric::EXPERIMENTS).set(go_on as f64);
}

/// Measures what entities answer.
async fn measure_asked(
    bus: &Bus,
    [breakers, lanes, settings]: [Vec<Key>; 3],
    hosts: &[String],
    now: Timestamp,
) {
    for dependency in breakers {
        let to = EntityAddress::new(breaker::Command::KIND, dependency.clone());
        let Some(breaker) = ask::<_, Breaker>(bus, to, &breaker::Query::Describe).await else { continue };
        let (state, since) = match breaker.phase {
            Phase::Closed => (0.0, None),
            Phase::HalfOpen => (1.0, breaker.since),
            Phase::Open => (2.0, breaker.since),
        };
        let dependency = || dependency.to_string();
        metrics::gauge!(metric::BREAKER_STATE, "dependency" => dependency()).set(state);
        metrics::gauge!(metric::BREAKER_AGE, "dependency" => dependency()).set(seconds_since(since, now));
    }
    for lane in lanes {
        let Some(found) = lane_of(bus, lane.clone()).await else { continue };
        let holds = [Limit::Held, Limit::Easing];
        let held = found.blocks.iter().any(|block| holds.contains(&block.what));
        let lane = || lane.to_string();
        metrics::gauge!(metric::LANE_WAITING, "lane" => lane()).set(found.waiting as f64);
        metrics::gauge!(metric::LANE_AGE, "lane" => lane()).set(seconds_since(found.oldest, now));
        metrics::gauge!(metric::LANE_RUNNING, "lane" => lane()).set(found.running as f64);
        metrics::gauge!(metric::LANE_HELD, "lane" => lane()).set(f64::from(u8::from(held)));
    }
    for name in settings {
        let to = EntityAddress::new(documents::Command::KIND, name.clone());
        let describe = documents::Query::Describe { version: None };
        let Some(found) = ask::<_, Config>(bus, to, &describe).await else { continue };
        metrics::gauge!(metric::CONFIG_VERSION, "name" => name.to_string()).set(found.active as f64);
        // Hosts run only this document: lanes and breakers receive theirs from the settings entity, in the
        // same record.
        if name.as_str() == Limits::NAME {
            let behind = behind(&found, hosts) as f64;
            metrics::gauge!(metric::CONFIG_BEHIND, "name" => name.to_string()).set(behind);
        }
    }
}

fn halts(look: &Look, now: Timestamp) {
    let states = look.states::<actors_logic::halt::State>(&halt::Command::KIND);
    let active = states.iter().filter_map(|(key, state)| {
        let scope = match Scope::parse(key)? {
            Scope::All => "all",
            Scope::Lane(_) => "lane",
            Scope::Agent(_) => "agent",
            Scope::Task(_) => "task",
        };
        Some((scope, state.active.as_ref()?.since))
    });
    let active: Vec<(&str, Timestamp)> = active.collect();
    for scope in SCOPES {
        let of_scope = active.iter().filter(|(found, _)| *found == scope);
        let oldest = of_scope.clone().map(|(_, since)| *since).min();
        metrics::gauge!(metric::HALTS, "scope" => scope).set(of_scope.count() as f64);
        metrics::gauge!(metric::HALT_AGE, "scope" => scope).set(seconds_since(oldest, now));
    }
}

/// The number of live hosts that do not run the active version. A host that has reported nothing runs the
/// defaults.
fn behind(settings: &Config, hosts: &[String]) -> usize {
    let runs = |host: &String| {
        let said = settings.hosts.iter().find(|said| said.host == host.as_str());
        said.map_or(settings.active == 0, |said| said.version == settings.active && said.problem.is_empty())
    };
    hosts.iter().filter(|host| !runs(host)).count()
}

#[cfg(test)]
mod tests {
    use bus_schemas::commands::settings::HostVersion;

    use super::*;

    #[test]
    fn a_host_is_behind_when_it_runs_another_version_or_could_not_apply_it() {
        let said = |host: &str, version, problem: &str| HostVersion {
            host: host.into(),
            version,
            problem: problem.into(),
            at: Timestamp(1),
        };
        let mut settings = Config {
            name: Limits::NAME.into(),
            active: 2,
            former: Some(1),
            newest: 2,
            version: 2,
            value: serde_json::Value::Null,
            proposed: None,
            hosts: vec![said("a", 2, ""), said("b", 1, ""), said("c", 2, "no such filter")],
            watchers: 0,
        };
        let hosts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(behind(&settings, &hosts(&["a"])), 0);
        assert_eq!(behind(&settings, &hosts(&["a", "b", "c", "silent"])), 3);
        settings.active = 0;
        assert_eq!(behind(&settings, &hosts(&["silent"])), 0, "who said nothing runs the defaults");
    }
}
