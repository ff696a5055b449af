//! `[gateway.dns]`: how the names of targets are resolved.
//!
//! ```toml
//! [gateway.dns]
//! servers = ["10.0.0.53", "127.0.0.1:5353"]    # default: those of /etc/resolv.conf, as they change
//! min_ttl = "1s"                               # no answer is asked for again before that
//! max_ttl = "5m"                               # every answer is asked for again after that
//! timeout = "2s"                               # for each attempt
//! attempts = 2                                 # to ask before it counts as a failure
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use toml::de::DeValue;

use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong, text};
use crate::base::units::display_duration;

/// The port of name servers (RFC 1035 section 4.2).
const PORT: u16 = 53;

/// More name servers than this are a mistake.
const SERVERS_MOST: usize = 16;

/// `[gateway.dns]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// `servers`: the name servers to ask; empty for the system's.
    pub servers: Vec<SocketAddr>,
    /// `min_ttl`: an answer holds at least for so long.
    pub min_ttl: Duration,
    /// `max_ttl`: an answer holds at most for so long.
    pub max_ttl: Duration,
    /// `timeout`: how long one attempt may take.
    pub timeout: Duration,
    /// `attempts`: how often a question is asked before it has failed.
    pub attempts: usize,
}

impl Default for DnsConfig {
    fn default() -> DnsConfig {
        DnsConfig {
            servers: Vec::new(),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            timeout: Duration::from_secs(2),
            attempts: 2,
        }
    }
}

impl DnsConfig {
    /// Reads the table, and adds what is wrong with it to the faults of `section`.
    pub(super) fn read(mut section: Section<'_, '_>) -> DnsConfig {
        let mut config = DnsConfig::default();
        let mut servers = Servers(Vec::new());
        section.read("servers", &mut servers);
        section.read("min_ttl", &mut config.min_ttl);
        section.read("max_ttl", &mut config.max_ttl);
        section.read("timeout", &mut config.timeout);
        section.read_within("attempts", 1..=10, &mut config.attempts);
        section.finish(&[]);
        config.servers = servers.0;
        let place = section.place("min_ttl").or_else(|| section.place("max_ttl"));
        if let Some(place) = place.filter(|_| config.min_ttl > config.max_ttl) {
            let (min, max) = (display_duration(config.min_ttl), display_duration(config.max_ttl));
            let message = format!("`min_ttl` ({min}) is longer than `max_ttl` ({max})");
            let fault = Diagnostic::new(place, message, "no answer can hold for both");
            section.fault(fault.help("make `min_ttl` shorter or `max_ttl` longer"));
        }
        config
    }
}

struct Servers(Vec<SocketAddr>);

impl FromValue for Servers {
    fn from_value(value: &Value<'_>) -> Result<Servers, Wrong> {
        let example = "[\"127.0.0.1:5353\"]";
        match value.get_ref() {
            DeValue::Array(list) if list.is_empty() => Err(Wrong::content(
                "the list is empty",
                format!("write {example}, or leave it out to ask the system's"),
            )),
            DeValue::Array(list) if list.len() > SERVERS_MOST => Err(Wrong::content(
                format!("{} name servers are too many", list.len()),
                "write up to 16, one or two will do",
            )),
            DeValue::Array(list) => list.iter().map(server).collect::<Result<_, _>>().map(Servers),
            _ => Err(Wrong::Type(format!("a list, such as {example}"))),
        }
    }
}

/// One name server: an address, and a port if it is not 53.
fn server(value: &Value<'_>) -> Result<SocketAddr, Wrong> {
    let text = text(value, "an address such as \"127.0.0.1:5353\"")?;
    let address = text.parse().or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT)));
    match address {
        Ok(address) if address.port() == 0 => Err(Wrong::content(
            format!("`{text}` has port 0, where no name server can be"),
            "write a port, or none for 53",
        )),
        Ok(address) => Ok(address),
        Err(_) => Err(Wrong::content(
            format!("`{text}` is not the address of a name server"),
            "write an IP address, and a port if it is not 53, such as \"127.0.0.1:5353\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    fn read(keys: &str) -> Result<DnsConfig, String> {
        let tree = DeTable::parse(keys).unwrap();
        let mut faults = Vec::new();
        let config = DnsConfig::read(Section::new("[gateway.dns]", 0..0, tree.get_ref(), &mut faults));
        let fault = faults.iter().map(|fault| format!("{}; {}", fault.message, fault.help.as_deref().unwrap_or("")));
        faults.is_empty().then_some(config).ok_or_else(|| fault.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn every_key_arrives_and_port_53_goes_without_saying() {
        assert_eq!(read(""), Ok(DnsConfig::default()));
        let text = "servers = [\"10.0.0.53\", \"[::1]:5353\", \"::1\"]\nmin_ttl = \"100ms\"\nmax_ttl = \"1h\"\n\
            timeout = \"500ms\"\nattempts = 1\n";
        let read = read(text).unwrap();
        let servers: Vec<String> = read.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.53:53", "[::1]:5353", "[::1]:53"]);
        assert_eq!((read.min_ttl, read.max_ttl), (Duration::from_millis(100), Duration::from_secs(3600)));
        assert_eq!((read.timeout, read.attempts), (Duration::from_millis(500), 1));
    }

    #[test]
    fn errors_say_what_to_write() {
        for (keys, words) in [
            ("servers = []", "the list is empty; write [\"127.0.0.1:5353\"], or leave it out"),
            ("servers = [\"ns.example\"]", "`ns.example` is not the address of a name server; write an IP address"),
            ("servers = [\"10.0.0.53:0\"]", "port 0, where no name server can be"),
            ("servers = \"10.0.0.53\"", "`servers` cannot be a string; it must be a list, such as"),
            ("min_ttl = \"6m\"", "`min_ttl` (6m) is longer than `max_ttl` (5m); make"),
            ("max_ttl = \"500ms\"", "`min_ttl` (1s) is longer than `max_ttl` (500ms); make"),
            ("attempts = 0", "`0` is too small; it can be from 1 to 10"),
            ("server = 1", "unknown key `server` in [gateway.dns]; did you mean `servers`?"),
        ] {
            let is = read(keys).unwrap_err();
            assert!(is.contains(words), "{keys}: {is}");
        }
    }
}
