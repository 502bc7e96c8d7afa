//! Checks for what holds work back on purpose: halts, open breakers, experiments. They explain why nothing
//! happens although everything works.

use bus_schemas::commands::breaker::Phase;
use gateway_api::routes;

use super::Check;
use crate::client::Client;
use crate::commands::chaos;
use crate::failure::Failure;
use crate::session::Session;

/// Names shown in a check.
const NAMES_SHOWN: usize = 5;

/// The checks, in order.
pub async fn checks(session: &Session) -> Vec<Check> {
    let mut checks = Vec::new();
    // Without a gateway these checks cannot be made; another check reports that.
    if let Ok(client) = Client::connect(&session.config) {
        checks.push(halts(&client).await.unwrap_or_else(|failure| Check::of("halts", failure)));
        checks.push(open(&client).await.unwrap_or_else(|failure| Check::of("breakers", failure)));
    }
    checks.push(experiments(session).await.unwrap_or_else(|failure| Check::of("chaos", failure)));
    checks
}

async fn halts(client: &Client) -> Result<Check, Failure> {
    let pages = client.all(routes::ListHalts, |page| page.next_cursor.clone()).await?;
    let halts = pages.iter().flat_map(|page| &page.halts);
    let scopes: Vec<String> = halts.map(|halt| halt.scope.to_string()).collect();
    let fix = "`orrery halts` says who and why; `orrery resume SCOPE` lets it go on";
    Ok(check("halts", "nothing is halted", "halted", &scopes, fix))
}

async fn open(client: &Client) -> Result<Check, Failure> {
    let (mut all, mut silent) = (Vec::new(), Vec::new());
    for page in client.all(routes::ListBreakers, |page| page.next_cursor.clone()).await? {
        all.extend(page.breakers);
        silent.extend(page.silent);
    }
    if !silent.is_empty() {
        let names: Vec<String> = silent.into_iter().map(|silent| silent.entity).collect();
        let fix = "the check `partitions` says which partition does not answer";
        return Ok(check("breakers", "", "no answer from", &names, fix));
    }
    let open = all.iter().filter(|breaker| breaker.now.phase != Phase::Closed);
    let open: Vec<String> =
        open.map(|breaker| format!("{} is {}", breaker.dependency, breaker.now.phase)).collect();
    let fix = "`orrery breakers show NAME` says why, and what moves it";
    Ok(check("breakers", &format!("all {} are closed", all.len()), "not closed", &open, fix))
}

async fn experiments(session: &Session) -> Result<Check, Failure> {
    let running = chaos::list(session, false).await?.experiments;
    let running: Vec<String> = running.iter().map(|shown| shown.id.to_string()).collect();
    let fix = "`orrery chaos list` shows until when; `orrery chaos stop --all` ends them";
    Ok(check("chaos", "no experiment goes on", "experiments", &running, fix))
}

fn check(name: &str, none: &str, what: &str, found: &[String], fix: &str) -> Check {
    if found.is_empty() {
        return Check::ok(name, none);
    }
    let mut shown = found.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if found.len() > NAMES_SHOWN {
        shown.push_str(&format!(" and {} more", found.len() - NAMES_SHOWN));
    }
    Check::warn(name, format!("{what}: {shown}"), fix)
}

#[cfg(test)]
mod tests {
    use super::{Check, check};

    #[test]
    fn a_check_names_some_and_counts_the_rest() {
        let names: Vec<String> = (1..8).map(|number| format!("b{number}")).collect();
        let Check { detail, fix, .. } = check("x", "none", "open", &names, "look");
        assert_eq!((detail.as_str(), fix.as_deref()), ("open: b1, b2, b3, b4, b5 and 2 more", Some("look")));
        assert_eq!(check("x", "none", "open", &[], "look").fix, None);
    }
}
