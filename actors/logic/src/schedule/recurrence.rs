//! The due times of a recurrence: checked once, computed without a clock, in UTC.

use actors_core::{Refusal, Timestamp};
use bus_schemas::commands::schedule::Recurrence;
use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// The shortest interval in milliseconds: a faster schedule would be a busy loop.
const EVERY_MS_MIN: u64 = 1_000;
/// The longest cron expression in bytes: enough for a list in every field.
const EXPRESSION_BYTES_MAX: usize = 256;
/// One code for all mistakes: the message tells them apart.
const CODE: &str = "invalid-recurrence";

/// Refuses a recurrence that never fires or fires too often.
pub(crate) fn check(recurrence: &Recurrence, now: Timestamp) -> Result<(), Refusal> {
    match recurrence {
        Recurrence::Once { at } if *at <= now => {
            Err(Refusal::new(CODE, format!("the time {} is not in the future", at.to_rfc3339()))
                .hint("give a later time"))
        }
        Recurrence::Once { at } if *at > Timestamp::MAX => {
            Err(Refusal::new(CODE, format!("the time is later than {}", Timestamp::MAX.to_rfc3339()))
                .hint("give an earlier time"))
        }
        Recurrence::Every { every_ms } if *every_ms > Timestamp::MAX.0.saturating_sub(now.0) => {
            let last = Timestamp::MAX.to_rfc3339();
            Err(Refusal::new(CODE, format!("with `every_ms` {every_ms} it is first due after {last}"))
                .hint("give a shorter time between two runs"))
        }
        Recurrence::Every { every_ms } if *every_ms < EVERY_MS_MIN => {
            Err(Refusal::new(CODE, format!("`every_ms` must be at least {EVERY_MS_MIN}, is {every_ms}"))
                .hint("give a longer time between two runs"))
        }
        Recurrence::Cron { expression } => {
            parse(expression).map_err(|reason| {
                Refusal::new(CODE, format!("the cron expression cannot be read: {reason}"))
                    .hint("five or six fields in UTC, such as `0 9 * * MON-FRI`")
            })?;
            match next(recurrence, now) {
                Some(_) => Ok(()),
                None => Err(Refusal::new(CODE, format!("the cron expression `{expression}` never fires"))
                    .hint("name a day that exists, such as `0 9 * * MON-FRI`")),
            }
        }
        Recurrence::Once { .. } | Recurrence::Every { .. } => Ok(()),
    }
}

/// The first due time after `now`, or `None`.
pub(crate) fn next(recurrence: &Recurrence, now: Timestamp) -> Option<Timestamp> {
    match recurrence {
        Recurrence::Once { at } => (*at > now).then_some(*at),
        Recurrence::Every { every_ms } => Some(now.plus_ms((*every_ms).max(EVERY_MS_MIN))),
        Recurrence::Cron { expression } => {
            let cron = parse(expression).ok()?;
            let now = DateTime::<Utc>::from_timestamp_millis(i64::try_from(now.0).ok()?)?;
            let next = cron.find_next_occurrence(&now, false).ok()?;
            u64::try_from(next.timestamp_millis()).ok().map(Timestamp)
        }
    }
}

/// The next due time after `now` for a schedule that was due at `due`: an interval keeps its beat, and missed
/// times are skipped.
pub(super) fn following(recurrence: &Recurrence, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
    match recurrence {
        Recurrence::Once { .. } => None,
        Recurrence::Every { every_ms } => {
            let every_ms = (*every_ms).max(EVERY_MS_MIN);
            let beats = now.0.saturating_sub(due.0) / every_ms + 1;
            Some(due.plus_ms(beats.saturating_mul(every_ms)))
        }
        Recurrence::Cron { .. } => next(recurrence, now.max(due)),
    }
}

fn parse(expression: &str) -> Result<Cron, String> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Err(format!("the expression has more than {EXPRESSION_BYTES_MAX} bytes"));
    }
    CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Disallowed)
        .build()
        .parse(expression)
        .map_err(|error| error.to_string())
}
