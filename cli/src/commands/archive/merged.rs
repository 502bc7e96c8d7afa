//! History as it was before anything was archived: the files, then the stream.

use std::collections::HashMap;

use bus_client::{Bus, Error, EventQuery, StoredEvent};
use bus_schemas::{EntityAddress, Hash, Revision};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::Archive;
use crate::failure::Failure;

/// What a query wants of the archive, then of the event stream: up to now, or without end. Events that
/// are in both, because the stream was rebuilt, come once.
pub async fn events(
    bus: &Bus,
    archive: &Archive,
    query: EventQuery,
    follow: bool,
) -> Result<BoxStream<'static, Result<StoredEvent, Error>>, Failure> {
    super::expect_own(bus, archive).await?;
    archive.check()?;
    let kept = archive.last_revisions()?;
    let (subjects, patterns) = (bus.subjects().clone(), query.subjects.clone());
    let archived = archive.events().filter_map(move |event| match event {
        Ok(event) => matches(&patterns, &subjects.event(&event.entity)).then_some(Ok(event)),
        // Every line was read a moment ago.
        Err(failure) => {
            Some(Err(Error::Call { doing: "reading the archive".into(), reason: failure.message }))
        }
    });
    let streamed = match follow {
        true => bus.events(query).await?.boxed(),
        false => bus.events_until_now(query).await?.boxed(),
    };
    let news = move |event: &StoredEvent| is_news(&kept, event);
    let streamed = streamed.try_filter(move |event| futures::future::ready(news(event)));
    Ok(stream::iter(archived).chain(streamed).boxed())
}

/// Whether the archive does not have it.
fn is_news(kept: &HashMap<EntityAddress, (Revision, Hash)>, event: &StoredEvent) -> bool {
    kept.get(&event.entity).is_none_or(|(revision, _)| event.event.revision > *revision)
}

/// Whether a subject is one of those that are wanted; no pattern wants all.
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
