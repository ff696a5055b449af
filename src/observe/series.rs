//! What is counted of each route and each service.
//!
//! ```toml
//! [metrics]
//! routes = 10000
//! services = 1000
//! ```
//!
//! Every route and every service has a block of counters for each worker, on cache lines of its own; its worker alone
//! writes it, and whoever asks adds the workers' blocks up. Blocks are kept by name from one edition to the next, so that
//! counters go on over a reload; those of a name that is gone go with it.
//!
//! Memory is bounded by the configuration: a route takes 512 bytes for each worker, a service 1408. Of the routes, the
//! first `routes` in the order of the file have a block of their own; all others share one, called `(other)`. So do
//! services. Requests that took no route, or went to no service, are those of `(none)`. No name in a file looks like that.
//! Ten thousand routes and a thousand services on eight workers are 52 MB.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::{bump, read};
use super::histogram::{Coarse, Counted, Fine, Histogram};
use crate::base::decode::Section;

/// `[metrics]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// `routes`: how many routes have series of their own.
    pub routes: usize,
    /// `services`: how many services have.
    pub services: usize,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { routes: 10_000, services: 1000 }
    }
}

impl MetricsConfig {
    /// Reads the section.
    pub fn read(mut section: Section<'_, '_>) -> Self {
        let mut config = Self::default();
        section.read_within("routes", 0..=100_000, &mut config.routes);
        section.read_within("services", 0..=100_000, &mut config.services);
        section.finish(&[]);
        config
    }
}

/// What shares the series of all that have none of their own.
pub const OTHER: &str = "(other)";

/// What is counted where there is no route, or no service.
pub const NONE: &str = "(none)";

/// Kinds of methods, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verb {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// All others, and none.
    Other,
}

impl Verb {
    /// What they are called in series, in their order.
    pub const NAMES: [&'static str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
}

/// Classes of statuses, as they are counted: `none` is for a client that got none.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Statuses that are counted one by one for each service; others by their class.
const STATUSES: [u16; 42] = [
    101, 200, 201, 202, 203, 204, 206, 207, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 406, 408,
    409, 410, 411, 412, 413, 414, 415, 416, 421, 422, 425, 426, 429, 431, 500, 501, 502, 503, 504,
];

/// Places for statuses: the classes, then the statuses.
const PLACES: usize = CLASSES.len() + STATUSES.len();

/// The place of each status from 0 to 599.
const PLACE_OF: [u8; 600] = {
    let mut places = [0; 600];
    let mut status = 1;
    while status < places.len() {
        places[status] = class(status as u16) as u8;
        status += 1;
    }
    let mut at = 0;
    while at < STATUSES.len() {
        places[STATUSES[at] as usize] = (CLASSES.len() + at) as u8;
        at += 1;
    }
    places
};

/// The place of a status among [`CLASSES`].
const fn class(status: u16) -> usize {
    match status {
        0 => 0,
        1..200 => 1,
        200..300 => 2,
        300..400 => 3,
        400..500 => 4,
        _ => 5,
    }
}

/// A request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its method.
    pub verb: Verb,
    /// What the client got; 0 for nothing.
    pub status: u16,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// How often it was sent to a target.
    pub attempts: u32,
    /// How many of these were retries.
    pub retries: u32,
    /// Whether a backend had all of it, and took the times that are said of one.
    pub asked: bool,
    /// Whether its response was cut.
    pub cut: bool,
    /// Nanoseconds of the gateway's own work.
    pub gateway: u64,
    /// Nanoseconds of waiting for a connection.
    pub queue: u64,
    /// Nanoseconds from the end of the request to the head of the backend's response.
    pub first_byte: u64,
    /// Nanoseconds from the end of the request to the end of the backend's response.
    pub backend: u64,
    /// Nanoseconds in all.
    pub total: u64,
}

/// What one worker has counted of one route.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RouteBlock {
    requests: [[AtomicU64; CLASSES.len()]; Verb::NAMES.len()],
    received: AtomicU64,
    sent: AtomicU64,
    cut: AtomicU64,
    total: Coarse,
}

/// What one worker has counted of one service.
#[derive(Debug)]
#[repr(align(128))]
pub struct ServiceBlock {
    statuses: [AtomicU64; PLACES],
    received: AtomicU64,
    sent: AtomicU64,
    cut: AtomicU64,
    attempts: AtomicU64,
    retries: AtomicU64,
    over_budget: AtomicU64,
    /// Connections that are kept.
    idle: AtomicU64,
    times: [Fine; Time::ALL.len()],
}

/// The documentation says so.
const _: () = assert!(size_of::<RouteBlock>() == 512 && size_of::<ServiceBlock>() == 1408);

/// The parts of a request's time of which each service has a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The gateway's own work.
    Gateway,
    /// The wait for a connection, of those that had to wait.
    Queue,
    /// To the head of the backend's response.
    FirstByte,
    /// To the end of the backend's response.
    Backend,
    /// In all.
    Total,
}

impl Time {
    /// All of them, in their order.
    pub const ALL: [Time; 5] = [Time::Gateway, Time::Queue, Time::FirstByte, Time::Backend, Time::Total];
}

impl Default for ServiceBlock {
    fn default() -> Self {
        let [received, sent, cut, attempts, retries, over_budget, idle] = Default::default();
        let (statuses, times) = ([const { AtomicU64::new(0) }; _], Default::default());
        ServiceBlock { statuses, received, sent, cut, attempts, retries, over_budget, idle, times }
    }
}

impl RouteBlock {
    /// Counts a request. Only the owning worker may call this.
    #[inline]
    pub fn count(&self, finished: &Finished) {
        bump(&self.requests[finished.verb as usize][class(finished.status)], 1);
        bump(&self.received, finished.received);
        bump(&self.sent, finished.sent);
        self.total.record(finished.total);
        if finished.cut {
            bump(&self.cut, 1);
        }
    }
}

impl ServiceBlock {
    /// Counts a request. Only the owning worker may call this.
    #[inline]
    pub fn count(&self, finished: &Finished) {
        let place = PLACE_OF.get(usize::from(finished.status)).map_or(class(finished.status), |place| (*place).into());
        bump(&self.statuses[place], 1);
        bump(&self.received, finished.received);
        bump(&self.sent, finished.sent);
        self.times[Time::Gateway as usize].record(finished.gateway);
        self.times[Time::Total as usize].record(finished.total);
        if finished.attempts > 0 {
            bump(&self.attempts, finished.attempts.into());
        }
        if finished.asked {
            self.times[Time::FirstByte as usize].record(finished.first_byte);
            self.times[Time::Backend as usize].record(finished.backend);
        }
        if finished.retries > 0 {
            bump(&self.retries, finished.retries.into());
        }
        if finished.queue > 0 {
            self.times[Time::Queue as usize].record(finished.queue);
        }
        if finished.cut {
            bump(&self.cut, 1);
        }
    }

    /// Counts a request that was not sent again because too many others were. Only the owning worker may call this.
    pub fn count_over_budget(&self) {
        bump(&self.over_budget, 1);
    }
}

/// The blocks of one name.
#[derive(Debug)]
pub struct Series<B> {
    name: Box<str>,
    blocks: Box<[B]>,
}

impl<B: Default> Series<B> {
    fn new(name: &str, workers: usize) -> Arc<Self> {
        Arc::new(Series { name: name.into(), blocks: (0..workers).map(|_| B::default()).collect() })
    }
}

impl<B> Series<B> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What worker `worker` writes.
    #[must_use]
    #[inline]
    pub fn of(&self, worker: usize) -> &B {
        &self.blocks[worker]
    }

    fn sum(&self, value: impl Fn(&B) -> &AtomicU64) -> u64 {
        self.blocks.iter().fold(0, |sum, block| sum.wrapping_add(read(value(block))))
    }

    fn times<const N: usize>(&self, histogram: impl Fn(&B) -> &Histogram<N>) -> Counted<N> {
        let mut counted = Counted::default();
        self.blocks.iter().for_each(|block| counted.add(histogram(block)));
        counted
    }
}

impl Series<RouteBlock> {
    /// Requests by method and class of status, all that there were: the places in [`Verb::NAMES`] and [`CLASSES`].
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let all = Verb::NAMES.into_iter().enumerate();
        all.flat_map(move |(verb, name)| {
            let of_class = move |(class, label)| (name, label, self.sum(|block| &block.requests[verb][class]));
            CLASSES.into_iter().enumerate().map(of_class)
        })
        .filter(|(_, _, count)| *count > 0)
    }

    /// Bytes from clients, bytes to clients, and responses that were cut.
    #[must_use]
    pub fn flow(&self) -> [u64; 3] {
        [self.sum(|block| &block.received), self.sum(|block| &block.sent), self.sum(|block| &block.cut)]
    }

    /// How long requests took in all.
    #[must_use]
    pub fn total(&self) -> Counted<{ super::histogram::COARSE_BUCKETS }> {
        self.times(|block| &block.total)
    }
}

impl Series<ServiceBlock> {
    /// Requests by status: the class, the status where it is counted by itself, and how many. All that there were, and
    /// the failures of gateways, for a rate needs a series that begins before the first failure.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, Option<u16>, u64)> {
        let classes = CLASSES.into_iter().map(|class| (class, None));
        let statuses = STATUSES.into_iter().map(|status| (CLASSES[class(status)], Some(status)));
        let all = classes.chain(statuses).enumerate();
        all.map(|(place, (class, status))| (class, status, self.sum(|block| &block.statuses[place])))
            .filter(|(_, status, count)| *count > 0 || matches!(status, Some(500 | 502..=504)))
    }

    /// Bytes from clients, bytes to clients, and responses that were cut.
    #[must_use]
    pub fn flow(&self) -> [u64; 3] {
        [self.sum(|block| &block.received), self.sum(|block| &block.sent), self.sum(|block| &block.cut)]
    }

    /// How often requests were sent, how often again, and how often not again because too many others were.
    #[must_use]
    pub fn attempts(&self) -> [u64; 3] {
        [self.sum(|block| &block.attempts), self.sum(|block| &block.retries), self.sum(|block| &block.over_budget)]
    }

    /// Connections that are kept for the next request.
    #[must_use]
    pub fn idle(&self) -> u64 {
        self.sum(|block| &block.idle)
    }

    /// How long a part of requests took.
    #[must_use]
    pub fn time(&self, time: Time) -> Counted<{ super::histogram::BUCKETS }> {
        self.times(|block| &block.times[time as usize])
    }
}

/// The series of all routes, or of all services.
#[derive(Debug)]
pub struct Shelf<B> {
    /// In the order of the file; those that have none of their own have `other`.
    all: Vec<Arc<Series<B>>>,
    other: Arc<Series<B>>,
    none: Arc<Series<B>>,
}

impl<B: Default> Shelf<B> {
    /// Series for these names, of which the first `most` have their own.
    #[must_use]
    pub fn first<'n>(names: impl IntoIterator<Item = &'n str>, most: usize, workers: usize) -> Shelf<B> {
        let (other, none) = (Series::new(OTHER, workers), Series::new(NONE, workers));
        Shelf { all: Vec::new(), other, none }.next(names, most)
    }

    /// Series for these names, of which the first `most` have their own. Those that there are here, stay.
    #[must_use]
    pub fn next<'n>(&self, names: impl IntoIterator<Item = &'n str>, most: usize) -> Shelf<B> {
        let known: HashMap<&str, &Arc<Series<B>>> = self.own().map(|series| (series.name(), series)).collect();
        let series = |(place, name): (usize, &str)| match known.get(name) {
            _ if place >= most => self.other.clone(),
            Some(series) => Arc::clone(series),
            None => Series::new(name, self.other.blocks.len()),
        };
        let all = names.into_iter().enumerate().map(series).collect();
        Shelf { all, other: self.other.clone(), none: self.none.clone() }
    }
}

impl Shelf<ServiceBlock> {
    /// Takes note of how many connections worker `worker` keeps for each. Only that worker may call this.
    pub fn keep_idle(&self, worker: usize, idle: impl Iterator<Item = usize>) {
        let mut others = 0;
        for (series, idle) in self.all.iter().zip(idle) {
            if Arc::ptr_eq(series, &self.other) {
                others += idle as u64;
            } else {
                series.of(worker).idle.store(idle as u64, Ordering::Relaxed);
            }
        }
        self.other.of(worker).idle.store(others, Ordering::Relaxed);
    }
}

impl<B> Shelf<B> {
    /// The series of the name at this place; without a place, those of nothing.
    #[must_use]
    #[inline]
    pub fn at(&self, place: Option<usize>) -> &Series<B> {
        match place {
            Some(place) => &self.all[place],
            None => &self.none,
        }
    }

    /// Those of one name.
    fn own(&self) -> impl Iterator<Item = &Arc<Series<B>>> {
        self.all.iter().filter(|series| !Arc::ptr_eq(series, &self.other))
    }

    /// All of them, each once.
    pub fn each(&self) -> impl Iterator<Item = &Series<B>> {
        self.own().chain([&self.other, &self.none]).map(|series| &**series)
    }
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
