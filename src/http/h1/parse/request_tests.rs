//! Request heads as tables of exact bytes.

use super::*;

type Outcome = Result<Progress, HeadError>;

/// Parses `input` whole and at every split, all of which must agree.
fn parse_with(input: &[u8], limits: &HeadLimits) -> (RequestHead, Outcome) {
    let mut head = RequestHead::default();
    let whole = head.parse(input, limits);
    let mut trickled = RequestHead::default();
    let mut outcome = Ok(Progress::Incomplete);
    for end in 0..=input.len() {
        outcome = trickled.parse(&input[..end], limits);
        if outcome != Ok(Progress::Incomplete) {
            break;
        }
    }
    assert_eq!(whole, outcome, "{}", input.escape_ascii());
    (head, whole)
}

fn accept(input: &str) -> RequestHead {
    let (head, outcome) = parse_with(input.as_bytes(), &HeadLimits::default());
    assert_eq!(outcome, Ok(Progress::Complete { consumed: input.len() }), "{}", input.escape_debug());
    head
}

fn refuse(input: &[u8], error: HeadError) {
    let (_, outcome) = parse_with(input, &HeadLimits::default());
    assert_eq!(outcome, Err(error), "{}", input.escape_ascii());
}

/// A request with these lines after its request line.
fn with_fields(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn a_head_is_taken_apart() {
    let head =
        accept("\r\nPATCH /a/b?c=d HTTP/1.1\r\nhOsT: A.example:80\r\nX-One:1\r\nx_two: \t two  \r\nX-Empty:\r\n\r\n");
    assert_eq!((head.method(), head.method_text(), head.version()), (Method::Patch, "PATCH", Version::Http11));
    assert_eq!((head.target(), head.path(), head.query()), ("/a/b?c=d", "/a/b", Some("c=d")));
    assert_eq!((head.host(), head.authority()), (Some("A.example:80"), None));
    let fields: Vec<_> = head.fields().map(|f| (f.name, f.value)).collect();
    let expected: &[(&[u8], &[u8])] =
        &[(b"hOsT", b"A.example:80"), (b"X-One", b"1"), (b"x_two", b"two"), (b"X-Empty", b"")];
    assert_eq!(fields, expected);
    assert_eq!(head.framing(), Framing::None);
    assert!(head.keep_alive() && !head.expects_continue() && !head.accepts_trailers());
    assert_eq!(head.get(Known::Host), Some(&b"A.example:80"[..]));
    assert_eq!(head.get(Known::Cookie), None);
}

#[test]
fn what_follows_a_head_is_not_taken() {
    let first = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let input = format!("{first}GET /2 HTTP/1.1\r\n");
    let (_, outcome) = parse_with(input.as_bytes(), &HeadLimits::default());
    assert_eq!(outcome, Ok(Progress::Complete { consumed: first.len() }));
}

#[test]
fn storage_is_recycled() {
    let mut head = accept(&with_fields("Content-Length: 5\r\nConnection: close\r\nExpect: 100-continue\r\n"));
    let storage = head.section.bytes.as_ptr();
    head.clear();
    assert_eq!(head.parse(b"GET / HTTP/1.0\r\n\r\n", &HeadLimits::default()), Ok(Progress::Complete { consumed: 18 }));
    assert_eq!((head.framing(), head.host(), head.fields().len()), (Framing::None, None, 0));
    assert!(!head.expects_continue() && !head.keep_alive());
    assert_eq!(head.section.bytes.as_ptr(), storage);
    head.clear();
    let large = with_fields(&format!("X: {}\r\n", "y".repeat(20_000)));
    assert!(head.parse(large.as_bytes(), &HeadLimits::default()).is_ok());
    head.clear();
    assert!(head.section.bytes.capacity() <= 8 * 1024);
}

#[test]
fn targets() {
    let absolute = accept("GET http://h:8080/p?q HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!((absolute.host(), absolute.authority()), (Some("h:8080"), Some("h:8080")));
    assert_eq!((absolute.path(), absolute.query()), ("/p", Some("q")));
    let bare = accept("GET HTTP://h HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((bare.path(), bare.query(), bare.target()), ("/", None, "HTTP://h"));
    let query = accept("GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((query.path(), query.query()), ("/", Some("q")));
    assert_eq!(accept("OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n").path(), "*");
    assert_eq!(accept("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").path(), "*");
    for (target, error) in [
        ("*", HeadError::BadTargetForm),
        ("a", HeadError::BadTargetForm),
        ("http://u:p@h/", HeadError::BadAuthority),
        ("http:///", HeadError::BadAuthority),
        ("/%zz", HeadError::BadPercent),
        ("/%00", HeadError::BadPercent),
        ("/a b", HeadError::BadTarget),
        ("/a\tb", HeadError::BadTarget),
        ("/a#b", HeadError::BadTarget),
        ("/\u{e4}", HeadError::BadTarget),
        ("/a\0b", HeadError::BadTarget),
    ] {
        refuse(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), error);
    }
}

#[test]
fn request_lines() {
    let long = "A".repeat(33);
    for (line, error) in [
        ("", HeadError::BadMethod),
        ("GET", HeadError::BadMethod),
        ("GET ", HeadError::BadRequestLine),
        ("GET /", HeadError::BadRequestLine),
        ("GET  HTTP/1.1", HeadError::BadRequestLine),
        ("GET  / HTTP/1.1", HeadError::BadTarget),
        ("GET /  HTTP/1.1", HeadError::BadTarget),
        ("GET / HTTP/1.1 ", HeadError::BadVersion),
        (" GET / HTTP/1.1", HeadError::BadMethod),
        ("get / HTTP/1.1", HeadError::BadMethod),
        ("GeT / HTTP/1.1", HeadError::BadMethod),
        ("G@T / HTTP/1.1", HeadError::BadMethod),
        ("G\0T / HTTP/1.1", HeadError::BadMethod),
        ("-GET / HTTP/1.1", HeadError::BadMethod),
        (&format!("{long} / HTTP/1.1"), HeadError::BadMethod),
        ("GET\t/ HTTP/1.1", HeadError::BadMethod),
        ("GET /\tHTTP/1.1", HeadError::BadRequestLine),
        ("GET /\rHTTP/1.1", HeadError::BadRequestLine),
        ("GET / HTTP/1.1\rX: y", HeadError::BadLineEnd),
        ("GET / http/1.1", HeadError::BadVersion),
        ("GET / HTTP/1", HeadError::BadVersion),
        ("GET / HTTP/1.1.1", HeadError::BadVersion),
        ("GET / HTTP/01.1", HeadError::BadVersion),
        ("GET / HTTP/1,1", HeadError::BadVersion),
        ("GET / HTTPS/1.1", HeadError::BadVersion),
        ("GET / HTTP/1.2", HeadError::UnsupportedVersion),
        ("GET / HTTP/0.9", HeadError::UnsupportedVersion),
        ("GET / HTTP/2.0", HeadError::UnsupportedVersion),
        ("PRI * HTTP/2.0", HeadError::Http2Preface),
        ("CONNECT a:443 HTTP/1.1", HeadError::ConnectRefused),
        ("CONNECT / HTTP/1.1", HeadError::ConnectRefused),
    ] {
        refuse(format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), error);
    }
    let method = accept("VERSION-CONTROL / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((method.method(), method.method_text()), (Method::Other, "VERSION-CONTROL"));
    refuse(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeadError::Http2Preface);
    refuse(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadMethod);
    refuse(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadLineEnd);
    refuse(b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", HeadError::BadLineEnd);
    refuse(b"\x16\x03\x01\x02\x00", HeadError::BadMethod);
}

#[test]
fn field_lines() {
    for (line, error) in [
        ("X: y\n", HeadError::BadLineEnd),
        ("X: a\rb\r\n", HeadError::BadFieldValue),
        ("X: a\r\r\n", HeadError::BadFieldValue),
        ("X: a\0b\r\n", HeadError::BadFieldValue),
        ("X: a\x01b\r\n", HeadError::BadFieldValue),
        ("X: a\x7fb\r\n", HeadError::BadFieldValue),
        ("X : y\r\n", HeadError::BadFieldName),
        ("X\t: y\r\n", HeadError::BadFieldName),
        (" X: y\r\n", HeadError::BadFieldName),
        ("X: y\r\n z\r\n", HeadError::BadFieldName),
        ("X: y\r\n\tz\r\n", HeadError::BadFieldName),
        ("X: y\r\n \r\n", HeadError::BadFieldName),
        ("X\r\n", HeadError::BadFieldName),
        (": y\r\n", HeadError::BadFieldName),
        ("X Y: z\r\n", HeadError::BadFieldName),
        ("X\0: z\r\n", HeadError::BadFieldName),
        ("X(a): z\r\n", HeadError::BadFieldName),
        ("\u{e4}: z\r\n", HeadError::BadFieldName),
        ("X.Y: z\r\n", HeadError::OddFieldName),
        ("X!: z\r\n", HeadError::OddFieldName),
        ("X|Y: z\r\n", HeadError::OddFieldName),
        ("Content_Length: 1\r\n", HeadError::AmbiguousFieldName),
        ("transfer_encoding: chunked\r\n", HeadError::AmbiguousFieldName),
        ("X_Forwarded_For: 1.2.3.4\r\n", HeadError::AmbiguousFieldName),
        ("X-Forwarded_Anything: 1\r\n", HeadError::AmbiguousFieldName),
    ] {
        refuse(with_fields(line).as_bytes(), error);
    }
    refuse(b"GET / HTTP/1.1\n\n", HeadError::BadLineEnd);
    refuse(b"GET / HTTP/1.1\r\nHost: a\r\n\n", HeadError::BadLineEnd);
    refuse(b"GET / HTTP/1.1\r\nHost: a\n\r\n", HeadError::BadLineEnd);
    let head = accept(&with_fields("session_id: 1\r\nX:\u{e4}\tb\r\n"));
    assert_eq!(head.fields().next_back().map(|f| f.value), Some("\u{e4}\tb".as_bytes()));
}

#[test]
fn hosts() {
    refuse(b"GET / HTTP/1.1\r\n\r\n", HeadError::MissingHost);
    refuse(b"GET http://a/ HTTP/1.1\r\n\r\n", HeadError::MissingHost);
    refuse(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HeadError::DuplicateHost);
    refuse(b"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", HeadError::DuplicateHost);
    for host in ["", "a,b", "a b", "u@a", "a/b", "a:b", "a:", "a:99999", "[::1", "a#", "http://a", "\"a\"", "a%00"] {
        refuse(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), HeadError::BadHost);
    }
    assert_eq!(accept("GET / HTTP/1.0\r\n\r\n").host(), None);
    assert_eq!(accept("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").host(), Some("[::1]:80"));
}

#[test]
fn framings() {
    for (lines, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length:\t5 \r\n", Framing::Length(5)),
        ("Content-Length: 0005\r\n", Framing::Length(5)),
        ("Content-Length: 9223372036854775807\r\n", Framing::Length(i64::MAX as u64)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("transfer-encoding: \tCHUNKED \r\n", Framing::Chunked),
    ] {
        assert_eq!(accept(&with_fields(lines)).framing(), framing, "{lines}");
    }
    for length in [
        "",
        "+5",
        "-5",
        "-0",
        "5,",
        "5, 5",
        "5,5",
        "5 5",
        "0x5",
        "5.0",
        "1e1",
        "a",
        "\u{b2}",
        "9223372036854775808",
        "18446744073709551616",
        "00000000000000000005",
    ] {
        refuse(with_fields(&format!("Content-Length: {length}\r\n")).as_bytes(), HeadError::BadContentLength);
    }
    for coding in [
        "",
        "identity",
        "xchunked",
        "chunked,",
        ",chunked",
        "chunked, chunked",
        "chunked;q=1",
        "chunked, gzip",
        "\"chunked\"",
        "chunked\u{b}",
        "chun ked",
        "gzip",
        "gzip;q=1, chunked",
    ] {
        let error = if coding.contains('\u{b}') { HeadError::BadFieldValue } else { HeadError::BadTransferEncoding };
        refuse(with_fields(&format!("Transfer-Encoding: {coding}\r\n")).as_bytes(), error);
    }
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (lines, error) in [
        ("Transfer-Encoding: gzip, chunked\r\n", HeadError::UnsupportedTransferCoding),
        (&format!("{length}{chunked}"), HeadError::LengthAndChunked),
        (&format!("{chunked}{length}"), HeadError::LengthAndChunked),
        (&format!("{length}{length}"), HeadError::DuplicateContentLength),
        (&format!("{length}content-length: 6\r\n"), HeadError::DuplicateContentLength),
        (&format!("{chunked}{chunked}"), HeadError::DuplicateTransferEncoding),
        (&format!("{chunked}Transfer-Encoding: identity\r\n"), HeadError::DuplicateTransferEncoding),
        (&format!("Transfer-Encoding: identity\r\n{chunked}"), HeadError::BadTransferEncoding),
        ("Transfer-Encoding:\r\n chunked\r\n", HeadError::BadFieldName),
    ] {
        refuse(with_fields(lines).as_bytes(), error);
    }
    refuse(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::ChunkedInHttp10);
}

#[test]
fn connections() {
    let nominated = |head: &RequestHead| {
        let hop = head.fields().filter(|f| f.hop_by_hop && f.known != Known::Connection);
        hop.map(|f| String::from_utf8_lossy(f.name).into_owned()).collect::<Vec<_>>().join(" ")
    };
    let rest = "X-A: 1\r\nx-b: 2\r\nCookie: c\r\nX-Forwarded-For: d\r\nX-Forwarded-Prefix: e\r\nKeep-Alive: f\r\n";
    for (connection, keep_alive, hop) in [
        ("close", false, "Keep-Alive"),
        ("Keep-Alive", true, "Keep-Alive"),
        ("x-a", true, "X-A Keep-Alive"),
        ("CLOSE, X-B ,, x-a", false, "X-A x-b Keep-Alive"),
        ("cookie, x-forwarded-for, x-forwarded-prefix", true, "Keep-Alive"),
        ("x-c", true, "Keep-Alive"),
        ("", true, "Keep-Alive"),
    ] {
        let head = accept(&with_fields(&format!("{rest}Connection: {connection}\r\n")));
        assert_eq!((head.keep_alive(), nominated(&head).as_str()), (keep_alive, hop), "{connection}");
    }
    let many = "a,".repeat(33);
    for connection in ["host", "close, Content-Length", "transfer-encoding", "a b", "a;b", "\"x\"", &many] {
        refuse(with_fields(&format!("Connection: {connection}\r\n")).as_bytes(), HeadError::BadConnection);
    }
    assert!(!accept(&with_fields("Connection: x\r\nConnection: close\r\n")).keep_alive());
    assert!(!accept("GET / HTTP/1.0\r\n\r\n").keep_alive());
    assert!(accept("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive());
    assert!(!accept("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n").keep_alive());
    assert!(!accept("GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n").keep_alive());
}

#[test]
fn what_a_client_asks_of_the_connection() {
    assert!(accept(&with_fields("Expect: 100-Continue\r\n")).expects_continue());
    assert!(!accept("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue());
    refuse(with_fields("Expect: 200-ok\r\n").as_bytes(), HeadError::BadExpect);
    assert!(accept(&with_fields("TE: gzip;q=0.5, trailers\r\n")).accepts_trailers());
    assert!(!accept(&with_fields("TE: gzip\r\n")).accepts_trailers());
    let upgrade = "Upgrade: websocket\r\n";
    assert_eq!(accept(&with_fields(&format!("Connection: Upgrade\r\n{upgrade}"))).upgrade(), Some(&b"websocket"[..]));
    assert_eq!(accept(&with_fields(upgrade)).upgrade(), None);
    assert_eq!(accept(&format!("GET / HTTP/1.0\r\nConnection: upgrade\r\n{upgrade}\r\n")).upgrade(), None);
}

#[test]
fn limits_hold_while_a_head_is_incomplete() {
    let limits = HeadLimits::new(128, 3, 16).unwrap();
    let line = "GET / HTTP/1.1\r\nHost: a\r\n";
    let head_of = |size: usize| format!("{line}X: {}\r\n\r\n", "y".repeat(size - line.len() - 7));
    let field = "X: y\r\n";
    let table: &[(String, Outcome)] = &[
        (head_of(128), Ok(Progress::Complete { consumed: 128 })),
        (head_of(129), Err(HeadError::HeadTooLarge)),
        (format!("\r\n{}", head_of(128)), Ok(Progress::Complete { consumed: 130 })),
        (head_of(512)[..128].to_owned(), Err(HeadError::HeadTooLarge)),
        (head_of(512)[..127].to_owned(), Ok(Progress::Incomplete)),
        (format!("{line}{field}{field}\r\n"), Ok(Progress::Complete { consumed: 39 })),
        (format!("{line}{field}{field}{field}"), Err(HeadError::TooManyFields)),
        (format!("GET /{}", "a".repeat(16)), Err(HeadError::TargetTooLong)),
        (format!("GET /{}", "a".repeat(15)), Ok(Progress::Incomplete)),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(15)), Ok(Progress::Complete { consumed: 42 })),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(16)), Err(HeadError::TargetTooLong)),
        ("G".repeat(33), Err(HeadError::BadMethod)),
        ("\r".to_owned(), Ok(Progress::Incomplete)),
        (String::new(), Ok(Progress::Incomplete)),
    ];
    for (input, outcome) in table {
        assert_eq!(parse_with(input.as_bytes(), &limits).1, *outcome, "{}", input.escape_debug());
    }
    assert_eq!(HeadLimits::new(65536, 100, 8192), None);
    assert_eq!(HeadLimits::new(1024, 257, 100), None);
    assert_eq!(HeadLimits::new(1024, 10, 1025), None);
    assert_eq!(HeadLimits::new(1024, 0, 10), None);
}

#[test]
fn the_largest_head_is_read() {
    let limits = HeadLimits::new(65535, 256, 65535).unwrap();
    let mut input = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
    for i in 0..254 {
        input += &format!("X-{i}: y\r\n");
    }
    input += &format!("Last: {}\r\n\r\n", "z".repeat(65535 - input.len() - 10));
    assert_eq!(input.len(), 65535);
    let mut head = RequestHead::default();
    assert_eq!(head.parse(input.as_bytes(), &limits), Ok(Progress::Complete { consumed: 65535 }));
    assert_eq!(head.fields().next_back().map(|f| f.value.last().copied()), Some(Some(b'z')));
    assert_eq!(head.fields().len(), 256);
}

#[test]
fn of_a_refused_head_is_told_what_is_whole_and_right() {
    for (head, method, target) in [
        ("GET /a?b=c HTTP/1.1\r\nhost", "GET", "/a?b=c"),
        ("\r\nPUT / HTTP/9\r\n\r\n", "PUT", "/"),
        ("OPTIONS * HTTP/2.0\r\n", "OPTIONS", "*"),
        ("GET /a", "GET", ""),
        ("GE", "", ""),
        ("GET /\0 HTTP/1.1", "GET", ""),
        ("GET  / HTTP/1.1", "GET", ""),
        (" / HTTP/1.1", "", ""),
        ("G(T / HTTP/1.1", "", ""),
        ("hunter2 is my password", "", ""),
        ("\x16\x03\x01 \x02 \x03", "", ""),
        ("", "", ""),
        // Secrets are in fragments, and before hosts.
        ("GET /back#access_token=1234 HTTP/1.1", "GET", "/back"),
        ("GET http://user:1234@a.test/b?c HTTP/1.1", "GET", "/b?c"),
        ("GET http://user:1234@a.test HTTP/1.1", "GET", ""),
        ("GET /a?to=http://b.test/ HTTP/1.1", "GET", "/a?to=http://b.test/"),
        ("CONNECT user:1234@a.test:80 HTTP/1.1", "CONNECT", ""),
    ] {
        assert_eq!(refused_line(head.as_bytes()), (method.as_bytes(), target.as_bytes()), "{head:?}");
    }
}
