//! [`LogLimit`]: a log line for what a peer may cause as often as it likes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets the first line pass and then one per interval.
pub struct LogLimit {
    interval: Duration,
    state: Mutex<State>,
}

struct State {
    next_at: Option<Instant>,
    suppressed: u64,
}

impl LogLimit {
    /// One line per `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        LogLimit { interval, state: Mutex::new(State { next_at: None, suppressed: 0 }) }
    }

    /// Whether a line may be written now, and if so how many were not since the last one.
    pub fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.next_at.is_some_and(|next_at| now < next_at) {
            state.suppressed += 1;
            return None;
        }
        state.next_at = Some(now + self.interval);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_line_passes_and_then_one_per_interval() {
        let limit = LogLimit::new(Duration::from_secs(5));
        assert_eq!([limit.pass(), limit.pass(), limit.pass()], [Some(0), None, None]);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!([limit.pass(), limit.pass()], [Some(2), None]);
    }
}
