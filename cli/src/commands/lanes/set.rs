//! `orrery lanes set`: the rules of one lane, as a new version of the settings `lanes`.

use bus_schemas::commands::broker;
use bus_schemas::commands::config::{Active, Command, Proposed};
use bus_schemas::settings::{self, Setting};
use bus_schemas::views::lane::Lane;
use bus_schemas::{Key, wire::WireCommand};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{document, names, not_found};
use crate::failure::{Failure, exit};
use crate::gateway::{LOOK, VISIBLE_PATIENCE, read};
use crate::output::Show;
use crate::session::{PATIENCE, Session};
use crate::who::Who;

/// How often a change is made anew because somebody else changed the settings at the same moment.
const TRIES: usize = 8;
/// The word that takes a bound away.
const NONE: &str = "none";

/// What changes; what is not named stays as it is.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The lane
    lane: String,
    /// Jobs at once; `none` for no bound
    #[arg(long, value_name = "N|none", value_parser = bound)]
    concurrent: Option<Value>,
    /// Jobs begun in a minute of the clock; `none` for no bound
    #[arg(long, value_name = "N|none", value_parser = bound)]
    per_minute: Option<Value>,
    /// Jobs begun in a day, in UTC; `none` for no bound
    #[arg(long, value_name = "N|none", value_parser = bound)]
    per_day: Option<Value>,
    /// What waits for so long is one priority higher, at least 1s; `none` for no ageing
    #[arg(long, value_name = "DURATION|none", value_parser = ageing)]
    ageing: Option<Value>,
    /// How many jobs an owner gets when others get one, 1 to 1000; `none` for 1. May be repeated
    #[arg(long = "weight", value_name = "OWNER=N", value_parser = weight)]
    weights: Vec<(String, Value)>,
    /// A time in which no job begins: a cron expression in UTC and how long it lasts. All windows of
    /// the lane: those before are replaced. May be repeated
    #[arg(long = "window", value_name = "CRON=DURATION", value_parser = window)]
    windows: Vec<Value>,
    /// Take all windows away
    #[arg(long, conflicts_with = "windows")]
    no_windows: bool,
    /// Also for a lane of which nothing was heard yet
    #[arg(long)]
    new: bool,
    /// Why
    #[arg(long, default_value = "set by hand")]
    reason: String,
    #[command(flatten)]
    who: Who,
}

/// What came of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Told {
    /// The lane.
    pub lane: String,
    /// The version of the settings `lanes` that holds now; 0 for the defaults.
    pub version: u64,
    /// The version that held before; the same when the rules were so already.
    pub former: u64,
    /// Whether the lane itself has said that it keeps to them.
    pub applied: bool,
}

impl Show for Told {
    fn text(&self) -> String {
        let Self { lane, version, former, applied } = self;
        if version == former {
            return format!("lane {lane}: the rules are so already, by version {version} of `lanes`");
        }
        let late = if *applied { "" } else { "; it has not said yet that it keeps to them" };
        format!("lane {lane}: version {version} of `lanes` holds instead of version {former}{late}")
    }
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
    fn patch(&self) -> Value {
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
        patch.into()
    }
}

/// Makes a version with the change, and lets it hold.
pub(super) async fn run(session: &Session, arguments: Arguments) -> Result<Told, Failure> {
    let lane = Key::parse(&arguments.lane)?;
    let patch = arguments.patch();
    if patch == json!({}) {
        return Err(Failure::new("bad-argument", "nothing is to be changed")
            .next("`orrery lanes set --help` says what can be")
            .exit(exit::USAGE));
    }
    let is_known = names(session).await?.contains(&lane);
    if !is_known && !arguments.new {
        return Err(not_found(&arguments.lane));
    }
    let Active { version, former } =
        hold(session, &lane, &patch, (arguments.reason, arguments.who.name())).await?;
    if !is_known {
        // Whoever is told something asks for its rules.
        session.ask(&lane, &broker::Command::Wake).await?;
    }
    let applied = until_applied(session, &lane, version).await?;
    Ok(Told { lane: arguments.lane, version, former, applied })
}

async fn hold(
    session: &Session,
    lane: &Key,
    patch: &Value,
    (reason, by): (String, String),
) -> Result<Active, Failure> {
    let name = Key::parse(settings::Lanes::NAME).expect("a constant that is a key");
    for _ in 0..TRIES {
        let (_, described) = document(session, PATIENCE).await?;
        let value = settings::Lanes::patched(&described.value, lane.as_str(), patch);
        if value == described.value {
            return Ok(Active { version: described.active, former: described.active });
        }
        let propose = Command::Propose { value, reason: reason.clone(), by: by.clone() };
        let Proposed { version } = read(session.ask(&name, &propose).await?.1)?;
        // Somebody else proposed in between: what they say may be missing here.
        if version != described.newest + 1 {
            continue;
        }
        let activate = Command::Activate { version, reason, by };
        return read(session.ask(&name, &activate).await?.1);
    }
    let entity = Command::KIND;
    Err(Failure::new("settings-contended", format!("`{entity}/{name}` was changed by others all the time"))
        .next("try again; `orrery config history lanes` shows who changes it")
        .exit(exit::UNAVAILABLE))
}

/// Waits until the lane runs a version: it is told by mail.
async fn until_applied(session: &Session, lane: &Key, version: u64) -> Result<bool, Failure> {
    let deadline = Instant::now() + VISIBLE_PATIENCE;
    loop {
        if session.query::<_, Lane>(lane, &broker::Query::Describe).await?.version == Some(version) {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
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
