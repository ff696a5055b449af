//! Which of a service's targets takes a request.
//!
//! ```toml
//! [services.users]
//! targets = ["127.0.0.1:3001", { address = "127.0.0.1:3002", weight = 3 }]
//! balance = "round_robin"     # or "least_connections", "p2c_ewma", "consistent_hash",
//!                             # or { method = "consistent_hash", by = "header:X-User", load = 1.25 }
//! slow_start = "30s"          # a target that is new or has recovered grows into its share for so long; off by default
//! ```
//!
//! | method | takes |
//! |---|---|
//! | `round_robin` | each in its turn, by weight and evenly spread (`round_robin.rs`) |
//! | `least_connections` | the one with the fewest requests for its weight (`least.rs`) |
//! | `p2c_ewma` | of two that are drawn, the one whose answers are quicker and wait for less (`two_choices.rs`) |
//! | `consistent_hash` | the one that the key leads to, unless it has more than its part (`ring.rs`) |
//!
//! # What is used
//! Targets that are neither down (active checks know) nor drained (an operator wants it) nor ejected (failures let guess).
//! If there are none of these, then those that are only ejected: a guess that condemns all is wrong. If all are down or
//! drained there is none, and the
//! request is answered with 503 or by the fallback.
//!
//! # Cost
//! A [`Balancer`] belongs to one worker. It keeps a list of its own of what is used and reads one version number for
//! each request; it makes the list anew when that has changed, or when an ejection ends or a slow start goes on, which
//! it knows beforehand. Nothing is allocated for a request.
//!
//! # Slow start
//! A target that joins the others later, is up again or comes back from an ejection gets a tenth of its weight, which
//! grows to the whole in twenty even steps over `slow_start`. The targets that a service starts with need none, for
//! there is nobody who could take their share. `consistent_hash` does not do it: who moves keys there and back twice
//! helps no cache.

mod config;
mod ewma;
mod least;
mod ring;
mod round_robin;
mod target;
#[cfg(test)]
mod tests;
mod two_choices;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

pub use config::{HashBy, read};
pub use ring::Ring;
pub use target::{InFlight, Outcome, Target, TargetId};

use self::ring::Hashed;
use self::round_robin::RoundRobin;
use self::target::SHARE;
use self::two_choices::TwoChoices;
use super::affinity::Token;
use super::endpoint::Endpoint;
use super::members::{Endpoints, Members};
use super::settings::Settings;
use crate::base::time::Instant;

/// How a target is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Each in its turn.
    RoundRobin,
    /// The one with the fewest requests.
    LeastConnections,
    /// The quicker of two.
    TwoChoices {
        /// How long a latency is remembered: after so long without another, a third of it is left.
        decay: Duration,
    },
    /// The one that a key leads to.
    ConsistentHash {
        /// What the key is.
        by: HashBy,
        /// How many times its part of the running requests a target may have; `None` for any number.
        load: Option<f64>,
    },
}

impl Method {
    /// Whether it goes by what other workers have running, so that somebody has to look often.
    #[must_use]
    pub const fn looks_at_others(&self) -> bool {
        matches!(self, Method::LeastConnections | Method::ConsistentHash { load: Some(_), .. })
    }

    /// What the key of a request is; `None` where the method asks for none.
    #[must_use]
    pub fn hash_by(&self) -> Option<&HashBy> {
        match self {
            Method::ConsistentHash { by, .. } => Some(by),
            _ => None,
        }
    }
}

/// Of how many steps a slow start is made.
const STEPS: u32 = 20;

/// What the targets of one worker and service share.
#[derive(Debug)]
struct Context {
    members: Arc<Members>,
    settings: RefCell<Arc<Settings>>,
    worker: usize,
    /// Requests of this worker that run at any target.
    active: Cell<u32>,
}

impl Context {
    /// How long latencies are remembered; `None` where nobody asks for them.
    fn decay(&self) -> Option<Duration> {
        match self.settings.borrow().method {
            Method::TwoChoices { decay } => Some(decay),
            _ => None,
        }
    }

    /// What stands for a target in cookies.
    fn token(&self, endpoint: &Endpoint) -> Option<Token> {
        let settings = self.settings.borrow();
        settings.affinity.as_ref().map(|affinity| affinity.token(endpoint.address()))
    }
}

/// Chooses targets of one service for one worker.
#[derive(Debug)]
pub struct Balancer {
    context: Rc<Context>,
    random: Rng,
    /// What [`Members::version`] was when the list was made.
    version: Option<u64>,
    /// When the list has to be made anew though the version is the same.
    valid_until: Instant,
    endpoints: Endpoints,
    /// One for each endpoint, in their order.
    targets: Vec<Rc<Target>>,
    /// Those that may be used, in the same order.
    usable: Vec<Rc<Target>>,
    chooser: Chooser,
    next_id: u64,
}

/// What a method remembers.
#[derive(Debug)]
enum Chooser {
    RoundRobin(RoundRobin),
    LeastConnections,
    TwoChoices(TwoChoices),
    ConsistentHash(Hashed),
}

impl Chooser {
    fn new(method: &Method) -> Chooser {
        match method {
            Method::RoundRobin => Chooser::RoundRobin(RoundRobin::default()),
            Method::LeastConnections => Chooser::LeastConnections,
            Method::TwoChoices { decay } => Chooser::TwoChoices(TwoChoices::new(*decay)),
            Method::ConsistentHash { load, .. } => Chooser::ConsistentHash(Hashed::new(*load)),
        }
    }
}

impl Balancer {
    /// Chooses among `members` for worker `worker`. `seed` makes the workers begin at different places.
    #[must_use]
    pub fn new(members: Arc<Members>, settings: Arc<Settings>, worker: usize, seed: u64) -> Balancer {
        let chooser = Chooser::new(&settings.method);
        let context = Context { members, settings: RefCell::new(settings), worker, active: Cell::new(0) };
        Balancer {
            context: Rc::new(context),
            random: Rng::with_seed(seed),
            version: None,
            valid_until: Instant::NEVER,
            endpoints: Arc::default(),
            targets: Vec::new(),
            usable: Vec::new(),
            chooser,
            next_id: 0,
        }
    }

    /// What it goes by.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.context.settings.borrow().clone()
    }

    /// Goes by other settings from now on. Targets keep what is known of them, and their connections.
    pub fn configure(&mut self, settings: Arc<Settings>) {
        if self.context.settings.borrow().method != settings.method {
            self.chooser = Chooser::new(&settings.method);
        }
        *self.context.settings.borrow_mut() = settings;
        let settings = self.context.settings.borrow();
        for target in &self.targets {
            target.token.set(self.context.token(&target.endpoint));
            target.pool.borrow_mut().configure(settings.pool.idle_connections, settings.pool.idle_timeout);
        }
        self.version = None;
    }

    /// The target for the next request, one that is not in `tried` if there is such; `None` when all are down. `key` is
    /// what consistent hashing goes by (see [`crate::upstream::hash::hash`]); without one it takes any target.
    pub fn pick(&mut self, now: Instant, key: Option<u64>, tried: &[TargetId]) -> Option<Rc<Target>> {
        self.refresh(now);
        let is_left = |target: &Rc<Target>| !tried.contains(&target.id());
        let tried = if tried.is_empty() || self.usable.iter().any(is_left) { tried } else { &[] };
        let usable = &self.usable;
        let index = match &mut self.chooser {
            Chooser::RoundRobin(state) => state.pick(usable, tried, &mut self.random),
            Chooser::LeastConnections => least::pick(usable, tried, &mut self.random),
            Chooser::TwoChoices(state) => state.pick(usable, tried, now, &mut self.random),
            Chooser::ConsistentHash(state) => {
                let key = key.unwrap_or_else(|| self.random.u64(..));
                state.pick(usable, tried, key, self.context.active.get())
            }
        };
        index.map(|index| usable[index].clone())
    }

    /// Whether there is a target that may be used and is not in `tried`.
    pub fn has_other(&mut self, now: Instant, tried: &[TargetId]) -> bool {
        self.refresh(now);
        self.usable.iter().any(|target| !tried.contains(&target.id()))
    }

    /// Whether it goes by what other workers have running.
    #[must_use]
    pub fn looks_at_others(&self) -> bool {
        self.context.settings.borrow().method.looks_at_others()
    }

    /// The target of this number, if it may be used.
    pub fn by_id(&mut self, now: Instant, id: TargetId) -> Option<Rc<Target>> {
        self.refresh(now);
        self.usable.iter().find(|target| target.id() == id).cloned()
    }

    /// The target that a cookie names, if it may be used.
    pub fn by_token(&mut self, now: Instant, token: Token) -> Option<Rc<Target>> {
        self.refresh(now);
        self.usable.iter().find(|target| target.token() == Some(token)).cloned()
    }

    /// All targets of the list, also those that may not be used; as of the last pick or tick.
    #[must_use]
    pub fn targets(&self) -> &[Rc<Target>] {
        &self.targets
    }

    /// The tick of every worker: looks at what other workers have running, if the method goes by it, and at failure
    /// rates; each target that is ejected for its rate is told to `ejected`.
    pub fn settle(&mut self, now: Instant, ejected: impl FnMut(&Endpoint)) {
        let settings = self.context.settings.borrow().clone();
        if let Some(policy) = &settings.ejection {
            self.context.members.look(now, policy, ejected);
        }
        self.refresh(now);
        match &mut self.chooser {
            Chooser::RoundRobin(_) | Chooser::TwoChoices(_) => {}
            Chooser::LeastConnections => self.targets.iter().for_each(|target| {
                target.look_at_others();
            }),
            Chooser::ConsistentHash(state) => {
                let all = self.targets.iter().map(|target| target.look_at_others());
                state.settle(all.fold(0, u32::saturating_add));
            }
        }
    }

    /// Makes the list anew if it is no longer true.
    fn refresh(&mut self, now: Instant) {
        // The version is read before the list, or a change between the two would never be seen.
        let version = Some(self.context.members.version());
        if version == self.version && now < self.valid_until {
            return;
        }
        self.version = version;
        let endpoints = self.context.members.endpoints();
        if !Arc::ptr_eq(&endpoints, &self.endpoints) {
            self.endpoints = endpoints;
            self.adopt();
        }
        self.valid_until = Instant::NEVER;
        self.choose_usable(now);
        let settings = self.context.settings.borrow().clone();
        let starting = settings.slow_start.filter(|_| !matches!(self.chooser, Chooser::ConsistentHash(_)));
        for target in &self.usable {
            let (share, until) = share(&target.endpoint, starting, now);
            target.share.set(share);
            self.valid_until = self.valid_until.min(until);
        }
        match &mut self.chooser {
            Chooser::RoundRobin(state) => state.rebuild(&self.usable, &mut self.random),
            Chooser::LeastConnections => {}
            Chooser::TwoChoices(state) => state.rebuild(&self.usable),
            Chooser::ConsistentHash(state) => state.rebuild(&self.context.members, &self.usable),
        }
    }

    /// Makes a target of each endpoint, the one that there was if there was one. Those that are left are retired: what
    /// still runs there goes on, but no connection is kept.
    fn adopt(&mut self) {
        let place = |endpoint: &Arc<Endpoint>| Arc::as_ptr(endpoint).addr();
        let mut before = std::mem::take(&mut self.targets);
        before.sort_unstable_by_key(|target| place(&target.endpoint));
        let mut stays = vec![false; before.len()];
        for endpoint in self.endpoints.iter() {
            let known = before.binary_search_by_key(&place(endpoint), |target| place(&target.endpoint));
            self.targets.push(match known {
                Ok(index) => {
                    stays[index] = true;
                    before[index].clone()
                }
                Err(_) => {
                    self.next_id += 1;
                    let id = TargetId(self.next_id);
                    Rc::new(Target::new(endpoint.clone(), id, self.context.clone()))
                }
            });
        }
        for (target, _) in before.iter().zip(stays).filter(|(_, stays)| !stays) {
            target.pool.borrow_mut().retire();
        }
    }

    fn choose_usable(&mut self, now: Instant) {
        self.usable.clear();
        for target in &self.targets {
            target.pool.borrow_mut().set_open(!target.endpoint.is_drained());
        }
        let up = || self.targets.iter().filter(|target| target.endpoint.is_in_service());
        for target in up() {
            let until = target.endpoint.ejected_until();
            if until <= now {
                self.usable.push(target.clone());
            } else {
                self.valid_until = self.valid_until.min(until);
            }
        }
        if self.usable.is_empty() {
            self.usable.extend(up().cloned());
        }
        self.greet(now);
    }

    /// Takes those that are new or have come back for average ones until they have answered.
    fn greet(&self, now: Instant) {
        let Some(decay) = self.context.decay() else { return };
        let is_known = |target: &&Rc<Target>| target.since.get() == Some(used_since(&target.endpoint));
        let known = self.usable.iter().filter(is_known).map(|target| target.latency.at(now, decay));
        let (count, sum) = known.fold((0_u32, 0.0), |(count, sum), average| (count + 1, sum + average));
        for target in self.usable.iter().filter(|target| !is_known(target)) {
            target.since.set(Some(used_since(&target.endpoint)));
            target.latency.begin(sum / f64::from(count.max(1)), now);
        }
    }
}

/// Since when a target is used: when it joined, was up again or came back from an ejection; zero for the first ones.
fn used_since(endpoint: &Endpoint) -> Instant {
    endpoint.since().max(endpoint.ejected_until())
}

/// The weight of a target at `now`, and until when it is that.
fn share(endpoint: &Endpoint, slow_start: Option<Duration>, now: Instant) -> (u64, Instant) {
    let full = u64::from(endpoint.weight().max(1)) * SHARE;
    let since = used_since(endpoint);
    let (Some(whole), false) = (slow_start, since == Instant::ZERO) else { return (full, Instant::NEVER) };
    let step = whole / STEPS;
    let elapsed = now.since(since);
    let done = (1..=STEPS).rev().find(|&done| elapsed >= step * done).unwrap_or(0);
    if done == STEPS {
        return (full, Instant::NEVER);
    }
    let (tenth, steps) = (full / 10, u64::from(STEPS));
    (tenth + (full - tenth) * u64::from(done) / steps, since + step * (done + 1))
}
