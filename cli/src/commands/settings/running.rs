//! Which host and entity runs which version of the settings, as a table.

use bus_schemas::commands::settings::HostVersion;
use gateway_api::settings::{EntityVersion, RunningSettings, SettingsList};

use crate::output::{Show, silent_lines, table};

/// Entities that a row names; `--json` has all of them.
const NAMED_MAX: usize = 8;

impl Show for SettingsList {
    fn text(&self) -> String {
        let row = |RunningSettings { settings, entities }: &RunningSettings| {
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
        let table = table(&["SETTINGS", "ACTIVE", "NEWEST", "HOSTS", "LANES AND BREAKERS"], &rows);
        let left_out = format!("and {} more lanes and breakers, which were not asked", self.left_out);
        let left_out = (self.left_out > 0).then_some(left_out);
        let lines = [table].into_iter().chain(left_out).chain(silent_lines(&self.silent));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// How many entities run the active version, and which do not.
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

#[cfg(test)]
mod tests {
    use bus_schemas::commands::lane;
    use bus_schemas::wire::WireCommand;
    use bus_schemas::{EntityAddress, Key};

    use super::*;

    #[test]
    fn those_who_run_something_else_are_named() {
        let runs = |key: &str, version| EntityVersion {
            entity: EntityAddress::new(lane::Command::KIND, Key::parse(key).expect("a key")),
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
