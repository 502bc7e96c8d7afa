//! Searches and fetches against real servers on this machine, in good order and with every fault.

mod fetches;
mod searches;
pub mod site;

use std::time::Duration;

use actors_web::{Settings, Web};

/// The web with these hosts beside the public internet.
fn web(allowed_hosts: &[&str]) -> Web {
    let allowed_hosts = allowed_hosts.iter().map(|host| (*host).to_owned()).collect();
    let cache_age = Duration::from_secs(60);
    Web::new(&Settings { search_url: None, fetch: true, allowed_hosts, cache_age }).expect("settings")
}
