//! Who runs which version of the settings: hosts have said it, lanes and breakers are asked.

use std::collections::BTreeMap;

use bus_schemas::EntityAddress;
use bus_schemas::commands::breaker::Description as Breaker;
use bus_schemas::commands::config::{Description, HostVersion};
use bus_schemas::commands::{breaker, broker};
use bus_schemas::settings::{Breakers, Setting};
use bus_schemas::views::lane::Lane;
use bus_schemas::views::silent::Silent;
use schemars::JsonSchema;
use serde::Serialize;

use super::Versions;
use crate::asked::{self, Asked};
use crate::failure::Failure;
use crate::output::{Show, table};
use crate::session::Session;

/// Those that a row names one by one: a table is for a look, and `--json` has all of them.
const NAMED_MAX: usize = 8;

/// Settings with everybody who runs them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Running {
    /// What holds, and which host runs which version.
    #[serde(flatten)]
    pub settings: Description,
    /// Which lane or breaker runs which version.
    pub entities: Vec<EntityVersion>,
}

/// What a lane or a breaker runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EntityVersion {
    /// The lane or the breaker.
    pub entity: EntityAddress,
    /// Which version; 0 for the defaults, or for what a person set as long as they hold; none for one
    /// that was not told yet.
    pub version: Option<u64>,
}

impl Show for Versions {
    fn text(&self) -> String {
        let row = |Running { settings, entities }: &Running| {
            let runs = |host: &HostVersion| {
                let mark = if host.problem.is_empty() { "" } else { " (failed)" };
                format!("{}={}{mark}", host.host, host.version)
            };
            let hosts: Vec<String> = settings.hosts.iter().map(runs).collect();
            vec![
                settings.name.to_string(),
                settings.active.to_string(),
                settings.newest.to_string(),
                hosts.join(" "),
                summary(entities, settings.active),
            ]
        };
        let rows: Vec<Vec<String>> = self.settings.iter().map(row).collect();
        let table = table(&["SETTINGS", "HOLDS", "NEWEST", "HOSTS", "LANES AND BREAKERS"], &rows);
        [table].into_iter().chain(asked::lines(&self.silent)).collect::<Vec<_>>().join("\n")
    }
}

/// How many run what holds, and who does not.
fn summary(entities: &[EntityVersion], active: u64) -> String {
    let others: Vec<&EntityVersion> =
        entities.iter().filter(|entity| entity.version != Some(active)).collect();
    if entities.is_empty() {
        return String::new();
    }
    let mut text = format!("{} of {} run it", entities.len() - others.len(), entities.len());
    for (index, EntityVersion { entity, version }) in others.iter().take(NAMED_MAX).enumerate() {
        let version = version.map_or_else(|| "not told".to_owned(), |version| version.to_string());
        text.push_str(&format!("{} {}={version}", if index == 0 { ";" } else { "" }, entity.key));
    }
    if others.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", others.len() - NAMED_MAX));
    }
    text
}

/// Asks everybody who is told of settings which version it runs; and names who does not answer.
pub(super) async fn of(
    session: &Session,
    described: Vec<Description>,
) -> Result<(Vec<Running>, Vec<Silent>), Failure> {
    let (mut known, mut silent) = lanes(session).await?;
    let (breakers, quiet) = breakers(session).await?;
    silent.extend(quiet);
    known.insert(Breakers::NAME.to_owned(), breakers);
    let running = |settings: Description| {
        let entities = known.remove(settings.name.as_str()).unwrap_or_default();
        Running { settings, entities }
    };
    Ok((described.into_iter().map(running).collect(), silent))
}

/// What every lane runs, by the name of the settings.
async fn lanes(session: &Session) -> Result<(BTreeMap<String, Vec<EntityVersion>>, Vec<Silent>), Failure> {
    let heard_of = asked::heard_of::<broker::Command>(session).await?;
    let Asked { answers, silent } =
        asked::all::<_, Lane>(session, heard_of, &broker::Query::Describe).await?;
    let mut known: BTreeMap<String, Vec<EntityVersion>> = BTreeMap::new();
    for (entity, lane) in answers {
        for name in bus_schemas::settings::names().filter(|name| *name != Breakers::NAME) {
            let version = lane.settings.get(name).copied();
            let runs = EntityVersion { entity: entity.clone(), version };
            known.entry(name.to_owned()).or_default().push(runs);
        }
    }
    Ok((known, silent))
}

/// What every breaker runs.
async fn breakers(session: &Session) -> Result<(Vec<EntityVersion>, Vec<Silent>), Failure> {
    let heard_of = asked::heard_of::<breaker::Command>(session).await?;
    let Asked { answers, silent } =
        asked::all::<_, Breaker>(session, heard_of, &breaker::Query::Describe).await?;
    // One that was never told of another version runs the defaults.
    let runs = |(entity, now): (EntityAddress, Breaker)| EntityVersion {
        entity,
        version: Some(now.version.unwrap_or(0)),
    };
    Ok((answers.into_iter().map(runs).collect(), silent))
}

#[cfg(test)]
mod tests {
    use bus_schemas::Key;
    use bus_schemas::wire::WireCommand;

    use super::*;

    #[test]
    fn those_who_run_something_else_are_named() {
        let runs = |key: &str, version| EntityVersion {
            entity: EntityAddress::new(broker::Command::KIND, Key::parse(key).expect("a key")),
            version,
        };
        assert_eq!(summary(&[], 3), "");
        assert_eq!(summary(&[runs("a", Some(3)), runs("b", Some(3))], 3), "2 of 2 run it");
        let text = summary(&[runs("a", Some(3)), runs("b", Some(2)), runs("c", None)], 3);
        assert_eq!(text, "1 of 3 run it; b=2 c=not told");
        let many: Vec<_> = (0..10).map(|number| runs(&format!("l{number}"), Some(1))).collect();
        let text = summary(&many, 2);
        assert!(text.starts_with("0 of 10 run it; l0=1 l1=1") && text.ends_with("l7=1 and 2 more"), "{text}");
    }
}
