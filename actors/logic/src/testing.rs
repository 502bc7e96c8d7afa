//! Helpers for the tests of all kinds, and a world in which all kinds interact.

mod flow;
pub(crate) mod scenario;
mod world;

use actors_core::decision::Send;
use bus_schemas::commands::queue;
use bus_schemas::topology::PARTITIONS_DEFAULT;
use bus_schemas::wire::WireCommand;
use bus_schemas::{Body, EntityAddress, Key, PartitionId};

/// An address, from a constant of a test.
pub(crate) fn address(text: &str) -> EntityAddress {
    text.parse().expect("a constant of a test")
}

/// A key, from a constant of a test.
pub(crate) fn key(text: &str) -> Key {
    Key::parse(text).expect("a constant of a test")
}

/// The address of the queue of a task in the default lane.
pub(crate) fn queue_of(task: &str) -> String {
    let partition = PartitionId::of(key(task).root(), PARTITIONS_DEFAULT);
    format!("queue/{}", queue::key(&key("default"), partition, PARTITIONS_DEFAULT))
}

/// The send of `command` to `to`, as a decision has it.
pub(crate) fn sent<C: WireCommand>(to: &str, command: &C) -> Send {
    Send::new(address(to), Body::json(command))
}
