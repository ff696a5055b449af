//! `config/examples/respond.toml`: routes that answer by themselves.

use crate::harness::message::normal;
use crate::harness::{Gateway, on_both_drivers};

#[test]
fn what_is_answered() {
    on_both_drivers(|driver| {
        let gateway = Gateway::from(include_str!("../../config/examples/respond.toml")).driver(driver).start();
        let strict = "Strict-Transport-Security: max-age=31536000\r\n\r\n";
        let plain = "User-agent: *\nDisallow: /\n";
        let robots = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Request-Id: {{id}}\r\n{strict}",
            plain.len()
        );
        let mut client = gateway.connect();
        client.send("GET /robots.txt HTTP/1.1\r\nHost: h\r\n\r\nHEAD /robots.txt HTTP/1.1\r\nHost: h\r\n\r\n");
        let response = client.response();
        assert_eq!((normal(response.head.as_bytes()), response.text()), (robots.clone(), plain));
        assert_eq!(normal(client.response_to("HEAD").head.as_bytes()), robots);
        client.send("GET /v1/a\"b HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().code(), "bad_target");
        let gone = gateway.get("/v1/it's%22%7d&x");
        let body = "{\"gone\":\"it%27s%22%7D%26x\"}";
        let head = format!(
            "HTTP/1.1 410 Gone\r\nContent-Length: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             X-Request-Id: {{id}}\r\nLink: </v2/it's%22%7D&x>; rel=successor-version\r\n{strict}",
            body.len()
        );
        assert_eq!((normal(gone.head.as_bytes()), gone.text()), (head, body));
        let quiet = gateway.get("/favicon.ico");
        let head = format!("HTTP/1.1 204 No Content\r\nConnection: close\r\nX-Request-Id: {{id}}\r\n{strict}");
        assert_eq!(normal(quiet.head.as_bytes()), head);
    });
}
