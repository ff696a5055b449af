//! What is measured: one [`Case`] for each thing that a request costs.
//!
//! A case is defined once and used by two programs. `benches/cores.rs` times it with Criterion: what a person looks at who
//! makes something faster, on a quiet machine. `main.rs` does it a fixed number of times, so that callgrind can count its
//! instructions: these hardly depend on what else the machine is doing, and `scripts/bench.py` compares them with those of
//! the commit before.
//!
//! | cases | what |
//! |---|---|
//! | `head/` | heads are parsed, and written as they are sent on |
//! | `chunked/` | bodies in chunks are taken apart and put together |
//! | `route/` | a route is found; routes are compiled |
//! | `pick/` | a target is chosen |
//! | `log/` | a request is recorded for the access log; a line is made of it |
//! | `metrics/` | a request is counted |
//! | `request/` | all of it: a request from its first byte to its last, on the memory driver |
//!
//! # A new case
//! Add it to the list of its module. Its name stays, for it is what the commit before is compared by; what it does should
//! stay, too. One that takes less than a hundred instructions is better done several times in each iteration: a compiler
//! may find three instructions more or less.

mod chunked;
mod heads;
mod log;
mod metrics;
mod pick;
mod request;
mod routes;
mod samples;

/// Does what a case measures so many times.
pub type Work = Box<dyn FnMut(u64)>;

/// One thing that is measured.
pub struct Case {
    name: String,
    counted: Option<u64>,
    is_long: bool,
    make: Box<dyn Fn() -> Work>,
}

impl Case {
    /// A case of which callgrind sees so many iterations.
    fn new(name: impl Into<String>, counted: u64, make: impl Fn() -> Work + 'static) -> Case {
        Case { name: name.into(), counted: Some(counted), is_long: false, make: Box::new(make) }
    }

    /// A case that is only timed: it is not ours.
    fn timed(name: impl Into<String>, make: impl Fn() -> Work + 'static) -> Case {
        Case { counted: None, ..Case::new(name, 0, make) }
    }

    /// A case that is only timed, and few times: one iteration is much work.
    fn long(name: impl Into<String>, make: impl Fn() -> Work + 'static) -> Case {
        Case { is_long: true, ..Case::timed(name, make) }
    }

    /// Its name, such as `head/parse/wrk`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many iterations are to be counted; `None` for a case that is only timed.
    #[must_use]
    pub fn counted(&self) -> Option<u64> {
        self.counted
    }

    /// Whether one iteration is much work.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.is_long
    }

    /// Prepares all that it needs.
    #[must_use]
    pub fn make(&self) -> Work {
        (self.make)()
    }
}

/// All cases, each under a name of its own.
#[must_use]
pub fn cases() -> Vec<Case> {
    let groups = [heads::cases, chunked::cases, routes::cases, pick::cases, log::cases, metrics::cases, request::cases];
    groups.into_iter().flat_map(|cases| cases()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own() {
        let all = cases();
        let mut names: Vec<&str> = all.iter().map(Case::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().filter_map(Case::counted).all(|counted| counted > 0));
    }
}
