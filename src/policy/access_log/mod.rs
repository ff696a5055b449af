//! One line for each request, once it is over.
//!
//! ```toml
//! [access_log]                     # without this section there is no access log
//! output = "stdout"                # or { file = "/var/log/tidegate/access.log" }, or "off"
//! format = "json"                  # or a template: '${client} "${method} ${uri}" ${status} ${total_ms}'
//! fields = ["time", "client", "method", "path", "status", "total_ms"]    # of JSON; all of them by default
//! request_headers = ["user-agent"] # fields of requests that are logged, too; and response_headers
//! sample = { share = 0.1, always = ["4xx", "5xx"], slower_than = "1s" }
//! mask = { query = ["token"], headers = ["x-api-key"] }
//! queue = "4MiB"                   # lines that wait to be written, in each worker
//!
//! [defaults]
//! access_log = { sample = { share = 0.01 } }    # for all routes; key by key; or false for no lines
//!
//! [routes.health]
//! path = "/health"
//! respond = { body = "ok" }
//! access_log = false               # or true, or a table as above
//! ```
//!
//! There is none unless it is asked for: lines hold addresses of people, and where they go is for who runs the gateway
//! to decide.
//!
//! | field | what |
//! |---|---|
//! | `time` | when the request's head was complete, RFC 3339 in UTC with microseconds |
//! | `request_id`, `trace_id` | the request's id; the trace of its `traceparent` (W3C Trace Context), if it has one |
//! | `client`, `peer` | the client's address, behind trusted proxies theirs; the other side of the connection |
//! | `method`, `host`, `path`, `query`, `uri`, `protocol` | what was asked for, as it was received; `uri` is path and query; of a refused head, what was whole and right |
//! | `status` | the response's; none if the client was gone before its head was sent |
//! | `bytes_received`, `bytes_sent` | of the request and of the response, with heads and framing; of tunnels in all |
//! | `route`, `service`, `target` | where it went; of several targets the last |
//! | `attempts` | how often it was sent |
//! | `outcome` | `replied` by a backend, `local`, `refused`, `cut`, `client_gone` or `switched` to a tunnel |
//! | `code` | why it was refused or cut, as the answer says it; how a tunnel ended |
//! | `gateway_ms` | the gateway's own time until the first byte of the response |
//! | `queue_ms`, `connect_ms` | waiting for a connection, and making one |
//! | `pause_ms` | between an attempt that failed and the next; none where nothing was |
//! | `upload_ms` | sending the request, as fast as the client sends and the backend takes; none where it went at once |
//! | `first_byte_ms`, `backend_ms` | from the request sent to the backend's head, and to its last byte |
//! | `total_ms` | from the complete head to the last byte of the response; of a tunnel to its end |
//!
//! Times are milliseconds with three decimals. JSON leaves out what there is not; a template writes `-`. A template also
//! has `${request.header.NAME}` and `${response.header.NAME}`; `$$` is a dollar.
//!
//! **Nothing that a client sends can break a line.** In JSON, control characters are escaped and bytes that are no UTF-8
//! are replaced; in templates these, quotes and backslashes are `\xHH`. Long values are cut: path and query at 4 KiB
//! together, others at 1 KiB.
//!
//! **Secrets are masked** with `***`: the values of the fields Authorization, Proxy-Authorization, Cookie and Set-Cookie
//! always, of those in `mask.headers`, and in queries the values of the keys in `mask.query`, whatever their case, also
//! if they are percent-encoded, come twice, or stand in brackets (`user[token]=`), and also in logged fields that hold a
//! URI, such as Referer.
//!
//! **What is always logged**: `share` is for the requests that went well. A response that was cut, a client that left, a
//! status in `always` and a request that took at least `slower_than` are logged whatever the share.
//!
//! **It never holds a request up.** A worker puts what a line says into a buffer of its own; full buffers go to the
//! writer's thread, and come back empty. If the writer does not keep up, as when who reads a pipe stops reading, lines
//! are dropped and counted (`tidegate_access_log_dropped_total`).

mod config;
mod entry;
mod escape;
mod field;
mod format;
mod line;
mod mask;
mod number;
mod page;
mod recorder;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::base::statuses::StatusSet;
use crate::base::units::Setting;
use crate::http::fields::Known;
pub use config::{AccessLogConfig, OutputConfig, SampleConfig, ScopeConfig};
pub use entry::{Entry, Facts, OF_RESPONSE, Spent, Texts};
pub use field::Field;
use format::Format;
pub use format::{FormatConfig, PartConfig};
pub use line::Lines;
use mask::Mask;
pub use recorder::{Batch, Mailbox, Mailboxes, Pending, Recorder};

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// The end of this file.
    File(Arc<Path>),
}

/// An access log, as it runs.
#[derive(Debug, PartialEq)]
pub struct AccessLog {
    /// Where its lines go.
    pub output: Output,
    /// Which requests have a line that took no route.
    pub sampling: Sampling,
    /// The fields of requests that are in its lines.
    pub request_headers: Box<[Header]>,
    /// The fields of responses that are in its lines.
    pub response_headers: Box<[Header]>,
    /// Bytes that may wait in one worker.
    pub queue: usize,
    routes: Names,
    services: Names,
    format: Format,
    mask: Mask,
}

/// The names of routes or of services, by their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names(Box<[Box<str>]>);

impl Names {
    fn name(&self, place: u32) -> Option<&str> {
        self.0.get(place as usize).map(|name| &**name)
    }
}

/// A field of a head that is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name in lower case.
    pub name: Box<str>,
    /// Which name it is.
    pub known: Known,
    /// Only that it is there is logged, and not its value.
    pub masked: bool,
}

impl Header {
    /// What is logged where its value is this.
    #[must_use]
    pub fn shown<'v>(&self, value: &'v [u8]) -> &'v [u8] {
        if self.masked { mask::MASKED } else { value }
    }

    /// Whether this is its name.
    #[must_use]
    pub fn is(&self, known: Known, name: &[u8]) -> bool {
        self.known == known && (known != Known::Other || self.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Which requests have a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Of 2^32 requests that went well, how many.
    share: u64,
    always: StatusSet,
    /// Nanoseconds.
    slower_than: u64,
}

/// All of them.
const WHOLE: u64 = 1 << 32;

impl Sampling {
    /// What holds of the scopes, the narrowest first, key by key.
    fn compile<'a>(scopes: impl Iterator<Item = &'a SampleConfig> + Clone) -> Sampling {
        let share = scopes.clone().find_map(|scope| scope.share).unwrap_or(SampleConfig::SHARE);
        let always = scopes.clone().find_map(|scope| scope.always).unwrap_or_else(SampleConfig::always);
        let slower_than = scopes.clone().find_map(|scope| scope.slower_than).unwrap_or(SampleConfig::SLOWER_THAN);
        let slower_than =
            slower_than.value().map_or(u64::MAX, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        Sampling { share: (share * WHOLE as f64) as u64, always, slower_than }
    }

    /// The share of the requests that went well which have a line, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.share as f64 / WHOLE as f64
    }

    /// The statuses that have a line in any case.
    #[must_use]
    pub const fn always(&self) -> &StatusSet {
        &self.always
    }

    /// How long a request takes that has a line in any case; `None` where none does.
    #[must_use]
    pub fn slower_than(&self) -> Option<Duration> {
        Some(self.slower_than).filter(|nanos| *nanos != u64::MAX).map(Duration::from_nanos)
    }

    /// Whether a request has a line that got `status` after `total` nanoseconds, and ended `well` or not; `random` is
    /// asked for a number only where that decides.
    #[must_use]
    pub fn wants(&self, status: u16, total: u64, well: bool, random: impl FnOnce() -> u32) -> bool {
        self.share >= WHOLE
            || !well
            || total >= self.slower_than
            || self.always.contains(status)
            || u64::from(random()) < self.share
    }
}

impl AccessLog {
    /// What runs of what was written; nothing where there is no access log. The names are those of the routes and of the
    /// services, in their order.
    #[must_use]
    pub fn compile<'a>(
        config: Option<&AccessLogConfig>,
        routes: impl Iterator<Item = &'a str>,
        services: impl Iterator<Item = &'a str>,
    ) -> Option<Arc<AccessLog>> {
        let config = config?;
        let output = match &config.output {
            OutputConfig::Off => return None,
            OutputConfig::Stdout => Output::Stdout,
            OutputConfig::File(path) => Output::File(path.as_path().into()),
        };
        let mut headers = [headers(&config.request_headers, config), headers(&config.response_headers, config)];
        let format = Format::compile(&config.format, &config.fields, |side, name| {
            place(&mut headers[side as usize], name, config)
        });
        let [request_headers, response_headers] = headers.map(Vec::into_boxed_slice);
        Some(Arc::new(AccessLog {
            output,
            sampling: Sampling::compile([&config.sample].into_iter()),
            request_headers,
            response_headers,
            routes: Names(routes.map(Into::into).collect()),
            services: Names(services.map(Into::into).collect()),
            queue: usize::try_from(config.queue.bytes()).unwrap_or(usize::MAX),
            format,
            mask: Mask::new(config.mask_query.iter().map(String::as_str)),
        }))
    }

    /// Which requests of a route have a line; `None` for none. `scopes` are what the route and the defaults say.
    #[must_use]
    pub fn sampling(config: Option<&AccessLogConfig>, scopes: [Option<&Setting<ScopeConfig>>; 2]) -> Option<Sampling> {
        let config = config.filter(|config| config.output != OutputConfig::Off)?;
        // The narrowest that says anything says whether there are lines at all.
        if let Some(Setting::Off) = scopes.iter().flatten().next() {
            return None;
        }
        let written = scopes.iter().filter_map(|scope| match scope {
            Some(Setting::On(scope)) => Some(&scope.sample),
            Some(Setting::Off) | None => None,
        });
        Some(Sampling::compile(written.chain([&config.sample])))
    }
}

/// One of the two heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Of the request.
    Request = 0,
    /// Of the response.
    Response = 1,
}

fn headers(names: &[String], config: &AccessLogConfig) -> Vec<Header> {
    names.iter().map(|name| header(name, config)).collect()
}

fn header(name: &str, config: &AccessLogConfig) -> Header {
    const SECRET: [Known; 4] = [Known::Authorization, Known::ProxyAuthorization, Known::Cookie, Known::SetCookie];
    let name = name.to_ascii_lowercase();
    let known = Known::classify(name.as_bytes());
    let masked = SECRET.contains(&known) || config.mask_headers.iter().any(|other| other.eq_ignore_ascii_case(&name));
    Header { name: name.into(), known, masked }
}

/// The place of the field called `name` in `headers`, to which it is added if it is not there.
fn place(headers: &mut Vec<Header>, name: &str, config: &AccessLogConfig) -> u8 {
    let known = Known::classify(name.as_bytes());
    let place = headers.iter().position(|header| header.is(known, name.as_bytes())).unwrap_or_else(|| {
        headers.push(header(name, config));
        headers.len() - 1
    });
    // No more of them can be written.
    u8::try_from(place).unwrap_or(u8::MAX)
}
