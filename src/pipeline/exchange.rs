//! The facts of one request, from its head to its last byte.
//!
//! An exchange is made once and used for many requests: all of its storage is
//! kept, so that a request in the steady state allocates nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::account::Account;
use crate::base::request_id::RequestId;
use crate::base::time::Instant;
use crate::http::body::BodyDecoder;
use crate::http::edit::Scratch;
use crate::http::h1::parse::{RequestHead, ResponseHead};
use crate::http::message::{Framing, Method};
use crate::net::{Reader, Stream, Timer};
use crate::policy::forwarded::{ClientAddress, Origin};
use crate::router::Captures;
use crate::snapshot::doorway::Doorway;
use crate::snapshot::{Fields, ListenerId, RouteId, ServiceId};
use crate::upstream::balance::TargetId;

/// A client's connection, as the pipeline sees it.
#[derive(Debug)]
pub struct Client {
    /// Its stream.
    pub stream: Stream,
    /// What it has sent and nobody has used yet.
    pub reader: Reader,
    /// When it, or who answers it, has been waited for long enough.
    pub timer: Timer,
    /// The address of the other side.
    pub address: ClientAddress,
    /// The port that it has connected to, if there is one.
    pub port: Option<u16>,
    /// The way by which it came.
    pub door: Rc<Door>,
    /// The listener that is there.
    pub listener: ListenerId,
}

/// The way by which clients come: a doorway, as one worker sees it.
#[derive(Debug)]
pub struct Door {
    /// Where it is.
    pub doorway: Arc<Doorway>,
    is_closing: Cell<bool>,
    connections: Cell<usize>,
}

impl Door {
    /// One that is open.
    #[must_use]
    pub fn new(doorway: Arc<Doorway>) -> Rc<Door> {
        Rc::new(Door { doorway, is_closing: Cell::new(false), connections: Cell::new(0) })
    }

    /// Counts a connection that has come by it, or with -1 one that has ended.
    pub fn count_connection(&self, more: isize) {
        self.connections.set(self.connections.get().wrapping_add_signed(more));
    }

    /// How many connections that have come by it are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// No listener is there any more: each connection that has come by it ends with what it carries.
    pub fn close(&self) {
        self.is_closing.set(true);
    }

    /// Whether its connections are ending.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.is_closing.get()
    }
}

/// One request and its response.
#[derive(Debug, Default)]
pub struct Exchange {
    /// The head of the request.
    pub request: RequestHead,
    /// The head of the response.
    pub response: ResponseHead,
    /// The body of the request.
    pub upload: Body,
    /// The body of the response.
    pub download: Body,
    /// The request's head as it goes to the backend.
    pub outgoing: Vec<u8>,
    /// The response's head as it goes to the client.
    pub reply: Vec<u8>,
    /// What is asked of the backend: path and query.
    pub target: Vec<u8>,
    /// Where the path is brought to normal form.
    pub path: Vec<u8>,
    /// The protocols that the backend is asked to switch to, as the value of the Upgrade field.
    pub offer: Vec<u8>,
    /// Values of fields that have to be put together.
    pub values: Vec<u8>,
    /// Where the rules over fields note what they are about.
    pub scratch: RefCell<Scratch>,
    /// What the route has captured of the path.
    pub captures: Captures,
    /// The methods that could be used instead, as an Allow field lists them (405).
    pub allow: Vec<u8>,
    /// The body of a refusal.
    pub problem: String,
    /// The request's id.
    pub id: RequestId,
    /// Where the request comes from.
    pub origin: Origin,
    /// When the head was complete.
    pub started: Instant,
    /// What there is to say of it once it is over.
    pub account: Account,
    /// The service whose fixed response answers it.
    pub fallback: Option<ServiceId>,
    /// Its client has a cookie for a target that may be used.
    pub affinity: bool,
    /// The Set-Cookie that goes with the response; empty for none.
    pub cookie: Vec<u8>,
    /// The targets that it was sent to.
    pub tried: Vec<TargetId>,
    /// The route it took.
    pub route: Option<RouteId>,
    /// Whether the request's head was parsed: only then do its accessors mean anything.
    pub parsed: bool,
}

/// A body on its way through.
#[derive(Debug, Default)]
pub struct Body {
    /// Takes it apart.
    pub decoder: BodyDecoder,
    /// What is sent behind its last byte.
    pub tail: Vec<u8>,
    /// Where pieces that are too many to be sent one by one are put together.
    pub gathered: Vec<u8>,
    /// The data so far, for somebody who needs it again.
    pub recorded: Recording,
}

/// The data of a body, kept while it passes, as long as it is not too large.
#[derive(Debug, Default)]
pub struct Recording {
    bytes: Vec<u8>,
    most: usize,
    whole: bool,
}

/// Memory of a recording that is kept for the next one.
const RECORDING_KEPT: usize = 4096;

impl Exchange {
    /// Forgets everything and keeps the storage.
    pub fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        let [outgoing, reply] = [&mut self.outgoing, &mut self.reply];
        for buffer in [outgoing, reply, &mut self.target, &mut self.path, &mut self.values, &mut self.allow] {
            buffer.clear();
        }
        self.offer.clear();
        self.captures.clear();
        self.problem.clear();
        self.upload.reset(Framing::None);
        self.download.reset(Framing::None);
        for body in [&mut self.upload, &mut self.download] {
            // What a flood of tiny chunks has made large is not kept.
            body.gathered.shrink_to(4096);
        }
        self.route = None;
        (self.fallback, self.affinity) = (None, false);
        self.cookie.clear();
        self.parsed = false;
        self.account = Account::default();
    }

    /// Gives the exchange its id, its origin and its time of start.
    pub fn begin(&mut self, now: Instant, unix_micros: u64, fields: &Fields, client: &Client) {
        self.started = now;
        self.account.times.began = now;
        self.account.unix_micros = unix_micros;
        let unix_millis = unix_micros / 1000;
        if self.parsed {
            self.origin = fields.forwarding.origin(&client.address, &self.request, false);
            self.id = fields.request_ids.of(&self.request, self.origin.trusted, unix_millis);
        } else {
            self.origin = Origin { client: client.address, ..Origin::default() };
            self.id = RequestId::new(unix_millis);
        }
    }

    /// The method, if the head was parsed.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        self.parsed.then(|| self.request.method())
    }

    /// The path on which the request is routed and sent on, in normal form.
    #[must_use]
    pub fn normal_path(&self) -> &[u8] {
        if self.path.is_empty() { self.request.path_bytes() } else { &self.path }
    }

    /// What the route has captured at place `index` (see [`Router::capture_index`](crate::router::Router)).
    #[must_use]
    pub fn capture(&self, index: usize) -> Option<&[u8]> {
        self.captures.get(index, self.normal_path())
    }

    /// Bytes of the request's body that are still to come; nothing where nobody can know, nor for chunks without data. Its
    /// head was parsed.
    #[must_use]
    pub fn body_left(&self) -> Option<u64> {
        let received = self.upload.decoder.received();
        match self.request.framing() {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length.saturating_sub(received)),
            Framing::Chunked if self.upload.decoder.is_done() && received > 0 => Some(0),
            Framing::Chunked | Framing::UntilClose => None,
        }
    }

    /// Writes the body of a refusal.
    pub fn describe(&mut self, answer: &super::reject::Answer) {
        self.problem.clear();
        let id = self.id;
        let written = answer.describe(id.as_str(), &mut self.problem);
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
}

impl Body {
    /// Begins a body.
    pub fn reset(&mut self, framing: Framing) {
        self.decoder.reset(framing);
        self.recorded.begin(0);
        self.again();
    }

    /// Gets ready to send the body once more, from its beginning; what was received stays received.
    pub fn again(&mut self) {
        self.tail.clear();
        self.gathered.clear();
    }
}

impl Recording {
    /// Begins to record a body of at most `most` bytes.
    pub fn begin(&mut self, most: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(RECORDING_KEPT);
        (self.most, self.whole) = (most, true);
    }

    /// Makes it keep bodies of at least `most` bytes. Only of use before it has given up.
    pub fn keep_up_to(&mut self, most: usize) {
        self.most = self.most.max(most);
    }

    /// Keeps `data`, or gives up when it is too much.
    pub fn add(&mut self, data: &[u8]) {
        if !self.whole || data.is_empty() {
            return;
        }
        self.whole = self.bytes.len() + data.len() <= self.most;
        if self.whole {
            self.bytes.extend_from_slice(data);
        } else {
            self.bytes = Vec::new();
        }
    }

    /// All data that has passed, if none of it is lost.
    #[must_use]
    pub fn get(&self) -> Option<&[u8]> {
        self.whole.then_some(&*self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_whole_or_nothing() {
        let mut recording = Recording::default();
        assert_eq!(recording.get(), None);
        recording.begin(4);
        recording.add(b"ab");
        recording.add(b"cd");
        recording.add(b"");
        assert_eq!(recording.get(), Some(&b"abcd"[..]));
        recording.add(b"e");
        assert_eq!(recording.get(), None);
        recording.add(b"");
        assert_eq!(recording.get(), None);
        recording.begin(0);
        assert_eq!(recording.get(), Some(&b""[..]), "of a body without data nothing is lost");
    }
}
