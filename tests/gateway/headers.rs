//! `config/examples/headers.toml`: rules over the fields of requests and responses.

use crate::harness::message::normal;
use crate::harness::{Gateway, Origin, on_both_drivers};

const REPLY: &str = "HTTP/1.1 200 OK\r\nServer: x/1.2\r\nX-Internal-Node: 7\r\nA: 1\r\nx-powered-by: y\r\nX-Internal: 1\r\n\
                     Content-Length: 2\r\nB: 2\r\n\r\nok";

#[test]
fn rules_change_both_directions() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply_bytes("/users/a%20b", REPLY);
        let gateway = Gateway::from(include_str!("../../config/examples/headers.toml"))
            .services(origin.address())
            .driver(driver)
            .start();
        let response = gateway.request(
            "POST /users/a%20b?x=1 HTTP/1.1\r\nHost: h\r\nX-Client: forged\r\nx-api-key: 123\r\nContent-Length: 2\r\n\
             COOKIE: a=b\r\nX-Key: old\r\nX-User: forged\r\nx-user: again\r\nZ: 1\r\nConnection: close\r\n\r\nhi",
        );
        let reached = normal(&origin.all_received());
        assert_eq!(
            reached,
            "POST /users/a%20b?x=1 HTTP/1.1\r\nHost: h\r\nX-Key: 123\r\nContent-Length: 2\r\nZ: 1\r\n{for h}\r\n\
             X-Client: 127.0.0.1\r\nX-Asked: POST /users/a%20b\r\nX-User: a%20b\r\nX-Price: 5 $\r\n\
             Accept: application/json\r\n\r\nhi"
        );
        assert_eq!(
            normal(response.head.as_bytes()),
            "HTTP/1.1 200 OK\r\nA: 1\r\nX-Internal: 1\r\nContent-Length: 2\r\nB: 2\r\nConnection: close\r\n\
             X-Request-Id: {id}\r\nVia: 1.1 tidegate\r\nX-Frame-Options: DENY\r\nLink: </style.css>; rel=preload\r\n\
             Link: </users/users>; rel=self\r\n\r\n"
        );
        assert_eq!(response.text(), "ok");
    });
}

#[test]
fn a_route_may_drop_the_defaults() {
    let origin = Origin::start().reply_bytes("/raw", REPLY);
    let gateway = Gateway::from(include_str!("../../config/examples/headers.toml")).services(origin.address()).start();
    let head = gateway.get("/raw").head;
    assert!(head.contains("\r\nServer: x/1.2\r\n") && !head.contains("X-Frame-Options"), "{head}");
    // The rules of the service hold all the same.
    let reached = normal(&origin.all_received());
    assert!(reached.ends_with("X-Client: 127.0.0.1\r\nX-Asked: GET /raw\r\n\r\n"), "{reached}");
}

/// Trace context is not ours: what a client and a service say of it goes through as it is.
#[test]
fn trace_context_passes_through() {
    let traced = "HTTP/1.1 200 OK\r\ntraceresponse: 00-1-2-01\r\nContent-Length: 0\r\n\r\n";
    let origin = Origin::start().reply_bytes("/raw", traced);
    let gateway = Gateway::from(include_str!("../../config/examples/headers.toml")).services(origin.address()).start();
    let context = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=1,b=2\r\n";
    let response = gateway.request(format!("GET /raw HTTP/1.1\r\nHost: h\r\n{context}Connection: close\r\n\r\n"));
    let reached = normal(&origin.all_received());
    assert!(reached.starts_with(&format!("GET /raw HTTP/1.1\r\nHost: h\r\n{context}")), "{reached}");
    assert!(response.head.contains("\r\ntraceresponse: 00-1-2-01\r\n"), "{}", response.head);
}

/// What a request brings into a value cannot end its line, nor can it grow into another field.
#[test]
fn values_of_requests_stay_values() {
    let origin = Origin::start().reply("/raw", 200, "ok");
    let file = include_str!("../../config/examples/headers.toml").replace(
        "response_headers = false",
        "response_headers = { set = { X-Echo = \"${query.q}|${request.header.x}|${request.path}\" } }",
    );
    let gateway = Gateway::from(&file).services(origin.address()).start();
    let response = gateway.request(
        "GET /raw?q=a%0d%0aSet-Cookie:%20evil HTTP/1.1\r\nHost: h\r\nX: \"b\", \u{e4}\tc\r\nx: d\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(
        response.field("X-Echo"),
        Some("a%0d%0aSet-Cookie:%20evil|\"b\", \u{e4}\tc, d|/raw"),
        "{}",
        response.head
    );
    assert_eq!(response.field("Set-Cookie"), None);
}
