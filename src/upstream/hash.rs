//! A hash that is the same in every worker, process and version: SipHash-2-4 (Aumasson and Bernstein, 2012).
//!
//! Consistent hashing and session cookies need it so: two gateways side by side, one perhaps of the next version, must
//! send the same client to the same target. The hashes of the standard library and of ahash promise nothing of the kind.

/// The hash of a key for consistent hashing.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    keyed_hash([0, 0], bytes)
}

/// The hash of a key that does not stand in one piece: that of the slice with the same bytes.
#[must_use]
pub fn hash_each(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mut state = Sip::new([0, 0]);
    let (mut word, mut length) = ([0; 8], 0);
    for byte in bytes {
        word[length % 8] = byte;
        length += 1;
        if length % 8 == 0 {
            state.absorb(u64::from_le_bytes(word));
            word = [0; 8];
        }
    }
    state.finish(word, length)
}

/// The hash of `bytes` under a key of 128 bits.
#[must_use]
pub fn keyed_hash(key: [u64; 2], bytes: &[u8]) -> u64 {
    let mut state = Sip::new(key);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state.absorb(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    state.finish(last, bytes.len())
}

struct Sip {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl Sip {
    fn new([k0, k1]: [u64; 2]) -> Sip {
        Sip {
            v0: k0 ^ 0x736f_6d65_7073_6575,
            v1: k1 ^ 0x646f_7261_6e64_6f6d,
            v2: k0 ^ 0x6c79_6765_6e65_7261,
            v3: k1 ^ 0x7465_6462_7974_6573,
        }
    }

    /// The hash of what was absorbed and the bytes in `last`, at most seven, with zeros behind them; so many in all.
    fn finish(mut self, mut last: [u8; 8], length: usize) -> u64 {
        // The top byte is the length modulo 256.
        last[7] = length as u8;
        self.absorb(u64::from_le_bytes(last));
        self.v2 ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }

    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_paper() {
        // The key is the bytes 00 to 0f, the input the bytes from 00 on.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let input: Vec<u8> = (0..15).collect();
        for (length, expected) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
        ] {
            assert_eq!(keyed_hash(key, &input[..length]), expected, "{length} bytes");
        }
    }

    #[expect(deprecated, reason = "the standard library's own SipHash-2-4 is what to compare with")]
    #[test]
    fn it_is_the_siphash_of_the_standard_library() {
        use std::hash::{Hasher, SipHasher};
        let mut random = fastrand::Rng::with_seed(7);
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            let key = [random.u64(..), random.u64(..)];
            let mut theirs = SipHasher::new_with_keys(key[0], key[1]);
            theirs.write(&bytes);
            assert_eq!(keyed_hash(key, &bytes), theirs.finish());
            assert_eq!(hash_each(bytes.iter().copied()), hash(&bytes), "{length} bytes");
        }
    }
}
