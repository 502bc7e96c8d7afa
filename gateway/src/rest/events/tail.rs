//! Events of the whole installation, as pages or as server-sent events.
//!
//! A cursor has a position for each partition that was read, so it stays valid when the stream is rebuilt
//! from the logs; it also has the position in the stream, so that nothing is read twice.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use axum::http::{HeaderMap, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bus_client::events::{Cursor, EventQuery};
use bus_client::{Error, StoredEvent};
use bus_schemas::{EntityAddress, Key, Kind, PartitionId, Timestamp, chain};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use gateway_api::code;
use gateway_api::events::{EventPage, ListEvents};

use super::feed::{sent, view};
use super::{KEEP_ALIVE, MEDIA_TYPE, TASK, answer, begin};
use crate::rest::ask::Call;
use crate::rest::extract::Query;
use crate::rest::problem::Problem;
use crate::rest::tasks::limit;

/// Bytes of bodies after which a page ends.
const PAGE_BYTES: usize = 4 << 20;

/// The position of a reader in each partition, and in the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Places {
    sequence: u64,
    last: BTreeMap<PartitionId, Cursor>,
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> = self.last.values().map(Cursor::to_string).collect();
        write!(f, "{};{}", self.sequence, places.join(","))
    }
}

impl FromStr for Places {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a cursor is `<sequence>;<partition>.<record>.<index>,…`";
        let (sequence, places) = text.split_once(';').ok_or(wrong)?;
        let mut last = BTreeMap::new();
        for place in places.split(',').filter(|place| !place.is_empty()) {
            let cursor: Cursor = place.parse()?;
            last.insert(cursor.partition, cursor);
        }
        let sequence: u64 = sequence.parse().map_err(|_| wrong)?;
        // Whoever has passed something knows the place of it.
        if last.is_empty() != (sequence == 0) { Err(wrong) } else { Ok(Self { sequence, last }) }
    }
}

impl Places {
    /// Passes an event, of which the filter may know nothing. Returns whether it is new to the reader.
    fn pass(&mut self, stored: &StoredEvent) -> bool {
        self.sequence = self.sequence.max(stored.stream_sequence);
        let last = self.last.entry(stored.cursor.partition);
        let is_new = match &last {
            std::collections::btree_map::Entry::Occupied(known) => stored.cursor > *known.get(),
            std::collections::btree_map::Entry::Vacant(_) => true,
        };
        if is_new {
            last.insert_entry(stored.cursor);
        }
        is_new
    }
}

/// The filter for events.
#[derive(Debug, Clone)]
struct Wanted {
    subjects: Vec<String>,
    r#type: Option<String>,
    since: Option<Timestamp>,
}

impl Wanted {
    fn of(call: &Call, query: &ListEvents) -> Result<Self, Problem> {
        let invalid = |reason: String| Problem::new(code::INVALID_QUERY, reason);
        let subjects = call.bus.subjects();
        let subjects = match (&query.kind, &query.tree) {
            (Some(_), Some(_)) => return Err(invalid("`kind` and `tree` exclude each other".to_owned())),
            (Some(kind), None) => {
                let kind = Kind::parse(kind).map_err(|error| invalid(error.to_string()))?;
                vec![subjects.events(Some(&kind))]
            }
            (None, Some(tree)) => {
                let key = Key::parse(tree).map_err(|error| invalid(error.to_string()))?;
                subjects.event_tree(&EntityAddress::new(TASK, key)).to_vec()
            }
            (None, None) => vec![subjects.events(None)],
        };
        Ok(Self { subjects, r#type: query.r#type.clone(), since: query.since.map(Timestamp) })
    }

    fn covers(&self, stored: &StoredEvent) -> bool {
        let is_late = || Timestamp::parse_rfc3339(&stored.time).unwrap_or_default();
        self.r#type.as_ref().is_none_or(|wanted| stored.event.event_type == *wanted)
            && self.since.is_none_or(|since| is_late() >= since)
    }
}

/// Lists events, or streams them.
pub async fn list(
    call: Call,
    Query(query): Query<ListEvents>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wanted = Wanted::of(&call, &query)?;
    let given = super::last_event_id(&headers, query.after.as_deref())?;
    let after: Option<Places> = given.map(str::parse).transpose().map_err(super::invalid)?;
    let from = from(&call, &wanted, after.as_ref()).await?;
    let places = after.unwrap_or_default();
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepts.into_iter().any(|accept| accept.contains(MEDIA_TYPE)) {
        return stream(&call, wanted, places, from).await;
    }
    let limit = usize::try_from(limit(query.limit)?).unwrap_or(usize::MAX);
    // Before the events: the page has read at least so far.
    let last = last_event(&call).await?;
    let now = EventQuery { subjects: wanted.subjects.clone(), from };
    let events = call.bus.events_until_now(now).await?.boxed();
    page(events, &wanted, places, limit, last).await.map(|page| axum::Json(page).into_response())
}

/// The last event of the stream. One that cannot be read is passed over: the cursor then stays before it.
async fn last_event(call: &Call) -> Result<Option<StoredEvent>, Problem> {
    match call.bus.newest_event().await {
        Err(Error::Event { .. }) => Ok(None),
        last => Ok(last?),
    }
}

/// Where in the stream to begin: at the reader's position, unless the stream was rebuilt since.
async fn from(call: &Call, wanted: &Wanted, after: Option<&Places>) -> Result<u64, Problem> {
    let Some(places) = after else {
        return Ok(match wanted.since {
            Some(since) => call.bus.events_before(since).await?,
            None => 0,
        });
    };
    for place in places.last.values() {
        let mark = call.bus.mark(place.partition).await?;
        let behind = if mark.partial > 0 { mark.upto.next() } else { mark.upto };
        if place.partition.0 >= call.bus.topology().partitions || place.record > behind {
            return Err(super::invalid("the cursor is behind the last event of its partition"));
        }
    }
    // The last event that was passed need not be one that the filter covers.
    let query = EventQuery { subjects: Vec::new(), from: places.sequence };
    let first = call.bus.events_until_now(query).await?.next().await.transpose()?;
    let is_there = first.is_some_and(|first| {
        first.stream_sequence == places.sequence
            && places.last.get(&first.cursor.partition) == Some(&first.cursor)
    });
    Ok(if is_there { places.sequence } else { 0 })
}

async fn page(
    mut events: BoxStream<'static, Result<StoredEvent, Error>>,
    wanted: &Wanted,
    mut places: Places,
    limit: usize,
    last: Option<StoredEvent>,
) -> Result<EventPage, Problem> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(stored) = events.next().await {
        let stored = stored?;
        if found.len() == limit || (bytes > 0 && bytes + stored.event.body.len() > PAGE_BYTES) {
            return Ok(EventPage { events: found, cursor: places.to_string(), more: true });
        }
        if places.pass(&stored) && wanted.covers(&stored) {
            bytes += stored.event.body.len();
            found.push(view(&stored));
        }
    }
    // Events that the filter left out are passed too, or the next page would begin before them.
    last.iter().for_each(|last| _ = places.pass(last));
    Ok(EventPage { events: found, cursor: places.to_string(), more: false })
}

async fn stream(call: &Call, wanted: Wanted, places: Places, from: u64) -> Result<Response, Problem> {
    let slot = call.streams.take(call.caller.peer, std::time::Instant::now())?;
    let query = EventQuery { subjects: wanted.subjects.clone(), from };
    let (events, end) = (call.bus.events(query).await?.boxed(), slot.end.clone());
    let events = stream::unfold((events, places, slot), move |(mut events, mut places, slot)| {
        let wanted = wanted.clone();
        async move {
            loop {
                match events.next().await? {
                    Ok(stored) if places.pass(&stored) && wanted.covers(&stored) => {
                        let event = sent(&stored).id(places.to_string());
                        return Some((Ok(event), (events, places, slot)));
                    }
                    Ok(_) => {}
                    // The client reconnects with its last id, and nothing is lost.
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "streaming all events");
                        return None;
                    }
                }
            }
        }
    });
    let events = events.take_until(end.cancelled_owned());
    let whole = begin(axum::response::sse::Event::default()).chain(events);
    let whole = whole.take_until(call.stop.clone().cancelled_owned());
    Ok(answer(Sse::new(whole).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let text = "812;0.17.2,3.4.0";
        assert_eq!(text.parse::<Places>().unwrap().to_string(), text);
        assert_eq!("0;".parse::<Places>().unwrap(), Places::default());
        for wrong in ["", "1", "x;0.1.2", "1;0.1", "1;0.1.2;", "1;99999.1.1", "9;", "0;0.1.2"] {
            assert!(wrong.parse::<Places>().is_err(), "{wrong}");
        }
    }
}
