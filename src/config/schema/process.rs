//! The file itself, `[gateway]`, `[listeners.NAME]`, `[admin]` and `[defaults]`.

use super::access_log::{ACCESS_LOG, SCOPE};
use super::routes::LIMITS;
use super::services::{RETRIES, RULES};
use super::{ANY_NUMBER, DURATION_OR_OFF, Default, Key, Kind, NAMES, ROUTE, SERVICE, Table};
use crate::base::units::parse_size;

/// Everything.
pub(in crate::config) const FILE: &Table = &Table {
    name: "file",
    about: "A configuration of Tidegate.",
    keys: &[
        Key::free("include", NAMES, "More files, relative to this one; `*` and `?` stand for characters of a name."),
        Key::of("gateway", Kind::Table(GATEWAY), "{}", "The process."),
        Key::required("listeners", Kind::Named(LISTENER), "Where clients connect."),
        Key::of("admin", Kind::Any(&[Kind::Table(ADMIN), Kind::False]), "{}", "Where operators connect."),
        Key::free("access_log", Kind::Table(ACCESS_LOG), "One line for each request; without this section, none."),
        Key::of("metrics", Kind::Table(METRICS), "{}", "How much is counted apart."),
        Key::of("defaults", Kind::Table(DEFAULTS), "{}", "What every route inherits."),
        Key::free("services", Kind::Named(SERVICE), "Backends."),
        Key::free("routes", Kind::Named(ROUTE), "Which requests go where."),
    ],
};

const METRICS: &Table = &Table {
    name: "metrics",
    about: "How much is counted apart, for `/metrics`; what comes after that shares the series of `(other)`.",
    keys: &[
        Key::of("routes", Kind::Integer(0, 100_000), "10000", "Routes that have series of their own."),
        Key::of("services", Kind::Integer(0, 100_000), "1000", "Services that have series of their own."),
    ],
};

const GATEWAY: &Table = &Table {
    name: "gateway",
    about: "The process.",
    keys: &[
        Key::of("workers", Kind::Integer(0, 1024), "0", "Worker threads; 0 is one for each core."),
        Key::of("driver", Kind::Word(&["auto", "io_uring", "epoll"]), "\"auto\"", "How workers speak to the kernel."),
        Key::of("pin", Kind::Any(&[Kind::Boolean, Kind::Word(&["auto"])]), "\"auto\"", "Keep each worker on its core."),
        Key::of("sync_interval", Kind::Duration, "\"20ms\"", "How often workers look at what the others have running."),
        Key::of(
            "drain_delay",
            DURATION_OR_OFF,
            "false",
            "How long it serves on after SIGTERM, while `/ready` answers 503.",
        ),
        Key::of(
            "drain_timeout",
            Kind::Duration,
            "\"30s\"",
            "How long what runs may take after SIGTERM; then it is answered with 503, or cut.",
        ),
        Key::of("watch", Kind::Boolean, "true", "Whether a change of the file reloads it."),
        Key::of(
            "connections_per_worker",
            Kind::Integer(1, 1_048_576),
            "16384",
            "Client connections that one worker holds at a time.",
        ),
        Key::of("merge_slashes", Kind::Boolean, "false", "Whether slashes in a row are one in a path."),
        Key::of("limits", Kind::Table(CONNECTION_LIMITS), "{}", "What one client connection may do."),
        Key::of("dns", Kind::Table(DNS), "{}", "How the names of targets are resolved."),
        Key::of("trusted_proxies", NAMES, "[]", "Networks whose X-Forwarded fields are believed."),
        Key::of(
            "forwarded",
            Kind::Word(&["x-forwarded", "rfc7239", "both", "none"]),
            "\"x-forwarded\"",
            "In which fields services are told of the client.",
        ),
        Key::of("via", Kind::Any(&[Kind::Text, Kind::False]), "\"tidegate\"", "The name in Via."),
        Key::of("request_id", Kind::Table(REQUEST_ID), "{}", "The id of each request."),
    ],
};

const CONNECTION_LIMITS: &Table = &Table {
    name: "connection_limits",
    about: "What one client connection may do.",
    keys: &[
        Key::of("head", Kind::Size, "\"32KiB\"", "A request's head: its first line and its fields (431)."),
        Key::of("fields", Kind::Integer(1, 256), "100", "Fields in a head (431)."),
        Key::new(
            "target",
            Kind::Size,
            Default::With("8KiB", "head", no_more_than_head),
            "The path and the query (414).",
        ),
        Key::of("head_timeout", Kind::Duration, "\"10s\"", "From the first byte of a head to its last (408)."),
        Key::of("idle_timeout", Kind::Duration, "\"75s\"", "Without a request; then the connection is closed."),
        Key::of(
            "body_rate",
            Kind::Any(&[Kind::Rate, Kind::False]),
            "\"100B/s\"",
            "The slowest a request body may arrive (408).",
        ),
        Key::of("body_rate_grace", Kind::Duration, "\"10s\"", "For so long, a body may be slower than that."),
        Key::of(
            "requests_per_connection",
            Kind::Any(&[Kind::Integer(0, ANY_NUMBER), Kind::False]),
            "10000",
            "Then the connection is closed in good order.",
        ),
    ],
};

/// A target is a part of the head.
fn no_more_than_head(head: &str) -> String {
    let own = "\"8KiB\"";
    let larger = |head: &str| Some(parse_size(head.trim_matches('"')).ok()? < parse_size("8KiB").ok()?);
    if larger(head) == Some(true) { head.to_owned() } else { own.to_owned() }
}

const DNS: &Table = &Table {
    name: "dns",
    about: "How the names of targets are resolved.",
    keys: &[
        Key::free(
            "servers",
            NAMES,
            "Name servers, with a port if it is not 53; without it, those of /etc/resolv.conf.",
        ),
        Key::of("min_ttl", Kind::Duration, "\"1s\"", "An answer holds at least for so long."),
        Key::of("max_ttl", Kind::Duration, "\"5m\"", "An answer holds at most for so long."),
        Key::of("timeout", Kind::Duration, "\"2s\"", "For each attempt."),
        Key::of("attempts", Kind::Integer(1, 10), "2", "Then it has failed, and the last good answer stays in use."),
    ],
};

const REQUEST_ID: &Table = &Table {
    name: "request_id",
    about: "The id of each request.",
    keys: &[
        Key::of("header", Kind::Text, "\"X-Request-Id\"", "The field that the id stands in, on both sides."),
        Key::of("accept", Kind::Word(&["trusted", "always", "never"]), "\"trusted\"", "Whose id is kept."),
    ],
};

const LISTENER: &Table = &Table {
    name: "listener",
    about: "Where clients connect.",
    keys: &[
        Key::required("address", Kind::Text, "An IP address and a port; port 0 takes a free port."),
        Key::of(
            "proxy_protocol",
            Kind::Boolean,
            "false",
            "Whether every connection begins with a PROXY protocol header.",
        ),
    ],
};

const ADMIN: &Table = &Table {
    name: "admin",
    about: "Where operators connect.",
    keys: &[
        Key::of("address", Kind::Text, "\"127.0.0.1:9180\"", "An IP address and a port, or \"unix:/path\"."),
        Key::free("token", Kind::Secret, "What requests must show, as `Authorization: Bearer ...`."),
        Key::of("hosts", NAMES, "[]", "Names that it is asked by beside its address."),
    ],
};

const DEFAULTS: &Table = &Table {
    name: "defaults",
    about: "What every route inherits.",
    keys: &[
        Key::of("limits", Kind::Any(&[Kind::Table(LIMITS), Kind::False]), "{}", "What a route admits."),
        Key::free(
            "request_headers",
            Kind::Any(&[Kind::Table(RULES), Kind::False]),
            "Rules over the fields of requests.",
        ),
        Key::free(
            "response_headers",
            Kind::Any(&[Kind::Table(RULES), Kind::False]),
            "Rules over the fields of responses.",
        ),
        Key::of("retries", Kind::Any(&[Kind::Table(RETRIES), Kind::False]), "{}", "Which requests are sent again."),
        Key::free("access_log", SCOPE, "Lines for requests of every route."),
    ],
};
