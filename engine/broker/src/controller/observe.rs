//! What is seen of a broker from outside of its protocol: its figures, its health, whether it serves.

use super::BrokerController;
use crate::metrics::{self, BrokerMetrics};

impl BrokerController {
    /// The figures of now.
    #[must_use]
    pub fn metrics(&self) -> BrokerMetrics {
        metrics::metrics(&self.context, &self.server.load())
    }

    /// Why it had better be started anew, in sentences; nothing while it is well.
    #[must_use]
    pub fn ailments(&self) -> Vec<String> {
        metrics::ailments(&self.context)
    }

    /// Why clients should not count on it, in sentences; nothing while it serves, as a master or as a slave.
    #[must_use]
    pub fn hindrances(&self) -> Vec<String> {
        let mut reasons = metrics::hindrances(&self.context);
        if self.tasks.is_cancelled() {
            reasons.push("the broker is stopping".to_owned());
        }
        reasons
    }
}
