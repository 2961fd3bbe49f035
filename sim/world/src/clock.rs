//! [`WorldTime`], the monotonic time of a world, and [`SimClock`], the wall clock of one machine.
//!
//! Monotonic time is tokio's paused time and the same for all machines. Wall clocks follow it with
//! an offset and a drift, may jump, and may stand still.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_env::clock::Clock;

use crate::trace::{FaultId, Trace};

/// Whole milliseconds since the world began, written by the world's driver and read by everybody.
#[derive(Clone, Debug, Default)]
pub struct WorldTime(Arc<AtomicU64>);

impl WorldTime {
    /// Milliseconds since the world began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Microseconds since the world began, the unit of traces and histories.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.now_ms() * 1_000
    }

    /// Moves the time: the business of whoever runs the world.
    pub fn set_ms(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }
}

/// The wall clock and time zone of one machine.
pub struct SimClock {
    time: WorldTime,
    state: Mutex<State>,
}

/// Wall time is `wall_ms` at world time `since_ms` and runs on from there.
struct State {
    wall_ms: i64,
    since_ms: u64,
    drift_ppm: i64,
    frozen: bool,
    utc_offset_seconds: i32,
    /// A fault of the clock that nobody has seen yet: it bites at the next reading.
    unseen: Option<(Trace, FaultId)>,
}

impl SimClock {
    /// A clock that shows `epoch_ms` (milliseconds since the Unix epoch) when the world begins,
    /// however late the clock is made.
    #[must_use]
    pub fn new(time: WorldTime, epoch_ms: u64, utc_offset_seconds: i32) -> Self {
        let state = State {
            wall_ms: i64::try_from(epoch_ms).unwrap_or(i64::MAX),
            since_ms: 0,
            drift_ppm: 0,
            frozen: false,
            utc_offset_seconds,
            unseen: None,
        };
        SimClock { time, state: Mutex::new(state) }
    }

    /// Moves the clock by `by_ms`, forwards or backwards; not before the epoch, which no clock shows.
    pub fn jump(&self, by_ms: i64) {
        self.rebase(|state| state.wall_ms = state.wall_ms.saturating_add(by_ms).max(0));
    }

    /// Makes the clock gain `drift_ppm` microseconds per second (negative: lose).
    pub fn set_drift(&self, drift_ppm: i64) {
        self.rebase(|state| state.drift_ppm = drift_ppm);
    }

    /// Stops the clock, or lets it go on from where it stands.
    pub fn set_frozen(&self, frozen: bool) {
        self.rebase(|state| state.frozen = frozen);
    }

    /// Moves the machine to another time zone.
    pub fn set_utc_offset(&self, seconds: i32) {
        self.rebase(|state| state.utc_offset_seconds = seconds);
    }

    /// What the clock shows, without this counting as a reading by a process.
    #[must_use]
    pub fn peek_millis(&self) -> u64 {
        u64::try_from(self.lock().wall_at(self.time.now_ms())).unwrap_or(0)
    }

    /// Counts `fault` as having taken effect at the next reading.
    pub(crate) fn bite_at_next_reading(&self, trace: Trace, fault: FaultId) {
        self.lock().unseen = Some((trace, fault));
    }

    fn rebase(&self, change: impl FnOnce(&mut State)) {
        let now_ms = self.time.now_ms();
        let mut state = self.lock();
        state.wall_ms = state.wall_at(now_ms);
        state.since_ms = now_ms;
        change(&mut state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wall_at(&self, now_ms: u64) -> i64 {
        if self.frozen {
            return self.wall_ms;
        }
        let elapsed_ms = i64::try_from(now_ms - self.since_ms).unwrap_or(i64::MAX);
        let drift_ms = i128::from(elapsed_ms) * i128::from(self.drift_ppm) / 1_000_000;
        self.wall_ms
            .saturating_add(elapsed_ms)
            .saturating_add(i64::try_from(drift_ms).unwrap_or(i64::MAX))
    }
}

impl Clock for SimClock {
    fn now_millis(&self) -> u64 {
        let unseen = self.lock().unseen.take();
        if let Some((trace, fault)) = unseen {
            trace.fault_bit(fault, "the clock was read");
        }
        self.peek_millis()
    }

    fn utc_offset_seconds(&self, _at_ms: u64) -> i32 {
        self.lock().utc_offset_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_drifts_jumps_and_stands_still() {
        let time = WorldTime::default();
        let clock = SimClock::new(time.clone(), 1_000_000, 8 * 3_600);
        time.set_ms(10_000);
        assert_eq!((clock.now_millis(), clock.utc_offset_seconds(0)), (1_010_000, 28_800));
        clock.set_drift(-1_000);
        time.set_ms(20_000);
        assert_eq!(clock.now_millis(), 1_019_990);
        clock.set_drift(0);
        clock.jump(-60_000);
        assert_eq!(clock.now_millis(), 959_990);
        clock.set_frozen(true);
        time.set_ms(50_000);
        assert_eq!(clock.now_millis(), 959_990);
        clock.set_frozen(false);
        time.set_ms(50_001);
        assert_eq!(clock.now_millis(), 959_991);
        clock.jump(-1_000_000);
        time.set_ms(50_002);
        assert_eq!(clock.now_millis(), 1, "it runs on from the epoch");
    }
}
