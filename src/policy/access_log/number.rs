//! Numbers, times and addresses as text, without the machinery of `std::fmt`: the writer's thread makes a dozen of them
//! for each request.

use std::fmt::Display;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::page::{SMALL, Small};
use crate::base::time::Calendar;

/// Of all numbers below 1000, from the lowest bits on: the digits, three bytes; how many they are; and a dot with all three
/// digits.
static THREES: [u64; 1000] = {
    let mut all = [0; 1000];
    let mut number = 0;
    while number < 1000 {
        let [a, b, c] = [number / 100, number / 10 % 10, number % 10];
        let [a, b, c] = [b'0' + a as u8, b'0' + b as u8, b'0' + c as u8];
        all[number] = u64::from_le_bytes(match number {
            0..10 => [c, 0, 0, 1, b'.', a, b, c],
            10..100 => [b, c, 0, 2, b'.', a, b, c],
            _ => [a, b, c, 3, b'.', a, b, c],
        });
        number += 1;
    }
    all
};

/// A text of at most eight bytes, the first in the lowest bits, and how many it has.
#[derive(Clone, Copy)]
struct Short(u64, usize);

impl Short {
    /// The digits of a number below 1000.
    #[inline(always)]
    fn digits(number: u64) -> Short {
        let all = THREES[number as usize];
        Short(all & 0xff_ffff, (all >> 24 & 0xff) as usize)
    }

    /// All three digits of a number below 1000.
    #[inline(always)]
    fn padded(number: u64) -> Short {
        Short(THREES[number as usize] >> 40, 3)
    }

    /// A dot, and all three digits of a number below 1000.
    #[inline(always)]
    fn fraction(number: u64) -> Short {
        Short(THREES[number as usize] >> 32, 4)
    }

    /// This, and another behind it. Both have eight bytes at most.
    #[inline(always)]
    fn and(self, Short(text, length): Short) -> Short {
        Short(self.0 | text << (8 * self.1), self.1 + length)
    }

    /// Writes it to `to`, from `at` on, and says where it ends.
    #[inline(always)]
    fn put(self, to: &mut Small, at: usize) -> usize {
        to[at..at + 8].copy_from_slice(&self.0.to_le_bytes());
        at + self.1
    }
}

/// Writes a number in decimal, and says how long it is, as all that follow.
#[inline]
pub(super) fn put_number(number: u64, to: &mut Small) -> usize {
    match number {
        0..1000 => Short::digits(number).put(to, 0),
        1000..1_000_000 => Short::digits(number / 1000).and(Short::padded(number % 1000)).put(to, 0),
        _ => put_large(number, to),
    }
}

#[cold]
fn put_large(number: u64, to: &mut Small) -> usize {
    let length = put_number(number / 1000, to);
    Short::padded(number % 1000).put(to, length)
}

/// Writes nanoseconds as milliseconds with three decimals.
#[inline]
pub(super) fn put_millis(nanos: u64, to: &mut Small) -> usize {
    let micros = nanos / 1000;
    let (millis, fraction) = (micros / 1000, Short::fraction(micros % 1000));
    if millis < 1000 {
        return Short::digits(millis).and(fraction).put(to, 0);
    }
    let length = put_number(millis, to);
    fraction.put(to, length)
}

/// Writes times of day. It keeps what it has written of the last second, for most lines are of the same.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    unix_second: u64,
    text: [u8; 20],
}

impl Default for Clock {
    fn default() -> Self {
        Clock { unix_second: 0, text: *b"1970-01-01T00:00:00." }
    }
}

impl Clock {
    /// Writes a time of day as RFC 3339 with microseconds, in UTC.
    #[inline]
    pub(super) fn put(&mut self, unix_micros: u64, to: &mut Small) -> usize {
        let (unix_second, micros) = (unix_micros / 1_000_000, unix_micros % 1_000_000);
        if unix_second != self.unix_second {
            self.turn(unix_second);
        }
        to[..self.text.len()].copy_from_slice(&self.text);
        let rest = Short::padded(micros / 1000).and(Short::padded(micros % 1000)).and(Short(b'Z'.into(), 1));
        rest.put(to, self.text.len())
    }

    #[cold]
    fn turn(&mut self, unix_second: u64) {
        self.unix_second = unix_second;
        let Calendar { year, month, day, hour, minute, second } = Calendar::of(unix_second);
        // After the year 9999 there are more pressing problems.
        let pairs =
            [(0, year / 100 % 100), (2, year % 100), (5, month), (8, day), (11, hour), (14, minute), (17, second)];
        for (at, number) in pairs {
            self.text[at..at + 2].copy_from_slice(&THREES[number as usize].to_le_bytes()[6..]);
        }
    }
}

/// Writes an address.
#[inline]
pub(super) fn put_ip(ip: IpAddr, to: &mut Small) -> usize {
    match ip {
        IpAddr::V4(ip) => put_v4(ip, to),
        IpAddr::V6(ip) => put_displayed(&ip, to),
    }
}

/// Writes an address with its port.
#[inline]
pub(super) fn put_socket(address: &SocketAddr, to: &mut Small) -> usize {
    match address {
        SocketAddr::V4(address) => {
            let length = put_v4(*address.ip(), to);
            let port = u64::from(address.port());
            let (thousands, rest) = (port / 1000, port % 1000);
            let colon = Short(b':'.into(), 1);
            match thousands {
                0 => colon.and(Short::digits(rest)).put(to, length),
                _ => colon.and(Short::digits(thousands)).and(Short::padded(rest)).put(to, length),
            }
        }
        // Neither the flow nor the scope.
        SocketAddr::V6(address) => put_displayed(&SocketAddr::new(IpAddr::V6(*address.ip()), address.port()), to),
    }
}

#[inline]
fn put_v4(ip: Ipv4Addr, to: &mut Small) -> usize {
    let dot = Short(b'.'.into(), 1);
    let [first, second, third, fourth] = ip.octets().map(|octet| Short::digits(octet.into()));
    let half = first.and(dot).and(second).and(dot).put(to, 0);
    third.and(dot).and(fourth).put(to, half)
}

/// Writes what is at most [ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535.
#[cold]
fn put_displayed(address: &dyn Display, to: &mut Small) -> usize {
    let mut rest = &mut to[..];
    let written = write!(rest, "{address}");
    debug_assert!(written.is_ok());
    SMALL - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(put: impl FnOnce(&mut Small) -> usize) -> String {
        let mut to = [b'?'; SMALL];
        let length = put(&mut to);
        String::from_utf8(to[..length].to_vec()).unwrap()
    }

    #[test]
    fn times_are_those_of_the_standard() {
        let mut clock = Clock::default();
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_700_000_000_123_456, "2023-11-14T22:13:20.123456Z"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z"),
            (253_402_300_799_000_001, "9999-12-31T23:59:59.000001Z"),
        ] {
            assert_eq!(text(|to| clock.put(micros, to)), expected);
        }
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_std(number: u64, shift in 0..64_u32) {
            let number = number >> shift;
            prop_assert_eq!(text(|to| put_number(number, to)), number.to_string());
            let micros = number / 1000;
            let millis = format!("{}.{:03}", micros / 1000, micros % 1000);
            prop_assert_eq!(text(|to| put_millis(number, to)), millis);
        }

        #[test]
        fn addresses_are_those_of_std(v4: [u8; 4], v6: [u8; 16], port: u16) {
            for ip in [IpAddr::from(v4), IpAddr::from(v6)] {
                prop_assert_eq!(text(|to| put_ip(ip, to)), ip.to_string());
                let address = SocketAddr::new(ip, port);
                prop_assert_eq!(text(|to| put_socket(&address, to)), address.to_string());
            }
        }
    }
}
