//! Numbers, times and addresses as text, without the machinery of `std::fmt`: the writer's thread makes a dozen of them
//! for each request.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::base::time::Calendar;

/// All pairs of digits.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Writes a number in decimal to the end of `out`.
pub(super) fn put_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    while rest >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    let [tens, ones] = PAIRS[rest as usize];
    at -= 1;
    digits[at] = ones;
    if rest >= 10 {
        at -= 1;
        digits[at] = tens;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes nanoseconds as milliseconds with three decimals.
pub(super) fn put_millis(nanos: u64, out: &mut Vec<u8>) {
    let micros = nanos / 1000;
    put_number(micros / 1000, out);
    let [_, hundreds] = PAIRS[(micros % 1000 / 100) as usize];
    let [tens, ones] = PAIRS[(micros % 100) as usize];
    out.extend_from_slice(&[b'.', hundreds, tens, ones]);
}

/// Writes a time of day as RFC 3339 with microseconds, in UTC.
pub(super) fn put_time(unix_micros: u64, out: &mut Vec<u8>) {
    let Calendar { year, month, day, hour, minute, second } = Calendar::of(unix_micros / 1_000_000);
    let micros = unix_micros % 1_000_000;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    // After the year 9999 there are more pressing problems.
    let pairs = [
        (0, year / 100 % 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, hour),
        (14, minute),
        (17, second),
        (20, micros / 10_000),
        (22, micros / 100 % 100),
        (24, micros % 100),
    ];
    for (at, number) in pairs {
        text[at..at + 2].copy_from_slice(&PAIRS[number as usize]);
    }
    out.extend_from_slice(&text);
}

/// Writes an address.
pub(super) fn put_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            let [first, rest @ ..] = ip.octets();
            put_number(first.into(), out);
            for octet in rest {
                out.push(b'.');
                put_number(octet.into(), out);
            }
        }
        IpAddr::V6(ip) => {
            // A vector takes everything.
            let written = write!(out, "{ip}");
            debug_assert!(written.is_ok());
        }
    }
}

/// Writes an address with its port.
pub(super) fn put_socket(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(_) => put_ip(address.ip(), out),
        IpAddr::V6(_) => {
            out.push(b'[');
            put_ip(address.ip(), out);
            out.push(b']');
        }
    }
    out.push(b':');
    put_number(address.port().into(), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_those_of_the_standard() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_700_000_000_123_456, "2023-11-14T22:13:20.123456Z"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z"),
            (253_402_300_799_000_001, "9999-12-31T23:59:59.000001Z"),
        ] {
            assert_eq!(text(|out| put_time(micros, out)), expected);
        }
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_std(number: u64, shift in 0..64_u32) {
            let number = number >> shift;
            prop_assert_eq!(text(|out| put_number(number, out)), number.to_string());
            let micros = number / 1000;
            let millis = format!("{}.{:03}", micros / 1000, micros % 1000);
            prop_assert_eq!(text(|out| put_millis(number, out)), millis);
        }

        #[test]
        fn addresses_are_those_of_std(v4: [u8; 4], v6: [u8; 16], port: u16) {
            for ip in [IpAddr::from(v4), IpAddr::from(v6)] {
                prop_assert_eq!(text(|out| put_ip(ip, out)), ip.to_string());
                let address = SocketAddr::new(ip, port);
                prop_assert_eq!(text(|out| put_socket(address, out)), address.to_string());
            }
        }
    }
}
