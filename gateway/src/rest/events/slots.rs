//! How many event streams may be open at once: in all, and for each client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_api::code;
use tokio_util::sync::CancellationToken;

use crate::connections::Peer;
use crate::metric;
use crate::rest::problem::Problem;

/// Streams at once: each is a consumer of the event stream (with output another one), and a stream has at
/// most 1,000 consumers by default, which all gateways share.
const STREAMS_MAX: usize = 200;
/// Streams of one client: half, so that no client keeps all others out.
const STREAMS_PER_CLIENT_MAX: usize = STREAMS_MAX / 2;
/// How long a stream is guaranteed. When all places are taken, the oldest stream of the client with the most
/// streams ends after it: that client reconnects with its last event and loses nothing, and one that reads
/// nothing does not reconnect.
const LENT: Duration = Duration::from_secs(30);

/// The open streams.
#[derive(Debug, Default)]
pub struct Slots {
    open: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    last: u64,
    /// By number: the oldest first.
    streams: BTreeMap<u64, Stream>,
}

#[derive(Debug)]
struct Stream {
    peer: Peer,
    since: Instant,
    end: CancellationToken,
}

/// The place of an open stream.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    number: u64,
    /// Cancelled when another stream needs the place.
    pub end: CancellationToken,
}

impl Slots {
    /// Takes a place for a client's stream.
    pub fn take(self: &Arc<Self>, peer: Peer, now: Instant) -> Result<Slot, Problem> {
        let mut opened = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: BTreeMap<Peer, usize> = BTreeMap::new();
        for stream in opened.streams.values() {
            *counts.entry(stream.peer).or_default() += 1;
        }
        let is_full = opened.streams.len() >= STREAMS_MAX;
        let gives = match counts.get(&peer) {
            Some(own) if *own >= STREAMS_PER_CLIENT_MAX => Some(peer),
            _ if is_full => counts.into_iter().max_by_key(|(_, count)| *count).map(|(peer, _)| peer),
            _ => None,
        };
        if let Some(gives) = gives {
            let oldest = opened.streams.iter().find(|(_, stream)| stream.peer == gives);
            let ends = oldest.filter(|(_, stream)| now.duration_since(stream.since) >= LENT);
            let Some(number) = ends.map(|(number, _)| *number) else { return Err(too_many(is_full)) };
            if let Some(stream) = opened.streams.remove(&number) {
                stream.end.cancel();
            }
        }
        opened.last += 1;
        let (number, end) = (opened.last, CancellationToken::new());
        opened.streams.insert(number, Stream { peer, since: now, end: end.clone() });
        metrics::gauge!(metric::STREAMS).increment(1.0);
        Ok(Slot { slots: Arc::clone(self), number, end })
    }
}

fn too_many(is_full: bool) -> Problem {
    let detail = match is_full {
        true => format!("{STREAMS_MAX} event streams are open"),
        false => format!("this client has {STREAMS_PER_CLIENT_MAX} event streams open"),
    };
    Problem::new(code::TOO_MANY_STREAMS, detail)
        .hint("close streams that nobody reads, or ask another gateway")
        .retryable()
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.open.lock().unwrap_or_else(PoisonError::into_inner).streams.remove(&self.number);
        metrics::gauge!(metric::STREAMS).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> Peer {
        Peer::of([10, 0, 0, number].into())
    }

    #[test]
    fn a_client_has_half_of_the_places_and_gives_its_oldest_back_after_a_time() {
        let (slots, now) = (Arc::<Slots>::default(), Instant::now());
        let take = |number, now| slots.take(peer(number), now);
        let mut ones: Vec<Slot> = (0..STREAMS_PER_CLIENT_MAX).map(|_| take(1, now).unwrap()).collect();
        assert_eq!(take(1, now).unwrap_err().code, "too-many-streams");
        // Another client finds room, until all places are taken.
        let mut twos: Vec<Slot> = (0..STREAMS_PER_CLIENT_MAX - 1).map(|_| take(2, now).unwrap()).collect();
        let _three = take(3, now).unwrap();
        assert_eq!(take(4, now).unwrap_err().code, "too-many-streams");
        // Later the client with the most streams makes room for others, and its own oldest stream for itself.
        let later = now + LENT;
        let _four = take(4, later).unwrap();
        assert!(ones[0].end.is_cancelled() && !ones[1].end.is_cancelled());
        let _five = take(2, later).unwrap();
        assert_eq!(ones.iter().chain(&twos).filter(|slot| slot.end.is_cancelled()).count(), 2);
        // A stream that ends by itself frees its place at once.
        ones.pop();
        assert!(take(5, now).is_ok());
        twos.clear();
        assert!(take(6, now).is_ok());
    }
}
