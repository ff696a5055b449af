//! `[services.NAME]`.

use super::{DURATION_OR_OFF, Default, Key, Kind, Table, When};
use crate::base::units::{display_duration, parse_duration};

pub(in crate::config) const SERVICE: &Table = &Table {
    name: "service",
    about: "A backend.",
    keys: &[
        Key::required(
            "targets",
            Kind::List(&Kind::Any(&[Kind::Text, Kind::Table(TARGET)])),
            "Addresses with a port, \"unix:/path\", names with a port, or \"srv:NAME\"; each once.",
        ),
        CONNECT_TIMEOUT,
        SEND_TIMEOUT,
        FIRST_BYTE_TIMEOUT,
        BETWEEN_BYTES_TIMEOUT,
        TIMEOUT,
        Key::of(
            "balance",
            Kind::Any(&[
                Kind::Word(&["round_robin", "least_connections", "p2c_ewma", "consistent_hash"]),
                Kind::Table(BALANCE),
            ]),
            "\"round_robin\"",
            "Which target takes a request.",
        ),
        Key::of(
            "slow_start",
            DURATION_OR_OFF,
            "false",
            "For so long, a target that is new or was out grows into its share.",
        ),
        Key::of(
            "ejection",
            Kind::Any(&[Kind::Table(EJECTION), Kind::False]),
            "{}",
            "When a target that fails is left out.",
        ),
        Key::of(
            "affinity",
            Kind::Any(&[Kind::Table(AFFINITY), Kind::False]),
            "false",
            "A cookie that keeps a client at its target.",
        ),
        Key::of("retries", Kind::Any(&[Kind::Table(RETRIES), Kind::False]), "{}", "Which requests are sent again."),
        Key::of("pool", Kind::Table(POOL), "{}", "The connections to the targets."),
        Key::of(
            "fallback",
            Kind::Any(&[Kind::Table(FALLBACK), Kind::False]),
            "false",
            "What answers when all targets are down.",
        ),
        Key::of(
            "proxy_protocol",
            Kind::Any(&[Kind::Word(&["v1", "v2"]), Kind::False]),
            "false",
            "Begin connections to the targets with who the client is.",
        ),
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
        Key::of(
            "health",
            Kind::Any(&[Kind::Table(HEALTH), Kind::False]),
            "false",
            "What targets are asked to find out whether they are well.",
        ),
    ],
};

pub(super) const CONNECT_TIMEOUT: Key =
    Key::of("connect_timeout", Kind::Duration, "\"5s\"", "Until the target has accepted a connection (504).");
pub(super) const SEND_TIMEOUT: Key = Key::of(
    "send_timeout",
    DURATION_OR_OFF,
    "\"30s\"",
    "For each piece of a request that the target is slow to take (504).",
);
pub(super) const FIRST_BYTE_TIMEOUT: Key = Key::of(
    "first_byte_timeout",
    DURATION_OR_OFF,
    "\"30s\"",
    "From the end of the request to the start of the response (504).",
);
pub(super) const BETWEEN_BYTES_TIMEOUT: Key = Key::of(
    "between_bytes_timeout",
    DURATION_OR_OFF,
    "\"60s\"",
    "From one piece of the response to the next; then it is cut.",
);
pub(super) const TIMEOUT: Key =
    Key::of("timeout", DURATION_OR_OFF, "false", "The whole exchange with all bodies (504).");

const TARGET: &Table = &Table {
    name: "target",
    about: "A target with its share of the load.",
    keys: &[
        Key::required("address", Kind::Text, "As in the list."),
        Key::of("weight", Kind::Integer(1, 1000), "1", "Its share of the load beside the others'."),
    ],
};

const BALANCE: &Table = &Table {
    name: "balance",
    about: "Which target takes a request.",
    keys: &[
        Key::required(
            "method",
            Kind::Word(&["round_robin", "least_connections", "p2c_ewma", "consistent_hash"]),
            "How a target is chosen.",
        ),
        Key::of("decay", Kind::Duration, "\"10s\"", "How long a slow answer is remembered.")
            .when(When::Is("method", "\"p2c_ewma\"")),
        Key::of("by", HASH_BY, "\"ip\"", "What the key is.").when(When::Is("method", "\"consistent_hash\"")),
        Key::of(
            "load",
            Kind::Any(&[Kind::Number(1.0, 100.0), Kind::False]),
            "1.25",
            "How many times its part of the running requests a target may have.",
        )
        .when(When::Is("method", "\"consistent_hash\"")),
    ],
};

/// What consistent hashing goes by.
pub(super) const HASH_BY: Kind = Kind::Pattern("^(ip|header:.+|cookie:.+|query:.+|path:.+)$");

/// Statuses and classes of them.
pub(super) const STATUSES: Kind =
    Kind::List(&Kind::Any(&[Kind::Pattern("^([1-5]xx|[1-5][0-9][0-9])$"), Kind::Integer(100, 599)]));

const EJECTION: &Table = &Table {
    name: "ejection",
    about: "When a target that fails is left out for a while.",
    keys: &[
        Key::of("consecutive_failures", Kind::Integer(1, 1_000_000), "5", "So many in a row, of all workers."),
        Key::of(
            "failure_rate",
            Kind::Any(&[Kind::Number(0.0, 1.0), Kind::False]),
            "false",
            "Or this share of the requests in a window.",
        ),
        Key::of("minimum", Kind::Integer(1, 1_000_000), "20", "If there were so many."),
        Key::of("window", Kind::Duration, "\"10s\"", "The length of a window."),
        Key::of("statuses", STATUSES, "[\"502\", \"503\", \"504\"]", "Answers that are failures."),
        Key::of("ejected_for", Kind::Duration, "\"10s\"", "The first time, and twice as long each time in a row."),
        Key::new("longest", Kind::Duration, Default::With("5m", "ejected_for", no_less_than_first), "Up to this."),
        Key::of("most", Kind::Number(0.0, 1.0), "0.5", "The share of the targets that may be out at once."),
    ],
};

fn no_less_than_first(first: &str) -> String {
    longer("5m", first)
}

const AFFINITY: &Table = &Table {
    name: "affinity",
    about: "A cookie that keeps a client at its target.",
    keys: &[
        Key::required("cookie", Kind::Text, "Its name."),
        Key::free("max_age", Kind::Duration, "How long clients keep it; without it, until the browser is closed."),
        Key::of("path", Kind::Text, "\"/\"", "For which paths of the site."),
        Key::of("secure", Kind::Boolean, "false", "Only by HTTPS."),
        Key::of("http_only", Kind::Boolean, "true", "Not for scripts."),
        Key::of(
            "same_site",
            Kind::Word(&["strict", "lax", "none"]),
            "\"lax\"",
            "With which requests from other sites.",
        ),
        Key::free("secret", Kind::Secret, "What the value is keyed with, of 8 characters or more."),
    ],
};

pub(super) const RETRIES: &Table = &Table {
    name: "retries",
    about: "Which requests are sent again, to another target if there is one.",
    keys: &[
        Key::of("attempts", Kind::Integer(1, 10), "2", "How often a request is sent in all."),
        Key::of(
            "on",
            Kind::List(&Kind::Any(&[
                Kind::Pattern("^(connect|reset|timeout|[1-5]xx|[1-5][0-9][0-9])$"),
                Kind::Integer(100, 599),
            ])),
            "[\"connect\", \"reset\"]",
            "When: \"connect\", \"reset\", \"timeout\", and statuses such as \"502\" or \"5xx\".",
        ),
        Key::of("budget", Kind::Number(0.0, 1.0), "0.2", "Retries for each request over ten seconds, in each worker."),
        Key::of("backoff", Kind::Duration, "\"25ms\"", "The longest wait before the first retry."),
        Key::new(
            "backoff_max",
            Kind::Duration,
            Default::With("250ms", "backoff", no_less_than_backoff),
            "The longest wait before any.",
        ),
        Key::of("non_idempotent", Kind::Boolean, "false", "Whatever the method; POST may then be carried out twice."),
        Key::of("body", Kind::Size, "\"64KiB\"", "The largest body that is kept to be sent again."),
    ],
};

fn no_less_than_backoff(backoff: &str) -> String {
    longer("250ms", backoff)
}

/// The longer of a default and a duration as it is written.
fn longer(default: &str, written: &str) -> String {
    let (own, other) = (parse_duration(default), parse_duration(written.trim_matches('"')));
    match (own, other) {
        (Ok(own), Ok(other)) => format!("\"{}\"", display_duration(own.max(other))),
        _ => format!("\"{default}\""),
    }
}

const POOL: &Table = &Table {
    name: "pool",
    about: "The connections to the targets.",
    keys: &[
        Key::of(
            "idle_connections",
            Kind::Integer(0, 65_536),
            "1024",
            "Kept open for the next request, to one target and by one worker.",
        ),
        Key::of("idle_timeout", Kind::Duration, "\"50s\"", "And for how long."),
        Key::of(
            "max_connections",
            Kind::Any(&[Kind::Integer(0, u32::MAX as i64), Kind::False]),
            "false",
            "To one target, of all workers together; 0 or false for any number.",
        ),
        Key::of(
            "queue",
            Kind::Integer(0, 65_536),
            "128",
            "Requests that may wait until there are fewer, in all workers.",
        ),
        Key::of("queue_timeout", Kind::Duration, "\"1s\"", "And how long."),
    ],
};

const FALLBACK: &Table = &Table {
    name: "fallback",
    about: "What answers when all targets are down: another service, or a response.",
    keys: &[
        Key::free("service", Kind::Text, "The name of another service."),
        Key::of("status", Kind::Integer(200, 599), "503", "Its status.").when(When::Without(&["service"])),
        Key::of("body", Kind::Text, "\"\"", "Its body.").when(When::Without(&["service"])),
        Key::of("content_type", Kind::Text, "\"text/plain; charset=utf-8\"", "What the body is.")
            .when(When::Without(&["service"])),
    ],
};

const HEALTH: &Table = &Table {
    name: "health",
    about: "What targets are asked to find out whether they are well.",
    keys: &[
        Key::of("tcp", Kind::Boolean, "false", "A connection that is accepted will do."),
        Key::free("path", Kind::Text, "What is asked for; required unless `tcp` is true."),
        Key::of("method", Kind::Word(&["GET", "HEAD", "OPTIONS"]), "\"GET\"", "The method.")
            .when(When::IsNot("tcp", "true")),
        Key::free("host", Kind::Text, "The Host field; without it, the target as it is written."),
        Key::free("headers", Kind::Map(&Kind::Text), "More fields."),
        Key::of("statuses", STATUSES, "[\"2xx\"]", "What counts as well.").when(When::IsNot("tcp", "true")),
        Key::free("body", Kind::Text, "What must be in the body; \"~ \" begins a regular expression."),
        Key::free("port", Kind::Integer(1, 65_535), "Where to ask, if not at the target's port."),
        Key::of("interval", Kind::Duration, "\"5s\"", "From one check to the next."),
        Key::of("jitter", Kind::Number(0.0, 0.5), "0.1", "Each interval is longer or shorter by up to this share."),
        Key::new(
            "timeout",
            Kind::Duration,
            Default::With("1s", "interval", no_more_than_interval),
            "Connecting, the answer and its body.",
        ),
        Key::of(
            "healthy",
            Kind::Integer(1, 100),
            "2",
            "So many good checks in a row, and a target that was down is used again.",
        ),
        Key::of("unhealthy", Kind::Integer(1, 100), "3", "So many bad ones in a row, and it is down."),
    ],
};

fn no_more_than_interval(interval: &str) -> String {
    match parse_duration(interval.trim_matches('"')) {
        Ok(interval) => format!("\"{}\"", display_duration(interval.min(std::time::Duration::from_secs(1)))),
        Err(_) => "\"1s\"".into(),
    }
}

/// The rules of one direction.
pub(super) const RULES: &Table = &Table {
    name: "header_rules",
    about: "Rules over fields, in the order remove, rename, set, add, append.",
    keys: &[
        Key::free("remove", super::NAMES, "Names; \"X-Internal-*\" is every name that begins like that."),
        Key::free("rename", Kind::Map(&Kind::Text), "New names by old ones."),
        Key::free("set", Kind::Map(&Kind::Text), "One line with this value in place of all lines of the name."),
        Key::free("add", Kind::Map(&Kind::Text), "A line, if there is none of the name."),
        Key::free(
            "append",
            Kind::Map(&Kind::Any(&[Kind::Text, Kind::List(&Kind::Text)])),
            "A line, or several, beside those that are there.",
        ),
    ],
};
