//! Counters against a clock that is moved by hand.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A wall clock that stands where it is put.
struct SetClock(AtomicU64, i32);

impl Clock for SetClock {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn utc_offset_seconds(&self, _: u64) -> i32 {
        self.1
    }
}

const MIDNIGHT_MS: u64 = 1_700_006_400_000;
const HOUR_MS: u64 = 3_600_000;

fn stats_at(now_ms: u64, offset_seconds: i32) -> (Arc<SetClock>, StoreStats) {
    let clock = Arc::new(SetClock(AtomicU64::new(now_ms), offset_seconds));
    (Arc::clone(&clock), StoreStats::new(clock))
}

fn read(stats: &StoreStats, status: GetMessageStatus) {
    let result = GetMessageResult {
        status,
        next_begin_offset: 0,
        min_offset: 0,
        max_offset: 0,
        messages: Vec::new(),
        buffer_total_bytes: 0,
        suggest_pulling_from_slave: false,
    };
    stats.read(Instant::now(), &result);
}

async fn pass(seconds_tenths: u64) {
    tokio::time::advance(Duration::from_millis(seconds_tenths * 100)).await;
}

/// What a thread would have that looks every second, beside what nobody looks at.
#[tokio::test(start_paused = true)]
async fn windows_are_those_of_somebody_who_looks_every_second() {
    let (_, stats) = stats_at(MIDNIGHT_MS, 0);
    // As 4.9: the first sample after a second.
    let (mut looked, mut total) = (Vec::new(), 0);
    pass(3).await;
    for second in 0..700_u64 {
        if second > 0 {
            looked.push(total);
        }
        for window in [10, 60, 600] {
            let expected = looked
                .len()
                .checked_sub(window + 1)
                .map(|first| (looked[looked.len() - 1] - looked[first]) as f64 / window as f64);
            assert_eq!(stats.put_tps(window as u64), expected, "{window} s after {second} s");
        }
        // Most seconds pass without anything.
        if second % 7 == 0 || (second / 50) % 3 == 1 {
            stats.stored(second % 5 + 1, 100, MIDNIGHT_MS);
            total += second % 5 + 1;
        }
        pass(10).await;
    }
    assert!(lock(&stats.puts).samples.len() <= 601);
    pass(7_000).await;
    assert_eq!(stats.put_tps(600), Some(0.0));
    assert_eq!(stats.put_totals().messages, total);
}

#[tokio::test(start_paused = true)]
async fn reads_are_counted_by_what_they_found() {
    let (_, stats) = stats_at(MIDNIGHT_MS, 0);
    pass(10).await;
    assert_eq!(stats.get_rates(10), None);
    for _ in 0..30 {
        read(&stats, GetMessageStatus::Found);
    }
    for _ in 0..10 {
        read(&stats, GetMessageStatus::OffsetOverflowOne);
    }
    pass(100).await;
    let rates = GetRates { found: 3.0, missed: 1.0, transferred: 0.0 };
    assert_eq!(stats.get_rates(10), Some(rates));
    let totals = stats.get_totals();
    assert_eq!((totals.found, totals.missed, totals.transferred), (30, 10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_day_begins_at_local_midnight() {
    // Nepal, UTC+5:45, an hour before its midnight.
    let zone_seconds = 20_700;
    let (clock, stats) =
        stats_at(MIDNIGHT_MS - zone_seconds as u64 * 1_000 - HOUR_MS, zone_seconds);
    let to = |hours: u64| clock.0.fetch_add(hours * HOUR_MS, Ordering::Relaxed);
    let days = |yesterday_morning, today_morning, now| {
        let expected = DayTotals { yesterday_morning, today_morning, now };
        assert_eq!(stats.put_days(), expected);
    };
    let store = |messages| stats.stored(messages, 1, clock.now_millis());
    store(5);
    days(0, 0, 5);
    to(2);
    store(3);
    days(0, 5, 8);
    to(23);
    days(5, 8, 8);
    clock.0.fetch_sub(30 * HOUR_MS, Ordering::Relaxed);
    store(1);
    days(5, 8, 9);
    // A day of which nobody saw anything.
    to(30 + 24 + 24);
    days(9, 9, 9);
}

#[tokio::test(start_paused = true)]
async fn put_times_are_spread_over_their_classes() {
    let (_, stats) = stats_at(MIDNIGHT_MS, 0);
    let begun = Instant::now();
    let put = |status| stats.answered(begun, status);
    put(PutMessageStatus::PutOk);
    for (advance_ms, count) in [(5, 98), (8, 0), (1_987, 1)] {
        tokio::time::advance(Duration::from_millis(advance_ms)).await;
        (0..count).for_each(|_| put(PutMessageStatus::PutOk));
    }
    put(PutMessageStatus::ServiceNotAvailable);
    let counts = stats.put_time_counts();
    assert_eq!(counts, [1, 98, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(stats.put_latency_ms(0.99), 0.0, "the minute is not over");
    pass(600).await;
    assert_eq!(stats.put_time_counts(), PutTimeCounts::default());
    // 98 lie between 4 and 5 ms; the 99th is the last of them.
    assert_eq!(stats.put_latency_ms(0.99), 5.0);
    assert_eq!(stats.put_latency_ms(0.5), 4.0 + 49.0 / 98.0);
    assert_eq!(stats.put_latency_ms(1.0), 2_000.0);
    pass(600).await;
    assert_eq!(stats.put_latency_ms(0.99), 0.0);

    let begun = Instant::now();
    pass(300).await;
    stats.answered(begun, PutMessageStatus::MessageIllegal);
    pass(600).await;
    assert_eq!(stats.put_latency_ms(1.0), 30_000.0, "no more than the longest");
    let totals = stats.put_totals();
    assert_eq!((totals.failed, totals.entire_time_max_ms), (1, 30_000));
}

#[test]
fn every_put_time_has_the_class_that_it_ends_in() {
    for took_ms in 0..12_000 {
        let expected = put_times::fine_ends_ms().position(|end_ms| took_ms <= end_ms);
        let count = put_times::fine_ends_ms().count();
        assert_eq!(put_times::fine_class(took_ms), expected.unwrap_or(count), "{took_ms} ms");
    }
}
