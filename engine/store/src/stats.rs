//! [`StoreStats`]: what a store has taken and given since it was opened (RocketMQ 4.9 `StoreStatsService`, and of
//! `BrokerStats` the mornings).
//!
//! 4.9 has threads that look at its counters every second and every midnight. Here nobody runs: whoever counts writes down
//! first what the counter stood at when it should have been looked at ([`Samples`], `mornings`), and the answers are those
//! of 4.9's threads at their best. A store that does nothing costs nothing.
//!
//! Durations are monotonic; only mornings are the wall clock's. Everything begins anew with a start, as in 4.9.

mod latency;
mod mornings;
mod put_times;
mod samples;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::clock::Clock;
use tokio::time::Instant;

use crate::get_result::{GetMessageResult, GetMessageStatus};
use crate::put_result::PutMessageStatus;
use crate::sync::lock;

use mornings::Mornings;
use put_times::PutTimes;

pub use latency::{LATENCY_ENDS_US, LatencyCounts, LatencyHistogram};
pub use mornings::DayTotals;
pub use put_times::{PUT_TIME_NAMES, PutTimeCounts};
pub use samples::Samples;

/// Seconds of the longest window. Between two samples lies one.
const WINDOW_SECONDS_MAX: u64 = 600;
/// For so long put times are counted together.
const PUT_TIME_WINDOW_SECONDS: u64 = 60;

/// The counters of a store.
pub struct StoreStats {
    clock: Arc<dyn Clock>,
    begun: Instant,
    boot_timestamp_ms: u64,
    puts: Mutex<Puts>,
    put_latency: LatencyHistogram,
    gets: Mutex<Gets>,
}

/// Of puts.
struct Puts {
    totals: PutTotals,
    times: PutTimes,
    samples: Samples<u64>,
    mornings: Mornings,
}

/// Of reads.
struct Gets {
    totals: GetTotals,
    samples: Samples<GetTotals>,
    mornings: Mornings,
}

/// What puts came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutTotals {
    /// Messages stored (`putMessageTimesTotal`); each of a batch counts.
    pub messages: u64,
    /// Bytes of their records (`putMessageSizeTotal`).
    pub bytes: u64,
    /// Puts that stored nothing although the store takes puts (`putMessageFailedTimes`).
    pub failed: u64,
    /// The longest put up to its answer (`putMessageEntireTimeMax`).
    pub entire_time_max_ms: u64,
}

/// What reads came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetTotals {
    /// Reads that found messages.
    pub found: u64,
    /// Reads that found none.
    pub missed: u64,
    /// Messages handed out.
    pub transferred: u64,
    /// The longest read (`getMessageEntireTimeMax`).
    pub entire_time_max_ms: u64,
}

/// Events per second within a window that ended with the last whole second; `None` while the store is too young.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GetRates {
    /// Reads that found messages.
    pub found: f64,
    /// Reads that found none.
    pub missed: f64,
    /// Messages handed out.
    pub transferred: f64,
}

impl StoreStats {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let boot_timestamp_ms = clock.now_millis();
        let mornings = Mornings::new(&*clock);
        let puts = Puts {
            totals: PutTotals::default(),
            times: PutTimes::default(),
            samples: Samples::new(WINDOW_SECONDS_MAX),
            mornings,
        };
        let gets = Gets {
            totals: GetTotals::default(),
            samples: Samples::new(WINDOW_SECONDS_MAX),
            mornings,
        };
        let (puts, gets) = (Mutex::new(puts), Mutex::new(gets));
        let (begun, put_latency) = (Instant::now(), LatencyHistogram::default());
        StoreStats { clock, begun, boot_timestamp_ms, puts, put_latency, gets }
    }

    /// When the store was opened, wall clock in milliseconds.
    #[must_use]
    pub fn boot_timestamp_ms(&self) -> u64 {
        self.boot_timestamp_ms
    }

    /// For how long it has been open.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What puts came to.
    #[must_use]
    pub fn put_totals(&self) -> PutTotals {
        lock(&self.puts).totals
    }

    /// What reads came to.
    #[must_use]
    pub fn get_totals(&self) -> GetTotals {
        lock(&self.gets).totals
    }

    /// How long each put took up to its answer, those left out that [`PutTotals::failed`] leaves out.
    #[must_use]
    pub fn put_latency(&self) -> LatencyCounts {
        self.put_latency.counts()
    }

    /// Messages stored per second within the last `seconds` (600 at most); `None` while the store is younger.
    #[must_use]
    pub fn put_tps(&self, seconds: u64) -> Option<f64> {
        let puts = lock(&self.puts);
        let (first, last) = self.window(seconds)?;
        let at = |tick| puts.samples.at(tick, puts.totals.messages);
        Some(per_second(at(first), at(last), seconds))
    }

    /// What was read per second within the last `seconds` (600 at most); `None` while the store is younger.
    #[must_use]
    pub fn get_rates(&self, seconds: u64) -> Option<GetRates> {
        let gets = lock(&self.gets);
        let (first, last) = self.window(seconds)?;
        let at = |tick| gets.samples.at(tick, gets.totals);
        let (first, last) = (at(first), at(last));
        Some(GetRates {
            found: per_second(first.found, last.found, seconds),
            missed: per_second(first.missed, last.missed, seconds),
            transferred: per_second(first.transferred, last.transferred, seconds),
        })
    }

    /// Messages stored up to the last two midnights and now.
    #[must_use]
    pub fn put_days(&self) -> DayTotals {
        let mut puts = lock(&self.puts);
        let now = puts.totals.messages;
        puts.mornings.totals(&*self.clock, now)
    }

    /// Messages handed out up to the last two midnights and now.
    #[must_use]
    pub fn get_days(&self) -> DayTotals {
        let mut gets = lock(&self.gets);
        let now = gets.totals.transferred;
        gets.mornings.totals(&*self.clock, now)
    }

    /// How many puts took how long in the minute that runs, in the order of [`PUT_TIME_NAMES`].
    #[must_use]
    pub fn put_time_counts(&self) -> PutTimeCounts {
        let mut puts = lock(&self.puts);
        puts.times.counts(self.seconds() / PUT_TIME_WINDOW_SECONDS)
    }

    /// Milliseconds within which `share` of the puts of the last whole minute were answered.
    #[must_use]
    pub fn put_latency_ms(&self, share: f64) -> f64 {
        let mut puts = lock(&self.puts);
        let longest_ms = puts.totals.entire_time_max_ms;
        puts.times.latency_ms(self.seconds() / PUT_TIME_WINDOW_SECONDS, share, longest_ms)
    }

    /// Messages were stored, when the wall clock said `now_ms`.
    pub(crate) fn stored(&self, messages: u64, bytes: u64, now_ms: u64) {
        let mut puts = lock(&self.puts);
        let Puts { totals, samples, mornings, .. } = &mut *puts;
        mornings.look(&*self.clock, now_ms, totals.messages);
        samples.note(self.seconds(), totals.messages);
        totals.messages += messages;
        totals.bytes += bytes;
    }

    /// A put is answered that came `begun`.
    pub(crate) fn answered(&self, begun: Instant, status: PutMessageStatus) {
        // The others say nothing of the message: the store takes none.
        let takes_none = matches!(
            status,
            PutMessageStatus::ServiceNotAvailable | PutMessageStatus::OsPageCacheBusy
        );
        if takes_none {
            return;
        }
        let mut puts = lock(&self.puts);
        let now = Instant::now();
        let took_ms = (now - begun).as_millis() as u64;
        self.put_latency.record(now - begun);
        puts.totals.failed += u64::from(!status.is_stored());
        puts.totals.entire_time_max_ms = puts.totals.entire_time_max_ms.max(took_ms);
        puts.times.record((now - self.begun).as_secs() / PUT_TIME_WINDOW_SECONDS, took_ms);
    }

    /// A read is answered that came `begun`.
    pub(crate) fn read(&self, begun: Instant, result: &GetMessageResult) {
        let mut gets = lock(&self.gets);
        let now = Instant::now();
        let took_ms = (now - begun).as_millis() as u64;
        let Gets { totals, samples, mornings } = &mut *gets;
        mornings.look(&*self.clock, self.clock.now_millis(), totals.transferred);
        samples.note((now - self.begun).as_secs(), *totals);
        let is_found = result.status == GetMessageStatus::Found;
        totals.found += u64::from(is_found);
        totals.missed += u64::from(!is_found);
        totals.transferred += result.messages.len() as u64;
        totals.entire_time_max_ms = totals.entire_time_max_ms.max(took_ms);
    }

    /// Number of the last sample that is due by now. Asked under a counter's lock, so that it does not go back.
    fn seconds(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    /// The first and the last sample of a window. 4.9 takes its first one a second after the start.
    fn window(&self, seconds: u64) -> Option<(u64, u64)> {
        assert!(seconds <= WINDOW_SECONDS_MAX, "older samples are gone");
        let last = self.seconds();
        (last > seconds).then(|| (last - seconds, last))
    }
}

fn per_second(first: u64, last: u64, seconds: u64) -> f64 {
    assert!(first <= last, "counters only grow: {first} to {last}");
    (last - first) as f64 / seconds as f64
}

#[cfg(test)]
mod tests;
