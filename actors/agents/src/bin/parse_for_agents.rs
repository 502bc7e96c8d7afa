//! The parser of source files for the tests of the agents: Cargo gives a test the programs of its own crate alone.

fn main() {
    actors_report::parsed_instead();
}
