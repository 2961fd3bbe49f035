//! [`PutTimes`]: how long puts take, in a coarse distribution of the minute that runs, and in a fine one of the minute
//! before (RocketMQ 4.9 `putMessageDistributeTime`, `findPutMessageEntireTimePX`).

/// The coarse classes in RocketMQ's words.
pub const PUT_TIME_NAMES: [&str; 13] = [
    "[<=0ms]",
    "[0~10ms]",
    "[10~50ms]",
    "[50~100ms]",
    "[100~200ms]",
    "[200~500ms]",
    "[500ms~1s]",
    "[1~2s]",
    "[2~3s]",
    "[3~4s]",
    "[4~5s]",
    "[5~10s]",
    "[10s~]",
];

/// Puts per class of [`PUT_TIME_NAMES`].
pub type PutTimeCounts = [u64; PUT_TIME_NAMES.len()];

/// The classes behind the first begin at these milliseconds; the second one right behind 0.
const CLASS_BEGINS_MS: [u64; 12] =
    [1, 10, 50, 100, 200, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 10_000];

/// The fine classes: so many of that width in milliseconds, one behind the other; all that is longer is one more.
const FINE: [(u64, usize); 7] =
    [(1, 20), (2, 15), (5, 10), (10, 10), (50, 6), (100, 5), (1_000, 9)];
const FINE_COUNT: usize = 20 + 15 + 10 + 10 + 6 + 5 + 9;

/// Put times of two windows.
#[derive(Default)]
pub(super) struct PutTimes {
    /// Number of the window that runs.
    window: u64,
    counts: PutTimeCounts,
    running: FineCounts,
    before: FineCounts,
}

struct FineCounts([u64; FINE_COUNT + 1]);

impl Default for FineCounts {
    fn default() -> Self {
        FineCounts([0; FINE_COUNT + 1])
    }
}

impl PutTimes {
    /// A put took `took_ms`, in window number `window`.
    pub(super) fn record(&mut self, window: u64, took_ms: u64) {
        self.roll(window);
        self.counts[CLASS_BEGINS_MS.partition_point(|begin_ms| *begin_ms <= took_ms)] += 1;
        self.running.0[fine_class(took_ms)] += 1;
    }

    /// The coarse distribution of window number `window`, which runs.
    pub(super) fn counts(&mut self, window: u64) -> PutTimeCounts {
        self.roll(window);
        self.counts
    }

    /// Within which time `share` of the puts of the window before `window` were answered, as if those of a class were
    /// spread over it evenly. No put took longer than `longest_ms`.
    pub(super) fn latency_ms(&mut self, window: u64, share: f64, longest_ms: u64) -> f64 {
        self.roll(window);
        let counts = &self.before.0;
        let total: u64 = counts.iter().sum();
        let wanted = (total as f64 * share) as u64;
        let ends_ms = fine_ends_ms().chain([longest_ms]);
        let (mut passed, mut begin_ms) = (0, 0);
        for (count, end_ms) in counts.iter().zip(ends_ms) {
            if wanted <= passed + count {
                let width_ms = end_ms.saturating_sub(begin_ms) as f64;
                let part = if *count == 0 { 0.0 } else { (wanted - passed) as f64 / *count as f64 };
                return begin_ms as f64 + width_ms * part;
            }
            passed += count;
            begin_ms = end_ms;
        }
        unreachable!("{wanted} of {total} puts are in some class")
    }

    fn roll(&mut self, window: u64) {
        if window == self.window {
            return;
        }
        let running = std::mem::take(&mut self.running);
        self.before = if window == self.window + 1 { running } else { FineCounts::default() };
        self.counts = PutTimeCounts::default();
        self.window = window;
    }
}

/// The fine class of a put.
pub(super) fn fine_class(took_ms: u64) -> usize {
    let (mut class, mut begin_ms) = (0, 0);
    for (width_ms, count) in FINE {
        let end_ms = begin_ms + width_ms * count as u64;
        if took_ms <= end_ms {
            // A class ends with its last millisecond.
            return class + (took_ms - begin_ms).div_ceil(width_ms).max(1) as usize - 1;
        }
        class += count;
        begin_ms = end_ms;
    }
    FINE_COUNT
}

/// Where the fine classes end, in milliseconds.
pub(super) fn fine_ends_ms() -> impl Iterator<Item = u64> {
    let widths = FINE.iter().flat_map(|(width_ms, count)| std::iter::repeat_n(*width_ms, *count));
    widths.scan(0, |end_ms, width_ms| {
        *end_ms += width_ms;
        Some(*end_ms)
    })
}
