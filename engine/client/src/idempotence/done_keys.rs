//! [`DoneKeys`]: the keys of what was consumed, with a bound on their number, their bytes and their age.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Keys in the order in which they were done. Whoever is above a bound loses the oldest.
#[derive(Default)]
pub(crate) struct DoneKeys {
    keys: BTreeSet<Arc<str>>,
    /// The same keys, the oldest first, each with when it was done.
    by_age: VecDeque<(i64, Arc<str>)>,
    /// Bytes of all keys.
    key_bytes: usize,
}

impl DoneKeys {
    /// Whether a key is remembered.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// Remembers a key that was done at `done_at_ms`.
    ///
    /// # Panics
    /// When the key is remembered already, or was done before the youngest.
    pub(crate) fn insert(&mut self, key: Arc<str>, done_at_ms: i64) {
        let youngest_ms = self.by_age.back().map_or(i64::MIN, |(at_ms, _)| *at_ms);
        assert!(done_at_ms >= youngest_ms, "keys are done one after the other");
        self.key_bytes += key.len();
        self.by_age.push_back((done_at_ms, Arc::clone(&key)));
        assert!(self.keys.insert(key), "what is done is not done again");
    }

    /// Forgets the oldest until at most `count_max` keys of at most `key_bytes_max` bytes are left.
    pub(crate) fn shrink(&mut self, count_max: usize, key_bytes_max: usize) {
        while self.keys.len() > count_max || self.key_bytes > key_bytes_max {
            self.forget_oldest();
        }
    }

    /// Forgets what was done before `since_ms`.
    pub(crate) fn expire(&mut self, since_ms: i64) {
        while self.by_age.front().is_some_and(|(at_ms, _)| *at_ms < since_ms) {
            self.forget_oldest();
        }
    }

    /// The keys with when they were done, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Arc<str>)> {
        self.by_age.iter().map(|(at_ms, key)| (*at_ms, key))
    }

    /// How many keys are remembered.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.by_age.pop_front() {
            self.key_bytes -= key.len();
            assert!(self.keys.remove(&key), "a key is in both tables");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(keys: &[(&str, i64)]) -> DoneKeys {
        let mut done = DoneKeys::default();
        keys.iter().for_each(|(key, at_ms)| done.insert((*key).into(), *at_ms));
        done
    }

    fn keys(done: &DoneKeys) -> Vec<&str> {
        let keys: Vec<_> = done.iter().map(|(_, key)| &**key).collect();
        assert!(keys.iter().all(|key| done.contains(key)));
        assert_eq!(keys.len(), done.len());
        keys
    }

    #[test]
    fn the_oldest_are_forgotten_above_a_count_or_a_size() {
        let mut done = done(&[("z", 1), ("long", 1), ("a", 2), ("b", 3)]);
        done.shrink(4, 7);
        assert_eq!(keys(&done), ["z", "long", "a", "b"]);
        done.shrink(3, 7);
        assert_eq!(keys(&done), ["long", "a", "b"]);
        done.shrink(3, 5);
        assert_eq!(keys(&done), ["a", "b"]);
        done.shrink(3, 0);
        assert_eq!(keys(&done), Vec::<&str>::new());
        assert!(!done.contains("b"));
    }

    #[test]
    fn what_was_done_too_long_ago_is_forgotten() {
        let mut done = done(&[("z", 1), ("a", 2), ("b", 3)]);
        done.expire(2);
        assert_eq!(keys(&done), ["a", "b"]);
        done.insert("z".into(), 3);
        assert_eq!(keys(&done), ["a", "b", "z"]);
    }
}
