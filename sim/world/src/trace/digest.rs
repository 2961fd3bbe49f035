//! [`Digest`]: a running 64-bit hash that depends on values only, so that two runs of one seed can
//! be compared across processes. Not cryptographic.

use std::hash::Hasher;

/// A hasher without a random key. Integers are hashed by value, whatever their width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn mix(&mut self, word: u64) {
        let mixed = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.mix(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_value_and_length_count() {
        let digest = |words: &[u64], text: &str| {
            let mut digest = Digest::default();
            words.iter().for_each(|word| digest.write_u64(*word));
            digest.write(text.as_bytes());
            digest.finish()
        };
        assert_eq!(digest(&[1, 2], "ab"), digest(&[1, 2], "ab"));
        assert_ne!(digest(&[1, 2], "ab"), digest(&[2, 1], "ab"));
        assert_ne!(digest(&[1, 2], "ab"), digest(&[1, 2], "ab\0"));
        assert_ne!(digest(&[0], ""), digest(&[0, 0], ""));
    }
}
