//! Lists by name, page by page.

use bus_schemas::commands::agent::AgentCard;
use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::commands::task::Submit;
use bus_schemas::events::{agent, breaker, halt, lane, schedule};
use bus_schemas::{Key, Timestamp};

use crate::get;
use crate::server::eventually;
use crate::world::{Raw, World};

/// Entities of each kind.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The first event of an entity.
fn first(kind: &str, name: &str) -> Raw {
    match kind {
        "agent" => {
            let name = Key::parse(name).expect("a key");
            let (description, version) = ("counts".into(), "1".into());
            let card = AgentCard { name, description, version, skills: vec![], dependencies: vec![] };
            let (worker, at) = ("w".into(), Timestamp(1));
            agent::Event::WorkerRegistered { worker, card, capacity: 1, lanes: vec![], at }.into()
        }
        "schedule" => {
            let recurrence = Recurrence::Every { every_ms: 1_000 };
            schedule::Event::Created { recurrence, task: Submit::new("count"), next: None }.into()
        }
        "halt" => {
            let (reason, by) = ("a leak".into(), "me".into());
            halt::Event::Halted { reason, by, grace_ms: 0, at: Timestamp(1) }.into()
        }
        "lane" => lane::Event::CapSet { concurrent: None }.into(),
        _ => {
            let lane = Key::parse("default").expect("a key");
            breaker::Event::Watched { lane, at: Timestamp(1) }.into()
        }
    }
}

/// Goal: no list is longer than it was asked for, and its pages have every row once. Method: five of each kind in
/// pages of two, and two of them by name.
#[tokio::test]
async fn lists_by_name_come_in_pages() {
    let world = World::new().await;
    world.serve_asks().await;
    let lists = [
        ("agent", "agents", "name"),
        ("schedule", "schedules", "name"),
        ("halt", "halts", "scope"),
        ("lane", "lanes", "id"),
        ("breaker", "breakers", "dependency"),
    ];
    for (kind, _, _) in lists {
        for name in NAMES {
            let key = if kind == "halt" { format!("lane.{name}") } else { name.to_owned() };
            world.record(vec![(&format!("{kind}/{key}"), first(kind, name))]).await;
        }
    }
    let gateway = world.gateway().await;
    for (_, rows, id) in lists {
        let all = eventually(rows, async || {
            let (_, page) = get(&gateway.url, &format!("/v1/{rows}")).await;
            (page[rows].as_array()?.len() == NAMES.len()).then_some(page)
        })
        .await;
        assert!(all["next_cursor"].is_null(), "{all}");
        let (mut seen, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
        loop {
            let (_, page) = get(&gateway.url, &format!("/v1/{rows}?limit=2{cursor}")).await;
            let page_rows = page[rows].as_array().unwrap_or_else(|| panic!("no {rows} in {page}"));
            sizes.push(page_rows.len());
            seen.extend(page_rows.iter().map(|row| row[id].as_str().expect("a name").to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let expected =
            NAMES.map(|name| if rows == "halts" { format!("lane.{name}") } else { name.to_owned() });
        assert_eq!(
            (seen.as_slice(), sizes.as_slice()),
            (expected.as_slice(), [2, 2, 1].as_slice()),
            "{rows}"
        );
        assert_eq!(get(&gateway.url, &format!("/v1/{rows}?limit=201")).await.1["code"], "invalid-query");
    }
    for (path, code) in [("agents", "agent-not-found"), ("schedules", "schedule-not-found")] {
        assert_eq!(get(&gateway.url, &format!("/v1/{path}/c")).await.1["name"], "c");
        let (status, problem) = get(&gateway.url, &format!("/v1/{path}/nobody")).await;
        assert_eq!((status, problem["code"].as_str()), (404, Some(code)), "{problem}");
    }
    gateway.stopped().await;
}
