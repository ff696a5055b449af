//! Version 2: a signature, four bytes that say what and how long, and a block of addresses and TLVs (section 2.2).

use std::net::{IpAddr, SocketAddr};

use super::{Endpoints, Progress, ProxyError};

/// How it begins: with what no protocol would.
pub(super) const START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family and transport, and the length of what follows.
const HEAD: usize = 16;

/// What two addresses of each family take.
const V4: usize = 12;
const V6: usize = 36;
const UNIX: usize = 216;

/// The longest block that is taken: the longest addresses, and 2 KiB of TLVs.
pub const BLOCK_MAX: usize = UNIX + 2048;

const VERSION: u8 = 0x20;
const LOCAL: u8 = 0x00;
const PROXY: u8 = 0x01;

/// The TLV with the checksum, and the length of its value.
const CHECKSUM: u8 = 0x03;
const CHECKSUM_LENGTH: usize = 4;

/// Parses a header that begins as one of this version.
pub(super) fn parse(input: &[u8]) -> Result<Progress, ProxyError> {
    let Some(&command) = input.get(12) else { return Ok(Progress::Incomplete) };
    let is_local = match (command & 0xf0, command & 0x0f) {
        (VERSION, LOCAL) => true,
        (VERSION, PROXY) => false,
        (VERSION, _) => return Err(ProxyError::Command),
        _ => return Err(ProxyError::Version),
    };
    let Some(&family) = input.get(13) else { return Ok(Progress::Incomplete) };
    // The family of a local connection is not to be looked at.
    let addresses = if is_local { None } else { addresses(family)? };
    let Some(length) = input.get(14..HEAD) else { return Ok(Progress::Incomplete) };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length > BLOCK_MAX {
        return Err(ProxyError::BlockTooLong);
    }
    if addresses.is_some_and(|addresses| length < addresses) {
        return Err(ProxyError::BlockTooShort);
    }
    let Some(header) = input.get(..HEAD + length) else { return Ok(Progress::Incomplete) };
    let block = &header[HEAD..];
    let endpoints = match addresses {
        None if is_local => Endpoints::Local,
        None => Endpoints::Unknown,
        Some(addresses) => {
            check_tlvs(header, HEAD + addresses)?;
            read_addresses(&block[..addresses])
        }
    };
    Ok(Progress::Complete { consumed: header.len(), endpoints })
}

/// How many bytes the addresses of a family take; nothing where there are none.
fn addresses(family: u8) -> Result<Option<usize>, ProxyError> {
    let length = match family >> 4 {
        0 => None,
        1 => Some(V4),
        2 => Some(V6),
        3 => Some(UNIX),
        _ => return Err(ProxyError::Family),
    };
    match family & 0x0f {
        // An unspecified family or transport: what follows is not known to be of any form.
        0 => Ok(None),
        1 => Ok(length),
        2 if length.is_some() => Err(ProxyError::Datagrams),
        2 => Ok(None),
        _ => Err(ProxyError::Family),
    }
}

/// Reads the addresses and the ports: both sources come before their destinations.
fn read_addresses(block: &[u8]) -> Endpoints {
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    let pair = |source: IpAddr, destination: IpAddr, ports: usize| Endpoints::Tcp {
        source: SocketAddr::new(source, port(ports)),
        destination: SocketAddr::new(destination, port(ports + 2)),
    };
    let v4 = |at: usize| -> [u8; 4] { std::array::from_fn(|byte| block[at + byte]) };
    let v6 = |at: usize| -> [u8; 16] { std::array::from_fn(|byte| block[at + byte]) };
    match block.len() {
        V4 => pair(v4(0).into(), v4(4).into(), 8),
        V6 => pair(v6(0).into(), v6(16).into(), 32),
        _ => Endpoints::Unix,
    }
}

/// Checks the TLVs of a header, which begin at `start`: they fill it exactly, and a checksum is right. What else they
/// say is nobody's concern here.
fn check_tlvs(header: &[u8], start: usize) -> Result<(), ProxyError> {
    let (mut at, mut checksum) = (start, None);
    while at < header.len() {
        let head = header.get(at..at + 3).ok_or(ProxyError::Tlv)?;
        let value = at + 3;
        let end = value + usize::from(u16::from_be_bytes([head[1], head[2]]));
        if end > header.len() {
            return Err(ProxyError::Tlv);
        }
        if head[0] == CHECKSUM && (end - value != CHECKSUM_LENGTH || checksum.replace(value).is_some()) {
            return Err(ProxyError::Checksum);
        }
        at = end;
    }
    let Some(place) = checksum else { return Ok(()) };
    // It is taken over the whole header, with zeros where it stands itself.
    let (before, after) = (&header[..place], &header[place + CHECKSUM_LENGTH..]);
    let computed = before
        .iter()
        .chain(&[0; CHECKSUM_LENGTH])
        .chain(after)
        .fold(u32::MAX, |crc, &byte| CRC32C[usize::from(crc as u8 ^ byte)] ^ crc >> 8);
    let told = &header[place..place + CHECKSUM_LENGTH];
    if (computed ^ u32::MAX).to_be_bytes() == told { Ok(()) } else { Err(ProxyError::Checksum) }
}

/// The table of CRC-32C (RFC 3720 appendix B.4), least significant bit first.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// Appends a header.
pub(super) fn encode(endpoints: &Endpoints, out: &mut Vec<u8>) {
    let mut head = |command: u8, family: u8, length: usize| {
        out.extend_from_slice(START);
        // At most 36.
        out.extend_from_slice(&[VERSION | command, family, 0, length as u8]);
    };
    let ports = match endpoints {
        Endpoints::Local => return head(LOCAL, 0, 0),
        Endpoints::Tcp { source: SocketAddr::V4(source), destination: SocketAddr::V4(destination) } => {
            head(PROXY, 0x11, V4);
            out.extend_from_slice(&source.ip().octets());
            out.extend_from_slice(&destination.ip().octets());
            [source.port(), destination.port()]
        }
        Endpoints::Tcp { source: SocketAddr::V6(source), destination: SocketAddr::V6(destination) } => {
            head(PROXY, 0x21, V6);
            out.extend_from_slice(&source.ip().octets());
            out.extend_from_slice(&destination.ip().octets());
            [source.port(), destination.port()]
        }
        _ => return head(PROXY, 0, 0),
    };
    ports.into_iter().for_each(|port| out.extend_from_slice(&port.to_be_bytes()));
}
