//! The parser of source files as a separate program, for tests: their own program cannot be started as the
//! parser.

fn main() {
    actors_report::parsed_instead();
}
