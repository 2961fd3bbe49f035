//! Tasks on a tokio runtime.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::BoxFuture;
use crate::task::Spawner;

/// Spawns on the runtime it was created in. A panicking task aborts the process: half a broker is
/// worse than none, and the page cache keeps what was written.
pub(crate) struct TokioSpawner {
    runtime: tokio::runtime::Handle,
}

impl TokioSpawner {
    /// On the current runtime.
    ///
    /// # Panics
    /// Outside a runtime.
    pub(crate) fn current() -> Self {
        TokioSpawner { runtime: tokio::runtime::Handle::current() }
    }
}

impl Spawner for TokioSpawner {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        self.runtime.spawn(async move {
            if AssertUnwindSafe(future).catch_unwind().await.is_err() {
                tracing::error!(task = name, "task panicked; aborting the process");
                std::process::abort();
            }
        });
    }
}
