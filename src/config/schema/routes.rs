//! `[routes.NAME]`.

use super::access_log::SCOPE;
use super::services::{
    BETWEEN_BYTES_TIMEOUT, CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, HASH_BY, RETRIES, RULES, SEND_TIMEOUT, TIMEOUT,
};
use super::{ANY_NUMBER, DURATION_OR_OFF, Default, Key, Kind, NAMES, Table, When};

/// Where something is sent to a service.
const SENT: When = When::Without(&["redirect", "respond"]);

/// What headers and query keys are compared with.
const TESTS: Kind = Kind::Map(&Kind::Any(&[Kind::Text, Kind::True]));

pub(in crate::config) const ROUTE: &Table = &Table {
    name: "route",
    about: "Which requests go where, and how.",
    keys: &[
        Key::free("hosts", NAMES, "Any of; \"*.example.com\" takes all names below. Without it, any host."),
        Key::of(
            "path",
            Kind::Pattern("^(/|~ )"),
            "\"/*\"",
            "Exact, with {captures}, with `/*` for all below, or \"~ \" and a regular expression.",
        ),
        Key::free("methods", Kind::List(&Kind::Pattern("^[A-Z][A-Z-]{0,31}$")), "Any of; GET takes HEAD too."),
        Key::free("headers", TESTS, "All of: exactly this, `true` for any value, or \"~ \" and an expression."),
        Key::free("query", TESTS, "The same of keys of the query."),
        Key::free("listeners", NAMES, "Any of; without it, all."),
        Key::of("priority", Kind::Integer(-1_000_000, 1_000_000), "0", "The higher wins, whatever else."),
        Key::free(
            "service",
            Kind::Any(&[Kind::Text, Kind::List(&Kind::Table(SHARE))]),
            "The name of a service, or several that share by weight.",
        ),
        Key::free("redirect", Kind::Any(&[Kind::Text, Kind::Table(REDIRECT)]), "The client is sent elsewhere."),
        Key::free("respond", Kind::Table(RESPOND), "It is answered here."),
        Key::free("sticky", HASH_BY, "With several services: requests of one key go to one of them."),
        Key::free("mirror", Kind::Table(MIRROR), "Where copies of some requests go, whose answers nobody sees."),
        Key::free("strip_prefix", Kind::Pattern("^/"), "What is not sent on of the path."),
        Key::free("rewrite", Kind::Pattern("^/"), "The path to send on, perhaps with captures."),
        Key::of("forward_path", Kind::Word(&["normal", "raw"]), "\"normal\"", "In which form the path is sent on.")
            .when(SENT),
        Key::of("preserve_host", Kind::Boolean, "true", "Send on the client's Host, not the target's own.").when(SENT),
        inherited(CONNECT_TIMEOUT),
        inherited(SEND_TIMEOUT),
        inherited(FIRST_BYTE_TIMEOUT),
        inherited(BETWEEN_BYTES_TIMEOUT),
        inherited(TIMEOUT),
        Key::free("retries", Kind::Any(&[Kind::Table(RETRIES), Kind::False]), "Where they differ from the service's."),
        Key::of("limits", Kind::Any(&[Kind::Table(LIMITS), Kind::False]), "{}", "What it admits."),
        Key::of(
            "upgrade",
            Kind::Any(&[Kind::Boolean, Kind::Table(UPGRADE)]),
            "false",
            "Whether requests may switch protocols.",
        )
        .when(SENT),
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
        Key::free("access_log", SCOPE, "Lines for its requests."),
    ],
};

/// A key of services that a route may have, too; without it, its service's holds.
const fn inherited(key: Key) -> Key {
    Key { default: Default::None, ..key }
}

pub(super) const LIMITS: &Table = &Table {
    name: "limits",
    about: "What a route admits.",
    keys: &[Key::of("body", Kind::Any(&[Kind::Size, Kind::False]), "\"10MiB\"", "The largest request body (413).")],
};

const SHARE: &Table = &Table {
    name: "share",
    about: "One of several services.",
    keys: &[
        Key::required("name", Kind::Text, "Its name."),
        Key::of("weight", Kind::Integer(0, 1_000_000), "1", "Its share of the requests."),
    ],
};

const REDIRECT: &Table = &Table {
    name: "redirect",
    about: "Where the client is sent: `to`, or the parts that change.",
    keys: &[
        Key::free("to", Kind::Text, "A URI with a scheme, or a path."),
        Key::free("scheme", Kind::Word(&["http", "https"]), "Another scheme."),
        Key::free("host", Kind::Text, "Another host."),
        Key::free("port", Kind::Integer(1, 65_535), "Another port."),
        Key::free("path", Kind::Text, "Another path."),
        Key::of("query", Kind::Word(&["keep", "drop"]), "\"keep\"", "What becomes of the request's query."),
        Key::of("status", Kind::Integer(301, 308), "307", "301, 302, 303, 307 or 308."),
    ],
};

const RESPOND: &Table = &Table {
    name: "respond",
    about: "An answer that is made here.",
    keys: &[
        Key::of("status", Kind::Integer(200, 599), "200", "Its status."),
        Key::free("body", Kind::Text, "Its body."),
        Key::of("content_type", Kind::Text, "\"text/plain; charset=utf-8\"", "What the body is."),
        Key::free("headers", Kind::Map(&Kind::Any(&[Kind::Text, Kind::List(&Kind::Text)])), "More fields."),
    ],
};

const MIRROR: &Table = &Table {
    name: "mirror",
    about: "Where copies of some requests go.",
    keys: &[
        Key::required("service", Kind::Text, "The service that gets them."),
        Key::of("share", Kind::Number(0.0, 1.0), "1", "Of how many requests."),
        Key::of("body", Kind::Size, "\"64KiB\"", "The largest body that is copied."),
    ],
};

const UPGRADE: &Table = &Table {
    name: "upgrade",
    about: "Whether requests may switch protocols.",
    keys: &[
        Key::free("protocols", NAMES, "These and no others; without it, any."),
        Key::of("idle_timeout", DURATION_OR_OFF, "\"5m\"", "Without a byte in either direction."),
        Key::of("lifetime", DURATION_OR_OFF, "false", "In all."),
        Key::of("send_timeout", DURATION_OR_OFF, "\"1m\"", "For one side to take a piece of what the other has sent."),
        Key::of(
            "tunnels",
            Kind::Any(&[Kind::Integer(0, ANY_NUMBER), Kind::False]),
            "1000",
            "At the same time, in the whole process (503).",
        ),
    ],
};
