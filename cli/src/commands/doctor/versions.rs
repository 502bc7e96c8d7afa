//! Checks which host runs which version of the settings that change while the system runs.

use actors_logic::settings::{State, fold};
use bus_client::Bus;
use bus_schemas::commands::settings::Command;
use bus_schemas::settings::{Limits, Setting};
use bus_schemas::wire::WireCommand;
use bus_schemas::{EntityAddress, Key, Revision, upcast};

use super::Check;
use crate::failure::Failure;

/// Checks that every live host runs the active version. Reads it from the events: a query to the entity would
/// leave a turn in its log.
pub(super) async fn check(bus: &Bus) -> Check {
    match state(bus).await {
        Err(failure) => Check::of("settings", failure),
        Ok(None) => Check::ok("settings", "every host runs the default limits"),
        Ok(Some((state, living))) => verdict(&state, &living),
    }
}

/// The hosts' settings and the names of live hosts; `None` where the settings were never changed.
async fn state(bus: &Bus) -> Result<Option<(State, Vec<String>)>, Failure> {
    let key = Key::parse(Limits::NAME).expect("a constant that is a key");
    let history = bus.history(&EntityAddress::new(Command::KIND, key), Revision(0), 0).await?;
    if history.is_empty() {
        return Ok(None);
    }
    let mut state = State::default();
    for stored in history {
        let event = upcast::read(&stored.event.event_type, stored.event.schema, &stored.event.body);
        fold(&mut state, &event.map_err(|error| Failure::of("event-unreadable", &error))?);
    }
    Ok(Some((state, bus.leases().await?.hosts)))
}

fn verdict(state: &State, living: &[String]) -> Check {
    let mut behind = Vec::new();
    for host in living {
        let said = state.hosts.get(host.as_str());
        match said {
            Some(said) if !said.problem.is_empty() => behind.push(format!("{host}: {}", said.problem)),
            said if said.map_or(0, |said| said.version) != state.active => {
                behind.push(format!("{host} runs version {}", said.map_or(0, |said| said.version)));
            }
            _ => {}
        }
    }
    let active = state.active;
    if behind.is_empty() {
        return Check::ok("settings", format!("every host runs version {active} of `limits`"));
    }
    let fix = "a host that was just started says so within seconds; else update it, or `orrery settings rollback limits`";
    Check::warn("settings", format!("version {active} of `limits` holds, but {}", behind.join("; ")), fix)
}

#[cfg(test)]
mod tests {
    use bus_schemas::Timestamp;
    use bus_schemas::events::settings::Event;

    use super::*;

    #[test]
    fn a_host_that_runs_something_else_is_named() {
        let mut state = State::default();
        let applied = |host: &str, version, problem: &str| Event::Applied {
            host: host.into(),
            version,
            problem: problem.into(),
            at: Timestamp(1),
        };
        let (reason, by) = (String::new(), String::new());
        fold(&mut state, &Event::Activated { version: 2, former: 0, reason, by, at: Timestamp(1) });
        fold(&mut state, &applied("a", 2, ""));
        let living = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(verdict(&state, &living(&["a"])).fix.is_none());
        fold(&mut state, &applied("gone", 1, ""));
        assert!(verdict(&state, &living(&["a"])).fix.is_none(), "who does not live is not asked");
        fold(&mut state, &applied("b", 2, "`/colour` is unknown here"));
        let check = verdict(&state, &living(&["a", "b", "c"]));
        assert!(check.fix.is_some() && check.detail.contains("b: `/colour`"), "{check:?}");
        assert!(check.detail.contains("c runs version 0"), "{check:?}");
    }
}
