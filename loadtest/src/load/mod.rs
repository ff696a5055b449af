//! The load: so many connections, in a closed or an open loop.
//!
//! Closed: each connection asks again as soon as it is answered, so the server
//! sets the pace, and its CPU time per request at full load is what is learned.
//!
//! Open: requests have moments at which they are sent, evenly spaced, whatever
//! the server does. If no connection is free then, the request waits, and its
//! latency counts from its moment all the same: a server that stalls for a
//! second is charged with every request of that second (Gil Tene calls the
//! contrary coordinated omission).

mod connection;
pub(crate) mod report;
mod request;
pub(crate) mod response;

use crate::poll::{Poll, Ready};
use connection::{Connection, Exchange, Step};
use report::{Failure, Report};
use response::Outcome;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

const BUFFER: usize = 256 * 1024;
/// How often timeouts are looked for, and lost connections opened again.
const TICK: Duration = Duration::from_millis(10);
/// How long answers are waited for at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    /// What is asked for, in turn.
    pub(crate) paths: Vec<String>,
    pub(crate) connections: usize,
    /// How long is measured.
    pub(crate) measured: Duration,
    /// How long the load lasts before that.
    pub(crate) warmup: Duration,
    /// Requests a second of an open loop; `None` for a closed one.
    pub(crate) rate: Option<f64>,
    /// A new connection for each request; it is over when the server has closed it.
    pub(crate) close: bool,
    /// Bytes of each request's body.
    pub(crate) upload: usize,
    /// Header fields of a request.
    pub(crate) fields: usize,
    /// Bytes that each response's body must have.
    pub(crate) expect: Option<u64>,
    /// How long a request, or a connection that is being made, may take.
    pub(crate) timeout: Duration,
}

/// The two ends of the measured time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Edge {
    Begin,
    End,
}

/// Runs the plan; `on` is called at the edges of the measured time.
pub(crate) fn run(plan: &Plan, on: impl FnMut(Edge) -> io::Result<()>) -> io::Result<Report> {
    if plan.paths.is_empty() || plan.connections == 0 || plan.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) {
        let wrong = "a load has at least one path, one connection, and a rate above zero";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, wrong));
    }
    Load::new(plan)?.run(on)
}

struct Load<'a> {
    plan: &'a Plan,
    poll: Poll,
    requests: Vec<Rc<[u8]>>,
    /// How many have been sent.
    sent: usize,
    connections: Vec<Option<Connection>>,
    /// Those that wait for a request, the one that has waited longest first.
    idle: VecDeque<usize>,
    /// Those that are to be opened again.
    lost: Vec<usize>,
    window: Window,
    report: Report,
}

/// When the load begins, is measured, and ends.
struct Window {
    start: Instant,
    begin: Instant,
    end: Instant,
    /// Of an open loop, how far its moments are apart.
    interval: Option<f64>,
    /// How many of its moments have had their request sent.
    issued: u64,
}

impl Window {
    fn measures(&self, moment: Instant) -> bool {
        self.begin <= moment && moment < self.end
    }

    /// The moment of the next request, where moments are given.
    fn next(&self) -> Option<Instant> {
        let next = self.start + Duration::from_secs_f64(self.issued as f64 * self.interval?);
        (next < self.end).then_some(next)
    }

    /// How many requests should have been sent by the end, and were not.
    fn unsent(&self) -> u64 {
        let Some(interval) = self.interval else { return 0 };
        let due = ((self.end - self.start).as_secs_f64() / interval).ceil() as u64;
        due.saturating_sub(self.issued)
    }
}

impl<'a> Load<'a> {
    fn new(plan: &'a Plan) -> io::Result<Self> {
        let shape =
            request::Shape { address: plan.address, fields: plan.fields, upload: plan.upload, close: plan.close };
        let start = Instant::now();
        let begin = start + plan.warmup;
        let end = begin + plan.measured;
        let mut load = Self {
            plan,
            poll: Poll::new()?,
            requests: plan.paths.iter().map(|path| Rc::from(shape.request(path))).collect(),
            sent: 0,
            connections: (0..plan.connections).map(|_| None).collect(),
            idle: VecDeque::with_capacity(plan.connections),
            lost: Vec::new(),
            window: Window { start, begin, end, interval: plan.rate.map(|rate| 1.0 / rate), issued: 0 },
            report: Report::new(plan.measured).map_err(io::Error::other)?,
        };
        if plan.close {
            // Each is opened when there is a request for it.
            load.idle.extend(0..plan.connections);
        } else {
            (0..plan.connections).try_for_each(|token| load.open(token, None))?;
        }
        Ok(load)
    }

    fn run(mut self, mut on: impl FnMut(Edge) -> io::Result<()>) -> io::Result<Report> {
        let (mut ready, mut buffer) = (Vec::new(), vec![0; BUFFER]);
        let mut tick = self.window.start + TICK;
        let mut begun = false;
        loop {
            let now = Instant::now();
            if !begun && now >= self.window.begin {
                begun = true;
                on(Edge::Begin)?;
            }
            if now >= self.window.end {
                break;
            }
            if now >= tick {
                self.tick(now)?;
                tick = now + TICK;
            }
            self.issue(now)?;
            let edge = if begun { self.window.end } else { self.window.begin };
            let next = self.window.next().filter(|_| !self.idle.is_empty());
            self.poll.wait(next.map_or(edge, |next| next.min(edge)).min(tick), &mut ready)?;
            for each in &ready {
                self.advance(*each, &mut buffer)?;
            }
        }
        on(Edge::End)?;
        self.drain(&mut ready, &mut buffer)?;
        Ok(self.report)
    }

    /// Waits for the answers to what was asked; of an open loop, sends what is overdue.
    fn drain(&mut self, ready: &mut Vec<Ready>, buffer: &mut [u8]) -> io::Result<()> {
        let until = Instant::now() + DRAIN.min(self.plan.timeout);
        loop {
            let now = Instant::now();
            if self.window.next().is_some() {
                self.issue(now)?;
            }
            let busy = self.connections.iter().flatten().filter(|connection| connection.is_busy()).count();
            if now >= until || (busy == 0 && self.window.next().is_none()) {
                self.report.fail(Failure::Timeout, busy as u64);
                self.report.fail(Failure::Unsent, self.window.unsent());
                return Ok(());
            }
            self.poll.wait(until.min(now + TICK), ready)?;
            for each in &*ready {
                self.advance(*each, buffer)?;
            }
        }
    }

    /// Sends what is due, as far as there are connections for it.
    fn issue(&mut self, now: Instant) -> io::Result<()> {
        while let Some(token) = self.idle.front().copied() {
            let intended = match self.window.next() {
                Some(next) if next <= now => next,
                None if self.window.interval.is_none() => now,
                _ => break,
            };
            self.idle.pop_front();
            self.window.issued += 1;
            let request = Rc::clone(&self.requests[self.sent % self.requests.len()]);
            self.sent += 1;
            let exchange = Exchange { request, intended };
            let Some(connection) = &mut self.connections[token] else {
                self.open(token, Some(exchange))?;
                continue;
            };
            let before = connection.interest;
            let step = connection.begin(exchange, now);
            self.settle(token, before, step)?;
        }
        Ok(())
    }

    fn advance(&mut self, ready: Ready, buffer: &mut [u8]) -> io::Result<()> {
        let Some(connection) = &mut self.connections[ready.token] else { return Ok(()) };
        let before = connection.interest;
        let step = connection.advance(ready, buffer);
        self.settle(ready.token, before, step)
    }

    /// Does what a step of a connection asks for.
    fn settle(&mut self, token: usize, before: crate::poll::Interest, step: Step) -> io::Result<()> {
        match step {
            Step::Nothing | Step::Connected => {
                if matches!(step, Step::Connected) {
                    self.idle.push_back(token);
                }
            }
            Step::Done(outcome) => return self.done(token, outcome),
            Step::ClosedIdle => {
                self.report.reopened += 1;
                self.idle.retain(|idle| *idle != token);
                return self.open(token, None);
            }
            Step::Failed(failure) => {
                self.report.fail(failure, 1);
                self.lose(token);
                return Ok(());
            }
        }
        match &self.connections[token] {
            Some(connection) if connection.interest != before => {
                self.poll.change(&connection.socket, token, connection.interest)
            }
            _ => Ok(()),
        }
    }

    fn done(&mut self, token: usize, outcome: Outcome) -> io::Result<()> {
        let now = Instant::now();
        let exchange = self.connections[token].as_mut().and_then(Connection::end);
        if let Some(exchange) = exchange {
            self.count(&exchange, outcome, now);
        }
        if self.plan.close {
            self.connections[token] = None;
            self.idle.push_back(token);
        } else if outcome.close {
            self.report.reopened += 1;
            self.open(token, None)?;
        } else {
            self.idle.push_back(token);
        }
        // An open loop sends when it is time, which `issue` knows.
        if self.window.interval.is_none() && now < self.window.end {
            self.issue(now)?;
        }
        Ok(())
    }

    fn count(&mut self, exchange: &Exchange, outcome: Outcome, now: Instant) {
        if outcome.status != 200 {
            self.report.fail(Failure::Status(outcome.status), 1);
        } else if self.plan.expect.is_some_and(|expect| expect != outcome.length) {
            self.report.fail(Failure::Length, 1);
        } else {
            if self.window.measures(now) {
                self.report.requests += 1;
                self.report.received += outcome.length;
            }
            if self.window.measures(exchange.intended) {
                self.report.took(now - exchange.intended);
            }
        }
    }

    fn open(&mut self, token: usize, exchange: Option<Exchange>) -> io::Result<()> {
        let now = Instant::now();
        let mut connection = match Connection::open(self.plan.address, now) {
            Ok(connection) => connection,
            // Of this machine, and not of the server: no descriptors, no memory.
            Err(error @ (rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::NOBUFS)) => {
                return Err(error.into());
            }
            Err(_) => {
                self.report.fail(Failure::Connect, 1);
                self.lose(token);
                return Ok(());
            }
        };
        if let Some(exchange) = exchange {
            connection.begin(exchange, now);
        }
        self.poll.add(&connection.socket, token, connection.interest)?;
        self.connections[token] = Some(connection);
        Ok(())
    }

    /// Gives a connection up. The next tick opens it again, so that a server that refuses all is not flooded.
    fn lose(&mut self, token: usize) {
        self.connections[token] = None;
        self.lost.push(token);
    }

    fn tick(&mut self, now: Instant) -> io::Result<()> {
        for token in std::mem::take(&mut self.lost) {
            if self.plan.close {
                self.idle.push_back(token);
            } else {
                self.open(token, None)?;
            }
        }
        let timeout = self.plan.timeout;
        let too_long = |connection: &Connection| {
            connection.waits_since().is_some_and(|since| now.saturating_duration_since(since) > timeout)
        };
        let connections = self.connections.iter().enumerate();
        let late: Vec<usize> = connections
            .filter_map(|(token, connection)| connection.as_ref().is_some_and(too_long).then_some(token))
            .collect();
        for token in late {
            self.report.fail(Failure::Timeout, 1);
            self.lose(token);
        }
        Ok(())
    }
}
