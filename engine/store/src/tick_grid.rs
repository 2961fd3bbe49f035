//! [`TickGrid`]: the schedule of a RocketMQ flush service without its wake-ups.
//!
//! Java's services wake every interval and do a thorough pass when the thorough interval has passed
//! since the last one, the first wake-up included. Ours compute when such a wake-up would be and
//! sleep through those that would find nothing.

use std::time::Duration;

use tokio::time::Instant;

/// Ticks at `start + n × interval`, n from 1; the first and every `ratio`-th after it is thorough.
pub(crate) struct TickGrid {
    start: Instant,
    interval_ms: u64,
    thorough_every: u64,
}

/// One tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// When.
    pub(crate) at: Instant,
    /// Whether everything is flushed, however little.
    pub(crate) is_thorough: bool,
}

impl TickGrid {
    /// A grid that starts now. An interval of 0 counts as 1 ms.
    pub(crate) fn start(interval_ms: u64, thorough_interval_ms: u64) -> Self {
        let interval_ms = interval_ms.max(1);
        TickGrid {
            start: Instant::now(),
            interval_ms,
            thorough_every: thorough_interval_ms.div_ceil(interval_ms).max(1),
        }
    }

    /// The next tick.
    pub(crate) fn next(&self) -> Tick {
        let tick = self.tick(self.next_number());
        assert!(tick.at > self.start, "ticks come after the start");
        tick
    }

    /// The next thorough tick.
    pub(crate) fn next_thorough(&self) -> Tick {
        let passed = self.next_number() - 1;
        let tick = self.tick(passed.next_multiple_of(self.thorough_every) + 1);
        assert!(tick.is_thorough && tick.at > self.start, "a thorough tick comes after the start");
        tick
    }

    fn next_number(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 / self.interval_ms + 1
    }

    fn tick(&self, number: u64) -> Tick {
        Tick {
            at: self.start + Duration::from_millis(number * self.interval_ms),
            is_thorough: (number - 1).is_multiple_of(self.thorough_every),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_tick_and_every_twentieth_after_it_are_thorough() {
        let grid = TickGrid::start(500, 10_000);
        let at = |ms| grid.start + Duration::from_millis(ms);
        assert_eq!(grid.next(), Tick { at: at(500), is_thorough: true });
        assert_eq!(grid.next_thorough(), grid.next());
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(grid.next(), Tick { at: at(1_000), is_thorough: false });
        assert_eq!(grid.next_thorough(), Tick { at: at(10_500), is_thorough: true });
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(grid.next(), Tick { at: at(10_500), is_thorough: true });
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(grid.next_thorough(), Tick { at: at(20_500), is_thorough: true });
    }
}
