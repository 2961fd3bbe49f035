//! The ext fields of a command: an ordered list of string pairs in one allocation.
//!
//! All texts live one behind the other in a single `String`; entries are ranges into it. A command
//! with a dozen fields thus costs two allocations, not two dozen. Replaced and removed texts stay
//! behind in the arena: commands are short-lived and seldom edited.

use std::fmt::{self, Display, Write};
use std::ops::Range;

/// Ordered ext fields of a [`RemotingCommand`](crate::remoting_command::RemotingCommand).
///
/// *Absent* and *empty* differ in the JSON header (`"extFields":{}` or no such key), so both
/// states exist; inserting makes absent fields present.
#[derive(Clone, Default)]
pub struct ExtFields {
    present: bool,
    arena: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    key: (u32, u32),
    value: (u32, u32),
}

impl ExtFields {
    /// No ext fields at all: the header has no such key.
    #[must_use]
    pub const fn absent() -> Self {
        ExtFields { present: false, arena: String::new(), entries: Vec::new() }
    }

    /// Present, without an entry.
    #[must_use]
    pub const fn empty() -> Self {
        ExtFields { present: true, arena: String::new(), entries: Vec::new() }
    }

    /// Whether the header has ext fields, even if without an entry.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| self.text(entry.key) == key)?;
        Some(self.text(entry.value))
    }

    /// Entries in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (self.text(entry.key), self.text(entry.value)))
    }

    /// Sets `key` to `value`: in place if there, else as the last entry.
    pub fn insert(&mut self, key: &str, value: &str) {
        let value = self.push(value);
        self.put(key, value);
    }

    /// Sets `key` to what `value` displays as, without an intermediate `String`.
    pub fn insert_display(&mut self, key: &str, value: impl Display) {
        let start = self.arena.len();
        // Writing to a `String` cannot fail; an implementation of `Display` that claims so would
        // leave a partial text, which is still a text.
        let _ = write!(self.arena, "{value}");
        let value = self.since(start);
        self.put(key, value);
    }

    /// Removes `key`; tells whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        match self.position(key) {
            Some(index) => {
                self.entries.remove(index);
                true
            }
            None => false,
        }
    }

    /// Marks the fields as present even if none is ever inserted.
    pub fn mark_present(&mut self) {
        self.present = true;
    }

    /// Makes room for `entries` more entries with `bytes` bytes of text.
    pub fn reserve(&mut self, entries: usize, bytes: usize) {
        self.entries.reserve(entries);
        self.arena.reserve(bytes);
    }

    fn put(&mut self, key: &str, value: (u32, u32)) {
        self.present = true;
        match self.position(key) {
            Some(index) => self.entries[index].value = value,
            None => {
                let key = self.push(key);
                self.entries.push(Entry { key, value });
            }
        }
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.entries.iter().position(|entry| self.text(entry.key) == key)
    }

    fn push(&mut self, text: &str) -> (u32, u32) {
        let start = self.arena.len();
        self.arena.push_str(text);
        self.since(start)
    }

    fn since(&self, start: usize) -> (u32, u32) {
        position_of(start..self.arena.len())
    }

    fn text(&self, position: (u32, u32)) -> &str {
        &self.arena[position.0 as usize..position.1 as usize]
    }
}

/// Arena positions fit 32 bits: a frame is smaller than 16 MiB.
fn position_of(range: Range<usize>) -> (u32, u32) {
    let narrow = |at: usize| u32::try_from(at).expect("ext fields beyond 4 GiB");
    (narrow(range.start), narrow(range.end))
}

impl PartialEq for ExtFields {
    fn eq(&self, other: &Self) -> bool {
        self.present == other.present && self.iter().eq(other.iter())
    }
}

impl Eq for ExtFields {}

impl fmt::Debug for ExtFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.present {
            f.debug_map().entries(self.iter()).finish()
        } else {
            f.write_str("absent")
        }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for ExtFields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(entries: I) -> Self {
        let mut fields = ExtFields::empty();
        for (key, value) in entries {
            fields.insert(key, value);
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_a_second_insert_replaces_in_place() {
        let mut fields = ExtFields::absent();
        assert!(!fields.is_present());
        fields.insert("b", "1");
        fields.insert_display("a", 2);
        fields.insert("b", "3");
        assert_eq!(fields.iter().collect::<Vec<_>>(), [("b", "3"), ("a", "2")]);
        assert!(fields.remove("b") && !fields.remove("b"));
        assert_eq!(fields.get("a"), Some("2"));
        assert_eq!(fields.len(), 1);
    }

    #[test]
    fn absent_and_empty_differ() {
        assert_ne!(ExtFields::absent(), ExtFields::empty());
        assert_eq!(ExtFields::default(), ExtFields::absent());
    }
}
