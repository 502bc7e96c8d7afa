//! The parser of source files as a program of its own, for tests: their own program cannot be started as it.

fn main() {
    actors_agents::report::parsed_instead();
}
