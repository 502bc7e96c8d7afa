//! The keeper of the sandbox for the tests of the benchmarks: Cargo gives a test the programs of its own crate alone.

fn main() {
    actors_sandbox::kept_instead();
}
