//! The text of an IP address, kept where it is used.

use std::fmt::Write;
use std::net::IpAddr;

/// An IP address as text, or `unknown`.
#[derive(Clone, Copy, Debug)]
pub struct AddressText {
    bytes: [u8; AddressText::MAX],
    length: u8,
}

impl AddressText {
    /// The longest address: `1111:2222:3333:4444:5555:6666:7777:8888`.
    const MAX: usize = 39;

    /// The text of `ip`.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        let mut text = Self { bytes: [0; Self::MAX], length: 0 };
        let written = write!(text, "{ip}");
        debug_assert!(written.is_ok(), "{ip} is longer than any address");
        text
    }

    /// The bytes of the text, all of them letters, digits, `.` and `:`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Default for AddressText {
    /// `unknown`.
    fn default() -> Self {
        let mut text = Self { bytes: [0; Self::MAX], length: 0 };
        let written = text.write_str("unknown");
        debug_assert!(written.is_ok(), "it is shorter than an address");
        text
    }
}

impl Write for AddressText {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let start = usize::from(self.length);
        let place = self.bytes.get_mut(start..start + part.len()).ok_or(std::fmt::Error)?;
        place.copy_from_slice(part.as_bytes());
        // It fits 39 bytes.
        self.length += part.len() as u8;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_and_the_shortest() {
        for text in ["1111:2222:3333:4444:5555:6666:7777:8888", "::", "0.0.0.0", "255.255.255.255"] {
            assert_eq!(AddressText::of(text.parse().unwrap()).as_bytes(), text.as_bytes());
        }
        assert_eq!(AddressText::default().as_bytes(), b"unknown");
    }
}
