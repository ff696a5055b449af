//! A request that is proxied on kept connections allocates nothing.
//!
//! The allocator of this binary counts what the worker's thread asks for while
//! a client on another thread sends requests; both sides of the gateway are
//! real sockets. Where something is allocated, the test shows from where.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "all of this binary is tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate::config::Config;
use tidegate::gateway::{Gateway, StartError};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, with a look at who asks.
struct Counting;

/// Whether the worker's allocations count now.
static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Where the first of them came from.
static PLACES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// How many places are shown.
const SHOWN: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Unknown,
    Worker,
    Other,
}

thread_local! {
    static WHO: Cell<Who> = const { Cell::new(Who::Unknown) };
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps to the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps to the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps to the contract.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn count(size: usize) {
    if !COUNTING.load(Ordering::Relaxed) {
        return;
    }
    WHO.with(|who| {
        if who.get() == Who::Unknown {
            // What is allocated while we look is not counted.
            who.set(Who::Other);
            let is_worker = std::thread::current().name().is_some_and(|name| name.starts_with("worker-"));
            who.set(if is_worker { Who::Worker } else { Who::Other });
        }
        if who.get() == Who::Worker {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            who.set(Who::Other);
            let mut places = PLACES.lock().unwrap();
            if places.len() < SHOWN {
                places.push(format!("{size} bytes from:\n{}", Backtrace::force_capture()));
            }
            who.set(Who::Worker);
        }
    });
}

/// A kind of request: what the client sends, and what the backend answers.
struct Kind {
    name: &'static str,
    request: &'static [u8],
    /// The line that the request begins with where it arrives.
    line: &'static str,
    /// The bytes that end the request where it arrives.
    request_end: &'static [u8],
    response: &'static [u8],
    /// The bytes that end the response where it arrives.
    response_end: &'static [u8],
    /// Whether the gateway has [`RULES`].
    rules: bool,
    /// Whether the backend sends the head and the body of its response apart.
    apart: bool,
}

const KINDS: [Kind; 9] = [
    Kind {
        name: "GET, answered with a head and then a body",
        request: b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n",
        line: "GET /a HTTP/1.1\r\n",
        request_end: b"\r\n\r\n",
        response: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        response_end: b"\r\n\r\nhello",
        rules: false,
        apart: true,
    },
    Kind {
        name: "GET",
        request:
            b"GET /a/b?c=d HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n",
        line: "GET /a/b?c=d HTTP/1.1\r\n",
        request_end: b"\r\n\r\n",
        response: b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
        response_end: b"\r\n\r\nhello",
        rules: false,
        apart: false,
    },
    Kind {
        name: "GET with a path to be brought to normal form",
        request: b"GET /a/../b/%41 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        line: "GET /b/A HTTP/1.1\r\n",
        request_end: b"\r\n\r\n",
        response: b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        response_end: b"\r\n\r\n",
        rules: false,
        apart: false,
    },
    Kind {
        name: "GET by all conditions, rewritten",
        request: b"GET /users/u-%41/x/../y?b&region=%65u HTTP/1.1\r\nHost: API.a.test:80\r\nX-V: 1\r\nX-V: 2\r\n\r\n",
        line: "GET /people/A.json/y?b&region=%65u HTTP/1.1\r\n",
        request_end: b"\r\n\r\n",
        response: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        response_end: b"\r\n\r\nok",
        rules: false,
        apart: false,
    },
    Kind {
        name: "POST with a length",
        request: b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nsome body",
        line: "POST /a HTTP/1.1\r\n",
        request_end: b"some body",
        response: b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
        response_end: b"\r\n\r\nok",
        rules: false,
        apart: false,
    },
    Kind {
        name: "POST in chunks, answered in chunks with a trailer",
        request: b"POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n\r\n",
        line: "POST /a HTTP/1.1\r\n",
        request_end: b"0\r\n\r\n",
        response: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n",
        response_end: b"0\r\nX-Sum: 3\r\n\r\n",
        rules: false,
        apart: false,
    },
    Kind {
        name: "GET of a trusted proxy, with rules over both heads",
        request: b"GET /rules/7?q=8 HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n\
                   X-Forwarded-Proto: https\r\nForwarded: for=192.0.2.1\r\nX-Request-Id: kept\r\nX-Old: 1\r\n\
                   Cookie: a=b\r\n\r\n",
        line: "GET /rules/7?q=8 HTTP/1.1\r\n",
        request_end: b"\r\nX-Id: 7 8 192.0.2.1 kept\r\n\r\n",
        response: b"HTTP/1.1 200 OK\r\nServer: x\r\nX-Internal-A: 1\r\nContent-Length: 2\r\n\r\nok",
        response_end: b"\r\nX-Route: rules\r\n\r\nok",
        rules: true,
        apart: false,
    },
    Kind {
        name: "a redirect",
        request: b"GET /redirect/7?q=8 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        line: "never",
        request_end: b"never",
        response: b"",
        response_end: b"\r\nX-All: yes\r\n\r\n",
        rules: true,
        apart: false,
    },
    Kind {
        name: "an answer of a route",
        request: b"GET /respond/7 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        line: "never",
        request_end: b"never",
        response: b"",
        response_end: b"\r\n\r\nhello 7",
        rules: true,
        apart: false,
    },
];

const WARM_UP: usize = 300;
const REQUESTS: usize = 1000;

/// Clients that ask at the same time.
const SIDE_BY_SIDE: usize = 16;

/// For so long at least, each, so that what the worker does once a second is seen, too.
const TIME: Duration = Duration::from_millis(1200);

/// Reads until a message ends with `end`.
fn read_message(from: &mut TcpStream, end: &[u8], buffer: &mut [u8]) -> bool {
    let mut filled = 0;
    while !buffer[..filled].ends_with(end) {
        match from.read(&mut buffer[filled..]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return false,
            Ok(some) => filled += some,
        }
    }
    true
}

/// A backend that answers every request of a kind.
fn start_origin(kind: &'static Kind) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                let mut buffer = [0; 4096];
                while read_message(&mut stream, kind.request_end, &mut buffer) {
                    assert!(buffer.starts_with(kind.line.as_bytes()), "{}: {}", kind.name, buffer.escape_ascii());
                    let head = kind.response.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
                    let (first, rest) = kind.response.split_at(if kind.apart { head } else { kind.response.len() });
                    stream.write_all(first).unwrap();
                    stream.write_all(rest).unwrap();
                }
            });
        }
    });
    address
}

/// A route with all that can be asked of one.
const ROUTE: &str = r#"
[routes.all]
hosts = ["*.a.test"]
path = "~ ^/users/u-(?<id>[^/]+)/(?<rest>.*)$"
methods = ["GET"]
headers = { x-v = "~ ^1, [0-9]$" }
query = { region = "eu", b = true }
listeners = ["public"]
priority = 1
rewrite = "/people/{id}.json/{rest}"
service = "app"
"#;

/// What is configured for the kinds that need it.
const RULES: &str = r#"
[gateway]
trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]
forwarded = "both"
[defaults]
response_headers = { set = { X-All = "yes" } }
[routes.rules]
path = "/rules/{id}"
service = "app"
request_headers = { remove = ["Cookie"], rename = { X-Old = "X-New" }, set = { X-Id = "${path.id} ${query.q} ${client.ip} ${request.id}" } }
response_headers = { remove = ["Server", "X-Internal-*"], set = { X-Route = "${route}" } }
[routes.redirect]
path = "/redirect/{id}"
redirect = { scheme = "https", path = "/new/${path.id}" }
[routes.respond]
path = "/respond/{id}"
respond = { body = "hello ${path.id}" }
"#;

fn start_gateway(driver: &str, target: SocketAddr, rules: bool) -> Result<Gateway, StartError> {
    let rules = if rules { RULES } else { "[gateway]\n" };
    let own = format!(
        "[gateway]\nworkers = 1\npin = false\ndriver = \"{driver}\"\nlimits = {{ requests_per_connection = false }}\n"
    );
    let text = format!(
        "{}[listeners.public]\naddress = \"127.0.0.1:0\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n[services.app]\ntargets = [\"{target}\"]\n\
         [routes.app]\npath = \"/*\"\nservice = \"app\"\n{ROUTE}",
        rules.replace("[gateway]\n", &own)
    );
    Gateway::start(&Config::parse("allocations.toml", &text).unwrap())
}

/// A client with a connection.
struct Client {
    stream: TcpStream,
    kind: &'static Kind,
    buffer: [u8; 4096],
}

impl Client {
    fn connect(gateway: &Gateway, kind: &'static Kind) -> Client {
        let stream = TcpStream::connect(gateway.address("public").unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { stream, kind, buffer: [0; 4096] }
    }

    fn ask(&mut self) {
        self.stream.write_all(self.kind.request).unwrap();
    }

    fn hear(&mut self) {
        let answered = read_message(&mut self.stream, self.kind.response_end, &mut self.buffer);
        assert!(answered, "{}: no response", self.kind.name);
    }
}

/// Has all `clients` send a request, and then all be answered, so often and for so long; how many requests that were.
fn send(clients: &mut [Client], count: usize, time: Duration) -> usize {
    let begun = Instant::now();
    let mut sent = 0;
    while sent < count || begun.elapsed() < time {
        clients.iter_mut().for_each(Client::ask);
        clients.iter_mut().for_each(Client::hear);
        sent += clients.len();
    }
    sent
}

/// Has the requests of all `clients` be under way at once, which may not have happened by chance: each request that is
/// one more than ever before takes memory.
fn crowd(clients: &mut [Client]) {
    // Who has the answer to a whole request knows that the worker has the half behind it, too, with which it is busy
    // before it looks for anything else that comes.
    for client in clients.iter_mut() {
        let request = client.kind.request;
        client.stream.write_all(&[request, &request[..request.len() / 2]].concat()).unwrap();
    }
    clients.iter_mut().for_each(Client::hear);
    for client in clients.iter_mut() {
        let request = client.kind.request;
        client.stream.write_all(&request[request.len() / 2..]).unwrap();
    }
    clients.iter_mut().for_each(Client::hear);
}

/// How often the worker asked for memory while `work` was done.
fn count_during<T>(work: impl FnOnce() -> T) -> (T, u64, Vec<String>) {
    ALLOCATIONS.store(0, Ordering::Relaxed);
    PLACES.lock().unwrap().clear();
    COUNTING.store(true, Ordering::Relaxed);
    let done = work();
    COUNTING.store(false, Ordering::Relaxed);
    (done, ALLOCATIONS.load(Ordering::Relaxed), std::mem::take(&mut PLACES.lock().unwrap()))
}

fn assert_no_allocations(driver: &str, kind: &'static Kind, time: Duration, clients: usize) {
    let gateway = match start_gateway(driver, start_origin(kind), kind.rules) {
        Err(StartError::Worker(error)) if driver == "io_uring" => {
            println!("not on io_uring, for there is none here: {error}");
            return;
        }
        started => started.unwrap(),
    };
    let mut clients: Vec<Client> = (0..clients).map(|_| Client::connect(&gateway, kind)).collect();
    send(&mut clients, WARM_UP, time);
    crowd(&mut clients);
    let (requests, allocations, places) = count_during(|| send(&mut clients, REQUESTS, time));
    println!("{driver}: {}, {} at a time: {allocations} allocations in {requests} requests", kind.name, clients.len());
    assert_eq!(allocations, 0, "{driver}: {}, the first of them:\n{}", kind.name, places.join("\n"));
    // A connection allocates, so that we know that we would see it.
    let (_, allocations, _) = count_during(|| send(&mut [Client::connect(&gateway, kind)], 1, Duration::ZERO));
    assert!(allocations > 0, "nothing was counted where something must be");
    gateway.drain();
    drop(clients);
    gateway.join().unwrap();
}

#[test]
fn a_request_in_the_steady_state_allocates_nothing() {
    for driver in ["epoll", "io_uring"] {
        for (number, kind) in KINDS.iter().enumerate() {
            assert_no_allocations(driver, kind, if number == 0 { TIME } else { Duration::ZERO }, 1);
        }
        // Of several at a time the worker sends the answers together. They are its own, for how many connections there are
        // to a backend is settled only when all of them have been needed at once.
        let own = KINDS.last().unwrap();
        assert_no_allocations(driver, own, Duration::ZERO, SIDE_BY_SIDE);
    }
}
