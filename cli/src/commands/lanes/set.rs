//! `orrery lanes set`: changes a lane's rules by a new version of the settings `lanes`.

use bus_schemas::settings;
use bus_schemas::views::lane::Lane;
use gateway_api::lanes::{ChangeLane, LaneChanged};
use gateway_api::routes;
use serde_json::{Map, Value, json};

use crate::client::{Client, id};
use crate::failure::{Failure, exit};
use crate::output::Output;

/// The word that removes a bound.
const NONE: &str = "none";

/// The changes; what is not named stays as it is.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The lane's name
    lane: String,
    /// Jobs that may run at once; `none` for no bound
    #[arg(long, value_name = "N|none", value_parser = bound)]
    concurrent: Option<Value>,
    /// Jobs that may begin in a minute of the clock; `none` for no bound
    #[arg(long, value_name = "N|none", value_parser = bound)]
    per_minute: Option<Value>,
    /// Jobs that may begin in a day (UTC); `none` for no bound
    #[arg(long, value_name = "N|none", value_parser = bound)]
    per_day: Option<Value>,
    /// Raise a waiting job's priority by one after each such time, at least 1s; `none` for no ageing
    #[arg(long, value_name = "DURATION|none", value_parser = ageing)]
    ageing: Option<Value>,
    /// The weight of an owner: jobs it gets for each job of an owner with weight 1; 1 to 1000, `none` for 1.
    /// May be repeated
    #[arg(long = "weight", value_name = "OWNER=N", value_parser = weight)]
    weights: Vec<(String, Value)>,
    /// A time window in which no job begins: its start as a cron expression in UTC, and its duration.
    /// Replaces all windows of the lane. May be repeated
    #[arg(long = "window", value_name = "CRON=DURATION", value_parser = window)]
    windows: Vec<Value>,
    /// Remove all windows
    #[arg(long, conflicts_with = "windows")]
    no_windows: bool,
    /// Allow a lane that nothing is known of yet
    #[arg(long)]
    new: bool,
    /// The reason
    #[arg(long, default_value = "set by hand")]
    reason: String,
}

fn bound(text: &str) -> Result<Value, String> {
    match text.parse::<u32>() {
        _ if text == NONE => Ok(Value::Null),
        Ok(number) if number > 0 => Ok(json!(number)),
        _ => Err("a bound is a whole number of at least 1, or `none`".to_owned()),
    }
}

fn ageing(text: &str) -> Result<Value, String> {
    if text == NONE {
        return Ok(Value::Null);
    }
    text.parse::<settings::Duration>().map(|span| json!(span)).map_err(str::to_owned)
}

fn weight(text: &str) -> Result<(String, Value), String> {
    match text.rsplit_once('=') {
        Some((owner, weight)) if !owner.is_empty() => Ok((owner.to_owned(), bound(weight)?)),
        _ => Err("a weight is `OWNER=N`, such as `ada=3`".to_owned()),
    }
}

fn window(text: &str) -> Result<Value, String> {
    let wrong = || "a window is `CRON=DURATION`, such as `0 3 * * SUN=2h`".to_owned();
    let (cron, duration) = text.rsplit_once('=').ok_or_else(wrong)?;
    let duration = duration.parse::<settings::Duration>().map_err(str::to_owned)?;
    Ok(json!({ "cron": cron, "duration": duration }))
}

impl Arguments {
    /// The change as a merge patch (RFC 7396).
    fn patch(&self) -> Map<String, Value> {
        let mut patch = Map::new();
        let bounds = [
            ("concurrent", &self.concurrent),
            ("per_minute", &self.per_minute),
            ("per_day", &self.per_day),
            ("ageing", &self.ageing),
        ];
        patch.extend(bounds.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))));
        if !self.weights.is_empty() {
            patch.insert("weights".to_owned(), self.weights.iter().cloned().collect());
        }
        if self.no_windows || !self.windows.is_empty() {
            patch.insert("maintenance".to_owned(), self.windows.clone().into());
        }
        patch
    }
}

/// Makes a version with the change, and activates it.
pub(super) async fn run(client: &Client, arguments: Arguments, output: Output) -> Result<(), Failure> {
    let lane = id(&arguments.lane)?;
    let rules = arguments.patch();
    if rules.is_empty() {
        return Err(Failure::new("bad-argument", "nothing is to be changed")
            .next("`orrery lanes set --help` lists the options")
            .exit(exit::USAGE));
    }
    let body = ChangeLane { rules, reason: arguments.reason, new: arguments.new };
    let changed = client.send(routes::ChangeLane, &[lane.as_str()], &body).await?;
    let LaneChanged { lane: Lane { id, .. }, active, former, applied } = &changed;
    let line = if active == former {
        format!("lane {id}: the rules did not change: version {active} of `lanes` has them already")
    } else {
        let late = if *applied { "" } else { "; the lane has not confirmed it yet" };
        format!("lane {id}: version {active} of `lanes` is active instead of version {former}{late}")
    };
    output.changed(&changed, &line);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_a_patch() {
        assert_eq!((bound("3"), bound("none")), (Ok(json!(3)), Ok(Value::Null)));
        assert_eq!(weight("ada=b=3"), Ok(("ada=b".to_owned(), json!(3))));
        assert_eq!(window("0 3 * * SUN=2h"), Ok(json!({"cron": "0 3 * * SUN", "duration": "2h"})));
        assert_eq!((ageing("90s"), ageing("none")), (Ok(json!("90s")), Ok(Value::Null)));
        assert!(bound("0").is_err() && bound("-1").is_err() && bound("many").is_err());
        assert!(weight("3").is_err() && weight("=3").is_err() && weight("ada=").is_err());
        assert!(window("0 3 * * *").is_err() && window("0 3 * * *=soon").is_err() && ageing("2").is_err());
    }
}
