//! Headers byte by byte, each fault with its cause, and what is written read again, cut anywhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn tcp(source: &str, destination: &str) -> Endpoints {
    Endpoints::Tcp { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// The header's bytes, with something behind it.
fn followed(header: &[u8]) -> Vec<u8> {
    [header, b"GET / HTTP/1.1\r\n"].concat()
}

/// Parses a whole header that must be incomplete until its last byte.
#[track_caller]
fn taken(header: &[u8]) -> Endpoints {
    for cut in 0..header.len() {
        assert_eq!(parse(&header[..cut]), Ok(Progress::Incomplete), "the first {cut} bytes");
    }
    match parse(&followed(header)) {
        Ok(Progress::Complete { consumed, endpoints }) => {
            assert_eq!(consumed, header.len());
            endpoints
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn lines_of_version_1() {
    let longest =
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(longest.len(), LINE_MAX);
    for (line, said) in [
        ("PROXY TCP4 255.255.255.255 1.2.3.4 65535 0\r\n", tcp("255.255.255.255:65535", "1.2.3.4:0")),
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", tcp("192.168.0.1:56324", "192.168.0.11:443")),
        ("PROXY TCP6 2001:DB8::1 ::1 4124 80\r\n", tcp("[2001:db8::1]:4124", "[::1]:80")),
        ("PROXY TCP6 ::ffff:1.2.3.4 ::ffff:0:1 1 2\r\n", tcp("[::ffff:1.2.3.4]:1", "[::ffff:0:1]:2")),
        ("PROXY UNKNOWN\r\n", Endpoints::Unknown),
        ("PROXY UNKNOWN \r\n", Endpoints::Unknown),
        ("PROXY UNKNOWN what ever  1\0\u{e4}\r\n", Endpoints::Unknown),
        (longest, Endpoints::Unknown),
    ] {
        assert_eq!(taken(line.as_bytes()), said, "{line:?}");
    }
}

#[test]
fn faults_of_version_1() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX - 15));
    assert_eq!(long.len(), LINE_MAX + 1);
    for (line, error) in [
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", ProxyError::LineEnd),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n", ProxyError::LineEnd),
        ("PROXY TCP4 1.2.3.4\n1.2.3.4 1 2\r\n", ProxyError::LineEnd),
        (&long, ProxyError::LineTooLong),
        ("PROXY \r\n", ProxyError::Transport),
        ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", ProxyError::Transport),
        ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", ProxyError::Transport),
        ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", ProxyError::Transport),
        ("PROXY UNKNOWNS\r\n", ProxyError::Transport),
        ("PROXY TCP4\r\n", ProxyError::Parts),
        ("PROXY TCP4 \r\n", ProxyError::Parts),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", ProxyError::Parts),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", ProxyError::Parts),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", ProxyError::Parts),
        ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", ProxyError::Parts),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", ProxyError::Address),
        ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", ProxyError::Address),
        ("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", ProxyError::Address),
        ("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", ProxyError::Address),
        ("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", ProxyError::Address),
        ("PROXY TCP4 0x1.2.3.4 1.2.3.4 1 2\r\n", ProxyError::Address),
        ("PROXY TCP4 1.2.3.4\t1.2.3.4 1 2 3\r\n", ProxyError::Address),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", ProxyError::Address),
        ("PROXY TCP6 [::1] ::1 1 2\r\n", ProxyError::Address),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", ProxyError::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n", ProxyError::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", ProxyError::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 4294967297\r\n", ProxyError::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", ProxyError::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", ProxyError::Port),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 x\r\n", ProxyError::Port),
        ("GET / HTTP/1.1\r\n", ProxyError::NoHeader),
        ("proxy UNKNOWN\r\n", ProxyError::NoHeader),
        ("\r\nPROXY UNKNOWN\r\n", ProxyError::NoHeader),
        ("PROXY\r\n", ProxyError::NoHeader),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(error), "{line:?}");
    }
    // One that can never end is not waited for.
    assert_eq!(parse(&long.as_bytes()[..LINE_MAX - 1]), Ok(Progress::Incomplete));
    assert_eq!(parse(&long.as_bytes()[..LINE_MAX]), Err(ProxyError::LineTooLong));
    assert_eq!(parse(b"G"), Err(ProxyError::NoHeader));
}

/// A header of version 2: version with command, family with transport, and the block.
fn block(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a", &[command, family][..], &length, block].concat()
}

const V4_BLOCK: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb];

fn v6_block() -> Vec<u8> {
    let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    [&ip("2001:db8::1")[..], &ip("::1"), &[0xff, 0xff, 0x00, 0x50]].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

#[test]
fn blocks_of_version_2() {
    let unix = [&b"/run/client.sock"[..], &[0; 200]].concat();
    let with = |tlvs: &[Vec<u8>]| [V4_BLOCK.to_vec(), tlvs.concat()].concat();
    let v4 = tcp("192.0.2.1:56324", "198.51.100.7:443");
    for (header, said) in [
        (block(0x21, 0x11, V4_BLOCK), v4),
        (block(0x21, 0x21, &v6_block()), tcp("[2001:db8::1]:65535", "[::1]:80")),
        (block(0x21, 0x31, &unix), Endpoints::Unix),
        // The authority, the identity of a cloud's endpoint, one to be ignored, and one that nobody knows.
        (block(0x21, 0x11, &with(&[tlv(2, b"example.com"), tlv(0xea, b"vpce"), tlv(4, &[0; 9]), tlv(0xff, b"")])), v4),
        (block(0x21, 0x11, &with(&[tlv(0xe0, &[7; 2000])])), v4),
        (block(0x20, 0x00, b""), Endpoints::Local),
        // What comes along with a local connection is skipped, whatever it is.
        (block(0x20, 0x11, V4_BLOCK), Endpoints::Local),
        (block(0x20, 0xff, b"not even an address"), Endpoints::Local),
        (block(0x21, 0x00, b""), Endpoints::Unknown),
        (block(0x21, 0x00, b"of a form unknown"), Endpoints::Unknown),
        (block(0x21, 0x01, b""), Endpoints::Unknown),
        (block(0x21, 0x10, V4_BLOCK), Endpoints::Unknown),
    ] {
        assert_eq!(taken(&header), said, "{}", header.escape_ascii());
    }
}

#[test]
fn faults_of_version_2() {
    let with = |tail: &[u8]| block(0x21, 0x11, &[V4_BLOCK, tail].concat());
    let mut other_signature = block(0x21, 0x11, V4_BLOCK);
    other_signature[11] = b'\r';
    for (header, error) in [
        (other_signature, ProxyError::NoHeader),
        (block(0x11, 0x11, V4_BLOCK), ProxyError::Version),
        (block(0x31, 0x11, V4_BLOCK), ProxyError::Version),
        (block(0x22, 0x11, V4_BLOCK), ProxyError::Command),
        (block(0x2f, 0x11, V4_BLOCK), ProxyError::Command),
        (block(0x21, 0x41, V4_BLOCK), ProxyError::Family),
        (block(0x21, 0x13, V4_BLOCK), ProxyError::Family),
        (block(0x21, 0x12, V4_BLOCK), ProxyError::Datagrams),
        (block(0x21, 0x22, &v6_block()), ProxyError::Datagrams),
        (block(0x21, 0x32, &[0; 216]), ProxyError::Datagrams),
        (block(0x21, 0x11, &V4_BLOCK[..11]), ProxyError::BlockTooShort),
        (block(0x21, 0x21, &v6_block()[..35]), ProxyError::BlockTooShort),
        (block(0x21, 0x31, &[0; 215]), ProxyError::BlockTooShort),
        (block(0x21, 0x11, &[0; BLOCK_MAX + 1]), ProxyError::BlockTooLong),
        (block(0x20, 0x00, &[0; BLOCK_MAX + 1]), ProxyError::BlockTooLong),
        (with(&[4]), ProxyError::Tlv),
        (with(&[4, 0]), ProxyError::Tlv),
        (with(&[4, 0, 1]), ProxyError::Tlv),
        (with(&[4, 0, 2, 9]), ProxyError::Tlv),
        (with(&[4, 0, 0, 4, 0xff, 0xff, 0]), ProxyError::Tlv),
        (with(&tlv(3, &[0; 3])), ProxyError::Checksum),
        (with(&tlv(3, &[0; 5])), ProxyError::Checksum),
        (with(&tlv(3, &[0; 4])), ProxyError::Checksum),
    ] {
        assert_eq!(parse(&followed(&header)), Err(error), "{}", header.escape_ascii());
    }
    // What cannot become right is not waited for.
    assert_eq!(parse(&block(0x21, 0x11, &[0; BLOCK_MAX + 1])[..16]), Err(ProxyError::BlockTooLong));
    assert_eq!(parse(&block(0x21, 0x11, &V4_BLOCK[..11])[..16]), Err(ProxyError::BlockTooShort));
    assert_eq!(parse(&block(0x21, 0x12, V4_BLOCK)[..14]), Err(ProxyError::Datagrams));
}

/// CRC-32C bit by bit, as its definition has it.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        for bit in 0..8 {
            let odd = (crc ^ u32::from(byte >> bit)) & 1 == 1;
            crc = crc >> 1 ^ if odd { 0x82f6_3b78 } else { 0 };
        }
    }
    crc ^ u32::MAX
}

/// A header with a right checksum, at the end or before another TLV.
fn checked(before: &[u8], after: &[u8]) -> (Vec<u8>, usize) {
    let mut header = block(0x21, 0x11, &[V4_BLOCK, before, &tlv(3, &[0; 4]), after].concat());
    let place = 16 + V4_BLOCK.len() + before.len() + 3;
    let sum = crc32c(&header);
    header[place..place + 4].copy_from_slice(&sum.to_be_bytes());
    (header, place)
}

#[test]
fn checksums_are_checked() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    for (before, after) in [(vec![], vec![]), (tlv(2, b"a"), tlv(4, &[0; 5])), (vec![], tlv(0x20, b"tls"))] {
        let (header, place) = checked(&before, &after);
        assert_eq!(taken(&header), tcp("192.0.2.1:56324", "198.51.100.7:443"));
        // Any bit that is wrong in an address, a port, a value or the sum itself.
        for at in (16..16 + V4_BLOCK.len()).chain(place..place + 4) {
            let mut damaged = header.clone();
            damaged[at] ^= 0x10;
            assert_eq!(parse(&damaged), Err(ProxyError::Checksum), "byte {at}");
        }
    }
    let (twice, _) = checked(&[], &tlv(3, &[0; 4]));
    assert_eq!(parse(&twice), Err(ProxyError::Checksum));
}

fn written(version: Version, endpoints: &Endpoints) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode(version, endpoints, &mut out);
    out.strip_prefix(b"before").unwrap().to_vec()
}

#[test]
fn what_is_written() {
    let v4 = tcp("192.0.2.1:56324", "198.51.100.7:443");
    let v6 = tcp("[2001:db8::1]:65535", "[::1]:80");
    for (endpoints, line, binary) in [
        (v4, "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", block(0x21, 0x11, V4_BLOCK)),
        (v6, "PROXY TCP6 2001:db8::1 ::1 65535 80\r\n", block(0x21, 0x21, &v6_block())),
        (Endpoints::Unknown, "PROXY UNKNOWN\r\n", block(0x21, 0, b"")),
        (Endpoints::Unix, "PROXY UNKNOWN\r\n", block(0x21, 0, b"")),
        (Endpoints::Local, "PROXY UNKNOWN\r\n", block(0x20, 0, b"")),
        (tcp("192.0.2.1:1", "[::1]:2"), "PROXY UNKNOWN\r\n", block(0x21, 0, b"")),
    ] {
        assert_eq!(written(Version::V1, &endpoints), line.as_bytes());
        assert_eq!(written(Version::V2, &endpoints), binary);
    }
}

#[test]
fn endpoints_are_of_one_family() {
    let of = |source: &str, destination: &str| {
        Endpoints::of(Some(source.parse().unwrap()), Some(destination.parse().unwrap()))
    };
    assert_eq!(of("1.2.3.4:5", "6.7.8.9:10"), tcp("1.2.3.4:5", "6.7.8.9:10"));
    assert_eq!(of("[::ffff:1.2.3.4]:5", "[::ffff:6.7.8.9]:10"), tcp("1.2.3.4:5", "6.7.8.9:10"));
    assert_eq!(of("[::ffff:1.2.3.4]:5", "[::1]:10"), tcp("[::ffff:1.2.3.4]:5", "[::1]:10"));
    assert_eq!(of("[::2]:5", "6.7.8.9:10"), tcp("[::2]:5", "[::ffff:6.7.8.9]:10"));
    assert_eq!(Endpoints::of(None, Some("1.2.3.4:5".parse().unwrap())), Endpoints::Unknown);
    assert_eq!(Endpoints::of(Some("1.2.3.4:5".parse().unwrap()), None), Endpoints::Unknown);
    assert_eq!(of("1.2.3.4:5", "6.7.8.9:10").source(), Some("1.2.3.4:5".parse().unwrap()));
    assert_eq!(Endpoints::Local.source(), None);
}

#[test]
fn every_fault_has_a_name_of_its_own() {
    let mut codes: Vec<_> = ProxyError::ALL.iter().map(|error| error.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), ProxyError::ALL.len());
    assert!(ProxyError::ALL.iter().all(|error| error.to_string().ends_with('.')));
}

fn address() -> impl Strategy<Value = SocketAddr> + Clone {
    let v4 = any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::new(Ipv4Addr::from(ip).into(), port));
    let v6 = any::<([u16; 8], u16)>().prop_map(|(ip, port)| SocketAddr::new(Ipv6Addr::from(ip).into(), port));
    prop_oneof![v4, v6]
}

/// Something like a header: right ones, damaged ones, and noise.
fn header_like() -> impl Strategy<Value = Vec<u8>> {
    let made = (address(), address(), any::<bool>()).prop_map(|(source, destination, first)| {
        let version = if first { Version::V1 } else { Version::V2 };
        written(version, &Endpoints::of(Some(source), Some(destination)))
    });
    let free = (0x20u8..0x23, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60))
        .prop_map(|(command, family, bytes)| block(command, family, &bytes));
    let line = "PROXY (TCP4|TCP6|UNKNOWN)( [0-9a-f.:]{0,9}){0,5}[\r\n]{1,2}".prop_map(String::into_bytes);
    let damaged = (made.clone(), any::<proptest::sample::Index>(), any::<u8>()).prop_map(|(mut header, at, byte)| {
        let at = at.index(header.len());
        header[at] = byte;
        header
    });
    prop_oneof![made, free, line, damaged, proptest::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(source in address(), destination in address()) {
        let endpoints = Endpoints::of(Some(source), Some(destination));
        prop_assert_ne!(endpoints, Endpoints::Unknown);
        for version in [Version::V1, Version::V2] {
            let header = written(version, &endpoints);
            prop_assert!(version == Version::V2 || header.len() <= LINE_MAX);
            prop_assert_eq!(taken(&header), endpoints);
        }
    }

    /// However the bytes are cut, the answer is one; and what is behind a header does not change it.
    #[test]
    fn more_bytes_change_no_answer(input in header_like(), tail in proptest::collection::vec(any::<u8>(), 0..20)) {
        let whole = parse(&[&input[..], &tail].concat());
        for cut in 0..=input.len() {
            let part = parse(&input[..cut]);
            prop_assert!(part == whole || part == Ok(Progress::Incomplete), "{part:?} and then {whole:?}");
        }
        if let Ok(Progress::Complete { consumed, .. }) = whole {
            prop_assert!(consumed <= LINE_MAX.max(16 + BLOCK_MAX));
        }
    }
}
