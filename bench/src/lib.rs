//! The benchmarks of `orrery bench`.
