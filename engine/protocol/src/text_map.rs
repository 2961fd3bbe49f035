//! An ordered map from text to text in two allocations.
//!
//! All texts live one behind the other in a single `String`; entries are ranges into it. A command
//! with a dozen ext fields thus costs two allocations, not two dozen. Replaced and removed texts
//! stay behind in the arena: the maps are short-lived and seldom edited.

use std::fmt::{self, Display, Write};

/// The map; look-ups scan, as there are a dozen entries.
#[derive(Clone, Default)]
pub(crate) struct TextMap {
    arena: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    key: Position,
    value: Position,
}

/// Start and end in the arena; 32 bits are plenty for what fits into a frame.
#[derive(Clone, Copy)]
struct Position(u32, u32);

impl TextMap {
    pub(crate) const fn new() -> Self {
        TextMap { arena: String::new(), entries: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.index(key).map(|index| self.text(self.entries[index].value))
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
            None => {
                let key = self.push(key);
                self.entries.push(Entry { key, value });
            }
        }
    }

    fn index(&self, key: &str) -> Option<usize> {
        // The bytes, because slicing text would look for character boundaries at each entry; the first
        // one by itself, because it tells most keys apart, and comparing slices is a call.
        let (arena, key) = (self.arena.as_bytes(), key.as_bytes());
        self.entries.iter().position(|entry| {
            let Position(start, end) = entry.key;
            let present = &arena[start as usize..end as usize];
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
