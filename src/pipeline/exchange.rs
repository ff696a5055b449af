//! The facts of one request, from its head to its last byte.
//!
//! An exchange is made once and used for many requests: all of its storage is
//! kept, so that a request in the steady state allocates nothing.

use crate::base::time::Instant;
use crate::http::body::BodyDecoder;
use crate::http::h1::parse::{RequestHead, ResponseHead};
use crate::http::message::{Framing, Method};
use crate::net::{Reader, Stream};
use crate::router::Captures;
use crate::snapshot::{ListenerId, RouteId};

/// A client's connection, as the pipeline sees it.
#[derive(Debug)]
pub struct Client {
    /// Its stream.
    pub stream: Stream,
    /// What it has sent and nobody has used yet.
    pub reader: Reader,
    /// Its address as text, for X-Forwarded-For.
    pub address: String,
    /// The listener by which it came.
    pub listener: ListenerId,
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
    /// What the route has captured of the path.
    pub captures: Captures,
    /// The methods that could be used instead, as an Allow field lists them (405).
    pub allow: Vec<u8>,
    /// The body of a refusal.
    pub problem: String,
    /// The request's id: a UUID of version 7 (RFC 9562) as text.
    pub id: RequestId,
    /// When the head was complete.
    pub started: Instant,
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
}

/// A request's id as text.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(pub [u8; 36]);

impl Default for RequestId {
    fn default() -> Self {
        RequestId([b'0'; 36])
    }
}

impl RequestId {
    /// A new id: the time in milliseconds since 1970, then random bits.
    #[must_use]
    pub fn new(unix_millis: u64) -> RequestId {
        let mut random = [0; 10];
        fastrand::fill(&mut random);
        let id = uuid::Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid();
        let mut text = [0; 36];
        id.hyphenated().encode_lower(&mut text);
        RequestId(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Exchange {
    /// Forgets everything and keeps the storage.
    pub fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        for buffer in [&mut self.outgoing, &mut self.reply, &mut self.target, &mut self.path, &mut self.allow] {
            buffer.clear();
        }
        self.captures.clear();
        self.problem.clear();
        self.upload.reset(Framing::None);
        self.download.reset(Framing::None);
        for body in [&mut self.upload, &mut self.download] {
            // What a flood of tiny chunks has made large is not kept.
            body.gathered.shrink_to(4096);
        }
        self.route = None;
        self.parsed = false;
    }

    /// Gives the exchange its id and its time of start.
    pub fn begin(&mut self, now: Instant, unix_millis: u64) {
        self.id = RequestId::new(unix_millis);
        self.started = now;
    }

    /// The method, if the head was parsed.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        self.parsed.then(|| self.request.method())
    }

    /// The path on which the request is routed and sent on, in normal form.
    #[must_use]
    pub fn normal_path(&self) -> &[u8] {
        if self.path.is_empty() { self.request.path().as_bytes() } else { &self.path }
    }

    /// What the route has captured at place `index` (see [`Router::capture_index`](crate::router::Router)).
    #[must_use]
    pub fn capture(&self, index: usize) -> Option<&[u8]> {
        self.captures.get(index, self.normal_path())
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
        self.tail.clear();
        self.gathered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_7_and_differ() {
        let (first, second) = (RequestId::new(1 << 40), RequestId::new(1 << 40));
        assert_ne!(first.as_str(), second.as_str());
        for id in [first, second] {
            let text = id.as_str();
            assert_eq!(text.len(), 36);
            assert_eq!(text.as_bytes()[14], b'7');
            assert!(b"89ab".contains(&text.as_bytes()[19]));
        }
    }
}
