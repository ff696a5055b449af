//! Times every case with Criterion: `make bench`, or once each with the tests.
//!
//! ```text
//! cargo bench -p bench -- head/              # those whose names have this in them
//! cargo bench -p bench -- --baseline main    # compared with what `--save-baseline main` has kept
//! ```

use std::time::Instant;

use bench::cases;
use criterion::{Criterion, criterion_group, criterion_main};

/// The fewest samples that Criterion takes, for cases that take long.
const FEW: usize = 10;

fn all(criterion: &mut Criterion) {
    for case in cases() {
        // Cases are prepared when they are run: most of them not at all where only some are asked for.
        let mut work = None;
        let (group, name) = case.name().split_once('/').unwrap_or(("", case.name()));
        let mut group = criterion.benchmark_group(group);
        if case.is_long() {
            group.sample_size(FEW);
        }
        group.bench_function(name, |bencher| {
            let work = work.get_or_insert_with(|| case.make());
            bencher.iter_custom(|times| {
                let begun = Instant::now();
                work(times);
                begun.elapsed()
            });
        });
    }
}

criterion_group!(cores, all);
criterion_main!(cores);
