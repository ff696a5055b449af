//! `[access_log]`, and what routes and the defaults say of it.

use super::services::STATUSES;
use super::{DURATION_OR_OFF, Key, Kind, NAMES, Table, When};

pub(super) const ACCESS_LOG: &Table = &Table {
    name: "access_log",
    about: "One line for each request, once it is over.",
    keys: &[
        Key::of(
            "output",
            Kind::Any(&[Kind::Word(&["stdout", "off"]), Kind::Map(&Kind::Text)]),
            "\"stdout\"",
            "Where lines go: \"stdout\", \"off\", or { file = \"/path\" }, opened anew on SIGUSR1.",
        ),
        Key::of("format", Kind::Text, "\"json\"", "\"json\", or a template with names of fields such as ${status}."),
        Key::of("fields", NAMES, FIELDS, "What a line of JSON says.").when(When::IsOrFree("format", "\"json\"")),
        Key::of("request_headers", NAMES, "[]", "Fields of requests that are logged, too."),
        Key::of("response_headers", NAMES, "[]", "Fields of responses that are logged, too."),
        Key::of("sample", Kind::Table(SAMPLE), "{}", "Which requests have a line."),
        Key::of("mask", Kind::Table(MASK), "{}", "Whose values are secrets, and written as ***."),
        Key::of(
            "queue",
            Kind::Size,
            "\"4MiB\"",
            "What may wait in each worker; lines beyond it are dropped and counted.",
        ),
    ],
};

/// Those that a line has where nothing else is written.
const FIELDS: &str = "[\"time\", \"request_id\", \"trace_id\", \"client\", \"peer\", \"method\", \"host\", \"path\", \
                      \"query\", \"protocol\", \"status\", \"bytes_received\", \"bytes_sent\", \"route\", \"service\", \
                      \"target\", \"attempts\", \"outcome\", \"code\", \"gateway_ms\", \"queue_ms\", \"connect_ms\", \
                      \"pause_ms\", \"upload_ms\", \"first_byte_ms\", \"backend_ms\", \"total_ms\"]";

const SAMPLE: &Table = &Table {
    name: "sample",
    about: "Which requests have a line.",
    keys: &[
        Key::of("share", Kind::Number(0.0, 1.0), "1.0", "Of the requests that went well."),
        Key::of("always", STATUSES, "[\"5xx\"]", "Statuses that are logged whatever the share."),
        Key::of("slower_than", DURATION_OR_OFF, "\"1s\"", "And requests that took as long."),
    ],
};

const MASK: &Table = &Table {
    name: "mask",
    about: "Whose values are secrets, and written as ***.",
    keys: &[
        Key::of("query", NAMES, MASKED, "Keys of queries."),
        Key::of("headers", NAMES, "[\"x-api-key\"]", "Fields, beside those that always are."),
    ],
};

const MASKED: &str = "[\"access_token\", \"api_key\", \"apikey\", \"client_secret\", \"id_token\", \"password\", \
                      \"refresh_token\", \"secret\", \"sig\", \"signature\", \"token\", \"x-amz-signature\"]";

/// What a route or the defaults say of it; what they leave out is as it is in `[access_log]`.
pub(super) const SCOPE: Kind = Kind::Any(&[Kind::Boolean, Kind::Table(OWN)]);

const OWN: &Table = &Table {
    name: "access_log_of_routes",
    about: "Which requests have a line.",
    keys: &[Key::of("sample", Kind::Table(SAMPLE), "{}", "Which requests have a line.")],
};
