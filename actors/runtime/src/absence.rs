//! Hosts that are gone: found before their leases have run out, where the server itself knows.
//!
//! A host answers on a subject of its own for as long as its connection stands. The server says at once that
//! nobody is subscribed there when the process was killed; a host that is frozen stays subscribed, and its
//! leases run out by themselves.
//!
//! Nobody is taken for gone of whom only our own connection could not know: it must have answered on this
//! very connection, at this very server, and be missing twice in a row.

use std::collections::BTreeMap;
use std::time::Duration;

use bus_client::Bus;
use bus_client::leases::Looked;
use futures::future::join_all;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// How often the others are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How long a host must be missing: one that only connects again is back sooner.
const MISSING: Duration = Duration::from_millis(200);

/// What is known of one host.
#[derive(Debug, Default)]
struct Known {
    /// The connection on which it answered last.
    heard_on: Option<u64>,
    /// Since when nobody is subscribed for it.
    missing: Option<Instant>,
}

/// The other hosts, and when they were last seen.
#[derive(Debug, Default)]
pub(crate) struct Absences {
    hosts: BTreeMap<String, Known>,
    tick: Option<Interval>,
}

impl Absences {
    /// Looks for these hosts from now on.
    pub(crate) fn watch<'a>(&mut self, hosts: impl Iterator<Item = &'a String>) {
        let mut before = std::mem::take(&mut self.hosts);
        for host in hosts {
            let known = before.remove(host).unwrap_or_default();
            self.hosts.entry(host.clone()).or_insert(known);
        }
    }

    /// The next host that is gone. Whoever stops waiting loses nothing but a look.
    pub(crate) async fn next(&mut self, bus: &Bus) -> String {
        loop {
            let tick = self.tick.get_or_insert_with(|| {
                let mut tick = tokio::time::interval(LOOK);
                tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                tick
            });
            tick.tick().await;
            let on = bus.connects().count();
            let looks = self.hosts.keys().map(|host| bus.look_for_host(host));
            let looked = join_all(looks).await;
            // What was heard while the connection changed says nothing.
            let is_sure = bus.is_connected() && bus.connects().count() == on;
            let now = Instant::now();
            let known = self.hosts.values_mut().zip(looked);
            let gone = known.map(|(known, looked)| known.is_gone(looked, is_sure.then_some(on), now));
            // All of them take notice.
            let gone: Vec<bool> = gone.collect();
            let found = self.hosts.keys().zip(gone).find(|(_, gone)| *gone).map(|(host, _)| host.clone());
            if let Some(host) = found {
                self.hosts.remove(&host);
                return host;
            }
        }
    }
}

impl Known {
    fn is_gone(&mut self, looked: Looked, on: Option<u64>, now: Instant) -> bool {
        match looked {
            Looked::Here => *self = Self { heard_on: on, missing: None },
            Looked::Elsewhere => *self = Self::default(),
            Looked::Silent => self.missing = None,
            Looked::Nobody if on.is_none() || self.heard_on != on => self.missing = None,
            Looked::Nobody => return now - *self.missing.get_or_insert(now) >= MISSING,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_gone_when_it_was_here_and_is_missing_for_a_while_on_one_connection() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut known = Known::default();
        let mut look = |looked, on, ms| known.is_gone(looked, on, at(ms));
        for ms in [0, 100, 400] {
            assert!(!look(Looked::Nobody, Some(1), ms), "it was never here");
        }
        assert!(!look(Looked::Here, Some(1), 500));
        assert!(!look(Looked::Nobody, Some(1), 600));
        assert!(!look(Looked::Nobody, Some(1), 700));
        assert!(look(Looked::Nobody, Some(1), 800));
        assert!(!look(Looked::Here, Some(1), 900), "it is back");
        assert!(!look(Looked::Nobody, Some(1), 1_000));
        assert!(!look(Looked::Silent, Some(1), 1_100), "it does not answer, and its connection stands");
        assert!(!look(Looked::Nobody, Some(1), 1_250));
        for ms in [1_300, 1_500, 2_000] {
            assert!(!look(Looked::Nobody, Some(2), ms), "our own connection was lost in between");
        }
        assert!(!look(Looked::Here, Some(2), 2_100));
        assert!(!look(Looked::Nobody, None, 2_200), "our connection does not stand");
        assert!(!look(Looked::Nobody, Some(2), 2_500));
        assert!(look(Looked::Nobody, Some(2), 2_700));
        assert!(!look(Looked::Here, Some(2), 2_800));
        assert!(!look(Looked::Elsewhere, Some(2), 2_900), "it changed its server");
        assert!(!look(Looked::Nobody, Some(2), 3_000));
        assert!(!look(Looked::Nobody, Some(2), 3_500), "which may be parted from ours");
    }
}
