//! [`LatencyHistogram`]: how long something took, each time since the start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The classes end at these microseconds, themselves included; what took longer is one class more.
pub const LATENCY_ENDS_US: [u64; 14] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    2_000_000, 5_000_000, 10_000_000,
];

const CLASSES: usize = LATENCY_ENDS_US.len() + 1;

/// Counts durations by class. Whoever counts waits for nobody.
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    counts: [AtomicU64; CLASSES],
    sum_us: AtomicU64,
}

/// What was counted by a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    /// By class; the last one has no end.
    pub counts: [u64; CLASSES],
    /// Of all durations, in microseconds.
    pub sum_us: u64,
}

impl LatencyHistogram {
    /// Counts a duration.
    pub fn record(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = LATENCY_ENDS_US.partition_point(|end_us| *end_us < took_us);
        self.counts[class].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// What was counted by now.
    #[must_use]
    pub fn counts(&self) -> LatencyCounts {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        LatencyCounts { counts, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

impl LatencyCounts {
    /// How many durations.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_includes_its_end() {
        let histogram = LatencyHistogram::default();
        for took_us in [0, 500, 501, 10_000_000, 10_000_001] {
            histogram.record(Duration::from_micros(took_us));
        }
        let LatencyCounts { counts, sum_us } = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[13], counts[14]), (2, 1, 1, 1));
        assert_eq!((histogram.counts().total(), sum_us), (5, 20_001_002));
    }
}
