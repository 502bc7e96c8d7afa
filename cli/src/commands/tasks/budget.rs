//! Budgets on the command line: the flags that set a budget, and the text that shows one.

use bus_schemas::settings::{self, Budget};
use bus_schemas::views::task::Account;

/// The heading of the flags in the help.
const HEADING: &str = "Budget";
/// Millionths in a unit of money.
const MICROS: u64 = 1_000_000;
/// Digits after the decimal point of an amount of money.
const MONEY_DIGITS: usize = 6;

/// What a task and its descendants may use.
#[derive(Debug, Clone, Default, clap::Args)]
pub(in crate::commands) struct Flags {
    /// Tokens of models, input and output together
    #[arg(long, help_heading = HEADING, value_name = "NUMBER", value_parser = count())]
    tokens: Option<u64>,
    /// Money, in the currency of the configured prices, such as `2.50`
    #[arg(long, help_heading = HEADING, value_name = "AMOUNT", value_parser = money)]
    money: Option<u64>,
    /// Tool calls
    #[arg(long, help_heading = HEADING, value_name = "NUMBER", value_parser = count())]
    tool_calls: Option<u64>,
    /// Jobs, including those of its children
    #[arg(long, help_heading = HEADING, value_name = "NUMBER", value_parser = count())]
    jobs: Option<u64>,
    /// Wall-clock time from the submission on, such as `30m`
    #[arg(long, help_heading = HEADING, value_name = "DURATION")]
    time: Option<settings::Duration>,
}

impl Flags {
    /// The budget; dimensions that were not given have no bound.
    pub(in crate::commands) fn budget(&self) -> Budget {
        Budget {
            tokens: self.tokens,
            money_micros: self.money,
            tool_calls: self.tool_calls,
            jobs: self.jobs,
            wall_clock: self.time,
        }
    }
    /// The budget, if any flag was given: without one the settings decide.
    pub(in crate::commands) fn given(&self) -> Option<Budget> {
        Some(self.budget()).filter(|budget| *budget != Budget::default())
    }
}

/// A bound of 0 is refused: nothing could begin.
fn count() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

/// Reads an amount of money as millionths.
fn money(text: &str) -> Result<u64, String> {
    let wrong = || "an amount is a number above 0 with at most six digits behind the point, such as `2.50`";
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let ends_in_point = text.ends_with('.');
    if whole.is_empty() || ends_in_point || part.len() > MONEY_DIGITS || !digits(whole) || !digits(part) {
        return Err(wrong().to_owned());
    }
    let micros = || {
        let whole = whole.parse::<u64>().ok()?.checked_mul(MICROS)?;
        whole.checked_add(format!("{part:0<MONEY_DIGITS$}").parse().ok()?)
    };
    micros().filter(|micros| *micros > 0).ok_or_else(|| wrong().to_owned())
}

/// Millionths as a user would type them.
fn amount(micros: u64) -> String {
    let part = format!("{:06}", micros % MICROS);
    let part = part.trim_end_matches('0');
    format!("{}.{part:0<2}", micros / MICROS)
}

/// A line for each bound: how much is used, and how much is reserved by calls under way.
pub(super) fn lines(account: &Account) -> Vec<String> {
    let Account { limits, used, reserved, exceeded } = account;
    let plain = |number: u64| number.to_string();
    let line = |name: &str, limit: Option<u64>, used: u64, held: u64, text: &dyn Fn(u64) -> String| {
        let held = if held > 0 { format!(", {} held", text(held)) } else { String::new() };
        limit.map(|limit| format!("{name} {} of {} used{held}", text(used), text(limit)))
    };
    let bounds = [
        line("tokens", limits.tokens, used.tokens, reserved.tokens, &plain),
        line("money", limits.money_micros, used.money_micros, reserved.money_micros, &amount),
        line("tool calls", limits.tool_calls, used.tool_calls, reserved.tool_calls, &plain),
        line("jobs", limits.jobs, used.jobs, reserved.jobs, &plain),
        limits.wall_clock.map(|time| format!("time {time} from the submission on")),
        exceeded.as_ref().map(|exceeded| {
            let dimension: &'static str = exceeded.dimension.into();
            format!("paused for its {dimension} since {}", exceeded.at.to_rfc3339())
        }),
    ];
    bounds.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_to_the_millionth_and_shown_as_it_would_be_typed() {
        for (text, micros, shown) in [
            ("2.50", 2_500_000, "2.50"),
            ("7", 7_000_000, "7.00"),
            ("0.000001", 1, "0.000001"),
            ("1.2345", 1_234_500, "1.2345"),
        ] {
            assert_eq!(money(text), Ok(micros));
            assert_eq!(amount(micros), shown);
        }
        for wrong in ["", "0", "0.0", "-1", ".5", "1.", "1.0000001", "1,5", "ten", "99999999999999999999"] {
            assert!(money(wrong).is_err(), "{wrong}");
        }
    }
}
