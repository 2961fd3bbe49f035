//! [`Live`]: settings that may be replaced while they are obeyed.

use std::sync::{Arc, PoisonError, RwLock};

/// The settings in force. Whoever obeys them asks each time, and has one whole version of them.
#[derive(Debug, Default)]
pub struct Live<T>(RwLock<Arc<T>>);

impl<T> Live<T> {
    /// Settings to begin with.
    #[must_use]
    pub fn new(settings: Arc<T>) -> Self {
        Live(RwLock::new(settings))
    }

    /// The settings in force.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these are.
    pub fn set(&self, settings: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }
}
