//! What a message of a run is known by: its key, its body, and what members of a group draw for it.

/// The key of message `number`, as it stands in the `KEYS` property.
#[must_use]
pub fn message_key(number: u32) -> String {
    format!("k{number:06}")
}

/// Stands for the number of a record that says that its topic was deleted.
pub const DELETION_NUMBER: u32 = u32::MAX;

/// The number in a key made by [`message_key`].
#[must_use]
pub fn message_number(key: &str) -> Option<u32> {
    key.strip_prefix('k').filter(|digits| digits.len() >= 6)?.parse().ok()
}

/// Writes the body of message `number` of a run with `seed` into `body`: the key, then bytes that
/// depend on both, so that bytes of another message or another run are recognised.
pub fn fill_body(seed: u64, number: u32, len: usize, body: &mut Vec<u8>) {
    body.clear();
    body.extend_from_slice(message_key(number).as_bytes());
    let mut state = seed ^ (u64::from(number) << 32 | u64::from(number)) ^ 0x9e37_79b9_7f4a_7c15;
    while body.len() < len {
        // xorshift64*: cheap, and a different sequence for every (seed, number).
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        body.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
    }
    body.truncate(len);
}

/// Makes a body compressible: of four words of eight bytes three become what the first one is. What stands before the
/// first whole four stays.
pub fn repeat_words(body: &mut [u8]) {
    let key_bytes = body.len() % 32;
    for words in body[key_bytes..].chunks_exact_mut(32) {
        let (word, rest) = words.split_at_mut(8);
        rest.chunks_exact_mut(8).for_each(|it| it.copy_from_slice(word));
    }
}

/// A number below 100 that depends on the run's seed, on `who` draws it and on the message, and on nothing else:
/// every member of a group draws the same.
#[must_use]
pub fn drawn_percent(seed: u64, who: &str, number: u32) -> u32 {
    (drawn(seed, who, number) % 100) as u32
}

/// Any number that depends on these three alone.
#[must_use]
pub fn drawn(seed: u64, who: &str, number: u32) -> u64 {
    // FNV-1a, and the finisher of splitmix64.
    let bytes = seed.to_be_bytes().into_iter().chain(who.bytes()).chain(number.to_be_bytes());
    let mut state = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_members_draw_is_spread_over_all_percents() {
        let below = |percent| (0..10_000).filter(|it| drawn_percent(7, "g", *it) < percent).count();
        assert!((1_800..2_200).contains(&below(20)), "{}", below(20));
        assert_eq!(below(100), 10_000);
        let differs = |seed, who| {
            (0..100).any(|it| drawn_percent(7, "g", it) != drawn_percent(seed, who, it))
        };
        assert!(differs(8, "g") && differs(7, "h"));
    }

    #[test]
    fn keys_and_bodies_follow_from_the_number() {
        assert_eq!(message_number(&message_key(217)), Some(217));
        assert_eq!(message_number(&message_key(12_345_678)), Some(12_345_678));
        assert_eq!(message_number("x000001"), None);
        let (mut one, mut again, mut other) = (Vec::new(), Vec::new(), Vec::new());
        fill_body(1, 7, 100, &mut one);
        fill_body(1, 7, 100, &mut again);
        fill_body(2, 7, 100, &mut other);
        assert_eq!((one.len(), &one), (100, &again));
        assert_ne!(one, other);
        assert!(one.starts_with(b"k000007"));
    }
}
