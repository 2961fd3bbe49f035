//! The ext fields of a command: ordered pairs of text.

use std::fmt::{self, Display};

use crate::text_map::{TextMap, TextMapReader};

/// Ordered ext fields of a [`RemotingCommand`](crate::remoting_command::RemotingCommand).
///
/// *Absent* and *empty* differ in the JSON header (`"extFields":{}` or no such key), so both
/// states exist; inserting makes absent fields present. All texts share one allocation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExtFields {
    present: bool,
    map: TextMap,
}

impl ExtFields {
    /// No ext fields at all: the header has no such key.
    #[must_use]
    pub const fn absent() -> Self {
        ExtFields { present: false, map: TextMap::new() }
    }

    /// Present, without an entry.
    #[must_use]
    pub const fn empty() -> Self {
        ExtFields { present: true, map: TextMap::new() }
    }

    /// Whether the header has ext fields, even if without an entry.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.map.get(key)
    }

    /// The entry at `index` in wire order.
    pub(crate) fn entry(&self, index: usize) -> Option<(&str, &str)> {
        self.map.entry(index)
    }

    /// Entries in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.map.iter()
    }

    /// Sets `key` to `value`: in place if there, else as the last entry.
    pub fn insert(&mut self, key: &str, value: &str) {
        self.present = true;
        self.map.insert(key, value);
    }

    /// Sets `key` to what `value` displays as, without an intermediate `String`.
    pub fn insert_display(&mut self, key: &str, value: impl Display) {
        self.present = true;
        self.map.insert_display(key, value);
    }

    /// Removes `key`; tells whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        self.map.remove(key)
    }

    /// Marks the fields as present even if none is ever inserted.
    pub fn mark_present(&mut self) {
        self.present = true;
    }

    /// Makes room for `entries` more entries with `bytes` bytes of text.
    pub fn reserve(&mut self, entries: usize, bytes: usize) {
        self.map.reserve(entries, bytes);
    }

    /// What was read off the wire.
    pub(crate) fn read(reader: TextMapReader) -> Self {
        ExtFields { present: true, map: reader.finish() }
    }
}

impl fmt::Debug for ExtFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.present { self.map.fmt(f) } else { f.write_str("absent") }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for ExtFields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(entries: I) -> Self {
        let mut reader = TextMapReader::default();
        entries.into_iter().for_each(|(key, value)| reader.push(key, value));
        ExtFields::read(reader)
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
