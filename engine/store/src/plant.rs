//! Planted bugs of one store, by its settings: see [`mq_env::plant`].
//!
//! Without the feature `plants` [`StoreConfig::planted`] is a constant `false`.

pub use mq_env::plant::*;

use crate::config::StoreConfig;

impl StoreConfig {
    /// Whether a bug is planted in this store.
    #[cfg(feature = "plants")]
    #[must_use]
    pub fn planted(&self, plant: Plant) -> bool {
        self.plants.contains(&plant)
    }

    /// Whether a bug is planted in this store: never, without the feature `plants`.
    #[cfg(not(feature = "plants"))]
    #[must_use]
    pub const fn planted(&self, _plant: Plant) -> bool {
        false
    }

    /// Plants bugs by name.
    ///
    /// # Errors
    /// A name that is no plant's.
    #[cfg(feature = "plants")]
    pub fn plant(&mut self, names: &[String]) -> Result<(), String> {
        for name in names {
            self.plants.insert(name.parse()?);
        }
        Ok(())
    }

    /// Plants bugs by name.
    ///
    /// # Errors
    /// Any name: this build has no planted bugs.
    #[cfg(not(feature = "plants"))]
    pub fn plant(&mut self, names: &[String]) -> Result<(), String> {
        match names.first() {
            Some(name) => Err(format!("this build has no planted bugs, so none called {name:?}")),
            None => Ok(()),
        }
    }
}
