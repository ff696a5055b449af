//! Who is let in: the Host field, the bearer token, and no web page of anybody's.
//!
//! Whoever connects to loopback may be a browser that shows a page of a stranger. Three things keep such a page out:
//!
//! - **Host.** A page whose name has been made to mean 127.0.0.1 (DNS rebinding) still asks by that name. So the name has
//!   to be `localhost`, an address of loopback, the address of the listener, or one of `hosts`. A listener at all
//!   addresses is asked by many, so any address will do there: it takes a name to rebind one. On a Unix socket, which no
//!   browser reaches, any name will do.
//! - **Origin.** What changes something is not taken from any page, also not from one that this listener has sent.
//! - **No CORS.** No answer lets a page read it.
//!
//! With a `token`, everything but `/health` and `/ready` has to show it (RFC 6750 section 2.1); those two say nothing but
//! that the process lives, to probes that know no secrets.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode, Uri};

use super::answer::Problem;
use crate::net::Address;
use crate::snapshot::Admin;

/// What browsers say of where a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether this path is answered without a token.
pub(super) fn is_open(path: &str) -> bool {
    matches!(path, "/health" | "/ready")
}

/// Whether a request to the listener at `address` may be answered; why not, otherwise.
pub(super) fn check(
    admin: &Admin,
    address: &Address,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    host(admin, address, uri, headers)?;
    token(admin, uri, headers)?;
    if method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    origin(headers)
}

fn host(admin: &Admin, address: &Address, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        let detail = "A request has exactly one Host field.";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_host", detail));
    };
    let Address::Tcp(own) = address else { return Ok(()) };
    // The target's own host counts before the field (RFC 9112 section 3.2.2); here both have to be right.
    let names = [host.to_str().ok(), uri.authority().map_or(Some("localhost"), |authority| Some(authority.as_str()))];
    let may_ask = |name: Option<&str>| name.is_some_and(|name| is_known(name, own.ip(), &admin.hosts));
    if names.into_iter().all(may_ask) {
        return Ok(());
    }
    let detail = "The admin listener is not asked by this name; use its address or `localhost`, or add the name to \
                  `hosts` in [admin].";
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", detail))
}

/// Whether `host`, perhaps with a port, is a name of the listener at `own`.
fn is_known(host: &str, own: IpAddr, hosts: &[Box<str>]) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, port)) => (inner, port.strip_prefix(':').or_else(|| port.is_empty().then_some(""))),
        None => host.split_once(':').map_or((host, Some("")), |(name, port)| (name, Some(port))),
    };
    if !port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    if let Ok(ip) = name.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        return ip.is_loopback() || own.is_unspecified() || ip == own.to_canonical() || is_listed(name, hosts);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || is_listed(name, hosts)
}

fn is_listed(name: &str, hosts: &[Box<str>]) -> bool {
    hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

fn token(admin: &Admin, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = &admin.token else { return Ok(()) };
    if is_open(uri.path()) {
        return Ok(());
    }
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (given, more) = (fields.next(), fields.next());
    let Some(given) = given else {
        let detail = "The admin listener needs a token: Authorization: Bearer TOKEN.";
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "no_token", detail);
        return Err(problem.with("www-authenticate", "Bearer realm=\"tidegate\""));
    };
    let given = given.as_bytes();
    let (scheme, rest) = given.split_at(given.len().min("Bearer ".len()));
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer ");
    if more.is_none() && is_bearer && token.matches(rest.trim_ascii()) {
        return Ok(());
    }
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "wrong_token", "This is not the token of the admin listener.");
    Err(problem.with("www-authenticate", "Bearer realm=\"tidegate\", error=\"invalid_token\""))
}

fn origin(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get(SEC_FETCH_SITE).map_or(&b"none"[..], |site| site.as_bytes());
    if !headers.contains_key(ORIGIN) && matches!(site, b"none" | b"same-origin") {
        return Ok(());
    }
    let detail = "What changes something is not taken from a web page; ask without Origin, as curl does.";
    Err(Problem::new(StatusCode::FORBIDDEN, "from_a_page", detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use axum::http::HeaderValue;

    const TOKEN: &str = "0123456789abcdef";

    fn admin(token: bool) -> Admin {
        Admin {
            address: Address::Tcp(([127, 0, 0, 1], 1).into()),
            token: token.then(|| Secret::new(TOKEN.to_owned())),
            hosts: ["gateway.internal".into(), "10.9.9.9".into()].into(),
        }
    }

    fn ask(admin: &Admin, at: &str, method: &str, target: &str, fields: &[(&str, &str)]) -> u16 {
        let address = match at.strip_prefix("unix:") {
            Some(path) => Address::Unix(std::path::Path::new(path).into()),
            None => Address::Tcp(at.parse().unwrap()),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        check(admin, &address, &method, &target.parse().unwrap(), &headers)
            .map_or_else(|problem| problem.status(), |()| 200)
    }

    #[test]
    fn names_that_it_is_asked_by() {
        let (loopback, own, any) = ("127.0.0.1:9180", "10.0.0.7:9180", "[::]:9180");
        for (at, host, status) in [
            (loopback, "localhost", 200),
            (loopback, "LocalHost:9180", 200),
            (loopback, "localhost.", 200),
            (loopback, "127.0.0.1", 200),
            (loopback, "127.0.0.1:1", 200),
            (loopback, "127.9.9.9", 200),
            (loopback, "[::1]:9180", 200),
            (loopback, "[::1]", 200),
            (loopback, "[::ffff:127.0.0.1]", 200),
            (loopback, "gateway.internal:80", 200),
            (loopback, "GATEWAY.internal.", 200),
            (loopback, "10.9.9.9", 200),
            (loopback, "evil.example", 421),
            (loopback, "localhost.evil.example", 421),
            (loopback, "localhost:80.evil.example@evil.example", 421),
            (loopback, "10.0.0.7", 421),
            (loopback, "[::1]evil.example", 421),
            (loopback, "::1", 421),
            (loopback, "", 421),
            (loopback, "\u{e9}", 421),
            (own, "10.0.0.7:9180", 200),
            (own, "localhost", 200),
            (own, "10.0.0.8", 421),
            (any, "10.0.0.8", 200),
            (any, "[2001:db8::1]:9180", 200),
            (any, "evil.example", 421),
            ("unix:/run/a.sock", "whatever", 200),
        ] {
            assert_eq!(ask(&admin(false), at, "GET", "/config", &[("host", host)]), status, "{host} at {at}");
        }
        assert_eq!(ask(&admin(false), loopback, "GET", "/config", &[]), 400);
        assert_eq!(
            ask(&admin(false), loopback, "GET", "/config", &[("host", "localhost"), ("host", "localhost")]),
            400
        );
        let target = |target: &str| ask(&admin(false), loopback, "GET", target, &[("host", "localhost")]);
        assert_eq!((target("http://evil.example/config"), target("http://localhost:9/config")), (421, 200));
    }

    #[test]
    fn tokens() {
        let host = ("host", "localhost");
        let with = |target: &str, value: &str| {
            ask(&admin(true), "127.0.0.1:1", "GET", target, &[host, ("authorization", value)])
        };
        for (value, status) in [
            ("Bearer 0123456789abcdef", 200),
            ("bearer  0123456789abcdef ", 200),
            ("Bearer 0123456789abcdeF", 401),
            ("Bearer 0123456789abcde", 401),
            ("Bearer 0123456789abcdef0123456789abcdef", 401),
            ("Bearer ", 401),
            ("Bearer", 401),
            ("", 401),
            ("0123456789abcdef", 401),
            ("Basic 0123456789abcdef", 401),
        ] {
            assert_eq!(with("/config", value), status, "{value}");
        }
        let without = |target: &str| ask(&admin(true), "127.0.0.1:1", "GET", target, &[host]);
        for (target, status) in
            [("/config", 401), ("/health", 200), ("/ready?a", 200), ("/health/app", 401), ("/nowhere", 401)]
        {
            assert_eq!(without(target), status, "{target}");
        }
        let right = ("authorization", "Bearer 0123456789abcdef");
        assert_eq!(ask(&admin(true), "127.0.0.1:1", "GET", "/config", &[host, right, right]), 401);
        assert_eq!(ask(&admin(true), "unix:/a", "GET", "/config", &[host]), 401, "also on a Unix socket");
    }

    #[test]
    fn pages_change_nothing() {
        let host = ("host", "localhost");
        for (method, field, status) in [
            ("POST", None, 200),
            ("POST", Some(("origin", "http://localhost")), 403),
            ("POST", Some(("origin", "null")), 403),
            ("PUT", Some(("origin", "http://evil.example")), 403),
            ("POST", Some(("sec-fetch-site", "cross-site")), 403),
            ("POST", Some(("sec-fetch-site", "same-site")), 403),
            ("POST", Some(("sec-fetch-site", "same-origin")), 200),
            ("POST", Some(("sec-fetch-site", "none")), 200),
            ("OPTIONS", Some(("origin", "http://evil.example")), 403),
            ("GET", Some(("origin", "http://evil.example")), 200),
            ("HEAD", Some(("sec-fetch-site", "cross-site")), 200),
        ] {
            let fields: Vec<_> = [host].into_iter().chain(field).collect();
            assert_eq!(ask(&admin(false), "127.0.0.1:1", method, "/drain", &fields), status, "{method} {field:?}");
        }
    }
}
