//! [`Limit`]: a bound of what peers make this broker keep, and [`RareLog`]: a word now and then.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::lock;

/// Time between two lines about the same thing.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Says when to log what happens as often as peers like: the first time, then at most every few seconds.
#[derive(Default)]
pub(crate) struct RareLog {
    state: Mutex<RareLogState>,
}

#[derive(Default)]
struct RareLogState {
    last: Option<Instant>,
    unsaid: u64,
}

impl RareLog {
    /// How often it happened since the last line, this time included, if a line is due.
    pub(crate) fn due(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        state.unsaid += 1;
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < LOG_INTERVAL) {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }
}

/// A bound with the configuration key that sets it.
pub(crate) struct Limit {
    key: &'static str,
    max: usize,
    log: RareLog,
}

/// A limit is met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this broker keeps no more {what}: {key}={max} is reached")]
pub(crate) struct LimitReached {
    key: &'static str,
    max: usize,
    what: &'static str,
}

impl Limit {
    /// The bound that `key` sets to `max`.
    pub(crate) fn new(key: &'static str, max: usize) -> Self {
        Limit { key, max, log: RareLog::default() }
    }

    /// Whether there may be `count` of them.
    pub(crate) fn allows(&self, count: usize) -> bool {
        count <= self.max
    }

    /// Refuses what would make it `count` of `what`, and says so in the log now and then.
    pub(crate) fn check(&self, count: usize, what: &'static str) -> Result<(), LimitReached> {
        if self.allows(count) {
            return Ok(());
        }
        let reached = LimitReached { key: self.key, max: self.max, what };
        if let Some(times) = self.log.due() {
            tracing::warn!(times, "a peer is refused: {reached}");
        }
        Err(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_names_its_key_and_is_logged_now_and_then() {
        let limit = Limit::new("maxTopicNums", 2);
        assert_eq!(limit.check(2, "topics"), Ok(()));
        let refused = limit.check(3, "topics").unwrap_err().to_string();
        assert_eq!(refused, "this broker keeps no more topics: maxTopicNums=2 is reached");

        let log = RareLog::default();
        assert_eq!([(); 4].map(|()| log.due()), [Some(1), None, None, None]);
        tokio::time::sleep(LOG_INTERVAL).await;
        assert_eq!([(); 2].map(|()| log.due()), [Some(4), None]);
    }
}
