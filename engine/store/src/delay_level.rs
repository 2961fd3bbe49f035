//! [`DelayLevels`]: `messageDelayLevel`, needed here because the ConsumeQueue of delayed messages
//! carries delivery times in place of tags codes.

/// Topic of delayed messages; the queue is the level minus one.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

/// Delays by level, level 1 first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels {
    delays_ms: Vec<u64>,
}

impl DelayLevels {
    /// Reads `1s 5s 10m …`: numbers with a unit of `s`, `m`, `h` or `d`, split by blanks.
    ///
    /// # Errors
    /// The first item that is no delay.
    pub fn parse(text: &str) -> Result<Self, String> {
        let delays_ms = text.split_whitespace().map(|item| {
            let unit_ms = match item.chars().last() {
                Some('s') => 1_000,
                Some('m') => 60_000,
                Some('h') => 3_600_000,
                Some('d') => 86_400_000,
                _ => return Err(format!("{item:?} is no delay")),
            };
            let count: u64 =
                item[..item.len() - 1].parse().map_err(|_| format!("{item:?} is no delay"))?;
            Ok(count * unit_ms)
        });
        Ok(DelayLevels { delays_ms: delays_ms.collect::<Result<_, String>>()? })
    }

    /// The highest level.
    #[must_use]
    pub fn max_level(&self) -> usize {
        self.delays_ms.len()
    }

    /// When a message stored at `store_timestamp_ms` with `level` is to be delivered. A level above
    /// the highest counts as the highest, an unknown one as one second.
    #[must_use]
    pub fn deliver_time_ms(&self, level: usize, store_timestamp_ms: u64) -> u64 {
        let level = level.min(self.max_level());
        let delay_ms = level.checked_sub(1).and_then(|index| self.delays_ms.get(index));
        store_timestamp_ms + delay_ms.copied().unwrap_or(1_000)
    }
}

impl Default for DelayLevels {
    /// RocketMQ's eighteen levels from one second to two hours.
    fn default() -> Self {
        const MINUTE_MS: u64 = 60_000;
        let seconds = [1, 5, 10, 30].map(|seconds| seconds * 1_000);
        let minutes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 60, 120];
        let minutes = minutes.map(|minutes| minutes * MINUTE_MS);
        DelayLevels { delays_ms: seconds.into_iter().chain(minutes).collect() }
    }
}
