//! Version 1: `PROXY TCP4 192.0.2.1 198.51.100.7 56324 443`, and CR LF (section 2.1).

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str;

use super::{Endpoints, Progress, ProxyError};

/// How it begins.
pub(super) const START: &[u8] = b"PROXY ";

/// The longest line, with its CR LF.
pub const LINE_MAX: usize = 107;

/// Parses a header that begins as one of this version.
pub(super) fn parse(input: &[u8]) -> Result<Progress, ProxyError> {
    let seen = &input[..input.len().min(LINE_MAX)];
    let Some(end) = memchr::memchr2(b'\r', b'\n', seen) else {
        return if seen.len() < LINE_MAX { Ok(Progress::Incomplete) } else { Err(ProxyError::LineTooLong) };
    };
    match (seen[end], seen.get(end + 1)) {
        (b'\r', Some(b'\n')) => {}
        (b'\r', None) if end + 1 < LINE_MAX => return Ok(Progress::Incomplete),
        (b'\r', None) => return Err(ProxyError::LineTooLong),
        _ => return Err(ProxyError::LineEnd),
    }
    // A CR LF within the start itself is a line end too early.
    let rest = seen[..end].strip_prefix(START).ok_or(ProxyError::Transport)?;
    Ok(Progress::Complete { consumed: end + 2, endpoints: read(rest)? })
}

/// Reads what stands behind `PROXY `.
fn read(line: &[u8]) -> Result<Endpoints, ProxyError> {
    let (transport, rest) = match memchr::memchr(b' ', line) {
        Some(space) => (&line[..space], Some(&line[space + 1..])),
        None => (line, None),
    };
    let (is_v4, rest) = match (transport, rest) {
        // Whatever follows is to be ignored.
        (b"UNKNOWN", _) => return Ok(Endpoints::Unknown),
        (b"TCP4", Some(rest)) => (true, rest),
        (b"TCP6", Some(rest)) => (false, rest),
        (b"TCP4" | b"TCP6", None) => return Err(ProxyError::Parts),
        _ => return Err(ProxyError::Transport),
    };
    let mut parts = rest.split(|&byte| byte == b' ');
    let mut next = || parts.next().filter(|part| !part.is_empty()).ok_or(ProxyError::Parts);
    let texts = [next()?, next()?, next()?, next()?];
    if parts.next().is_some() {
        return Err(ProxyError::Parts);
    }
    let [source, destination, source_port, destination_port] = texts;
    let (source, destination) = (address(source, is_v4)?, address(destination, is_v4)?);
    Ok(Endpoints::Tcp {
        source: SocketAddr::new(source, port(source_port)?),
        destination: SocketAddr::new(destination, port(destination_port)?),
    })
}

fn address(text: &[u8], is_v4: bool) -> Result<IpAddr, ProxyError> {
    let text = str::from_utf8(text).map_err(|_| ProxyError::Address)?;
    // Both parsers of std are strict: no leading zeros, no zones, nothing around it.
    let parsed =
        if is_v4 { text.parse::<Ipv4Addr>().map(IpAddr::from) } else { text.parse::<Ipv6Addr>().map(IpAddr::from) };
    parsed.map_err(|_| ProxyError::Address)
}

fn port(text: &[u8]) -> Result<u16, ProxyError> {
    let fit = matches!(text, [b'0'] | [b'1'..=b'9', ..]) && text.len() <= 5 && text.iter().all(u8::is_ascii_digit);
    let number = || text.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    fit.then(number).and_then(|number| u16::try_from(number).ok()).ok_or(ProxyError::Port)
}

/// Appends a header.
pub(super) fn encode(endpoints: &Endpoints, out: &mut Vec<u8>) {
    let written = match endpoints {
        Endpoints::Tcp { source, destination } if source.is_ipv4() == destination.is_ipv4() => {
            let family = if source.is_ipv4() { '4' } else { '6' };
            let (from, to) = (source.ip(), destination.ip());
            write!(out, "PROXY TCP{family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
        _ => write!(out, "PROXY UNKNOWN\r\n"),
    };
    debug_assert!(written.is_ok(), "writing to a vector does not fail");
}
