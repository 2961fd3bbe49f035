//! [`LatencyFaults`]: which brokers have answered slowly or not at all, and are left alone for a while
//! (RocketMQ 4.9 `MQFaultStrategy`, `LatencyFaultToleranceImpl`; `sendLatencyFaultEnable`).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// From this latency on, a broker is left alone for so long; both in ms.
const NOT_AVAILABLE_MS: [(u64, u64); 7] = [
    (50, 0),
    (100, 0),
    (550, 30_000),
    (1_000, 60_000),
    (2_000, 120_000),
    (3_000, 180_000),
    (15_000, 600_000),
];

/// The latency that a failed attempt counts as.
const LATENCY_OF_A_FAILURE: Duration = Duration::from_secs(30);

/// What is known of brokers, by name.
#[derive(Debug)]
pub(crate) struct LatencyFaults {
    items: BTreeMap<String, FaultItem>,
    which_item: usize,
}

#[derive(Debug)]
struct FaultItem {
    latency: Duration,
    /// From here on it is available.
    start: Instant,
}

impl LatencyFaults {
    /// Nothing is known. `which_item` is where the turns of [`LatencyFaults::pick_one_at_least`] begin.
    pub(crate) fn new(which_item: usize) -> Self {
        LatencyFaults { items: BTreeMap::new(), which_item }
    }

    /// An attempt at `broker_name` took `latency`, and failed or not.
    pub(crate) fn update(&mut self, broker_name: &str, latency: Duration, failed: bool) {
        let counted = if failed { LATENCY_OF_A_FAILURE } else { latency };
        let start = Instant::now() + not_available(counted);
        self.items.insert(broker_name.to_owned(), FaultItem { latency, start });
    }

    /// Whether a broker is not left alone.
    pub(crate) fn is_available(&self, broker_name: &str) -> bool {
        self.items.get(broker_name).is_none_or(|item| item.start <= Instant::now())
    }

    /// A broker when all are left alone: those of the better half take turns.
    pub(crate) fn pick_one_at_least(&mut self) -> Option<String> {
        let now = Instant::now();
        let mut items: Vec<_> = self.items.iter().collect();
        items.sort_by_key(|(_, item)| (item.start > now, item.latency, item.start));
        let half = (items.len() / 2).max(1);
        if items.len() > 1 {
            self.which_item = self.which_item.wrapping_add(1);
        }
        items.get(self.which_item % half).map(|(name, _)| (*name).clone())
    }

    /// Forgets a broker.
    pub(crate) fn remove(&mut self, broker_name: &str) {
        self.items.remove(broker_name);
    }
}

/// How long a broker is left alone after an attempt that took `latency`.
fn not_available(latency: Duration) -> Duration {
    let latency_ms = latency.as_millis();
    let mut from_largest = NOT_AVAILABLE_MS.iter().rev();
    let reached = from_largest.find(|(from_ms, _)| latency_ms >= u128::from(*from_ms));
    reached.map_or(Duration::ZERO, |(_, ms)| Duration::from_millis(*ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_table_is_that_of_java() {
        let table = [
            (0, 0),
            (50, 0),
            (549, 0),
            (550, 30),
            (999, 30),
            (1_000, 60),
            (2_000, 120),
            (3_000, 180),
            (14_999, 180),
            (15_000, 600),
            (99_999, 600),
        ];
        for (latency_ms, seconds) in table {
            assert_eq!(not_available(ms(latency_ms)), Duration::from_secs(seconds), "{latency_ms}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_is_left_alone_for_its_time() {
        let mut faults = LatencyFaults::new(0);
        assert!(faults.is_available("a"));
        faults.update("a", ms(600), false);
        faults.update("b", ms(3), true);
        faults.update("c", ms(3), false);
        let available = |faults: &LatencyFaults| ["a", "b", "c"].map(|it| faults.is_available(it));
        assert_eq!(available(&faults), [false, false, true]);
        tokio::time::advance(ms(30_000)).await;
        assert_eq!(available(&faults), [true, false, true]);
        tokio::time::advance(ms(570_000)).await;
        assert_eq!(available(&faults), [true, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_better_half_takes_turns() {
        let mut faults = LatencyFaults::new(0);
        assert_eq!(faults.pick_one_at_least(), None);
        faults.update("d", ms(5_000), false);
        assert_eq!(faults.pick_one_at_least().as_deref(), Some("d"));
        faults.update("c", ms(4_000), false);
        faults.update("b", ms(3_000), false);
        faults.update("a", ms(1), false);
        let picks: Vec<_> = (0..4).filter_map(|_| faults.pick_one_at_least()).collect();
        assert_eq!(picks, ["b", "a", "b", "a"]);
        faults.remove("a");
        assert_eq!(faults.pick_one_at_least().as_deref(), Some("b"));
    }
}
