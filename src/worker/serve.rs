//! The life of one client connection: request after request, until somebody has had enough.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::finish::{count_status, finish};
use super::{Admission, Door, LAST_WORDS, Refusal, Worker, proxied};
use crate::base::recycler::{Desk, Recycler};
use crate::base::time::{Instant, unix_micros};
use crate::http::h1::parse::Progress;
use crate::net::{Reader, Sending, Stream};
use crate::observe::counters::Counter;
use crate::observe::events::Event;
use crate::pipeline::account::{End, nanos};
use crate::pipeline::local::{self, What};
use crate::pipeline::tunnel::{Traffic, Tunnel, TunnelEnd};
use crate::pipeline::{self, Client, Ended, Exchange, Reject, View};
use crate::policy::access_log::Pending;
use crate::policy::forwarded::ClientAddress;
use crate::shard::Shard;
use crate::shard::census::Activity;
use crate::snapshot::ListenerId;

/// How long a client may take over our last words, or over a body that is dropped.
const LINGER: Duration = Duration::from_secs(2);

/// How long a connection that we end may go on sending in all, so that the client gets to read our last words (RFC 9112
/// section 9.6). Silence ends it sooner.
const LINGER_MAX: Duration = Duration::from_secs(15);

/// How long an answer may take to be sent once what runs is broken off: so short that it is told of before all ends.
const FAREWELL: Duration = LAST_WORDS.saturating_sub(Duration::from_millis(200));

/// How long an idle connection stays when the worker drains, for a request that is on its way.
const DRAIN_GRACE: Duration = Duration::from_millis(100);

/// A body of a refused request that is read and dropped, so that the connection can go on.
const DISCARD_MAX: u64 = 64 * 1024;

/// What became of the wait for a request.
enum Waited {
    /// Something has come.
    Bytes,
    /// Nothing will come, or nothing came in time, or the worker drains.
    Over,
}

/// What a connection does after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Request,
    /// End it; the client knows.
    Close,
    /// End it, but let the client read what was sent.
    Linger,
    /// End it so that the client sees an error.
    Reset,
    /// Run the tunnel that it has become.
    Tunnel,
}

/// What carries out the requests of connections.
pub(super) type Requests<F> = Recycler<Box<Connection>, Served, F>;

/// Where it finds the next connection that has one.
pub(super) type RequestDesk = Rc<Desk<Box<Connection>, Served>>;

/// A connection that has had its request served, and what it does then.
type Served = (Box<Connection>, Next);

/// Serves a connection until it ends. Each request runs in a future of its own, in memory that idle connections do not
/// hold.
pub(super) async fn serve<F: Future<Output = Infallible>>(
    mut connection: Box<Connection>,
    admission: Admission,
    requests: Rc<Requests<F>>,
) {
    if connection.is_proxied() && !Box::pin(connection.announced()).await {
        return;
    }
    let mut next = loop {
        match connection.wait().await {
            Waited::Over => break Next::Close,
            Waited::Bytes => {}
        }
        admission.note(Activity::Request);
        let next;
        (connection, next) = requests.run(connection).await;
        if next != Next::Request {
            break next;
        }
        admission.note(Activity::Idle);
    };
    if next == Next::Tunnel {
        admission.note(Activity::Tunnel);
        next = Box::pin(connection.tunnel()).await;
    }
    if next != Next::Close {
        admission.note(Activity::Ending);
        // Rare, and larger than all that an idle connection needs.
        Box::pin(connection.end(next)).await;
    }
}

/// Serves one request after the other, each of some connection.
pub(super) async fn serve_requests(desk: RequestDesk) -> Infallible {
    loop {
        let mut connection = desk.next().await;
        let mut x = connection.worker.exchange();
        let next = connection.request(&mut x).await;
        connection.worker.recycle(x);
        desk.finish((connection, next));
    }
}

/// Refuses a connection that is one too many.
pub(super) async fn refuse_connection(refusal: Refusal, stream: Stream, peer: Option<SocketAddr>, door: Rc<Door>) {
    let worker = &refusal.worker;
    let mut connection = Connection::new(worker.clone(), stream, peer, door);
    let (mut x, view) = (worker.exchange(), worker.view());
    connection.begin(&mut x, &view);
    let next = connection.refuse(&view, &mut x, Reject::TooManyConnections).await;
    worker.recycle(x);
    connection.end(next).await;
}

/// A client's connection.
pub(super) struct Connection {
    worker: Rc<Worker>,
    client: Client,
    /// The edition by which `client.listener` is meant.
    number: u32,
    requests: u32,
    counted: u64,
    tunnel: Option<Box<Switched>>,
}

/// A tunnel that is to be run, and its line in the access log, which is to be finished.
struct Switched {
    tunnel: Box<Tunnel>,
    line: Option<Box<Pending>>,
    began: Instant,
}

impl Connection {
    pub(super) fn new(worker: Rc<Worker>, stream: Stream, peer: Option<SocketAddr>, door: Rc<Door>) -> Connection {
        let (reader, address) = (Reader::default(), ClientAddress::of_peer(peer));
        let port = Some(door.doorway.address().port());
        let timer = stream.handle().timer();
        let client = Client { stream, reader, timer, address, port, door, listener: ListenerId::GONE };
        Connection { worker, client, number: 0, requests: 0, counted: 0, tunnel: None }
    }

    /// What its next request goes by.
    fn view(&mut self) -> Rc<View> {
        let view = self.worker.view();
        let number = view.number();
        if self.number != number {
            self.number = number;
            self.client.listener = view.listener(&self.client.door.doorway);
        }
        view
    }

    /// Whether it ends with the request that runs.
    fn is_ending(&self) -> bool {
        self.worker.shard.is_leaving() || self.client.door.is_closing()
    }

    /// Whether a header of the PROXY protocol comes before its first request.
    fn is_proxied(&mut self) -> bool {
        let view = self.view();
        let listener = view.snapshot().listeners.get(usize::from(self.client.listener.0));
        listener.is_some_and(|listener| listener.proxy_protocol)
    }

    /// Receives that header; false if the connection must end.
    async fn announced(&mut self) -> bool {
        let (shard, view) = (&self.worker.shard, self.worker.view());
        let deadline = shard.handle.now() + view.snapshot().limits.head_timeout;
        let trusted = |ip| view.snapshot().fields.forwarding.trusts(ip);
        let Err(refused) = proxied::receive(shard, &mut self.client, trusted, deadline).await else { return true };
        if let Some((code, detail)) = refused.describe() {
            shard.counters().count(Counter::ProxyRefused);
            let peer = self.client.address.socket();
            shard.tell(Event { code, detail, peer, ..Event::default() });
        }
        false
    }

    /// Waits for the first byte of a request.
    async fn wait(&mut self) -> Waited {
        if !self.client.reader.is_empty() {
            return Waited::Bytes;
        }
        let idle_timeout = self.worker.view.borrow().snapshot().limits.idle_timeout;
        let deadline = self.worker.shard.handle.now() + idle_timeout;
        let (shard, fresh) = (&self.worker.shard, self.requests == 0);
        let Client { stream, reader, timer, door, .. } = &mut self.client;
        let filled = fill_unless_leaving(shard, stream, reader, door, fresh);
        match timer.timeout(deadline, pin!(filled)).await {
            Ok(Ok(true)) => Waited::Bytes,
            _ => Waited::Over,
        }
    }

    /// Serves one request.
    async fn request(&mut self, x: &mut Exchange) -> Next {
        x.account.received = self.client.reader.used();
        let view = self.view();
        match self.receive_head(&view, x).await {
            Ok(true) => {}
            Ok(false) => return Next::Close,
            Err(reject) => {
                self.begin(x, &view);
                self.worker.shard.counters().count(Counter::Requests);
                self.count_received();
                return self.refuse(&view, x, reject).await;
            }
        }
        self.begin(x, &view);
        self.requests = self.requests.saturating_add(1);
        let shard = self.worker.shard.clone();
        let counters = shard.counters();
        counters.count(Counter::Requests);
        let most = view.snapshot().limits.requests_per_connection;
        let may_keep_alive = most.is_none_or(|most| (self.requests as usize) < most.get()) && !self.is_ending();
        let ended = pipeline::run(&self.worker.shard, &view, x, &mut self.client, may_keep_alive).await;
        self.count_received();
        match ended {
            Ok(Ended::Replied { status, keep_alive }) => {
                finish(&view, &self.worker.shard, &self.client, x, End::Replied, status);
                match keep_alive {
                    true => Next::Request,
                    false if self.has_heard_all(x) => Next::Close,
                    false => Next::Linger,
                }
            }
            Ok(Ended::Local { status }) => {
                let next = self.answer(&view, x, What::Route(status), may_keep_alive).await;
                finish(&view, &self.worker.shard, &self.client, x, End::Local, status);
                next
            }
            Ok(Ended::Cut { status, reset, why }) => {
                self.tell(x, why.code(), why.detail(), Some(status));
                finish(&view, &self.worker.shard, &self.client, x, End::Cut(why), status);
                if reset { Next::Reset } else { Next::Linger }
            }
            Ok(Ended::Switched(tunnel)) => {
                let line = finish(&view, &self.worker.shard, &self.client, x, End::Switched, 101);
                self.tunnel = Some(Box::new(Switched { tunnel, line, began: x.started }));
                Next::Tunnel
            }
            Ok(Ended::ClientGone { status }) => {
                finish(&view, &self.worker.shard, &self.client, x, End::ClientGone, status);
                Next::Close
            }
            Err(reject) => self.refuse(&view, x, reject).await,
        }
    }

    /// Counts what the client has sent since it was last counted.
    fn count_received(&mut self) {
        let received = self.client.reader.received();
        let more = received - std::mem::replace(&mut self.counted, received);
        self.worker.shard.counters().add(Counter::BytesReceived, more);
    }

    /// Gives a request its id, its origin and its time of start.
    fn begin(&self, x: &mut Exchange, view: &View) {
        x.begin(self.worker.shard.handle.now(), unix_micros(), &view.snapshot().fields, &self.client);
    }

    /// Whether the client has sent its last request, as its version or its Connection field says, and nothing behind it as
    /// far as is known. Whoever keeps to that sends nothing more that would make a close a reset, so there is nothing to
    /// wait for (RFC 9112 section 9.6). It holds after an answer of a backend: what came with the request has been seen.
    fn has_heard_all(&self, x: &Exchange) -> bool {
        let Client { stream, reader, .. } = &self.client;
        let said_all = !x.request.keep_alive() && x.body_left() == Some(0);
        said_all && reader.is_empty() && stream.is_quiet()
    }

    /// Runs the tunnel that the connection has become.
    async fn tunnel(&mut self) -> Next {
        let Some(switched) = self.tunnel.take() else { return Next::Close };
        let Switched { tunnel, line, began } = *switched;
        let shard = self.worker.shard.clone();
        let open = OpenTunnel::new(&shard);
        let traffic = Traffic::new(shard.counters());
        let (end, reset) = tunnel.run(&shard, &mut self.client, &traffic).await;
        drop(open);
        if let Some(line) = line {
            line.record(&shard.access_log, |facts| {
                facts.code = end.code();
                facts.received += traffic.up();
                facts.sent += traffic.down();
                facts.spent.total = nanos(began, shard.handle.now_exactly());
            });
        }
        if end == TunnelEnd::Closed {
            return Next::Close;
        }
        shard.counters().count(Counter::TunnelsCut);
        if end == TunnelEnd::Drain {
            shard.counters().count(Counter::Unfinished);
        }
        if reset || end == TunnelEnd::Drain {
            let (code, detail) = (end.code(), end.detail());
            shard.tell(Event { code, detail, peer: self.client.address.socket(), ..Event::default() });
        }
        if reset { Next::Reset } else { Next::Linger }
    }

    /// Receives a head; false if the connection ended before it began.
    async fn receive_head(&mut self, view: &View, x: &mut Exchange) -> Result<bool, Reject> {
        let shard = &self.worker.shard;
        let handle = &shard.handle;
        let deadline = handle.now() + view.snapshot().limits.head_timeout;
        let limits = view.head_limits;
        loop {
            let Client { stream, reader, .. } = &mut self.client;
            match x.request.parse(reader.bytes(), &limits).map_err(Reject::Head)? {
                Progress::Complete { consumed } => {
                    reader.consume(consumed);
                    x.parsed = true;
                    return Ok(true);
                }
                Progress::Incomplete => {}
            }
            let filled = shard.unless_over(pin!(handle.timeout(deadline, pin!(reader.fill(stream))))).await;
            match filled {
                Some(Ok(Ok(true))) => {}
                Some(Ok(_)) => return Ok(false),
                // Some clients send an empty line behind a body (RFC 9112 section 2.2); it asks for no answer.
                _ if reader.bytes() == b"\r\n" => return Ok(false),
                Some(Err(_)) => return Err(Reject::HeadTimeout),
                None => return Err(Reject::DrainTimeout),
            }
        }
    }

    /// Answers a request with a refusal, counts it and tells of it.
    async fn refuse(&mut self, view: &View, x: &mut Exchange, reject: Reject) -> Next {
        let answer = reject.answer();
        let shard = self.worker.shard.clone();
        let counters = shard.counters();
        counters.refuse(reject.cause());
        self.tell(x, answer.code, answer.detail, Some(answer.status));
        x.describe(&answer);
        let next = self.answer(view, x, What::Refusal(answer), true).await;
        finish(view, &self.worker.shard, &self.client, x, End::Refused(reject), answer.status);
        next
    }

    /// Sends a response that is made here, and gets rid of what is left of the request.
    async fn answer(&mut self, view: &View, x: &mut Exchange, what: What, may_keep_alive: bool) -> Next {
        let shard = &self.worker.shard;
        count_status(shard, what.status());
        let left = if x.parsed { body_left(x) } else { None };
        let wants = x.parsed && x.request.keep_alive() && may_keep_alive && !self.is_ending();
        let keep_alive = wants && !what.closes() && left.is_some();
        local::encode(view.snapshot(), what, x, keep_alive, &shard.date());
        self.client.reader.park();
        if !sent_in_time(shard, self.client.stream.send(&[IoSlice::new(&x.reply)])).await {
            return Next::Close;
        }
        x.account.sent = x.reply.len() as u64;
        match left {
            Some(left) if keep_alive => self.discard(left).await,
            _ => Next::Linger,
        }
    }

    /// Reads the rest of a body and drops it.
    async fn discard(&mut self, mut left: u64) -> Next {
        let shard = &self.worker.shard;
        let deadline = shard.handle.now() + LINGER;
        let Client { stream, reader, .. } = &mut self.client;
        while left > 0 {
            if reader.is_empty() {
                let filled = shard.unless_over(pin!(shard.handle.timeout(deadline, pin!(reader.fill(stream))))).await;
                match filled {
                    Some(Ok(Ok(true))) => {}
                    Some(_) => return Next::Close,
                    None => return Next::Linger,
                }
            }
            let some = reader.bytes().len().min(usize::try_from(left).unwrap_or(usize::MAX));
            reader.consume(some);
            left -= some as u64;
        }
        Next::Request
    }

    /// Ends the connection.
    async fn end(mut self, how: Next) {
        match how {
            Next::Request | Next::Tunnel | Next::Close => {}
            Next::Reset => self.client.stream.reset(),
            Next::Linger => {
                let handle = &self.worker.shard.handle;
                let end: Instant = handle.now() + LINGER_MAX;
                let Client { stream, reader, .. } = &mut self.client;
                if stream.shutdown_write().is_err() {
                    return;
                }
                loop {
                    reader.consume(reader.bytes().len());
                    let deadline = end.min(handle.now() + LINGER);
                    let filled = handle.timeout(deadline, pin!(reader.fill(stream))).await;
                    if !matches!(filled, Ok(Ok(true))) {
                        return;
                    }
                }
            }
        }
    }

    fn tell(&self, x: &Exchange, code: &'static str, detail: &'static str, status: Option<u16>) {
        self.worker.shard.tell(Event {
            code,
            detail,
            status,
            peer: self.client.address.socket(),
            target: x.account.socket(),
            request: Some(x.id),
            errno: None,
        });
    }
}

/// Receives more from a client; false at its end, and once its connection has been ending for a while. Who has just
/// connected has probably sent something, and others may have a request on its way: they get it answered.
pub(super) async fn fill_unless_leaving(
    shard: &Shard,
    stream: &Stream,
    reader: &mut Reader,
    door: &Door,
    fresh: bool,
) -> io::Result<bool> {
    let mut fill = pin!(reader.fill(stream));
    let mut timer = None;
    poll_fn(|context| match fill.as_mut().poll(context) {
        Poll::Pending if shard.is_over() => Poll::Ready(Ok(false)),
        Poll::Pending if shard.is_draining() || door.is_closing() => {
            let timer = timer.get_or_insert_with(|| shard.handle.sleep(if fresh { LINGER } else { DRAIN_GRACE }));
            Pin::new(timer).poll(context).map(|()| Ok(false))
        }
        polled => polled,
    })
    .await
}

/// Whether an answer of our own went out within the time that there is.
async fn sent_in_time(shard: &Shard, mut sending: Sending<'_>) -> bool {
    let handle = &shard.handle;
    sending.departed().await;
    let in_time = handle.timeout(handle.now() + LINGER, &mut sending);
    let sent = match shard.unless_over(pin!(in_time)).await {
        Some(sent) => sent,
        None => handle.timeout(handle.now() + FAREWELL, sending).await,
    };
    matches!(sent, Ok(Ok(())))
}

/// Counts a tunnel for as long as it is open, however it ends.
struct OpenTunnel<'a>(&'a Shard);

impl OpenTunnel<'_> {
    fn new(shard: &Shard) -> OpenTunnel<'_> {
        shard.counters().count(Counter::Tunnels);
        shard.counters().count(Counter::TunnelsOpen);
        OpenTunnel(shard)
    }
}

impl Drop for OpenTunnel<'_> {
    fn drop(&mut self) {
        self.0.counters().release(Counter::TunnelsOpen);
    }
}

/// How much of a refused request's body is still to come, if it is so little that it can be dropped.
fn body_left(x: &Exchange) -> Option<u64> {
    x.body_left().filter(|&left| left == 0 || left <= DISCARD_MAX && !x.request.expects_continue())
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
