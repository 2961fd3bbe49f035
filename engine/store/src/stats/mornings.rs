//! [`Mornings`]: what a counter stood at at the last two midnights (RocketMQ 4.9 `BrokerStats.record`).

use mq_env::clock::Clock;

/// A new day begins in every time zone, and summer time in those that have it, at a quarter of an hour of UTC.
const QUARTER_MS: u64 = 900_000;
const DAY_MS: i64 = 86_400_000;

/// A counter at the last two local midnights, and now. Before the store was opened it stood at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayTotals {
    /// When yesterday began.
    pub yesterday_morning: u64,
    /// When today began.
    pub today_morning: u64,
    /// Now.
    pub now: u64,
}

/// The mornings of a counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mornings {
    /// Number of the local day.
    day: i64,
    /// No day begins before, wall clock in milliseconds.
    look_again_ms: u64,
    yesterday: u64,
    today: u64,
}

impl Mornings {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        let now_ms = clock.now_millis();
        let day = local_day(clock, now_ms);
        Mornings { day, look_again_ms: next_quarter_ms(now_ms), yesterday: 0, today: 0 }
    }

    /// Something is about to be counted at `now_ms` where the counter stands at `before`. A clock that is set back begins
    /// no day twice.
    pub(super) fn look(&mut self, clock: &dyn Clock, now_ms: u64, before: u64) {
        if now_ms < self.look_again_ms {
            return;
        }
        self.look_again_ms = next_quarter_ms(now_ms);
        let day = local_day(clock, now_ms);
        if day > self.day {
            self.yesterday = if day == self.day + 1 { self.today } else { before };
            self.today = before;
            self.day = day;
        }
    }

    /// Mornings and `now`.
    pub(super) fn totals(&mut self, clock: &dyn Clock, now: u64) -> DayTotals {
        self.look(clock, clock.now_millis(), now);
        DayTotals { yesterday_morning: self.yesterday, today_morning: self.today, now }
    }
}

fn next_quarter_ms(now_ms: u64) -> u64 {
    (now_ms / QUARTER_MS + 1) * QUARTER_MS
}

fn local_day(clock: &dyn Clock, now_ms: u64) -> i64 {
    let offset_ms = i64::from(clock.utc_offset_seconds(now_ms)) * 1_000;
    (now_ms as i64 + offset_ms).div_euclid(DAY_MS)
}
