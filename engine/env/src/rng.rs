//! Named random streams: adding a draw in one place does not shift the draws of another.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A source of independent random streams, one per name.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
}

impl Rng {
    /// Streams that depend on `seed` alone (and on their names).
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Rng { seed }
    }

    /// Streams seeded by the operating system.
    #[must_use]
    #[expect(clippy::disallowed_types, reason = "its seed is the operating system's")]
    pub fn from_os() -> Self {
        // RandomState is the standard library's only source of operating-system randomness.
        use std::hash::{BuildHasher, Hasher};
        Rng { seed: std::hash::RandomState::new().build_hasher().finish() }
    }

    /// The stream called `name`. The same source and name give the same stream again.
    #[must_use]
    pub fn stream(&self, name: &str) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.derive(name))
    }

    /// A source whose streams are independent of this one's, for a part called `name`.
    #[must_use]
    pub fn child(&self, name: &str) -> Rng {
        Rng { seed: ChaCha8Rng::seed_from_u64(!self.derive(name)).next_u64() }
    }

    /// FNV-1a over the name, mixed with the seed: stable across platforms and versions.
    fn derive(&self, name: &str) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash ^ self.seed.rotate_left(32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_named_and_repeatable() {
        let rng = Rng::from_seed(7);
        assert_eq!(rng.stream("a").next_u64(), rng.stream("a").next_u64());
        assert_ne!(rng.stream("a").next_u64(), rng.stream("b").next_u64());
        assert_ne!(rng.stream("a").next_u64(), Rng::from_seed(8).stream("a").next_u64());
        assert_ne!(rng.stream("a").next_u64(), rng.child("a").stream("a").next_u64());
    }
}
