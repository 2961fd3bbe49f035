//! An ordered map from text to text in two allocations.
//!
//! All texts live one behind the other in a single `String`; entries are ranges into it. A command
//! with a dozen ext fields thus costs two allocations, not two dozen. Replaced and removed texts
//! stay behind in the arena: the maps are short-lived and seldom edited.

use std::fmt::{self, Display, Write};

use crate::steps;

/// Up to so many entries a new key is looked for among all of them while a map is read.
const SCANNED_ENTRIES_MAX: usize = 24;

/// The map; look-ups scan, as there are a dozen entries. What a peer may have filled with many is
/// read by [`TextMapReader`], and then asked a bounded number of times.
#[derive(Clone, Default)]
pub(crate) struct TextMap {
    arena: String,
    entries: Vec<Entry>,
    /// A bit for each shape of key that was ever put: most keys that are not there are known without a look.
    shapes: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    key: Position,
    value: Position,
}

/// The bit of a key: by its first letter and its length.
fn shape(key: &str) -> u64 {
    let first = key.as_bytes().first().copied().unwrap_or_default();
    1 << ((usize::from(first) + 7 * key.len()) % 64)
}

/// Start and end in the arena; 32 bits are plenty for what fits into a frame.
#[derive(Clone, Copy)]
struct Position(u32, u32);

impl TextMap {
    pub(crate) const fn new() -> Self {
        TextMap { arena: String::new(), entries: Vec::new(), shapes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.index(key).map(|index| self.text(self.entries[index].value))
    }

    /// The entry at `index`, in the order in which they were put.
    pub(crate) fn entry(&self, index: usize) -> Option<(&str, &str)> {
        self.entries.get(index).map(|entry| (self.text(entry.key), self.text(entry.value)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (self.text(entry.key), self.text(entry.value)))
    }

    /// Sets `key` to `value`: in place if there, else as the last entry.
    pub(crate) fn insert(&mut self, key: &str, value: &str) {
        let value = self.push(value);
        self.put(key, value);
    }

    /// Sets `key` to what `value` displays as, without an intermediate `String`.
    pub(crate) fn insert_display(&mut self, key: &str, value: impl Display) {
        let start = self.arena.len();
        // Writing to a `String` cannot fail; an implementation of `Display` that claims so would
        // leave a partial text, which is still a text.
        let _ = write!(self.arena, "{value}");
        let value = self.since(start);
        self.put(key, value);
    }

    /// Removes `key`; tells whether it was there.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let index = self.index(key);
        index.map(|index| self.entries.remove(index)).is_some()
    }

    pub(crate) fn reserve(&mut self, entries: usize, bytes: usize) {
        self.entries.reserve(entries);
        self.arena.reserve(bytes);
    }

    fn put(&mut self, key: &str, value: Position) {
        match self.index(key) {
            Some(index) => self.entries[index].value = value,
            None => self.append(key, value),
        }
    }

    /// Adds an entry whose key is not there, or will be merged with the one that is.
    fn append(&mut self, key: &str, value: Position) {
        self.shapes |= shape(key);
        let key = self.push(key);
        self.entries.push(Entry { key, value });
    }

    fn index(&self, key: &str) -> Option<usize> {
        if self.shapes & shape(key) == 0 {
            return None;
        }
        // The bytes, because slicing text would look for character boundaries at each entry; the first
        // one by itself, because it tells most keys apart, and comparing slices is a call.
        let (arena, key) = (self.arena.as_bytes(), key.as_bytes());
        self.entries.iter().position(|entry| {
            let Position(start, end) = entry.key;
            let present = &arena[start as usize..end as usize];
            steps::count(1);
            present.len() == key.len() && present.first() == key.first() && present == key
        })
    }

    fn push(&mut self, text: &str) -> Position {
        let start = self.arena.len();
        self.arena.push_str(text);
        self.since(start)
    }

    fn since(&self, start: usize) -> Position {
        let narrow = |at: usize| u32::try_from(at).expect("texts beyond 4 GiB");
        Position(narrow(start), narrow(self.arena.len()))
    }

    fn text(&self, position: Position) -> &str {
        &self.arena[position.0 as usize..position.1 as usize]
    }
}

/// Reads a map entry by entry: as [`TextMap::insert`] would, but n entries cost at most n log n.
#[derive(Default)]
pub(crate) struct TextMapReader {
    map: TextMap,
}

impl TextMapReader {
    /// A reader with room for `entries` with `bytes` of text.
    pub(crate) fn with_capacity(entries: usize, bytes: usize) -> Self {
        let mut reader = TextMapReader::default();
        reader.map.reserve(entries, bytes);
        reader
    }

    /// Takes one more entry.
    pub(crate) fn push(&mut self, key: &str, value: &str) {
        if self.map.len() < SCANNED_ENTRIES_MAX {
            return self.map.insert(key, value);
        }
        let value = self.map.push(value);
        self.map.append(key, value);
    }

    /// The map: of a repeated key the first place and the last value.
    pub(crate) fn finish(mut self) -> TextMap {
        if self.map.len() > SCANNED_ENTRIES_MAX {
            self.map.merge_repeated();
        }
        self.map
    }
}

impl TextMap {
    fn merge_repeated(&mut self) {
        let mut by_key: Vec<usize> = (0..self.entries.len()).collect();
        let key = |index: &usize| self.text(self.entries[*index].key);
        // Stable: equal keys stay in their order.
        by_key.sort_by(|one, other| {
            steps::count(1);
            key(one).cmp(key(other))
        });
        let mut repeated = Vec::new();
        for same in by_key.chunk_by(|one, other| key(one) == key(other)) {
            if let [first, .., last] = same {
                repeated.push((*first, self.entries[*last].value, same[1..].to_vec()));
            }
        }
        let mut drop_entry = vec![false; self.entries.len()];
        for (first, value, later) in repeated {
            self.entries[first].value = value;
            later.into_iter().for_each(|index| drop_entry[index] = true);
        }
        let mut index = 0;
        self.entries.retain(|_| {
            index += 1;
            !drop_entry[index - 1]
        });
    }
}

impl PartialEq for TextMap {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for TextMap {}

impl fmt::Debug for TextMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(entries: &[(String, String)]) -> TextMap {
        let mut reader = TextMapReader::default();
        entries.iter().for_each(|(key, value)| reader.push(key, value));
        reader.finish()
    }

    proptest! {
        #[test]
        fn reading_is_inserting(
            entries in prop::collection::vec(("[a-z]{0,2}", "[a-z]{0,3}"), 0..200),
        ) {
            let mut inserted = TextMap::new();
            entries.iter().for_each(|(key, value)| inserted.insert(key, value));
            prop_assert_eq!(read(&entries), inserted);
        }
    }

    #[test]
    fn reading_many_entries_compares_few_keys() {
        let distinct = |n| (0..n).map(|n| (format!("{n:06}"), String::new())).collect::<Vec<_>>();
        steps::assert_n_log_n(distinct, |entries| read(entries));
        let repeated = |n| (0..n).map(|n| (format!("{}", n / 9), "v".into())).collect::<Vec<_>>();
        steps::assert_n_log_n(repeated, |entries| read(entries));
    }
}
