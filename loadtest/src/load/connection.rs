//! One connection of the load: at most one request at a time, in small steps.

use super::report::Failure;
use super::response::{Outcome, Response};
use crate::poll::{Interest, Ready};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    phase: Phase,
    /// What the poll watches for.
    pub(super) interest: Interest,
    response: Response,
    /// The request that is under way.
    exchange: Option<Exchange>,
    /// When something was last begun: the connection, or a request.
    since: Instant,
}

/// A request on its way.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) request: Rc<[u8]>,
    /// When it should have been sent.
    pub(super) intended: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Connecting,
    Idle,
    /// So many bytes of the request are sent.
    Sending(usize),
    Receiving,
    /// The response is there, the end of the connection is not.
    Closing(Outcome),
}

/// What came of a step.
pub(super) enum Step {
    Nothing,
    /// It is connected, and free.
    Connected,
    Done(Outcome),
    /// The server has closed it while nothing was asked.
    ClosedIdle,
    Failed(Failure),
}

impl Connection {
    pub(super) fn open(address: SocketAddr, now: Instant) -> rustix::io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let (phase, interest) = (Phase::Connecting, Interest::Write);
        Ok(Self { socket, phase, interest, response: Response::default(), exchange: None, since: now })
    }

    /// Gives it a request to send, now or once it is connected.
    pub(super) fn begin(&mut self, exchange: Exchange, now: Instant) -> Step {
        self.exchange = Some(exchange);
        self.since = now;
        if self.phase == Phase::Connecting {
            return Step::Nothing;
        }
        self.phase = Phase::Sending(0);
        self.send()
    }

    /// Takes the request back.
    pub(super) fn end(&mut self) -> Option<Exchange> {
        self.exchange.take()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.exchange.is_some()
    }

    /// Since when something is waited for.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        (self.is_busy() || self.phase == Phase::Connecting).then_some(self.since)
    }

    pub(super) fn advance(&mut self, ready: Ready, buffer: &mut [u8]) -> Step {
        match self.phase {
            Phase::Connecting if ready.write => self.connected(),
            Phase::Sending(_) if ready.write => self.send(),
            // A server may answer, or close, before it has read the request.
            Phase::Idle | Phase::Sending(_) | Phase::Receiving | Phase::Closing(_) if ready.read => {
                self.receive(buffer)
            }
            _ => Step::Nothing,
        }
    }

    fn connected(&mut self) -> Step {
        if !matches!(sockopt::socket_error(&self.socket), Ok(Ok(()))) {
            return Step::Failed(Failure::Connect);
        }
        self.interest = Interest::Read;
        if self.exchange.is_some() {
            self.phase = Phase::Sending(0);
            return self.send();
        }
        self.phase = Phase::Idle;
        Step::Connected
    }

    fn send(&mut self) -> Step {
        let (Phase::Sending(sent), Some(exchange)) = (&mut self.phase, &self.exchange) else { return Step::Nothing };
        while *sent < exchange.request.len() {
            match rustix::net::send(&self.socket, &exchange.request[*sent..], SendFlags::NOSIGNAL) {
                Ok(length) => *sent += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.interest = Interest::Write;
                    return Step::Nothing;
                }
                // An end that the server had announced, or not: reading tells.
                Err(Errno::PIPE) => break,
                Err(_) => return Step::Failed(Failure::Reset),
            }
        }
        self.interest = Interest::Read;
        self.phase = Phase::Receiving;
        Step::Nothing
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Step {
        let length = match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => {
                return match self.phase {
                    Phase::Idle => Step::ClosedIdle,
                    Phase::Closing(outcome) => Step::Done(outcome),
                    _ => Step::Failed(Failure::Closed),
                };
            }
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Step::Nothing,
            Err(_) if self.phase == Phase::Idle => return Step::ClosedIdle,
            Err(_) => return Step::Failed(Failure::Reset),
        };
        match (self.phase, self.response.feed(&buffer[..length])) {
            // Bytes that nobody has asked for.
            (Phase::Idle | Phase::Closing(_), _) | (_, Err(_)) => Step::Failed(Failure::Malformed),
            (_, Ok(None)) => Step::Nothing,
            (phase, Ok(Some(outcome))) if outcome.close => {
                // It takes the end to know that all of the exchange is over.
                self.phase = Phase::Closing(outcome);
                if matches!(phase, Phase::Sending(_)) { Step::Done(outcome) } else { Step::Nothing }
            }
            (Phase::Sending(_), Ok(Some(outcome))) => Step::Done(Outcome { close: true, ..outcome }),
            (_, Ok(Some(outcome))) => {
                self.phase = Phase::Idle;
                Step::Done(outcome)
            }
        }
    }
}
