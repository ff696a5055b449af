//! Checks of servers that behave in every way, on real sockets.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::upstream::health::HealthConfig;

/// What a server does with a connection.
#[derive(Clone)]
enum Act {
    /// Reads the head of the request, sends this, and closes.
    Send(Vec<u8>),
    /// The same, and then sends this again and again.
    SendOn(Vec<u8>, Vec<u8>),
    /// The same, and then keeps the connection open and is silent.
    SendAndHang(Vec<u8>),
    /// Resets the connection.
    Reset,
}

/// A server that does this with every connection; the heads that it was sent come out.
async fn server(act: Act) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heads) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, act.clone(), sender.clone()));
        }
    });
    (address, heads)
}

async fn converse(mut stream: TcpStream, act: Act, heads: tokio::sync::mpsc::UnboundedSender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let _ = heads.send(String::from_utf8_lossy(&head).into_owned());
    match act {
        Act::Send(bytes) => drop(stream.write_all(&bytes).await),
        Act::SendOn(first, more) => {
            let mut sent = stream.write_all(&first).await;
            while sent.is_ok() {
                sent = stream.write_all(&more).await;
            }
        }
        Act::SendAndHang(bytes) => {
            drop(stream.write_all(&bytes).await);
            // It comes when the other side gives up.
            let _ = stream.read(&mut [0]).await;
        }
        Act::Reset => rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap(),
    }
}

fn checks(change: impl FnOnce(&mut HealthConfig)) -> Checks {
    let mut config = HealthConfig { path: Some("/health".to_owned()), ..HealthConfig::default() };
    // Long, for only a test that fails waits for it.
    config.timeout = Some(Duration::from_secs(10));
    change(&mut config);
    Checks::compile(&config)
}

async fn ask(checks: &Checks, address: SocketAddr) -> Outcome {
    check(checks, &address.into(), &address.to_string()).await
}

fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Reply\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_good_answer_passes_and_the_request_is_what_was_configured() {
    let (address, mut heads) = server(Act::Send(answer(204, ""))).await;
    let outcome = ask(&checks(|_| {}), address).await;
    assert_eq!(outcome, Outcome { status: Some(204), error: None });
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET /health HTTP/1.1\r\n"), "{head}");
    for line in [format!("host: {address}\r\n"), "connection: close\r\n".into(), "user-agent: tidegate/".into()] {
        assert!(head.contains(&line), "{head}");
    }
    let special = checks(|config| {
        config.path = Some("/deep?q=1".to_owned());
        config.method = "OPTIONS";
        config.host = Some("users.internal".to_owned());
        config.headers = vec![("X-Key".to_owned(), "secret".to_owned()), ("user-agent".to_owned(), "me".to_owned())];
    });
    assert_eq!(ask(&special, address).await.error, None);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("OPTIONS /deep?q=1 HTTP/1.1\r\n"), "{head}");
    for line in ["host: users.internal\r\n", "x-key: secret\r\n", "user-agent: me\r\n"] {
        assert_eq!(head.matches(line).count(), 1, "{line} {head}");
    }
    assert_eq!(head.matches("user-agent").count(), 1, "{head}");
}

#[tokio::test]
async fn another_port_may_be_asked() {
    let (address, mut heads) = server(Act::Send(answer(200, ""))).await;
    let other = SocketAddr::new(address.ip(), 1);
    let checks = checks(|config| config.port = Some(address.port()));
    let outcome = check(&checks, &other.into(), "users.internal:1").await;
    assert_eq!(outcome.error, None);
    let head = heads.recv().await.unwrap();
    assert!(head.contains(&format!("host: users.internal:{}\r\n", address.port())), "{head}");
}

#[tokio::test]
async fn a_service_that_wants_the_proxy_protocol_is_asked_in_it() {
    use crate::upstream::settings::ProxyProtocol;

    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (version, header) in [(ProxyProtocol::V1, &b"PROXY UNKNOWN\r\n"[..]), (ProxyProtocol::V2, v2)] {
        for tcp in [false, true] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let heard = tokio::spawn(async move {
                let mut stream = listener.accept().await.unwrap().0;
                let mut bytes = vec![0; header.len()];
                stream.read_exact(&mut bytes).await.unwrap();
                let _ = stream.write_all(&answer(200, "")).await;
                let _ = stream.read_to_end(&mut bytes).await;
                bytes
            });
            let asked = checks(|config| config.tcp = tcp).with_proxy_protocol(Some(version));
            assert_eq!(ask(&asked, address).await.error, None, "{version:?}");
            let heard = heard.await.unwrap();
            assert!(heard.starts_with(header), "{version:?} {heard:?}");
            assert_eq!(heard[header.len()..].starts_with(b"GET /health "), !tcp, "{version:?} {heard:?}");
        }
    }
    let other_port = checks(|config| config.port = Some(1)).with_proxy_protocol(Some(ProxyProtocol::V2));
    assert!(other_port.preface.is_empty() && checks(|_| {}).with_proxy_protocol(None).preface.is_empty());
}

#[tokio::test]
async fn statuses_and_bodies_that_are_not_wanted_fail() {
    let long = answer(200, &format!("{}end", "x".repeat(BODY_MOST)));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    // What is sent, what must be in the body, and the error, if there is one.
    for (bytes, body, error) in [
        (answer(500, "ok"), "", "its answer has status 500, and 2xx, 301 is expected"),
        (answer(301, "moved"), "", ""),
        (answer(302, "moved"), "", "its answer has status 302, and 2xx, 301 is expected"),
        (answer(200, "all is ok"), "ok", ""),
        (answer(200, "no"), "ok", "`ok` is not in the body of its answer"),
        (answer(200, "ok 7"), r"~ ^ok \d$", ""),
        (answer(200, "ok x"), r"~ ^ok \d$", r"`^ok \d$` does not match the body"),
        (long.clone(), "end", "`end` is not in the first 64 KiB of the body"),
        (long, "", ""),
        (interim.into(), "", ""),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end ok".into(), "ok", ""),
        (chunked.into(), "ok", ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut".into(), "", "the body of its answer is broken: "),
    ] {
        let (address, _heads) = server(Act::Send(bytes.clone())).await;
        let checks = checks(|config| {
            assert!(config.statuses.parse_and_add("301"));
            config.body = Some(body.to_owned()).filter(|body| !body.is_empty());
        });
        let is = ask(&checks, address).await.error;
        let sent = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        assert_eq!(is.is_some(), !error.is_empty(), "{sent}: {is:?}");
        assert!(is.unwrap_or_default().contains(error), "{sent}");
    }
}

#[tokio::test]
async fn what_is_no_http_fails() {
    let fields = "a: b\r\n".repeat(FIELDS_MOST + 1);
    for act in [
        Act::Send(Vec::new()),
        Act::Send(b"garbage\r\n\r\n".to_vec()),
        Act::Send(b"HTTP/1.1 200 OK\r\nContent-Len".to_vec()),
        Act::Send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes()),
        Act::Send(b"\x16\x03\x01\x02\x00\x01".to_vec()),
        Act::SendOn(b"HTTP/1.1 200 OK\r\n".to_vec(), b"a: b\r\n".repeat(100)),
        Act::SendOn(b"HTTP/1.1 200 OK\r\na: ".to_vec(), vec![b'a'; 10_000]),
        Act::Reset,
    ] {
        let (address, _heads) = server(act).await;
        let outcome = ask(&checks(|_| {}), address).await;
        let error = outcome.error.unwrap();
        assert!(error.starts_with("no answer over HTTP: "), "{error}");
        assert_eq!(outcome.status, None);
    }
}

#[tokio::test]
async fn who_is_silent_is_not_waited_for_and_the_error_says_where() {
    let short = |config: &mut HealthConfig| config.timeout = Some(Duration::from_millis(50));
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec();
    for (act, status, error) in [
        (Act::SendAndHang(Vec::new()), None, "it has not answered within 50ms"),
        (Act::SendAndHang(b"HTTP/1.1 200 OK\r\na:".to_vec()), None, "it has not answered within 50ms"),
        (Act::SendOn(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()), None, "it has not answered within 50ms"),
        (Act::SendAndHang(head), Some(200), "the body of its answer has not ended within 50ms"),
    ] {
        let (address, _heads) = server(act).await;
        let begun = Instant::now();
        let outcome = ask(&checks(short), address).await;
        assert_eq!(outcome, Outcome { status, error: Some(error.to_owned()) });
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_body_without_end_is_read_as_far_as_is_looked_at() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let (address, _heads) = server(Act::SendOn(head, b"4\r\nbody\r\n".to_vec())).await;
    assert_eq!(ask(&checks(|_| {}), address).await.error, None);
}

#[tokio::test]
async fn a_connection_may_be_all_that_is_wanted() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = checks(|config| (config.tcp, config.path) = (true, None));
    // Nobody accepts, but the kernel does.
    assert_eq!(ask(&tcp, address).await, Outcome { status: None, error: None });
    drop(listener);
    for checks in [tcp, checks(|_| {})] {
        let error = ask(&checks, address).await.error.unwrap();
        assert!(error.starts_with(&format!("cannot connect to {address}: ")) && error.contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn a_backlog_that_is_full_is_not_waited_for() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // The kernel takes one or two more than it was told.
    let mut fill = JoinSet::new();
    (0..8).for_each(|_| drop(fill.spawn(TcpStream::connect(address))));
    let full = |config: &mut HealthConfig| {
        (config.tcp, config.path, config.timeout) = (true, None, Some(Duration::from_millis(50)));
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask(&checks(full), address).await.error.as_deref() != Some("it has not accepted a connection within 50ms") {
        assert!(Instant::now() < deadline, "the backlog never fills");
    }
}

#[tokio::test]
async fn a_unix_socket_is_asked_too() {
    let path = std::env::temp_dir().join(format!("tidegate-check-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 1000];
        let length = stream.read(&mut head).await.unwrap();
        stream.write_all(&answer(200, "ok")).await.unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    };
    let address = Address::Unix(path.as_path().into());
    let checks = checks(|config| config.body = Some("ok".to_owned()));
    let (head, outcome) = tokio::join!(serve, check(&checks, &address, "unix:/run/app.sock"));
    assert_eq!(outcome, Outcome { status: Some(200), error: None });
    assert!(head.contains("host: localhost\r\n"), "{head}");
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    let error = check(&checks, &address, "unix:/run/app.sock").await.error.unwrap();
    assert!(error.starts_with("cannot connect to unix:/"), "{error}");
}
