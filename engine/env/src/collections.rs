//! Maps whose iteration order does not differ from run to run.
//!
//! `HashMap` and `HashSet` hash with a fixed function; iterate them only where the order cannot be
//! seen, otherwise take `BTreeMap` or [`IndexMap`].

/// `HashMap` with a fixed hasher.
#[expect(clippy::disallowed_types, reason = "the one alias everybody uses instead")]
pub type HashMap<K, V> = std::collections::HashMap<K, V, rustc_hash::FxBuildHasher>;

/// `HashSet` with a fixed hasher.
#[expect(clippy::disallowed_types, reason = "the one alias everybody uses instead")]
pub type HashSet<T> = std::collections::HashSet<T, rustc_hash::FxBuildHasher>;

/// Insertion-ordered map with a fixed hasher.
pub type IndexMap<K, V> = indexmap::IndexMap<K, V, rustc_hash::FxBuildHasher>;
