//! What a load came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use mq_protocol::codes::ResponseCode;

/// No request takes longer, as far as figures go.
const LONGEST_US: u64 = 600_000_000;

/// What one connection saw while it was measured.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) latencies_us: Histogram<u64>,
    /// Answers by code.
    pub(crate) codes: BTreeMap<i64, u64>,
    /// Messages sent or got.
    pub(crate) messages: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let latencies_us = Histogram::new_with_max(LONGEST_US, 3);
        let latencies_us = latencies_us.expect("the limits of the histogram are constants");
        Tally { latencies_us, codes: BTreeMap::new(), messages: 0 }
    }

    pub(crate) fn answered(&mut self, code: i64, took: Duration, messages: u64) {
        self.latencies_us.saturating_record(took.as_micros().try_into().unwrap_or(u64::MAX));
        *self.codes.entry(code).or_default() += 1;
        self.messages += messages;
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.latencies_us += &other.latencies_us;
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
        self.messages += other.messages;
    }
}

/// How long requests took, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of them took no longer.
    pub p50_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// 999 of 1,000.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// The figures of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Messages that were stored, or got.
    pub messages: u64,
    /// How long that took.
    pub took: Duration,
    /// From request to answer.
    pub latencies: Percentiles,
    /// Answers with another code than success, by code.
    pub refused: BTreeMap<i64, u64>,
}

impl Report {
    pub(crate) fn new(tally: &Tally, took: Duration, also_good: &[i32]) -> Self {
        let at = |quantile| tally.latencies_us.value_at_quantile(quantile);
        let is_refusal = |code: i64| {
            code != i64::from(ResponseCode::SUCCESS)
                && !also_good.iter().any(|good| i64::from(*good) == code)
        };
        Report {
            messages: tally.messages,
            took,
            latencies: Percentiles {
                p50_us: at(0.5),
                p99_us: at(0.99),
                p999_us: at(0.999),
                max_us: tally.latencies_us.max(),
            },
            refused: tally
                .codes
                .iter()
                .filter(|(code, _)| is_refusal(**code))
                .map(|(code, count)| (*code, *count))
                .collect(),
        }
    }

    /// Messages per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles { p50_us, p99_us, p999_us, max_us } = self.latencies;
        write!(
            f,
            "{:.0} messages a second ({} in {:.1} s); a request takes {p50_us} µs (p50), {p99_us} µs (p99), {p999_us} µs \
             (p99.9), {max_us} µs at most",
            self.rate(),
            self.messages,
            self.took.as_secs_f64(),
        )?;
        for (code, count) in &self.refused {
            let name = i32::try_from(*code).ok().and_then(ResponseCode::name).unwrap_or("unknown");
            write!(f, "; {count} answers with code {code} ({name})")?;
        }
        Ok(())
    }
}
