//! Absent hosts: found before their leases expire, where the server knows that they are gone.
//!
//! A host answers on its own subject while its connection stands. When its process is killed, the server
//! reports at once that nobody is subscribed there. A frozen host stays subscribed; its leases expire by
//! themselves.
//!
//! The absence may be a fault of our own connection. So a host counts as gone only if it has answered on this
//! connection, to this server, and is missing twice in a row.

use std::collections::BTreeMap;
use std::time::Duration;

use bus_client::Bus;
use bus_client::leases::Looked;
use futures::future::join_all;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// How often the other hosts are probed.
const LOOK: Duration = Duration::from_millis(100);
/// How long a host must be missing: one that only reconnects is back sooner.
const MISSING: Duration = Duration::from_millis(200);

/// The probe results of one host.
#[derive(Debug, Default)]
struct Known {
    /// The connection on which the host last answered.
    heard_on: Option<u64>,
    /// Since when nobody is subscribed on its subject.
    missing: Option<Instant>,
}

/// The other hosts and when each was last seen.
#[derive(Debug, Default)]
pub(crate) struct Absences {
    hosts: BTreeMap<String, Known>,
    tick: Option<Interval>,
}

impl Absences {
    /// Sets the hosts to probe.
    pub(crate) fn watch<'a>(&mut self, hosts: impl Iterator<Item = &'a String>) {
        let mut before = std::mem::take(&mut self.hosts);
        for host in hosts {
            let known = before.remove(host).unwrap_or_default();
            self.hosts.entry(host.clone()).or_insert(known);
        }
    }

    /// Waits for the next host that is gone. Cancelling the wait loses at most one probe.
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
            // Answers that came while the connection changed prove nothing.
            let is_sure = bus.is_connected() && bus.connects().count() == on;
            let now = Instant::now();
            let known = self.hosts.values_mut().zip(looked);
            let gone = known.map(|(known, looked)| known.is_gone(looked, is_sure.then_some(on), now));
            // Collected first, so that each host notes its result.
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
