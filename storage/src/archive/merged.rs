//! History as before archiving: the archive's events, then the stream's.

use std::collections::HashMap;

use bus_client::{Bus, EventQuery, StoredEvent};
use bus_schemas::{EntityAddress, Hash, Revision};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::Archive;
use crate::history::Error;

/// The archived events that match a query, then those of the event stream: up to now, or without end. Events
/// in both, after a rebuild of the stream, come once.
pub async fn events(
    bus: &Bus,
    archive: &Archive,
    query: EventQuery,
    follow: bool,
) -> Result<BoxStream<'static, Result<StoredEvent, bus_client::Error>>, Error> {
    super::expect_own(bus, archive).await?;
    archive.check()?;
    let kept = archive.last_revisions()?;
    let (subjects, patterns) = (bus.subjects().clone(), query.subjects.clone());
    let archived = archive.events().filter_map(move |event| match event {
        Ok(event) => matches(&patterns, &subjects.event(&event.entity)).then_some(Ok(event)),
        // Every line was read a moment ago.
        Err(error) => Some(Err(bus_client::Error::Call {
            doing: "reading the archive".into(),
            reason: error.to_string(),
        })),
    });
    let streamed = match follow {
        true => bus.events(query).await?.boxed(),
        false => bus.events_until_now(query).await?.boxed(),
    };
    let news = move |event: &StoredEvent| is_news(&kept, event);
    let streamed = streamed.try_filter(move |event| futures::future::ready(news(event)));
    Ok(stream::iter(archived).chain(streamed).boxed())
}

/// Whether the archive lacks the event.
fn is_news(kept: &HashMap<EntityAddress, (Revision, Hash)>, event: &StoredEvent) -> bool {
    kept.get(&event.entity).is_none_or(|(revision, _)| event.event.revision > *revision)
}

/// Whether a subject matches a pattern; without patterns every subject does.
fn matches(patterns: &[String], subject: &str) -> bool {
    let one = |pattern: &String| match pattern.strip_suffix('>') {
        Some(before) => subject.len() > before.len() && subject.starts_with(before),
        None => pattern == subject,
    };
    patterns.is_empty() || patterns.iter().any(one)
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns_are_those_of_subjects() {
        let patterns = ["o.evt.task.a".to_owned(), "o.evt.task.a.>".to_owned()];
        for (subject, wanted) in [
            ("o.evt.task.a", true),
            ("o.evt.task.a.b.c", true),
            ("o.evt.task.ab", false),
            ("o.evt.task.a.", false),
        ] {
            assert_eq!(super::matches(&patterns, subject), wanted, "{subject}");
        }
        assert!(super::matches(&[], "anything"));
    }
}
