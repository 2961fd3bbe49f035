//! [`Samples`]: what a counter stood at when somebody should have looked at it.

use std::collections::VecDeque;

/// The samples of a counter that are due at regular ticks, without anybody who takes them.
///
/// Whoever counts says before what the counter stands at: that is what every tick since the count before would
/// have found. So there is an entry for each period in which something was counted, and none for the others.
#[derive(Clone, Debug)]
pub struct Samples<T> {
    /// How many ticks back may be asked for.
    kept_ticks: u64,
    /// A tick, and what the counter stood at then and at all ticks since the entry before.
    past: VecDeque<(u64, T)>,
}

impl<T: Copy> Samples<T> {
    /// Of a counter that is asked for the last `kept_ticks` ticks.
    #[must_use]
    pub fn new(kept_ticks: u64) -> Self {
        Samples { kept_ticks, past: VecDeque::new() }
    }

    /// Something is about to be counted behind `tick` and before the next one, where the counter stands at `before`.
    ///
    /// # Panics
    /// When ticks go back.
    pub fn note(&mut self, tick: u64, before: T) {
        let noted = self.past.back().map(|(noted, _)| *noted);
        assert!(noted.is_none_or(|noted| noted <= tick), "time goes forward: {noted:?}, {tick}");
        if noted == Some(tick) {
            return;
        }
        while self.past.front().is_some_and(|(first, _)| first + self.kept_ticks < tick) {
            self.past.pop_front();
        }
        self.past.push_back((tick, before));
    }

    /// What the counter stood at at `tick`, if it stands at `now` now.
    #[must_use]
    pub fn at(&self, tick: u64, now: T) -> T {
        let next = self.past.partition_point(|(noted, _)| *noted < tick);
        self.past.get(next).map_or(now, |(_, stood_at)| *stood_at)
    }

    /// Entries that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.past.len()
    }

    /// Whether nothing was counted for as long as is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.past.is_empty()
    }
}
