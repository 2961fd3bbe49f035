//! [`ReplicaGate`]: where a put of a SYNC_MASTER waits for its slaves.
//!
//! The one place that replication fills in. A gate that nobody opened stands for a master without
//! slaves: what is stored is answered SLAVE_NOT_AVAILABLE.

use std::sync::{Arc, OnceLock};

use mq_env::BoxFuture;

use crate::put_result::PutMessageStatus;

/// Waits until a slave has everything below the given end offset: PUT_OK, FLUSH_SLAVE_TIMEOUT or
/// SLAVE_NOT_AVAILABLE. Called right after the append, before the returned future is polled.
pub type ReplicaWait = Arc<dyn Fn(u64) -> BoxFuture<'static, PutMessageStatus> + Send + Sync>;

/// The replica half of a put's outcome.
#[derive(Default)]
pub(crate) struct ReplicaGate {
    wait: OnceLock<ReplicaWait>,
}

impl ReplicaGate {
    /// Lets replication answer from now on; the first one stays.
    pub(crate) fn set(&self, wait: ReplicaWait) {
        let _ = self.wait.set(wait);
    }

    /// The outcome for a put that ends at `end_offset`.
    pub(crate) fn wait(&self, end_offset: u64) -> BoxFuture<'static, PutMessageStatus> {
        match self.wait.get() {
            Some(wait) => wait(end_offset),
            None => Box::pin(std::future::ready(PutMessageStatus::SlaveNotAvailable)),
        }
    }
}
