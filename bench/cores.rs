//! Benchmarks of the pure cores.

fn main() {}
