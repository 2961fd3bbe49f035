//! [`Flow`]: what passed in one place, over the last minute, hour and day.

use std::time::Duration;

use mq_protocol::body::consume_stats::{BrokerStatsData, BrokerStatsItem};
use mq_store::stats::Samples;

/// How often each period is sampled, and how many samples back it reaches.
const MINUTE: Period = Period { every_seconds: 10, samples: 6 };
const HOUR: Period = Period { every_seconds: 600, samples: 6 };
const DAY: Period = Period { every_seconds: 3_600, samples: 24 };

/// One of the three.
#[derive(Clone, Copy)]
struct Period {
    every_seconds: u64,
    samples: u64,
}

/// Sums of what passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Puts or reads.
    pub(crate) times: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Of the reads together.
    pub(crate) latency_ms: u64,
}

/// What of [`Passed`] a statistic is about.
pub(super) type Value = fn(&Passed) -> u64;

/// The sums of one place with their samples. Ages count from when the broker began.
pub(super) struct Flow {
    born: Duration,
    sums: Passed,
    minute: Samples<Passed>,
    hour: Samples<Passed>,
    day: Samples<Passed>,
}

impl Period {
    /// Number of the last sample that is due at an age.
    fn tick(self, age: Duration) -> u64 {
        age.as_secs() / self.every_seconds
    }
}

impl Flow {
    /// Nothing has passed yet.
    pub(super) fn new(age: Duration) -> Self {
        let samples = |period: Period| Samples::new(period.samples);
        Flow {
            born: age,
            sums: Passed::default(),
            minute: samples(MINUTE),
            hour: samples(HOUR),
            day: samples(DAY),
        }
    }

    /// Adds what passes at an age.
    pub(super) fn add(&mut self, age: Duration, passed: Passed) {
        self.minute.note(MINUTE.tick(age), self.sums);
        self.hour.note(HOUR.tick(age), self.sums);
        self.day.note(DAY.tick(age), self.sums);
        self.sums.times += passed.times;
        self.sums.messages += passed.messages;
        self.sums.bytes += passed.bytes;
        self.sums.latency_ms += passed.latency_ms;
    }

    /// What has passed in all.
    pub(super) fn sums(&self) -> Passed {
        self.sums
    }

    /// All three periods.
    pub(super) fn view(&self, age: Duration, value: Value) -> BrokerStatsData {
        BrokerStatsData {
            stats_day: self.over(DAY, &self.day, age, value),
            stats_hour: self.over(HOUR, &self.hour, age, value),
            stats_minute: self.over_minute(age, value),
        }
    }

    /// The last minute.
    pub(super) fn over_minute(&self, age: Duration, value: Value) -> BrokerStatsItem {
        self.over(MINUTE, &self.minute, age, value)
    }

    /// Between the first and the last sample of a period (RocketMQ 4.9 `computeStatsData`); the sample before the
    /// flow's birth counts, in which it has nothing.
    fn over(
        &self,
        period: Period,
        samples: &Samples<Passed>,
        age: Duration,
        value: Value,
    ) -> BrokerStatsItem {
        let last = period.tick(age);
        let first = period.tick(self.born).max(last.saturating_sub(period.samples));
        if first == last {
            return BrokerStatsItem::default();
        }
        let (begin, end) = (samples.at(first, self.sums), samples.at(last, self.sums));
        let sum = value(&end) - value(&begin);
        let times = end.times - begin.times;
        BrokerStatsItem {
            avgpt: if times == 0 { 0.0 } else { sum as f64 / times as f64 },
            sum: i64::try_from(sum).unwrap_or(i64::MAX),
            tps: sum as f64 / ((last - first) * period.every_seconds) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: Value = |passed| passed.messages;

    fn age(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pass(flow: &mut Flow, seconds: u64, messages: u64) {
        flow.add(age(seconds), Passed { times: 1, messages, ..Passed::default() });
    }

    /// 4.9's lists of snapshots, kept by somebody who looks in time.
    #[derive(Default)]
    struct Looked(Vec<(u64, u64)>);

    impl Looked {
        fn look(&mut self, seconds: u64, period: Period, sum: u64) {
            if self.0.is_empty() {
                self.0.push((seconds - period.every_seconds, 0));
            }
            self.0.push((seconds, sum));
            let surplus = self.0.len().saturating_sub(period.samples as usize + 1);
            self.0.drain(..surplus);
        }

        fn sum_and_tps(&self) -> (i64, f64) {
            let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else {
                return (0, 0.0);
            };
            let sum = last.1 - first.1;
            (sum as i64, sum as f64 / (last.0 - first.0) as f64)
        }
    }

    #[test]
    fn periods_are_those_of_somebody_who_looks_in_time() {
        let mut flow = Flow::new(age(4_321));
        let mut looked = [MINUTE, HOUR, DAY].map(|period| (period, Looked::default()));
        let mut sum = 0;
        for second in 4_321..200_000 {
            for (period, looked) in &mut looked {
                if second % period.every_seconds == 0 {
                    looked.look(second, *period, sum);
                }
            }
            let is_busy = (second / 5_000) % 3 != 1;
            if second == 4_321 || is_busy && second % 37 == 0 {
                pass(&mut flow, second, second % 4 + 1);
                sum += second % 4 + 1;
            }
            if second % 83 == 0 {
                let view = flow.view(age(second), MESSAGES);
                let items = [view.stats_minute, view.stats_hour, view.stats_day];
                for (item, (period, looked)) in items.iter().zip(&looked) {
                    let every = period.every_seconds;
                    assert_eq!((item.sum, item.tps), looked.sum_and_tps(), "{every} s at {second}");
                }
            }
        }
        assert!(flow.minute.len() <= 7 && flow.hour.len() <= 7 && flow.day.len() <= 25);
    }

    #[test]
    fn an_average_is_per_time() {
        let mut flow = Flow::new(age(0));
        assert_eq!(flow.over_minute(age(20), MESSAGES), BrokerStatsItem::default());
        pass(&mut flow, 1, 4);
        pass(&mut flow, 2, 8);
        assert_eq!(flow.over_minute(age(9), MESSAGES), BrokerStatsItem::default());
        let item = BrokerStatsItem { avgpt: 6.0, sum: 12, tps: 1.2 };
        assert_eq!(flow.over_minute(age(10), MESSAGES), item);
        assert_eq!(flow.view(age(10), MESSAGES).stats_hour, BrokerStatsItem::default());
    }
}
